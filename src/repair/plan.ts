import { blocksBelowRoots } from '../ag/ag.ts'
import { type AgTreeLayout, type Claims, fitTree, layOutTrees } from '../ag/layout.ts'
import { type BlockRuns, type Blocks, blocksOf, mergeMetadata, runTotals } from '../check/expect/blocks.ts'
import { inodeTotals } from '../check/expect/inodes.ts'
import { Extents } from '../check/extents.ts'
import { type Facts, problemMask } from '../check/facts.ts'
import type { ObservedTree } from '../check/observe/agtrees.ts'
import { type FixClass, type ProblemId, problemIds, problemOf } from '../check/problems.ts'
import type { Proof } from '../check/proof.ts'
import type { AgResult, CheckResult } from '../check/result.ts'
import { OWNERS } from '../format/btrecs.ts'
import type { Geometry } from '../format/geometry.ts'
import { type AgTreeName, agTreeNames, btrees } from '../format/trees.ts'
import type { CorePatch } from './cores.ts'
import { certainty, type Doubt, isOpen } from './doubt.ts'
import type { ForkPatch } from './forks.ts'
import type { NameStep } from './names/step.ts'

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
  /** Cores of inodes to write; such a plan contains nothing else. */
  readonly cores: readonly CorePatch[]
  /** Changes of names, in order; such a plan contains nothing else. */
  readonly names: readonly NameStep[]
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
  /** Why structures are not repaired. */
  readonly declined: readonly Doubt[]
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
  cores: [],
  names: [],
  forks: [],
  ags: [],
  superblocks: [],
  inodes: [],
  primary: false,
  counters: undefined,
  needsRepair: false,
  declined: [],
}

/**
 * A plan that repairs cores of inodes, forks, or names. Metadata derived from these is planned
 * afterwards.
 */
export const partPlan = (part: Partial<Pick<Plan, 'cores' | 'forks' | 'names'>>): Plan => ({ ...NOTHING, ...part })

export function plan(geometry: Geometry, result: CheckResult): Plan {
  const { facts, observation, ags } = result
  const { ags: certain, superblock, doubts } = certainty(geometry, result)
  const isCertain = doubts.length === 0
  const plans = ags.flatMap((ag, i) => planAg(geometry, ag, wrongHeaders(facts, ag), certain[i] as Proof) ?? [])
  const counted = certain.every(({ space, inodes }) => space && inodes)
  const counters = counted ? totals(ags, plans) : undefined
  // The flag is harmless on a file without shared blocks.
  const isShared = [...facts.ags.with(OF_REFLINK)].every((agno) => certain[agno]?.space === true)
  const flags = isShared ? [...facts.inodes.with(OF_REFLINK)].filter((slot) => !isOpen(result, slot)) : []
  return {
    ...NOTHING,
    ags: plans,
    superblocks: superblock ? [...facts.ags.with(OF_COPY)] : [],
    inodes: flags.map((slot) => ({ ino: observation.inodes.ino(slot) })),
    primary:
      differs(counters, geometry) ||
      (isCertain && facts.image.has(0, OF_PRIMARY)) ||
      (superblock && facts.image.has(0, OF_VOTED)),
    counters,
    needsRepair: !isCertain && facts.image.has(0, OF_NEEDSREPAIR),
    declined: doubts,
  }
}

const differs = (counters: Plan['counters'], { sb }: Geometry): boolean =>
  counters !== undefined &&
  (counters.icount !== sb.icount || counters.ifree !== sb.ifree || counters.fdblocks !== sb.fdblocks)

/** Is there anything to write? */
export const isEmpty = ({ cores, names, forks, ags, superblocks, inodes, primary }: Plan): boolean =>
  cores.length === 0 &&
  names.length === 0 &&
  forks.length === 0 &&
  ags.length === 0 &&
  superblocks.length === 0 &&
  inodes.length === 0 &&
  !primary

const OF_NEEDSREPAIR = problemMask(['sb.needsrepair'])
const OF_COPY = problemMask(['sb.copy'])
const OF_REFLINK = problemMask(['inode.reflink'])
const OF_VOTED = problemMask(['sb.invalid'])
const OF_PRIMARY = problemMask(['sb.crc', 'sb.lsn', 'sb.needsrepair', 'sb.icount', 'sb.ifree', 'sb.fdblocks'])

