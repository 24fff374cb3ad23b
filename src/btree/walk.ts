import type { Buf } from '../buffer/buf.ts'
import { XfsError } from '../errors.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import { get64 } from '../format/struct.ts'
import { type Fault, maxLevels, verify } from '../format/verify.ts'
import { Transaction } from '../tx/transaction.ts'
import type { BlockReader, Volume } from '../volume.ts'
import type { Btree } from './ops.ts'
import { countOf, type Level, Path } from './path.ts'

/**
 * Every block of a tree, and what is wrong with it: for check, dump and repair. Nothing here throws because of the tree's bytes:
 * what a cursor would stop at is a value here, and the walk goes on with what can still be trusted.
 *
 *   root ─▶ child ─▶ leaf, leaf, … ─▶ child ─▶ …     (preorder; each block once, a set of those seen)
 *
 * Each block is held against its header (verify, level, count, owner), against the keys that its parent claims for it, and against
 * the block that was last seen on its level (sibling links, order of keys). A block that cannot be one of this tree's at this place
 * is not entered, and what is beside it cannot be held against it.
 *
 * Leaves are the bulk of a tree. Unless the cache has them already, they are read past it, into one buffer.
 */
export type TreeFaultKind =
  | 'root' // the root's height or pointer cannot be
  | 'pointer' // leads to a block that does not exist
  | 'twice' // leads to a block that was seen before
  | 'block' // is not a block of such a tree (magic number, UUID, address, …)
  | 'crc' // wrong checksum; the block was used all the same
  | 'level'
  | 'owner'
  | 'count' // more records than there is room for, or none
  | 'fill' // less than half full
  | 'sibling'
  | 'order' // keys do not grow
  | 'key' // the parent's low key is not that of the block
  | 'highkey' // nor its high key
  | 'record' // a record that cannot be (with `checkRecords`)

export interface TreeFault {
  readonly kind: 'fault'
  readonly fault: TreeFaultKind
  /** The block that it is about; −1 for an inline root. */
  readonly ptr: number
  readonly level: number
  /** The entry, where it is about one. */
  readonly index?: number
  /** With the place: "bnobt block 1/73: level 3, but the AGF says height 2". */
  readonly message: string
}

export interface TreeBlock {
  readonly kind: 'block'
  /** agbno or fsbno; −1 for an inline root. */
  readonly ptr: number
  readonly level: number
  readonly count: number
  /** The entries begin at `at`: records at a leaf, keys above it. Valid until the walk goes on. */
  readonly view: DataView
  readonly at: number
  /** From the root to the parent: blocks and entries that led here. */
  readonly path: readonly { readonly ptr: number; readonly index: number }[]
}

export interface WalkOptions {
  /** Look at every record (`ops.check`). */
  readonly checkRecords?: boolean
}

/** All blocks of a tree and the faults in them; the faults of a block follow it. */
export function* walk<Rec, Key>(tree: Btree<Rec, Key>, options: WalkOptions = {}): Generator<TreeBlock | TreeFault> {
  const walker = new Walker(tree, options)
  if (!walker.begin()) {
    yield* walker.take()
    return
  }
  for (;;) {
    const { block } = walker
    if (block) yield block
    yield* walker.take()
    if (!walker.advance()) break
  }
  yield* walker.take()
}

/** All faults of a tree. */
export function faults<Rec, Key>(tree: Btree<Rec, Key>, options: WalkOptions = { checkRecords: true }): TreeFault[] {
  const found: TreeFault[] = []
  for (const item of walk(tree, options)) if (item.kind === 'fault') found.push(item)
  return found
}

/** The block that was last seen on a level: what the next one is held against. */
interface Last<Key> {
  ptr: number
  right: number
  key: Key | undefined
}

