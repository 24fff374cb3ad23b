import { assert } from '../errors.ts'
import { BmdrBlock } from '../format/btblock.ts'
import { bytesAt } from '../format/fields.ts'
import type { Geometry } from '../format/geometry.ts'
import type { TreeForm } from '../format/trees.ts'
import { type BlockLayout, layoutOf } from '../format/treesizes.ts'
import { stamp } from '../format/verify/stamp.ts'
import { viewOf } from '../util/view.ts'
import type { BtreeOps, InlineBlock } from './ops.ts'
import { initBlock, setPointer, setSibling } from './path.ts'

/**
 * Build a complete tree from its sorted records, into blocks that the caller has allocated.
 *
 *   n records ─▶ leaves ─▶ their keys ─▶ nodes ─▶ … ─▶ root
 *   │████ ││████ ││███  │      │███ │      …
 *
 * Each level's entries are spread evenly over its blocks, so that none is nearly empty. The number
 * of blocks of a level depends only on its entries and the fill (`planBulk`), so the number of
 * blocks to allocate, and the right sibling of each, are known in advance. One pass over the
 * records fills all levels at once: a finished block adds its keys to the open block above it.
 * Memory: one block per level.
 *
 * By default blocks are three quarters full, so that the first changes need no splits. The blocks
 * are used in the order of allocation: the leaves from left to right, then the level above, the
 * root last.
 *
 * Source: fs/xfs/libxfs/xfs_btree_staging.c (geometry of bulk loading).
 */
export interface BulkOptions {
  /** Entries to leave free in each leaf (default: half of the maximum). */
  readonly leafSlack?: number
  readonly nodeSlack?: number
  /**
   * Exactly this number of leaves, if the records can be spread over them. For a tree that keeps
   * its blocks.
   */
  readonly leafBlocks?: number
  /** For a root in an inode fork: its maximum number of keys. */
  readonly rootMaxrecs?: number
}

/** One level: `perBlock` entries in each block, one more in the first `extra` blocks. */
interface BulkLevel {
  readonly blocks: number
  readonly perBlock: number
  readonly extra: number
}

interface BulkPlan {
  /** From the leaves up. With an inline root the last level is that root. */
  readonly levels: readonly BulkLevel[]
  /** Blocks to allocate. */
  readonly blocks: number
}

/** Writes the next record. */
export type WriteRecord = (view: DataView, at: number) => void

interface BulkTarget<Rec> extends BulkOptions {
  readonly geometry: Geometry
  /** The AG or the inode. */
  readonly owner: number
  /** The AG, for trees with short pointers. */
  readonly agno?: number
  /** The number of records. */
  readonly count: number
  /** In key order. */
  readonly records: Iterable<Rec> | WriteRecord
  /**
   * The next block for the tree. Called once for each planned block, before anything is written.
   */
  claim(): number
  /** Write a complete block with its checksum. `bytes` are reused afterwards. */
  write(ptr: number, bytes: Uint8Array): void
  /** The position of the root; with `rootMaxrecs`, which must equal its `maxrecs`. */
  readonly inline?: InlineBlock
}

interface BulkResult {
  /** −1 for an inline root. */
  readonly root: number
  readonly levels: number
  readonly blocksUsed: number
}

/** The layout of a tree of `count` records. */
export function planBulk(form: TreeForm, geometry: Geometry, count: number, options: BulkOptions = {}): BulkPlan {
  const layout = layoutOf(form, geometry)
  const leaf = fill(layout.leafMax, options.leafSlack)
  const node = fill(layout.nodeMax, options.nodeSlack)
  const levels: BulkLevel[] = []
  const { rootMaxrecs } = options
  let blocks = 0
  for (let entries = count; ; ) {
    const atLeaf = levels.length === 0
    const level =
      atLeaf && options.leafBlocks !== undefined
        ? {
            blocks: options.leafBlocks,
            perBlock: Math.floor(entries / options.leafBlocks),
            extra: entries % options.leafBlocks,
          }
        : spread(entries, atLeaf ? leaf : node, atLeaf ? layout.leafMax : layout.nodeMax)
    if (rootMaxrecs === undefined ? level.blocks === 1 : !atLeaf && entries <= rootMaxrecs) {
      levels.push({ blocks: 1, perBlock: entries, extra: 0 })
      return { levels, blocks: rootMaxrecs === undefined ? blocks + 1 : blocks }
    }
    levels.push(level)
    blocks += level.blocks
    entries = level.blocks
  }
}

/** Blocks that a tree of `count` records takes. */
export const bulkBlocks = (form: TreeForm, geometry: Geometry, count: number, options: BulkOptions = {}): number =>
  planBulk(form, geometry, count, options).blocks

const fill = (max: number, slack?: number): number => {
  const min = max >> 1
  return max - Math.min(Math.max(0, slack ?? max - ((max + min) >> 1)), max - min)
}

function spread(entries: number, desired: number, max: number): BulkLevel {
  // Rounded down, so that no block gets less than the desired number, which may be the minimum.
  let blocks = Math.max(1, Math.floor(entries / desired))
  if (entries > blocks * max) blocks++
  return { blocks, perBlock: Math.floor(entries / blocks), extra: entries % blocks }
}

/** A level that is being written. */
interface Open {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly ptrs: readonly number[]
  readonly plan: BulkLevel
  /** The start of entries and pointers, and the planned number of entries. */
  base: number
  ptrsAt: number
  block: number
  count: number
  target: number
}

