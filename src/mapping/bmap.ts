import { Cursor } from '../btree/cursor.ts'
import { readBmbt } from '../btree/trees/bmbt.ts'
import { XfsError } from '../errors.ts'
import { BmbtRec, MAX_BMBT_EXTLEN, MAX_FILE_BLOCKS } from '../format/btrecs.ts'
import { DIFLAGS2, FORK_FORMATS } from '../format/dinode.ts'
import {
  addBlocks,
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
import { allocExtent, extentFree } from '../space/alloc.ts'
import { refcountUpdate } from '../space/refcount.ts'
import { rmapUpdate } from '../space/rmap.ts'
import type { Transaction } from '../tx/transaction.ts'
import { trace } from '../util/trace.ts'
import type { BlockReader } from '../volume.ts'
import { bmbtTree, btreeToExtents, extentsToBtree, indexBefore, inodeBlock, leaves } from './fork.ts'

/**
 * The block maps of files: which file blocks are where on the disk.
 *
 *   file block    0         10        20        30
 *   extents       ├─written──┤         ├─unwr─┤               │ startoff, startblock, blockcount, unwritten │ …
 *   map [10,+4)   ├─written──┼───┤     ├─unwr─┤               joined with its neighbours where blocks, offsets and flag continue
 *   unmap [3,+4)  ├──┤    ├──┼───┤     ├─unwr─┤               cut: one record more
 *
 * Whatever changes here, the rest is queued: what the reverse mappings have to learn, whose blocks become free or lose an owner. The form of
 * the fork follows its count: records in the inode while they fit, a bmbt as soon as they do not, and back again.
 * Invariants: records do not overlap and grow; neighbours that could be one are one; nextents counts records, nblocks mapped blocks and bmbt blocks.
 *
 * Cost: one lookup and one change of a tree a record, so appending to a file of any length is O(log n).
 * Source: fs/xfs/libxfs/xfs_bmap.c.
 */

const readRecord = readBmbt

const endOf = (rec: BmbtRec): number => rec.startoff + rec.blockcount

/** @throws XfsError CORRUPT where the record cannot be, or does not follow one that ends at `floor` */
function checkRecord(inode: Inode, fork: ForkName, rec: BmbtRec, floor: number): void {
  const { geometry } = inode.volume
  const bad =
    rec.blockcount === 0
      ? 'is empty'
      : rec.startoff < floor
        ? `overlaps what ends at ${floor}`
        : endOf(rec) > MAX_FILE_BLOCKS
          ? 'ends beyond the largest file'
          : fork === 'data' && inode.realtime
            ? undefined
            : geometry.validFsbnoRange(rec.startblock, rec.blockcount)
              ? undefined
              : 'lies outside of its group'
  if (bad) {
    throw inodeError(
      inode.ino,
      `${fork} fork: the extent [${rec.startoff}, +${rec.blockcount}) at block ${rec.startblock} ${bad}`,
    )
  }
}

/**
 * The extents of a fork in file order, from the one that holds block `from` (or follows it). Nothing may change the fork meanwhile.
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
      const rec = readRecord(leaf.view, leaf.at + index * BmbtRec.size)
      checkRecord(inode, fork, rec, floor)
      floor = endOf(rec)
      if (floor > from) yield rec
    }
  }
}

/** The extent that holds file block `offset`, or else the next one; undefined behind the last. */
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
    const rec = readRecord(view, at + index * BmbtRec.size)
    checkRecord(inode, fork, rec, 0)
    return rec
  }
  return undefined
}

/** The last extent of a fork. */
export const lastExtent = (inode: Inode, fork: ForkName, reader: BlockReader = inode.volume): BmbtRec | undefined =>
  extentBefore(inode, fork, MAX_FILE_BLOCKS, reader)

// ------------------------------------------------------------------------------------------------- one record

