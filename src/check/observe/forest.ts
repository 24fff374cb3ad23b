import type { Device } from '../../device/device.ts'
import type { TreeName } from '../../format/btrecs.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import type { LogHead } from '../../format/lsn.ts'
import { maxRecords } from '../../format/verify.ts'
import { crc32c } from '../../util/crc32c.ts'
import { Column, f64Column, u32Column } from '../columns.ts'
import { uuidWords } from './headers.ts'
import { orderByPosition, readBlocks } from './read.ts'

/**
 * Reading btrees whole, level by level from the roots, many trees of one kind at once.
 *
 *   level 2        [root]                 a level is a list of blocks in tree order, each with the keys that its parent
 *   level 1    [a]   [b]   [c]            states; it is read in disk order, and gives the list of the level below
 *   level 0  [..][..][..][..][..]
 *
 * So a block is read once and in order of the disk, siblings are the neighbours in the list, and a tree with a loop ends by itself: a
 * block states its level and its owner, thus it can be right in one place only, and on one level each block is taken once.
 * What is wrong is reported and the block left out; `complete` says whether every block of a tree was seen.
 */

export type TreeFault = 'pointer' | 'loop' | 'crc' | 'header' | 'lsn' | 'sibling' | 'keys' | 'order'

/** A key as up to four numbers, compared one after the other. */
export const KEY_NUMBERS = 4

export interface Forest {
  readonly tree: TreeName
  readonly magic: number
  /** Bytes of a key in a node (of both keys in an overlapping tree) and of a pointer. */
  readonly keySize: number
  readonly ptrSize: 4 | 8
  readonly recSize: number
  readonly head: LogHead
  /** Where the high key of a node entry is, for overlapping trees. */
  readonly highKeyAt?: number
  /** The owner that blocks of tree `t` carry. */
  owner(t: number): number
  /** Where a block is on the device, or −1 where a pointer points outside. */
  position(t: number, ptr: number): number
  /** The key that stands at `at` in a node. */
  readKey(view: DataView, at: number, out: Float64Array, row: number): void
  /** The low key of the record at `at`. */
  readRecKey(view: DataView, at: number, out: Float64Array, row: number): void
  /** The greatest high key of the records of a leaf, for overlapping trees. */
  readHighKey?(view: DataView, at: number, count: number, out: Float64Array, row: number): void
  /** A block that belongs to the tree. */
  block(t: number, ptr: number, level: number): void
  /**
   * The records of a leaf; `last` where no leaf follows, else `limit` holds the low key of the next one.
   * Returns what is wrong with them.
   */
  leaf(
    t: number,
    view: DataView,
    at: number,
    count: number,
    limit: Float64Array,
    row: number,
    last: boolean,
  ): string | undefined
  fault(t: number, kind: TreeFault, ptr: number, level: number, message: string): void
}

/** The blocks of one level, in tree order. */
export class Level {
  readonly tree = u32Column()
  readonly ptr = f64Column()
  /** Keys that the parent states; of a root there are none. */
  readonly low = f64Column()
  readonly high = f64Column()
  readonly keyed = new Column(new Uint8Array(64))

  get length(): number {
    return this.ptr.length
  }

  push(tree: number, ptr: number): number {
    this.tree.push(tree)
    this.ptr.push(ptr)
    this.low.extend(KEY_NUMBERS)
    this.high.extend(KEY_NUMBERS)
    this.keyed.push(0)
    return this.ptr.length - 1
  }
}

const compareKeys = (a: Float64Array, i: number, b: Float64Array, j: number): number => {
  for (let k = 0; k < KEY_NUMBERS; k++) {
    const difference = (a[i * KEY_NUMBERS + k] as number) - (b[j * KEY_NUMBERS + k] as number)
    if (difference !== 0) return difference
  }
  return 0
}

/**
 * Read trees from their roots down to the leaves.
 *
 * @param height     of the tallest root above the leaves
 * @param rootsAt    the blocks at a height that no block of the forest points to; each with the keys that its parent states, if it has one
 * @param incomplete called for a tree of which not all blocks could be seen
 */
export function walkForest(
  device: Device,
  geometry: Geometry,
  forest: Forest,
  height: number,
  rootsAt: (height: number) => Level | undefined,
  incomplete: (t: number) => void,
): void {
  // biome-ignore format: short
  let level = new Level()
  for (let h = height; h >= 0; h--) {
    const roots = rootsAt(h)
    if (roots) level = level.length === 0 ? roots : joined(level, roots)
    if (level.length > 0) level = new LevelWalk(device, geometry, forest, h, level, incomplete).walk()
  }
}

function joined(first: Level, second: Level): Level {
  for (let i = 0; i < second.length; i++) append(first, second, i)
  return first
}

