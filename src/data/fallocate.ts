import { dropCapabilities } from '../attr/attr.ts'
import { XfsError } from '../errors.ts'
import { MAX_FILE_BLOCKS } from '../format/btrecs.ts'
import { DIFLAGS } from '../format/dinode.ts'
import { type Inode, openInode, touchInode, updateInode } from '../inode/inode.ts'
import { shiftExtents, splitExtent } from '../mapping/bmap.ts'
import { extentBefore } from '../mapping/extents.ts'
import { blocksNeeded, fillHoles, requireBlocks, runAt } from '../mapping/runs.ts'
import { removeBlocksFrom, trimPastEof, unmapSteps } from '../mapping/trim.ts'
import { asMuchAsFits, type Transaction, withTransaction } from '../tx/transaction.ts'
import { add, type Bytes, inUnit, least, MAX_FILE_SIZE, subtract, unitOf, unitStart, unitsFor } from '../util/bytes.ts'
import type { Volume } from '../volume.ts'
import { checkWritable, zeroRange, zeroTail } from './write.ts'

/**
 * Changing the allocated ranges of a file: truncate(2) and the modes of fallocate(2).
 *
 *   before     ├──── data ────┤   hole   ├─ data ─┤ end
 *   truncate   ├─── data ──┤ end                         frees blocks past EOF; can add a hole
 *   falloc     ├──── data ────┤ unwritten├─ data ─┤ … ┤  holes get unwritten blocks
 *   fpunch     ├─┤  hole  ├───┤   hole   ├─ data ─┤
 *   fzero      ├─┤unwrit. ├───┤   hole   ├─ data ─┤
 *   fcollapse  ├─┤├───┤   hole   ├─ data ─┤ end          the rest moves to the left
 *   finsert    ├─┤  hole  ├───── data ────┤   hole   …   the rest moves to the right
 *
 * Bytes at the edges, in blocks that stay, are overwritten with zeros. Shared blocks are copied
 * first, so that other files do not change. Long operations are several transactions, divided
 * between extents; each leaves a consistent image.
 *
 * Source: fs/xfs/xfs_file.c (xfs_file_fallocate), xfs_bmap_util.c, xfs_iops.c (xfs_setattr_size).
 */

/** Maximum extents that one transaction removes, moves or adds. */
const STEP = 256

export { removeBlocksFrom } from '../mapping/trim.ts'

interface RangeOptions {
  /** Do not update timestamps. */
  readonly keepTimes?: boolean
}

const touch = (tx: Transaction, inode: Inode, options: RangeOptions): void => {
  dropCapabilities(tx, inode)
  if (options.keepTimes !== true) touchInode(tx, inode, { mtime: true, ctime: true })
}

function open(volume: Volume, ino: number, offset: Bytes, length: Bytes, allowAppend = false): Inode {
  const inode = openInode(volume, ino)
  checkWritable(inode, offset, length)
  if (!allowAppend && (inode.flags & DIFLAGS.append) !== 0) {
    throw new XfsError('PERM', `inode ${ino} can only be appended to`, { type: 'inode', ino })
  }
  return inode
}

function invalid(ino: number, message: string): XfsError {
  return new XfsError('INVAL', message, { type: 'inode', ino })
}

// ---------------------------------------------------------------------------------------- truncate

/**
 * Set the size of a file. Blocks past the new EOF are freed (also preallocated ones); growing adds
 * a hole.
 * @throws XfsError NOSPC (a shared last block must be copied before it is truncated), FBIG, PERM,
 *   ISDIR, INVAL
 */
export function truncate(volume: Volume, ino: number, size: Bytes, options: RangeOptions = {}): void {
  const inode = open(volume, ino, size, 0)
  const old = inode.size
  const { blocksize } = volume.geometry
  if (size > old) zeroTail(volume, ino, size)
  else if (inUnit(size, blocksize) !== 0)
    zeroRange(volume, ino, size, least(old, unitStart(unitsFor(size, blocksize), blocksize)))
  withTransaction(volume, (tx) => {
    const changed = openInode(volume, ino, tx)
    if (size !== old) {
      updateInode(tx, changed, { size })
      touch(tx, changed, options)
    } else dropCapabilities(tx, changed)
  })
  if (size <= old) removeBlocksFrom(volume, ino, unitsFor(size, blocksize))
}

