import { OWNERS } from '../../format/btrecs.ts'
import { f64Column } from '../../util/columns.ts'
import { type Blocks, sortExtents } from '../expect/blocks.ts'
import { expectedRmaps } from '../expect/rmaps.ts'
import { usage } from '../expect/usage.ts'
import { BMBT_BLOCK, compareRmaps, type Extents, RMAP_FLAGS } from '../extents.ts'
import type { Findings } from '../findings.ts'
import { flagNames, ownerName } from '../owners.ts'
import { compare, type Differences, NO_ROW } from './join.ts'

/** Reverse mappings: the owners of blocks against rmapbt. */

/** The records of a rmapbt and the expected ones. */
export interface RmapComparison {
  readonly expected: Extents
  readonly found: Extents
  readonly differences: Differences
}

export function compareRmapbt(blocks: Blocks, found: Extents): RmapComparison {
  const expected = expectedRmaps(blocks)
  const rows = sortExtents(found)
  const differences = compare(
    expected.length,
    rows,
    (e, f) => compareRmaps(expected, e, found, f),
    (e, f) => expected.count.data[e] === found.count.data[f] && expected.flags.data[e] === found.flags.data[f],
  )
  if (rows.length < found.length)
    for (let row = 0; row < found.length; row++) if (found.count.get(row) === 0) differences.push(NO_ROW, row)
  return { expected, found, differences }
}

/** The owners of the records that differ, in any order and more than once. */
export function differingOwners({ expected, found, differences }: RmapComparison): Float64Array {
  const owners = f64Column()
  for (const [e, f] of differences) {
    if (e !== NO_ROW) owners.push(expected.owner.get(e))
    if (f !== NO_ROW) owners.push(found.owner.get(f))
  }
  return owners.filled()
}

/** Report the differences of a rmapbt. */
export function explainRmapbt(agno: number, blocks: Blocks, comparison: RmapComparison, findings: Findings): void {
  new Explanation(agno, blocks, comparison, findings).explain(comparison.differences)
}

/**
 * Maximum candidates that are tried as an explanation, so that an image with a million wrong
 * records is reported in a reasonable time.
 */
const TRIED = 64

function listOf<K>(lists: Map<K, number[]>, key: K): number[] {
  let list = lists.get(key)
  if (!list) {
    list = []
    lists.set(key, list)
  }
  return list
}

/** Equal for rows that could be parts of one mapping: owner, flags, and the block of offset 0. */
function lineOf({ start, owner, offset, flags }: Extents, row: number): string {
  const mapping = owner.get(row) >= 0 && (flags.get(row) & BMBT_BLOCK) === 0
  return `${owner.get(row)} ${flags.get(row)} ${mapping ? start.get(row) - offset.get(row) : 0}`
}

class Explanation {
  readonly #agno: number
  readonly #blocks: Blocks
  readonly #expected: Extents
  readonly #found: Extents
  readonly #findings: Findings

  constructor(agno: number, blocks: Blocks, { expected, found }: RmapComparison, findings: Findings) {
    this.#agno = agno
    this.#blocks = blocks
    this.#expected = expected
    this.#found = found
    this.#findings = findings
  }

  explain(differences: Differences): void {
    const missing: number[] = []
    const extra: number[] = []
    const wrong: [number, number][] = []
    for (const [e, f] of differences) {
      if (f === NO_ROW) missing.push(e)
      else if (e === NO_ROW) extra.push(f)
      else wrong.push([e, f])
    }
    const expected = this.#expected
    const found = this.#found
    const byStart = new Map<number, number[]>()
    for (const e of missing) {
      const start = expected.start.get(e)
      listOf(byStart, start).push(e)
    }
    const explained = new Set<number>()
    /** Expected rows of which a record only covers the beginning. */
    const begun = new Map<string, number[]>()
    for (const [e, f] of wrong) {
      if (expected.flags.get(e) !== found.flags.get(f)) {
        this.#wrongFlags(found, f, expected.flags.get(e))
      } else if (found.count.get(f) < expected.count.get(e)) listOf(begun, lineOf(expected, e)).push(e)
      else this.#add('rmapbt.length', found, f, { expected: expected.count.get(e) })
    }
    const split = new Set<number>()
    for (const f of extra) this.#explainExtra(f, byStart, explained, begun, split)
    for (const e of [...begun.values()].flat()) {
      if (split.has(e)) this.#add('rmapbt.split', expected, e)
      else this.#add('rmapbt.length', expected, e, { expected: expected.count.get(e) })
    }
    for (const e of missing) {
      if (!explained.has(e))
        this.#add(expected.owner.get(e) === OWNERS.cow ? 'cow.rmap' : 'rmapbt.missing', expected, e)
    }
  }