class Walker<Rec, Key> {
  block: TreeBlock | undefined
  readonly #path: Path<Rec, Key>
  readonly #read: (ptr: number, daddr: number, leaf: boolean) => { view: DataView; fault?: Fault }
  readonly #options: WalkOptions
  readonly #seen = new Set<number>()
  /** By level; undefined: nothing known. */
  readonly #last: (Last<Key> | undefined)[] = []
  /** Levels on which no block was seen yet. */
  readonly #fresh: boolean[] = []
  #faults: TreeFault[] = []
  #slot = 0

  constructor(tree: Btree<Rec, Key>, options: WalkOptions) {
    this.#path = new Path(tree)
    this.#read = reader(tree)
    this.#options = options
  }

  /** The faults found since the last call. */
  take(): TreeFault[] {
    const found = this.#faults
    this.#faults = []
    return found
  }

  #fault(fault: TreeFaultKind, ptr: number, level: number, message: string, index?: number): void {
    const text = this.#path.corrupt(ptr, message).message
    this.#faults.push({ kind: 'fault', fault, ptr, level, message: text, ...(index === undefined ? {} : { index }) })
  }

  begin(): boolean {
    const { tree, ops } = this.#path
    const { root, geometry } = tree
    if (root.inline) {
      try {
        this.#path.start()
      } catch (error) {
        if (!(error instanceof XfsError)) throw error
        this.#faults.push({ kind: 'fault', fault: 'root', ptr: -1, level: 0, message: error.message })
        return false
      }
      this.#begun(this.#path.height)
      this.#arrive(this.#slot)
      return true
    }
    const { ptr, levels } = root.get()
    if (levels < 1 || levels > maxLevels(geometry, ops.name)) {
      const message = `${ops.name} of group ${tree.agno}: ${root.origin} says height ${levels}`
      this.#faults.push({ kind: 'fault', fault: 'root', ptr, level: 0, message })
      return false
    }
    this.#path.levels = Array.from({ length: levels }, () => blankLevel())
    this.#begun(levels)
    if (this.#enter(this.#slot, ptr)) return true
    this.block = undefined
    return false
  }

  #begun(height: number): void {
    this.#slot = height - 1
    for (let level = 0; level < height; level++) this.#fresh[level] = true
  }

  /** On to the next block that can be entered. False at the end. */
  advance(): boolean {
    const path = this.#path
    this.block = undefined
    for (;;) {
      const level = path.at(this.#slot)
      if (this.#slot > 0 && level.index < countOf(level)) {
        const ptr = path.getPtr(level, level.index)
        const entered = this.#enter(this.#slot - 1, ptr)
        if (!entered) {
          this.#forget(this.#slot - 1)
          level.index++
          if (this.#faults.length > 0) return true
          continue
        }
        this.#slot--
        return true
      }
      if (this.#slot === path.height - 1) {
        this.#end()
        return false
      }
      this.#slot++
      path.at(this.#slot).index++
    }
  }

  /** What stands below an entry that was not entered is unknown: nothing can be held against it. */
  #forget(level: number): void {
    for (let l = level; l >= 0; l--) {
      this.#last[l] = undefined
      this.#fresh[l] = false
    }
  }

  /** The last block of each level has no right neighbour. */
  #end(): void {
    for (let level = 0; level < this.#path.height; level++) {
      const last = this.#last[level]
      if (last && last.right !== -1)
        this.#fault('sibling', last.ptr, level, `has a right sibling ${last.right} at the end of its level`)
    }
  }

  /** Read block `ptr` as the one at `slot`. False: it cannot be that. */
  #enter(slot: number, ptr: number): boolean {
    const { tree, ops, layout } = this.#path
    const { geometry } = tree
    const parent = this.#path.levels[slot + 1]
    const from = parent ? parent.ptr : -1
    const say = (fault: TreeFaultKind, message: string): false => {
      this.#fault(fault, ptr, slot, message)
      return false
    }
    if (!(ops.ptrSize === 4 ? geometry.validAgbno(tree.agno, ptr) : geometry.validFsbnoRange(ptr, 1))) {
      if (parent) this.#fault('pointer', from, slot + 1, `points at block ${ptr}, which does not exist`, parent.index)
      else say('pointer', `${tree.root.inline ? '' : tree.root.origin} points at it, but it does not exist`)
      return false
    }
    if (this.#seen.has(ptr))
      return say('twice', parent ? `${this.#path.place(from)} points at it, but the tree has it already` : 'twice')
    this.#seen.add(ptr)
    const daddr = ops.ptrSize === 4 ? geometry.daddr(tree.agno, ptr) : geometry.fsbToDaddr(ptr)
    const { view, fault } = this.#read(ptr, daddr, slot === 0)
    if (fault && fault.crc !== true) return say('block', fault.message)
    if (fault) say('crc', fault.message)
    const found = view.getUint16(4)
    if (found !== slot) {
      const expected =
        parent || tree.root.inline ? `expected ${slot}` : `but ${tree.root.origin} says height ${slot + 1}`
      return say('level', `level ${found}, ${expected}`)
    }
    const level = this.#path.at(slot)
    level.ptr = ptr
    level.view = view
    level.base = 0
    level.header = layout.header
    level.max = slot === 0 ? layout.leafMax : layout.nodeMax
    level.ptrs = layout.ptrs
    level.index = 0
    // Any buffer will do: it tells the path that this is no inline root.
    level.buf = NO_BUF
    const count = countOf(level)
    if (count > level.max) return say('count', `${count} records, there is room for ${level.max}`)
    if (ops.ptrSize === 8 && geometry.features.version === 5) {
      const owner = get64(view, 56)
      if (owner !== tree.owner) return say('owner', `belongs to inode ${owner}, not ${tree.owner}`)
    }
    this.#arrive(slot)
    return true
  }

  #arrive(slot: number): void {
    const path = this.#path
    const level = path.at(slot)
    const steps: { ptr: number; index: number }[] = []
    for (let s = path.height - 1; s > slot; s--) steps.push({ ptr: path.at(s).ptr, index: path.at(s).index })
    this.block = {
      kind: 'block',
      ptr: level.ptr,
      level: slot,
      count: countOf(level),
      view: level.view,
      at: level.base + level.header,
      path: steps,
    }
    this.#checkFill(slot, level)
    this.#checkOrder(slot, level)
    this.#checkNeighbor(slot, level)
    if (slot + 1 < path.height && countOf(level) > 0) this.#checkParent(slot, level)
  }

  #checkFill(slot: number, level: Level): void {
    const { layout, height, tree } = this.#path
    const count = countOf(level)
    if (slot === height - 1) {
      if (slot > 0 && count === 0) this.#fault('count', level.ptr, slot, 'no records')
      else if (slot > 0 && count === 1 && !tree.root.inline)
        this.#fault('fill', level.ptr, slot, 'a root with only one child')
      return
    }
    // Below an inline root as xfs_repair has it: the kernel leaves short blocks there when an attribute fork takes the root's place.
    const belowInline = slot === height - 2 && tree.root.inline === true
    const min = (slot === 0 ? layout.leafMax : layout.nodeMax) >> 1
    if (count === 0 && !(belowInline && slot === 0)) this.#fault('count', level.ptr, slot, 'no records')
    else if (count < min && !belowInline) {
      this.#fault('fill', level.ptr, slot, `${count} records, at least ${min} are expected`)
    }
  }

  #checkOrder(slot: number, level: Level): void {
    const { ops, layout, tree } = this.#path
    const { view } = level
    const count = countOf(level)
    const first = level.base + level.header
    if (slot > 0) {
      for (let i = 1; i < count; i++) {
        const key = ops.readKey(view, first + i * layout.stride)
        if (ops.compareKey(view, first + (i - 1) * layout.stride, key) >= 0)
          this.#fault('order', level.ptr, slot, `key ${i} does not follow key ${i - 1}`, i)
      }
      return
    }
    for (let i = 1; i < count; i++) {
      const at = first + i * ops.recSize
      if (ops.compareRecs(view, at - ops.recSize, view, at) >= 0)
        this.#fault('order', level.ptr, slot, `record ${i} does not follow record ${i - 1}`, i)
    }
    if (this.#options.checkRecords !== true) return
    for (let i = 0; i < count; i++) {
      const bad = ops.check(ops.readRec(view, first + i * ops.recSize), tree.geometry, tree.agno)
      if (bad) this.#fault('record', level.ptr, slot, `record ${i}: ${bad}`, i)
    }
  }

  #checkNeighbor(slot: number, level: Level): void {
    const path = this.#path
    const left = path.sibling(level, -1)
    const right = path.sibling(level, 1)
    const last = this.#last[slot]
    if (this.#fresh[slot] && left !== -1)
      this.#fault('sibling', level.ptr, slot, `has a left sibling ${left} at the start of its level`)
    if (last && left !== last.ptr)
      this.#fault('sibling', level.ptr, slot, `its left sibling is ${name(left)}, expected ${last.ptr}`)
    if (last && last.right !== level.ptr) {
      this.#fault('sibling', last.ptr, slot, `its right sibling is ${name(last.right)}, expected ${level.ptr}`)
    }
    const count = countOf(level)
    const { ops } = path
    if (last?.key !== undefined && count > 0) {
      const order =
        slot === 0
          ? ops.compareRec(level.view, path.recAt(level, 0), last.key)
          : ops.compareKey(level.view, path.keyAt(level, 0), last.key)
      if (order <= 0) this.#fault('order', level.ptr, slot, 'its keys do not follow those of its left neighbour')
    }
    this.#fresh[slot] = false
    this.#last[slot] = { ptr: level.ptr, right, key: count === 0 ? undefined : this.#keyOf(slot, level, count - 1) }
  }

  #keyOf(slot: number, level: Level, index: number): Key {
    const path = this.#path
    const { ops } = path
    return slot === 0
      ? ops.lowKey(ops.readRec(level.view, path.recAt(level, index)))
      : ops.readKey(level.view, path.keyAt(level, index))
  }

  #checkParent(slot: number, level: Level): void {
    const path = this.#path
    const { ops, layout } = path
    const parent = path.at(slot + 1)
    const at = path.keyAt(parent, parent.index)
    if (ops.compareKey(parent.view, at, this.#keyOf(slot, level, 0)) !== 0) {
      this.#fault(
        'key',
        parent.ptr,
        slot + 1,
        `key ${parent.index} is not the first key of ${path.place(level.ptr)}`,
        parent.index,
      )
    }
    if (!ops.high) return
    const high = new DataView(new ArrayBuffer(ops.keySize))
    const first = level.base + level.header
    if (slot === 0) ops.high.ofRecords(level.view, first, countOf(level), ops.recSize, high, 0)
    else ops.high.ofKeys(level.view, first + ops.keySize, countOf(level), layout.stride, high, 0)
    if (ops.compareKey(parent.view, at + ops.keySize, ops.readKey(high, 0)) !== 0) {
      this.#fault(
        'highkey',
        parent.ptr,
        slot + 1,
        `high key ${parent.index} is not the highest key of ${path.place(level.ptr)}`,
        parent.index,
      )
    }
  }
}

