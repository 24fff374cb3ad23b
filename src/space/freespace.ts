import { Cursor, lastRecord } from '../btree/cursor.ts'
import { XfsError } from '../errors.ts'
import { Agf } from '../format/ag.ts'
import type { AllocRec } from '../format/btrecs.ts'
import type { Transaction } from '../tx/transaction.ts'
import { ExtentSet } from '../util/extentset.ts'
import { bnoTree, cntTree } from './agfl.ts'

/**
 * The free space of one AG: two trees with the same records, by block (to find neighbours) and by
 * size (to find a length).
 *
 *   bnobt   ──▶ [10,+4] [20,+2] [30,+9]
 *   cntbt   ──▶ [20,+2] [10,+4] [30,+9] ◀── longest
 *
 *   after taking 31,+3:
 *   bnobt   ──▶ [10,+4] [20,+2] [30,+1] [34,+5]
 *   cntbt   ──▶ [30,+1] [20,+2] [10,+4] [34,+5]
 *
 * Invariants: no two records of bnobt are adjacent; both trees hold the same set; AGF `freeblks` is
 * its sum and `longest` the last record of cntbt. The callers handle the length of the AGFL, owners
 * and reservations (freelist.ts, alloc.ts).
 *
 * A transaction does not reuse blocks that it has freed while there are others: until it is on the
 * device, an older state of the image points to them. Blocks freed by earlier transactions are
 * avoided as well if others are as good, because reusing them costs a sync.
 *
 * Source: fs/xfs/libxfs/xfs_alloc.c (xfs_free_ag_extent, xfs_alloc_fixup_trees). The search order
 * of `near` is not that of the kernel.
 */
interface FreeExtent {
  readonly agbno: number
  readonly length: number
}

/** A request for blocks of one AG. */
interface Wanted {
  readonly minLength: number
  readonly maxLength: number
  /** The first block is a multiple of this. */
  readonly alignment: number
  /**
   * As close to this block as can be found cheaply (default: the smallest free extent that is long
   * enough).
   */
  readonly near?: number | undefined
  /** Exactly at `near`. */
  readonly exact?: boolean | undefined
  /** The first block is in [minAgbno, maxAgbno]. */
  readonly minAgbno?: number | undefined
  readonly maxAgbno?: number | undefined
}

/** Records read on either side of the wanted block before the search by size. */
const NEIGHBOURS = 32

const endOf = (rec: AllocRec): number => rec.startblock + rec.blockcount

function corrupt(agno: number, message: string): XfsError {
  return new XfsError('CORRUPT', `AG ${agno}: ${message}`, { agno, type: 'bnobt' })
}

// ---- blocks freed by this transaction ----

const freedBy = new WeakMap<Transaction, Map<number, ExtentSet>>()

/** Blocks of the AG freed by this transaction. */
function freedHere(tx: Transaction, agno: number): ExtentSet | undefined {
  return freedBy.get(tx)?.get(agno)
}

/** Record that this transaction freed the extent. */
export function recordFreed(tx: Transaction, agno: number, run: FreeExtent): void {
  const groups = freedBy.get(tx) ?? freedFrom(tx)
  const set = groups.get(agno) ?? new ExtentSet()
  groups.set(agno, set)
  set.add(run.agbno, run.length)
}

/** The volume is notified after the commit. */
function freedFrom(tx: Transaction): Map<number, ExtentSet> {
  const groups = new Map<number, ExtentSet>()
  freedBy.set(tx, groups)
  tx.onCommit(() => {
    for (const [agno, set] of groups) for (const { start, length } of set) tx.volume.recordFreed(agno, start, length)
  })
  return groups
}

// ---- changing the two trees ----

function addFreeblks(tx: Transaction, agno: number, change: number): void {
  const view = tx.edit(tx.volume.agf(agno, tx))
  const free = Agf.fields.freeblks.get(view, 0) + change
  if (free < 0 || free > Agf.fields.length.get(view, 0)) throw corrupt(agno, `freeblks would be ${free}`)
  Agf.fields.freeblks.set(view, 0, free)
}

