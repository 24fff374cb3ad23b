import { Cursor } from '../btree/cursor.ts'
import { XfsError } from '../errors.ts'
import { BmbtRec, MAX_BMBT_EXTLEN } from '../format/btrecs.ts'
import { DIFLAGS2, FORK_FORMATS } from '../format/dinode.ts'
import { bytesAt } from '../format/fields.ts'
import {
  editInode,
  extentCount,
  type ForkName,
  forkFormat,
  forkSize,
  forkStart,
  type Inode,
  inodeError,
  setExtentCount,
  updateInode,
} from '../inode/inode.ts'
import type { Transaction } from '../tx/transaction.ts'
import { endOf, extentBefore, findExtent } from './extents.ts'
import { bmbtTree, btreeToExtents, extentsToBtree, indexBefore } from './fork.ts'

/**
 * Changing the records of a block map only; blocks, nblocks and reverse mappings are changed by
 * bmap.ts. The format of the fork depends on the number of records: in the inode if they fit there,
 * else in a bmbt.
 */

/**
 * The records of a fork for changing: in the inode or in its bmbt. Positions are found by
 * `startoff`.
 */
interface ForkRecords {
  insert(rec: BmbtRec): void
  /**
   * Replace the record that begins at `startoff` by `rec`, which has the same position in the
   * order.
   */
  replace(startoff: number, rec: BmbtRec): void
  remove(startoff: number): void
}

/** The records of a fork in its current format. */
export function recordsOf(tx: Transaction, inode: Inode, fork: ForkName): ForkRecords {
  return forkFormat(inode, fork) === FORK_FORMATS.btree ? treeRecords(tx, inode, fork) : inlineRecords(tx, inode, fork)
}

function inlineRecords(tx: Transaction, inode: Inode, fork: ForkName): ForkRecords {
  const place = (startoff: number): { view: DataView; at: number; after: number } => {
    const view = editInode(tx, inode)
    const first = forkStart(inode, fork)
    const count = extentCount(inode, fork)
    const index = indexBefore({ view, at: first, count }, startoff)
    return { view, at: first + index * BmbtRec.size, after: (count - index - 1) * BmbtRec.size }
  }
  return {
    insert(rec) {
      const { view, at, after } = place(rec.startoff)
      bytesAt(view, at + BmbtRec.size, after + BmbtRec.size).copyWithin(BmbtRec.size, 0, after)
      BmbtRec.encode(view, at + BmbtRec.size, rec)
      setExtentCount(tx, inode, fork, extentCount(inode, fork) + 1)
    },
    replace(startoff, rec) {
      const { view, at } = place(startoff)
      BmbtRec.encode(view, at, rec)
    },
    remove(startoff) {
      const { view, at, after } = place(startoff)
      const area = bytesAt(view, at, after + BmbtRec.size)
      area.copyWithin(0, BmbtRec.size)
      area.fill(0, after)
      setExtentCount(tx, inode, fork, extentCount(inode, fork) - 1)
    },
  }
}

function treeRecords(tx: Transaction, inode: Inode, fork: ForkName): ForkRecords {
  const at = (startoff: number): Cursor<BmbtRec, number> => {
    const cursor = new Cursor(bmbtTree(tx, inode, fork))
    if (!cursor.lookup(startoff, 'eq'))
      throw inodeError(inode.ino, `the extent at file block ${startoff} is missing in the bmbt`)
    return cursor
  }
  return {
    insert(rec) {
      new Cursor(bmbtTree(tx, inode, fork)).insert(rec)
      setExtentCount(tx, inode, fork, extentCount(inode, fork) + 1)
    },
    replace: (startoff, rec) => at(startoff).update(rec),
    remove(startoff) {
      at(startoff).delete()
      setExtentCount(tx, inode, fork, extentCount(inode, fork) - 1)
    },
  }
}

/** The maximum number of extents of a fork, with small or large counters. */
export const maxExtents = (fork: ForkName, nrext64: boolean): number =>
  fork === 'data' ? (nrext64 ? 2 ** 48 - 1 : 2 ** 31 - 1) : nrext64 ? 2 ** 32 - 1 : 2 ** 15 - 1

/**
 * Make sure that a fork can have `more` additional extents: switch to large counters if necessary.
 * @throws XfsError FBIG
 */
export function reserveExtents(tx: Transaction, inode: Inode, fork: ForkName, more: number): void {
  const count = extentCount(inode, fork) + more
  if (count <= maxExtents(fork, inode.nrext64)) return
  if (count <= maxExtents(fork, true) && useLargeCounters(tx, inode)) return
  throw new XfsError('FBIG', `inode ${inode.ino}: the ${fork} fork cannot have ${count} extents`, {
    type: 'inode',
    ino: inode.ino,
  })
}

