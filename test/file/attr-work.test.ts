import assert from 'node:assert/strict'
import { test } from 'node:test'
import { attributes, getAttr, removeAttr, setAttr } from '../../src/attr/attr.ts'
import { attrTree } from '../../src/attr/read.ts'
import { check } from '../../src/check/check.ts'
import { firstPath } from '../../src/da/datree.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { Attr3LeafHdr, AttrLeafEntry } from '../../src/format/attr.ts'
import { openImage } from '../../src/image.ts'
import { openInode } from '../../src/inode/inode.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import type { Volume } from '../../src/volume.ts'

/** The cost of changing one attribute in a leaf with many, and that the others are kept. */

const key = (i: number) => ({ space: 0, name: Buffer.from(`attribute-${String(i).padStart(6, '0')}`) })
const value = (i: number, version = 0): Buffer => Buffer.from(`value ${i} ${'x'.repeat(version)}`)

/** A file with `count` attributes, set one by one. */
function fileWith(count: number, blocksize: number): { device: Device; volume: Volume; ino: number } {
  const device = memoryDevice(512 * 2 ** 20)
  mkfs(device, { blocksize })
  const volume = openImage(device, { write: true })
  const { ino } = createFile(volume, '/f', 0o644)
  for (let i = 0; i < count; i++) set(volume, ino, i)
  return { device, volume, ino }
}

const set = (volume: Volume, ino: number, i: number, version = 0): void =>
  withTransaction(volume, (tx) => setAttr(tx, openInode(volume, ino, tx), key(i), value(i, version)))
const remove = (volume: Volume, ino: number, i: number): void =>
  withTransaction(volume, (tx) => removeAttr(tx, openInode(volume, ino, tx), key(i)))

/** The number of byte arrays created by `action`: names and values that are read one by one. */
function copies(action: () => void): number {
  const prototype = Object.getPrototypeOf(Uint8Array.prototype) as { slice: Uint8Array['slice'] }
  const real = prototype.slice
  let count = 0
  prototype.slice = function (this: Uint8Array, ...range) {
    count++
    return real.apply(this, range)
  } as typeof real
  try {
    action()
  } finally {
    prototype.slice = real
  }
  return count
}

test('to replace or remove an attribute takes no copies of the others of its leaf', () => {
  const { device, volume, ino } = fileWith(1500, 65536)
  const replacing = copies(() => {
    for (let i = 0; i < 100; i++) set(volume, ino, i * 9, i % 3)
  })
  const removing = copies(() => {
    for (let i = 0; i < 100; i++) remove(volume, ino, i * 9 + 1)
  })
  const inode = openInode(volume, ino)
  for (let i = 0; i < 1500; i++) {
    const version = i % 9 === 0 && i < 900 ? (i / 9) % 3 : 0
    const expected = i % 9 === 1 && i < 900 ? undefined : String(value(i, version))
    assert.equal(getAttr(inode, key(i))?.toString(), expected && Uint8Array.from(Buffer.from(expected)).toString())
  }
  volume.close()
  assert.deepEqual(check(device, openImage(device).geometry).findings.list, [])
  // A leaf has 1400 other attributes or more; the maximum of an inode is larger.
  assert.ok(replacing < 5000, `${replacing} copies to replace 100 attributes`)
  assert.ok(removing < 5000, `${removing} copies to remove 100 attributes`)
})

test('two attributes that share the bytes of their name: to remove one leaves the other readable', () => {
  const { volume, ino } = fileWith(40, 4096)
  const list = () => [...attributes(openInode(volume, ino))]
  const names = (all: ReturnType<typeof list>) => all.map(({ space, name }) => `${space} ${Buffer.from(name)}`)
  const all = list()
  const index = all.findIndex(({ space }, i) => space === 0 && all[i + 1]?.space === 0)
  const { name } = all[index] ?? assert.fail()
  withTransaction(volume, (tx) => {
    const { buf } = firstPath(attrTree(openInode(volume, ino, tx)), tx).at(-1) ?? assert.fail()
    const view = tx.edit(buf)
    const entry = Attr3LeafHdr.size + index * AttrLeafEntry.size
    view.setUint16(entry + AttrLeafEntry.size + 4, view.getUint16(entry + 4))
  })
  withTransaction(volume, (tx) => removeAttr(tx, openInode(volume, ino, tx), { space: 0, name }))
  const expected = all.filter((_, i) => i !== index + 1)
  assert.deepEqual(names(list()), names(expected))
})
