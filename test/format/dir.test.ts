import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import fc from 'fast-check'
import { clearData, entryIno, freeSpace, takeSpace } from '../../src/dir/datablock.ts'
import { liveEntries } from '../../src/dir/leafentries.ts'
import { XfsError } from '../../src/errors.ts'
import * as dir from '../../src/format/dir.ts'
import * as blocks from '../../src/format/dirblocks.ts'
import * as shortform from '../../src/format/dirshortform.ts'
import { makeImage, skipTools, tools } from '../file/support.ts'
import { tempDir } from '../support/temp.ts'

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

test('hash values of names are those that xfs_db computes', () => {
  const known: Readonly<Record<string, number>> = {
    a: 0x61,
    ab: 0x30e2,
    abc: 0x187163,
    abcd: 0xc38b1e4,
    'hello.txt': 0x9d168f12,
    'lost+found': 0x21aa60c,
    '.': 0x2e,
    '..': 0x172e,
  }
  for (const [name, hash] of Object.entries(known)) assert.equal(dir.daHash(encode(name)), hash, name)
  assert.equal(dir.daHashIgnoringCase(encode('HeLLo.TXT')), dir.daHash(encode('hello.txt')))
})

test('hash values of random names against xfs_db', { skip: skipTools }, () => {
  const names = fc.sample(fc.string({ minLength: 1, maxLength: 60, unit: fc.constantFrom(...'abcXYZ019._-+') }), 50)
  const image = `${tempDir()}/empty.img`
  makeImage(image, '300m')
  const args = names.flatMap((name) => ['-c', `hash ${name.startsWith('-') ? `x${name}` : name}`])
  const out = execFileSync(tools.db as string, ['-r', ...args, image], { encoding: 'utf8' })
    .trim()
    .split('\n')
  names.forEach((name, i) => {
    assert.equal(dir.daHash(encode(name.startsWith('-') ? `x${name}` : name)), Number(out[i]), name)
  })
})

const name = fc.uint8Array({ minLength: 1, maxLength: 255 })
const inode = fc.oneof(fc.integer({ min: 1, max: 0xffffffff }), fc.integer({ min: 2 ** 32, max: 2 ** 48 }))
const entries = fc.array(
  fc.record({ name, ino: inode, ftype: fc.nat(8), offset: fc.nat(0xffff) }, { noNullPrototype: true }),
  { maxLength: 20 },
)

test('a shortform directory holds what was put into it', () => {
  fc.assert(
    fc.property(inode, entries, (parent, list) => {
      const bytes = shortform.buildSf(parent, list)
      assert.equal(bytes.length, shortform.sfSize(parent, list))
      const view = new DataView(bytes.buffer)
      assert.equal(shortform.sfParent(view), parent)
      const found = [...shortform.sfEntries(view, 0, bytes.length)]
      assert.deepEqual(
        found.map(({ name, ino, ftype, offset }) => ({ name: name.slice(), ino, ftype, offset })),
        list,
      )
      assert.equal(
        found.reduce((_end, entry) => entry.at + entry.size, shortform.sfHeaderSize(view.getUint8(1))),
        bytes.length,
      )
    }),
  )
})

/** A data block of a directory with 4 KiB blocks: these entries, then free space. */
function dataBlock(
  list: readonly { name: Uint8Array; ino: number; ftype: number }[],
  free: readonly boolean[],
): DataView {
  const view = new DataView(new ArrayBuffer(4096))
  view.setUint32(0, dir.DIR3_DATA_MAGIC)
  clearData(view, 4096)
  const removed: [at: number, size: number][] = []
  let at = dir.DIR_DATA_START
  list.forEach((entry, i) => {
    if (at + 300 > 4096) return
    const size = blocks.dataEntrySize(entry.name.length)
    takeSpace(view, at, at, size, 4096)
    blocks.writeDataEntry(view, at, entry)
    if (free[i]) removed.push([at, size])
    at += size
  })
  for (const [at, size] of removed) freeSpace(view, at, size, 4096)
  return view
}

const someEntries = fc.array(fc.record({ name, ino: inode, ftype: fc.nat(8) }, { noNullPrototype: true }), {
  maxLength: 60,
})

test('a data block yields its entries and free spaces without a gap', () => {
  fc.assert(
    fc.property(someEntries, fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }), (list, free) => {
      const view = dataBlock(list, free)
      let at = dir.DIR_DATA_START
      let longest = 0
      for (const item of blocks.dataItems(view)) {
        assert.equal(item.at, at)
        assert.equal(item.tag, at)
        if (item.free) longest = Math.max(longest, item.size)
        else assert.equal(entryIno(view, at), item.ino)
        at += item.size
      }
      assert.equal(at, 4096)
      assert.equal(blocks.longestFree(view), longest)
    }),
  )
})

test('damaged bytes end an iterator with CORRUPT, or not at all', () => {
  const damage = fc.array(fc.tuple(fc.nat(4095), fc.nat(255)), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(
      someEntries,
      damage,
      fc.constantFrom(dir.DIR3_DATA_MAGIC, dir.DIR3_BLOCK_MAGIC),
      (list, changes, magic) => {
        const view = dataBlock(list, [])
        view.setUint32(0, magic)
        for (const [at, value] of changes) view.setUint8(at, value)
        ends(() => [...blocks.dataItems(view)])
        ends(() => [...liveEntries(view, blocks.leafEntriesSpan(view))])
        ends(() => blocks.nodeSpan(view))
        ends(() => blocks.bests(view))
      },
    ),
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(600), (bytes, size) => {
      const view = new DataView(bytes.slice().buffer)
      ends(() => [...shortform.sfEntries(view, 0, size)])
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

test('addresses', () => {
  assert.equal(blocks.toAddress(1, 0x60, 4096), (4096 + 0x60) / 8)
  assert.equal(blocks.addressToDb(blocks.toAddress(700000, 0x60, 4096), 4096), 700000)
  assert.equal(blocks.addressToOffset(blocks.toAddress(700000, 0x60, 4096), 4096), 0x60)
  assert.equal(dir.fileTypeOfMode(0o100644), dir.FileTypes.regular)
  assert.equal(dir.fileTypeOfMode(0o120777), dir.FileTypes.symlink)
})
