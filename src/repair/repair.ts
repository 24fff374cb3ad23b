import { check } from '../check/check.ts'
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
import { apply, uncheckQuota } from './apply.ts'
import type { Doubt } from './doubt.ts'
import { confirmed, planForks } from './forks.ts'
import { forkPlan, isEmpty, type Plan, plan } from './plan.ts'
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
  const { plans, after, declined, log, leftovers } = rehearse(device, geometry, judged)
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

/** A formatted log begins this many cycles past the highest LSN, as with xfs_repair. */
const CYCLES_AHEAD = 3
const LAST_CYCLE = 0x7fffffff

type Rehearsal = Pick<RepairResult, 'plans' | 'after' | 'declined' | 'log' | 'leftovers'>

/** An extent is cut only if no problems are left in the end. */
function rehearse(device: Device, geometry: Geometry, before: CheckResult): Rehearsal {
  const result = attempt(device, geometry, before, { cuts: true })
  const cuts = result.plans.some(({ forks }) => forks.some(({ cut }) => cut.length > 0))
  if (!cuts || (!isWrong(result.after) && result.declined.length === 0)) return result
  return attempt(device, geometry, before, { cuts: false })
}

function attempt(device: Device, original: Geometry, before: CheckResult, options: { cuts: boolean }): Rehearsal {
  let copy = overlay(device)
  const plans: Plan[] = []
  const leftovers = undefined
  let geometry = original
  // The log is not formatted in the rehearsal: it may have 2 GiB.
  const log = before.head.aheadCycle > 0 ? before.head.aheadCycle + CYCLES_AHEAD : undefined
  if (log !== undefined && log > LAST_CYCLE) {
    const reason = `metadata has an LSN of cycle ${log - CYCLES_AHEAD}`
    const declined = [{ id: 'log.cycle', place: {}, reason }]
    return { plans, after: before, declined, log: undefined, leftovers }
  }
  const head = log === undefined ? undefined : new LogHead({ cycle: log, block: 0 })
  let after = head ? check(copy, geometry, head) : before
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const settled = settleForks(copy, geometry, after, head, options)
    if (!settled) break
    ;({ copy, after } = settled)
    plans.push(settled.plan)
  }
  const most = plans.length + MAX_ROUNDS
  let next = plan(geometry, after)
  for (; !isEmpty(next) && plans.length < most; next = plan(geometry, after)) {
    apply(copy, geometry, next)
    plans.push(next)
    geometry = Volume.open(copy, { needsRepair: true }).geometry
    after = check(copy, geometry, head)
  }
  const { declined } = next
  if (isWrong(after) && declined.length === 0 && (head || logState(Volume.open(copy)).clean)) {
    const freed = rehearseLeftovers(copy, head)
    if (freed) return { plans, declined, log, ...freed }
  }
  return { plans, after, declined, log, leftovers }
}

/** Repair forks in memory. @returns undefined where there is no patch that a check confirms */
function settleForks(
  base: Overlay,
  geometry: Geometry,
  before: CheckResult,
  head: LogHead | undefined,
  { cuts }: { cuts: boolean },
): { copy: Overlay; after: CheckResult; plan: Plan } | undefined {
  let patches = planForks(base, geometry, before).filter(({ cut }) => cuts || cut.length === 0)
  for (let round = 0; patches.length > 0 && round < MAX_ROUNDS; round++) {
    const copy = overlay(base)
    const next = forkPlan(patches)
    apply(copy, geometry, next)
    const after = check(copy, geometry, head)
    const right = confirmed(geometry, patches, after)
    if (right.length === patches.length) return { copy, after, plan: next }
    patches = right
  }
  return undefined
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