/** The records of a fork for changing: in the inode or in its tree. Positions are found by `startoff`. */
interface Records {
  insert(rec: BmbtRec): void
  /** Put `rec` in place of the record that begins at `startoff`; its neighbours stay its neighbours. */
  replace(startoff: number, rec: BmbtRec): void
  remove(startoff: number): void
}

function recordsOf(tx: Transaction, inode: Inode, fork: ForkName): Records {
  return forkFormat(inode, fork) === FORK_FORMATS.btree ? treeRecords(tx, inode, fork) : inlineRecords(tx, inode, fork)
}

function inlineRecords(tx: Transaction, inode: Inode, fork: ForkName): Records {
  const place = (startoff: number): { view: DataView; at: number; after: number } => {
    const view = editInode(tx, inode)
    const first = forkStart(inode, fork)
    const count = extentCount(inode, fork)
    const index = indexBefore({ view, at: first, count }, startoff)
    return { view, at: first + index * 16, after: (count - index - 1) * 16 }
  }
  const bytes = (view: DataView, at: number, length: number): Uint8Array =>
    new Uint8Array(view.buffer, view.byteOffset + at, length)
  return {
    insert(rec) {
      const { view, at, after } = place(rec.startoff)
      bytes(view, at + 16, after + 16).copyWithin(16, 0, after)
      BmbtRec.encode(view, at + 16, rec)
      setExtentCount(tx, inode, fork, extentCount(inode, fork) + 1)
    },
    replace(startoff, rec) {
      const { view, at } = place(startoff)
      BmbtRec.encode(view, at, rec)
    },
    remove(startoff) {
      const { view, at, after } = place(startoff)
      const area = bytes(view, at, after + 16)
      area.copyWithin(0, 16)
      area.fill(0, after)
      setExtentCount(tx, inode, fork, extentCount(inode, fork) - 1)
    },
  }
}

