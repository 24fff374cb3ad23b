import { type BmbtRec, MAX_BMBT_EXTLEN, MAX_FILE_BLOCKS } from '../format/btrecs.ts'
import { addBlocks, type ForkName, type Inode } from '../inode/inode.ts'
import { allocExtent, extentFree } from '../space/alloc.ts'
import { refcountUpdate } from '../space/refcount.ts'
import { rmapUpdate } from '../space/rmap.ts'
import type { Transaction } from '../tx/transaction.ts'
import { trace } from '../util/trace.ts'
import type { BlockReader } from '../volume.ts'
import { endOf, extentBefore, findExtent, trimExtent } from './extents.ts'
import { inodeBlock } from './fork.ts'
import {
  addMapping,
  continues,
  insertRecord,
  recordsOf,
  removeMapping,
  reserveExtents,
  shrinkFork,
} from './maprecords.ts'

/**
 * The block maps of files: the disk blocks of file blocks.
 *
 *   file block    0         10        20        30
 *   extents       ├─written──┤         ├─unwr─┤      startoff, startblock, blockcount, unwritten
 *   map [10,+4)   ├─written──┼───┤     ├─unwr─┤      joined if blocks, offsets and flag continue
 *   unmap [3,+4)  ├──┤    ├──┼───┤     ├─unwr─┤      split: one more record
 *
 * Changes of other structures are deferred: reverse mappings, blocks to free, reference counts. For
 * reading see extents.ts, for the records only maprecords.ts, for the bmbt of a fork fork.ts. The
 * caller handles sizes, times and contents of files.
 *
 * Invariants: records ascend and do not overlap; neighbours that could be joined are joined;
 * nextents counts records, nblocks counts mapped blocks and bmbt blocks.
 *
 * Cost: one lookup and one tree change per record, so appending to a file of any length is O(log
 * n). Source: fs/xfs/libxfs/xfs_bmap.c.
 */

/**
 * Map an extent into a hole of a fork. The blocks have no owner yet, or (shared) the caller adds
 * this owner to their count.
 * @throws XfsError NOSPC (no block for the bmbt), FBIG (too many extents), CORRUPT
 */
export function mapExtent(tx: Transaction, inode: Inode, fork: ForkName, rec: BmbtRec): void {
  const startsRun = !addMapping(tx, inode, fork, rec)
  addBlocks(tx, inode, rec.blockcount)
  deferRmap(tx, inode, fork, 'map', rec, startsRun)
  shrinkFork(tx, inode, fork) // three extents may have been joined
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

interface UnmapOptions {
  /**
   * Maximum extents to process in this transaction (default: all). It also ends when the
   * transaction is full.
   */
  readonly maxExtents?: number
  /**
   * Keep the blocks: the caller has taken them over (default: the fork gives them up).
   */
  readonly keepBlocks?: boolean
}

/**
 * Maximum blocks of a file with shared extents that are unmapped at once, if the work may be done
 * in steps.
 */
export const SHARED_PIECE = 16384

/**
 * Unmap the file blocks [startoff, startoff + blockcount) of a fork, from the end. Blocks of a file
 * with shared extents lose one owner; others are freed.
 * @returns the number of blocks at the start of the range that are not done yet; 0: the range is a
 *   hole
 * @throws XfsError NOSPC (a split of an extent may need a bmbt block), FBIG, CORRUPT
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
  // Each block of a long extent may be shared or not: as many reference counts may have to change.
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

/**
 * Convert mapped blocks of [startoff, startoff + blockcount) to unwritten (or written) if their
 * flag differs.
 */
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

/** True if the extent in its current state can be joined with a neighbour. */
function joins(inode: Inode, fork: ForkName, rec: BmbtRec, reader: BlockReader): boolean {
  const before = extentBefore(inode, fork, rec.startoff, reader)
  const after = findExtent(inode, fork, endOf(rec), reader)
  return (before !== undefined && continues(before, rec)) || (after !== undefined && continues(rec, after))
}

/**
 * Move the extents in [startoff, end of the file) by `distance` file blocks (negative: to the left,
 * into a hole), at most `most` extents at a time.
 *
 * @param from  where to continue: at first `startoff` (left) or the end of the file (right)
 * @returns where to continue, or undefined when all are moved
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

/** Split the extent that contains `startoff` there, so that the second part can be moved. */
export function splitExtent(tx: Transaction, inode: Inode, fork: ForkName, startoff: number): void {
  const rec = findExtent(inode, fork, startoff, tx)
  if (!rec || rec.startoff >= startoff) return
  const head = trimExtent(rec, 0, startoff)
  reserveExtents(tx, inode, fork, 1)
  recordsOf(tx, inode, fork).replace(rec.startoff, head)
  insertRecord(tx, inode, fork, trimExtent(rec, startoff, MAX_FILE_BLOCKS))
}

// -------------------------------------------------------------------------------------- allocation

interface AllocateOptions {
  readonly unwritten?: boolean
  /** Allocate a single extent. */
  readonly contiguous?: boolean
  /** No extent is shorter than this, except the last. */
  readonly minLength?: number
  /**
   * If the transaction becomes full, the rest of the range stays a hole. At least one extent is
   * allocated.
   */
  readonly untilFull?: boolean
  /**
   * An fsbno to allocate near to (default: the neighbours of the range in the file, then the
   * inode).
   */
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

/** The block that would continue the file at `startoff` contiguously. */
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
