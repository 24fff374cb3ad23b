import { BmbtRec } from '../format/btrecs.ts'
import type { BlockReader } from '../volume.ts'
import { findLeaf, indexBefore, type Leaf, nextLeaf, refuseRealtime } from './fork.ts'
import { type ForkName, type Inode, inodeError } from './inode.ts'

/** The last file block that there can be, plus one. */
export const MAX_FILE_BLOCKS = 2 ** 54

const { extentflag, startoff, startblock, blockcount } = BmbtRec.fields

const readRecord = (view: DataView, at: number): BmbtRec => ({
  extentflag: extentflag.get(view, at),
  startoff: startoff.get(view, at),
  startblock: startblock.get(view, at),
  blockcount: blockcount.get(view, at),
})

const endOf = (rec: BmbtRec): number => rec.startoff + rec.blockcount

/** @throws XfsError CORRUPT where the record cannot be, or does not follow one that ends at `floor` */
function checkRecord(inode: Inode, fork: ForkName, rec: BmbtRec, floor: number): void {
  const { geometry } = inode.volume
  const bad =
    rec.blockcount === 0 ? 'is empty'
    : rec.startoff < floor ? `overlaps what ends at ${floor}`
    : endOf(rec) > MAX_FILE_BLOCKS ? 'ends beyond the largest file'
    : fork === 'data' && inode.realtime ? undefined
    : geometry.validFsbnoRange(rec.startblock, rec.blockcount) ? undefined
    : 'lies outside of its group' // biome-ignore format: one case a line
  if (bad) {
    throw inodeError(inode.ino, `${fork} fork: the extent [${rec.startoff}, +${rec.blockcount}) at block ${rec.startblock} ${bad}`)
  }
}

/**
 * The extents of a fork in file order, from the one that holds block `from` (or follows it). Nothing may change the fork meanwhile.
 * @throws XfsError CORRUPT
 */
export function* extents(inode: Inode, fork: ForkName, from = 0, reader: BlockReader = inode.volume): Generator<BmbtRec> {
  let leaf: Leaf | undefined = findLeaf(inode, fork, from, reader)
  let floor = 0
  for (let index = Math.max(0, indexBefore(leaf, from)); leaf; leaf = nextLeaf(inode, leaf, reader), index = 0) {
    for (; index < leaf.count; index++) {
      const rec = readRecord(leaf.view, leaf.at + index * 16)
      checkRecord(inode, fork, rec, floor)
      floor = endOf(rec)
      if (floor > from) yield rec
    }
  }
}

/** The extent that holds file block `offset`, or else the next one; undefined behind the last. */
export function findExtent(inode: Inode, fork: ForkName, offset: number, reader: BlockReader = inode.volume): BmbtRec | undefined {
  for (const rec of extents(inode, fork, offset, reader)) return rec
  return undefined
}

/** The last extent that begins before file block `offset`. */
export function extentBefore(
  inode: Inode, fork: ForkName, offset: number, reader: BlockReader = inode.volume,
): BmbtRec | undefined { // biome-ignore format: short
  const leaf = findLeaf(inode, fork, offset - 1, reader)
  const index = indexBefore(leaf, offset - 1)
  if (index < 0) return undefined
  const rec = readRecord(leaf.view, leaf.at + index * 16)
  checkRecord(inode, fork, rec, 0)
  return rec
}

/** The last extent of a fork. */
export const lastExtent = (inode: Inode, fork: ForkName, reader: BlockReader = inode.volume): BmbtRec | undefined =>
  extentBefore(inode, fork, MAX_FILE_BLOCKS, reader)

export { refuseRealtime }