const name = (ptr: number): string => (ptr === -1 ? 'none' : String(ptr))
const NO_VIEW = new DataView(new ArrayBuffer(0))
const NO_BUF = { daddr: -1 } as Buf
const blankLevel = (): Level => ({ ptr: -1, buf: NO_BUF, view: NO_VIEW, base: 0, header: 0, max: 0, ptrs: 0, index: 0 })

const volumeOf = (reader: BlockReader): Volume | undefined =>
  reader instanceof Transaction
    ? reader.volume
    : 'cache' in reader && 'device' in reader
      ? (reader as Volume)
      : undefined

/** How blocks are read: the cache's where it has them, leaves else past it into one buffer, which the next leaf takes over. */
function reader<Rec, Key>(
  tree: Btree<Rec, Key>,
): (ptr: number, daddr: number, leaf: boolean) => { view: DataView; fault?: Fault } {
  const { geometry, ops } = tree
  const { blocksize } = geometry
  const volume = volumeOf(tree.reader)
  if (!volume) {
    return (_ptr, daddr) => {
      try {
        return { view: tree.reader.read(ops.type, daddr, blocksize).view }
      } catch (error) {
        if (!(error instanceof XfsError) || (error.code !== 'CORRUPT' && error.code !== 'BADCRC')) throw error
        return { view: NO_VIEW, fault: { message: error.message } }
      }
    }
  }
  const bytes = new Uint8Array(blocksize)
  const scratch = new DataView(bytes.buffer)
  return (_ptr, daddr, leaf) => {
    if (!leaf || volume.cache.cached(daddr)) {
      const { buf, fault } = volume.cache.peek(ops.type, daddr, blocksize)
      return fault ? { view: buf.view, fault } : { view: buf.view }
    }
    volume.device.read(bytes, daddr * BASIC_BLOCK)
    const fault = verify(ops.type, scratch, { geometry, daddr })
    return fault ? { view: scratch, fault } : { view: scratch }
  }
}

