import { type AgTreeName, agTreeNames, agTrees } from '../btree/agtrees.ts'
import { type BulkOptions, bulkBlocks, planBulk } from '../btree/bulkload.ts'
import { type Blocks, blocksOf, mergeMetadata, type Runs } from '../check/expect/blocks.ts'
import { sharingInodes } from '../check/expect/sharing.ts'
import { Extents } from '../check/extents.ts'
import { InodeFlag, InodeState } from '../check/observe/inodetable.ts'
import { type Finding, type ProblemId, problems } from '../check/problems.ts'
import type { CheckResult, GroupResult } from '../check/result.ts'
import { XfsError } from '../errors.ts'
import { OWNERS } from '../format/btrecs.ts'
import type { Geometry } from '../format/geometry.ts'
import { agflSlots, maxRecords } from '../format/verify.ts'
import { minFreelist } from '../space/reserve.ts'
import { doubts } from './doubt.ts'
import { type ForkPatch, forkActions } from './forks.ts'

/**
 * What to do about the findings of a check, worked out before anything is written.
 *
 *   findings ──▶ headers to patch, inodes to patch, and for each group: trees to rebuild, with the blocks they will have
 *
 * Only trees that are wrong are rebuilt, each in its own blocks where it will have as many as before. Where that is not so (or
 * not all of its blocks are known), blocks change hands, so bnobt, cntbt, rmapbt and the AGFL of the group change with it: they are
 * rebuilt too, into blocks that are free now. What those blocks are changes free space and reverse mappings, and
 * thus how many blocks the trees need: sizes are raised until they are enough, and what is left over goes to the AGFL.
 */
export interface Plan {
  /** Forks to repair; such a plan does nothing else. */
  readonly forks: readonly ForkPatch[]
  readonly groups: readonly GroupPlan[]
  /** Groups whose copy of the superblock is rewritten. */
  readonly superblocks: readonly number[]
  readonly inodes: readonly InodePatch[]
  /** The first superblock: checksum, counters, NEEDSREPAIR. */
  readonly primary: boolean
  readonly counters: { readonly icount: number; readonly ifree: number; readonly fdblocks: number } | undefined
  /** Findings that nothing here repairs. */
  readonly left: readonly Finding[]
  /** Why nothing is done: it is not known for sure who owns which blocks. */
  readonly declined: readonly string[]
}

/** An inode that gets its reflink flag. */
export interface InodePatch {
  readonly ino: number
}

export interface TreePlan {
  readonly name: AgTreeName
  readonly blocks: readonly number[]
  readonly levels: number
  readonly root: number
  /** To be written, with so many records. */
  readonly records: number | undefined
  /** How much room its blocks keep. */
  readonly slack?: BulkOptions
}

export interface GroupPlan {
  readonly agno: number
  readonly result: GroupResult
  readonly trees: readonly TreePlan[]
  /** What owns blocks when it is done. */
  readonly blocks: Blocks
  readonly agfl: readonly number[]
  /** Buckets of unlinked inodes that are emptied. */
  readonly buckets: readonly number[]
  readonly newAgfl: boolean
  readonly agf: boolean
  readonly agi: boolean
}

const NOTHING: Plan = {
  forks: [], groups: [], superblocks: [], inodes: [], primary: false, counters: undefined, left: [], declined: [],
} // biome-ignore format: short

/** A plan that repairs forks; what follows from them is planned when that is done. */
export const forkPlan = (forks: readonly ForkPatch[]): Plan => ({ ...NOTHING, forks })

export function plan(geometry: Geometry, result: CheckResult): Plan {
  const { findings, observation, groups } = result
  const left = findings.list.filter(({ id }) => problems[id].fix === null || problems[id].fix === 'restore')
  const declined = doubts(geometry, result)
  if (observation.blind || declined.length > 0) {
    return { ...NOTHING, left: findings.list, declined }
  }
  const touched = groupsIn(findings.list)
  const plans = groups.filter(needsWork(touched)).map((group) => planGroup(geometry, group, touched, findings.list))
  const counters = totals(groups, plans)
  const { sb } = geometry
  const wrongCounters =
    counters.icount !== sb.icount || counters.ifree !== sb.ifree || counters.fdblocks !== sb.fdblocks
  const copies = findings.list.filter(({ id }) => id === 'sb.copy').map(({ facts }) => facts['agno'] as number)
  const inodes = reflinkPatches(geometry, result)
  const ofPrimary: readonly ProblemId[] = ['sb.crc', 'sb.lsn', 'sb.needsrepair', 'sb.icount', 'sb.ifree', 'sb.fdblocks']
  const primary = wrongCounters || ofPrimary.some((id) => findings.has(id))
  return { forks: [], groups: plans, superblocks: [...new Set(copies)], inodes, primary, counters, left, declined }
}

