import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cursor, query } from '../../src/btree/cursor.ts'
import { firstRmapKey, lastRmapKey } from '../../src/btree/trees/rmapbt.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { random } from '../support/random.ts'
import { rmapCase, testTree, testVolume, treeCases } from './support.ts'

test('a query for blocks finds every reverse mapping that meets them', () => {
  const volume = testVolume()
  const { ops, make, again } = rmapCase
  const tree = testTree(volume, ops)
  const rng = random(11)
  const model: ReturnType<typeof make>[] = []
  for (let round = 0; round < 8; round++) {
    withTransaction(volume, (tx) => {
      const cursor = new Cursor(tree.on(tx))
      for (let i = 0; i < 500; i++) {
        const rec = make(rng, volume.geometry)
        if (!cursor.lookup(rec, 'eq')) {
          cursor.insert(rec)
          model.push(rec)
        }
        const index = rng.int(model.length)
        const victim = model[index] as typeof rec
        if (rng.chance(0.5)) {
          assert.ok(cursor.lookup(victim, 'eq'))
          model[index] = again(victim, rng, volume.geometry)
          cursor.update(model[index])
        } else if (rng.chance(0.3)) {
          assert.ok(cursor.lookup(victim, 'eq'))
          cursor.delete()
          model.splice(index, 1)
        }
      }
    })
    model.sort(ops.compare)
    for (let i = 0; i < 100; i++) {
      const start = rng.int(rng.chance(0.7) ? 600 : volume.geometry.agblocks)
      const end = start + rng.int(rng.chance(0.8) ? 10 : 3000)
      const found = [...query(tree.on(), firstRmapKey(start), lastRmapKey(end))]
      const expected = model.filter((rec) => rec.startblock <= end && rec.startblock + rec.blockcount - 1 >= start)
      assert.deepEqual(found, expected)
    }
    for (let i = 0; i < 100; i++) {
      const low = make(rng, volume.geometry)
      const high = make(rng, volume.geometry)
      const found = [...query(tree.on(), low, high)]
      const expected = model.filter((rec) => ops.compare(rec, high) <= 0 && ops.compare(ops.highKey(rec), low) >= 0)
      assert.deepEqual(found, expected)
    }
  }
})

test('a query of a tree without overlaps finds what meets the range', () => {
  for (const { ops, make } of treeCases.filter((it) => !it.ops.overlapping && it.ops.name !== 'cntbt')) {
    const volume = testVolume()
    const tree = testTree(volume, ops)
    const rng = random(5)
    const model: object[] = []
    withTransaction(volume, (tx) => {
      const cursor = new Cursor(tree.on(tx))
      for (let i = 0; i < 1000; i++) {
        const rec = make(rng, volume.geometry)
        // Records of these trees do not overlap.
        const low = ops.lowKey(rec)
        const high = ops.highKey(rec)
        if (
          model.some((other) => ops.compare(ops.lowKey(other), high) <= 0 && ops.compare(ops.highKey(other), low) >= 0)
        )
          continue
        cursor.insert(rec)
        model.push(rec)
      }
    })
    model.sort((a, b) => ops.compare(ops.lowKey(a), ops.lowKey(b)))
    for (let i = 0; i < 50; i++) {
      const low = ops.lowKey(make(rng, volume.geometry))
      const high = ops.highKey(make(rng, volume.geometry))
      const expected = model.filter(
        (rec) => ops.compare(ops.lowKey(rec), high) <= 0 && ops.compare(ops.highKey(rec), low) >= 0,
      )
      assert.deepEqual([...query(tree.on(), low, high)], expected, ops.name)
    }
  }
})
