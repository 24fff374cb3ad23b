import assert from 'node:assert/strict'
import { test } from 'node:test'
import { XfsError } from '../../src/errors.ts'
import { Agf } from '../../src/format/ag.ts'
import { OWNERS } from '../../src/format/btrecs.ts'
import { Superblock } from '../../src/format/sb.ts'
import { type Allocated, allocExtent, extentFree } from '../../src/space/alloc.ts'
import { Transaction, withTransaction } from '../../src/tx/transaction.ts'
import type { Volume } from '../../src/volume.ts'
import { random } from '../support/random.ts'
import { audit } from './audit.ts'
import { content, makeImage, open, repairSays } from './images.ts'

/** An arbitrary owner of blocks for these tests. */
const owner = OWNERS.cow

const free = (volume: Volume, extents: readonly Allocated[]): void => {
  for (const { fsbno, length } of extents) {
    withTransaction(volume, (tx) => tx.defer(extentFree, { fsbno, blockcount: length, owner }))
  }
}

const fdblocks = (volume: Volume): number => Superblock.fields.fdblocks.get(volume.superblock().view, 0)

const isNoSpace = (error: unknown): boolean => error instanceof XfsError && error.code === 'NOSPC'

const VARIANTS: readonly (readonly [string, readonly string[]])[] = [
  ['4k blocks', ['-b', 'size=4096']],
  ['1k blocks', ['-b', 'size=1024']],
  ['without rmapbt', ['-m', 'rmapbt=0']],
  ['without reflink', ['-m', 'reflink=0']],
  ['without finobt', ['-m', 'finobt=0,inobtcount=0']],
  ['without inobtcount', ['-m', 'inobtcount=0']],
  ['bare', ['-m', 'finobt=0,inobtcount=0,reflink=0,rmapbt=0', '-b', 'size=1024']],
]

for (const [name, options] of VARIANTS) {
  test(`random allocations and frees, then all freed again: ${name}`, () => {
    const { device, volume } = open(makeImage(32, ...options))
    const rnd = random(11)
    const before = audit(volume)
    const start = fdblocks(volume)
    const live: Allocated[] = []
    const taken = before.map((group) => new Uint8Array(group.length))
    for (let round = 0; round < 15; round++) {
      for (let i = 0; i < 40; i++) {
        if (live.length > 0 && rnd.chance(0.45)) {
          const [extent] = live.splice(rnd.int(live.length), 1) as [Allocated]
          free(volume, [extent])
          taken[extent.agno]?.fill(0, extent.agbno, extent.agbno + extent.length)
          continue
        }
        const maxLength = rnd.pick([1, 1, 2, 3, 8, 17, 60])
        const alignment = rnd.pick([1, 1, 1, 4, 8])
        const near = rnd.chance(0.5) ? live[rnd.int(live.length)]?.fsbno : undefined
        const request = {
          minLength: rnd.chance(0.5) ? maxLength : 1,
          maxLength,
          alignment,
          agno: rnd.int(volume.geometry.agcount),
          owner,
          ...(near === undefined ? {} : { near }),
        }
        try {
          const extent = withTransaction(volume, (tx) => allocExtent(tx, request))
          assert.ok(extent.length >= request.minLength && extent.length <= maxLength)
          assert.equal(extent.agbno % alignment, 0)
          const map = taken[extent.agno] as Uint8Array
          for (let b = extent.agbno; b < extent.agbno + extent.length; b++) {
            assert.equal(map[b], 0, 'given out twice')
            map[b] = 1
          }
          live.push(extent)
        } catch (error) {
          assert.ok(isNoSpace(error), String(error))
        }
      }
      const states = audit(volume)
      const used = live.reduce((sum, extent) => sum + extent.length, 0)
      assert.equal(fdblocks(volume), start - used)
      for (const [agno, map] of taken.entries())
        for (const [b, t] of map.entries()) if (t === 1) assert.equal(states[agno]?.[b], 0)
    }
    free(volume, live)
    audit(volume)
    assert.equal(fdblocks(volume), start)
    volume.sync()
    assert.equal(repairSays(device), '')
  })
}

