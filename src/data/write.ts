import { dropCapabilities } from '../attr/attr.ts'
import { XfsError } from '../errors.ts'
import type { BmbtRec } from '../format/btrecs.ts'
import { DIFLAGS, FILE_TYPES } from '../format/dinode.ts'
import { type Inode, inodeError, openInode, touchInode, updateInode } from '../inode/inode.ts'
import { allocateRange, convertRange, unmapRange } from '../mapping/bmap.ts'
import { findExtent } from '../mapping/extents.ts'
import { refuseRealtime } from '../mapping/fork.ts'
import { alignToHint, blocksNeeded, fillHoles, plentyOfSpace, type Run, requireBlocks, runAt } from '../mapping/runs.ts'
import { trimPastEof } from '../mapping/trim.ts'
import { Transaction } from '../tx/transaction.ts'
import {
  add,
  type Bytes,
  inUnit,
  least,
  MAX_FILE_SIZE,
  most,
  subtract,
  unitOf,
  unitStart,
  unitsFor,
} from '../util/bytes.ts'
import type { Volume } from '../volume.ts'
import { copyOnWrite } from './cow.ts'
import { CHUNK_BYTES, deviceOffset } from './data.ts'

/**
 * Writing file data. The bytes are written directly to the device, before the mapping that makes
 * them visible is committed:
 *
 *   hole        allocate, write (zeros around the data), map      a crash leaves free blocks
 *   unwritten   write (zeros around the data), convert            a crash leaves unwritten blocks
 *   written     write in place
 *   shared      copy on write (cow.ts): into other blocks
 *
 * A long write is several transactions. Each leaves the file as after a shorter write. Space is
 * checked before anything changes, so that a write that does not fit is rejected completely.
 *
 * Bytes between EOF and the end of the last block are never read. They are zeroed when the file
 * grows beyond them.
 */

/** Maximum extents and bytes of one transaction. */
const EXTENTS_PER_TRANSACTION = 64
const BYTES_PER_TRANSACTION = 2 ** 30
/** Maximum blocks that one copy on write replaces: each may have its own reference count. */
const SHARED_BLOCKS = 16384

type Source = Uint8Array | Iterable<Uint8Array>

interface WriteOptions {
  /**
   * Bytes of an iterable source, if known. Then blocks are allocated in long extents, and space is
   * checked before the start.
   */
  readonly length?: number
  /** Do not update timestamps. */
  readonly keepTimes?: boolean
}

// -------------------------------------------------------------------------------------- the source

/** Not `instanceof`: arrays of another realm (a frame, a context of node:vm) are accepted too. */
const isBytes = (source: Source): source is Uint8Array => ArrayBuffer.isView(source)

/** Bytes from a source, in pieces. */
class Feed {
  readonly #pieces: Iterator<Uint8Array>
  #piece: Uint8Array = new Uint8Array(0)
  #ended = false
  /** Remaining bytes; undefined if unknown. */
  left: number | undefined

  constructor(source: Source, length: number | undefined) {
    this.#pieces = (isBytes(source) ? [source] : source)[Symbol.iterator]()
    this.left = isBytes(source) ? source.length : length
  }

  /** Bytes that are available at once; 0 at the end. */
  ready(): number {
    while (!this.#ended && this.#piece.length === 0) {
      const next = this.#pieces.next()
      if (next.done) this.#ended = true
      else this.#piece = next.value
    }
    const length = this.#piece.length
    return this.left === undefined ? length : Math.min(length, this.left)
  }

  take(most: number): Uint8Array {
    const bytes = this.#piece.subarray(0, Math.min(this.ready(), most))
    this.#piece = this.#piece.subarray(bytes.length)
    if (this.left !== undefined) this.left -= bytes.length
    return bytes
  }

  /** The number of bytes to allocate for: all remaining ones if known, else the available ones. */
  expected(): number {
    return this.left ?? this.ready()
  }
}

// ----------------------------------------------------------------------------------------- writing

/**
 * Write at any offset, like pwrite(2). The file grows if necessary; the range between its old end
 * and `offset` reads as zeros. Several transactions; each leaves the file as after a shorter write.
 *
 * @returns bytes written
 * @throws XfsError NOSPC (before anything changed, if the length is known), FBIG, PERM, INVAL,
 *   CORRUPT
 */
