import { blocksBelowRoots } from '../ag/ag.ts'
import { type AgTreeLayout, type Claims, fitTree, layOutTrees } from '../ag/layout.ts'
import { inodeTotals } from '../check/compare/counters.ts'
import { type BlockRuns, type Blocks, blocksOf, mergeMetadata, runTotals } from '../check/expect/blocks.ts'
import { Extents } from '../check/extents.ts'
import { type Facts, problemMask } from '../check/facts.ts'
import type { ObservedTree } from '../check/observe/agtrees.ts'
import { type ProblemId, problemIds, problemOf } from '../check/problems.ts'
import type { AgResult, CheckResult } from '../check/result.ts'
import { OWNERS } from '../format/btrecs.ts'
import type { Geometry } from '../format/geometry.ts'
import { type AgTreeName, agTreeNames, btrees } from '../format/trees.ts'
import { counted } from '../util/counted.ts'
import { doubts, hasOpenInodes, settledAgs } from './doubt.ts'
import { type ForkPatch, forkActions } from './forks.ts'

/**
 * The plan of a repair: everything that is written, decided before the first write.
 *
 *   facts ─▶ headers to patch, inodes to patch, and for each AG trees to rebuild, with their blocks
 *
 * Only btrees that are wrong are rebuilt. A btree keeps its blocks if it needs as many as before.
 * Otherwise (or if not all of its blocks are known) blocks change their owner. Then bnobt, cntbt,
 * rmapbt and the AGFL of the AG change too, and are rebuilt in free blocks. The choice of blocks
 * changes free space and reverse mappings, and so the size of the btrees. Sizes are raised until
 * they suffice, and blocks left over go to the AGFL.
 */
export interface Plan {
  /** Forks to repair; such a plan contains nothing else. */
  readonly forks: readonly ForkPatch[]
  readonly ags: readonly AgPlan[]
  /** AGs whose secondary superblock is rewritten. */
  readonly superblocks: readonly number[]
  readonly inodes: readonly InodePatch[]
  /** Rewrite the primary superblock: checksum, counters, NEEDSREPAIR. */
  readonly primary: boolean
  readonly counters: { readonly icount: number; readonly ifree: number; readonly fdblocks: number } | undefined
  /** NEEDSREPAIR keeps its value. */
  readonly needsRepair: boolean
  /** Why nothing is done: the owners of blocks are uncertain. */
  readonly declined: readonly string[]
}

/** An inode that gets its reflink flag. */
export interface InodePatch {
  readonly ino: number
}

export interface AgPlan {
  readonly agno: number
  readonly result: AgResult
  readonly trees: readonly AgTreeLayout[]
  /** The owners of blocks after the repair. */
  readonly blocks: Blocks
  readonly agfl: readonly number[]
  /** Buckets of unlinked inodes that are emptied. */
  readonly buckets: readonly number[]
  readonly newAgfl: boolean
  readonly agf: boolean
  readonly agi: boolean
}

const NOTHING: Plan = {
  forks: [],
  ags: [],
  superblocks: [],
  inodes: [],
  primary: false,
  counters: undefined,
  needsRepair: false,
  declined: [],
}

/** A plan that repairs forks. Metadata derived from them is planned afterwards. */
export const forkPlan = (forks: readonly ForkPatch[]): Plan => ({ ...NOTHING, forks })

export function plan(geometry: Geometry, result: CheckResult): Plan {
  const { facts, observation, ags } = result
  const declined = doubts(geometry, result)
  if (observation.blind || declined.length > 0) {
    const needsRepair = facts.image.has(0, OF_NEEDSREPAIR)
    return { ...NOTHING, ags: planHeaders(geometry, result), needsRepair, declined }
  }
  const { inodes } = observation
  const plans = ags
    .map((ag) => ({ ag, headers: wrongHeaders(facts, ag) }))
    .filter(({ ag, headers }) => needsWork(ag, headers))
    .map(({ ag, headers }) => planAg(geometry, ag, headers))
  const counters = totals(ags, plans)
  const { sb } = geometry
  const wrongCounters =
    counters.icount !== sb.icount || counters.ifree !== sb.ifree || counters.fdblocks !== sb.fdblocks
  // The flag is harmless on a file without shared blocks.
  const flags = [...facts.inodes.with(OF_REFLINK)].map((slot) => ({ ino: inodes.ino(slot) }))
  const primary = wrongCounters || facts.image.has(0, OF_PRIMARY)
  const superblocks = [...facts.ags.with(OF_COPY)]
  return { forks: [], ags: plans, superblocks, inodes: flags, primary, counters, needsRepair: false, declined }
}

/** Is there anything to write? */
export const isEmpty = ({ forks, ags, superblocks, inodes, primary }: Plan): boolean =>
  forks.length === 0 && ags.length === 0 && superblocks.length === 0 && inodes.length === 0 && !primary

