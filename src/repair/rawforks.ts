import { bmbt, readBmbt } from '../btree/trees/bmbt.ts'
import type { Device } from '../device/device.ts'
import { BmdrBlock, LongBlock } from '../format/btblock.ts'
import { BmbtRec } from '../format/btrecs.ts'
import { DIFLAGS2, Dinode, FORK_FORMATS, flags2Of } from '../format/dinode.ts'
import { get64 } from '../format/fields.ts'
import { forkShape } from '../format/forkshape.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { btrees, treeForms } from '../format/trees.ts'
import { maxRecords } from '../format/treesizes.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { stamp, stampInode } from '../format/verify/stamp.ts'
import { sameBytes } from '../util/samebytes.ts'

/**
 * The extent records of an inode as they are on disk, right or wrong, and the writes that replace
 * them. All other code uses verified extents.
 */
export interface RawInode {
  readonly ino: number
  readonly position: number
  readonly view: DataView
  readonly nblocks: number
  readonly forks: readonly RawFork[]
}

interface RawFork {
  readonly fork: 'data' | 'attr'
  /** The number of records that fit into the inode; undefined in btree format. */
  readonly capacity: number | undefined
  readonly records: readonly BmbtRec[]
  /** The places of the records, in order. */
  readonly leaves: readonly RawLeaf[]
}

interface RawLeaf {
  readonly position: number
  readonly view: DataView
  /** Offset of the first record. */
  readonly at: number
  readonly count: number
}

export interface RawWrite {
  readonly position: number
  readonly bytes: Uint8Array
}

/** Maximum records that are held in memory as objects. */
export const MOST_RECORDS = 2 ** 18

/** The position of an inode on the device, in bytes. */
export function inodePosition(geometry: Geometry, ino: number): number {
  const agino = geometry.inoAgino(ino)
  const block = geometry.daddr(geometry.inoAgno(ino), geometry.aginoAgbno(agino)) * BASIC_BLOCK
  return block + geometry.aginoIndex(agino) * geometry.inodesize
}

/** The bytes of an inode, a copy. */
export function readInodeBytes(device: Device, geometry: Geometry, ino: number): DataView {
  const view = new DataView(new ArrayBuffer(geometry.inodesize))
  device.read(new Uint8Array(view.buffer), inodePosition(geometry, ino))
  return view
}

/**
 * @param view  the bytes of the inode, at first those on the device
 * @returns undefined if a block map is too large or cannot be read
 */
export function readRawInode(
  device: Device,
  geometry: Geometry,
  ino: number,
  view: DataView = readInodeBytes(device, geometry, ino),
): RawInode | undefined {
  const position = inodePosition(geometry, ino)
  const { nextents, anextents, dataSize, attrSize } = forkShape(view, 0, geometry)
  const { format, aformat, nblocks } = Dinode.fields
  const forks: RawFork[] = []
  const read = (fork: RawFork['fork'], how: number, at: number, size: number, count: number): boolean => {
    if (how === FORK_FORMATS.local || how === FORK_FORMATS.dev) return true
    const capacity = how === FORK_FORMATS.extents ? Math.floor(size / BmbtRec.size) : undefined
    const leaves =
      capacity === undefined ? readLeaves(device, geometry, view, at, size) : [{ position, view, at, count }]
    if (!leaves || (capacity !== undefined && count > capacity)) return false
    if (leaves.reduce((sum, leaf) => sum + leaf.count, 0) > MOST_RECORDS) return false
    const records = leaves.flatMap((leaf) =>
      Array.from({ length: leaf.count }, (_, i) => readBmbt(leaf.view, leaf.at + BmbtRec.size * i)),
    )
    forks.push({ fork, capacity, records, leaves })
    return true
  }
  const { coresize } = geometry
  if (!read('data', format.get(view, 0), coresize, dataSize, nextents)) return undefined
  if (attrSize > 0 && !read('attr', aformat.get(view, 0), coresize + dataSize, attrSize, anextents)) return undefined
  return { ino, position, view, nblocks: nblocks.get(view, 0), forks }
}

const block = LongBlock.fields
const { keySize, ptrSize } = treeForms.bmbt

