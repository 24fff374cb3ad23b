import type { Buf } from '../buffer/buf.ts'
import { assert, XfsError } from '../errors.ts'
import { NULLAGBLOCK } from '../format/ag.ts'
import { BmdrBlock, LongBlock, ShortBlock } from '../format/btblock.ts'
import { get64, set64 } from '../format/fields.ts'
import type { Field } from '../format/struct.ts'
import { btrees } from '../format/trees.ts'
import { type BlockLayout, layoutOf, maxLevels } from '../format/treesizes.ts'
import { Transaction } from '../tx/transaction.ts'
import type { Btree, BtreeOps } from './ops.ts'

/**
 * The blocks from the root to a leaf, each with the index of the entry that the path uses.
 *
 * Blocks are reached from their parents only. Sibling links are compared with the parents'
 * pointers, and keys must ascend from block to block, so corrupt pointers cannot make a path loop.
 * `level`, `numrecs` and the pointers are checked on every arrival, because a valid block may be in
 * the wrong place. The cache has verified the rest.
 */

/**
 * Both kinds of header begin the same way. An inline root begins with the level: its `base` is
 * before its first byte.
 */
const { level: levelField, numrecs } = ShortBlock.fields
const INLINE_SHIFT = levelField.offset
const INLINE_HEADER = INLINE_SHIFT + BmdrBlock.size

type PtrSize = 4 | 8

/** The pointer at `at` of a node. */
export const getPointer = (view: DataView, at: number, size: PtrSize): number =>
  size === 4 ? view.getUint32(at) : get64(view, at)

export function setPointer(view: DataView, at: number, size: PtrSize, ptr: number): void {
  if (size === 4) view.setUint32(at, ptr)
  else set64(view, at, ptr)
}

function siblingField(size: PtrSize, direction: 1 | -1): Field<number> {
  const { leftsib, rightsib } = size === 4 ? ShortBlock.fields : LongBlock.fields
  return direction < 0 ? leftsib : rightsib
}

/** The sibling in the block at `at`; −1 for none. */
export function getSibling(view: DataView, at: number, size: PtrSize, direction: 1 | -1): number {
  const ptr = siblingField(size, direction).get(view, at)
  return ptr === NULLAGBLOCK && size === 4 ? -1 : ptr
}

/** −1 for none: then all bits are set, in both sizes. */
export const setSibling = (view: DataView, size: PtrSize, direction: 1 | -1, ptr: number): void =>
  siblingField(size, direction).set(view, 0, ptr)

/** One block of a path. */
export interface Level {
  /** −1 for an inline root. */
  ptr: number
  /** Undefined for an inline root. */
  buf: Buf | undefined
  view: DataView
  /** The start of the block in `view`. */
  base: number
  header: number
  max: number
  /** The start of the pointers, from `base`. */
  ptrs: number
  /**
   * The entry that the path uses. In a leaf also a position before, between or after records.
   */
  index: number
}

const NO_VIEW = new DataView(new ArrayBuffer(0))
const emptyLevel = (): Level => ({
  ptr: -1,
  buf: undefined,
  view: NO_VIEW,
  base: 0,
  header: 0,
  max: 0,
  ptrs: 0,
  index: 0,
})

export const countOf = (level: Level): number => numrecs.get(level.view, level.base)
export const setLevel = (level: Level, height: number): void => levelField.set(level.view, level.base, height)
export const setCount = (level: Level, count: number): void => numrecs.set(level.view, level.base, count)

export class Path<Rec, Key> {
  readonly tree: Btree<Rec, Key>
  readonly ops: BtreeOps<Rec, Key>
  readonly layout: BlockLayout
  readonly tx: Transaction | undefined
  /** From the leaf up. */
  levels: Level[] = []

  constructor(tree: Btree<Rec, Key>, layout: BlockLayout = layoutOf(tree.ops, tree.geometry)) {
    this.tree = tree
    this.ops = tree.ops
    this.layout = layout
    this.tx = tree.reader instanceof Transaction ? tree.reader : undefined
  }

  get height(): number {
    return this.levels.length
  }

  at(slot: number): Level {
    return this.levels[slot] as Level
  }