const OF_NEEDSREPAIR = problemMask(['sb.needsrepair'])
const OF_COPY = problemMask(['sb.copy'])
const OF_REFLINK = problemMask(['inode.reflink'])
const OF_PRIMARY = problemMask(['sb.crc', 'sb.lsn', 'sb.needsrepair', 'sb.icount', 'sb.ifree', 'sb.fdblocks'])

type HeaderName = 'agf' | 'agi' | 'agfl'
const repairable = (header: HeaderName) =>
  problemMask(problemIds.filter((id: ProblemId) => id.startsWith(`${header}.`) && problemOf(id).fix !== null))
/** Problems that a new header repairs. */
const OF_HEADERS = { agf: repairable('agf'), agi: repairable('agi'), agfl: repairable('agfl') }

type WrongHeaders = Readonly<Record<HeaderName, boolean>>

function wrongHeaders({ ags }: Facts, { ag }: AgResult): WrongHeaders {
  const wrong = (header: HeaderName): boolean => ags.has(ag.agno, OF_HEADERS[header])
  return { agf: wrong('agf'), agi: wrong('agi'), agfl: wrong('agfl') }
}

const needsWork = (result: AgResult, { agf, agi, agfl }: WrongHeaders): boolean =>
  result.wrong.size > 0 || result.agflWrong || result.cow.length > 0 || agf || agi || agfl

/**
 * While it is not known for sure who owns which blocks: headers of AGs where that is known. No tree
 * is rebuilt.
 */
function planHeaders(geometry: Geometry, result: CheckResult): AgPlan[] {
  return settledAgs(geometry, result).flatMap((ag) => {
    const { agno } = ag.ag
    const wrong = wrongHeaders(result.facts, ag)
    const headers = { ...wrong, agi: wrong.agi && !hasOpenInodes(result, agno) }
    return needsWork(ag, headers) ? [planAg(geometry, ag, headers)] : []
  })
}

function planAg(geometry: Geometry, result: AgResult, headers: WrongHeaders): AgPlan {
  const { ag } = result
  const { agno } = ag
  const wrong = new Set(result.wrong)
  const has = agTreeNames.filter((name) => ag.trees[name] !== undefined)
  if (result.cow.length > 0)
    for (const name of ['refcountbt', 'rmapbt', 'bnobt', 'cntbt'] as const) if (has.includes(name)) wrong.add(name)
  const inPlace = result.known ? planInPlace(geometry, result, wrong) : undefined
  const laid = inPlace ?? planMoved(geometry, result, wrong)
  return {
    agno,
    result,
    ...laid,
    buckets: result.falseBuckets,
    newAgfl: inPlace === undefined || result.agflWrong || headers.agfl,
    agf: inPlace === undefined || headers.agf || headers.agi || headers.agfl || result.agflWrong || wrong.size > 0,
    agi: headers.agi || wrong.has('inobt') || wrong.has('finobt'),
  }
}

type PlannedBlocks = Pick<AgPlan, 'trees' | 'blocks' | 'agfl'>

/** The number of records that each tree will have. */
function recordCounts({ chunks }: AgResult, blocks: Blocks): Record<AgTreeName, number> {
  let withFree = 0
  for (let i = 0; i < chunks.length; i++) if (chunks.freecount.get(i) > 0) withFree++
  const free = blocks.free.start.length
  return {
    bnobt: free,
    cntbt: free,
    rmapbt: blocks.metadata.length + blocks.rows.length,
    refcountbt: blocks.counts.start.length,
    inobt: chunks.length,
    finobt: withFree,
  }
}

/** A tree that is not rebuilt. */
const kept = (name: AgTreeName, { blocks, levels }: ObservedTree): AgTreeLayout => ({
  name,
  blocks,
  levels,
  root: blocks[0] as number,
})

/**
 * The wrong btrees in their old blocks; undefined if the number of blocks of one of them changes.
 */
function planInPlace(geometry: Geometry, result: AgResult, wrong: ReadonlySet<AgTreeName>): PlannedBlocks | undefined {
  const { blocks, ag } = result
  const counts = recordCounts(result, blocks)
  const trees: AgTreeLayout[] = []
  for (const name of agTreeNames) {
    const tree = ag.trees[name]
    if (!tree) continue
    // All other metadata is derived from inode btrees: the old ones stay intact until the new ones
    // are written.
    if (wrong.has(name) && btrees[name].root.in === 'agi' && tree.blocks.length > 1) return undefined
    const layout = wrong.has(name) ? fitTree(geometry, name, counts[name], tree.blocks) : kept(name, tree)
    if (!layout) return undefined
    trees.push(layout)
  }
  return { trees, blocks, agfl: result.agfl }
}

