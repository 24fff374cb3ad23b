import { INODES_PER_CHUNK } from '../format/dinode.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { IcreateLog } from '../format/logitems.ts'
import { encodeFreeInode } from '../format/newinode.ts'
import { clusterBlocks } from '../format/sbrules.ts'
import { stampInode } from '../format/verify/stamp.ts'
import { viewOf } from '../util/view.ts'
import type { CancelledBuffers } from './cancelled.ts'
import { logError } from './operations.ts'
import type { ReplayPlace } from './replayplace.ts'
import type { LoggedItem } from './transactions.ts'

/**
 * Replaying the creation of an inode chunk: its blocks are filled with free inodes. Nothing of what
 * is there counts: whatever changed these inodes later follows in the log.
 *
 * Source: fs/xfs/xfs_icreate_item.c.
 */
export type ChunkChange = Pick<IcreateLog, 'ag' | 'agbno' | 'length' | 'gen'>

/** Take an item apart. @throws XfsError CORRUPT */
export function chunkChange({ order, regions }: LoggedItem, geometry: Geometry): ChunkChange {
  const [format] = regions as [Uint8Array]
  if (format.length < IcreateLog.size || regions.length !== 1)
    throw logError(`a new inode chunk has ${regions.length} regions, the first of ${format.length} bytes`)
  const change = IcreateLog[order].decode(viewOf(format))
  const { ag, agbno, count, isize, length } = change
  const fits =
    ag < geometry.agcount &&
    length > 0 &&
    geometry.validAgbno(ag, agbno) &&
    geometry.validAgbno(ag, agbno + length - 1) &&
    isize === geometry.inodesize &&
    count === length * geometry.inopblock &&
    count <= Math.max(INODES_PER_CHUNK, geometry.inopblock)
  if (!fits) throw logError(`${count} new inodes of ${isize} bytes in ${length} blocks of AG ${ag} at block ${agbno}`)
  return change
}

/** Replay a chunk into `place`. @returns false if a part of it was freed later */
export function replayChunk(
  { device, geometry }: ReplayPlace,
  change: ChunkChange,
  cancelled: CancelledBuffers,
): boolean {
  const { ag, agbno, length, gen } = change
  const cluster = Math.max(1, clusterBlocks(geometry.sb))
  for (let block = 0; block < length; block += cluster) {
    const daddr = geometry.daddr(ag, agbno + block)
    if (cancelled.has(daddr, (cluster * geometry.blocksize) / BASIC_BLOCK)) return false
  }
  const bytes = new Uint8Array(length * geometry.blocksize)
  const view = viewOf(bytes)
  const first = geometry.ino(ag, geometry.agbnoToAgino(agbno))
  for (let i = 0; i < length * geometry.inopblock; i++) {
    encodeFreeInode(view, i * geometry.inodesize, geometry, first + i, gen)
    stampInode(view, i * geometry.inodesize, geometry)
  }
  device.write(bytes, geometry.daddr(ag, agbno) * BASIC_BLOCK)
  return true
}