function append(to: Level, from: Level, i: number): void {
  const row = to.push(from.tree.get(i), from.ptr.get(i))
  for (let k = 0; k < KEY_NUMBERS; k++) {
    to.low.data[row * KEY_NUMBERS + k] = from.low.get(i * KEY_NUMBERS + k)
    to.high.data[row * KEY_NUMBERS + k] = from.high.get(i * KEY_NUMBERS + k)
  }
  to.keyed.data[row] = from.keyed.get(i)
}

class LevelWalk {
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #forest: Forest
  readonly #height: number
  readonly #level: Level
  readonly #incomplete: (t: number) => void
  readonly #uuid: readonly [number, number, number, number]
  readonly #header: number
  readonly #maxRecords: number
  /** Children of each row, until they are put into one list in tree order. */
  readonly #children: (Level | undefined)[]
  readonly #key = new Float64Array(KEY_NUMBERS * 2)

  constructor(
    device: Device,
    geometry: Geometry,
    forest: Forest,
    height: number,
    level: Level,
    incomplete: (t: number) => void,
  ) {
    this.#device = device
    this.#geometry = geometry
    this.#forest = forest
    this.#height = height
    this.#level = level
    this.#incomplete = incomplete
    this.#uuid = uuidWords(geometry)
    this.#header = forest.ptrSize === 4 ? geometry.shortHeader : geometry.longHeader
    this.#maxRecords = maxRecords(geometry, forest.tree, height)
    this.#children = height > 0 ? new Array<Level | undefined>(level.length) : []
  }