  /** Begin at the root. The levels below it are not read yet. */
  start(): void {
    const { root } = this.tree
    if (root.inline) {
      const { view, at, maxrecs } = root.block()
      const base = at - INLINE_SHIFT
      const height = BmdrBlock.fields.level.get(view, at) + 1
      const count = BmdrBlock.fields.numrecs.get(view, at)
      if (height < 2 || height > maxLevels(this.tree.geometry, this.ops.name) || count < 1 || count > maxrecs) {
        throw new XfsError(
          'CORRUPT',
          `${root.origin}: bad btree root: level ${height - 1}, ${count} keys, maximum ${maxrecs}`,
          this.where(),
        )
      }
      this.setHeight(height)
      const level = this.at(height - 1)
      level.ptr = -1
      level.buf = undefined
      level.view = view
      level.base = base
      level.header = INLINE_HEADER
      level.max = maxrecs
      level.ptrs = INLINE_HEADER + maxrecs * this.layout.stride
      level.index = 0
      return
    }
    const { ptr, levels } = root.get()
    if (levels < 1 || levels > maxLevels(this.tree.geometry, this.ops.name)) {
      throw new XfsError(
        'CORRUPT',
        `${this.ops.name}${this.of()}: height ${levels} in ${root.origin} is out of range`,
        this.where(),
      )
    }
    this.setHeight(levels)
    this.load(levels - 1, ptr, root.origin)
  }

  private setHeight(height: number): void {
    while (this.levels.length < height) this.levels.push(emptyLevel())
    // Setting a length is slow even if it does not change.
    if (this.levels.length > height) this.levels.length = height
  }

  /** Put block `ptr` at `slot`, index 0. `from` names the source of the pointer. */
  load(slot: number, ptr: number, from?: string): Level {
    const level = this.at(slot)
    const buf = this.readBlock(ptr, slot, from)
    level.ptr = ptr
    level.buf = buf
    level.view = buf.view
    level.base = 0
    level.header = this.layout.header
    level.max = slot === 0 ? this.layout.leafMax : this.layout.nodeMax
    level.ptrs = this.layout.ptrs
    level.index = 0
    return level
  }

  /** The block at `ptr`, which must belong to this tree at `slot`. */
  readBlock(ptr: number, slot: number, from?: string): Buf {
    const { tree, ops } = this
    const buf = tree.reader.read(ops.type, this.daddr(ptr, slot, from), tree.geometry.blocksize)
    this.checkBlock(buf.view, ptr, slot, from)
    return buf
  }

  /** Check level, count and owner of a verified block. */
  checkBlock(view: DataView, ptr: number, slot: number, from?: string): void {
    const { tree, ops } = this
    const found = levelField.get(view, 0)
    const count = numrecs.get(view, 0)
    if (found !== slot) {
      const isRoot = slot === this.height - 1
      throw this.corrupt(
        ptr,
        isRoot ? `level ${found}, but the height in ${from} is ${this.height}` : `level ${found}, expected ${slot}`,
      )
    }
    const max = slot === 0 ? this.layout.leafMax : this.layout.nodeMax
    if (count > max) throw this.corrupt(ptr, `numrecs ${count} exceeds maximum ${max}`)
    if (count === 0 && !this.mayBeEmpty(slot)) throw this.corrupt(ptr, 'no records')
    if (ops.ptrSize === 8 && tree.geometry.features.version === 5) {
      const owner = LongBlock.fields.owner.get(view, 0)
      if (owner !== tree.owner) throw this.corrupt(ptr, `belongs to inode ${owner}, not ${tree.owner}`)
    }
  }

  /** A leaf that is the only block of the tree, or the only one below an inline root. */
  private mayBeEmpty(slot: number): boolean {
    return slot === 0 && (this.height === 1 || (this.height === 2 && this.tree.root.inline === true))
  }

  daddr(ptr: number, slot: number, from?: string): number {
    const { geometry, agno } = this.tree
    const valid = this.ops.ptrSize === 4 ? geometry.validAgbno(agno, ptr) : geometry.validFsbnoRange(ptr, 1)
    if (!valid) {
      const what = from ?? this.place(this.levels[slot + 1]?.ptr ?? -1)
      throw new XfsError(
        'CORRUPT',
        `${this.ops.name}${this.of()}: ${what} points to block ${ptr}, which does not exist`,
        this.where(),
      )
    }
    return this.ops.ptrSize === 4 ? geometry.daddr(agno, ptr) : geometry.fsbToDaddr(ptr)
  }

  // ------------------------------------------------------------------------------------ in a block

  recAt(level: Level, index: number): number {
    return level.base + level.header + index * this.ops.recSize
  }