// --------------------------------------------------------------------------------------- fallocate

interface AllocateRangeOptions extends RangeOptions {
  /** Blocks past EOF do not change the size. */
  readonly keepSize?: boolean
}

/**
 * Allocate unwritten blocks for every hole in [offset, offset + length).
 * @throws XfsError NOSPC (nothing has changed), FBIG, PERM, INVAL
 */
export function falloc(
  volume: Volume,
  ino: number,
  offset: Bytes,
  length: Bytes,
  options: AllocateRangeOptions = {},
): void {
  checkLength(ino, length)
  const inode = open(volume, ino, offset, length, true)
  const { blocksize } = volume.geometry
  const end = add(offset, length)
  fillHoles(volume, ino, unitOf(offset, blocksize), unitsFor(end, blocksize), true)
  settle(volume, ino, end > inode.size && options.keepSize !== true ? end : undefined, options)
}

function checkLength(ino: number, length: Bytes): void {
  if (!(length > 0)) throw invalid(ino, `length ${length}`)
}

/** The inode after its blocks have changed. */
function settle(volume: Volume, ino: number, size: Bytes | undefined, options: RangeOptions): void {
  if (size !== undefined) zeroTail(volume, ino, size)
  withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    if (size !== undefined) updateInode(tx, inode, { size })
    touch(tx, inode, options)
  })
}

/**
 * Reject an operation on several parts of a file before its first part if there is not enough
 * space.
 */
function requireRoom(volume: Volume, ino: number, needed: number): void {
  if (needed > 0) requireBlocks(volume, needed, volume.geometry.inoAgno(ino))
}

/**
 * Free complete blocks of [offset, offset + length); the rest of the range, within the file, is
 * zeroed.
 * @throws XfsError NOSPC: nothing has changed
 */
function freeSpace(volume: Volume, ino: number, offset: Bytes, length: Bytes): void {
  const { blocksize } = volume.geometry
  const end = add(offset, length)
  const from = unitsFor(offset, blocksize)
  const to = unitOf(end, blocksize)
  const inode = openInode(volume, ino)
  if (inode.reflink) requireRoom(volume, ino, sharedAt(inode, offset) + sharedAt(inode, end))
  if (to > from) unmapSteps(volume, ino, from, to - from)
  zeroRange(volume, ino, offset, least(end, openInode(volume, ino).size))
}

/**
 * The number of blocks to copy for changing a part of the block at `offset`: one if it is shared.
 */
function sharedAt(inode: Inode, offset: Bytes): number {
  const { blocksize } = inode.volume.geometry
  if (inUnit(offset, blocksize) === 0 || offset >= inode.size) return 0
  return runAt(inode, unitOf(offset, blocksize), 1, inode.volume).kind === 'shared' ? 1 : 0
}

/**
 * Make [offset, offset + length) a hole; bytes at the edges are zeroed. The size stays.
 * @throws XfsError NOSPC, PERM, INVAL
 */
export function fpunch(volume: Volume, ino: number, offset: Bytes, length: Bytes, options: RangeOptions = {}): void {
  checkLength(ino, length)
  open(volume, ino, offset, length)
  freeSpace(volume, ino, offset, length)
  settle(volume, ino, undefined, options)
}

/**
 * Make [offset, offset + length) read as zeros, with unwritten blocks.
 * @throws XfsError NOSPC, FBIG, PERM, INVAL
 */
export function fzero(
  volume: Volume,
  ino: number,
  offset: Bytes,
  length: Bytes,
  options: AllocateRangeOptions = {},
): void {
  checkLength(ino, length)
  const inode = open(volume, ino, offset, length)
  const { blocksize } = volume.geometry
  requireRoom(volume, ino, blocksNeeded(inode, offset, length))
  freeSpace(volume, ino, offset, length)
  const end = add(offset, length)
  fillHoles(volume, ino, unitOf(offset, blocksize), unitsFor(end, blocksize), true)
  settle(volume, ino, end > inode.size && options.keepSize !== true ? end : undefined, options)
}

