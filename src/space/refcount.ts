import { Cursor, records } from '../btree/cursor.ts'
import { openTree } from '../btree/roots.ts'
import { refcountbt } from '../btree/trees/refcountbt.ts'
import { XfsError } from '../errors.ts'
import { MAX_REFCOUNT, MAX_REFCOUNT_EXTLEN, OWNERS, type RefcountRec } from '../format/btrecs.ts'
import type { DeferType } from '../tx/transaction.ts'
import { type Transaction, withTransaction } from '../tx/transaction.ts'
import { trace } from '../util/trace.ts'
import type { BlockReader, Volume } from '../volume.ts'
import { extentFree } from './alloc.ts'
import { rmapUpdate } from './rmap.ts'
import { changeTree } from './trees.ts'

/**
 * Reference counts: how many mappings share a block.
 *
 * The refcountbt has records of extents that have two or more owners. A block without a record is
 * free, or has one owner. To add an owner to a range, the counts of records are incremented, and
 * gaps become records with the count 2. To remove one, records with the count 2 are deleted, and
 * the blocks in gaps, which lose their only owner, are freed.
 *
 *     range             ├────────────────────────────────┤
 *     records    ┌──────────┐     ┌───┐┌──┐     ┌──────┐┌────────┐
 *                │    2     │  1  │ 3 ││17│  1  │  10  ││   10   │
 *                └──────────┘     └───┘└──┘     └──────┘└────────┘
 *     cut at     ┌─────┬────┐     ┌───┐┌──┐     ┌──────┬─┬───────┐
 *     both ends  │  2  │ 2  │  1  │ 3 ││17│  1  │  10  │…│   10  │
 *     +1         ┌─────┬────┬─────┬───┬┬──┬─────┬────────┬───────┐
 *                │  2  │ 3  │  2  │ 4 ││18│  2  │   11   │   10  │
 *     −1         ┌─────┐          ┌───┐┌──┐     ┌────────┬───────┐
 *                │  2  │  1  free │ 2 ││16│ free│    9   │   10  │
 *
 * Adjacent records with equal counts must be joined: otherwise xfs_repair warns, and the kernel's
 * scrub reports corruption. The kernel splits records at both ends, merges left, centre and right,
 * and then steps through the middle. Here the range is processed as a window that extends one
 * record beyond each end:
 *
 *     1. read the records that overlap or touch the range (the old list)
 *     2. walk range and gaps in order, change the counts, join adjacent equal ones (the new list)
 *     3. merge-join both lists by first block: delete, update or insert the differences
 *
 * This gives the same records, has no special cases for its ends, and can stop after any record:
 * `finish` then returns the rest of the range. A saturated count never changes: the number of its
 * owners is unknown.
 *
 * CoW staging extents are in the same tree, in a separate domain (the top bit of the block number),
 * with the count 1, so that a crash does not leak them: allocCowExtent, freeCowExtent.
 * Source: fs/xfs/libxfs/xfs_refcount.c; XFS Algorithms & Data Structures, "Reference Count B+tree".
 */

/** A change of reference counts that follows from a change of a mapping, or from copy-on-write. */
export interface RefcountUpdate {
  readonly op: 'increase' | 'decrease' | 'allocCow' | 'freeCow'
  readonly fsbno: number
  readonly blockcount: number
}

/** Records that one step processes before it returns the rest. */
const RECORDS_PER_STEP = 1024

export const refcountUpdate: DeferType<RefcountUpdate> = {
  name: 'refcount',
  rank: 30,
  finish(tx, item) {
    const { geometry, features } = tx.volume
    if (!features.has('reflink')) throw new XfsError('UNSUPPORTED', 'the filesystem has no reflink feature')
    if (!geometry.validFsbnoRange(item.fsbno, item.blockcount)) {
      throw new XfsError('CORRUPT', `reference counts of ${item.fsbno}+${item.blockcount}: the range is not in one AG`)
    }
    const agno = geometry.agnoOf(item.fsbno)
    const agbno = geometry.agbnoOf(item.fsbno)
    if (trace.refcount.hasSubscribers) trace.refcount.publish({ point: item.op, agno, agbno, length: item.blockcount })
    const done = adjust(tx, agno, agbno, item.blockcount, item.op)
    if (done === item.blockcount) return undefined
    return { op: item.op, fsbno: item.fsbno + done, blockcount: item.blockcount - done }
  },
}

/**
 * Record newly allocated blocks as CoW staging: in the refcountbt, and as OWN_COW in the rmapbt.
 */
export function allocCowExtent(tx: Transaction, fsbno: number, blockcount: number): void {
  tx.defer(refcountUpdate, { op: 'allocCow', fsbno, blockcount })
  tx.defer(rmapUpdate, { op: 'map', owner: OWNERS.cow, fork: 'data', startoff: 0, fsbno, blockcount })
}