  keyAt(level: Level, index: number): number {
    return level.base + level.header + index * this.layout.stride
  }

  ptrAt(level: Level, index: number): number {
    return level.base + level.ptrs + index * this.ops.ptrSize
  }

  getPtr(level: Level, index: number): number {
    return getPointer(level.view, this.ptrAt(level, index), this.ops.ptrSize)
  }

  setPtr(level: Level, index: number, ptr: number): void {
    setPointer(level.view, this.ptrAt(level, index), this.ops.ptrSize, ptr)
  }

  /** The sibling in the header; −1 for none. */
  sibling(level: Level, direction: 1 | -1): number {
    return level.buf === undefined ? -1 : this.siblingOf(level.view, direction)
  }

  siblingOf(view: DataView, direction: 1 | -1): number {
    return getSibling(view, 0, this.ops.ptrSize, direction)
  }

  setSibling(view: DataView, direction: 1 | -1, ptr: number): void {
    setSibling(view, this.ops.ptrSize, direction, ptr)
  }

  /**
   * The number of entries of the block that are not above `key`. The last of them is the one to
   * follow.
   */
  search(slot: number, key: Key): number {
    const { ops } = this
    const level = this.at(slot)
    const { view } = level
    const first = level.base + level.header
    let low = 0
    let high = countOf(level)
    if (slot === 0) {
      while (low < high) {
        const middle = (low + high) >>> 1
        if (ops.compareRec(view, first + middle * ops.recSize, key) <= 0) low = middle + 1
        else high = middle
      }
    } else {
      const { stride } = this.layout
      while (low < high) {
        const middle = (low + high) >>> 1
        if (ops.compareKey(view, first + middle * stride, key) <= 0) low = middle + 1
        else high = middle
      }
    }
    return low
  }

  // ------------------------------------------------------------------------------------ moving

  /**
   * Descend to the leaf for `key`. The leaf's index is the number of its records that are not above
   * it.
   */
  descend(key: Key): Level {
    this.start()
    for (let slot = this.height - 1; slot > 0; slot--) {
      const level = this.at(slot)
      level.index = Math.max(0, this.search(slot, key) - 1)
      this.load(slot - 1, this.getPtr(level, level.index))
    }
    const leaf = this.at(0)
    leaf.index = this.search(0, key)
    return leaf
  }

  /** Descend along one edge of the tree, to the first or the last record. */
  edge(last: boolean): Level {
    this.start()
    for (let slot = this.height - 1; slot > 0; slot--) {
      const level = this.at(slot)
      level.index = last ? countOf(level) - 1 : 0
      this.load(slot - 1, this.getPtr(level, level.index))
    }
    const leaf = this.at(0)
    leaf.index = last ? countOf(leaf) - 1 : 0
    return leaf
  }

  /**
   * Move to the adjacent entry at `slot`, in the same block or the next one on that level. The
   * levels below are not updated. Returns false at the end of the tree: then nothing has moved.
   */
  step(slot: number, direction: 1 | -1): boolean {
    const level = this.at(slot)
    const index = level.index + direction
    if (index >= 0 && index < countOf(level)) {
      level.index = index
      return true
    }
    return this.cross(slot, direction)
  }

  /** Move to the neighbour block at `slot`, its nearest entry. */
  cross(slot: number, direction: 1 | -1): boolean {
    const level = this.at(slot)
    const named = this.sibling(level, direction)
    if (slot + 1 >= this.height || !this.step(slot + 1, direction)) {
      if (named !== -1)
        throw this.corrupt(level.ptr, `has a ${side(direction)} sibling ${named} at the end of its level`)
      return false
    }
    const parent = this.at(slot + 1)
    const ptr = this.getPtr(parent, parent.index)
    if (ptr !== named)
      throw this.corrupt(level.ptr, `its ${side(direction)} sibling is ${named}, the node above has ${ptr}`)
    const from = level.ptr
    const { view } = level
    const count = countOf(level)
    const last = direction > 0 ? count - 1 : 0
    const edge = slot === 0 ? this.recAt(level, last) : this.keyAt(level, last)
    this.load(slot, ptr)
    const back = this.sibling(level, direction > 0 ? -1 : 1)
    if (back !== from)
      throw this.corrupt(ptr, `its ${direction > 0 ? 'left' : 'right'} sibling is ${back}, expected ${from}`)
    level.index = direction > 0 ? 0 : countOf(level) - 1
    // A leaf whose last record was just deleted has no key to compare.
    if (count > 0 && this.order(slot, view, edge, level) * direction >= 0) {
      throw this.corrupt(ptr, 'its keys are out of order with those of its neighbour')
    }
    return true
  }

