import { readBmbt } from '../btree/trees/bmbt.ts'
import { BmbtRec, MAX_FILE_BLOCKS } from '../format/btrecs.ts'
import { type ForkName, type Inode, inodeError } from '../inode/inode.ts'
import type { BlockReader } from '../volume.ts'
import { leaves } from './fork.ts'

/**
 * Reading the block map of a fork: its extents in file order, from any offset on, in the inode or
 * in a bmbt. Each record is verified when it is reached.
 */

/** The file block after an extent. */
export const endOf = (rec: BmbtRec): number => rec.startoff + rec.blockcount

/**
 * @throws XfsError CORRUPT if the record is invalid, or overlaps one that ends at `floor`
 */
function checkRecord(inode: Inode, fork: ForkName, rec: BmbtRec, floor: number): void {
  const { geometry } = inode.volume
  const bad =
    rec.blockcount === 0
      ? 'is empty'
      : rec.startoff < floor
        ? `overlaps the previous one, which ends at ${floor}`
        : endOf(rec) > MAX_FILE_BLOCKS
          ? 'exceeds the maximum file offset'
          : fork === 'data' && inode.realtime
            ? undefined
            : geometry.validFsbnoRange(rec.startblock, rec.blockcount)
              ? undefined
              : 'is out of range for the AG'
  if (bad) {
    throw inodeError(
      inode.ino,
      `${fork} fork: the extent [${rec.startoff}, +${rec.blockcount}) at block ${rec.startblock} ${bad}`,
    )
  }
}

/**
 * The extents of a fork in file order, from the one that contains block `from` (or follows it). The
 * fork must not change meanwhile.
 * @throws XfsError CORRUPT
 */
export function* extents(
  inode: Inode,
  fork: ForkName,
  from = 0,
  reader: BlockReader = inode.volume,
): Generator<BmbtRec> {
  let floor = 0
  for (const leaf of leaves(inode, fork, from, reader)) {
    for (let index = Math.max(0, leaf.index); index < leaf.count; index++) {
      const rec = readBmbt(leaf.view, leaf.at + index * BmbtRec.size)
      checkRecord(inode, fork, rec, floor)
      floor = endOf(rec)
      if (floor > from) yield rec
    }
  }
}

/** The extent that contains file block `offset`, else the next one; undefined after the last. */
export function findExtent(
  inode: Inode,
  fork: ForkName,
  offset: number,
  reader: BlockReader = inode.volume,
): BmbtRec | undefined {
  for (const rec of extents(inode, fork, offset, reader)) return rec
  return undefined
}

/** The last extent that begins before file block `offset`. */
export function extentBefore(
  inode: Inode,
  fork: ForkName,
  offset: number,
  reader: BlockReader = inode.volume,
): BmbtRec | undefined {
  for (const { view, at, index } of leaves(inode, fork, offset - 1, reader)) {
    if (index < 0) return undefined
    const rec = readBmbt(view, at + index * BmbtRec.size)
    checkRecord(inode, fork, rec, 0)
    return rec
  }
  return undefined
}

/** The last extent of a fork. */
export const lastExtent = (inode: Inode, fork: ForkName, reader: BlockReader = inode.volume): BmbtRec | undefined =>
  extentBefore(inode, fork, MAX_FILE_BLOCKS, reader)

/** The part of `rec` inside [from, to). */
export function trimExtent(rec: BmbtRec, from: number, to: number): BmbtRec {
  const start = Math.max(rec.startoff, from)
  const end = Math.min(endOf(rec), to)
  return { ...rec, startoff: start, startblock: rec.startblock + (start - rec.startoff), blockcount: end - start }
}