/** Remove the blocks from CoW staging. The caller then maps or frees them. */
export function freeCowExtent(tx: Transaction, fsbno: number, blockcount: number): void {
  tx.defer(rmapUpdate, { op: 'unmap', owner: OWNERS.cow, fork: 'data', startoff: 0, fsbno, blockcount })
  tx.defer(refcountUpdate, { op: 'freeCow', fsbno, blockcount })
}

/**
 * Free CoW staging extents left by a crash. The kernel does this after log replay.
 * @returns blocks freed
 */
export function freeCowLeftovers(volume: Volume, agno: number): number {
  if (!volume.features.has('reflink')) return 0
  const left = [...records(openTree(volume, 'refcountbt', agno), FIRST_COW_KEY)]
  for (const { startblock, blockcount } of left) {
    const fsbno = volume.geometry.fsbno(agno, startblock)
    withTransaction(volume, (tx) => {
      freeCowExtent(tx, fsbno, blockcount)
      tx.defer(extentFree, { fsbno, blockcount })
    })
  }
  return left.reduce((sum, { blockcount }) => sum + blockcount, 0)
}

/** True if there are CoW staging extents. */
export const hasCowLeftovers = (volume: Volume, agno: number): boolean =>
  volume.features.has('reflink') && !records(openTree(volume, 'refcountbt', agno), FIRST_COW_KEY).next().done

/** Shared extents sort before this key. */
const FIRST_COW_KEY = refcountbt.lowKey({ cowflag: 1, startblock: 0, blockcount: 1, refcount: 1 })

/**
 * The new count of an extent; `count` is the old one: 1 in a gap among shared extents, 0 in one
 * among CoW staging.
 */
type Rule = (count: number) => number | undefined

const RULES: Readonly<Record<RefcountUpdate['op'], { readonly cowflag: 0 | 1; readonly rule: Rule }>> = {
  increase: { cowflag: 0, rule: (count) => (count === MAX_REFCOUNT ? count : count + 1) },
  decrease: { cowflag: 0, rule: (count) => (count === MAX_REFCOUNT ? count : count - 1) },
  allocCow: { cowflag: 1, rule: (count) => (count === 0 ? 1 : undefined) },
  freeCow: { cowflag: 1, rule: (count) => (count === 1 ? 0 : undefined) },
}

const endOf = (rec: RefcountRec): number => rec.startblock + rec.blockcount
const same = (a: RefcountRec, b: RefcountRec): boolean => a.blockcount === b.blockcount && a.refcount === b.refcount

function corrupt(agno: number, message: string): XfsError {
  return new XfsError('CORRUPT', `AG ${agno}: ${message}`, { agno, type: 'refcountbt' })
}

/** The new list under construction: records in order, joined when added. */
class RefcountList {
  readonly list: RefcountRec[] = []
  readonly #cowflag: 0 | 1
  readonly #agno: number

  constructor(agno: number, cowflag: 0 | 1) {
    this.#agno = agno
    this.#cowflag = cowflag
  }