export function writeFile(
  volume: Volume,
  ino: number,
  offset: Bytes,
  source: Source,
  options: WriteOptions = {},
): number {
  const feed = new Feed(source, options.length)
  const first = openInode(volume, ino)
  checkWrite(first, offset, feed.left)
  if (feed.left !== undefined) reserve(volume, ino, offset, feed.left)
  if (feed.ready() === 0) return 0
  if (offset > first.size) zeroTail(volume, ino, offset)
  let position = offset
  const written = (): number => Number(subtract(position, offset))
  while (feed.ready() > 0) position = writeSome(volume, ino, position, feed, options)
  // Trim blocks past EOF that the extent size hint has added.
  if ((first.flags & DIFLAGS.extsize) !== 0) trimPastEof(volume, ino)
  return written()
}

/**
 * Check before a write in pieces, of `length` bytes altogether, that it is permitted and fits.
 * @throws XfsError NOSPC, FBIG, PERM, INVAL: nothing has changed
 */
export function prepareWrite(volume: Volume, ino: number, offset: Bytes, length: number): void {
  checkWrite(openInode(volume, ino), offset, length)
  reserve(volume, ino, offset, length)
}

function checkWrite(inode: Inode, offset: Bytes, length?: number): void {
  const { ino } = inode
  checkWritable(inode, offset, length)
  if ((inode.flags & DIFLAGS.append) !== 0 && offset !== inode.size)
    throw new XfsError('PERM', `inode ${ino} can only be appended to`, { type: 'inode', ino })
}

/**
 * Ensure that a write cannot run out of space halfway: if free space is low, blocks are allocated
 * for its holes first, all or none.
 * @throws XfsError NOSPC: nothing has changed
 */
function reserve(volume: Volume, ino: number, offset: Bytes, length: number): void {
  const inode = openInode(volume, ino)
  const needed = blocksNeeded(inode, offset, length)
  if (needed === 0 || plentyOfSpace(volume, needed, inode.agno)) return
  requireBlocks(volume, needed, inode.agno)
  const { blocksize } = volume.geometry
  fillHoles(volume, ino, unitOf(offset, blocksize), unitsFor(add(offset, length), blocksize), false)
}

/** Write within an open transaction: for new files, which share nothing. */
export function writeWithin(
  tx: Transaction,
  inode: Inode,
  offset: Bytes,
  source: Source,
  options: WriteOptions = {},
): number {
  const feed = new Feed(source, options.length)
  checkWritable(inode, offset, feed.left)
  let position = offset
  while (feed.ready() > 0) {
    const next = writeRun(tx, inode, position, feed)
    if (next === undefined) throw inodeError(inode.ino, 'a new file shares blocks')
    position = next
  }
  if (position > offset) finish(tx, inode, position, options)
  return Number(subtract(position, offset))
}

/** An integer that is not negative. */
const isPosition = (value: Bytes): boolean => (typeof value === 'bigint' || Number.isSafeInteger(value)) && value >= 0

/** Check that the file may be written to in this range. */
export function checkWritable(inode: Inode, offset: Bytes, length: Bytes = 0): void {
  const where = { type: 'inode', ino: inode.ino }
  if (inode.type === FILE_TYPES.dir) throw new XfsError('ISDIR', `inode ${inode.ino} is a directory`, where)
  if (!inode.isRegular) throw new XfsError('INVAL', `inode ${inode.ino} is not a regular file`, where)
  refuseRealtime(inode, 'data')
  if ((inode.flags & DIFLAGS.immutable) !== 0) throw new XfsError('PERM', `inode ${inode.ino} is immutable`, where)
  if (!isPosition(offset)) throw new XfsError('INVAL', `offset ${offset}`, where)
  if (!isPosition(length)) throw new XfsError('INVAL', `length ${length}`, where)
  if (add(offset, length) > MAX_FILE_SIZE)
    throw new XfsError('FBIG', `inode ${inode.ino} would exceed the maximum file size`, where)
}