function readLeaves(
  device: Device,
  geometry: Geometry,
  root: DataView,
  at: number,
  size: number,
): RawLeaf[] | undefined {
  const leaves: RawLeaf[] = []
  let left = Math.ceil(MOST_RECORDS / Math.max(1, maxRecords(geometry, 'bmbt', 0) >> 1))
  const children = (view: DataView, from: number, most: number, count: number, level: number): boolean => {
    for (let i = 0; i < count; i++) if (!visit(get64(view, from + keySize * most + ptrSize * i), level)) return false
    return true
  }
  const visit = (fsbno: number, level: number): boolean => {
    if (left-- === 0 || !geometry.validFsbnoRange(fsbno, 1)) return false
    const position = geometry.fsbToDaddr(fsbno) * BASIC_BLOCK
    const view = new DataView(new ArrayBuffer(geometry.blocksize))
    device.read(new Uint8Array(view.buffer), position)
    const count = block.numrecs.get(view, 0)
    const most = maxRecords(geometry, 'bmbt', level)
    if (block.magic.get(view, 0) !== btrees.bmbt.magic || block.level.get(view, 0) !== level || count > most)
      return false
    if (level > 0) return children(view, geometry.longHeader, most, count, level - 1)
    leaves.push({ position, view, at: geometry.longHeader, count })
    return true
  }
  const most = Math.floor((size - BmdrBlock.size) / (keySize + ptrSize))
  const count = BmdrBlock.fields.numrecs.get(root, at)
  if (count > most) return undefined
  return children(root, at + BmdrBlock.size, most, count, BmdrBlock.fields.level.get(root, at) - 1) ? leaves : undefined
}

/**
 * The writes that replace the records of the forks, and set the counts of the inode accordingly;
 * the inode is last.
 * @returns no writes if nothing changes; undefined if the records do not fit: in btree format their
 *   number must stay the same
 */
export function writesFor(
  geometry: Geometry,
  inode: RawInode,
  targets: readonly (readonly BmbtRec[])[],
  nblocks: number,
): RawWrite[] | undefined {
  const bytes = new Uint8Array(geometry.inodesize)
  bytes.set(new Uint8Array(inode.view.buffer))
  const view = new DataView(bytes.buffer)
  const writes: RawWrite[] = []
  for (const [i, { fork, capacity, records, leaves }] of inode.forks.entries()) {
    const target = targets[i] as readonly BmbtRec[]
    if (capacity === undefined ? target.length !== records.length : target.length > capacity) return undefined
    setCount(view, fork, target.length)
    if (capacity !== undefined) {
      const at = leaves[0]?.at ?? 0
      bytes.fill(0, at, at + BmbtRec.size * Math.max(records.length, target.length))
      for (const [k, record] of target.entries()) bmbt.writeRec(view, at + BmbtRec.size * k, record)
    } else writes.push(...leafWrites(geometry, leaves, target))
  }
  Dinode.fields.nblocks.set(view, 0, nblocks)
  stampInode(view, 0, geometry)
  if (!sameBytes(bytes, new Uint8Array(inode.view.buffer))) writes.push({ position: inode.position, bytes })
  return writes
}

function leafWrites(geometry: Geometry, leaves: readonly RawLeaf[], target: readonly BmbtRec[]): RawWrite[] {
  let next = 0
  const writes: RawWrite[] = []
  for (const { position, view, at, count } of leaves) {
    const bytes = new Uint8Array(view.byteLength)
    bytes.set(new Uint8Array(view.buffer))
    const copy = new DataView(bytes.buffer)
    for (let i = 0; i < count; i++) bmbt.writeRec(copy, at + BmbtRec.size * i, target[next++] as BmbtRec)
    stamp(blockTypes.bmbt, copy, { geometry, daddr: position / BASIC_BLOCK })
    if (!sameBytes(bytes, new Uint8Array(view.buffer))) writes.push({ position, bytes })
  }
  return writes
}

function setCount(view: DataView, fork: RawFork['fork'], count: number): void {
  const { big_nextents, nextents, anextents } = Dinode.fields
  const wide = (flags2Of(view, 0) & DIFLAGS2.nrext64) !== 0
  if (fork === 'data') (wide ? big_nextents : nextents).set(view, 0, count)
  else (wide ? nextents : anextents).set(view, 0, count)
}

/** Set the counts of both forks. */
export function setExtents(view: DataView, data: number, attr: number): void {
  const { big_nextents, nextents, anextents } = Dinode.fields
  const wide = (flags2Of(view, 0) & DIFLAGS2.nrext64) !== 0
  big_nextents.set(view, 0, wide ? data : 0)
  nextents.set(view, 0, wide ? attr : data)
  anextents.set(view, 0, wide ? 0 : attr)
}