/** Is there anything to write? */
export const isEmpty = ({ forks, groups, superblocks, inodes, primary }: Plan): boolean =>
  forks.length === 0 && groups.length === 0 && superblocks.length === 0 && inodes.length === 0 && !primary

/** Findings that new headers of a group repair, by group. */
function groupsIn(findings: readonly Finding[]): ReadonlyMap<number, ReadonlySet<string>> {
  const groups = new Map<number, Set<string>>()
  for (const { id, facts } of findings) {
    const agno = facts['agno']
    if (typeof agno !== 'number' || !/^(agf|agi|agfl)\./.test(id) || problems[id].fix === null) continue
    const kinds = groups.get(agno) ?? new Set()
    kinds.add(id.slice(0, id.indexOf('.')))
    groups.set(agno, kinds)
  }
  return groups
}

const needsWork =
  (touched: ReadonlyMap<number, unknown>) =>
  (result: GroupResult): boolean =>
    result.wrong.size > 0 || result.agflWrong || result.cow.length > 0 || touched.has(result.group.agno)

function planGroup(
  geometry: Geometry,
  result: GroupResult,
  touched: ReadonlyMap<number, ReadonlySet<string>>,
  findings: readonly Finding[],
): GroupPlan {
  const { group } = result
  const { agno } = group
  const wrong = new Set(result.wrong)
  const has = agTreeNames.filter((name) => group.trees[name] !== undefined)
  if (result.cow.length > 0)
    for (const name of ['refcountbt', 'rmapbt', 'bnobt', 'cntbt'] as const) if (has.includes(name)) wrong.add(name)
  const headers = touched.get(agno) ?? new Set()
  const inPlace = result.known ? planInPlace(geometry, result, wrong) : undefined
  const laid = inPlace ?? planMoved(geometry, result, wrong)
  return {
    agno, result, ...laid,
    buckets: findings.filter(({ id, facts }) => id === 'agi.bucket' && facts['agno'] === agno).map(({ facts }) => facts['bucket'] as number),
    newAgfl: inPlace === undefined || result.agflWrong || headers.has('agfl'),
    agf: inPlace === undefined || headers.size > 0 || result.agflWrong || wrong.size > 0,
    agi: headers.has('agi') || wrong.has('inobt') || wrong.has('finobt'),
  } // biome-ignore format: short
}

type Layout = Pick<GroupPlan, 'trees' | 'blocks' | 'agfl'>

/** How many records each tree will have. */
function recordCounts({ chunks }: GroupResult, blocks: Blocks): Record<AgTreeName, number> {
  let withFree = 0
  for (let i = 0; i < chunks.length; i++) if (chunks.freecount.get(i) > 0) withFree++
  const free = blocks.free.start.length
  return {
    bnobt: free, cntbt: free, rmapbt: blocks.metadata.length + blocks.rows.length, refcountbt: blocks.counts.start.length,
    inobt: chunks.length, finobt: withFree,
  } // biome-ignore format: short
}

/** The wrong trees in their own blocks; undefined where one of them cannot be made to fit them exactly. */
function planInPlace(geometry: Geometry, result: GroupResult, wrong: ReadonlySet<AgTreeName>): Layout | undefined {
  const { blocks, group } = result
  const counts = recordCounts(result, blocks)
  const trees: TreePlan[] = []
  for (const name of agTreeNames) {
    const tree = group.trees[name]
    if (!tree) continue
    if (!wrong.has(name)) {
      trees.push({ name, blocks: tree.blocks, levels: tree.levels, root: tree.blocks[0] as number, records: undefined })
      continue
    }
    // The inode trees say where the truth is: as long as they are being written, the old ones must stay whole.
    if ((name === 'inobt' || name === 'finobt') && tree.blocks.length > 1) return undefined
    const slack = slackFor(geometry, name, counts[name], tree.blocks.length)
    if (!slack) return undefined
    const sorted = [...tree.blocks].sort((a, b) => a - b)
    const levels = planBulk(agTrees[name].ops, geometry, counts[name], slack).levels.length
    trees.push({
      name,
      blocks: sorted,
      levels,
      root: sorted[sorted.length - 1] as number,
      records: counts[name],
      slack,
    })
  }
  return { trees, blocks, agfl: result.agfl }
}