/** Set AGF `longest` after changes to cntbt. */
function setLongest(
  tx: Transaction,
  agno: number,
  cnt: Cursor<AllocRec, AllocRec>,
  removed: number,
  added: number,
): void {
  const agf = tx.volume.agf(agno, tx)
  const old = Agf.fields.longest.get(agf.view, 0)
  let longest = old
  if (added >= old) longest = added
  else if (removed >= old) {
    longest = cnt.lookup({ startblock: 0xffffffff, blockcount: 0xffffffff }, 'le') ? cnt.record().blockcount : 0
  }
  if (longest !== old) Agf.fields.longest.set(tx.edit(agf), 0, longest)
}

function deleteBySize(cnt: Cursor<AllocRec, AllocRec>, agno: number, rec: AllocRec): void {
  if (!cnt.lookup(rec, 'eq')) {
    throw corrupt(agno, `free extent ${rec.startblock}+${rec.blockcount} is in bnobt, but not in cntbt`)
  }
  cnt.delete()
}

/** Remove [agbno, agbno + length), a part of the free extent `rec`, from both btrees. */
function takeFound(tx: Transaction, agno: number, rec: AllocRec, run: FreeExtent): void {
  const end = run.agbno + run.length
  const before: AllocRec | undefined =
    run.agbno > rec.startblock ? { startblock: rec.startblock, blockcount: run.agbno - rec.startblock } : undefined
  const after: AllocRec | undefined = end < endOf(rec) ? { startblock: end, blockcount: endOf(rec) - end } : undefined
  if (end > endOf(rec) || run.agbno < rec.startblock)
    throw corrupt(
      agno,
      `blocks ${run.agbno}+${run.length} are not inside the free extent ${rec.startblock}+${rec.blockcount}`,
    )
  const cnt = new Cursor(cntTree(tx, agno))
  deleteBySize(cnt, agno, rec)
  if (before) cnt.insert(before)
  if (after) cnt.insert(after)
  const bno = new Cursor(bnoTree(tx, agno))
  if (!bno.lookup(rec.startblock, 'eq')) {
    throw corrupt(agno, `free extent ${rec.startblock}+${rec.blockcount} is in cntbt, but not in bnobt`)
  }
  const found = bno.record()
  if (found.blockcount !== rec.blockcount) {
    throw corrupt(
      agno,
      `free extent at ${rec.startblock} has length ${found.blockcount} in bnobt, ${rec.blockcount} in cntbt`,
    )
  }
  const first = before ?? after
  if (!first) bno.delete()
  else bno.update(first)
  if (before && after) bno.insert(after)
  addFreeblks(tx, agno, -run.length)
  setLongest(tx, agno, cnt, rec.blockcount, Math.max(before?.blockcount ?? 0, after?.blockcount ?? 0))
}

/**
 * Add an extent to both trees, joined with its free neighbours.
 * @throws XfsError CORRUPT if a part of it is already free
 */
export function giveFree(tx: Transaction, agno: number, run: FreeExtent): void {
  const end = run.agbno + run.length
  const bno = new Cursor(bnoTree(tx, agno))
  const already = (rec: AllocRec): XfsError =>
    corrupt(
      agno,
      `blocks ${run.agbno}+${run.length} cannot be freed: ${rec.startblock}+${rec.blockcount} is already free`,
    )
  let left: AllocRec | undefined
  let right: AllocRec | undefined
  let have: boolean
  if (bno.lookup(run.agbno, 'le')) {
    const rec = bno.record()
    if (endOf(rec) > run.agbno) throw already(rec)
    if (endOf(rec) === run.agbno) left = rec
    have = bno.next()
  } else have = bno.lookup(run.agbno, 'ge')
  if (have) {
    const rec = bno.record()
    if (rec.startblock < end) throw already(rec)
    if (rec.startblock === end) right = rec
  }
  const whole: AllocRec = {
    startblock: left ? left.startblock : run.agbno,
    blockcount: run.length + (left ? left.blockcount : 0) + (right ? right.blockcount : 0),
  }
  if (right) {
    // The cursor is on it.
    if (left) bno.delete()
    else bno.update(whole)
  }
  if (left) {
    if (!bno.lookup(left.startblock, 'eq')) throw corrupt(agno, `the free extent at ${left.startblock} is missing`)
    bno.update(whole)
  }
  if (!left && !right) bno.insert(whole)
  const cnt = new Cursor(cntTree(tx, agno))
  if (left) deleteBySize(cnt, agno, left)
  if (right) deleteBySize(cnt, agno, right)
  cnt.insert(whole)
  addFreeblks(tx, agno, run.length)
  setLongest(tx, agno, cnt, 0, whole.blockcount)
}

