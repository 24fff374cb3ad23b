import { OWNERS } from '../format/btrecs.ts'
import { orderByU32, u32Column } from '../util/columns.ts'
import type { Extents } from './extents.ts'
import type { AgResult } from './result.ts'

/** Blocks that no tree lists as free, and that have no owner: [start, end). */
interface LostRun {
  readonly start: number
  readonly end: number
  /**
   * The owner of some of them in rmapbt, other than trees of the AG; undefined if rmapbt is not
   * reliable.
   */
  readonly owner: number | undefined
}

/**
 * Runs of blocks that are in use according to the free space btrees, but have no observed owner.
 * Either they leaked, or they belong to a tree that could not be read completely, or their owner is
 * not known.
 *
 * @param isFree  is an owner in rmapbt an inode that is free? Then it owns nothing
 */
export function lostBlocks(
  { blocks, cow, ag, known, wrong }: AgResult,
  isFree?: (owner: number) => boolean,
): LostRun[] {
  if (known && !wrong.has('bnobt') && !wrong.has('cntbt')) return []
  const { bnobt, cntbt, rmapbt } = ag.trees
  const start = u32Column()
  const end = u32Column()
  for (const tree of [bnobt, cntbt]) {
    for (let i = 0; tree.complete && i < tree.records.length; i++) {
      start.push(tree.records.start.get(i))
      end.push(Math.min(tree.records.start.get(i) + tree.records.count.get(i), ag.length))
    }
  }
  for (const run of cow) {
    start.push(run.start)
    end.push(run.end)
  }
  const order = orderByU32(start.filled(), start.length)
  const lost: { start: number; end: number; owner: number | undefined }[] = []
  let next = 0
  for (let i = 0; i < blocks.free.start.length; i++) {
    let from = blocks.free.start[i] as number
    const stop = blocks.free.end[i] as number
    for (; next < order.length && start.get(order[next] as number) < stop; next++) {
      const row = order[next] as number
      if (start.get(row) > from) lost.push({ start: from, end: start.get(row), owner: undefined })
      from = Math.max(from, end.get(row))
      if (from > stop) break
    }
    if (from < stop) lost.push({ start: from, end: stop, owner: undefined })
  }
  if (rmapbt?.complete && !rmapbt.damaged) nameOwners(lost, rmapbt.records, isFree)
  return lost
}

/** Owners whose blocks are all known if their trees could be read. These blocks never hold data. */
const REBUILT: ReadonlySet<number> = new Set([OWNERS.ag, OWNERS.inobt, OWNERS.refc, OWNERS.cow])

/**
 * Each run gets an owner that rmapbt records for one of its blocks, unless rmapbt only records
 * trees of the AG.
 */
function nameOwners(
  runs: { readonly start: number; readonly end: number; owner: number | undefined }[],
  rmaps: Extents,
  isFree?: (owner: number) => boolean,
) {
  if (runs.length === 0) return
  for (let row = 0; row < rmaps.length; row++) {
    const owner = rmaps.owner.get(row)
    if (REBUILT.has(owner) || isFree?.(owner)) continue
    const start = rmaps.start.get(row)
    const end = start + rmaps.count.get(row)
    let low = 0
    let high = runs.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((runs[middle] as LostRun).end > start) high = middle
      else low = middle + 1
    }
    for (let run = runs[low]; run !== undefined && run.start < end; run = runs[++low]) run.owner ??= owner
  }
}
