import { get64 } from '../fields.ts'
import { BASIC_BLOCK } from '../geometry.ts'
import { type BlockType, type Fault, fault, hex, type VerifyContext } from './blocktype.ts'
import { readMagic, resolveType } from './blocktypes.ts'
import { unitCrc, uuidFault } from './units.ts'

/**
 * Verify a block: size, magic number, checksum, UUID, own address and the rules of its type.
 *
 * @returns the first fault, or undefined; never throws
 */
export const verify = (type: BlockType, view: DataView, context: VerifyContext): Fault | undefined =>
  verifyParts(type, view, context, true)

/** The checks of `verify` except the checksum: for blocks whose checksum is known to be wrong. */
export const verifyFields = (type: BlockType, view: DataView, context: VerifyContext): Fault | undefined =>
  verifyParts(type, view, context, false)

function verifyParts(declared: BlockType, view: DataView, context: VerifyContext, withCrc: boolean): Fault | undefined {
  const { geometry, daddr } = context
  const v5 = geometry.features.version === 5
  if (!declared.fits(view.byteLength, geometry))
    return { message: `${declared.name}: block of ${view.byteLength} bytes` }
  const type = resolveType(declared, view, geometry)
  if (!type) return fault('magic', `no magic number of ${(declared.oneOf ?? []).map((one) => one.name).join(', ')}`)
  if (type !== declared && !type.fits(view.byteLength, geometry))
    return { message: `${type.name}: block of ${view.byteLength} bytes` }
  const magics = v5 ? type.magics : type.magicsV4
  const unit = type.unit ? type.unit(geometry) : view.byteLength
  for (let at = 0; at + unit <= view.byteLength; at += unit) {
    if (type.magic && magics.length > 0) {
      const magic = readMagic(type, view, at)
      if (!magics.includes(magic)) return fault('magic', `magic number ${hex(magic)}, expected ${hex(magics[0] ?? 0)}`)
    }
    if (v5 && withCrc && type.crcOffset !== undefined && type.unitCrc !== false) {
      const bad = unitCrc(view, at, unit, type.crcOffset)
      if (bad) return bad
    }
    if (v5 && type.uuidOffset !== undefined) {
      const bad = uuidFault(view, at + type.uuidOffset, geometry)
      if (bad) return bad
    }
    if (v5 && type.daddrOffset !== undefined) {
      const own = get64(view, at + type.daddrOffset)
      const place = daddr + at / BASIC_BLOCK
      if (own !== place) return fault('bno', `daddr ${own}, expected ${place}`)
    }
    if (v5 || type.rulesV4) {
      const bad = type.rules(view, context, at, unit)
      if (bad) return bad
    }
  }
  return undefined
}