/** Write a tree. @returns its root, for the caller to put in place */
export function bulkLoad<Rec, Key>(ops: BtreeOps<Rec, Key>, to: BulkTarget<Rec>): BulkResult {
  const { geometry, inline } = to
  const options = inline ? { ...to, rootMaxrecs: inline.maxrecs } : to
  const plan = planBulk(ops, geometry, to.count, options)
  const layout = layoutOf(ops, geometry)
  const claimed = Array.from({ length: plan.blocks }, () => to.claim())
  let next = 0
  const levels = plan.levels.map((level, slot): Open => {
    const root = inline !== undefined && slot === plan.levels.length - 1
    const ptrs = root ? [] : claimed.slice(next, next + level.blocks)
    next += ptrs.length
    const bytes = root ? inlineBytes(inline, layout.stride + ops.ptrSize) : new Uint8Array(geometry.blocksize)
    const view = viewOf(bytes)
    const base = root ? BmdrBlock.size : layout.header
    const ptrsAt = root ? base + inline.maxrecs * layout.stride : layout.ptrs
    return {
      bytes,
      view,
      ptrs,
      plan: level,
      base,
      ptrsAt,
      block: 0,
      count: 0,
      target: level.perBlock + (level.extra > 0 ? 1 : 0),
    }
  })
  const loader = new Loader(ops, to, layout, levels)
  loader.run()
  return {
    root: inline ? -1 : (claimed[claimed.length - 1] as number),
    levels: levels.length,
    blocksUsed: claimed.length,
  }
}

function inlineBytes({ view, at, maxrecs }: InlineBlock, entry: number): Uint8Array {
  return bytesAt(view, at, BmdrBlock.size + maxrecs * entry).fill(0)
}

class Loader<Rec, Key> {
  readonly #ops: BtreeOps<Rec, Key>
  readonly #to: BulkTarget<Rec>
  readonly #layout: BlockLayout
  readonly #levels: readonly Open[]
  /** The last record of the previous leaf, for checking the order. */
  readonly #last: DataView

  constructor(ops: BtreeOps<Rec, Key>, to: BulkTarget<Rec>, layout: BlockLayout, levels: readonly Open[]) {
    this.#ops = ops
    this.#to = to
    this.#layout = layout
    this.#levels = levels
    this.#last = new DataView(new ArrayBuffer(ops.recSize))
  }

  run(): void {
    const { count, records } = this.#to
    if (typeof records === 'function') {
      for (let i = 0; i < count; i++) this.#add(records)
    } else {
      const iterator = records[Symbol.iterator]()
      const { writeRec } = this.#ops
      const put = (view: DataView, at: number): void => {
        const result = iterator.next()
        assert(result.done !== true, 'fewer records than announced')
        writeRec(view, at, result.value)
      }
      for (let i = 0; i < count; i++) this.#add(put)
      assert(iterator.next().done === true, 'more records than announced')
    }
    if (count === 0) this.#finish(0)
  }

  #add(put: (view: DataView, at: number) => void): void {
    const leaf = this.#levels[0] as Open
    const { recSize } = this.#ops
    const at = leaf.base + leaf.count * recSize
    put(leaf.view, at)
    if (leaf.count > 0)
      assert(this.#ops.compareRecs(leaf.view, at - recSize, leaf.view, at) < 0, 'records are not in order')
    else if (leaf.block > 0) assert(this.#ops.compareRecs(this.#last, 0, leaf.view, at) < 0, 'records are not in order')
    leaf.count++
    if (leaf.count === leaf.target) {
      new Uint8Array(this.#last.buffer).set(leaf.bytes.subarray(at, at + recSize))
      this.#finish(0)
    }
  }

  /**
   * The open block of a level has all its entries: write it, add its keys to the level above, open
   * the next.
   */
  #finish(slot: number): void {
    const level = this.#levels[slot] as Open
    const ptr = level.ptrs[level.block]
    if (ptr === undefined) {
      BmdrBlock.encode(level.view, 0, { level: slot, numrecs: level.count })
      return
    }
    const { geometry, owner, agno } = this.#to
    const daddr = this.#ops.ptrSize === 4 ? geometry.daddr(agno ?? owner, ptr) : geometry.fsbToDaddr(ptr)
    initBlock(level.view, { ops: this.#ops, geometry, owner }, slot, level.count, daddr)
    setSibling(level.view, this.#ops.ptrSize, -1, level.ptrs[level.block - 1] ?? -1)
    setSibling(level.view, this.#ops.ptrSize, 1, level.ptrs[level.block + 1] ?? -1)
    stamp(this.#ops.type, level.view, { geometry, daddr })
    this.#to.write(ptr, level.bytes)
    if (slot + 1 < this.#levels.length) this.#promote(slot, level, ptr)
    level.bytes.fill(0)
    level.block++
    level.count = 0
    level.target = level.plan.perBlock + (level.block < level.plan.extra ? 1 : 0)
  }

  #promote(slot: number, child: Open, ptr: number): void {
    const { keySize, ptrSize, high, copyKey } = this.#ops
    const parent = this.#levels[slot + 1] as Open
    const at = parent.base + parent.count * this.#layout.stride
    if (slot === 0) {
      copyKey(child.view, child.base, parent.view, at)
      high?.ofRecords(child.view, child.base, child.count, this.#ops.recSize, parent.view, at + keySize)
    } else {
      parent.bytes.set(child.bytes.subarray(child.base, child.base + keySize), at)
      high?.ofKeys(child.view, child.base + keySize, child.count, this.#layout.stride, parent.view, at + keySize)
    }
    const ptrAt = parent.ptrsAt + parent.count * ptrSize
    setPointer(parent.view, ptrAt, ptrSize, ptr)
    parent.count++
    if (parent.count === parent.target) this.#finish(slot + 1)
  }
}
