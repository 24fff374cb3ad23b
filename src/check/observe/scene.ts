import type { Device } from '../../device/device.ts'
import type { Geometry } from '../../format/geometry.ts'
import { LogHead } from '../../format/lsn.ts'
import { logState } from '../../log/ring.ts'
import { Volume } from '../../volume.ts'
import type { Findings } from '../findings.ts'
import type { Inodes } from './inodetable.ts'

/** What every observer is given. */
export interface Scene {
  readonly device: Device
  readonly geometry: Geometry
  readonly head: LogHead
  readonly findings: Findings
  /** Filled by the scan of inodes. */
  readonly inodes: Inodes
}

/** Where the log is; where that cannot be known, so far that nothing is ahead of it. */
export function logHead(device: Device): LogHead {
  const { head, fault } = logState(Volume.open(device))
  if (fault !== undefined) return LogHead.unknown
  return new LogHead(head)
}
