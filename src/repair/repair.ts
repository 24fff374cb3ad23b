import { check } from '../check/check.ts'
import { problemMask } from '../check/facts.ts'
import { notes } from '../check/problems.ts'
import type { CheckResult } from '../check/result.ts'
import type { Device } from '../device/device.ts'
import { type Overlay, overlay } from '../device/overlay.ts'
import { XfsError } from '../errors.ts'
import type { Geometry } from '../format/geometry.ts'
import { LogHead } from '../format/lsn.ts'
import { loggedCommits } from '../log/checkpoint.ts'
import { formatLog } from '../log/format.ts'
import { logState } from '../log/ring.ts'
import { freeLeftovers, hasLeftovers, type Leftovers } from '../recovery/leftovers.ts'
import { Volume } from '../volume.ts'
import { apply, applyNames, uncheckQuota } from './apply.ts'
import { planCores } from './cores.ts'
import { CYCLES_AHEAD, LAST_CYCLE } from './cycles.ts'
import { type Doubt, leakProblems } from './doubt.ts'
import { confirmed, planForks } from './forks.ts'
import { planNames } from './names/plan.ts'
import { nameProblems } from './names/problems.ts'
import { isEmpty, type Plan, partPlan, plan } from './plan.ts'
import { irreplaceable, trust } from './trust.ts'

export interface RepairResult {
  /** The check before the repair. */
  readonly before: CheckResult
  /**
   * The plans that were carried out, or would be. There are several if a repair revealed further
   * problems.
   */
  readonly plans: readonly Plan[]
  /** The cycle at which the log is formatted, if metadata was ahead of it. */
  readonly log: number | undefined
  /** Leftovers of an interrupted change, freed after the plans. */
  readonly leftovers: Leftovers | undefined
  /** Something was written. */
  readonly changed: boolean
  /** The findings after the plans, or those expected. */
  readonly after: CheckResult
  /** Why nothing, or nothing more, was done: one sentence each. */
  readonly declined: readonly Doubt[]
}

export interface RepairOptions {
  /** Decide what to do, but write nothing. */
  readonly dryRun?: boolean
  /** Write even if some problems are not repaired. */
  readonly partial?: boolean
  /**
   * Inodes that cannot be read stay as they are: what depends on them is not repaired. (Else they
   * become free.)
   */
  readonly keepUnreadable?: boolean
}

/**
 * Repair the filesystem on `device`: observe, compare, plan and apply, until nothing more can be
 * done. This is rehearsed in memory. The image is only written if the rehearsal ends without
 * problems, or with `partial` if it changed anything.
 *
 * @throws XfsError if it is not a filesystem, or has features that cannot be changed; IO
 */
export function repair(original: Device, options: RepairOptions = {}): RepairResult {
  const { device, geometry, before, judged } = trust(original)
  Volume.open(device, { write: options.dryRun !== true, needsRepair: true })
  const lost = irreplaceable(geometry, device, judged)
  if (lost.length > 0)
    return { before, plans: [], log: undefined, leftovers: undefined, changed: false, after: judged, declined: lost }
  const { plans, after, declined, log, leftovers } = rehearse(device, geometry, judged, options)
  const write = options.dryRun !== true && (options.partial === true || (!isWrong(after) && declined.length === 0))
  if (!write)
    return {
      before,
      plans: options.dryRun === true ? plans : [],
      log: options.dryRun === true ? log : undefined,
      leftovers: options.dryRun === true ? leftovers : undefined,
      changed: false,
      after,
      declined,
    }
  const changed = plans.length > 0 || log !== undefined || leftovers !== undefined
  if (changed) uncheckQuota(device, geometry)
  if (log !== undefined) formatLog(device, geometry, log)
  for (const next of plans) apply(device, geometry, next, { more: next !== plans.at(-1) })
  if (leftovers) finishLeftovers(device)
  return { before, plans, log, leftovers, changed, after, declined }
}

/** Plans run one after another: a repaired btree can be compared again. */
const MAX_ROUNDS = 4

type Rehearsal = Pick<RepairResult, 'plans' | 'after' | 'declined' | 'log' | 'leftovers'>

/** An extent is cut, or an inode given up, only if no problems are left in the end. */
function rehearse(device: Device, geometry: Geometry, before: CheckResult, options: RepairOptions): Rehearsal {
  const { keepUnreadable = false } = options
  const result = attempt(device, geometry, before, { cuts: true, keepUnreadable })
  const losses = result.plans.some(
    ({ forks, cores }) => forks.some(({ cut }) => cut.length > 0) || cores.some(({ how }) => how !== 'set'),
  )
  if (!losses || (!isWrong(result.after) && result.declined.length === 0)) return result
  return attempt(device, geometry, before, { cuts: false, keepUnreadable: true })
}