/** The wrong trees, the trees of free space and owners, and the AGFL, all in free blocks. */
function planMoved(geometry: Geometry, result: AgResult, wrong: ReadonlySet<AgTreeName>): PlannedBlocks {
  const { ag } = result
  const present = agTreeNames.filter((name) => ag.trees[name])
  const rebuilt = present.filter((name) => wrong.has(name) || btrees[name].space === 'agfl')
  const others = present.filter((name) => !rebuilt.includes(name))
  const base = keptMetadata(result, others)
  const blocksWith = (claims: Claims): Blocks => {
    const metadata = new Extents()
    for (let row = 0; row < base.length; row++) metadata.copy(base, row)
    for (const [name, blocks] of claims) {
      const owner = name === 'agfl' ? OWNERS.ag : btrees[name].owner
      for (const agbno of blocks) metadata.push(agbno, 1, owner, 0, 0)
    }
    const merged = new Extents()
    mergeMetadata(metadata, merged)
    return blocksOf(ag.length, merged, result.blocks)
  }
  // Old blocks of inode btrees are free, but must not be written before the new ones are complete.
  const untouchable = new Set(
    rebuilt.flatMap((name) => (btrees[name].root.in === 'agi' ? (ag.trees[name]?.blocks ?? []) : [])),
  )
  const before = blocksWith(new Map())
  let blocks = before
  const laid = layOutTrees(geometry, ag.agno, rebuilt, {
    free: (total) => freeBlocks(before.free, untouchable, total),
    recordsWith: (claims) => {
      blocks = blocksWith(claims)
      return recordCounts(result, blocks)
    },
  })
  const staying = others.map((name) => kept(name, ag.trees[name] as ObservedTree))
  return { blocks, agfl: laid.agfl, trees: [...laid.trees, ...staying] }
}

/** Metadata that stays in its place: all except rebuilt btrees, the AGFL and CoW staging blocks. */
function keptMetadata({ ag }: AgResult, kept: readonly AgTreeName[]): Extents {
  const out = new Extents()
  const { metadata, trees } = ag
  for (let i = 0; i < metadata.length; i++) {
    const owner = metadata.owner.get(i)
    if (owner === OWNERS.ag || owner === OWNERS.inobt || owner === OWNERS.refc) continue
    out.copy(metadata, i)
  }
  for (const name of kept) for (const agbno of trees[name]?.blocks ?? []) out.push(agbno, 1, btrees[name].owner, 0, 0)
  return out
}

/** Free blocks one by one: from the first free extent with `total` blocks, else from all. */
function* freeBlocks(free: BlockRuns, without: ReadonlySet<number>, total: number): Generator<number> {
  const whole = free.start.findIndex(
    (start, i) => start + total <= (free.end[i] as number) && !rangeHas(without, start, total),
  )
  const first = whole < 0 ? 0 : whole
  const last = whole < 0 ? free.start.length : whole + 1
  for (let i = first; i < last; i++) {
    for (let b = free.start[i] as number; b < (free.end[i] as number); b++) if (!without.has(b)) yield b
  }
}

const rangeHas = (set: ReadonlySet<number>, start: number, length: number): boolean => {
  if (set.size === 0) return false
  for (let b = start; b < start + length; b++) if (set.has(b)) return true
  return false
}

function totals(ags: readonly AgResult[], plans: readonly AgPlan[]): NonNullable<Plan['counters']> {
  const byAgno = new Map(plans.map((plan) => [plan.agno, plan]))
  let icount = 0
  let ifree = 0
  let fdblocks = 0
  for (const result of ags) {
    const { chunks, ag } = result
    const inodes = inodeTotals(chunks)
    icount += inodes.count
    ifree += inodes.free
    const plan = byAgno.get(ag.agno)
    fdblocks += runTotals((plan?.blocks ?? result.blocks).free).blocks
    const trees = plan?.trees ?? agTreeNames.flatMap((name) => ag.trees[name] ?? [])
    fdblocks += (plan?.agfl ?? result.agfl).length
    fdblocks += blocksBelowRoots(trees.map(({ name, blocks }) => ({ name, blocks: blocks.length })))
  }
  return { icount, ifree, fdblocks }
}

/** Descriptions of the steps of a plan, in their order. */
export function actions(geometry: Geometry, plan: Plan): string[] {
  if (isEmpty(plan)) return []
  const steps = plan.forks.flatMap((patch) => forkActions(geometry, patch))
  for (const { agno, trees, newAgfl, agf, agi } of plan.ags) {
    for (const { name, records, blocks } of trees) {
      if (records !== undefined)
        steps.push(`rebuild AG ${agno} ${name}: ${counted(records, 'record')}, ${counted(blocks.length, 'block')}`)
    }
    const headers = [agf ? 'AGF' : '', agi ? 'AGI' : '', newAgfl ? 'AGFL' : ''].filter(Boolean)
    if (headers.length > 0) steps.push(`write ${headers.join(', ')} of AG ${agno}`)
  }
  for (const { ino } of plan.inodes) steps.push(`set the reflink flag of inode ${ino}`)
  for (const agno of plan.superblocks) steps.push(`write the secondary superblock of AG ${agno}`)
  if (plan.forks.length === 0) steps.push('write the primary superblock')
  return steps
}
