import assert from 'node:assert/strict'
import type { BlockRoot, Btree, BtreeOps, InlineRoot, Root, Space } from '../../src/btree/ops.ts'
import { initBlock } from '../../src/btree/path.ts'
import { bmbt } from '../../src/btree/trees/bmbt.ts'
import { bnobt } from '../../src/btree/trees/bnobt.ts'
import { cntbt } from '../../src/btree/trees/cntbt.ts'
import { finobt } from '../../src/btree/trees/finobt.ts'
import { inobt } from '../../src/btree/trees/inobt.ts'
import { refcountbt } from '../../src/btree/trees/refcountbt.ts'
import { rmapbt } from '../../src/btree/trees/rmapbt.ts'
import { type TreeFault, walkTree } from '../../src/btree/walk.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { XfsError } from '../../src/errors.ts'
import type { InobtRec } from '../../src/format/btrecs.ts'
import type { Geometry } from '../../src/format/geometry.ts'
import { type Transaction, withTransaction } from '../../src/tx/transaction.ts'
import { type BlockReader, Volume } from '../../src/volume.ts'
import type { Random } from '../support/random.ts'
import { stampSuperblock } from './superblock.ts'

/** A volume in memory with only a superblock: blocks in which trees can be built. */
export function testVolume(blocksize = 1024, agblocks = 2 ** 20): Volume {
  const device = memoryDevice(agblocks * blocksize)
  device.write(stampSuperblock(blocksize, agblocks), 0)
  return Volume.open(device, { write: true })
}

/** Blocks from a list: freed blocks are used again, and no block is returned twice. */
export class TestSpace implements Space {
  used = new Set<number>()
  /** The first block that is not available. */
  limit = 2 ** 31
  #free: number[] = []
  #next: number

  constructor(first: number) {
    this.#next = first
  }

  /** Restore the state in which `used` was in use, after a transaction was cancelled. */
  reset(used: Set<number>): void {
    this.used = new Set(used)
    this.#free = []
    this.#next = Math.max(this.#next, ...used) + 1
  }

  clearFree(): void {
    this.#free = []
  }

  alloc(): number {
    const ptr = this.#free.pop() ?? this.#next++
    if (ptr >= this.limit) throw new XfsError('NOSPC', 'no blocks left')
    this.used.add(ptr)
    return ptr
  }

  free(_tx: Transaction, ptr: number): void {
    if (!this.used.delete(ptr)) throw new Error(`block ${ptr} is freed, but was not in use`)
    this.#free.push(ptr)
  }
}

export interface TestTree<Rec, Key> {
  readonly volume: Volume
  readonly space: TestSpace
  readonly root: Root
  /** The tree as seen by `reader`. */
  on(reader?: BlockReader): Btree<Rec, Key>
}

export const OWNER_INODE = 4242

/**
 * An empty tree. The root of a bmbt is inline with space for `rootMax` keys, above an empty leaf.
 */
export function testTree<Rec, Key>(volume: Volume, ops: BtreeOps<Rec, Key>, rootMax = 3): TestTree<Rec, Key> {
  const space = new TestSpace(100)
  const inline = ops.ptrSize === 8
  const owner = inline ? OWNER_INODE : 0
  const { geometry } = volume
  const ptr = space.alloc()
  withTransaction(volume, (tx) => {
    const daddr = geometry.daddr(0, ptr)
    initBlock(tx.create(ops.type, daddr, geometry.blocksize).view, { ops, geometry, owner }, 0, 0, daddr)
  })
  const root = inline ? inlineRoot(rootMax, ops.keySize, ptr) : stagedRoot(ptr, 1)
  return {
    volume,
    space,
    root,
    on: (reader = volume) => ({ ops, geometry, agno: inline ? -1 : 0, owner, root, space, reader }),
  }
}

