import type { Device } from '../device/device.ts'
import { orderByPosition, readBlocks } from '../device/readblocks.ts'
import { BmdrBlock, LongBlock, ShortBlock } from '../format/btblock.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import type { LogHead } from '../format/lsn.ts'
import { treeMagic } from '../format/trees.ts'
import { type BlockLayout, layoutOf, maxLevels } from '../format/treesizes.ts'
import { uuidFault } from '../format/verify/units.ts'
import { f64Column, u8Column, u32Column } from '../util/columns.ts'
import { crc32cExcept } from '../util/crc32c.ts'
import type { Btree, BtreeOps } from './ops.ts'
import { getPointer, getSibling, Path } from './path.ts'

/**
 * Reads complete btrees, level by level from the roots; many trees of one kind at once.
 *
 *   level 2        [root]            A level is a list of blocks in tree order, each with the keys
 *   level 1    [a]   [b]   [c]       that its parent has for it. Reading it gives the list of the
 *   level 0  [..][..][..][..][..]    level below.
 *
 * So a block is read once, and in disk order if the order of records does not matter. Siblings are
 * compared with the adjacent blocks in the list. A loop ends: a block has its level and owner, so
 * it is accepted in one place only, and on one level each block is accepted once.
 *
 * Nothing here throws because of the tree's bytes. Faults are reported. A block that cannot belong
 * to this tree at this place is skipped, and the tree is then incomplete. A block with a wrong
 * checksum is used.
 */
export type TreeFault =
  | 'pointer' // out of range for the filesystem
  | 'loop' // two pointers to one block
  | 'header' // not a block of this type and level of tree
  | 'crc'
  | 'lsn' // LSN ahead of the log
  | 'sibling'
  | 'keys' // the parent's keys do not match the block
  | 'order' // records or keys out of order
  | 'fill' // less than half full (with `fill`)

/** The callbacks of a walk. `t` is the number of the tree, from `addRoot` or `addInlineRoot`. */
export interface TreeVisitor {
  /** The owner in the tree's blocks: the agno, for a tree in an inode the inode. */
  owner(t: number): number
  /** A block of the tree: agbno or fsbno. */
  block?(t: number, ptr: number, level: number, count: number): void
  /**
   * The records of a leaf, the first at `at`; valid during the call. `row` counts leaves in tree
   * order. `next` has the key of the next leaf of the tree, at `nextAt`; undefined for the last.
   * Returns a fault of the records other than their order.
   */
  records?(
    t: number,
    view: DataView,
    at: number,
    count: number,
    row: number,
    next: DataView | undefined,
    nextAt: number,
  ): string | undefined
  fault(t: number, kind: TreeFault, ptr: number, level: number, message: string): void
  /** Some blocks of the tree could not be read. */
  incomplete?(t: number): void
}

interface BtreeWalkOptions {
  /** Read in tree order; else in disk order. */
  readonly inOrder?: boolean
  /** Report blocks that are less than half full. */
  readonly fill?: boolean
  /** The head of the log: report blocks with an LSN ahead of it. */
  readonly head?: LogHead
  /** Called before each block: true ends the walk. */
  readonly stop?: () => boolean
}

/** The blocks of one level in tree order. */
class LevelBlocks {
  readonly tree = u32Column()
  readonly ptr = f64Column()
  /** True if there is a key. A root has none. */
  readonly keyed = u8Column()
  /**
   * The parent's entries, `stride` bytes each: the low key, and in an overlapping tree the high
   * key.
   */
  keys = new DataView(new ArrayBuffer(0))
  readonly #stride: number

  constructor(stride: number) {
    this.#stride = stride
  }

  get length(): number {
    return this.ptr.length
  }