/** Switch to large counters, if the filesystem has them. @returns true if the inode has them */
export function useLargeCounters(tx: Transaction, inode: Inode): boolean {
  if (inode.nrext64) return true
  if (!tx.volume.features.has('nrext64')) return false
  const data = extentCount(inode, 'data')
  const attr = extentCount(inode, 'attr')
  updateInode(tx, inode, { flags2: inode.flags2 | DIFLAGS2.nrext64 })
  setExtentCount(tx, inode, 'data', data)
  setExtentCount(tx, inode, 'attr', attr)
  return true
}

/** Insert a record, and change the format of the fork if necessary. */
export function insertRecord(tx: Transaction, inode: Inode, fork: ForkName, rec: BmbtRec): void {
  reserveExtents(tx, inode, fork, 1)
  const format = forkFormat(inode, fork)
  if (format !== FORK_FORMATS.extents && format !== FORK_FORMATS.btree)
    throw inodeError(inode.ino, `extent in a ${fork} fork of format ${format}`)
  if (format === FORK_FORMATS.extents && (extentCount(inode, fork) + 1) * BmbtRec.size > forkSize(inode, fork))
    extentsToBtree(tx, inode, fork)
  recordsOf(tx, inode, fork).insert(rec)
}

/** True if `right` continues `left`, in the file and on the disk. */
const follows = (left: BmbtRec, right: BmbtRec): boolean =>
  endOf(left) === right.startoff &&
  left.startblock + left.blockcount === right.startblock &&
  left.extentflag === right.extentflag

/** True if both can be one record. */
export const continues = (left: BmbtRec, right: BmbtRec): boolean =>
  follows(left, right) && left.blockcount + right.blockcount <= MAX_BMBT_EXTLEN

/**
 * Insert `rec` into a hole of the map, joined with its neighbours. Only the map and its count
 * change.
 * @returns true if it continues the previous extent
 */
export function addMapping(tx: Transaction, inode: Inode, fork: ForkName, rec: BmbtRec): boolean {
  const before = extentBefore(inode, fork, rec.startoff, tx)
  const after = findExtent(inode, fork, rec.startoff, tx)
  if (before && endOf(before) > rec.startoff) overlap(inode, rec, before)
  if (after && after.startoff < endOf(rec)) overlap(inode, rec, after)
  const left = before && continues(before, rec) ? before : undefined
  const joined = left ? { ...left, blockcount: left.blockcount + rec.blockcount } : rec
  const right = after && continues(joined, after) ? after : undefined
  const whole = right ? { ...joined, blockcount: joined.blockcount + right.blockcount } : joined
  if (left && right) recordsOf(tx, inode, fork).remove(right.startoff)
  if (left) recordsOf(tx, inode, fork).replace(left.startoff, whole)
  else if (right) recordsOf(tx, inode, fork).replace(right.startoff, whole)
  else insertRecord(tx, inode, fork, whole)
  return before !== undefined && follows(before, rec)
}

function overlap(inode: Inode, rec: BmbtRec, other: BmbtRec): never {
  throw inodeError(
    inode.ino,
    `the extent [${rec.startoff}, +${rec.blockcount}) overlaps [${other.startoff}, +${other.blockcount})`,
  )
}

/**
 * Remove `piece`, a part of the record `whole`, from the map. Only the map and its count change.
 */
export function removeMapping(tx: Transaction, inode: Inode, fork: ForkName, whole: BmbtRec, piece: BmbtRec): void {
  const before = piece.startoff - whole.startoff
  const after = endOf(whole) - endOf(piece)
  const rest: BmbtRec = {
    ...whole,
    startoff: endOf(piece),
    startblock: piece.startblock + piece.blockcount,
    blockcount: after,
  }
  if (before > 0) {
    if (after > 0) reserveExtents(tx, inode, fork, 1)
    recordsOf(tx, inode, fork).replace(whole.startoff, { ...whole, blockcount: before })
    if (after > 0) insertRecord(tx, inode, fork, rest)
  } else if (after > 0) recordsOf(tx, inode, fork).replace(whole.startoff, rest)
  else recordsOf(tx, inode, fork).remove(whole.startoff)
}

/** Move the records back into the inode if they fit. */
export function shrinkFork(tx: Transaction, inode: Inode, fork: ForkName): void {
  if (forkFormat(inode, fork) !== FORK_FORMATS.btree) return
  if (extentCount(inode, fork) * BmbtRec.size <= forkSize(inode, fork)) btreeToExtents(tx, inode, fork)
}
