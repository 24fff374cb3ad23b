import { readBmbt } from '../btree/trees/bmbt.ts'
import type { Device } from '../device/device.ts'
import { BmdrBlock, LongBlock } from '../format/btblock.ts'
import { BmbtRec } from '../format/btrecs.ts'
import { Dinode, FORK_FORMATS } from '../format/dinode.ts'
import { get64, set64 } from '../format/fields.ts'
import { forkShape } from '../format/forkshape.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { btrees, treeForms } from '../format/trees.ts'
import { maxRecords, rootMaxRecords } from '../format/treesizes.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { stamp, stampInode } from '../format/verify/stamp.ts'
import { sameBytes } from '../util/samebytes.ts'
import { inodePosition, type RawWrite, readInodeBytes } from './rawforks.ts'

/**
 * The blocks of a bmbt, made valid: all but the records of its leaves follows from the place of
 * each block in the tree.
 *
 *   header    magic number, owner, address, UUID: if most of them are right, it is a block of the tree
 *   level     one less than that of the block above
 *   siblings  the blocks before and after it on its level
 *   keys      the first offsets of the blocks below
 *   pointer   if wrong: the sibling that the block before or after it names
 *   numrecs   if impossible: the leading records that are possible
 *
 * @returns the writes; undefined if a block cannot be found
 */
export function settleBmbts(device: Device, geometry: Geometry, ino: number): RawWrite[] | undefined {
  const before = readInodeBytes(device, geometry, ino)
  const view = new DataView(before.buffer.slice(0))
  const { dataSize, attrSize, nextents, anextents } = forkShape(view, 0, geometry)
  const { format, aformat } = Dinode.fields
  const writes: RawWrite[] = []
  const at = geometry.coresize
  const forks = [
    { how: format.get(view, 0), at, size: dataSize, extents: nextents },
    {
      how: attrSize > 0 ? aformat.get(view, 0) : FORK_FORMATS.extents,
      at: at + dataSize,
      size: attrSize,
      extents: anextents,
    },
  ]
  for (const { how, at: start, size, extents } of forks) {
    if (how !== FORK_FORMATS.btree) continue
    const blocks = new BmbtRepair(device, geometry, ino).fork(view, start, size, extents)
    if (!blocks) return undefined
    writes.push(...blocks)
  }
  stampInode(view, 0, geometry)
  if (!sameBytes(new Uint8Array(view.buffer), new Uint8Array(before.buffer)))
    writes.push({ position: inodePosition(geometry, ino), bytes: new Uint8Array(view.buffer) })
  return writes
}

const block = LongBlock.fields
const { keySize, ptrSize } = treeForms.bmbt
const NULLFSBLOCK = -1

/** A block of the tree as it will be. */
interface Child {
  readonly ptr: number
  readonly view: DataView
  readonly old: Uint8Array
}

/** Keys and pointers of a root or node. */
interface Parent {
  readonly view: DataView
  readonly at: number
  readonly most: number
  readonly count: number
}

class BmbtRepair {
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #ino: number
  readonly #seen = new Set<number>()

  constructor(device: Device, geometry: Geometry, ino: number) {
    this.#device = device
    this.#geometry = geometry
    this.#ino = ino
  }