  #explainExtra(
    f: number,
    byStart: ReadonlyMap<number, number[]>,
    explained: Set<number>,
    begun: ReadonlyMap<string, readonly number[]>,
    split: Set<number>,
  ): void {
    const expected = this.#expected
    const found = this.#found
    const start = found.start.get(f)
    const count = found.count.get(f)
    if (count === 0 || start + count > this.#blocks.length) {
      this.#add('rmapbt.outside', found, f)
      return
    }
    const whole = begun
      .get(lineOf(found, f))
      ?.slice(0, TRIED)
      .find((e) => this.#continues(e, f))
    if (whole !== undefined) {
      split.add(whole)
      return
    }
    const candidates = byStart.get(start) ?? []
    for (let i = candidates.length - 1; i >= Math.max(0, candidates.length - TRIED); i--) {
      const e = candidates[i] as number
      if (expected.count.get(e) !== count) continue
      candidates.splice(i, 1)
      explained.add(e)
      if (expected.owner.get(e) !== found.owner.get(f)) {
        this.#add('rmapbt.owner', found, f, { expected: ownerName(expected.owner.get(e)) })
      } else if (expected.flags.get(e) !== found.flags.get(f)) {
        this.#wrongFlags(found, f, expected.flags.get(e))
      } else this.#add('rmapbt.offset', found, f, { expected: expected.offset.get(e) })
      return
    }
    let owned = false
    for (const piece of usage(this.#blocks, start, start + count)) owned ||= piece.use !== 'free'
    this.#add(owned ? 'rmapbt.extra' : 'rmapbt.free', found, f)
  }

  /** Is record f a later part of the expected row e? */
  #continues(e: number, f: number): boolean {
    const expected = this.#expected
    const found = this.#found
    const ahead = found.start.get(f) - expected.start.get(e)
    if (ahead <= 0 || ahead + found.count.get(f) > expected.count.get(e)) return false
    if (expected.owner.get(e) !== found.owner.get(f) || expected.flags.get(e) !== found.flags.get(f)) return false
    const mapping = expected.owner.get(e) >= 0 && (expected.flags.get(e) & BMBT_BLOCK) === 0
    return found.offset.get(f) === expected.offset.get(e) + (mapping ? ahead : 0)
  }

  #wrongFlags(found: Extents, row: number, expected: number): void {
    const flags = flagNames(found.flags.get(row) & RMAP_FLAGS).trim()
    this.#add('rmapbt.flags', found, row, { flags, expected: flagNames(expected).trim() })
  }

  #add(
    id:
      | 'rmapbt.missing'
      | 'rmapbt.free'
      | 'rmapbt.extra'
      | 'rmapbt.owner'
      | 'rmapbt.flags'
      | 'rmapbt.offset'
      | 'rmapbt.length'
      | 'rmapbt.split'
      | 'rmapbt.outside'
      | 'cow.rmap',
    table: Extents,
    row: number,
    more: Record<string, number | string> = {},
  ): void {
    this.#findings.add(id, {
      agno: this.#agno,
      agbno: table.start.get(row),
      len: table.count.get(row),
      owner: ownerName(table.owner.get(row)),
      ownerNumber: table.owner.get(row),
      offset: table.offset.get(row),
      flags: flagNames(table.flags.get(row) & RMAP_FLAGS),
      ...more,
    })
  }
}
