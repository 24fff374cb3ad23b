import { createRequire } from 'node:module'

// Not an import: the bundled program would load it before it is needed.
const { crc32c: nativeCrc32c } = createRequire(import.meta.url)('@node-rs/crc32') as typeof import('@node-rs/crc32')

/** CRC32C (Castagnoli) of `bytes`, continuing from `seed` (an earlier result); an unsigned 32-bit number. */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  return nativeCrc32c(bytes, seed) >>> 0
}

/**
 * CRC32C of `bytes` as if the four bytes at `hole` were zero: how every XFS structure checksums itself. They are zero for as long as this takes: one
 * native call costs half of what three pieces would.
 */
export function crc32cExcept(bytes: Uint8Array, hole: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + hole, 4)
  const there = view.getUint32(0)
  view.setUint32(0, 0)
  const sum = nativeCrc32c(bytes) >>> 0
  view.setUint32(0, there)
  return sum
}