  walk(): Level {
    const level = this.#level
    const { blocksize } = this.#geometry
    const positions = new Float64Array(level.length)
    for (let row = 0; row < level.length; row++) {
      positions[row] = this.#forest.position(level.tree.get(row), level.ptr.get(row))
    }
    const order = orderByPosition(positions)
    let outside = 0
    for (; outside < order.length && (positions[order[outside] as number] as number) < 0; outside++) {
      this.#lost(order[outside] as number, 'pointer', 'points outside of the filesystem')
    }
    let last = -1
    readBlocks(this.#device, blocksize, positions, order.subarray(outside), (view, at, row, bytes) => {
      const position = positions[row] as number
      if (position === last) this.#lost(row, 'loop', 'two pointers lead to the same block')
      else this.#visit(view, at, row, bytes, position)
      last = position
    })
    return this.#below()
  }

  #below(): Level {
    const below = new Level()
    for (const part of this.#children) if (part) joined(below, part)
    return below
  }

  #fault(row: number, kind: TreeFault, message: string): void {
    this.#forest.fault(this.#level.tree.get(row), kind, this.#level.ptr.get(row), this.#height, message)
  }

  #lost(row: number, kind: TreeFault, message: string): void {
    this.#fault(row, kind, message)
    this.#incomplete(this.#level.tree.get(row))
  }

  #visit(view: DataView, at: number, row: number, bytes: Uint8Array, position: number): void {
    const forest = this.#forest
    const level = this.#level
    const tree = level.tree.get(row)
    const wrong = this.#identity(view, at, tree, position)
    if (wrong !== undefined) {
      this.#lost(row, 'header', wrong)
      return
    }
    const crcFits = this.#geometry.features.version !== 5 || this.#crcFits(view, at, bytes)
    if (!crcFits) this.#fault(row, 'crc', 'the checksum is wrong')
    const lsnAt = at + (forest.ptrSize === 4 ? 24 : 32)
    if (forest.head.isBehind(view, lsnAt)) this.#fault(row, 'lsn', forest.head.text(view, lsnAt))
    forest.block(tree, level.ptr.get(row), this.#height)
    const count = view.getUint16(at + 6)
    if (count > this.#maxRecords || (this.#height > 0 && count === 0)) {
      this.#lost(row, 'header', `${count} records, ${this.#maxRecords} fit`)
      return
    }
    this.#siblings(view, at, row, tree)
    if (count === 0) return
    if (this.#height === 0) this.#leaf(view, at + this.#header, row, tree, count)
    else this.#node(view, at + this.#header, row, tree, count)
  }

  /** Is it a block of this tree at all? */
  #identity(view: DataView, at: number, tree: number, position: number): string | undefined {
    const forest = this.#forest
    const magic = view.getUint32(at)
    if (magic !== forest.magic) return `magic number 0x${magic.toString(16)}, expected 0x${forest.magic.toString(16)}`
    const level = view.getUint16(at + 4)
    if (level !== this.#height) return `level ${level}, expected ${this.#height}`
    if (this.#geometry.features.version !== 5) return undefined
    const short = forest.ptrSize === 4
    const uuidAt = at + (short ? 32 : 40)
    for (let i = 0; i < 4; i++) {
      if (view.getUint32(uuidAt + 4 * i) !== this.#uuid[i]) return 'the block belongs to another filesystem'
    }
    const ownAt = at + (short ? 16 : 24)
    const own = view.getInt32(ownAt) * 2 ** 32 + view.getUint32(ownAt + 4)
    if (own * BASIC_BLOCK !== position) return `says it is at ${own}, but is at ${position / BASIC_BLOCK}`
    const owner = short ? view.getUint32(at + 48) : view.getInt32(at + 56) * 2 ** 32 + view.getUint32(at + 60)
    if (owner !== forest.owner(tree)) return `says its owner is ${owner}, expected ${forest.owner(tree)}`
    return undefined
  }

  #crcFits(view: DataView, at: number, bytes: Uint8Array): boolean {
    const crcAt = at + (this.#forest.ptrSize === 4 ? 52 : 64)
    const found = view.getUint32(crcAt, true)
    view.setUint32(crcAt, 0)
    const expected = crc32c(bytes.subarray(at, at + this.#geometry.blocksize))
    view.setUint32(crcAt, found, true)
    return found === expected
  }

  #siblings(view: DataView, at: number, row: number, tree: number): void {
    const level = this.#level
    const short = this.#forest.ptrSize === 4
    const left = short ? view.getUint32(at + 8) : view.getInt32(at + 8) * 2 ** 32 + view.getUint32(at + 12)
    const right = short ? view.getUint32(at + 12) : view.getInt32(at + 16) * 2 ** 32 + view.getUint32(at + 20)
    const none = short ? 0xffffffff : -1
    const before = row > 0 && level.tree.get(row - 1) === tree ? level.ptr.get(row - 1) : none
    const after = row + 1 < level.length && level.tree.get(row + 1) === tree ? level.ptr.get(row + 1) : none
    const name = (ptr: number): string => (ptr === none ? 'none' : String(ptr))
    if (left !== before) this.#fault(row, 'sibling', `the left sibling is ${name(left)}, expected ${name(before)}`)
    if (right !== after) this.#fault(row, 'sibling', `the right sibling is ${name(right)}, expected ${name(after)}`)
  }

  #leaf(view: DataView, at: number, row: number, tree: number, count: number): void {
    const forest = this.#forest
    const level = this.#level
    const key = this.#key
    if (level.keyed.get(row)) {
      forest.readRecKey(view, at, key, 0)
      if (compareKeys(key, 0, level.low.data, row) !== 0)
        this.#fault(row, 'keys', 'the key above is not that of the first record')
      if (forest.readHighKey) {
        forest.readHighKey(view, at, count, key, 0)
        if (compareKeys(key, 0, level.high.data, row) !== 0)
          this.#fault(row, 'keys', 'the high key above is not the greatest of the records')
      }
    }
    const last = row + 1 >= level.length || level.tree.get(row + 1) !== tree
    const wrong = forest.leaf(tree, view, at, count, level.low.data, row + 1, last)
    if (wrong !== undefined) this.#fault(row, 'order', wrong)
  }

  #node(view: DataView, at: number, row: number, tree: number, count: number): void {
    const forest = this.#forest
    const level = this.#level
    const children = new Level()
    const ptrs = at + this.#maxRecords * forest.keySize
    readChildren(forest, view, at, ptrs, count, tree, children)
    this.#children[row] = children
    for (let i = 1; i < count; i++) {
      if (compareKeys(children.low.data, i - 1, children.low.data, i) > 0) {
        this.#fault(row, 'order', `key ${i} is less than the one before it`)
        break
      }
    }
    if (!level.keyed.get(row)) return
    if (compareKeys(children.low.data, 0, level.low.data, row) !== 0)
      this.#fault(row, 'keys', 'the key above is not the first one here')
    if (forest.highKeyAt === undefined) return
    let greatest = 0
    for (let i = 1; i < count; i++)
      if (compareKeys(children.high.data, greatest, children.high.data, i) < 0) greatest = i
    if (compareKeys(children.high.data, greatest, level.high.data, row) !== 0) {
      this.#fault(row, 'keys', 'the high key above is not the greatest one here')
    }
  }
}

/** The entries of a node, or of a root inside an inode. */
export function readChildren(
  forest: Forest,
  view: DataView,
  keys: number,
  ptrs: number,
  count: number,
  tree: number,
  into: Level,
): void {
  // biome-ignore format: short
  for (let i = 0; i < count; i++) {
    const at = ptrs + i * forest.ptrSize
    const ptr = forest.ptrSize === 4 ? view.getUint32(at) : view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4)
    const row = into.push(tree, ptr)
    forest.readKey(view, keys + i * forest.keySize, into.low.data, row)
    if (forest.highKeyAt !== undefined) forest.readKey(view, keys + i * forest.keySize + forest.highKeyAt, into.high.data, row)
    into.keyed.data[row] = 1
  }
}