function treeRecords(tx: Transaction, inode: Inode, fork: ForkName): Records {
  const at = (startoff: number): Cursor<BmbtRec, number> => {
    const cursor = new Cursor(bmbtTree(tx, inode, fork))
    if (!cursor.lookup(startoff, 'eq'))
      throw inodeError(inode.ino, `the extent at file block ${startoff} is gone from its btree`)
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

/** The most extents that a fork can have, with small or large counters. */
export const maxExtents = (fork: ForkName, nrext64: boolean): number =>
  fork === 'data' ? (nrext64 ? 2 ** 48 - 1 : 2 ** 31 - 1) : nrext64 ? 2 ** 32 - 1 : 2 ** 15 - 1

/**
 * See to it that a fork can have `more` extents than it has: large counters where that helps.
 * @throws XfsError FBIG
 */
export function reserveExtents(tx: Transaction, inode: Inode, fork: ForkName, more: number): void {
  const count = extentCount(inode, fork) + more
  if (count <= maxExtents(fork, inode.nrext64)) return
  if (!inode.nrext64 && tx.volume.features.has('nrext64') && count <= maxExtents(fork, true)) {
    const data = extentCount(inode, 'data')
    const attr = extentCount(inode, 'attr')
    updateInode(tx, inode, { flags2: inode.flags2 | DIFLAGS2.nrext64 })
    setExtentCount(tx, inode, 'data', data)
    setExtentCount(tx, inode, 'attr', attr)
    return
  }
  throw new XfsError('FBIG', `inode ${inode.ino}: the ${fork} fork cannot have ${count} extents`, {
    type: 'inode',
    ino: inode.ino,
  })
}

/** A record more, in the form that has room for it. */
function insertRecord(tx: Transaction, inode: Inode, fork: ForkName, rec: BmbtRec): void {
  reserveExtents(tx, inode, fork, 1)
  const format = forkFormat(inode, fork)
  if (format !== FORK_FORMATS.extents && format !== FORK_FORMATS.btree)
    throw inodeError(inode.ino, `an extent in a ${fork} fork of format ${format}`)
  if (format === FORK_FORMATS.extents && (extentCount(inode, fork) + 1) * 16 > forkSize(inode, fork))
    extentsToBtree(tx, inode, fork)
  recordsOf(tx, inode, fork).insert(rec)
}

/** Does `right` go on where `left` ends, in the file and on the disk? */
const follows = (left: BmbtRec, right: BmbtRec): boolean =>
  endOf(left) === right.startoff &&
  left.startblock + left.blockcount === right.startblock &&
  left.extentflag === right.extentflag

const continues = (left: BmbtRec, right: BmbtRec): boolean =>
  follows(left, right) && left.blockcount + right.blockcount <= MAX_BMBT_EXTLEN

/**
 * Put `rec` into a hole of the map, joined with its neighbours. Only the map and its count change.
 * @returns whether it follows what is mapped before it
 */
function addMapping(tx: Transaction, inode: Inode, fork: ForkName, rec: BmbtRec): boolean {
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

/** Take `piece`, a part of the record `whole`, out of the map. Only the map and its count change. */
function removeMapping(tx: Transaction, inode: Inode, fork: ForkName, whole: BmbtRec, piece: BmbtRec): void {
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

/** The part of `rec` inside [from, to). */
export function trimExtent(rec: BmbtRec, from: number, to: number): BmbtRec {
  const start = Math.max(rec.startoff, from)
  const end = Math.min(endOf(rec), to)
  return { ...rec, startoff: start, startblock: rec.startblock + (start - rec.startoff), blockcount: end - start }
}

/** Records in the inode again, once they fit there. */
function shrinkFork(tx: Transaction, inode: Inode, fork: ForkName): void {
  if (forkFormat(inode, fork) !== FORK_FORMATS.btree) return
  if (extentCount(inode, fork) * 16 <= forkSize(inode, fork)) btreeToExtents(tx, inode, fork)
}

// ------------------------------------------------------------------------------------------------- mappings

/**
 * Map an extent into a hole of a fork; the blocks belong to nobody yet, or (shared) the caller counts the new owner.
 * @throws XfsError NOSPC (no block for the bmbt), FBIG (too many extents), CORRUPT
 */
export function mapExtent(tx: Transaction, inode: Inode, fork: ForkName, rec: BmbtRec): void {
  const startsRun = !addMapping(tx, inode, fork, rec)
  addBlocks(tx, inode, rec.blockcount)
  deferRmap(tx, inode, fork, 'map', rec, startsRun)
  shrinkFork(tx, inode, fork) // three extents may have become one
}

/** Map longer runs than one record can hold. */
export function mapRun(tx: Transaction, inode: Inode, fork: ForkName, rec: BmbtRec): void {
  for (let done = 0; done < rec.blockcount; ) {
    const piece = trimExtent(rec, rec.startoff + done, rec.startoff + done + MAX_BMBT_EXTLEN)
    mapExtent(tx, inode, fork, piece)
    done += piece.blockcount
  }
}

function deferRmap(
  tx: Transaction,
  inode: Inode,
  fork: ForkName,
  op: 'map' | 'unmap' | 'convert',
  rec: BmbtRec,
  startsRun = false,
): void {
  if (trace.bmap.hasSubscribers) trace.bmap.publish({ point: op, ino: inode.ino, fork, ...rec })
  if (!tx.volume.features.has('rmapbt')) return
  tx.defer(rmapUpdate, {
    op,
    owner: inode.ino,
    fork,
    startoff: rec.startoff,
    fsbno: rec.startblock,
    blockcount: rec.blockcount,
    unwritten: rec.extentflag === 1,
    startsRun,
  })
}

export interface UnmapOptions {
  /** The most extents to work on in this transaction (default: all); it also ends where the transaction is full. */
  readonly maxExtents?: number
  /** What becomes of the blocks: the fork gives them up (default), or the caller has taken them over. */
  readonly keepBlocks?: boolean
}

/** Blocks of a file that may share that are taken out in one piece, where the work may be done in steps. */
export const SHARED_PIECE = 16384

/**
 * Take the file blocks [startoff, startoff + blockcount) out of a fork, from the end. Blocks of a file that may share lose one owner; others become free.
 * @returns the blocks at the start of the range that are left to do; 0: the range is a hole now
 * @throws XfsError NOSPC (a cut in the middle of an extent may need a bmbt block), FBIG, CORRUPT
 */
export function unmapRange(
  tx: Transaction,
  inode: Inode,
  fork: ForkName,
  startoff: number,
  blockcount: number,
  options: UnmapOptions = {},
): number {
  const most = options.maxExtents ?? Number.POSITIVE_INFINITY
  // Every block of a long extent may be shared with others, or not: as many counts may have to change.
  const longest = options.maxExtents !== undefined && inode.reflink ? SHARED_PIECE : MAX_FILE_BLOCKS
  let end = Math.min(startoff + blockcount, MAX_FILE_BLOCKS)
  for (let done = 0; ; done++) {
    const rec = end > startoff ? extentBefore(inode, fork, end, tx) : undefined
    if (!rec || endOf(rec) <= startoff) break
    const stop = Math.min(end, endOf(rec))
    if (done === most || (options.maxExtents !== undefined && done > 0 && tx.full)) {
      shrinkFork(tx, inode, fork)
      return stop - startoff
    }
    const piece = trimExtent(rec, Math.max(startoff, stop - longest), stop)
    removeMapping(tx, inode, fork, rec, piece)
    addBlocks(tx, inode, -piece.blockcount)
    deferRmap(tx, inode, fork, 'unmap', piece)
    if (options.keepBlocks !== true) releaseBlocks(tx, inode, fork, piece)
    end = piece.startoff
  }
  shrinkFork(tx, inode, fork)
  return 0
}

function releaseBlocks(tx: Transaction, inode: Inode, fork: ForkName, { startblock, blockcount }: BmbtRec): void {
  if (fork === 'data' && inode.reflink) tx.defer(refcountUpdate, { op: 'decrease', fsbno: startblock, blockcount })
  else tx.defer(extentFree, { fsbno: startblock, blockcount })
}

/** Blocks of [startoff, startoff + blockcount) that are mapped and whose flag differs become unwritten (or written). */
export function convertRange(
  tx: Transaction,
  inode: Inode,
  fork: ForkName,
  startoff: number,
  blockcount: number,
  unwritten: 0 | 1,
): void {
  const end = startoff + blockcount
  for (let from = startoff; from < end; ) {
    const rec = findExtent(inode, fork, from, tx)
    if (!rec || rec.startoff >= end) break
    from = Math.min(endOf(rec), end)
    if (rec.extentflag === unwritten) continue
    const piece = trimExtent(rec, startoff, end)
    const changed = { ...piece, extentflag: unwritten }
    if (piece.blockcount === rec.blockcount && !joins(inode, fork, changed, tx))
      recordsOf(tx, inode, fork).replace(rec.startoff, changed)
    else {
      removeMapping(tx, inode, fork, rec, piece)
      addMapping(tx, inode, fork, changed)
    }
    deferRmap(tx, inode, fork, 'convert', changed)
  }
  shrinkFork(tx, inode, fork)
}

/** Would the extent, as it is now, be one with a neighbour? */
function joins(inode: Inode, fork: ForkName, rec: BmbtRec, reader: BlockReader): boolean {
  const before = extentBefore(inode, fork, rec.startoff, reader)
  const after = findExtent(inode, fork, endOf(rec), reader)
  return (before !== undefined && continues(before, rec)) || (after !== undefined && continues(rec, after))
}

/**
 * Move what is mapped in [startoff, end of the file) by `distance` file blocks (negative: to the left, into a hole), `most` extents at a time.
 *
 * @param from  where to go on: `startoff` (left) or the end of the file (right) at first
 * @returns where to go on, or undefined when all is moved
 */
export function shiftExtents(
  tx: Transaction,
  inode: Inode,
  startoff: number,
  distance: number,
  from: number,
  most: number,
): number | undefined {
  let next = from
  for (let done = 0; done < most && !(done > 0 && tx.full); done++) {
    const rec = distance < 0 ? findExtent(inode, 'data', next, tx) : extentBefore(inode, 'data', next, tx)
    if (!rec || rec.startoff < startoff) {
      shrinkFork(tx, inode, 'data')
      return undefined
    }
    const moved = { ...rec, startoff: rec.startoff + distance }
    removeMapping(tx, inode, 'data', rec, rec)
    addMapping(tx, inode, 'data', moved)
    deferRmap(tx, inode, 'data', 'unmap', rec)
    deferRmap(tx, inode, 'data', 'map', moved)
    next = distance < 0 ? endOf(rec) : rec.startoff
  }
  shrinkFork(tx, inode, 'data')
  return next
}

/** Cut the extent that holds `startoff` in two there, so that what follows can be moved. */
export function splitExtent(tx: Transaction, inode: Inode, fork: ForkName, startoff: number): void {
  const rec = findExtent(inode, fork, startoff, tx)
  if (!rec || rec.startoff >= startoff) return
  const head = trimExtent(rec, 0, startoff)
  reserveExtents(tx, inode, fork, 1)
  recordsOf(tx, inode, fork).replace(rec.startoff, head)
  insertRecord(tx, inode, fork, trimExtent(rec, startoff, MAX_FILE_BLOCKS))
}

// ------------------------------------------------------------------------------------------------- allocation

export interface AllocateOptions {
  readonly unwritten?: boolean
  /** One extent for all of it. */
  readonly contiguous?: boolean
  /** No extent shorter than this, but for the last. */
  readonly minLength?: number
  /** Where the transaction becomes full, the rest of the range stays a hole; something is allocated in any case. */
  readonly untilFull?: boolean
  /** An fsbno to be near to; default: the neighbours of the range in the file, then the inode. */
  readonly near?: number
}

/**
 * Allocate blocks for the file blocks [startoff, startoff + blockcount), a hole, and map them.
 * @returns the extents, in file order
 * @throws XfsError NOSPC, FBIG
 */
export function allocateRange(
  tx: Transaction,
  inode: Inode,
  fork: ForkName,
  startoff: number,
  blockcount: number,
  options: AllocateOptions = {},
): BmbtRec[] {
  const made: BmbtRec[] = []
  let near = options.near ?? nearestBlock(inode, fork, startoff, tx)
  for (let done = 0; done < blockcount && !(options.untilFull && done > 0 && tx.full); ) {
    const left = blockcount - done
    const maxLength = Math.min(left, MAX_BMBT_EXTLEN)
    const minLength = options.contiguous ? maxLength : Math.min(options.minLength ?? 1, maxLength)
    const { fsbno, length } = allocExtent(tx, { near, minLength, maxLength, reserve: 'none' })
    const rec: BmbtRec = {
      extentflag: options.unwritten ? 1 : 0,
      startoff: startoff + done,
      startblock: fsbno,
      blockcount: length,
    }
    mapExtent(tx, inode, fork, rec)
    made.push(rec)
    done += length
    near = fsbno + length
  }
  return made
}

/** The block that would continue the file at `startoff`. */
export function nearestBlock(inode: Inode, fork: ForkName, startoff: number, reader: BlockReader): number {
  const { geometry } = inode.volume
  const before = extentBefore(inode, fork, startoff, reader)
  if (before) {
    const wish = before.startblock + (startoff - before.startoff)
    const after = before.startblock + before.blockcount
    return geometry.validFsbnoRange(before.startblock, startoff - before.startoff + 1) ? wish : after
  }
  const next = findExtent(inode, fork, startoff, reader)
  if (next) {
    const wish = next.startblock - (next.startoff - startoff)
    return wish > 0 && geometry.agnoOf(wish) === geometry.agnoOf(next.startblock) ? wish : next.startblock
  }
  return inodeBlock(inode)
}
