import { Superblock } from '../format/sb.ts'
import { freeForUsers } from '../space/reserve.ts'
import type { Volume } from '../volume.ts'
import { maxInodes } from './chunks.ts'

/** What statfs(2) reports of a filesystem, in its words. */
export interface Statfs {
  /** The magic number of XFS. */
  readonly type: number
  /** Bytes of a block. */
  readonly bsize: number
  readonly blocks: number
  readonly bfree: number
  readonly bavail: number
  /** Inodes, allocated or possible. */
  readonly files: number
  readonly ffree: number
}

/** As of the mounted filesystem, which reserves blocks for itself. */
export function statfsOf(volume: Volume): Statfs {
  const { geometry } = volume
  const { view } = volume.superblock()
  const { icount, ifree } = Superblock.fields
  const logblocks = geometry.sb.logstart === 0 ? 0 : geometry.sb.logblocks
  const free = freeForUsers(volume)
  const allocated = icount.get(view, 0)
  const most = maxInodes(volume)
  const possible = allocated + free * geometry.inopblock
  const files = most === 0 ? possible : Math.min(possible, most)
  return {
    type: XFS_MAGIC,
    bsize: geometry.blocksize,
    blocks: geometry.sb.dblocks - logblocks,
    bfree: Math.max(0, free),
    bavail: Math.max(0, free),
    files,
    ffree: Math.max(0, files - (allocated - ifree.get(view, 0))),
  }
}

const XFS_MAGIC = 0x58465342