// ---- finding an extent ----

interface Candidate {
  readonly rec: AllocRec
  readonly run: FreeExtent
  readonly distance: number
}

/** The best place for the request inside [from, to), a part of a free extent. */
function placeIn(from: number, to: number, wanted: Wanted): FreeExtent | undefined {
  const { alignment, near, minAgbno = 0, maxAgbno = 0xffffffff } = wanted
  const lowest = Math.max(from, minAgbno)
  let start = Math.ceil(lowest / alignment) * alignment
  if (near !== undefined && near > start) {
    const wish = Math.ceil(near / alignment) * alignment
    if (wish <= maxAgbno && wish + wanted.maxLength <= to) start = wish
    else if (wanted.exact) start = wish
  }
  if (start > maxAgbno) return undefined
  const length = Math.min(wanted.maxLength, to - start)
  return length >= wanted.minLength && length > 0 ? { agbno: start, length } : undefined
}

/** Freed blocks to avoid. */
type Freed = readonly ExtentSet[]

/** The best place inside one free extent, without freed blocks. */
function place(rec: AllocRec, wanted: Wanted, freed: Freed): Candidate | undefined {
  const { near } = wanted
  if (rec.blockcount < wanted.minLength) return undefined
  let best: FreeExtent | undefined
  let distance = Number.POSITIVE_INFINITY
  const consider = (from: number, to: number): void => {
    const run = placeIn(from, to, wanted)
    if (!run) return
    const away = near === undefined ? 0 : Math.abs(run.agbno - near)
    if (best && (run.length < best.length || (run.length === best.length && away >= distance))) return
    best = run
    distance = away
  }
  without(rec.startblock, endOf(rec), freed, 0, consider)
  return best && { rec, run: best, distance }
}

/** The parts of [from, to) outside of the sets from `index` on. */
function without(from: number, to: number, sets: Freed, index: number, use: (from: number, to: number) => void): void {
  const set = sets[index]
  if (!set) {
    use(from, to)
    return
  }
  let at = from
  if (set.overlaps(from, to - from)) {
    for (const { start, length } of set.runsFrom(from)) {
      if (start >= to) break
      if (start > at) without(at, start, sets, index + 1, use)
      at = start + length
    }
  }
  if (at < to) without(at, to, sets, index + 1, use)
}

const better = (a: Candidate | undefined, b: Candidate | undefined): Candidate | undefined => {
  if (!a || !b) return a ?? b
  if (a.run.length !== b.run.length) return a.run.length > b.run.length ? a : b
  return b.distance < a.distance ? b : a
}

/** Exactly at the wanted block. */
function findExact(bno: Cursor<AllocRec, number>, wanted: Wanted, freed: Freed): Candidate | undefined {
  const near = wanted.near as number
  if (!bno.lookup(near, 'le')) return undefined
  const rec = bno.record()
  if (endOf(rec) <= near) return undefined
  const found = place(rec, wanted, freed)
  return found?.run.agbno === near ? found : undefined
}

