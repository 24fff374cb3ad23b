import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import fc from 'fast-check'
import { crc32 } from '../../src/util/crc32.ts'
import { crc32c } from '../../src/util/crc32c.ts'
import { type Crc32c, wasmCrc32c } from '../../src/util/crc32cwasm.ts'

const wasm = wasmCrc32c()

/** One bit at a time, according to the definition. */
function bitwise(polynomial: number, bytes: Uint8Array, seed = 0): number {
  let crc = ~seed
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? polynomial : 0)
  }
  return ~crc >>> 0
}

const castagnoli = (bytes: Uint8Array, seed: number) => bitwise(0x82f63b78, bytes, seed)

function native(): Crc32c | undefined {
  try {
    return (createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: Crc32c }).crc32c
  } catch {
    return undefined
  }
}

test('the check values of the catalogue of checksums', () => {
  const digits = Buffer.from('123456789')
  assert.equal(wasm(digits, 0), 0xe3069283)
  assert.equal(crc32c(digits), 0xe3069283)
  assert.equal(crc32(digits), 0xcbf43926)
})

test('WebAssembly and the bitwise model agree: any bytes, place in the buffer and seed', () => {
  const bytes = fc.uint8Array({ maxLength: 300 })
  const seed = fc.nat({ max: 0xffffffff })
  fc.assert(
    fc.property(bytes, fc.nat(20), seed, (all, from, start) => {
      const part = all.subarray(from)
      assert.equal(wasm(part, start), castagnoli(part, start))
      assert.equal(crc32c(part, start), castagnoli(part, start))
      assert.equal(crc32(part), bitwise(0xedb88320, part))
    }),
  )
})

test('lengths about the pieces in which bytes reach WebAssembly, and a sum continued over any cut', () => {
  const all = Uint8Array.from({ length: 3 * 65536 }, (_, at) => (at * 2654435761) >>> 24)
  const piece = 65536 - 16384
  for (const length of [0, 1, 15, 16, 17, piece - 1, piece, piece + 1, 2 * piece, 2 * piece + 17, all.length]) {
    const bytes = all.subarray(0, length)
    const sum = castagnoli(bytes, 0)
    assert.equal(wasm(bytes, 0), sum, `${length} bytes`)
    for (const cut of [0, length >>> 1, Math.min(length, 4097)]) {
      assert.equal(wasm(bytes.subarray(cut), wasm(bytes.subarray(0, cut), 0)), sum, `${length} bytes cut at ${cut}`)
    }
  }
})

const addon = native()
test('the native checksum and WebAssembly agree', { skip: addon ? false : '@node-rs/crc32 does not load' }, () => {
  assert(addon)
  const lengths = fc.integer({ min: 0, max: 200_000 })
  fc.assert(
    fc.property(lengths, fc.nat({ max: 0xffffffff }), fc.nat(255), (length, seed, first) => {
      const bytes = Uint8Array.from({ length }, (_, at) => first + at * (at >>> 3))
      assert.equal(wasm(bytes, seed), addon(bytes, seed) >>> 0)
    }),
    { numRuns: 30 },
  )
})
