import { type CheckResult, check } from '../check/check.ts'
import type { Device } from '../device/device.ts'
import { Volume } from '../volume.ts'
import { apply } from './apply.ts'
import { isEmpty, type Plan, plan } from './plan.ts'

export interface RepairResult {
  /** What was found before. */
  readonly before: CheckResult
  readonly plan: Plan
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
  const { geometry } = Volume.open(device, { write: options.dryRun !== true, needsRepair: true })
  const before = check(device, geometry)
  const planned = plan(geometry, before)
  if (options.dryRun === true || isEmpty(planned)) return { before, plan: planned, changed: false, after: before }
  apply(device, geometry, planned)
  const again = Volume.open(device, { needsRepair: true })
  return { before, plan: planned, changed: true, after: check(device, again.geometry) }
}