/** One transaction of a write, or one copy on write. @returns the offset to continue at */
function writeSome(volume: Volume, ino: number, from: Bytes, feed: Feed, options: WriteOptions): Bytes {
  const tx = new Transaction(volume)
  let position = from
  let shared = false
  try {
    const inode = openInode(volume, ino, tx)
    for (
      let done = 0;
      done < EXTENTS_PER_TRANSACTION &&
      subtract(position, from) < BYTES_PER_TRANSACTION &&
      feed.ready() > 0 &&
      !(done > 0 && tx.full);
      done++
    ) {
      const next = writeRun(tx, inode, position, feed)
      shared = next === undefined
      if (next === undefined) break
      position = next
    }
    if (position > from) finish(tx, inode, position, options)
  } catch (error) {
    tx.cancel()
    throw error
  }
  tx.commit()
  return shared ? writeShared(volume, ino, position, feed, options) : position
}

/** The inode after a write up to `position`. */
function finish(tx: Transaction, inode: Inode, position: Bytes, options: WriteOptions): void {
  if (position > inode.size) updateInode(tx, inode, { size: position })
  dropCapabilities(tx, inode)
  if (options.keepTimes !== true) touchInode(tx, inode, { mtime: true, ctime: true })
}

/**
 * Write into one contiguous range at `position`. @returns the offset to continue at; undefined: the
 * blocks there are shared
 */
function writeRun(tx: Transaction, inode: Inode, position: Bytes, feed: Feed): Bytes | undefined {
  const { blocksize } = tx.volume.geometry
  const startoff = unitOf(position, blocksize)
  const wanted = Math.max(1, unitsFor(add(position, feed.expected()), blocksize) - startoff)
  const run = runAt(inode, startoff, Math.min(wanted, BYTES_PER_TRANSACTION / blocksize), tx)
  if (run.kind === 'shared') return undefined
  if (run.kind === 'hole') return fillHole(tx, inode, position, run, feed)
  const { extent } = run
  if (!extent) throw inodeError(inode.ino, `file block ${startoff} is no longer mapped`)
  const end = putBytes(tx.volume, extent, position, feed, run.kind === 'unwritten')
  if (run.kind === 'unwritten') convertRange(tx, inode, 'data', startoff, unitsFor(end, blocksize) - startoff, 0)
  return end
}

function fillHole(tx: Transaction, inode: Inode, position: Bytes, run: Run, feed: Feed): Bytes {
  const { volume } = tx
  const { blocksize } = volume.geometry
  if ((inode.flags & DIFLAGS.extsize) !== 0 && inode.extsize > 1) {
    const { startoff, blockcount } = alignToHint(inode, run, inode.extsize, tx)
    allocateRange(tx, inode, 'data', startoff, blockcount, { unwritten: true, untilFull: true })
    // The hole is unwritten now: the next iteration writes there.
    return position
  }
  let end = position
  for (const extent of allocateRange(tx, inode, 'data', run.startoff, run.blockcount, {
    untilFull: true,
  })) {
    if (feed.ready() > 0) end = putBytes(volume, extent, end, feed, true)
    const used = Math.max(0, unitsFor(end, blocksize) - extent.startoff)
    // The source ended before the announced length.
    if (used < extent.blockcount) unmapRange(tx, inode, 'data', extent.startoff + used, extent.blockcount - used)
  }
  return end
}

/**
 * Write from the feed into the blocks of `extent` from file offset `position` on, until either
 * ends.
 * @param fresh the blocks have no content yet: write zeros before the first and after the last byte
 *   of the affected blocks
 * @returns the file offset after the last byte
 */
function putBytes(volume: Volume, extent: BmbtRec, position: Bytes, feed: Feed, fresh: boolean): Bytes {
  const { device } = volume
  const { blocksize, fsbToDaddr } = volume.geometry
  if (fresh) volume.beforeReuse(fsbToDaddr(extent.startblock), extent.blockcount * blocksize)
  // In bytes from the start of the extent.
  const end = extent.blockcount * blocksize
  const from = (unitOf(position, blocksize) - extent.startoff) * blocksize + inUnit(position, blocksize)
  const base = deviceOffset(volume.geometry, extent, position) - from
  let at = from
  let pad = fresh ? from % blocksize : 0
  while (at < end && feed.ready() > 0) {
    let bytes = feed.take(Math.min(CHUNK_BYTES, end - at))
    const next = at + bytes.length
    // If this is the last piece, or the block ends inside it, append the zeros.
    const rest =
      fresh && next % blocksize !== 0 && (next === end || feed.ready() === 0) ? blocksize - (next % blocksize) : 0
    if (pad > 0 || rest > 0) {
      const padded = new Uint8Array(pad + bytes.length + rest)
      padded.set(bytes, pad)
      bytes = padded
    }
    device.write(bytes, base + at - pad)
    pad = 0
    at = next
  }
  return add(position, at - from)
}

