import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cursor } from '../../src/btree/cursor.ts'
import { XfsError } from '../../src/errors.ts'
import { Agf } from '../../src/format/ag.ts'
import { MAX_REFCOUNT, OWNERS, type RefcountRec, type RmapRec } from '../../src/format/btrecs.ts'
import { type Allocated, allocExtent, extentFree } from '../../src/space/alloc.ts'
import {
  allocCowExtent,
  findShared,
  freeCowExtent,
  freeCowLeftovers,
  type RefcountUpdate,
  refcountUpdate,
} from '../../src/space/refcount.ts'
import { rmapUpdate } from '../../src/space/rmap.ts'
import { changeTree } from '../../src/space/trees.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { trace } from '../../src/util/trace.ts'
import type { Volume } from '../../src/volume.ts'
import { random } from '../support/random.ts'
import { audit, refcounts } from './audit.ts'
import { allRecords, content, makeImage, open, repair, repairSays } from './images.ts'

/** The records for a list of counts, one per block. */
function canonical(counts: Uint32Array, from: number): RefcountRec[] {
  const list: RefcountRec[] = []
  for (let i = 0; i < counts.length; ) {
    const refcount = counts[i] as number
    let end = i + 1
    while (end < counts.length && counts[end] === refcount) end++
    if (refcount >= 2) list.push({ cowflag: 0, startblock: from + i, blockcount: end - i, refcount })
    i = end
  }
  return list
}

/** Number of free blocks of each AG (the tree blocks make their places vary). */
const freeBlocks = (states: readonly Uint8Array[]): number[] =>
  states.map((state) => state.reduce((sum, free) => sum + free, 0))

const update = (volume: Volume, op: RefcountUpdate['op'], agno: number, agbno: number, blockcount: number): void =>
  withTransaction(volume, (tx) =>
    tx.defer(refcountUpdate, { op, fsbno: volume.geometry.fsbno(agno, agbno), blockcount }),
  )

/** Blocks of an AG to share, without reverse mappings (these tests only concern counts). */
function field(volume: Volume, length: number): { agno: number; agbno: number } {
  return withTransaction(volume, (tx) => allocExtent(tx, { minLength: length, maxLength: length }))
}

for (const [name, options] of [
  ['4k blocks', []],
  ['1k blocks', ['-b', 'size=1024']],
  ['without rmapbt', ['-m', 'rmapbt=0']],
] as const) {
  test(`random increases and decreases match one counter per block: ${name}`, () => {
    const { volume } = open(makeImage(32, ...options, '-m', 'reflink=1'))
    const rnd = random(5)
    const LENGTH = 300
    const { agno, agbno } = field(volume, LENGTH)
    const counts = new Uint32Array(LENGTH).fill(1)
    for (let i = 0; i < 1500; i++) {
      const start = rnd.int(LENGTH)
      let length = 1 + rnd.int(rnd.pick([2, 10, LENGTH - start]))
      length = Math.min(length, LENGTH - start)
      if (rnd.chance(0.5)) {
        update(volume, 'increase', agno, agbno + start, length)
        for (let b = start; b < start + length; b++) counts[b] = (counts[b] as number) + 1
      } else {
        // Not to zero: free blocks could not be shared again.
        while (length > 0 && counts.subarray(start, start + length).some((count) => count < 2)) length--
        if (length === 0) continue
        update(volume, 'decrease', agno, agbno + start, length)
        for (let b = start; b < start + length; b++) counts[b] = (counts[b] as number) - 1
      }
      assert.deepEqual(refcounts(volume, agno), canonical(counts, agbno), `step ${i}`)
      const from = rnd.int(LENGTH)
      const shared = findShared(volume, volume, agno, agbno + from, LENGTH - from)
      let first = from
      while (first < LENGTH && (counts[first] as number) < 2) first++
      let end = first
      while (end < LENGTH && (counts[end] as number) >= 2) end++
      assert.deepEqual(shared, first === LENGTH ? undefined : { agbno: agbno + first, length: end - first })
    }
  })
}

test('the last owner is removed: the blocks are free', () => {
  const { device, volume } = open(makeImage(32))
  const [before] = audit(volume)
  const { agno, agbno } = field(volume, 40)
  update(volume, 'increase', agno, agbno + 10, 20)
  update(volume, 'increase', agno, agbno + 15, 5)
  update(volume, 'decrease', agno, agbno, 40)
  assert.deepEqual(refcounts(volume, agno), [{ cowflag: 0, startblock: agbno + 15, blockcount: 5, refcount: 2 }])
  for (const [length, at] of [
    [10, 0],
    [10, 30],
  ] as const) {
    assert.ok(
      allRecords<{ startblock: number; blockcount: number }>(volume, 'bnobt', agno).some(
        (rec) => rec.startblock <= agbno + at && rec.startblock + rec.blockcount >= agbno + at + length,
      ),
    )
  }
  update(volume, 'decrease', agno, agbno + 10, 20)
  update(volume, 'decrease', agno, agbno + 15, 5)
  assert.deepEqual(refcounts(volume, agno), [])
  assert.deepEqual(audit(volume)[0], before)
  volume.sync()
  assert.equal(repairSays(device), '')
})

