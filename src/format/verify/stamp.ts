import { crc32cExcept } from '../../util/crc32c.ts'
import { sameBytes } from '../../util/samebytes.ts'
import { Dinode } from '../dinode.ts'
import { bytesAt } from '../fields.ts'
import type { Geometry } from '../geometry.ts'
import type { BlockType, VerifyContext } from './blocktype.ts'
import { readMagic, resolveType } from './blocktypes.ts'

/** Writing checksums. */

/**
 * Write the checksum. In a block of several units (inodes, quota records, remote values) it is
 * written for each unit that differs from `before`; without `before` for each unit with the magic
 * number. So a bad checksum of an unchanged unit stays bad.
 */
export function stamp(declared: BlockType, view: DataView, { geometry }: VerifyContext, before?: Uint8Array): void {
  if (geometry.features.version !== 5) return
  const type = resolveType(declared, view, geometry)
  if (type?.crcOffset === undefined) return
  const unit = type.unit ? type.unit(geometry) : view.byteLength
  if (unit < type.crcOffset + Dinode.fields.crc.size) return
  for (let at = 0; at + unit <= view.byteLength; at += unit) {
    const now = bytesAt(view, at, unit)
    if (type.unit && before && sameBytes(now, before.subarray(at, at + unit))) continue
    if (type.unit && !type.magics.includes(readMagic(type, view, at))) continue
    view.setUint32(at + type.crcOffset, crc32cExcept(now, type.crcOffset), true)
  }
}

/** Write the checksum of one inode. */
export function stampInode(view: DataView, at: number, geometry: Geometry): void {
  if (geometry.features.version !== 5) return
  const crcOffset = Dinode.fields.crc.offset
  view.setUint32(at + crcOffset, crc32cExcept(bytesAt(view, at, geometry.inodesize), crcOffset), true)
}
