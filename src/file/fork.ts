import type { Buf } from '../buffer/buf.ts'
import { XfsError } from '../errors.ts'
import { BmdrBlock, LongBlock } from '../format/btblock.ts'
import { BmbtRec } from '../format/btrecs.ts'
import { FORK_FORMATS } from '../format/dinode.ts'
import { blockTypes, maxLevels } from '../format/verify.ts'
import type { BlockReader } from '../volume.ts'
import { extentCount, type ForkName, forkFormat, forkSize, forkStart, type Inode, inodeError } from './inode.ts'

/**
 * The forms of an inode fork, for reading: where its extent records stand.
 *
 *   local     the content itself                                  (short directories, links, attributes)
 *   extents   records in the inode                                │ rec │ rec │ …
 *   btree     the root of a bmbt: level, count, keys, pointers    │ level numrecs │ key key … ┊ ptr ptr … │
 *
 * Of a root in an inode the pointers begin behind the room for as many keys as the fork can hold at all.
 */

/** A run of extent records in one buffer: in the inode itself, or in a leaf. */
export interface Leaf {
  readonly view: DataView
  /** Where the first record begins. */
  readonly at: number
  readonly count: number
  /** The next leaf to the right, −1 for none. */
  readonly next: number
}

const NO_RECORDS: Leaf = { view: new DataView(new ArrayBuffer(0)), at: 0, count: 0, next: -1 }
const { startoff } = BmbtRec.fields
const long = LongBlock.fields

/** The most keys that a bmbt root in a fork of `size` bytes holds. */
export const rootMaxRecords = (size: number): number => Math.max(0, Math.floor((size - BmdrBlock.size) / 16))

/** The leaf in which a record for `offset` stands or would stand. */
export function findLeaf(inode: Inode, fork: ForkName, offset: number, reader: BlockReader): Leaf {
  if (forkSize(inode, fork) === 0) return NO_RECORDS
  switch (forkFormat(inode, fork)) {
    case FORK_FORMATS.extents:
      return { view: inode.view, at: forkStart(inode, fork), count: extentCount(inode, fork), next: -1 }
    case FORK_FORMATS.btree:
      return descend(inode, fork, offset, reader)
    default:
      return NO_RECORDS
  }
}

function descend(inode: Inode, fork: ForkName, offset: number, reader: BlockReader): Leaf {
  const { view } = inode
  const start = forkStart(inode, fork)
  const most = rootMaxRecords(forkSize(inode, fork))
  let level = BmdrBlock.fields.level.get(view, start)
  const count = BmdrBlock.fields.numrecs.get(view, start)
  const { geometry } = inode.volume
  if (level < 1 || level >= maxLevels(geometry, 'bmbt') || count < 1 || count > most) {
    throw inodeError(inode.ino, `bad btree root of the ${fork} fork: level ${level}, ${count} keys`)
  }
  let ptr = child(view, start + BmdrBlock.size, start + BmdrBlock.size + most * 8, count, offset)
  const nodeMost = Math.floor((geometry.blocksize - geometry.longHeader) / 16)
  for (;;) {
    level--
    const buf = bmbtBlock(inode, ptr, level, reader)
    if (level === 0) return leafOf(inode, buf)
    const keys = geometry.longHeader
    ptr = child(buf.view, keys, keys + nodeMost * 8, long.numrecs.get(buf.view, 0), offset)
  }
}

/** The leaf to the right. */
export const nextLeaf = (inode: Inode, leaf: Leaf, reader: BlockReader): Leaf | undefined =>
  leaf.next === -1 ? undefined : leafOf(inode, bmbtBlock(inode, leaf.next, 0, reader))

const leafOf = (inode: Inode, buf: Buf): Leaf => ({
  view: buf.view,
  at: inode.volume.geometry.longHeader,
  count: long.numrecs.get(buf.view, 0),
  next: long.rightsib.get(buf.view, 0),
})

function bmbtBlock(inode: Inode, ptr: number, level: number, reader: BlockReader): Buf {
  const { volume } = inode
  const { geometry } = volume
  if (!geometry.validFsbnoRange(ptr, 1)) throw inodeError(inode.ino, `a btree pointer leads to block ${ptr}, which does not exist`)
  const buf = volume.block(blockTypes.bmbt, geometry.agnoOf(ptr), geometry.agbnoOf(ptr), reader)
  const found = long.level.get(buf.view, 0)
  if (found !== level) throw inodeError(inode.ino, `btree block ${ptr}: level ${found}, expected ${level}`)
  const owner = geometry.features.version === 5 ? long.owner.get(buf.view, 0) : inode.ino
  if (owner !== inode.ino) throw inodeError(inode.ino, `btree block ${ptr} belongs to inode ${owner}`)
  if (long.numrecs.get(buf.view, 0) === 0) throw inodeError(inode.ino, `btree block ${ptr} is empty`)
  return buf
}

/** The pointer beside the last key that is not above `offset`, or the first. */
function child(view: DataView, keys: number, ptrs: number, count: number, offset: number): number {
  let low = 1
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (view.getUint32(keys + middle * 8) * 2 ** 32 + view.getUint32(keys + middle * 8 + 4) > offset) high = middle
    else low = middle + 1
  }
  const at = ptrs + (low - 1) * 8
  return view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4)
}

/** Index of the last record of a leaf that begins at or before `offset`; −1 for none. */
export function indexBefore(leaf: Leaf, offset: number): number {
  let low = 0
  let high = leaf.count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (startoff.get(leaf.view, leaf.at + middle * 16) > offset) high = middle
    else low = middle + 1
  }
  return low - 1
}

/** A file whose blocks are on the realtime device cannot be worked with here. */
export function refuseRealtime(inode: Inode, fork: ForkName): void {
  if (fork === 'data' && inode.realtime) {
    throw new XfsError('UNSUPPORTED', `inode ${inode.ino} has its data on the realtime device`, { type: 'inode', ino: inode.ino })
  }
}