/** How to spread the records so that the tree takes just so many blocks; undefined where nothing gives that. */
function slackFor(geometry: Geometry, name: AgTreeName, records: number, blocks: number): BulkOptions | undefined {
  const fits = (slack: BulkOptions): boolean => bulkBlocks(agTrees[name].ops, geometry, records, slack) === blocks
  if (fits({})) return {}
  const max = maxRecords(geometry, name, 0)
  const fewest = Math.max(2, Math.ceil(records / max))
  const most = Math.min(blocks, Math.floor(records / (max >> 1)))
  const nodeMax = maxRecords(geometry, name, 1)
  for (const nodeSlack of [nodeMax >> 2, nodeMax >> 3, 0, nodeMax >> 1]) {
    // Nodes are few: only the greatest counts of leaves can come out right.
    for (let leafBlocks = most; leafBlocks >= fewest; leafBlocks--) {
      const slack = { leafBlocks, nodeSlack }
      const total = bulkBlocks(agTrees[name].ops, geometry, records, slack)
      if (total === blocks) return slack
      if (total < blocks) break
    }
  }
  return undefined
}

/** The wrong trees, the trees of free space and owners, and the AGFL: all in blocks that are free now. */
function planMoved(geometry: Geometry, result: GroupResult, wrong: ReadonlySet<AgTreeName>): Layout {
  const { group } = result
  const rebuilt = agTreeNames.filter((name) => group.trees[name] && (wrong.has(name) || agTrees[name].space === 'agfl'))
  const kept = agTreeNames.filter((name) => group.trees[name] && !rebuilt.includes(name))
  const base = keptMetadata(result, kept)
  const merged = new Extents()
  mergeMetadata(base, merged)
  const before = blocksOf(group.length, merged, result.blocks)
  const laid = layOut(geometry, result, rebuilt, base, before)
  const trees = kept.map((name): TreePlan => {
    const tree = group.trees[name] as NonNullable<(typeof group.trees)[typeof name]>
    return { name, blocks: tree.blocks, levels: tree.levels, root: tree.blocks[0] as number, records: undefined }
  })
  return { ...laid, trees: [...laid.trees, ...trees] }
}

/** What stays where it is: all metadata but the trees that are rebuilt, the AGFL and what is held for copy-on-write. */
function keptMetadata({ group }: GroupResult, kept: readonly AgTreeName[]): Extents {
  const out = new Extents()
  const { metadata, trees } = group
  for (let i = 0; i < metadata.length; i++) {
    const owner = metadata.owner.get(i)
    if (owner === OWNERS.ag || owner === OWNERS.inobt || owner === OWNERS.refc) continue
    out.push(metadata.start.get(i), metadata.count.get(i), owner, metadata.offset.get(i), metadata.flags.get(i))
  }
  for (const name of kept) for (const agbno of trees[name]?.blocks ?? []) out.push(agbno, 1, agTrees[name].owner, 0, 0)
  return out
}

/** With room to grow in every block, or where there is no space for that, with full blocks. */
function layOut(
  geometry: Geometry,
  result: GroupResult,
  rebuilt: readonly AgTreeName[],
  base: Extents,
  before: Blocks,
): Layout {
  try {
    return new Fixpoint(geometry, result, rebuilt, base, before, {}).solve()
  } catch (error) {
    if (!(error instanceof XfsError) || error.code !== 'NOSPC') throw error
    return new Fixpoint(geometry, result, rebuilt, base, before, FULL).solve()
  }
}

const FULL: BulkOptions = { leafSlack: 0, nodeSlack: 0 }
const MAX_ROUNDS = 50

class Fixpoint {
  readonly #geometry: Geometry
  readonly #result: GroupResult
  readonly #rebuilt: readonly AgTreeName[]
  readonly #base: Extents
  readonly #before: Blocks
  /** Old blocks of inode trees that are rebuilt: free, but not to be written before the new ones are in place. */
  readonly #untouchable: ReadonlySet<number>
  readonly #slack: BulkOptions