  add(startblock: number, end: number, refcount: number): void {
    const blockcount = end - startblock
    // Blocks without a record have one owner, or (CoW domain) none.
    if (blockcount === 0 || refcount < 2 - this.#cowflag) return
    const last = this.list.at(-1)
    if (
      last &&
      endOf(last) === startblock &&
      last.refcount === refcount &&
      last.blockcount + blockcount < MAX_REFCOUNT_EXTLEN
    ) {
      if (trace.refcount.hasSubscribers)
        trace.refcount.publish({ point: 'merge', agno: this.#agno, ...last, with: startblock })
      this.list[this.list.length - 1] = { ...last, blockcount: last.blockcount + blockcount }
    } else this.list.push({ cowflag: this.#cowflag, startblock, blockcount, refcount })
  }
}

/**
 * Step 1: the records that overlap or touch the range. If there are many, the part of the range
 * that they cover.
 */
function window(
  cursor: Cursor<RefcountRec, number>,
  cowflag: 0 | 1,
  start: number,
  end: number,
): { old: RefcountRec[]; end: number } {
  const old: RefcountRec[] = []
  const key = refcountbt.lowKey({ cowflag, startblock: start, blockcount: 1, refcount: 0 })
  let more: boolean
  // A record that begins at `start` may follow one that touches it.
  if (cursor.lookup(key - 1, 'le')) {
    const rec = cursor.record()
    more = rec.cowflag === cowflag && endOf(rec) >= start ? true : cursor.next()
  } else more = cursor.lookup(key, 'ge')
  for (; more; more = cursor.next()) {
    const rec = cursor.record()
    if (rec.cowflag !== cowflag || rec.startblock > end) break
    old.push(rec)
    if (old.length > RECORDS_PER_STEP && rec.startblock < end && rec.startblock > start)
      return { old, end: rec.startblock }
  }
  return { old, end }
}

/** Change the counts of [agbno, agbno + length). @returns blocks done, from the start */
function adjust(tx: Transaction, agno: number, agbno: number, length: number, op: RefcountUpdate['op']): number {
  const { cowflag, rule } = RULES[op]
  const cursor = new Cursor(changeTree(tx, 'refcountbt', agno))
  const { old, end } = window(cursor, cowflag, agbno, agbno + length)
  const joined = new RefcountList(agno, cowflag)
  const traced = trace.refcount.hasSubscribers
  const change = (from: number, to: number, count: number): void => {
    if (from >= to) return
    const refcount = rule(count)
    if (refcount === undefined) {
      throw corrupt(agno, `blocks ${from}+${to - from} are ${count === 0 ? 'not' : 'already'} CoW staging (${op})`)
    }
    if (traced)
      trace.refcount.publish({ point: 'modify', agno, agbno: from, length: to - from, from: count, to: refcount })
    if (refcount === 0 && cowflag === 0)
      tx.defer(extentFree, { fsbno: tx.volume.geometry.fsbno(agno, from), blockcount: to - from })
    joined.add(from, to, refcount)
  }
  const gap = 1 - cowflag
  let at = agbno
  for (const rec of old) {
    if (rec.startblock < at && rec.startblock >= agbno)
      throw corrupt(agno, `the record at ${rec.startblock} overlaps the previous one`)
    if (traced && rec.startblock < agbno && endOf(rec) > agbno)
      trace.refcount.publish({ point: 'split', agno, agbno, ...rec })
    if (traced && rec.startblock < end && endOf(rec) > end)
      trace.refcount.publish({ point: 'split', agno, agbno: end, ...rec })
    // The part before the range, the gap before the record, the part inside, the part after.
    joined.add(rec.startblock, Math.min(endOf(rec), Math.max(agbno, rec.startblock)), rec.refcount)
    change(at, Math.min(rec.startblock, end), gap)
    change(Math.max(rec.startblock, agbno), Math.min(endOf(rec), end), rec.refcount)
    joined.add(Math.max(rec.startblock, Math.min(end, endOf(rec))), endOf(rec), rec.refcount)
    at = Math.min(Math.max(at, endOf(rec)), end)
  }
  change(at, end, gap)
  replace(cursor, agno, old, joined.list)
  return end - agbno
}

/** Step 3: replace the old records in the tree by the new ones. */
function replace(
  cursor: Cursor<RefcountRec, number>,
  agno: number,
  old: readonly RefcountRec[],
  now: readonly RefcountRec[],
): void {
  const seek = (rec: RefcountRec): void => {
    if (!cursor.lookup(refcountbt.lowKey(rec), 'eq')) throw corrupt(agno, `the record at ${rec.startblock} is missing`)
  }
  const traceChange = (point: string, rec: RefcountRec): void => {
    if (trace.refcount.hasSubscribers) trace.refcount.publish({ point, agno, ...rec })
  }
  let o = 0
  let n = 0
  while (o < old.length || n < now.length) {
    const was = old[o]
    const is = now[n]
    if (was && (!is || was.startblock < is.startblock)) {
      seek(was)
      traceChange('delete', was)
      cursor.delete()
      o++
    } else if (is && (!was || is.startblock < was.startblock)) {
      traceChange('insert', is)
      cursor.insert(is)
      n++
    } else if (was && is) {
      if (!same(was, is)) {
        seek(is)
        traceChange('update', is)
        cursor.update(is)
      }
      o++
      n++
    }
  }
}

/**
 * The first extent of shared blocks in [agbno, agbno + length), cut to that range. Counts may
 * differ within it.
 */
export function findShared(
  volume: Volume,
  reader: BlockReader,
  agno: number,
  agbno: number,
  length: number,
): { agbno: number; length: number } | undefined {
  if (!volume.features.has('reflink')) return undefined
  if (trace.refcount.hasSubscribers) trace.refcount.publish({ point: 'findShared', agno, agbno, length })
  const end = agbno + length
  const cursor = new Cursor(openTree(volume, 'refcountbt', agno, reader))
  let more: boolean
  if (cursor.lookup(agbno, 'le')) more = endOf(cursor.record()) > agbno ? true : cursor.next()
  else more = cursor.lookup(agbno, 'ge')
  let from = -1
  let to = -1
  for (; more; more = cursor.next()) {
    const rec = cursor.record()
    if (rec.cowflag === 1 || rec.startblock >= end) break
    if (from >= 0 && rec.startblock !== to) break
    if (from < 0) from = Math.max(agbno, rec.startblock)
    to = endOf(rec)
    if (to >= end) break
  }
  if (from < 0) return undefined
  const run = { agbno: from, length: Math.min(to, end) - from }
  if (trace.refcount.hasSubscribers) trace.refcount.publish({ point: 'findSharedResult', agno, ...run })
  return run
}
