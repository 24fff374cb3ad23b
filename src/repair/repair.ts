import { type CheckResult, check } from '../check/check.ts'
import type { Device } from '../device/device.ts'
import { Volume } from '../volume.ts'
import { apply } from './apply.ts'
import { isEmpty, type Plan, plan } from './plan.ts'

export interface RepairResult {
  /** What was found before. */
  readonly before: CheckResult
  /** What was done, or would be: more than one plan where mending one thing showed another. */
  readonly plans: readonly Plan[]
  /** Something was written. */
  readonly changed: boolean
  /** What is found afterwards; in a dry run that of before. */
  readonly after: CheckResult
}

export interface RepairOptions {
  /** Find out what would be done, and write nothing. */
  readonly dryRun?: boolean
}

/**
 * Mend the filesystem on `device`: observe, compare, plan, apply; then observe and compare again.
 *
 * @throws XfsError where it is no filesystem, or one that this program may not change (features); IO
 */
export function repair(device: Device, options: RepairOptions = {}): RepairResult {
  let { geometry } = Volume.open(device, { write: options.dryRun !== true, needsRepair: true })
  const before = check(device, geometry)
  let next = plan(geometry, before)
  if (options.dryRun === true) return { before, plans: [next], changed: false, after: before }
  const plans: Plan[] = []
  let after = before
  // What could not be compared while a tree could not be read comes out when it can be.
  while (!isEmpty(next) && plans.length < MAX_ROUNDS) {
    apply(device, geometry, next)
    plans.push(next)
    geometry = Volume.open(device, { needsRepair: true }).geometry
    after = check(device, geometry)
    next = plan(geometry, after)
  }
  return { before, plans, changed: plans.length > 0, after }
}

const MAX_ROUNDS = 4