  /** Add a block; the key's bytes are copied. */
  push(tree: number, ptr: number, from?: DataView, keyAt = 0): void {
    const at = this.length * this.#stride
    this.tree.push(tree)
    this.ptr.push(ptr)
    this.keyed.push(from ? 1 : 0)
    if (at + this.#stride > this.keys.byteLength) this.#grow(at + this.#stride)
    if (from) copyBytes(from, keyAt, this.keys, at, this.#stride)
  }

  /** Add rows `[start, start + count)` of another level. */
  append(from: LevelBlocks, start: number, count: number): void {
    for (let i = start; i < start + count; i++) {
      const keys = from.keyed.get(i) ? from.keys : undefined
      this.push(from.tree.get(i), from.ptr.get(i), keys, i * this.#stride)
    }
  }

  #grow(least: number): void {
    const bytes = new Uint8Array(Math.max(64 * this.#stride, 2 * this.keys.byteLength, least))
    bytes.set(new Uint8Array(this.keys.buffer))
    this.keys = new DataView(bytes.buffer)
  }
}

function copyBytes(from: DataView, fromAt: number, to: DataView, toAt: number, count: number): void {
  for (let i = 0; i < count; i += 4) to.setUint32(toAt + i, from.getUint32(fromAt + i))
}

const { magic: magicField, level: levelField, numrecs } = ShortBlock.fields

/** Trees of one kind that are read together: add the roots, then call `run`. */
export class TreeWalk<Rec, Key> {
  readonly #device: Pick<Device, 'read'>
  readonly #geometry: Geometry
  readonly #ops: BtreeOps<Rec, Key>
  readonly #visitor: TreeVisitor
  readonly #options: BtreeWalkOptions
  readonly #layout: BlockLayout
  readonly #fields: typeof ShortBlock.fields | typeof LongBlock.fields
  readonly #magic: number
  readonly #v5: boolean
  /** By level: the roots, to which no other block points. */
  readonly #roots: (LevelBlocks | undefined)[] = []
  /** By tree: the level of the topmost block; an inline root is above it. */
  readonly #top = u8Column()
  readonly #inline = u8Column()
  /** Buffer for a computed key. */
  readonly #key: DataView
  /**
   * The level that is being read, and the children that it gives for the level below, in the order
   * of reading.
   */
  #level: LevelBlocks
  #height = 0
  #children: LevelBlocks
  /** For each row of the level, its first child and their number. */
  #first = new Uint32Array(0)
  #count = new Uint32Array(0)

  constructor(
    device: Pick<Device, 'read'>,
    geometry: Geometry,
    ops: BtreeOps<Rec, Key>,
    visitor: TreeVisitor,
    options: BtreeWalkOptions = {},
  ) {
    this.#device = device
    this.#geometry = geometry
    this.#ops = ops
    this.#visitor = visitor
    this.#options = options
    this.#layout = layoutOf(ops, geometry)
    this.#fields = ops.ptrSize === 4 ? ShortBlock.fields : LongBlock.fields
    this.#v5 = geometry.features.version === 5
    this.#magic = treeMagic(ops.name, this.#v5)
    this.#key = new DataView(new ArrayBuffer(this.#layout.stride))
    this.#level = new LevelBlocks(this.#layout.stride)
    this.#children = this.#level
  }

  /** Add a tree whose root is block `ptr`. @returns its number; trees are numbered from 0 */
  addRoot(ptr: number, levels: number): number {
    const t = this.#newTree(levels - 1, false)
    const most = maxLevels(this.#geometry, this.#ops.name)
    if (levels >= 1 && levels <= most) this.#rootsAt(levels - 1).push(t, ptr)
    else this.#lost(t, 'header', ptr, levels, `height ${levels} exceeds maximum ${most}`)
    return t
  }

  /** Add a tree whose root is in an inode, with space for `maxrecs` keys. @returns its number */
  addInlineRoot(view: DataView, at: number, maxrecs: number): number {
    const level = BmdrBlock.fields.level.get(view, at)
    const count = BmdrBlock.fields.numrecs.get(view, at)
    const t = this.#newTree(level - 1, true)
    if (level < 1 || level >= maxLevels(this.#geometry, this.#ops.name) || count < 1 || count > maxrecs) {
      this.#lost(t, 'header', -1, level, `bad root: level ${level}, ${count} keys, maximum ${maxrecs}`)
      return t
    }
    const keys = at + BmdrBlock.size
    this.#pushChildren(this.#rootsAt(level - 1), t, view, keys, keys + maxrecs * this.#layout.stride, count)
    return t
  }

  #newTree(top: number, inline: boolean): number {
    this.#top.push(top)
    this.#inline.push(inline ? 1 : 0)
    return this.#top.length - 1
  }

  #rootsAt(level: number): LevelBlocks {
    let roots = this.#roots[level]
    if (!roots) this.#roots[level] = roots = new LevelBlocks(this.#layout.stride)
    return roots
  }

  run(): void {
    let below = new LevelBlocks(this.#layout.stride)
    for (let height = this.#roots.length - 1; height >= 0; height--) {
      const roots = this.#roots[height]
      if (roots) below.append(roots, 0, roots.length)
      if (below.length > 0) below = this.#readLevel(below, height)
    }
  }

  #readLevel(level: LevelBlocks, height: number): LevelBlocks {
    this.#level = level
    this.#height = height
    this.#children = new LevelBlocks(this.#layout.stride)
    this.#first = new Uint32Array(height > 0 ? level.length : 0)
    this.#count = new Uint32Array(height > 0 ? level.length : 0)
    const positions = new Float64Array(level.length)
    for (let row = 0; row < level.length; row++)
      positions[row] = this.#position(level.tree.get(row), level.ptr.get(row))
    let stopped = false
    readBlocks(this.#device, this.#geometry.blocksize, positions, this.#order(positions), (view, at, row, bytes) => {
      stopped ||= this.#options.stop?.() === true
      if (!stopped) this.#visit(view, at, row, bytes, positions[row] as number)
    })
    const below = new LevelBlocks(this.#layout.stride)
    if (!stopped)
      this.#first.forEach((first, row) => {
        below.append(this.#children, first, this.#count[row] as number)
      })
    return below
  }

  /** In bytes; −1 if the block does not exist. */
  #position(t: number, ptr: number): number {
    const geometry = this.#geometry
    if (this.#ops.ptrSize === 8) return geometry.validFsbnoRange(ptr, 1) ? geometry.fsbToDaddr(ptr) * BASIC_BLOCK : -1
    const agno = this.#visitor.owner(t)
    return geometry.validAgbno(agno, ptr) ? geometry.daddr(agno, ptr) * BASIC_BLOCK : -1
  }

  /** The rows that can be read, in the requested order. */
  #order(positions: Float64Array): Uint32Array {
    const sorted = orderByPosition(positions)
    let last = -1
    const order = sorted.filter((row) => {
      const position = positions[row] as number
      if (position < 0) this.#lostRow(row, 'pointer', 'pointer is out of range for the filesystem')
      else if (position === last) this.#lostRow(row, 'loop', 'two pointers to the same block')
      else {
        last = position
        return true
      }
      return false
    })
    return this.#options.inOrder ? order.sort() : order
  }

  // ---------------------------------------------------------------------------------------- faults

  #fault(row: number, kind: TreeFault, message: string): void {
    this.#visitor.fault(this.#level.tree.get(row), kind, this.#level.ptr.get(row), this.#height, message)
  }

  #lostRow(row: number, kind: TreeFault, message: string): void {
    this.#lost(this.#level.tree.get(row), kind, this.#level.ptr.get(row), this.#height, message)
  }

