import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { XfsError } from '../../src/errors.ts'
import * as attr from '../../src/format/attr.ts'
import * as attrEntries from '../../src/format/attrentries.ts'
import { daHash } from '../../src/format/dir.ts'

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const flags = fc.constantFrom(0, attr.AttrFlags.root, attr.AttrFlags.secure, attr.AttrFlags.parent)
const name = fc.uint8Array({ minLength: 1, maxLength: 255 })

test('a parent pointer hashes to its name mixed with its directory', () => {
  assert.equal(attr.parentHash(encode('f2'), 132), 0x33b6) // as the kernel wrote it
  const wide = 5 * 2 ** 32 + 132
  assert.equal(attr.parentHash(encode('f2'), wide), (0x33b6 ^ 5) >>> 0)
  const value = attr.buildParentRec({ inumber: wide, gen: 7 })
  assert.deepEqual(attr.parseParentRec(value), { inumber: wide, gen: 7 })
  assert.equal(attr.attrEntryHash(attr.AttrFlags.parent, encode('f2'), value), (0x33b6 ^ 5) >>> 0)
  assert.equal(attr.attrEntryHash(attr.AttrFlags.root, encode('f2'), value), daHash(encode('f2')))
})

test('a shortform list holds what was put into it', () => {
  const entry = fc.record({ flags, name, value: fc.uint8Array({ maxLength: 255 }) }, { noNullPrototype: true })
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 20 }), (list) => {
      const bytes = attrEntries.buildAttrSf(list)
      const view = new DataView(bytes.buffer)
      assert.equal(attrEntries.attrSfSize(view), bytes.length)
      const found = [...attrEntries.attrSfEntries(view, 0, bytes.length)]
      assert.deepEqual(
        found.map(({ flags, name, value }) => ({ flags, name: name.slice(), value: value.slice() })),
        list,
      )
    }),
  )
})

const local = fc.record(
  { hashval: fc.nat(), flags, name, value: fc.uint8Array({ maxLength: 300 }) },
  { noNullPrototype: true },
)
const remote = fc.record(
  { hashval: fc.nat(), flags, name, valueblk: fc.integer({ min: 1, max: 2 ** 31 }), valuelen: fc.nat(65536) },
  { noNullPrototype: true },
)
const attrs = fc.array(fc.oneof(local, remote), { maxLength: 12 })

test('a leaf holds what was put into it, in order of hash', () => {
  fc.assert(
    fc.property(attrs, fc.constantFrom(4096, 65536), (list: attrEntries.NewAttr[], size) => {
      fc.pre(attrEntries.attrsFit(list, size))
      const view = new DataView(new ArrayBuffer(size))
      attrEntries.writeAttrLeaf(view, list)
      const sorted = [...list].sort((a, b) => a.hashval - b.hashval)
      const found = attrEntries
        .attrLeafContents(view)
        .map((one) => ({ ...one, flags: one.flags & ~attr.AttrFlags.local }))
      assert.deepEqual(
        found.map((one) =>
          JSON.stringify({ ...one, name: [...one.name], value: one.value && [...one.value] }, Object.keys(one).sort()),
        ),
        sorted.map((one) =>
          JSON.stringify({ ...one, name: [...one.name], value: one.value && [...one.value] }, Object.keys(one).sort()),
        ),
      )
      // Writing a leaf from its own content changes nothing.
      const again = new DataView(view.buffer.slice(0))
      attrEntries.writeAttrLeaf(again, attrEntries.attrLeafContents(again))
      assert.deepEqual(new Uint8Array(again.buffer), new Uint8Array(view.buffer))
      const { freemap, usedbytes, firstused } = attr.Attr3LeafHdr.decode(view)
      assert.equal(usedbytes + (freemap[0]?.size ?? 0) + attr.Attr3LeafHdr.size + 8 * list.length, size)
      assert.equal(firstused === 0 ? size : firstused, size - usedbytes)
    }),
  )
})

test('too many attributes for a leaf are refused', () => {
  const list = Array.from({ length: 20 }, (_, i) => ({
    hashval: i,
    flags: 0,
    name: encode(`n${i}`),
    value: new Uint8Array(300),
  }))
  const view = new DataView(new ArrayBuffer(4096))
  assert.throws(
    () => attrEntries.writeAttrLeaf(view, list),
    (error) => error instanceof XfsError && error.code === 'RANGE',
  )
})

test('damaged bytes end an iterator with CORRUPT, or not at all', () => {
  const damage = fc.array(fc.tuple(fc.nat(4095), fc.nat(255)), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(attrs, damage, (list: attrEntries.NewAttr[], changes) => {
      fc.pre(attrEntries.attrsFit(list, 4096))
      const view = new DataView(new ArrayBuffer(4096))
      attrEntries.writeAttrLeaf(view, list)
      for (const [at, value] of changes) view.setUint8(at, value)
      ends(() => [...attrEntries.attrLeafItems(view)])
    }),
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(600), (bytes, size) => {
      ends(() => [...attrEntries.attrSfEntries(new DataView(bytes.slice().buffer), 0, size)])
    }),
  )
})

function ends(action: () => unknown): void {
  try {
    action()
  } catch (error) {
    assert.ok(error instanceof XfsError && error.code === 'CORRUPT', String(error))
  }
}