/**
 * Remove [offset, offset + length) from the file; the rest moves to the left. The range must
 * consist of complete blocks and end before EOF.
 * @throws XfsError INVAL, PERM, NOSPC
 */
export function fcollapse(volume: Volume, ino: number, offset: Bytes, length: Bytes, options: RangeOptions = {}): void {
  const inode = open(volume, ino, offset, length)
  const { blocksize } = volume.geometry
  checkAligned(ino, offset, length, blocksize)
  const { size } = inode
  const end = add(offset, length)
  if (end >= size) throw invalid(ino, `the range ends at ${end}, EOF is ${size}`)
  // The kernel ends with a truncate: bytes past EOF become zero, and a shared last block is copied.
  zeroTail(volume, ino, unitStart(unitsFor(size, blocksize), blocksize))
  freeSpace(volume, ino, offset, length)
  trimPastEof(volume, ino)
  const from = unitOf(end, blocksize)
  const distance = unitOf(length, blocksize)
  for (let next: number | undefined = from; next !== undefined; ) {
    const start: number = next
    next = asMuchAsFits(STEP, (most) =>
      withTransaction(volume, (tx) => shiftExtents(tx, openInode(volume, ino, tx), from, -distance, start, most)),
    )
  }
  const left = subtract(size, length)
  withTransaction(volume, (tx) => {
    const changed = openInode(volume, ino, tx)
    updateInode(tx, changed, { size: left })
    touch(tx, changed, options)
  })
  // Blocks past EOF are freed, also preallocated ones.
  removeBlocksFrom(volume, ino, unitsFor(left, blocksize))
}

/**
 * Insert a hole of `length` bytes into the file at `offset`; the rest moves to the right. The hole
 * must consist of complete blocks and begin inside the file.
 * @throws XfsError INVAL, FBIG, PERM, NOSPC
 */
export function finsert(volume: Volume, ino: number, offset: Bytes, length: Bytes, options: RangeOptions = {}): void {
  const inode = open(volume, ino, offset, length)
  const { blocksize } = volume.geometry
  checkAligned(ino, offset, length, blocksize)
  const { size } = inode
  if (offset >= size) throw invalid(ino, `offset ${offset} is not before EOF, ${size}`)
  const grown = add(size, length)
  if (grown > MAX_FILE_SIZE)
    throw new XfsError('FBIG', `inode ${ino} would have ${grown} bytes`, { type: 'inode', ino })
  trimPastEof(volume, ino)
  const distance = unitOf(length, blocksize)
  const last = extentBefore(openInode(volume, ino), 'data', MAX_FILE_BLOCKS)
  if (last && last.startoff + last.blockcount + distance > MAX_FILE_BLOCKS)
    throw invalid(ino, 'blocks past EOF would exceed the maximum file offset')
  const startoff = unitOf(offset, blocksize)
  // The kernel grows the file first: bytes past EOF become zero, and a shared last block is copied.
  zeroTail(volume, ino, grown)
  withTransaction(volume, (tx) => {
    const changed = openInode(volume, ino, tx)
    updateInode(tx, changed, { size: grown })
    touch(tx, changed, options)
    splitExtent(tx, changed, 'data', startoff)
  })
  for (let next: number | undefined = MAX_FILE_BLOCKS; next !== undefined; ) {
    const start: number = next
    next = asMuchAsFits(STEP, (most) =>
      withTransaction(volume, (tx) => shiftExtents(tx, openInode(volume, ino, tx), startoff, distance, start, most)),
    )
  }
}

function checkAligned(ino: number, offset: Bytes, length: Bytes, blocksize: number): void {
  checkLength(ino, length)
  if (inUnit(offset, blocksize) !== 0 || inUnit(length, blocksize) !== 0)
    throw invalid(ino, `offset ${offset} and length ${length} must be multiples of ${blocksize}`)
}