test('a record at the largest count stays there', () => {
  const { volume } = open(makeImage(32))
  const { agno, agbno } = field(volume, 30)
  const put = (startblock: number, blockcount: number, refcount: number): void =>
    withTransaction(volume, (tx) =>
      new Cursor(changeTree(tx, 'refcountbt', agno)).insert({ cowflag: 0, startblock, blockcount, refcount }),
    )
  put(agbno, 10, MAX_REFCOUNT)
  put(agbno + 10, 10, MAX_REFCOUNT - 1)
  update(volume, 'increase', agno, agbno, 30)
  assert.deepEqual(refcounts(volume, agno), [
    { cowflag: 0, startblock: agbno, blockcount: 20, refcount: MAX_REFCOUNT },
    { cowflag: 0, startblock: agbno + 20, blockcount: 10, refcount: 2 },
  ])
  update(volume, 'decrease', agno, agbno + 5, 20)
  assert.deepEqual(refcounts(volume, agno), [
    { cowflag: 0, startblock: agbno, blockcount: 20, refcount: MAX_REFCOUNT },
    { cowflag: 0, startblock: agbno + 25, blockcount: 5, refcount: 2 },
  ])
})

test('a staircase of sharing through several levels, up and down again', () => {
  const { device, volume } = open(makeImage(64, '-b', 'size=1024', '-m', 'rmapbt=0,reflink=1', '-d', 'agcount=1'))
  const LENGTH = 30000
  const before = freeBlocks(audit(volume))
  const { agno, agbno } = field(volume, LENGTH)
  const counts = new Uint32Array(LENGTH).fill(1)
  const step = (op: 'increase' | 'decrease', start: number, length: number): void => {
    update(volume, op, agno, agbno + start, length)
    for (let b = start; b < start + length; b++) counts[b] = (counts[b] as number) + (op === 'increase' ? 1 : -1)
  }
  const levels = (): number => Agf.fields.refcntlevel.get(volume.agf(agno).view, 0)
  // Single blocks with gaps, then ranges of thousands of records at once.
  withTransaction(volume, (tx) => {
    for (let b = 0; b < LENGTH; b += 2) {
      tx.defer(refcountUpdate, { op: 'increase', fsbno: volume.geometry.fsbno(agno, agbno + b), blockcount: 1 })
      counts[b] = 2
    }
  })
  assert.equal(refcounts(volume, agno).length, LENGTH / 2)
  assert.ok(levels() >= 3)
  step('increase', 0, LENGTH)
  assert.deepEqual(refcounts(volume, agno), canonical(counts, agbno))
  step('increase', 17, LENGTH - 55)
  step('decrease', 1000, 19000)
  assert.deepEqual(refcounts(volume, agno), canonical(counts, agbno))
  audit(volume)
  // Decrease according to the records, until every block has one owner.
  for (;;) {
    const rest = refcounts(volume, agno)
    if (rest.length === 0) break
    withTransaction(volume, (tx) => {
      for (const rec of rest) {
        tx.defer(refcountUpdate, {
          op: 'decrease',
          fsbno: volume.geometry.fsbno(agno, rec.startblock),
          blockcount: rec.blockcount,
        })
      }
    })
  }
  assert.equal(levels(), 1)
  withTransaction(volume, (tx) => {
    const states = allRecords<{ startblock: number; blockcount: number }>(volume, 'bnobt', agno)
    const isFree = new Uint8Array(agbno + LENGTH)
    for (const rec of states) isFree.fill(1, rec.startblock, Math.min(rec.startblock + rec.blockcount, isFree.length))
    for (let b = agbno; b < agbno + LENGTH; b++) {
      if (!isFree[b]) tx.defer(extentFree, { fsbno: volume.geometry.fsbno(agno, b), blockcount: 1 })
    }
  })
  assert.deepEqual(freeBlocks(audit(volume)), before)
  volume.sync()
  assert.equal(repairSays(device), '')
})

