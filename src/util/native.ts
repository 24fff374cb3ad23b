import { createRequire } from 'node:module'
import { type Crc32c, wasmCrc32c } from './crc32cwasm.ts'
import type * as portable from './portable.ts'

/** The functions of portable.ts, in native code. */

/**
 * @node-rs/crc32 uses the processor's CRC32C instruction. It is an optional dependency with
 *   binaries for common systems. If it cannot be loaded, or with XFSKIT_CHECKSUM=wasm, WebAssembly
 *   is used.
 */
export const crc32c: typeof portable.crc32c = chooseCrc32c()

function chooseCrc32c(): Crc32c {
  if (process.env['XFSKIT_CHECKSUM'] === 'wasm') return wasmCrc32c()
  try {
    // Not an import: it may be missing, and the bundled program would load it before it is needed.
    const native = createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: Crc32c }
    return native.crc32c
  } catch {
    return wasmCrc32c()
  }
}

export const compareBytes: typeof portable.compareBytes = Buffer.compare

const ZEROS = Buffer.alloc(4096)

export const isZero: typeof portable.isZero = (bytes, from = 0, to = bytes.length) => {
  for (let at = from; at < to; at += ZEROS.length) {
    const end = Math.min(at + ZEROS.length, to)
    // In most cases the first byte decides without a call.
    if (bytes[at] !== 0 || ZEROS.compare(bytes, at, end, 0, end - at) !== 0) return false
  }
  return true
}