/** An extent of full length among the neighbours of the wanted block. */
function findAround(bno: Cursor<AllocRec, number>, wanted: Wanted, freed: Freed): Candidate | undefined {
  const near = wanted.near as number
  const full = { ...wanted, minLength: wanted.maxLength }
  let best: Candidate | undefined
  let more = bno.lookup(near, 'le')
  for (let i = 0; more && i < NEIGHBOURS; i++) {
    const rec = bno.record()
    if (best && near - endOf(rec) >= best.distance) break
    best = better(best, place(rec, full, freed))
    if (best?.distance === 0) return best
    // Extents further to the left are not nearer.
    if (best && best.rec === rec) break
    more = bno.previous()
  }
  more = bno.lookup(near + 1, 'ge')
  for (let i = 0; more && i < NEIGHBOURS; i++) {
    const rec = bno.record()
    if (best && rec.startblock - near >= best.distance) break
    const found = place(rec, full, freed)
    best = better(best, found)
    if (found) break
    more = bno.next()
  }
  return best
}

/** By size: the smallest extent of full length (of several, the nearest), else the longest. */
function findBySize(cnt: Cursor<AllocRec, AllocRec>, wanted: Wanted, freed: Freed): Candidate | undefined {
  let best: Candidate | undefined
  let more = cnt.lookup({ startblock: 0, blockcount: wanted.maxLength }, 'ge')
  for (let i = 0; more; i++) {
    best = better(best, place(cnt.record(), wanted, freed))
    const full = best?.run.length === wanted.maxLength
    if (full && (wanted.near === undefined || i >= NEIGHBOURS)) return best
    // Long enough, but not aligned: a longer free extent contains an aligned block.
    if (i === NEIGHBOURS && !full && wanted.alignment > 1) {
      more = cnt.lookup({ startblock: 0, blockcount: wanted.maxLength + wanted.alignment - 1 }, 'ge')
    } else more = cnt.next()
  }
  if (best?.run.length === wanted.maxLength) return best
  more = cnt.lookup({ startblock: 0, blockcount: wanted.maxLength }, 'le')
  for (; more; more = cnt.previous()) {
    const rec = cnt.record()
    if (rec.blockcount < Math.max(wanted.minLength, best ? best.run.length + 1 : 0)) break
    best = better(best, place(rec, wanted, freed))
  }
  return best
}

function find(tx: Transaction, agno: number, wanted: Wanted, freed: Freed): Candidate | undefined {
  const bno = new Cursor(bnoTree(tx, agno))
  if (wanted.exact) return findExact(bno, wanted, freed)
  const around = wanted.near === undefined ? undefined : findAround(bno, wanted, freed)
  return around ?? findBySize(new Cursor(cntTree(tx, agno)), wanted, freed)
}

/** Find an extent and take it. @returns undefined if the AG has none that fits */
export function takeFree(tx: Transaction, agno: number, wanted: Wanted): FreeExtent | undefined {
  const found = findAllowed(tx, agno, wanted)
  if (!found) return undefined
  takeFound(tx, agno, found.rec, found.run)
  return found.run
}

function findAllowed(tx: Transaction, agno: number, wanted: Wanted): Candidate | undefined {
  const here = freedHere(tx, agno)
  const before = tx.volume.freedIn(agno)
  if (before && !wanted.exact) {
    const full = findElsewhere(tx, agno, wanted, here ? [here, before] : [before])
    if (full) return full
  }
  return (here && find(tx, agno, wanted, [here])) ?? find(tx, agno, wanted, [])
}

/**
 * An extent of full length without freed blocks, if one is found quickly: near the wanted block, or
 * in the longest free extent.
 */
function findElsewhere(tx: Transaction, agno: number, wanted: Wanted, freed: Freed): Candidate | undefined {
  const full = { ...wanted, minLength: wanted.maxLength }
  const around = wanted.near === undefined ? undefined : findAround(new Cursor(bnoTree(tx, agno)), full, freed)
  if (around) return around
  const longest = lastRecord(cntTree(tx, agno))
  return longest && place(longest, full, freed)
}