/** Copy on write: write the data at `position` to newly allocated blocks. */
function writeShared(volume: Volume, ino: number, position: Bytes, feed: Feed, options: WriteOptions): Bytes {
  const { blocksize } = volume.geometry
  const startoff = unitOf(position, blocksize)
  const inode = openInode(volume, ino)
  const expected = Math.min(feed.expected(), BYTES_PER_TRANSACTION)
  const wanted = Math.max(1, unitsFor(add(position, expected), blocksize) - startoff)
  const run = runAt(inode, startoff, Math.min(wanted, SHARED_BLOCKS), volume)
  if (run.kind !== 'shared' || !run.extent) throw inodeError(ino, `file block ${startoff} is no longer shared`)
  let at = position
  const fill = (offset: Bytes, bytes: Uint8Array): Bytes => {
    let done = Number(subtract(at, offset))
    while (done < bytes.length && feed.ready() > 0) {
      const piece = feed.take(bytes.length - done)
      bytes.set(piece, done)
      done += piece.length
    }
    at = add(offset, done)
    return at
  }
  copyOnWrite(volume, ino, run.extent, fill, (tx, changed) => finish(tx, changed, at, options))
  return at
}

// ------------------------------------------------------------------------------------------- zeros

/**
 * Zero the written blocks between EOF and `to`, which is about to become part of the file.
 */
export function zeroTail(volume: Volume, ino: number, to: Bytes): void {
  const inode = openInode(volume, ino)
  zeroRange(volume, ino, inode.size, to)
}

const ZEROS = new Uint8Array(CHUNK_BYTES)

/**
 * Zero the bytes [from, to) in written blocks; holes and unwritten blocks read as zeros anyway.
 */
export function zeroRange(volume: Volume, ino: number, from: Bytes, to: Bytes): void {
  const { blocksize } = volume.geometry
  for (let position = from; position < to; ) {
    const inode = openInode(volume, ino)
    const startoff = unitOf(position, blocksize)
    const rec = findExtent(inode, 'data', startoff)
    if (!rec || unitStart(rec.startoff, blocksize) >= to) return
    position = most(position, unitStart(rec.startoff, blocksize))
    const end = least(to, unitStart(rec.startoff + rec.blockcount, blocksize))
    if (rec.extentflag === 0) zeroWritten(volume, ino, position, end)
    position = end
  }
}

function zeroWritten(volume: Volume, ino: number, from: Bytes, to: Bytes): void {
  const { blocksize } = volume.geometry
  for (let position = from; position < to; ) {
    const startoff = unitOf(position, blocksize)
    const run = runAt(openInode(volume, ino), startoff, unitsFor(to, blocksize) - startoff, volume)
    const { extent } = run
    if (!extent) throw inodeError(ino, `file block ${startoff} is no longer mapped`)
    const end = least(to, unitStart(extent.startoff + extent.blockcount, blocksize))
    if (run.kind === 'shared') {
      const start = position
      const replaced = copyOnWrite(volume, ino, extent, (offset, bytes) => {
        bytes.fill(0, Number(most(0, subtract(start, offset))), Number(least(bytes.length, subtract(end, offset))))
        return least(end, add(offset, bytes.length))
      })
      position = least(end, unitStart(replaced, blocksize))
      continue
    }
    const base = deviceOffset(volume.geometry, extent, position)
    const length = Number(subtract(end, position))
    for (let at = 0; at < length; at += CHUNK_BYTES) {
      volume.device.write(ZEROS.subarray(0, Math.min(CHUNK_BYTES, length - at)), base + at)
    }
    position = end
  }
}