type HeaderName = 'agf' | 'agi' | 'agfl'
const byHeader: readonly FixClass[] = ['patch', 'rebuild']
const repairable = (header: HeaderName) =>
  problemMask(problemIds.filter((id: ProblemId) => id.startsWith(`${header}.`) && byHeader.includes(problemOf(id).fix)))
/** Problems that a new header repairs. */
const OF_HEADERS = { agf: repairable('agf'), agi: repairable('agi'), agfl: repairable('agfl') }

type WrongHeaders = Readonly<Record<HeaderName, boolean>>

function wrongHeaders({ ags }: Facts, { ag }: AgResult): WrongHeaders {
  const wrong = (header: HeaderName): boolean => ags.has(ag.agno, OF_HEADERS[header])
  return { agf: wrong('agf'), agi: wrong('agi'), agfl: wrong('agfl') }
}

/**
 * Plan an AG, as far as it is certain.
 *
 * @returns undefined if there is nothing to write, or if the blocks of a tree in doubt are unknown
 */
function planAg(geometry: Geometry, result: AgResult, headers: WrongHeaders, certain: Proof): AgPlan | undefined {
  const { ag } = result
  const wrong = new Set([...result.wrong].filter((name) => isCertain(name, certain)))
  const has = agTreeNames.filter((name) => ag.trees[name] !== undefined)
  if (certain.space && result.cow.length > 0)
    for (const name of ['refcountbt', 'rmapbt', 'bnobt', 'cntbt'] as const) if (has.includes(name)) wrong.add(name)
  const agfl = certain.space && (result.agflWrong || headers.agfl)
  const agf = certain.space && (headers.agf || agfl || wrong.size > 0)
  const agi = certain.inodes && (headers.agi || wrong.has('inobt') || wrong.has('finobt'))
  if (wrong.size === 0 && !agfl && !agf && !agi) return undefined
  const inPlace = result.agflKnown || !certain.space ? planInPlace(geometry, result, wrong) : undefined
  const laid = inPlace ?? (certain.space ? planMoved(geometry, result, wrong) : undefined)
  if (!laid) return undefined
  const moved = inPlace === undefined
  const buckets = result.falseBuckets
  return { agno: ag.agno, result, ...laid, buckets, newAgfl: moved || agfl, agf: moved || agf, agi }
}

const isCertain = (name: AgTreeName, { space, inodes }: Proof): boolean =>
  btrees[name].root.in === 'agi' ? inodes : space

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
 * The wrong btrees in their old blocks; undefined if the number of blocks of one of them changes,
 * or if not all of its blocks are known.
 */
function planInPlace(geometry: Geometry, result: AgResult, wrong: ReadonlySet<AgTreeName>): PlannedBlocks | undefined {
  const { blocks, ag } = result
  const counts = recordCounts(result, blocks)
  const trees: AgTreeLayout[] = []
  for (const name of agTreeNames) {
    const tree = ag.trees[name]
    if (!tree) continue
    if (wrong.has(name) && !tree.complete) return undefined
    // All other metadata is derived from inode btrees: the old ones stay intact until the new ones
    // are written.
    if (wrong.has(name) && btrees[name].root.in === 'agi' && tree.blocks.length > 1) return undefined
    const layout = wrong.has(name) ? fitTree(geometry, name, counts[name], tree.blocks) : kept(name, tree)
    if (!layout) return undefined
    trees.push(layout)
  }
  return { trees, blocks, agfl: result.agfl }
}

/**
 * The wrong trees, the trees of free space and owners, and the AGFL, all in free blocks.
 *
 * @returns undefined if not all blocks of a tree that is not rebuilt are known
 */
function planMoved(geometry: Geometry, result: AgResult, wrong: ReadonlySet<AgTreeName>): PlannedBlocks | undefined {
  const { ag } = result
  const present = agTreeNames.filter((name) => ag.trees[name])
  const rebuilt = present.filter((name) => wrong.has(name) || btrees[name].space === 'agfl')
  const others = present.filter((name) => !rebuilt.includes(name))
  if (others.some((name) => ag.trees[name]?.complete === false)) return undefined
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
