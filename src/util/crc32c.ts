import { createRequire } from 'node:module'
import { type Crc32c, wasmCrc32c } from './crc32cwasm.ts'

const crc = choose()

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

/**
 * The native checksum uses the processor's CRC32C instruction. It is an optional dependency with
 * binaries for common systems. If it cannot be loaded, or with XFSKIT_CHECKSUM=wasm, WebAssembly is
 * used.
 */
function choose(): Crc32c {
  if (process.env['XFSKIT_CHECKSUM'] === 'wasm') return wasmCrc32c()
  try {
    // Not an import: it may be missing, and the bundled program would load it before it is needed.
    const native = createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: Crc32c }
    return native.crc32c
  } catch {
    return wasmCrc32c()
  }
}