test('every second block is taken, until nothing is left, and freed again: trees of several levels', () => {
  const { device, volume } = open(makeImage(64, '-b', 'size=1024', '-d', 'agcount=2'))
  const start = fdblocks(volume)
  const live: Allocated[] = []
  try {
    for (;;)
      live.push(
        ...withTransaction(volume, (tx) =>
          Array.from({ length: 50 }, () => allocExtent(tx, { minLength: 1, maxLength: 1, owner })),
        ),
      )
  } catch (error) {
    assert.ok(isNoSpace(error), String(error))
  }
  audit(volume)
  const odd = live.filter((extent) => extent.agbno % 2 === 1)
  const even = live.filter((extent) => extent.agbno % 2 === 0)
  free(volume, odd)
  assert.ok(Agf.fields.bnolevel.get(volume.agf(0).view, 0) >= 3, 'bnobt has grown')
  assert.ok(Agf.fields.rmaplevel.get(volume.agf(0).view, 0) >= 3, 'rmapbt has grown')
  audit(volume)
  // Half of all blocks are free, but not contiguous: there is no long free extent.
  const length = 1 + Math.max(...[0, 1].map((agno) => Agf.fields.longest.get(volume.agf(agno).view, 0)))
  assert.throws(
    () => withTransaction(volume, (tx) => allocExtent(tx, { minLength: length, maxLength: length, owner })),
    isNoSpace,
  )
  free(volume, even)
  assert.equal(Agf.fields.bnolevel.get(volume.agf(0).view, 0), 1)
  assert.equal(fdblocks(volume), start)
  audit(volume)
  volume.sync()
  assert.equal(repairSays(device), '')
})

test('a transaction cancelled at any point changes nothing', () => {
  const { device, volume } = open(makeImage(32, '-b', 'size=1024'))
  const image = content(device)
  for (const count of [1, 2, 7, 300]) {
    const tx = new Transaction(volume)
    const extents = Array.from({ length: count }, (_, i) =>
      allocExtent(tx, { minLength: 1 + (i % 5), maxLength: 9, owner }),
    )
    for (const { fsbno, length } of extents.filter((_, i) => i % 3 === 0))
      tx.defer(extentFree, { fsbno, blockcount: length, owner })
    tx.finishDeferred()
    tx.cancel()
    audit(volume)
  }
  // Out of space in the middle.
  assert.throws(
    () =>
      withTransaction(volume, (tx) => {
        for (;;) allocExtent(tx, { minLength: 1, maxLength: 1, owner })
      }),
    isNoSpace,
  )
  volume.sync()
  assert.ok(Buffer.from(content(device)).equals(image))
})

test('the wanted block exactly, or not at all', () => {
  const { volume } = open(makeImage(32))
  const first = withTransaction(volume, (tx) => allocExtent(tx, { minLength: 10, maxLength: 10, owner }))
  const next = first.fsbno + first.length
  const second = withTransaction(volume, (tx) =>
    allocExtent(tx, { near: next, exact: true, minLength: 3, maxLength: 5, owner }),
  )
  assert.deepEqual([second.fsbno, second.length], [next, 5])
  assert.throws(
    () =>
      withTransaction(volume, (tx) =>
        allocExtent(tx, { near: first.fsbno + 2, exact: true, minLength: 1, maxLength: 1 }),
      ),
    isNoSpace,
  )
  // Near: continues after the previous extent.
  const third = withTransaction(volume, (tx) => allocExtent(tx, { near: next + 5, minLength: 1, maxLength: 4, owner }))
  assert.equal(third.fsbno, next + 5)
})

test('freeing free blocks, or blocks outside of the AG, is refused', () => {
  const { volume, device } = open(makeImage(32))
  const image = content(device)
  const { fsbno } = withTransaction(volume, (tx) => {
    const extent = allocExtent(tx, { minLength: 4, maxLength: 4, owner })
    tx.defer(extentFree, { fsbno: extent.fsbno, blockcount: 4, owner })
    return extent
  })
  const isCorrupt = (error: unknown): boolean => error instanceof XfsError && error.code === 'CORRUPT'
  for (const [at, blockcount] of [
    [fsbno, 1],
    [fsbno + 2, 2],
    [2 ** 40, 1],
    [0, 1],
    [fsbno, 0],
    [-5, 3],
    [fsbno, 2 ** 31],
  ] as const) {
    assert.throws(() => withTransaction(volume, (tx) => tx.defer(extentFree, { fsbno: at, blockcount })), isCorrupt)
    assert.throws(
      () => withTransaction(volume, (tx) => tx.defer(extentFree, { fsbno: at, blockcount, owner })),
      isCorrupt,
    )
  }
  audit(volume)
  volume.sync()
  assert.equal(content(device).length, image.length)
})

test('freed blocks are left alone until the next sync, as long as there are others', () => {
  const { device, volume } = open(makeImage(64))
  const one = (near?: number): Allocated =>
    withTransaction(volume, (tx) =>
      allocExtent(tx, { minLength: 1, maxLength: 1, owner, ...(near === undefined ? {} : { near }) }),
    )
  const blocks = Array.from({ length: 8 }, () => one())
  const [freed] = blocks.splice(4, 1) as [Allocated]
  free(volume, [freed])
  const other = one(freed.fsbno)
  assert.notEqual(other.fsbno, freed.fsbno)
  volume.sync()
  const again = one(freed.fsbno)
  assert.equal(again.fsbno, freed.fsbno)
  free(volume, [...blocks, other, again])
  audit(volume)
  volume.sync()
  assert.equal(repairSays(device), '')
})
