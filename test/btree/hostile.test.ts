import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Cursor, query, records } from '../../src/btree/cursor.ts'
import { XfsError } from '../../src/errors.ts'
import { stamp } from '../../src/format/verify/stamp.ts'
import { Transaction, withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { random } from '../support/random.ts'
import { contents, faults, inflated, type TestTree, type TreeCase, testTree, testVolume, treeCases } from './support.ts'

type Rec = object
type Key = object

const bnoCase = treeCases[0] as TreeCase<Rec, Key>

/** A tree of `count` records on the device, not in the cache. */
function build(
  treeCase: TreeCase<Rec, Key>,
  count: number,
  seed = 1,
): { tree: TestTree<Rec, Key>; recs: Rec[]; fresh(): Volume } {
  const { ops, make } = treeCase
  const volume = testVolume(1024, 2 ** 28)
  const tree = testTree(volume, ops)
  const rng = random(seed)
  const recs: Rec[] = []
  withTransaction(volume, (tx) => {
    const cursor = new Cursor(tree.on(tx))
    for (let i = 0; i < count; i++) {
      const rec = make(rng, volume.geometry)
      if (cursor.lookup(ops.lowKey(rec), 'eq')) continue
      cursor.insert(rec)
      recs.push(rec)
    }
  })
  volume.sync()
  return { tree, recs, fresh: () => Volume.open(volume.device, { write: true }) }
}

const blocksOf = (tree: TestTree<Rec, Key>): { ptr: number; level: number; count: number }[] =>
  contents(tree.on()).blocks

/** Change bytes of a block on the device; `undo` restores them. */
function damage(tree: TestTree<Rec, Key>, ptr: number, change: (view: DataView) => void, restamp = true): () => void {
  const { device, geometry } = tree.volume
  const { blocksize } = geometry
  const before = new Uint8Array(blocksize)
  device.read(before, ptr * blocksize)
  const bytes = before.slice()
  const view = new DataView(bytes.buffer)
  change(view)
  if (restamp) stamp(tree.on().ops.type, view, { geometry, daddr: geometry.daddr(0, ptr) })
  device.write(bytes, ptr * blocksize)
  return () => device.write(before, ptr * blocksize)
}

/** Call everything that a tree offers: it may return or throw an XfsError. */
function survive(tree: TestTree<Rec, Key>, recs: Rec[], volume: Volume, seed: number): void {
  const rng = random(seed)
  const { ops } = tree.on()
  const attempt = (action: () => void): void => {
    try {
      action()
    } catch (error) {
      assert.ok(error instanceof XfsError, String((error as Error).stack))
    }
  }
  const read = tree.on(volume)
  faults(read)
  attempt(() => assert.ok([...records(read)].length <= 2 * recs.length + 1000))
  attempt(() => assert.ok(contents(read).recs.length <= 2 * recs.length + 1000))
  for (let i = 0; i < 5; i++) {
    const a = ops.lowKey(rng.pick(recs))
    const b = ops.lowKey(rng.pick(recs))
    attempt(() => new Cursor(read).lookup(a, rng.pick(['le', 'eq', 'ge'])))
    attempt(() => {
      for (const _ of query(read, a, b));
    })
  }
  const tx = new Transaction(volume)
  const used = new Set(tree.space.used)
  const root = tree.root.inline ? new Uint8Array(tree.root.block().view.buffer).slice() : tree.root.get()
  attempt(() => {
    const cursor = new Cursor(tree.on(tx))
    for (let i = 0; i < 60; i++) {
      attempt(() => {
        const rec = rng.pick(recs)
        if (cursor.lookup(ops.lowKey(rec), 'eq')) cursor.delete()
        else cursor.insert(rec)
      })
    }
  })
  tx.cancel()
  tree.space.reset(used)
  if (tree.root.inline) new Uint8Array(tree.root.block().view.buffer).set(root as Uint8Array)
  else tree.root.set(tx, (root as { ptr: number }).ptr, (root as { levels: number }).levels)
}

describe('bytes that are not a tree', () => {
  for (const treeCase of treeCases) {
    test(`${treeCase.ops.name}: no answer but an XfsError, no endless loop`, () => {
      const { tree, recs, fresh } = build(inflated(treeCase, 6), 250)
      const blocks = blocksOf(tree).filter((block) => block.ptr !== -1)
      const rng = random(9)
      const rounds = process.env['XFSKIT_LONG'] ? 3000 : 200
      for (let round = 0; round < rounds; round++) {
        const undo = Array.from({ length: 1 + rng.int(3) }, () => {
          const { ptr } = rng.pick(blocks)
          return damage(tree, ptr, (view) => {
            const at = rng.chance(0.4) ? 4 + rng.int(20) : rng.int(1024)
            if (rng.chance(0.5)) view.setUint8(at, rng.int(256))
            else if (at + 4 <= 1024) view.setUint32(at, rng.chance(0.7) ? rng.pick(blocks).ptr : rng.int(2 ** 32))
          })
        })
        survive(tree, recs, fresh(), round)
        for (const action of undo.reverse()) action()
      }
      assert.deepEqual(faults(tree.on(fresh())), [])
    })
  }

  test('every field of a header and every entry that is wrong is a fault of its kind', () => {
    const { tree, fresh } = build(inflated(bnoCase, 6), 300)
    const blocks = blocksOf(tree)
    const found = (ptr: number, change: (view: DataView) => void, restamp = true): Set<string> => {
      const undo = damage(tree, ptr, change, restamp)
      const kinds = new Set(faults(tree.on(fresh())).map((fault) => fault.fault))
      undo()
      return kinds
    }
    const leaves = blocks.filter((block) => block.level === 0)
    const nodes = blocks.filter((block) => block.level === 1)
    const root = blocks[0] as { ptr: number; level: number }
    const leaf = leaves[3] as { ptr: number }
    const node = nodes[1] as { ptr: number; count: number }
    const next = leaves[4] as { ptr: number }
    const { header, ptrs } = { header: 56, ptrs: 56 + 6 * Math.floor((1024 - 56) / 6 - 4) }
    assert.ok(root.level >= 3)
    assert.deepEqual(
      found(leaf.ptr, (view) => view.setUint32(100, 1), false),
      new Set(['crc']),
    )
    assert.ok(found(leaf.ptr, (view) => view.setUint32(0, 0x12345678)).has('header'))
    assert.ok(found(leaf.ptr, (view) => view.setUint16(4, 1)).has('header'))
    assert.ok(
      found(leaf.ptr, (view) => view.setUint16(6, 200)).has('header') ||
        found(leaf.ptr, (view) => view.setUint16(6, 200)).has('header'),
    )
    assert.ok(found(leaf.ptr, (view) => view.setUint16(6, 0)).has('header'))
    assert.ok(found(leaf.ptr, (view) => view.setUint16(6, 2)).has('fill'))
    assert.ok(found(leaf.ptr, (view) => view.setUint32(8, next.ptr)).has('sibling'))
    assert.ok(found(leaf.ptr, (view) => view.setUint32(12, node.ptr)).has('sibling'))
    assert.ok(found(root.ptr, (view) => view.setUint32(12, node.ptr)).has('sibling'))
    assert.ok(found(root.ptr, (view) => view.setUint32(8, leaf.ptr)).has('sibling'))
    assert.ok(found(leaf.ptr, (view) => view.setUint32(header, 0xfffffff)).has('order'))
    assert.ok(found(leaf.ptr, (view) => view.setUint32(header, view.getUint32(header) - 1)).has('keys'))
    assert.ok(found(node.ptr, (view) => view.setUint32(header, view.getUint32(header) + 1)).has('keys'))
    const at = ptrs - (ptrs % 4)
    assert.ok(found(node.ptr, (view) => view.setUint32(at, 0xfffffff0)).size > 0)
    assert.ok(
      found(root.ptr, (view) => view.setUint16(4, 7)).has('header') ||
        found(root.ptr, (view) => view.setUint16(4, 7)).has('header'),
    )
    tree.root.inline || tree.root.set(undefined as never, root.ptr, root.level + 2)
    assert.deepEqual(
      faults(tree.on(fresh())).map((fault) => fault.message),
      [`bnobt block 0/${root.ptr}: level ${root.level}, expected ${root.level + 1}`],
    )
    assert.throws(() => new Cursor(tree.on(fresh())).first(), {
      name: 'XfsError',
      code: 'CORRUPT',
      message: `bnobt block 0/${root.ptr}: level ${root.level}, but the height in the staged root is ${root.level + 2}`,
    })
    tree.root.inline || tree.root.set(undefined as never, root.ptr, 1000)
    assert.deepEqual(
      faults(tree.on(fresh())).map((fault) => fault.fault),
      ['header'],
    )
    assert.throws(() => new Cursor(tree.on(fresh())).first(), { name: 'XfsError', code: 'CORRUPT' })
    tree.root.inline || tree.root.set(undefined as never, 2 ** 31, 2)
    assert.deepEqual(
      faults(tree.on(fresh())).map((fault) => fault.fault),
      ['pointer'],
    )
    assert.throws(() => new Cursor(tree.on(fresh())).first(), { name: 'XfsError', code: 'CORRUPT' })
  })
})

describe('a change that is cancelled', () => {
  for (const treeCase of treeCases) {
    test(`${treeCase.ops.name}: leaves every byte as it was`, () => {
      const { tree, recs, fresh } = build(inflated(treeCase, 6), 300)
      const volume = fresh()
      const before = [...records(tree.on(volume))]
      const bytes = (): string =>
        blocksOf(tree)
          .map(({ ptr }) =>
            ptr < 0
              ? ''
              : Buffer.from(volume.cache.read(treeCase.ops.type, volume.geometry.daddr(0, ptr), 1024).bytes).toString(
                  'base64',
                ),
          )
          .join()
      const image = bytes()
      const root = tree.root.inline ? new Uint8Array(tree.root.block().view.buffer).slice() : undefined
      const staged = tree.root.inline ? undefined : tree.root.get()
      const tx = new Transaction(volume)
      const cursor = new Cursor(tree.on(tx))
      for (const rec of recs.slice(20)) {
        assert.ok(cursor.lookup(treeCase.ops.lowKey(rec), 'eq'))
        cursor.delete()
      }
      tx.cancel()
      // The root in memory is not part of the transaction: restore it.
      if (tree.root.inline) new Uint8Array(tree.root.block().view.buffer).set(root as Uint8Array)
      else if (staged) tree.root.set(tx, staged.ptr, staged.levels)
      assert.deepEqual([...records(tree.on(volume))], before)
      assert.equal(bytes(), image)
    })
  }
})

test('a tree without a free block reports it', () => {
  const { tree } = build(inflated(bnoCase, 6), 50)
  tree.space.limit = 0
  tree.space.clearFree()
  assert.throws(
    () =>
      withTransaction(tree.volume, (tx) => {
        const cursor = new Cursor(tree.on(tx))
        for (let i = 0; i < 500; i++) cursor.insert({ startblock: 2 ** 27 + 10 * i, blockcount: 1 })
      }),
    { name: 'XfsError', code: 'NOSPC' },
  )
  assert.deepEqual(faults(tree.on()), [])
})
