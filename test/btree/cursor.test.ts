import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Cursor, records } from '../../src/btree/cursor.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { random } from '../support/random.ts'
import { lowerBound, testTree, testVolume, type TreeCase, treeCases } from './support.ts'

type Rec = object
type Key = object

/** Random changes to a tree and to a sorted array, which must agree. */
function exercise({ ops, make, again }: TreeCase<Rec, Key>, seed: number, rounds: number): void {
  const volume = testVolume()
  const { geometry } = volume
  const tree = testTree(volume, ops)
  const rng = random(seed)
  const model: Rec[] = []
  const agree = (): void => assert.deepEqual([...records(tree.on())], model)
  const place = (rec: Rec): number => lowerBound(ops, model, ops.lowKey(rec))
  const has = (rec: Rec): boolean => {
    const found = model[place(rec)]
    return found !== undefined && ops.compare(ops.lowKey(found), ops.lowKey(rec)) === 0
  }
  for (let round = 0; round < rounds; round++) {
    // Growing and shrinking by turns; now and then in key order, which fills blocks in another way.
    const growing = round % 4 < 2
    const inOrder = rng.chance(0.3)
    const batch = Array.from({ length: 400 }, () => make(rng, geometry))
    if (inOrder) batch.sort((a, b) => ops.compare(ops.lowKey(a), ops.lowKey(b)))
    withTransaction(volume, (tx) => {
      const cursor = new Cursor(tree.on(tx))
      for (const rec of batch) {
        if (rng.chance(growing ? 0.8 : 0.25)) {
          if (has(rec)) continue
          cursor.insert(rec)
          model.splice(place(rec), 0, rec)
          assert.deepEqual(cursor.record(), rec)
        } else if (model.length > 0) {
          const index = rng.int(model.length)
          const victim = model[index] as Rec
          assert.equal(cursor.lookup(ops.lowKey(victim), 'eq'), true)
          if (rng.chance(0.2)) {
            const next = again(victim, rng, geometry)
            cursor.update(next)
            model[index] = next
            continue
          }
          const count = inOrder ? Math.min(model.length - index, 1 + rng.int(60)) : 1
          for (let i = 0; i < count; i++) {
            cursor.delete()
            model.splice(index, 1)
            const back = rng.chance(0.1)
            if (back) {
              assert.equal(cursor.previous(), index > 0)
              if (index > 0) assert.deepEqual(cursor.record(), model[index - 1])
            }
            assert.equal(cursor.next(), index < model.length)
            if (index < model.length) assert.deepEqual(cursor.record(), model[index])
          }
        }
      }
    })
    agree()
  }
  withTransaction(volume, (tx) => {
    const cursor = new Cursor(tree.on(tx))
    for (cursor.first(); model.length > 0; model.shift()) {
      cursor.delete()
      cursor.next()
    }
  })
  agree()
  assert.equal(tree.space.used.size, 1)
}

describe('a tree under random changes equals a sorted array', () => {
  for (const treeCase of treeCases) {
    test(treeCase.ops.name, () => {
      exercise(treeCase, 1, 30)
    })
  }
})
