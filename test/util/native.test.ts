import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import * as native from '../../src/util/native.ts'
import * as portable from '../../src/util/portable.ts'

/** Bytes that often agree with others for some length. */
const bytes = fc.oneof(fc.uint8Array({ max: 1, maxLength: 100 }), fc.uint8Array({ maxLength: 20 }))

test('native and portable functions give the same: checksums and order', () => {
  fc.assert(
    fc.property(bytes, bytes, fc.nat({ max: 0xffffffff }), (a, b, seed) => {
      assert.equal(native.crc32c(a, seed) >>> 0, portable.crc32c(a, seed) >>> 0)
      assert.equal(Math.sign(native.compareBytes(a, b)), Math.sign(portable.compareBytes(a, b)))
      assert.equal(portable.compareBytes(a, a.slice()), 0)
    }),
  )
})

test('zeros are found in any range, over the pieces in which native code looks', () => {
  const length = fc.constantFrom(0, 1, 100, 4095, 4096, 4097, 8192, 10_000)
  fc.assert(
    fc.property(length, fc.nat(10_000), fc.nat(5000), fc.nat(5000), (size, set, skipped, cut) => {
      const all = new Uint8Array(size)
      if (set < size) all[set] = 1
      const from = Math.min(skipped, size)
      const to = Math.max(from, size - cut)
      const expected = !(set >= from && set < to && set < size)
      assert.equal(native.isZero(all, from, to), expected)
      assert.equal(portable.isZero(all, from, to), expected)
    }),
  )
})