test('blocks held for copy-on-write: a domain of their own', () => {
  const { device, volume } = open(makeImage(32))
  const { geometry } = volume
  const { agno, agbno, fsbno } = withTransaction(volume, (tx) => {
    const extent = allocExtent(tx, { minLength: 30, maxLength: 30 })
    allocCowExtent(tx, extent.fsbno, 10)
    allocCowExtent(tx, extent.fsbno + 20, 10)
    return extent
  })
  const cow = (): number[][] =>
    refcounts(volume, agno).map((rec) => [rec.cowflag, rec.startblock - agbno, rec.blockcount, rec.refcount])
  assert.deepEqual(cow(), [
    [1, 0, 10, 1],
    [1, 20, 10, 1],
  ])
  // It is not merged with an adjacent shared record.
  update(volume, 'increase', agno, agbno + 10, 10)
  assert.deepEqual(cow(), [
    [0, 10, 10, 2],
    [1, 0, 10, 1],
    [1, 20, 10, 1],
  ])
  update(volume, 'decrease', agno, agbno + 10, 10)
  withTransaction(volume, (tx) => allocCowExtent(tx, fsbno + 10, 10))
  assert.deepEqual(cow(), [[1, 0, 30, 1]])
  const owned = (): number[][] =>
    allRecords<RmapRec>(volume, 'rmapbt', agno)
      .filter((rec) => rec.owner === OWNERS.cow)
      .map((rec) => [rec.startblock - agbno, rec.blockcount])
  assert.deepEqual(owned(), [[0, 30]])
  audit(volume)
  const isCorrupt = (error: unknown): boolean => error instanceof XfsError && error.code === 'CORRUPT'
  assert.throws(() => withTransaction(volume, (tx) => allocCowExtent(tx, fsbno + 5, 2)), isCorrupt)
  withTransaction(volume, (tx) => {
    freeCowExtent(tx, fsbno + 12, 6)
    tx.defer(extentFree, { fsbno: geometry.fsbno(agno, agbno + 12), blockcount: 6 })
  })
  assert.deepEqual(cow(), [
    [1, 0, 12, 1],
    [1, 18, 12, 1],
  ])
  assert.deepEqual(owned(), [
    [0, 12],
    [18, 12],
  ])
  assert.throws(() => withTransaction(volume, (tx) => freeCowExtent(tx, fsbno + 12, 6)), isCorrupt)
  assert.throws(() => update(volume, 'freeCow', agno, agbno + 10, 4), isCorrupt)
  audit(volume)
  assert.equal(freeCowLeftovers(volume, agno), 24)
  assert.deepEqual(cow(), [])
  volume.sync()
  assert.equal(repairSays(device), '')
})

test('thousands of fragments held for copy-on-write: xfs_repair sees leftovers and nothing else', () => {
  const { device, volume } = open(makeImage(64, '-b', 'size=1024'))
  const quiet = repair(device).text
  const rnd = random(13)
  let held: Allocated[] = []
  for (let i = 0; i < 60; i++) {
    held.push(
      ...withTransaction(volume, (tx) =>
        Array.from({ length: 250 }, () => {
          const extent = allocExtent(tx, {
            minLength: 1,
            maxLength: 1 + rnd.int(3),
            agno: rnd.int(volume.geometry.agcount),
          })
          allocCowExtent(tx, extent.fsbno, extent.length)
          return extent
        }),
      ),
    )
  }
  const drop = held.filter(() => rnd.chance(0.5))
  for (let i = 0; i < drop.length; i += 100) {
    withTransaction(volume, (tx) => {
      for (const { fsbno, length } of drop.slice(i, i + 100)) {
        freeCowExtent(tx, fsbno, length)
        tx.defer(extentFree, { fsbno, blockcount: length })
      }
    })
  }
  held = held.filter((extent) => !drop.includes(extent))
  audit(volume)
  const levels = Agf.decode(volume.agf(0).view)
  assert.ok(levels.bnolevel > 1 && levels.cntlevel > 1 && levels.rmaplevel > 1 && levels.refcntlevel > 1)
  volume.sync()
  const { status, text } = repair(device)
  assert.equal(status, 1)
  // Sorted, because xfs_repair processes several AGs at once.
  const others = text.split('\n').filter((line) => !/^(leftover CoW extent|cow\.leftover:)/.test(line))
  assert.deepEqual(
    others.sort(),
    quiet
      .split('\n')
      .filter((line) => line !== '' || others.includes(''))
      .sort(),
  )
  let freed = 0
  for (let agno = 0; agno < volume.geometry.agcount; agno++) freed += freeCowLeftovers(volume, agno)
  assert.equal(
    freed,
    held.reduce((sum, { length }) => sum + length, 0),
  )
  audit(volume)
  volume.sync()
  assert.equal(repairSays(device), '')
})