  constructor(
    geometry: Geometry,
    result: GroupResult,
    rebuilt: readonly AgTreeName[],
    base: Extents,
    before: Blocks,
    slack: BulkOptions,
  ) {
    this.#slack = slack
    this.#geometry = geometry
    this.#result = result
    this.#rebuilt = rebuilt
    this.#base = base
    this.#before = before
    const { trees } = result.group
    this.#untouchable = new Set(
      rebuilt.flatMap((name) => (name === 'inobt' || name === 'finobt' ? (trees[name]?.blocks ?? []) : [])),
    )
  }

  solve(): Layout {
    const sizes = new Map<AgTreeName, number>()
    let agfl = 0
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const claimed = this.#claim(sizes, agfl)
      const blocks = this.#blocksWith(claimed)
      const counts = recordCounts(this.#result, blocks)
      let enough = true
      for (const name of this.#rebuilt) {
        const need = bulkBlocks(agTrees[name].ops, this.#geometry, counts[name], this.#slack)
        if (need <= (sizes.get(name) ?? 0)) continue
        sizes.set(name, need)
        enough = false
      }
      const least = this.#agflNeed(counts)
      if (agfl < least) enough = false
      agfl = Math.max(agfl, least)
      if (enough) return this.#layout(claimed, blocks, counts)
    }
    throw new XfsError('NOSPC', `AG ${this.#result.group.agno}: the trees do not come to rest`, {
      agno: this.#result.group.agno,
    })
  }

  #agflNeed(counts: Record<AgTreeName, number>): number {
    const level = (name: AgTreeName): number =>
      this.#result.group.trees[name]
        ? planBulk(agTrees[name].ops, this.#geometry, counts[name], this.#slack).levels.length
        : 1
    return minFreelist(this.#geometry, { bnobt: level('bnobt'), cntbt: level('cntbt'), rmapbt: level('rmapbt') })
  }

  /** Free blocks for each tree and the AGFL: from the first run that is long enough for all, or else from the front. */
  #claim(sizes: ReadonlyMap<AgTreeName, number>, agfl: number): Map<AgTreeName | 'agfl', number[]> {
    const order: (AgTreeName | 'agfl')[] = [...this.#rebuilt.filter((name) => agTrees[name].space === 'agfl'), 'agfl']
    order.push(...this.#rebuilt.filter((name) => agTrees[name].space !== 'agfl'))
    const want = (name: AgTreeName | 'agfl'): number => (name === 'agfl' ? agfl : (sizes.get(name) ?? 0))
    const total = order.reduce((sum, name) => sum + want(name), 0)
    const free = freeBlocks(this.#before.free, this.#untouchable, total)
    const claimed = new Map<AgTreeName | 'agfl', number[]>()
    for (const name of order) {
      const blocks: number[] = []
      while (blocks.length < want(name)) {
        const next = free.next()
        if (next.done) {
          throw new XfsError('NOSPC', `AG ${this.#result.group.agno}: not enough free blocks to rebuild its trees`, {
            agno: this.#result.group.agno,
          })
        }
        blocks.push(next.value)
      }
      claimed.set(name, blocks)
    }
    return claimed
  }

  #blocksWith(claimed: ReadonlyMap<AgTreeName | 'agfl', readonly number[]>): Blocks {
    const metadata = new Extents()
    const base = this.#base
    for (let i = 0; i < base.length; i++) {
      metadata.push(base.start.get(i), base.count.get(i), base.owner.get(i), base.offset.get(i), base.flags.get(i))
    }
    for (const [name, blocks] of claimed) {
      const owner = name === 'agfl' ? OWNERS.ag : agTrees[name].owner
      for (const agbno of blocks) metadata.push(agbno, 1, owner, 0, 0)
    }
    const merged = new Extents()
    mergeMetadata(metadata, merged)
    return blocksOf(this.#result.group.length, merged, this.#result.blocks)
  }

  /** Blocks that a tree was given and does not need go to the AGFL; what belongs to others of its owner too. */
  #layout(claimed: Map<AgTreeName | 'agfl', number[]>, blocks: Blocks, counts: Record<AgTreeName, number>): Layout {
    const agfl = [...(claimed.get('agfl') ?? [])]
    const trees: TreePlan[] = []
    for (const name of this.#rebuilt) {
      const mine = claimed.get(name) ?? []
      const shape = planBulk(agTrees[name].ops, this.#geometry, counts[name], this.#slack)
      const spare = mine.slice(shape.blocks)
      if (spare.length > 0 && agTrees[name].space !== 'agfl')
        throw new Error(`${name} was given more blocks than its records need`)
      agfl.push(...spare)
      const used = mine.slice(0, shape.blocks)
      trees.push({
        name,
        blocks: used,
        levels: shape.levels.length,
        root: used[used.length - 1] as number,
        records: counts[name],
        slack: this.#slack,
      })
    }
    if (agfl.length > agflSlots(this.#geometry))
      throw new XfsError('NOSPC', `AG ${this.#result.group.agno}: the AGFL cannot hold ${agfl.length} blocks`)
    return { trees, blocks, agfl }
  }
}

/** Free blocks one by one: from the first run that has `total` of them, where there is one, else from all. */
function* freeBlocks(free: Runs, without: ReadonlySet<number>, total: number): Generator<number> {
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

function totals(groups: readonly GroupResult[], plans: readonly GroupPlan[]): NonNullable<Plan['counters']> {
  const byAgno = new Map(plans.map((plan) => [plan.agno, plan]))
  let icount = 0
  let ifree = 0
  let fdblocks = 0
  for (const result of groups) {
    const { chunks, group } = result
    for (let i = 0; i < chunks.length; i++) {
      icount += chunks.count.get(i)
      ifree += chunks.freecount.get(i)
    }
    const plan = byAgno.get(group.agno)
    const free = (plan?.blocks ?? result.blocks).free
    for (let i = 0; i < free.start.length; i++) fdblocks += (free.end[i] as number) - (free.start[i] as number)
    fdblocks += (plan?.agfl ?? result.agfl).length + btreeBlocks(plan, result)
  }
  return { icount, ifree, fdblocks }
}

/** Blocks of bnobt, cntbt and rmapbt without the roots. */
export function btreeBlocks(plan: GroupPlan | undefined, result: GroupResult): number {
  let sum = 0
  for (const name of ['bnobt', 'cntbt', 'rmapbt'] as const) {
    const tree = plan ? plan.trees.find((t) => t.name === name) : result.group.trees[name]
    if (tree) sum += tree.blocks.length - 1
  }
  return sum
}

/** Reflink flags that are missing. One that is set in a file that shares nothing any more does no harm. */
function reflinkPatches(geometry: Geometry, { observation, groups }: CheckResult): InodePatch[] {
  if (!geometry.features.has('reflink')) return []
  const { inodes } = observation
  const sharing = sharingInodes(groups.map((group) => group.blocks))
  const patches: InodePatch[] = []
  for (let slot = 0; slot < inodes.slots; slot++) {
    if (inodes.state.get(slot) !== InodeState.sound || inodes.mode.get(slot) === 0) continue
    const flagged = (inodes.flags.get(slot) & InodeFlag.reflink) !== 0
    const ino = inodes.ino(slot)
    if (!flagged && sharing.has(ino)) patches.push({ ino })
  }
  return patches
}

/** The steps of a plan in words, in the order in which they are taken. */
export function actions(geometry: Geometry, plan: Plan): string[] {
  if (isEmpty(plan)) return []
  const steps = plan.forks.flatMap((patch) => forkActions(geometry, patch))
  for (const { agno, trees, newAgfl, agf, agi } of plan.groups) {
    for (const { name, records, blocks } of trees) {
      if (records !== undefined)
        steps.push(`rebuild ${name} of AG ${agno}: ${records} records in ${blocks.length} blocks`)
    }
    const headers = [agf ? 'AGF' : '', agi ? 'AGI' : '', newAgfl ? 'AGFL' : ''].filter(Boolean)
    if (headers.length > 0) steps.push(`write ${headers.join(', ')} of AG ${agno}`)
  }
  for (const { ino } of plan.inodes) steps.push(`set the reflink flag of inode ${ino}`)
  for (const agno of plan.superblocks) steps.push(`write the copy of the superblock in AG ${agno}`)
  if (plan.forks.length === 0) steps.push('write the superblock')
  return steps
}
