import { type BmbtRec, MAX_BMBT_EXTLEN } from '../format/btrecs.ts'
import { RangeIndex } from './rangeindex.ts'

/**
 * Reconcile the extents of a fork with rmapbt.
 *
 *   fork      [0 8 │ 100]  [8 8 │ 9999]      [40 8 │ 1200]
 *   rmapbt    [0 16 │ 100             ]      [40 8 │ 1200]     one record for contiguous extents
 *   kept      [0 8 │ 100]                    [40 8 │ 1200]
 *   restored               [8 8 │ 108]
 *   target    [0 16 │ 100             ]      [40 8 │ 1200]
 */

export const inFileOrder = (a: BmbtRec, b: BmbtRec): number => a.startoff - b.startoff
const endOf = ({ startoff, blockcount }: BmbtRec): number => startoff + blockcount

/** The records of a fork according to rmapbt (`rmaps`, in file order). */
export function reconcile(
  records: readonly BmbtRec[],
  rmaps: readonly BmbtRec[],
): { target: BmbtRec[] | undefined; restored: BmbtRec[]; cut: BmbtRec[] } {
  const kept = new Map<BmbtRec, BmbtRec[]>(rmaps.map((rmap) => [rmap, []]))
  const dropped: BmbtRec[] = []
  for (const record of records) {
    const rmap = rmapOf(rmaps, record)
    if (rmap) kept.get(rmap)?.push(record)
    else dropped.push(record)
  }
  const restored = [...kept].flatMap(([rmap, list]) => gaps(rmap, list.sort(inFileOrder)))
  const { length } = restored
  const runs = (key: 'startoff' | 'startblock') =>
    new RangeIndex(
      length,
      (i) => (restored[i] as BmbtRec)[key],
      (i) => (restored[i] as BmbtRec).blockcount,
    )
  const offsets = runs('startoff')
  const blocks = runs('startblock')
  // A record is replaced by one with the same part of the file, or with the same blocks.
  const cut = dropped.filter(
    ({ startoff, startblock, blockcount }) =>
      !offsets.meets(startoff, startoff + Math.max(blockcount, 1)) &&
      !blocks.meets(startblock, startblock + blockcount),
  )
  return { target: merged([...kept.values()].flat(), restored), restored, cut }
}

/** The record of rmapbt that contains `record`. */
function rmapOf(rmaps: readonly BmbtRec[], record: BmbtRec): BmbtRec | undefined {
  let low = 0
  let high = rmaps.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((rmaps[middle] as BmbtRec).startoff <= record.startoff) low = middle + 1
    else high = middle
  }
  const rmap = rmaps[low - 1]
  return rmap &&
    record.blockcount > 0 &&
    record.extentflag === rmap.extentflag &&
    endOf(record) <= endOf(rmap) &&
    record.startblock - rmap.startblock === record.startoff - rmap.startoff
    ? rmap
    : undefined
}

/** The parts of `rmap` that no extent of `kept` (parts of it, in file order) maps. */
function gaps(rmap: BmbtRec, kept: readonly BmbtRec[]): BmbtRec[] {
  const out: BmbtRec[] = []
  const { extentflag, startblock, startoff } = rmap
  let at = startoff
  const until = (end: number): void => {
    while (at < end) {
      const blockcount = Math.min(end - at, MAX_BMBT_EXTLEN)
      out.push({ extentflag, startoff: at, startblock: startblock + (at - startoff), blockcount })
      at += blockcount
    }
  }
  for (const record of kept) {
    until(record.startoff)
    at = Math.max(at, endOf(record))
  }
  until(endOf(rmap))
  return out
}

/**
 * All extents in file order, with restored ones merged with those that they continue.
 * @returns undefined if two overlap
 */
export function merged(kept: readonly BmbtRec[], restored: readonly BmbtRec[]): BmbtRec[] | undefined {
  const fresh = new Set(restored)
  const out: BmbtRec[] = []
  for (const record of [...kept, ...restored].sort(inFileOrder)) {
    const last = out.at(-1)
    if (last && endOf(last) > record.startoff) return undefined
    if (last && (fresh.has(last) || fresh.has(record)) && continues(last, record)) {
      const whole = { ...last, blockcount: last.blockcount + record.blockcount }
      fresh.add(whole)
      out[out.length - 1] = whole
    } else out.push(record)
  }
  return out
}

const continues = (a: BmbtRec, b: BmbtRec): boolean =>
  endOf(a) === b.startoff &&
  a.startblock + a.blockcount === b.startblock &&
  a.extentflag === b.extentflag &&
  a.blockcount + b.blockcount <= MAX_BMBT_EXTLEN