  #lost(t: number, kind: TreeFault, ptr: number, level: number, message: string): void {
    this.#visitor.fault(t, kind, ptr, level, message)
    this.#visitor.incomplete?.(t)
  }

  // --------------------------------------------------------------------------------------- a block

  #visit(view: DataView, at: number, row: number, bytes: Uint8Array, position: number): void {
    const level = this.#level
    const t = level.tree.get(row)
    const wrong = this.#identity(view, at, t, position)
    if (wrong !== undefined) {
      this.#lostRow(row, 'header', wrong)
      return
    }
    if (this.#v5) {
      const { head } = this.#options
      const lsn = at + this.#fields.lsn.offset
      // With a wrong checksum the LSN is not meaningful.
      if (!this.#crcFits(view, at, bytes)) this.#fault(row, 'crc', 'bad CRC')
      else if (head?.isAhead(view, lsn)) this.#fault(row, 'lsn', head.text(view, lsn))
    }
    const count = numrecs.get(view, at)
    this.#visitor.block?.(t, level.ptr.get(row), this.#height, count)
    const max = this.#height === 0 ? this.#layout.leafMax : this.#layout.nodeMax
    if (count > max || (count === 0 && this.#height > 0)) {
      this.#lostRow(row, 'header', `numrecs ${count} exceeds maximum ${max}`)
      return
    }
    if (count === 0 && this.#height !== this.#top.get(t)) this.#fault(row, 'header', 'no records')
    if (this.#options.fill) this.#fill(row, t, count, max)
    this.#siblings(view, at, row, t)
    if (count === 0) return
    const first = at + this.#layout.header
    if (this.#height === 0) this.#leaf(view, first, row, t, count)
    else this.#node(view, first, at + this.#layout.ptrs, row, t, count)
  }

  /** A fault if this is not a block of the tree at this place. */
  #identity(view: DataView, at: number, t: number, position: number): string | undefined {
    const fields = this.#fields
    const magic = magicField.get(view, at)
    if (magic !== this.#magic) return `magic number 0x${magic.toString(16)}, expected 0x${this.#magic.toString(16)}`
    const level = levelField.get(view, at)
    if (level !== this.#height) return `level ${level}, expected ${this.#height}`
    if (!this.#v5) return undefined
    if (uuidFault(view, at + fields.uuid.offset, this.#geometry)) return 'the block belongs to another filesystem'
    const own = fields.bno.get(view, at)
    if (own * BASIC_BLOCK !== position) return `bno is ${own}, expected ${position / BASIC_BLOCK}`
    const owner = fields.owner.get(view, at)
    const expected = this.#visitor.owner(t)
    return owner === expected ? undefined : `owner is ${owner}, expected ${expected}`
  }

  #crcFits(view: DataView, at: number, bytes: Uint8Array): boolean {
    const { crc } = this.#fields
    return crc.get(view, at) === crc32cExcept(bytes.subarray(at, at + this.#geometry.blocksize), crc.offset)
  }

  /**
   * Below an inline root blocks may be less than half full: the kernel leaves such blocks when an
   * attribute fork reduces the root. @source xfs_repair: scan.c, process_bmbt_reclist, scan_bmapbt
   */
  #fill(row: number, t: number, count: number, max: number): void {
    const top = this.#height === this.#top.get(t)
    if (top && this.#inline.get(t) === 0) {
      if (this.#height > 0 && count === 1) this.#fault(row, 'fill', 'root with only one child')
    } else if (!top && count < max >> 1) {
      this.#fault(row, 'fill', `numrecs ${count} is below minimum ${max >> 1}`)
    }
  }

  #siblings(view: DataView, at: number, row: number, t: number): void {
    const { ptrSize } = this.#ops
    const left = getSibling(view, at, ptrSize, -1)
    const right = getSibling(view, at, ptrSize, 1)
    const before = this.#neighbour(row - 1, t)
    const after = this.#neighbour(row + 1, t)
    const name = (ptr: number): string => (ptr === -1 ? 'none' : String(ptr))
    if (left !== before) this.#fault(row, 'sibling', `the left sibling is ${name(left)}, expected ${name(before)}`)
    if (right !== after) this.#fault(row, 'sibling', `the right sibling is ${name(right)}, expected ${name(after)}`)
  }

  #neighbour(row: number, t: number): number {
    const level = this.#level
    return row >= 0 && row < level.length && level.tree.get(row) === t ? level.ptr.get(row) : -1
  }

  // ------------------------------------------------------------------------------ records and keys

  #leaf(view: DataView, at: number, row: number, t: number, count: number): void {
    const ops = this.#ops
    const { recSize } = ops
    const key = this.#key
    const { keys } = this.#level
    const { stride } = this.#layout
    if (this.#level.keyed.get(row)) {
      ops.copyKey(view, at, key, 0)
      if (ops.compareKeys(key, 0, keys, row * stride) !== 0)
        this.#fault(row, 'keys', 'the key in the parent does not match the first record')
      if (ops.high) {
        ops.high.ofRecords(view, at, count, recSize, key, 0)
        if (ops.compareKeys(key, 0, keys, row * stride + ops.keySize) !== 0)
          this.#fault(row, 'keys', 'the high key in the parent does not match the highest of the records')
      }
    }
    const tie = ops.overlapping ? 1 : 0
    let wrong: string | undefined
    for (let i = 1, rec = at + recSize; i < count; i++, rec += recSize) {
      if (ops.compareRecs(view, rec - recSize, view, rec) >= tie) {
        wrong = `record ${i} is out of order`
        break
      }
    }
    const next = this.#neighbour(row + 1, t) === -1 ? undefined : keys
    const nextAt = (row + 1) * stride
    const told = this.#visitor.records?.(t, view, at, count, row, next, nextAt)
    if (next) {
      ops.copyKey(view, at + (count - 1) * recSize, key, 0)
      if (ops.compareKeys(key, 0, next, nextAt) >= tie) wrong ??= 'the last record is out of order'
    }
    wrong ??= told
    if (wrong !== undefined) this.#fault(row, 'order', wrong)
  }

  #node(view: DataView, at: number, ptrs: number, row: number, t: number, count: number): void {
    const ops = this.#ops
    const { stride } = this.#layout
    this.#first[row] = this.#children.length
    this.#count[row] = count
    this.#pushChildren(this.#children, t, view, at, ptrs, count)
    const tie = ops.overlapping ? 1 : 0
    for (let i = 1; i < count; i++) {
      if (ops.compareKeys(view, at + (i - 1) * stride, view, at + i * stride) >= tie) {
        this.#fault(row, 'order', `key ${i} is out of order`)
        break
      }
    }
    const { keys } = this.#level
    const next = (row + 1) * stride
    if (this.#neighbour(row + 1, t) !== -1 && ops.compareKeys(view, at + (count - 1) * stride, keys, next) >= tie)
      this.#fault(row, 'order', 'the last key is out of order')
    if (!this.#level.keyed.get(row)) return
    if (ops.compareKeys(view, at, keys, row * stride) !== 0)
      this.#fault(row, 'keys', 'the key in the parent does not match the first key')
    if (!ops.high) return
    ops.high.ofKeys(view, at + ops.keySize, count, stride, this.#key, 0)
    if (ops.compareKeys(this.#key, 0, keys, row * stride + ops.keySize) !== 0)
      this.#fault(row, 'keys', 'the high key in the parent does not match the highest key')
  }

  #pushChildren(into: LevelBlocks, t: number, view: DataView, keys: number, ptrs: number, count: number): void {
    const { ptrSize } = this.#ops
    const { stride } = this.#layout
    for (let i = 0; i < count; i++) {
      const at = ptrs + i * ptrSize
      into.push(t, getPointer(view, at, ptrSize), view, keys + i * stride)
    }
  }
}

/** The callbacks of `walkTree`. */
interface OneTreeVisitor {
  block?(ptr: number, level: number, count: number): void
  /** The records of a leaf, in key order; valid during the call. */
  leaf?(view: DataView, at: number, count: number): void
  /** `message` includes the place: "bnobt block 1/73: …". */
  fault(message: string, kind: TreeFault, ptr: number, level: number): void
}

/**
 * Walk one tree in key order: all of its reachable blocks, and their faults.
 * @param device the device of `tree`; changes that are not written yet are not visible
 */
export function walkTree<Rec, Key>(
  device: Pick<Device, 'read'>,
  tree: Btree<Rec, Key>,
  visitor: OneTreeVisitor,
  options: Omit<BtreeWalkOptions, 'inOrder'> = {},
): void {
  const place = new Path(tree)
  const walk = new TreeWalk(
    device,
    tree.geometry,
    tree.ops,
    {
      owner: () => tree.owner,
      block: (_, ptr, level, count) => visitor.block?.(ptr, level, count),
      records: (_, view, at, count) => void visitor.leaf?.(view, at, count),
      fault: (_, kind, ptr, level, message) => visitor.fault(place.corrupt(ptr, message).message, kind, ptr, level),
    },
    { ...options, inOrder: true },
  )
  const { root } = tree
  if (root.inline) {
    const { view, at, maxrecs } = root.block()
    walk.addInlineRoot(view, at, maxrecs)
  } else {
    const { ptr, levels } = root.get()
    walk.addRoot(ptr, levels)
  }
  walk.run()
}