function inlineRoot(rootMax: number, keySize: number, ptr: number): InlineRoot {
  const root = stagedInlineRoot(rootMax, keySize)
  const { view } = root.block()
  view.setUint16(0, 1)
  view.setUint16(2, 1)
  view.setUint32(4 + rootMax * keySize + 4, ptr)
  return root
}

/**
 * How to make records of a tree for tests. `key` determines the order; `again` makes another record
 * of the same key.
 */
export interface TreeCase<Rec, Key> {
  readonly ops: BtreeOps<Rec, Key>
  make(random: Random, geometry: Geometry): Rec
  again(rec: Rec, random: Random, geometry: Geometry): Rec
}

const extent = (random: Random, geometry: Geometry) => ({
  startblock: geometry.headerBlocks + random.int(geometry.agblocks - 100),
  blockcount: 1 + random.int(50),
})

function chunk(random: Random): InobtRec {
  const free = { hi: random.int(2 ** 32), lo: random.int(2 ** 32) | 1 }
  const freecount = [...free.hi.toString(2), ...(free.lo >>> 0).toString(2)].filter((digit) => digit === '1').length
  return {
    startino: 128 + 64 * random.int(2 ** 14),
    holemask: 0,
    count: 64,
    freecount,
    free: { hi: free.hi, lo: free.lo >>> 0 },
  }
}

const bnoCase: TreeCase<{ startblock: number; blockcount: number }, number> = {
  ops: bnobt,
  make: extent,
  again: (rec, random) => ({ ...rec, blockcount: 1 + random.int(50) }),
}
const cntCase: TreeCase<{ startblock: number; blockcount: number }, { startblock: number; blockcount: number }> = {
  ops: cntbt,
  make: extent,
  again: (rec) => rec,
}
const inoCase: TreeCase<InobtRec, number> = {
  ops: inobt,
  make: chunk,
  again: (rec, random) => ({ ...chunk(random), startino: rec.startino }),
}
const finoCase: TreeCase<InobtRec, number> = { ...inoCase, ops: finobt }

type RmapRec = ReturnType<typeof rmapbt.readRec>
export const rmapCase: TreeCase<RmapRec, Parameters<typeof rmapbt.compare>[0]> = {
  ops: rmapbt,
  make: (random, geometry) => {
    const special = random.chance(0.3)
    const bmbtblock = !special && random.chance(0.1) ? 1 : 0
    const attrfork = !special && random.chance(0.2) ? 1 : 0
    return {
      startblock: geometry.headerBlocks + random.int(random.chance(0.5) ? 500 : geometry.agblocks - 3000),
      blockcount: 1 + random.int(random.chance(0.05) ? 2000 : 20),
      owner: special ? -4 - random.int(6) : geometry.ino(0, geometry.agbnoToAgino(200) + random.int(5000)),
      attrfork,
      bmbtblock,
      extentflag: !special && bmbtblock === 0 && attrfork === 0 && random.chance(0.3) ? 1 : 0,
      offset: special || bmbtblock === 1 ? 0 : random.int(random.chance(0.1) ? 2 ** 50 : 1000),
    }
  },
  again: (rec, random) => ({
    ...rec,
    blockcount: 1 + random.int(40),
    extentflag: rec.owner > 0 && rec.bmbtblock === 0 && rec.attrfork === 0 ? 1 - rec.extentflag : 0,
  }),
}

type RefcountRec = ReturnType<typeof refcountbt.readRec>
const refcountCase: TreeCase<RefcountRec, number> = {
  ops: refcountbt,
  make: (random, geometry) => {
    const cowflag = random.int(2)
    return { ...extent(random, geometry), cowflag, refcount: cowflag === 1 ? 1 : 2 + random.int(100) }
  },
  again: (rec, random) => ({
    ...rec,
    blockcount: 1 + random.int(50),
    refcount: rec.cowflag === 1 ? 1 : 2 + random.int(100),
  }),
}

