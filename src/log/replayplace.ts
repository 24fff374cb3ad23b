import type { Device } from '../device/device.ts'
import type { Geometry } from '../format/geometry.ts'
import type { LogPosition } from './ring.ts'

/** Where a transaction is replayed, and its age. */
export interface ReplayPlace {
  readonly device: Device
  readonly geometry: Geometry
  readonly lsn: LogPosition
}
