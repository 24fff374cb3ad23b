import { createRequire } from 'node:module'

// Not an import: the bundled program would load it before it is needed.
const { crc32c: nativeCrc32c } = createRequire(import.meta.url)('@node-rs/crc32') as typeof import('@node-rs/crc32')

const HOLE = new Uint8Array(4)

/** CRC32C (Castagnoli) of `bytes`, continuing from `seed` (an earlier result); an unsigned 32-bit number. */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  return nativeCrc32c(bytes, seed) >>> 0
}

/** CRC32C of `bytes` as if the four bytes at `hole` were zero: how every XFS structure checksums itself. */
export function crc32cExcept(bytes: Uint8Array, hole: number): number {
  const head = nativeCrc32c(bytes.subarray(0, hole))
  const middle = nativeCrc32c(HOLE, head)
  return nativeCrc32c(bytes.subarray(hole + 4), middle) >>> 0
}