test('sharing with owners: a file of ever smaller clones, all removed again', () => {
  const { device, volume } = open(makeImage(64, '-b', 'size=1024'))
  const LENGTH = 200
  const before = freeBlocks(audit(volume))
  const { agno, agbno, fsbno } = withTransaction(volume, (tx) => {
    const extent = allocExtent(tx, { minLength: LENGTH, maxLength: LENGTH })
    tx.defer(rmapUpdate, { op: 'map', owner: 128, fork: 'data', startoff: 0, fsbno: extent.fsbno, blockcount: LENGTH })
    return extent
  })
  const clones = Array.from({ length: 99 }, (_, i) => ({ owner: 129 + i, at: i + 1, length: LENGTH - 2 * (i + 1) }))
  const share = (op: 'map' | 'unmap', clone: (typeof clones)[number]): void =>
    withTransaction(volume, (tx) => {
      tx.defer(rmapUpdate, {
        op,
        owner: clone.owner,
        fork: 'data',
        startoff: clone.at,
        fsbno: fsbno + clone.at,
        blockcount: clone.length,
      })
      tx.defer(refcountUpdate, {
        op: op === 'map' ? 'increase' : 'decrease',
        fsbno: fsbno + clone.at,
        blockcount: clone.length,
      })
    })
  for (const clone of clones) share('map', clone)
  const counts = Uint32Array.from({ length: LENGTH }, (_, b) => 1 + Math.min(b, LENGTH - 1 - b, 99))
  assert.deepEqual(refcounts(volume, agno), canonical(counts, agbno))
  audit(volume)
  const rnd = random(3)
  while (clones.length > 0) share('unmap', clones.splice(rnd.int(clones.length), 1)[0] as (typeof clones)[number])
  assert.deepEqual(refcounts(volume, agno), [])
  withTransaction(volume, (tx) => {
    tx.defer(rmapUpdate, { op: 'unmap', owner: 128, fork: 'data', startoff: 0, fsbno, blockcount: LENGTH })
    tx.defer(refcountUpdate, { op: 'decrease', fsbno, blockcount: LENGTH })
  })
  assert.deepEqual(freeBlocks(audit(volume)), before)
  volume.sync()
  assert.equal(repairSays(device), '')
})

test('out of space in the middle of an adjustment: nothing has happened', () => {
  const { device, volume } = open(makeImage(32, '-b', 'size=1024', '-d', 'agcount=1'))
  const { agno, agbno } = field(volume, 1000)
  // Allocate everything that is left, including reservations.
  for (let length = 4096; length > 0; length = Math.floor(length / 2)) {
    try {
      for (;;)
        withTransaction(volume, (tx) => allocExtent(tx, { minLength: length, maxLength: length, reserve: 'metadata' }))
    } catch (error) {
      assert.ok(error instanceof XfsError && error.code === 'NOSPC')
    }
  }
  volume.sync()
  const image = content(device)
  let refused = 0
  for (const step of [2, 3, 5]) {
    try {
      withTransaction(volume, (tx) => {
        for (let b = 0; b < 1000; b += step) {
          tx.defer(refcountUpdate, { op: 'increase', fsbno: volume.geometry.fsbno(agno, agbno + b), blockcount: 1 })
          // The reservation is used up as well.
          for (let i = 0; i < 30; i++)
            allocExtent(tx, { minLength: 1, maxLength: 1, reserve: 'rmapbt', agno, onlyAg: true })
          tx.finishDeferred()
        }
      })
    } catch (error) {
      assert.ok(error instanceof XfsError && error.code === 'NOSPC')
      refused++
    }
    volume.sync()
    assert.ok(Buffer.from(content(device)).equals(image))
  }
  assert.equal(refused, 3)
})

test('trace points speak to those who listen', () => {
  const { volume } = open(makeImage(32))
  const { agno, agbno } = field(volume, 30)
  const points: string[] = []
  const listen = (message: unknown): void => void points.push((message as { point: string }).point)
  trace.refcount.subscribe(listen)
  try {
    update(volume, 'increase', agno, agbno, 30)
    update(volume, 'increase', agno, agbno + 10, 10)
    update(volume, 'decrease', agno, agbno + 10, 10)
    findShared(volume, volume, agno, agbno, 30)
  } finally {
    trace.refcount.unsubscribe(listen)
  }
  for (const point of ['increase', 'decrease', 'split', 'merge', 'modify', 'findShared', 'findSharedResult']) {
    assert.ok(points.includes(point), point)
  }
  const heard = points.length
  update(volume, 'decrease', agno, agbno, 5)
  assert.equal(points.length, heard)
})