  private order(slot: number, view: DataView, edge: number, level: Level): number {
    if (slot === 0) return this.ops.compareRecs(view, edge, level.view, this.recAt(level, level.index))
    const key = this.ops.readKey(level.view, this.keyAt(level, level.index))
    return this.ops.compareKey(view, edge, key)
  }

  /** A path to the neighbour of the block at `slot`, without the levels below. */
  neighbor(slot: number, direction: 1 | -1): Path<Rec, Key> | undefined {
    const other = new Path(this.tree, this.layout)
    other.levels = this.levels.map((level) => ({ ...level }))
    return other.cross(slot, direction) ? other : undefined
  }

  // -------------------------------------------------------------------------------------- changing

  writer(): Transaction {
    assert(this.tx !== undefined, `change of a read-only ${this.ops.name}`)
    return this.tx
  }

  edit(level: Level): void {
    const tx = this.writer()
    if (level.buf) tx.edit(level.buf)
    else if (this.tree.root.inline) this.tree.root.edit(tx)
  }

  /** A new block for `slot`, with its header and without records. */
  create(slot: number, near: number): Level {
    const tx = this.writer()
    const { tree, ops, layout } = this
    assert(tree.space !== undefined, `block allocation for a read-only ${ops.name}`)
    const ptr = tree.space.alloc(tx, near)
    const daddr = this.daddr(ptr, slot, 'the allocator')
    const buf = tx.create(ops.type, daddr, tree.geometry.blocksize)
    initBlock(buf.view, tree, slot, 0, daddr)
    return {
      ptr,
      buf,
      view: buf.view,
      base: 0,
      header: layout.header,
      max: slot === 0 ? layout.leafMax : layout.nodeMax,
      ptrs: layout.ptrs,
      index: 0,
    }
  }

  /** Remove the block from the tree. */
  release(level: Level): void {
    const tx = this.writer()
    assert(this.tree.space !== undefined, `block freed from a read-only ${this.ops.name}`)
    if (level.buf) tx.invalidate(level.buf.daddr)
    this.tree.space.free(tx, level.ptr)
  }

  // -------------------------------------------------------------------------------------- messages

  private where(ptr?: number): XfsError['where'] {
    const { agno, owner, geometry } = this.tree
    if (this.ops.ptrSize === 8) return { type: this.ops.name, ino: owner }
    return { type: this.ops.name, agno, ...(ptr === undefined ? {} : { agbno: ptr, daddr: geometry.daddr(agno, ptr) }) }
  }

  private of(): string {
    return this.ops.ptrSize === 4 ? ` of AG ${this.tree.agno}` : ` of inode ${this.tree.owner}`
  }

  /** `block 1/73` */
  place(ptr: number): string {
    const { geometry, agno, root } = this.tree
    if (ptr === -1) return root.inline ? root.origin : 'the root'
    return this.ops.ptrSize === 4 ? `block ${agno}/${ptr}` : `block ${geometry.agnoOf(ptr)}/${geometry.agbnoOf(ptr)}`
  }

  corrupt(ptr: number, message: string): XfsError {
    const inode = this.ops.ptrSize === 8 ? this.of() : ''
    return new XfsError('CORRUPT', `${this.ops.name} ${this.place(ptr)}${inode}: ${message}`, this.where(ptr))
  }
}

const side = (direction: 1 | -1): string => (direction < 0 ? 'left' : 'right')

/** Fill in the header of a zeroed block. */
export function initBlock<Rec, Key>(
  view: DataView,
  tree: Pick<Btree<Rec, Key>, 'ops' | 'geometry' | 'owner'>,
  level: number,
  count: number,
  daddr: number,
): void {
  const { ops, geometry, owner } = tree
  const common = { magic: btrees[ops.name].magic, level, numrecs: count, bno: daddr, uuid: geometry.metaUuid, owner }
  if (ops.ptrSize === 4) ShortBlock.encode(view, 0, { ...common, leftsib: NULLAGBLOCK, rightsib: NULLAGBLOCK })
  else LongBlock.encode(view, 0, { ...common, leftsib: -1, rightsib: -1 })
}