function attempt(device: Device, original: Geometry, before: CheckResult, options: AttemptOptions): Rehearsal {
  const plans: Plan[] = []
  const leftovers = undefined
  // The log is not formatted in the rehearsal: it may have 2 GiB.
  const log = before.head.aheadCycle > 0 ? before.head.aheadCycle + CYCLES_AHEAD : undefined
  if (log !== undefined && log > LAST_CYCLE) {
    const reason = `metadata has an LSN of cycle ${log - CYCLES_AHEAD}`
    const declined = [{ id: 'log.cycle', place: {}, reason }]
    return { plans, after: before, declined, log: undefined, leftovers }
  }
  const head = log === undefined ? undefined : new LogHead({ cycle: log, block: 0 })
  const copy = overlay(device)
  const after = head ? check(copy, original, head) : before
  const stage: Stage = { copy, geometry: original, after, head, doubted: new Set(), plans }
  settleCores(stage, { last: false })
  for (let round = 0; round < MAX_ROUNDS && settleForks(stage, options); round++);
  settleCores(stage, { last: true, keepUnreadable: options.keepUnreadable })
  let { declined } = rebuild(stage)
  for (let round = 0; round < MAX_NAME_ROUNDS && isWrong(stage.after); round++) {
    const settled = settleNames(stage)
    if (typeof settled === 'object') declined = [...declined, settled]
    if (settled !== true) break
    ;({ declined } = rebuild(stage))
  }
  if (isWrong(stage.after) && declined.length === 0 && (head || logState(Volume.open(stage.copy)).clean)) {
    const freed = rehearseLeftovers(stage.copy, head)
    if (freed) return { plans, declined, log, ...freed }
  }
  return { plans, after: stage.after, declined, log, leftovers }
}

interface AttemptOptions extends Pick<RepairOptions, 'keepUnreadable'> {
  /** Extents may be cut. */
  readonly cuts: boolean
}

/** A rehearsal so far. */
interface Stage {
  copy: Overlay
  geometry: Geometry
  /** The check of `copy`. */
  after: CheckResult
  readonly head: LogHead | undefined
  /** Inodes that were damaged: their extents may be, too. */
  readonly doubted: Set<number>
  readonly plans: Plan[]
}

/** Rounds of changes of names: each kind makes the next one visible. */
const MAX_NAME_ROUNDS = 12

/** Repair cores of inodes in memory. */
function settleCores(stage: Stage, options: Parameters<typeof planCores>[3]): void {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const cores = planCores(stage.copy, stage.geometry, stage.after, options)
    if (cores.length === 0) return
    const next = partPlan({ cores })
    for (const { ino } of cores) stage.doubted.add(ino)
    apply(stage.copy, stage.geometry, next)
    stage.plans.push(next)
    stage.after = check(stage.copy, stage.geometry, stage.head)
  }
}

/** Write what follows from inodes and forks, in memory. @returns the plan of what is left */
function rebuild(stage: Stage): Plan {
  const most = stage.plans.length + MAX_ROUNDS
  let next = plan(stage.geometry, stage.after)
  for (; !isEmpty(next) && stage.plans.length < most; next = plan(stage.geometry, stage.after)) {
    apply(stage.copy, stage.geometry, next)
    stage.plans.push(next)
    stage.geometry = Volume.open(stage.copy, { needsRepair: true }).geometry
    stage.after = check(stage.copy, stage.geometry, stage.head)
  }
  return next
}

/** Problems with which the image is sound enough for transactions: names, and leaked blocks. */
const OF_NAMES = problemMask([...nameProblems, 'agi.unlinked', ...leakProblems, ...notes])

/**
 * Change names in memory.
 * @returns true if something changed; why it failed
 */
function settleNames(stage: Stage): boolean | Doubt {
  if (stage.after.facts.image.hasOther(0, OF_NAMES)) return false
  const names = planNames(stage.copy, stage.after)
  if (names.length === 0) return false
  const copy = overlay(stage.copy)
  try {
    applyNames(copy, stage.geometry, names, { more: false })
  } catch (error) {
    if (!(error instanceof XfsError) || error.code === 'IO') throw error
    return { id: 'names.failed', place: {}, reason: `names cannot be repaired: ${error.message}` }
  }
  stage.copy = copy
  stage.plans.push(partPlan({ names }))
  stage.geometry = Volume.open(copy, { needsRepair: true }).geometry
  stage.after = check(copy, stage.geometry, stage.head)
  return true
}

/** Repair forks in memory. @returns false where there is no patch that a check confirms */
function settleForks(stage: Stage, { cuts }: { cuts: boolean }): boolean {
  const { copy: base, geometry, after: before, head } = stage
  let patches = planForks(base, geometry, before, stage.doubted).filter(({ cut }) => cuts || cut.length === 0)
  for (let round = 0; patches.length > 0 && round < MAX_ROUNDS; round++) {
    const copy = overlay(base)
    const next = partPlan({ forks: patches })
    apply(copy, geometry, next)
    const after = check(copy, geometry, head)
    const right = confirmed(geometry, patches, after)
    if (right.length === patches.length) {
      Object.assign(stage, { copy, after })
      stage.plans.push(next)
      return true
    }
    patches = right
  }
  return false
}

/**
 * Free the leftovers in memory.
 * @returns undefined if there are none, or if a check then finds problems
 */
function rehearseLeftovers(
  copy: Overlay,
  head: LogHead | undefined,
): { leftovers: Leftovers; after: CheckResult } | undefined {
  try {
    const volume = Volume.open(copy, { write: true })
    if (!hasLeftovers(volume)) return undefined
    const leftovers = freeLeftovers(volume)
    volume.sync()
    const after = check(copy, Volume.open(copy).geometry, head)
    return isWrong(after) ? undefined : { leftovers, after }
  } catch (error) {
    if (error instanceof XfsError && error.code !== 'IO') return undefined
    throw error
  }
}

/** On the device they are freed through the log: an interrupted repair is completed by recovery. */
function finishLeftovers(device: Device): void {
  const volume = Volume.open(device, { write: true, committer: loggedCommits })
  try {
    freeLeftovers(volume)
  } finally {
    volume.sync()
  }
}

/** Is any finding more than a note? */
export const isWrong = ({ facts }: CheckResult): boolean => facts.isWrong