type BmbtRec = ReturnType<typeof bmbt.readRec>
const bmbtCase: TreeCase<BmbtRec, number> = {
  ops: bmbt,
  make: (random, geometry) => ({
    ...extent(random, geometry),
    extentflag: random.int(2),
    startoff: random.int(random.chance(0.1) ? 2 ** 53 : 100000),
  }),
  again: (rec, random, geometry) => ({
    ...extent(random, geometry),
    extentflag: random.int(2),
    startoff: rec.startoff,
  }),
}

/** All seven cases. The types of their records differ, so tests handle records as unknown. */
export const treeCases = [bnoCase, cntCase, inoCase, finoCase, rmapCase, refcountCase, bmbtCase] as unknown as TreeCase<
  object,
  object
>[]

/**
 * The same tree with larger records and keys. Few of them fit into a block, so a few thousand
 * records make a high tree. The bytes between are zero.
 */
export function inflated<Rec, Key>(treeCase: TreeCase<Rec, Key>, perBlock: number): TreeCase<Rec, Key> {
  const { ops } = treeCase
  const space = 1024 - (ops.ptrSize === 4 ? 56 : 72)
  const stride = Math.floor(space / perBlock) - ops.ptrSize
  const keySize = ops.overlapping ? (stride >> 3) * 4 : (stride >> 2) * 4
  const keyStride = keySize * (ops.overlapping ? 2 : 1)
  return { ...treeCase, ops: { ...ops, recSize: Math.floor(space / perBlock), keySize, keyStride } }
}

/** The index of the first record that is not below `key`. */
export function lowerBound<Rec, Key>(ops: BtreeOps<Rec, Key>, sorted: readonly Rec[], key: Key): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ops.compare(ops.lowKey(sorted[middle] as Rec), key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

export interface FoundFault {
  readonly fault: TreeFault
  readonly message: string
}

/** The faults of a tree on its device. */
export function faults<Rec, Key>(tree: Btree<Rec, Key>): FoundFault[] {
  const found: FoundFault[] = []
  const visitor = {
    fault: (message: string, fault: TreeFault) => void found.push({ fault, message }),
  }
  walkTree(deviceOf(tree), tree, visitor, { fill: true })
  return found
}

/** The blocks of a tree level by level, without an inline root; and all its records. */
export function contents<Rec, Key>(
  tree: Btree<Rec, Key>,
): { blocks: { ptr: number; level: number; count: number }[]; recs: Rec[] } {
  const { ops } = tree
  const blocks: { ptr: number; level: number; count: number }[] = []
  const recs: Rec[] = []
  walkTree(deviceOf(tree), tree, {
    block: (ptr, level, count) => void blocks.push({ ptr, level, count }),
    leaf: (view, at, count) => {
      for (let i = 0; i < count; i++) recs.push(ops.readRec(view, at + i * ops.recSize))
    },
    fault: () => {},
  })
  return { blocks, recs }
}

function deviceOf<Rec, Key>({ reader }: Btree<Rec, Key>): Volume['device'] {
  if (!(reader instanceof Volume)) throw new Error('a tree that is read in a transaction')
  reader.sync()
  return reader.device
}

/** A root in memory, for a tree that is being built or that only a test uses. */
export function stagedRoot(ptr: number, levels: number): BlockRoot {
  let now = { levels, ptr }
  return {
    origin: 'the staged root',
    get: () => now,
    set: (_tx, ptr, levels) => {
      now = { levels, ptr }
    },
  }
}

/**
 * An inline root in memory, with space for `maxrecs` keys and no content. The caller or `bulkLoad`
 * fills it.
 */
export function stagedInlineRoot(maxrecs: number, keySize = 8, ptrSize = 8): InlineRoot {
  assert(maxrecs > 0, 'an inline root without room')
  const view = new DataView(new ArrayBuffer(4 + maxrecs * (keySize + ptrSize)))
  const block = { view, at: 0, maxrecs }
  return { inline: true, origin: 'the staged root', block: () => block, edit: () => {} }
}
