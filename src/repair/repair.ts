import { type CheckResult, check } from '../check/check.ts'
import { problemOf } from '../check/problems.ts'
import type { Device } from '../device/device.ts'
import { overlay } from '../device/overlay.ts'
import type { Geometry } from '../format/geometry.ts'
import { LogHead } from '../format/lsn.ts'
import { formatLog } from '../log/format.ts'
import { Volume } from '../volume.ts'
import { apply } from './apply.ts'
import { isEmpty, type Plan, plan } from './plan.ts'

export interface RepairResult {
  /** What was found before. */
  readonly before: CheckResult
  /** What was done, or in a dry run would be: more than one plan where repairing one thing showed another. */
  readonly plans: readonly Plan[]
  /** The cycle at which the log is formatted, where metadata were ahead of it. */
  readonly log: number | undefined
  /** Something was written. */
  readonly changed: boolean
  /** What is found afterwards, or would be if the plans were carried out. */
  readonly after: CheckResult
  /** Why nothing, or nothing more, is done: a sentence each. */
  readonly declined: readonly string[]
}

export interface RepairOptions {
  /** Find out what would be done, and write nothing. */
  readonly dryRun?: boolean
  /** Write also where something is left that is not repaired. */
  readonly partial?: boolean
}

/**
 * Repair the filesystem on `device`: observe, compare, plan, apply, until nothing more can be done. That is rehearsed in memory; the
 * image is written only where the rehearsal ends with nothing wrong (or with `partial`, where it changed something).
 *
 * @throws XfsError where it is no filesystem, or one that this program may not change (features); IO
 */
export function repair(device: Device, options: RepairOptions = {}): RepairResult {
  const { geometry } = Volume.open(device, { write: options.dryRun !== true, needsRepair: true })
  const before = check(device, geometry)
  const { plans, after, declined, log } = rehearse(device, geometry, before)
  const write = options.dryRun !== true && (options.partial === true || (!isWrong(after) && declined.length === 0))
  if (!write)
    return {
      before,
      plans: options.dryRun === true ? plans : [],
      log: options.dryRun === true ? log : undefined,
      changed: false,
      after,
      declined,
    }
  if (log !== undefined) formatLog(device, geometry, log)
  for (const next of plans) apply(device, geometry, next)
  return { before, plans, log, changed: plans.length > 0 || log !== undefined, after, declined }
}

/** What could not be compared while a tree could not be read comes out when it can be. */
const MAX_ROUNDS = 4

/** A log that is formatted begins so many cycles after the last LSN, as xfs_repair has it. */
const CYCLES_AHEAD = 3
const LAST_CYCLE = 0x7fffffff

type Rehearsal = Pick<RepairResult, 'plans' | 'after' | 'declined' | 'log'>

function rehearse(device: Device, original: Geometry, before: CheckResult): Rehearsal {
  const copy = overlay(device)
  const plans: Plan[] = []
  let geometry = original
  // A log ahead of all metadata is only assumed here: it may have 2 GiB.
  const log = before.head.aheadCycle > 0 ? before.head.aheadCycle + CYCLES_AHEAD : undefined
  if (log !== undefined && log > LAST_CYCLE)
    return { plans, after: before, declined: [`metadata have an LSN of cycle ${log - CYCLES_AHEAD}`], log: undefined }
  const head = log === undefined ? undefined : new LogHead({ cycle: log, block: 0 })
  let after = head ? check(copy, geometry, head) : before
  let next = plan(geometry, after)
  for (; !isEmpty(next) && plans.length < MAX_ROUNDS; next = plan(geometry, after)) {
    apply(copy, geometry, next)
    plans.push(next)
    geometry = Volume.open(copy, { needsRepair: true }).geometry
    after = check(copy, geometry, head)
  }
  return { plans, after, declined: next.declined, log }
}

/** Is anything wrong that is more than a note? */
export const isWrong = ({ findings }: CheckResult): boolean =>
  findings.list.some(({ id }) => problemOf(id).note !== true)
