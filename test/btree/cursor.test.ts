import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Cursor, records } from '../../src/btree/cursor.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { random } from '../support/random.ts'
import { contents, faults, inflated, lowerBound, type TreeCase, testTree, testVolume, treeCases } from './support.ts'

type Rec = object
type Key = object

/** Random changes of a tree and of a sorted array, which must agree. */
function exercise({ ops, make, again }: TreeCase<Rec, Key>, seed: number, rounds: number, levels: number): void {
  const volume = testVolume(1024, 2 ** 28)
  const { geometry } = volume
  const tree = testTree(volume, ops)
  const rng = random(seed)
  const model: Rec[] = []
  let tallest = 0
  const agree = (): void => {
    assert.deepEqual([...records(tree.on())], model)
    assert.deepEqual(faults(tree.on()), [])
    const { blocks, recs } = contents(tree.on())
    assert.deepEqual(recs, model)
    assert.equal(blocks.length, tree.space.used.size)
    tallest = Math.max(tallest, ...blocks.map((item) => item.level + 1))
  }
  const place = (rec: Rec): number => lowerBound(ops, model, ops.lowKey(rec))
  const has = (rec: Rec): boolean => {
    const found = model[place(rec)]
    return found !== undefined && ops.compare(ops.lowKey(found), ops.lowKey(rec)) === 0
  }
  for (let round = 0; round < rounds; round++) {
    // Grow and shrink alternately; sometimes in key order, which fills blocks differently.
    const growing = round % 10 < 6
    const inOrder = rng.chance(0.3)
    const batch = Array.from({ length: 400 }, () => make(rng, geometry))
    if (inOrder) batch.sort((a, b) => ops.compare(ops.lowKey(a), ops.lowKey(b)))
    withTransaction(volume, (tx) => {
      const cursor = new Cursor(tree.on(tx))
      for (const rec of batch) {
        if (rng.chance(growing ? 0.9 : 0.25)) {
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
          const count = inOrder && !growing ? Math.min(model.length - index, 1 + rng.int(60)) : 1
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
  assert.ok(tallest >= levels, `only ${tallest} levels were reached`)
}

describe('a tree under random changes equals a sorted array', () => {
  const seeds = process.env['XFSKIT_LONG'] ? 30 : 1
  for (const treeCase of treeCases) {
    const { name } = treeCase.ops
    test(name, () => exercise(treeCase, 1, 20, 2))
    // In some trees four records per block are only possible below the maximum height of an image.
    const least = name === 'inobt' || name === 'finobt' || name === 'refcountbt' ? 5 : 4
    for (const perBlock of [least, 6, 7]) {
      test(`${name}, ${perBlock} records a block`, () => {
        for (let seed = 1; seed <= seeds; seed++) exercise(inflated(treeCase, perBlock), seed * 10 + perBlock, 20, 4)
      })
    }
  }
})
