import type { Device } from '../device/device.ts'
import type { Geometry } from '../format/geometry.ts'
import { geometryReport } from '../format/report.ts'
import { systemClock } from '../format/time.ts'
import { randomUuid } from '../util/uuid.ts'
import { type MkfsPlan, planFilesystem } from './geometry.ts'
import type { MkfsOptions } from './options.ts'
import { writeFilesystem } from './write.ts'

export interface MkfsResult {
  readonly geometry: Geometry
  /** The output of mkfs.xfs that -q suppresses. */
  readonly report: string
  /** The output of mkfs.xfs before that, which -q does not suppress. */
  readonly notes: readonly string[]
  /** The messages of mkfs.xfs on standard error. */
  readonly warnings: readonly string[]
}

export interface MkfsDeviceOptions extends MkfsOptions {
  /** `plan`: report the geometry, write nothing. */
  readonly action?: 'format' | 'plan'
}

/**
 * Make an XFS filesystem on `device`, as mkfs.xfs does. The bytes are the same if time, generation
 * and uuid are.
 *
 * @param name  of the device in the report
 * @throws XfsError INVAL (options that do not go together, a size too small), UNSUPPORTED, IO,
 *   NOSPC
 * @source mkfs/xfs_mkfs.c
 */
export function mkfs(device: Device, options: MkfsDeviceOptions = {}, name = ''): MkfsResult {
  const plan = planFilesystem(options, device.size, options.uuid ?? randomUuid())
  return options.action === 'plan' ? result(plan, name) : format(device, plan, options, name)
}

/** Write what was planned. */
export function format(device: Device, plan: MkfsPlan, options: MkfsOptions, name: string): MkfsResult {
  const random = (): number => options.generation ?? (crypto.getRandomValues(new Uint32Array(1))[0] as number)
  const identity = {
    time: options.time ?? systemClock(),
    generations: [random(), random()] as const,
    unusedGeneration: random(),
  }
  writeFilesystem(device, plan, identity)
  return result(plan, name)
}

export const result = ({ geometry, notes, warnings }: MkfsPlan, name: string): MkfsResult => ({
  geometry,
  report: geometryReport(geometry.sb, geometry.features, name),
  notes,
  warnings,
})
