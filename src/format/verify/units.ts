import { crc32cExcept } from '../../util/crc32c.ts'
import { bytesAt } from '../fields.ts'
import type { Geometry } from '../geometry.ts'
import { type Fault, fault, hex } from './blocktype.ts'

/** Common to all units with a checksum: the checksum itself, and the UUID of the filesystem. */

/** True if the checksum at `crcOffset` of the `size` bytes at `at` is correct. */
export const crcIsRight = (view: DataView, at: number, size: number, crcOffset: number): boolean =>
  unitCrc(view, at, size, crcOffset) === undefined

export function unitCrc(view: DataView, at: number, size: number, crcOffset: number): Fault | undefined {
  const found = view.getUint32(at + crcOffset, true)
  const expected = crc32cExcept(bytesAt(view, at, size), crcOffset)
  return found === expected
    ? undefined
    : { field: 'crc', message: `checksum ${hex(found)}, expected ${hex(expected)}`, crc: true }
}

const WORD = Uint32Array.BYTES_PER_ELEMENT

export function uuidFault(view: DataView, at: number, geometry: Geometry): Fault | undefined {
  const words = geometry.metaUuidWords
  for (let i = 0; i < words.length; i++) {
    if (view.getUint32(at + i * WORD) !== words[i]) return fault('uuid', 'not the UUID of this filesystem')
  }
  return undefined
}
