import { query } from '../btree/cursor.ts'
import { openTree } from '../btree/roots.ts'
import { firstRmapKey, lastRmapKey } from '../btree/trees/rmapbt.ts'
import { OWNERS } from '../format/btrecs.ts'
import { allocatedInodes } from '../inode/chunks.ts'
import { inodeAt } from '../inode/inode.ts'
import { extents } from '../mapping/extents.ts'
import type { ExtentSet } from '../util/extentset.ts'
import type { BlockReader, Volume } from '../volume.ts'

/** Blocks of a file's data, and where in the file they are; in blocks. */
export interface FileMapping {
  readonly ino: number
  readonly startoff: number
  /** fsbno */
  readonly startblock: number
  readonly blockcount: number
}

/**
 * All mappings of written blocks in [fsbno, fsbno + blockcount), cut to that range and ordered by
 * first block.
 */
export type OwnersOf = (fsbno: number, blockcount: number, reader?: BlockReader) => Iterable<FileMapping>

/**
 * Find the owners of blocks. The rmapbt records them. Without rmapbt, all files that may share
 * blocks are read once, and their mappings of `wanted` (fsbnos) are kept, sorted by first block:
 *
 *   startblock   10      12      12      40
 *   ends         14      20      36      44
 *   latest end   14      20      36      44      the latest end of this and all earlier mappings
 *
 * A search for 30+20 starts at the third mapping, the first with a latest end after 30. It stops at
 * the first mapping that starts at 50 or later.
 */
export const ownersOf = (volume: Volume, wanted: ExtentSet): OwnersOf =>
  volume.features.has('rmapbt')
    ? (fsbno, blockcount, reader = volume) => rmapOwners(volume, reader, fsbno, blockcount)
    : sweptOwners(volume, wanted)

const cut = (mapping: FileMapping, fsbno: number, end: number): FileMapping => {
  const from = Math.max(mapping.startblock, fsbno)
  const to = Math.min(mapping.startblock + mapping.blockcount, end)
  const { ino, startoff, startblock } = mapping
  return { ino, startoff: startoff + (from - startblock), startblock: from, blockcount: to - from }
}

function* rmapOwners(volume: Volume, reader: BlockReader, fsbno: number, blockcount: number): Generator<FileMapping> {
  const { geometry } = volume
  const agno = geometry.agnoOf(fsbno)
  const agbno = geometry.agbnoOf(fsbno)
  const last = agbno + blockcount - 1
  for (const rec of query(openTree(volume, 'rmapbt', agno, reader), firstRmapKey(agbno), lastRmapKey(last))) {
    if (rec.owner <= OWNERS.null || rec.attrfork === 1 || rec.bmbtblock === 1 || rec.extentflag === 1) continue
    const startblock = geometry.fsbno(agno, rec.startblock)
    const whole = { ino: rec.owner, startoff: rec.offset, startblock, blockcount: rec.blockcount }
    const part = cut(whole, fsbno, fsbno + blockcount)
    if (part.blockcount > 0) yield part
  }
}

function sweptOwners(volume: Volume, wanted: ExtentSet): OwnersOf {
  const list: FileMapping[] = []
  for (let agno = 0; agno < volume.geometry.agcount; agno++) {
    for (const ino of allocatedInodes(volume, agno)) {
      const inode = inodeAt(volume, ino)
      if (!inode.reflink) continue
      for (const { startoff, startblock, blockcount, extentflag } of extents(inode, 'data')) {
        if (extentflag === 0 && wanted.overlaps(startblock, blockcount))
          list.push({ ino, startoff, startblock, blockcount })
      }
    }
  }
  list.sort((a, b) => a.startblock - b.startblock || a.ino - b.ino || a.startoff - b.startoff)
  const ends = new Float64Array(list.length)
  let latest = 0
  for (const [i, { startblock, blockcount }] of list.entries()) {
    latest = Math.max(latest, startblock + blockcount)
    ends[i] = latest
  }
  return function* (fsbno, blockcount) {
    const end = fsbno + blockcount
    for (let i = firstAbove(ends, fsbno); i < list.length; i++) {
      const mapping = list[i] as FileMapping
      if (mapping.startblock >= end) return
      const part = cut(mapping, fsbno, end)
      if (part.blockcount > 0) yield part
    }
  }
}

/** Index of the first of these ascending numbers that is larger than `value`. */
function firstAbove(ascending: Float64Array, value: number): number {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((ascending[middle] as number) > value) high = middle
    else low = middle + 1
  }
  return low
}