  fork(inode: DataView, at: number, size: number, extents: number): RawWrite[] | undefined {
    const geometry = this.#geometry
    const most = rootMaxRecords(size)
    const { level, numrecs } = BmdrBlock.decode(inode, at)
    if (numrecs > most) return undefined
    const rows: { parents: Parent[]; children: Child[]; level: number }[] = []
    let parents: Parent[] = [{ view: inode, at: at + BmdrBlock.size, most, count: numrecs }]
    for (let below = level - 1; below >= 0; below--) {
      const children = this.#row(parents)
      if (!children) return undefined
      for (const [i, child] of children.entries()) this.#header(child, below, children[i - 1], children[i + 1])
      rows.push({ parents, children, level: below })
      const fits = maxRecords(geometry, 'bmbt', below)
      if (below > 0) for (const { view } of children) if (!isCount(block.numrecs.get(view, 0), fits)) return undefined
      parents = children.map(({ view }) => {
        return { view, at: geometry.longHeader, most: fits, count: block.numrecs.get(view, 0) }
      })
    }
    this.#counts(rows.at(-1)?.children ?? [], extents)
    // From the leaves upwards: keys follow from the blocks below.
    for (const { parents: above, children, level: below } of rows.reverse()) keys(geometry, above, children, below)
    return rows.flatMap(({ children }) => children.flatMap((child) => this.#write(child) ?? []))
  }

  /** The blocks below a row, each with a pointer that is right. */
  #row(parents: readonly Parent[]): Child[] | undefined {
    const children: (Child | undefined)[] = []
    for (const { view, at, most, count } of parents)
      for (let i = 0; i < count; i++) children.push(this.#child(get64(view, at + keySize * most + ptrSize * i)))
    for (const [i, child] of children.entries()) {
      if (child) continue
      const [left, right] = [children[i - 1], children[i + 1]]
      children[i] =
        (left && this.#child(block.rightsib.get(left.view, 0))) ??
        (right && this.#child(block.leftsib.get(right.view, 0)))
    }
    const found = children.filter((child) => child !== undefined)
    if (found.length < children.length) return undefined
    let next = 0
    for (const { view, at, most, count } of parents)
      for (let i = 0; i < count; i++) set64(view, at + keySize * most + ptrSize * i, (found[next++] as Child).ptr)
    return found
  }

  /** The block at `ptr`, if it is one of this tree that no other pointer refers to. */
  #child(ptr: number): Child | undefined {
    const geometry = this.#geometry
    if (!geometry.validFsbnoRange(ptr, 1) || this.#seen.has(ptr)) return undefined
    const old = new Uint8Array(geometry.blocksize)
    const daddr = geometry.fsbToDaddr(ptr)
    this.#device.read(old, daddr * BASIC_BLOCK)
    const view = new DataView(old.slice().buffer)
    const right = [
      block.magic.get(view, 0) === btrees.bmbt.magic,
      block.owner.get(view, 0) === this.#ino,
      block.bno.get(view, 0) === daddr,
      block.uuid.get(view, 0) === geometry.metaUuid,
    ]
    if (right.filter((one) => one).length < right.length - 1) return undefined
    this.#seen.add(ptr)
    return { ptr, view, old }
  }

  #header({ ptr, view }: Child, level: number, left: Child | undefined, right: Child | undefined): void {
    block.magic.set(view, 0, btrees.bmbt.magic)
    block.level.set(view, 0, level)
    block.leftsib.set(view, 0, left?.ptr ?? NULLFSBLOCK)
    block.rightsib.set(view, 0, right?.ptr ?? NULLFSBLOCK)
    block.bno.set(view, 0, this.#geometry.fsbToDaddr(ptr))
    block.owner.set(view, 0, this.#ino)
    block.uuid.set(view, 0, this.#geometry.metaUuid)
  }

  /** Counts of records that are impossible, or that the number of extents contradicts. */
  #counts(leaves: readonly Child[], extents: number): void {
    const most = maxRecords(this.#geometry, 'bmbt', 0)
    const stated = leaves.map(({ view }) => block.numrecs.get(view, 0))
    const possible = leaves.map(({ view }) => this.#possible(view, most))
    const counts = stated.map((count, i) => (isCount(count, most) ? count : (possible[i] as number)))
    const total = counts.reduce((sum, count) => sum + count, 0)
    const wrong = counts.findIndex((count, i) => total - count + (possible[i] as number) === extents)
    if (total !== extents && wrong >= 0) counts[wrong] = possible[wrong] as number
    for (const [i, { view }] of leaves.entries()) block.numrecs.set(view, 0, counts[i] as number)
  }

  /** The number of leading records that can be extents. */
  #possible(view: DataView, most: number): number {
    let end = -1
    for (let i = 0; i < most; i++) {
      const record = readBmbt(view, this.#geometry.longHeader + BmbtRec.size * i)
      const { startoff, startblock, blockcount } = record
      if (startoff < end || !this.#geometry.validFsbnoRange(startblock, blockcount)) return i
      end = startoff + blockcount
    }
    return most
  }

  #write({ ptr, view, old }: Child): RawWrite | undefined {
    const daddr = this.#geometry.fsbToDaddr(ptr)
    stamp(blockTypes.bmbt, view, { geometry: this.#geometry, daddr })
    const bytes = new Uint8Array(view.buffer)
    return sameBytes(bytes, old) ? undefined : { position: daddr * BASIC_BLOCK, bytes }
  }
}

const isCount = (count: number, most: number): boolean => count > 0 && count <= most

/** Set the keys of a row: the first offset of each block below. */
function keys(geometry: Geometry, parents: readonly Parent[], children: readonly Child[], level: number): void {
  let next = 0
  for (const { view, at, count } of parents)
    for (let i = 0; i < count; i++) {
      const { view: child } = children[next++] as Child
      const first = geometry.longHeader
      set64(view, at + keySize * i, level > 0 ? get64(child, first) : readBmbt(child, first).startoff)
    }
}
