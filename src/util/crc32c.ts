import { crc32c as crc } from '#native'

/**
 * CRC32C (Castagnoli) of `bytes`, continuing from `seed` (an earlier result); an unsigned 32-bit
 * number.
 */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  return crc(bytes, seed) >>> 0
}

/**
 * CRC32C of `bytes` with the four bytes at `hole` taken as zero, as XFS structures are checksummed.
 * The bytes are zeroed meanwhile: one call costs half as much as three.
 */
export function crc32cExcept(bytes: Uint8Array, hole: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + hole, 4)
  const there = view.getUint32(0)
  view.setUint32(0, 0)
  const sum = crc(bytes, 0) >>> 0
  view.setUint32(0, there)
  return sum
}
