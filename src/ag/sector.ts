import type { Device } from '../device/device.ts'
import { AG_SECTORS } from '../format/ag.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { stamp } from '../format/verify/stamp.ts'

const types = new Map([
  [AG_SECTORS.sb, blockTypes.sb],
  [AG_SECTORS.agf, blockTypes.agf],
  [AG_SECTORS.agi, blockTypes.agi],
  [AG_SECTORS.agfl, blockTypes.agfl],
])

/** A header sector of an AG, read from the device, for changing and writing with its checksum. */
export class Sector {
  readonly view: DataView
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #daddr: number
  readonly #type: typeof blockTypes.sb

  /** @param sector one of `AG_SECTORS` */
  constructor(device: Device, geometry: Geometry, agno: number, sector: (typeof AG_SECTORS)[keyof typeof AG_SECTORS]) {
    this.#device = device
    this.#geometry = geometry
    this.#daddr = geometry.agHeaderDaddr(agno, sector)
    this.#type = types.get(sector) as typeof blockTypes.sb
    this.view = new DataView(new ArrayBuffer(geometry.sectsize))
    device.read(this.bytes, this.#daddr * BASIC_BLOCK)
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.view.buffer)
  }

  write(): void {
    stamp(this.#type, this.view, { geometry: this.#geometry, daddr: this.#daddr })
    this.#device.write(this.bytes, this.#daddr * BASIC_BLOCK)
  }
}
