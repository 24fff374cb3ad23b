import { ATTR_FORK, BMBT_BLOCK, UNWRITTEN } from '../check/extents.ts'
import { lostBlocks } from '../check/lost.ts'
import type { AgResult, CheckResult } from '../check/result.ts'
import type { BmbtRec } from '../format/btrecs.ts'
import type { Geometry } from '../format/geometry.ts'
import { RangeIndex } from './rangeindex.ts'
import { MOST_RECORDS } from './rawforks.ts'
import { inFileOrder } from './reconcile.ts'

/** The observations of a check that are needed to judge extents. */
export class Evidence {
  readonly geometry: Geometry
  readonly result: CheckResult
  readonly #taken = new Map<number, RangeIndex>()
  #lost: readonly { readonly startblock: number; readonly blockcount: number }[] | undefined

  constructor(geometry: Geometry, result: CheckResult) {
    this.geometry = geometry
    this.result = result
  }

  /** Blocks in use without an owner. */
  get lost(): readonly { readonly startblock: number; readonly blockcount: number }[] {
    this.#lost ??= this.result.ags.flatMap((ag) =>
      lostBlocks(ag).map(({ start, end }) => ({
        startblock: this.geometry.fsbno(ag.ag.agno, start),
        blockcount: end - start,
      })),
    )
    return this.#lost
  }

  /**
   * Is the extent impossible: empty, outside of the filesystem, or with free or metadata blocks?
   */
  isImpossible({ startblock, blockcount }: BmbtRec): boolean {
    if (blockcount === 0 || !this.geometry.validFsbnoRange(startblock, blockcount)) return true
    const agbno = this.geometry.agbnoOf(startblock)
    return this.#takenIn(this.geometry.agnoOf(startblock)).meets(agbno, agbno + blockcount)
  }

  #takenIn(agno: number): RangeIndex {
    let taken = this.#taken.get(agno)
    if (!taken) {
      const { ag, blocks } = this.result.ags[agno] as AgResult
      const { metadata } = blocks
      const { records, complete, damaged } = ag.trees.bnobt
      const free = complete && !damaged ? records.length : 0
      const of = (i: number) => (i < free ? { table: records, row: i } : { table: metadata, row: i - free })
      const startOf = (i: number): number => {
        const { table, row } = of(i)
        return table.start.get(row)
      }
      const lengthOf = (i: number): number => {
        const { table, row } = of(i)
        return table.count.get(row)
      }
      taken = new RangeIndex(free + metadata.length, startOf, lengthOf)
      this.#taken.set(agno, taken)
    }
    return taken
  }
}

/** A record of rmapbt as one of a fork. */
export interface Rmap extends BmbtRec {
  readonly fork: 'data' | 'attr'
}

/**
 * The records of rmapbt for `inos`, in file order.
 *
 * @param inos  inodes with too many records are removed from it
 * @returns undefined if rmapbt is not sound in every AG
 */
export function rmapsOf({ geometry, result }: Evidence, inos: Set<number>): Map<number, Rmap[]> | undefined {
  const trees = result.ags.map(({ ag }) => ag.trees.rmapbt)
  if (!trees.every((tree) => tree?.complete && !tree.damaged)) return undefined
  const counts = new Map<number, number>()
  for (const tree of trees) {
    const owner = tree?.records.owner.filled() ?? []
    for (const ino of owner) if (inos.has(ino)) counts.set(ino, (counts.get(ino) ?? 0) + 1)
  }
  let room = MOST_RECORDS
  for (const [ino, count] of counts) {
    if (count > room) inos.delete(ino)
    else room -= count
  }
  const byIno = new Map<number, Rmap[]>()
  for (const [agno, tree] of trees.entries()) {
    if (!tree) continue
    const { start, count, owner, offset, flags } = tree.records
    for (let row = 0; row < tree.records.length; row++) {
      const ino = owner.get(row)
      if (!inos.has(ino) || (flags.get(row) & BMBT_BLOCK) !== 0) continue
      const list = byIno.get(ino) ?? []
      byIno.set(ino, list)
      list.push({
        fork: (flags.get(row) & ATTR_FORK) !== 0 ? 'attr' : 'data',
        extentflag: (flags.get(row) & UNWRITTEN) !== 0 ? 1 : 0,
        startoff: offset.get(row),
        startblock: geometry.fsbno(agno, start.get(row)),
        blockcount: count.get(row),
      })
    }
  }
  for (const list of byIno.values()) list.sort(inFileOrder)
  return byIno
}
