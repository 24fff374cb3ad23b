import type { Device } from '../../device/device.ts'
import type { Salvage } from '../../device/salvage.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import { LogHead } from '../../format/lsn.ts'
import { logState } from '../../log/ring.ts'
import { Volume } from '../../volume.ts'
import type { Findings } from '../findings.ts'
import type { Inodes } from './inodetable.ts'

/** The context of all observers. */
export interface Scene {
  readonly device: Device
  readonly geometry: Geometry
  readonly head: LogHead
  readonly findings: Findings
  /** Filled by the scan of inodes. */
  readonly inodes: Inodes
}

/** The head of the log. If it is unknown, a head that is past every LSN. */
export function logHead(device: Salvage, { sb, blocksize, fsbToDaddr }: Geometry): LogHead {
  const { head, fault } = logState(Volume.open(device))
  const unreadable = device.unreadable.overlaps(fsbToDaddr(sb.logstart) * BASIC_BLOCK, sb.logblocks * blocksize)
  if (fault !== undefined || unreadable) return LogHead.unknown
  return new LogHead(head)
}