/**
 * Every leaf from left to right: `visit(view, at, count)` with the first record at `at`. For reading all records of a large tree: no object
 * a record, leaves read past the cache. The view is valid during the call only.
 * @throws XfsError CORRUPT or BADCRC, as a cursor does
 */
export function forEachLeaf<Rec, Key>(
  tree: Btree<Rec, Key>,
  visit: (view: DataView, at: number, count: number) => void,
): void {
  const { ops } = tree
  const path = new Path(tree)
  path.start()
  if (path.height === 1) {
    const root = path.at(0)
    visit(root.view, path.recAt(root, 0), countOf(root))
    return
  }
  const read = reader(tree)
  const last = { ptr: -1, right: -1, rec: new DataView(new ArrayBuffer(ops.recSize)), any: false }
  for (let slot = path.height - 1; slot > 1; slot--) path.load(slot - 1, path.getPtr(path.at(slot), 0))
  const node = path.at(1)
  const leaf = path.at(0)
  do {
    const ptr = path.getPtr(node, node.index)
    const { view, fault } = read(ptr, path.daddr(ptr, 0), true)
    if (fault)
      throw new XfsError(fault.crc ? 'BADCRC' : 'CORRUPT', path.corrupt(ptr, fault.message).message, { type: ops.name })
    path.checkBlock(view, ptr, 0)
    leaf.ptr = ptr
    leaf.view = view
    leaf.buf = NO_BUF
    leaf.header = path.layout.header
    const count = countOf(leaf)
    const at = path.recAt(leaf, 0)
    const left = path.sibling(leaf, -1)
    if (left !== last.ptr) throw path.corrupt(ptr, `its left sibling is ${name(left)}, expected ${name(last.ptr)}`)
    if (last.any && last.right !== ptr)
      throw path.corrupt(last.ptr, `its right sibling is ${name(last.right)}, expected ${ptr}`)
    if (last.any && ops.compareRecs(last.rec, 0, view, at) >= 0)
      throw path.corrupt(ptr, 'its keys do not follow those of its neighbour')
    last.any = true
    last.ptr = ptr
    last.right = path.sibling(leaf, 1)
    if (count > 0) {
      const end = view.byteOffset + at + (count - 1) * ops.recSize
      new Uint8Array(last.rec.buffer).set(new Uint8Array(view.buffer, end, ops.recSize))
    }
    visit(view, at, count)
  } while (path.step(1, 1))
  if (last.right !== -1) throw path.corrupt(last.ptr, `has a right sibling ${last.right} at the end of its level`)
}

/** Every record in order, as `forEachLeaf`: `visit(view, at)`. */
export function forEachRecord<Rec, Key>(tree: Btree<Rec, Key>, visit: (view: DataView, at: number) => void): void {
  const { recSize } = tree.ops
  forEachLeaf(tree, (view, at, count) => {
    for (let i = 0; i < count; i++) visit(view, at + i * recSize)
  })
}
