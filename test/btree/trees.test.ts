import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { rmapbt } from '../../src/btree/trees/rmapbt.ts'
import { Agf, Agi } from '../../src/format/ag.ts'
import * as structures from '../../src/format/btrecs.ts'
import type { Struct } from '../../src/format/struct.ts'
import { agTreeNames, headerRoot, treeNames, treeRow } from '../../src/format/trees.ts'
import { layoutOf, maxRecords } from '../../src/format/treesizes.ts'
import { random } from '../support/random.ts'
import { testVolume, treeCases } from './support.ts'

const declared = {
  bnobt: structures.AllocRec,
  cntbt: structures.AllocRec,
  inobt: structures.InobtRec,
  finobt: structures.InobtRec,
  rmapbt: structures.RmapRec,
  refcountbt: structures.RefcountRec,
  bmbt: structures.BmbtRec,
} as const

describe('the fast readers and writers of records equal the declarations', () => {
  for (const { ops, make } of treeCases) {
    test(ops.name, () => {
      const rng = random(1)
      const { geometry } = testVolume()
      const struct = declared[ops.name]
      for (let i = 0; i < 500; i++) {
        const bytes = rng.bytes(struct.size)
        const view = new DataView(bytes.buffer)
        assert.deepEqual({ ...ops.readRec(view, 0) }, { ...struct.decode(view, 0) })
        const rec = make(rng, geometry)
        const ours = new DataView(new ArrayBuffer(struct.size))
        const theirs = new DataView(new ArrayBuffer(struct.size))
        ops.writeRec(ours, 0, rec)
        struct.encode(theirs, 0, rec as never)
        assert.deepEqual(ours, theirs)
        assert.deepEqual({ ...ops.readRec(ours, 0) }, { ...rec })
      }
    })
  }
})

describe('comparisons in place equal those of keys', () => {
  for (const { ops, make } of treeCases) {
    test(ops.name, () => {
      const rng = random(2)
      const { geometry } = testVolume()
      const recs = Array.from({ length: 40 }, () => make(rng, geometry))
      const views = recs.map((rec) => {
        const view = new DataView(new ArrayBuffer(ops.recSize))
        ops.writeRec(view, 0, rec)
        return view
      })
      const keys = views.map((view) => {
        const key = new DataView(new ArrayBuffer(ops.keySize))
        ops.copyKey(view, 0, key, 0)
        return key
      })
      for (const [i, a] of recs.entries()) {
        for (const [j, b] of recs.entries()) {
          const expected = Math.sign(ops.compare(ops.lowKey(a), ops.lowKey(b)))
          const [va, vb, ka] = [views[i], views[j], keys[i]] as DataView[] as [DataView, DataView, DataView]
          assert.equal(Math.sign(ops.compareRec(va, 0, ops.lowKey(b))), expected)
          assert.equal(Math.sign(ops.compareKey(ka, 0, ops.lowKey(b))), expected)
          assert.equal(Math.sign(ops.compareRecs(va, 0, vb, 0)), expected)
          assert.equal(Math.sign(ops.compare(ops.readKey(ka, 0), ops.lowKey(b))), expected)
        }
      }
    })
  }
})

test('high keys of rmapbt are the highest of what records cover', () => {
  const rng = random(3)
  const { geometry } = testVolume()
  const { make } = treeCases[4] as unknown as { make: (rng: unknown, geometry: unknown) => structures.RmapRec }
  const { high } = rmapbt
  assert.ok(high)
  for (let round = 0; round < 200; round++) {
    const recs = Array.from({ length: 1 + rng.int(20) }, () => make(rng, geometry))
    const view = new DataView(new ArrayBuffer(24 * recs.length))
    recs.forEach((rec, i) => {
      rmapbt.writeRec(view, i * 24, rec)
    })
    const out = new DataView(new ArrayBuffer(20))
    high.ofRecords(view, 0, recs.length, 24, out, 0)
    const highest = recs
      .map((rec) => rmapbt.highKey(rec))
      .sort(rmapbt.compare)
      .at(-1)
    assert.deepEqual(rmapbt.readKey(out, 0), highest)
    const keys = new DataView(new ArrayBuffer(40 * recs.length))
    recs.forEach((_, i) => {
      high.ofRecords(view, i * 24, 1, 24, keys, i * 40 + 20)
    })
    const again = new DataView(new ArrayBuffer(20))
    high.ofKeys(keys, 20, recs.length, 40, again, 0)
    assert.deepEqual(again, out)
    for (const [i, rec] of recs.entries()) {
      assert.equal(
        Math.sign(high.compareRec(view, i * 24, out, 0)),
        Math.sign(rmapbt.compare(rmapbt.highKey(rec), highest as never)),
      )
      const other = rmapbt.highKey(recs[rng.int(recs.length)] as structures.RmapRec)
      assert.equal(Math.sign(high.compare(view, i * 24, other)), Math.sign(rmapbt.compare(rmapbt.highKey(rec), other)))
    }
  }
})

test('the unwritten bit is no part of an rmap key', () => {
  const rec = {
    startblock: 100,
    blockcount: 5,
    owner: 131,
    attrfork: 0,
    bmbtblock: 0,
    extentflag: 1,
    offset: 7,
  }
  const view = new DataView(new ArrayBuffer(24))
  rmapbt.writeRec(view, 0, rec)
  assert.equal(view.getUint32(16), 0x20000000)
  const key = new DataView(new ArrayBuffer(20))
  rmapbt.copyKey(view, 0, key, 0)
  assert.equal(key.getUint32(12), 0)
  assert.equal(rmapbt.compareRec(view, 0, { ...rec, extentflag: 0 } as never), 0)
  // Kernels before 6.4 wrote it into keys.
  key.setUint32(12, 0x20000000)
  assert.equal(rmapbt.compareKey(key, 0, rec), 0)
})

test('special owners come after every inode', () => {
  const at = (owner: number) => ({ startblock: 1, owner, attrfork: 0, bmbtblock: 0, offset: 0 })
  const order = [131, 2 ** 40, -9, -5, -3, -1].map(at)
  assert.deepEqual([...order].reverse().sort(rmapbt.compare), order)
})

test('the number of records per block is that of the kernel', () => {
  const { geometry } = testVolume(4096)
  const sizes = treeCases.map(({ ops }) => {
    const { leafMax, nodeMax } = layoutOf(ops as never, geometry)
    assert.deepEqual([leafMax, nodeMax], [maxRecords(geometry, ops.name, 0), maxRecords(geometry, ops.name, 1)])
    return [ops.name, leafMax, nodeMax]
  })
  assert.deepEqual(sizes, [
    ['bnobt', 505, 336],
    ['cntbt', 505, 336],
    ['inobt', 252, 505],
    ['finobt', 252, 505],
    ['rmapbt', 168, 91],
    ['refcountbt', 336, 505],
    ['bmbt', 251, 251],
  ])
})

test('the root of a tree of an AG points to blocks of its type in db, and needs its feature', () => {
  for (const name of agTreeNames) {
    const { db, feature, root } = treeRow(name)
    const { block, level } = headerRoot(name)
    assert.equal(block.to, Object.keys(db).join(), name)
    assert.deepEqual([block.since, level.since], [feature, feature], name)
    const header: Struct = root.in === 'agf' ? Agf : Agi
    assert.equal(header.fields[block.name], block, name)
  }
  const magics = treeNames.flatMap((name) => [treeRow(name).magic, treeRow(name).magicV4 ?? []].flat())
  assert.equal(new Set(magics).size, magics.length)
})
