import type { Device } from '../../device/device.ts'
import type { Geometry } from '../../format/geometry.ts'
import { logState } from '../../log/ring.ts'
import { Volume } from '../../volume.ts'
import type { Findings } from '../findings.ts'

/** What every observer is given. */
export interface Scene {
  readonly device: Device
  readonly geometry: Geometry
  readonly head: LogHead
  readonly findings: Findings
}

/**
 * How far the log has come. Metadata that says it was last written later than that was written in another life: the kernel refuses it,
 * and recovery would take it for newer than what it replays.
 */
export class LogHead {
  readonly cycle: number
  readonly block: number

  constructor(cycle: number, block: number) {
    this.cycle = cycle
    this.block = block
  }

  /** Does an LSN at `at` lie ahead of the log? */
  isBehind(view: DataView, at: number): boolean {
    const cycle = view.getUint32(at)
    if (cycle === ONES && view.getUint32(at + 4) === ONES) return false
    return cycle > this.cycle || (cycle === this.cycle && view.getUint32(at + 4) > this.block)
  }

  text(view: DataView, at: number): string {
    return `it was last written at ${view.getUint32(at)}:${view.getUint32(at + 4)} of the log, which is at ${this.cycle}:${this.block}`
  }
}

/** All ones: never written through the log. xfs_repair leaves AGFLs like that. */
const ONES = 0xffffffff

/** Where the log is; where that cannot be known, so far that nothing is ahead of it. */
export function logHead(device: Device): LogHead {
  const { head, fault } = logState(Volume.open(device))
  if (fault !== undefined) return new LogHead(ONES, ONES)
  return new LogHead(Math.max(head.cycle, 1), head.block)
}
