import { type Crc32c, wasmCrc32c } from './crc32cwasm.ts'

/**
 * Work on bytes that native code does much faster than JavaScript. `#native` is native.ts in Node
 * and this file elsewhere (`imports` of package.json): both export the same functions.
 */

/** The CRC32C register after bytes. */
export const crc32c: Crc32c = wasmCrc32c()

/** Less than, equal to or greater than zero, as `a` sorts before, with or after `b`. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at++) {
    const difference = (a[at] as number) - (b[at] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** True if all bytes of [from, to) are zero. */
export function isZero(bytes: Uint8Array, from = 0, to = bytes.length): boolean {
  for (let at = from; at < to; at++) if (bytes[at] !== 0) return false
  return true
}
