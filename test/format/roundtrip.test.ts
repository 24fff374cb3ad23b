import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { structures } from '../../src/db/types.ts'
import { littleEndian } from '../../src/format/hostorder.ts'
import type { Field, Struct } from '../../src/format/struct.ts'

/** Random 64-bit numbers are rounded: replace them with exact ones. */
function settle(struct: Struct, view: DataView, at = 0): void {
  for (const field of struct.list) {
    if (field.inner) settle(field.inner, view, at + field.offset)
    else if (field.element?.inner) {
      for (let i = 0; i < (field.count ?? 0); i++)
        settle(field.element.inner, view, at + field.offset + i * field.element.size)
    } else if (typeof field.get(view, at) === 'number' && (field.size === 8 || field.bits)) {
      const value = field.get(view, at) as number
      if (!Number.isSafeInteger(value)) field.set(view, at, value % 2 ** 40)
    }
  }
}

const isPlain = (field: Field<unknown>): boolean => field.kind !== 'pad' && !(field.kind === 'text')
const slice = (view: DataView, field: Field<unknown>): Uint8Array =>
  new Uint8Array(view.buffer, field.offset, field.size)

function each(check: (struct: Struct, view: DataView) => void): void {
  for (const declared of structures.values()) {
    for (const struct of [declared, littleEndian(declared)]) {
      fc.assert(
        fc.property(fc.uint8Array({ minLength: struct.size, maxLength: struct.size }), (bytes) => {
          const view = new DataView(bytes.slice().buffer)
          settle(struct, view)
          check(struct, view)
        }),
        { numRuns: 20 },
      )
    }
  }
}

test('what is decoded encodes to the same bytes', () => {
  each((struct, view) => {
    const record = structuredClone(struct.decode(view))
    const other = new DataView(new ArrayBuffer(struct.size))
    struct.encode(other, 0, record)
    assert.deepEqual(struct.decode(other), record, struct.name)
    // If the word of a bit field has padding, only the bits are compared.
    const whole = struct.list.filter((field) => isPlain(field) && !field.bits && !field.inner && !field.element)
    for (const field of whole) assert.deepEqual(slice(other, field), slice(view, field), `${struct.name}.${field.name}`)
  })
})

test('the text of a field parses to its value', () => {
  each((struct, view) => {
    for (const field of struct.list) {
      if (!field.parse || !isPlain(field)) continue
      const other = new DataView(view.buffer.slice(0))
      const text = field.text(view, 0)
      // Negative 64-bit numbers are printed without a sign, and are too large for input.
      if (field.size === 8 && /^\d{17,}$/.test(text)) continue
      field.set(other, 0, field.parse(text))
      assert.equal(field.text(other, 0), text, `${struct.name}.${field.name}`)
    }
  })
})

test('no bytes make get or text throw', () => {
  for (const struct of structures.values()) {
    for (const byte of [0, 1, 0x7f, 0x80, 0xff]) {
      const view = new DataView(new Uint8Array(struct.size).fill(byte).buffer)
      for (const field of struct.list) {
        field.get(view, 0)
        assert.equal(typeof field.text(view, 0), 'string')
      }
    }
  }
})

test('little-endian structures read the bytes the other way round', () => {
  const extent = structures.get('map_extent') as Struct
  const big = new DataView(new ArrayBuffer(32))
  const little = new DataView(new ArrayBuffer(32))
  const record = { owner: -5, startblock: 0x123456789a, startoff: 2 ** 40 + 1, len: 77, flags: 0x80000002 }
  extent.encode(big, 0, record)
  littleEndian(extent).encode(little, 0, record)
  assert.deepEqual(littleEndian(extent).decode(little), record)
  assert.equal(little.getUint32(24, true), 77)
  assert.equal(little.getBigInt64(0, true), -5n)
  for (const [offset, size] of [
    [0, 8],
    [8, 8],
    [16, 8],
    [24, 4],
    [28, 4],
  ] as const) {
    const bytes = (view: DataView): number[] => [...new Uint8Array(view.buffer, offset, size)]
    assert.deepEqual(bytes(little), bytes(big).reverse())
  }
})
