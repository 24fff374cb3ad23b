import type { Device } from '../device/device.ts'
import type { Geometry } from '../format/geometry.ts'
import type { BlockType } from '../format/verify/blocktype.ts'
import type { LogPosition } from './ring.ts'

/** Where a transaction is replayed, and its age. */
export interface ReplayPlace {
  readonly device: Device
  readonly geometry: Geometry
  readonly lsn: LogPosition
  /**
   * The block gets the LSN and its checksum when all transactions of this LSN are replayed: a
   * further one must not find it as new as itself.
   */
  stampLater(daddr: number, bytes: number, type: BlockType): void
}
