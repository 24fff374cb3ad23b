import { type CheckResult, check } from '../check/check.ts'
import { problemOf } from '../check/problems.ts'
import type { Device } from '../device/device.ts'
import { overlay } from '../device/overlay.ts'
import type { Geometry } from '../format/geometry.ts'
import { Volume } from '../volume.ts'
import { apply } from './apply.ts'
import { isEmpty, type Plan, plan } from './plan.ts'

export interface RepairResult {
  /** What was found before. */
  readonly before: CheckResult
  /** What was done, or in a dry run would be: more than one plan where repairing one thing showed another. */
  readonly plans: readonly Plan[]
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
  const { plans, after, declined } = rehearse(device, geometry, before)
  const write = options.dryRun !== true && (options.partial === true || (!isWrong(after) && declined.length === 0))
  if (!write) return { before, plans: options.dryRun === true ? plans : [], changed: false, after, declined }
  for (const next of plans) apply(device, geometry, next)
  return { before, plans, changed: plans.length > 0, after, declined }
}

/** What could not be compared while a tree could not be read comes out when it can be. */
const MAX_ROUNDS = 4

type Rehearsal = Pick<RepairResult, 'plans' | 'after' | 'declined'>

function rehearse(device: Device, original: Geometry, before: CheckResult): Rehearsal {
  const copy = overlay(device)
  const plans: Plan[] = []
  let geometry = original
  let after = before
  let next = plan(geometry, before)
  for (; !isEmpty(next) && plans.length < MAX_ROUNDS; next = plan(geometry, after)) {
    apply(copy, geometry, next)
    plans.push(next)
    geometry = Volume.open(copy, { needsRepair: true }).geometry
    after = check(copy, geometry)
  }
  return { plans, after, declined: next.declined }
}

/** Is anything wrong that is more than a note? */
export const isWrong = ({ findings }: CheckResult): boolean =>
  findings.list.some(({ id }) => problemOf(id).note !== true)
