import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { bulkBlocks, bulkLoad, planBulk } from '../../src/btree/bulkload.ts'
import { Cursor, records } from '../../src/btree/cursor.ts'
import type { Btree, BtreeOps } from '../../src/btree/ops.ts'
import { bnobt } from '../../src/btree/trees/bnobt.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import type { Volume } from '../../src/volume.ts'
import { random } from '../support/random.ts'
import {
  faults,
  OWNER_INODE,
  stagedInlineRoot,
  stagedRoot,
  TestSpace,
  type TreeCase,
  testTree,
  testVolume,
  treeCases,
} from './support.ts'

type Rec = object
type Key = object

function sample({ ops, make }: TreeCase<Rec, Key>, volume: Volume, count: number, seed: number): Rec[] {
  const rng = random(seed)
  const found = Array.from({ length: count }, () => make(rng, volume.geometry))
  found.sort((a, b) => ops.compare(ops.lowKey(a), ops.lowKey(b)))
  return found.filter((rec, i) => i === 0 || ops.compare(ops.lowKey(found[i - 1] as Rec), ops.lowKey(rec)) !== 0)
}

function load(
  volume: Volume,
  ops: BtreeOps<Rec, Key>,
  recs: Rec[],
  slack?: number,
  raw = false,
): { tree: Btree<Rec, Key>; space: TestSpace; claimed: number } {
  const space = new TestSpace(100)
  const { geometry } = volume
  const inlineRoot = ops.ptrSize === 8 ? stagedInlineRoot(9) : undefined
  const owner = inlineRoot ? OWNER_INODE : 0
  const options = slack === undefined ? {} : { leafSlack: slack, nodeSlack: slack }
  let i = 0
  const result = bulkLoad(ops, {
    geometry,
    owner,
    count: recs.length,
    records: raw ? (view, at) => ops.writeRec(view, at, recs[i++] as Rec) : recs,
    claim: () => space.alloc(),
    write: (ptr, bytes) => volume.device.write(bytes, ptr * geometry.blocksize),
    ...options,
    ...(inlineRoot ? { inline: inlineRoot.block() } : {}),
  })
  const root = inlineRoot ?? stagedRoot(result.root, result.levels)
  const tree = { ops, geometry, agno: inlineRoot ? -1 : 0, owner, root, space, reader: volume }
  assert.equal(result.blocksUsed, space.used.size)
  return { tree, space, claimed: result.blocksUsed }
}

describe('a bulk loaded tree', () => {
  for (const treeCase of treeCases) {
    const { ops } = treeCase
    test(`${ops.name}: has the records, is sound, can be changed`, () => {
      for (const count of [0, 1, 2, 39, 40, 41, 60, 61, 100, 500, 3000, 9000]) {
        for (const slack of [undefined, 0, 2]) {
          const volume = testVolume()
          const recs = sample(treeCase, volume, count, count)
          if (ops.ptrSize === 8 && recs.length === 0) continue
          const { tree, space, claimed } = load(volume, ops, recs, slack, count % 2 === 0)
          const options = slack === undefined ? {} : { leafSlack: slack, nodeSlack: slack }
          assert.equal(
            bulkBlocks(ops, volume.geometry, recs.length, ops.ptrSize === 8 ? { ...options, rootMaxrecs: 9 } : options),
            claimed,
          )
          assert.deepEqual([...records(tree)], recs)
          assert.deepEqual(faults(tree), [])
          withTransaction(volume, (tx) => {
            const cursor = new Cursor({ ...tree, reader: tx })
            for (cursor.first(); cursor.onRecord; cursor.next()) cursor.delete()
          })
          assert.equal(space.used.size, 1)
          assert.deepEqual([...records(tree)], [])
        }
      }
    })

    test(`${ops.name}: equals one made by inserting`, () => {
      const volume = testVolume()
      const recs = sample(treeCase, volume, 4000, 7)
      const { tree } = load(testVolume(), ops, recs)
      const other = testTree(volume, ops)
      const rng = random(3)
      withTransaction(volume, (tx) => {
        const cursor = new Cursor(other.on(tx))
        const left = [...recs]
        while (left.length > 0) cursor.insert(left.splice(rng.int(left.length), 1)[0] as Rec)
      })
      assert.deepEqual([...records(tree)], [...records(other.on())])
    })
  }
})

test('levels are filled as xfs_repair fills them', () => {
  const { geometry } = testVolume(4096)
  // A leaf holds 505 records; three quarters are 378.
  assert.deepEqual(planBulk(bnobt, geometry, 505), { levels: [{ blocks: 1, perBlock: 505, extra: 0 }], blocks: 1 })
  assert.deepEqual(planBulk(bnobt, geometry, 506), {
    levels: [
      { blocks: 2, perBlock: 253, extra: 0 },
      { blocks: 1, perBlock: 2, extra: 0 },
    ],
    blocks: 3,
  })
  assert.equal(planBulk(bnobt, geometry, 100000).levels[0]?.blocks, 264)
})

test('records that are out of order, too few or too many are refused', () => {
  const volume = testVolume()
  const rec = (startblock: number) => ({ startblock, blockcount: 1 })
  const bad = (list: { startblock: number; blockcount: number }[], count: number) => () =>
    bulkLoad(bnobt, {
      geometry: volume.geometry,
      owner: 0,
      count,
      records: list,
      claim: () => 100,
      write: () => {},
    })
  assert.throws(bad([rec(200), rec(100)], 2), /order/)
  assert.throws(bad([rec(100)], 2), /fewer/)
  assert.throws(bad([rec(100), rec(102)], 1), /more/)
})
