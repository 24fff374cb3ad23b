import { XfsError } from '../errors.ts'
import type { BmbtRec } from '../format/btrecs.ts'
import { FORK_FORMATS } from '../format/dinode.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { forkBytes, forkFormat, type Inode } from '../inode/inode.ts'
import { extents } from '../mapping/extents.ts'
import { refuseRealtime } from '../mapping/fork.ts'
import { add, type Bytes, capped, inUnit, least, most, subtract, unitOf, unitStart } from '../util/bytes.ts'
import type { BlockReader } from '../volume.ts'

/**
 * Contents of files. This room handles the bytes of regular files: reading them here, writing in
 * write.ts, copy-on-write in cow.ts, changing ranges (punch, zero, collapse …) in fallocate.ts. It
 * does not handle names or permissions.
 *
 * Invariants: shared blocks are never written to; bytes are on the device before a mapping makes
 * them visible; bytes past EOF in the last block are never read.
 */

/** Maximum bytes that are read or written at once. */
export const CHUNK_BYTES = 2 ** 20
const MAX_READ = 2 ** 30

/** A range of a file: its bytes, or undefined if it has none (a hole, or unwritten blocks). */
interface Segment {
  readonly offset: Bytes
  readonly length: Bytes
  /** The extent of the bytes; undefined for zeros. */
  readonly extent: BmbtRec | undefined
}

/**
 * The ranges of [from, to) in bytes, up to EOF: alternating data and gaps. Adjacent gaps are
 * joined.
 */
export function* segments(
  inode: Inode,
  from: Bytes = 0,
  to: Bytes = inode.size,
  reader: BlockReader = inode.volume,
): Generator<Segment> {
  const { blocksize } = inode.volume.geometry
  const end = least(to, inode.size)
  let position = from
  if (position >= end) return
  for (const extent of extents(inode, 'data', unitOf(from, blocksize), reader)) {
    if (extent.extentflag === 1) continue
    const start = most(unitStart(extent.startoff, blocksize), from)
    if (start >= end) break
    if (start > position) yield { offset: position, length: subtract(start, position), extent: undefined }
    const stop = least(unitStart(extent.startoff + extent.blockcount, blocksize), end)
    yield { offset: start, length: subtract(stop, start), extent }
    position = stop
  }
  if (position < end) yield { offset: position, length: subtract(end, position), extent: undefined }
}

/**
 * The bytes [offset, offset + length) of a file, up to EOF.
 * @throws XfsError RANGE above 1 GiB: read in pieces
 */
export function readFile(
  inode: Inode,
  offset: Bytes = 0,
  length: Bytes = inode.size,
  reader: BlockReader = inode.volume,
): Uint8Array {
  const wanted = capped(most(0, least(length, subtract(inode.size, offset))), Number.MAX_SAFE_INTEGER)
  if (wanted > MAX_READ)
    throw new XfsError('RANGE', `cannot read ${wanted} bytes at once: read in pieces`, { ino: inode.ino })
  if (forkFormat(inode, 'data') === FORK_FORMATS.local)
    return forkBytes(inode, 'data').slice(Number(offset), Number(offset) + wanted)
  refuseRealtime(inode, 'data')
  const bytes = new Uint8Array(wanted)
  for (const segment of segments(inode, offset, add(offset, wanted), reader)) {
    if (!segment.extent) continue
    const at = Number(subtract(segment.offset, offset))
    readExtent(inode, segment.extent, segment.offset, bytes.subarray(at, at + Number(segment.length)))
  }
  return bytes
}

/** Fill `into` from file offset `offset` in `extent`. */
function readExtent(inode: Inode, extent: BmbtRec, offset: Bytes, into: Uint8Array): void {
  inode.volume.device.read(into, deviceOffset(inode.volume.geometry, extent, offset))
}

/** The position on the device of the byte at file offset `offset` in `extent`. */
export function deviceOffset({ blocksize, fsbToDaddr }: Geometry, extent: BmbtRec, offset: Bytes): number {
  const block = unitOf(offset, blocksize) - extent.startoff
  return fsbToDaddr(extent.startblock) * BASIC_BLOCK + block * blocksize + inUnit(offset, blocksize)
}

interface FileChunk {
  readonly offset: Bytes
  readonly length: Bytes
  /** Undefined: zeros, of any length. The bytes are valid until the next chunk is requested. */
  readonly bytes: Uint8Array | undefined
}

/**
 * A file from start to end in pieces of at most `chunkBytes`; a gap is one piece without bytes.
 */
export function* fileChunks(
  inode: Inode,
  from: Bytes = 0,
  to: Bytes = inode.size,
  chunkBytes = CHUNK_BYTES,
  reader: BlockReader = inode.volume,
): Generator<FileChunk> {
  if (forkFormat(inode, 'data') === FORK_FORMATS.local) {
    const bytes = readFile(inode, from, subtract(to, from), reader)
    if (bytes.length > 0) yield { offset: from, length: bytes.length, bytes }
    return
  }
  refuseRealtime(inode, 'data')
  const buffer = new Uint8Array(Math.max(0, capped(subtract(least(to, inode.size), from), chunkBytes)))
  for (const segment of segments(inode, from, to, reader)) {
    if (!segment.extent) {
      yield { offset: segment.offset, length: segment.length, bytes: undefined }
      continue
    }
    // The blocks are on a device: their number of bytes is a safe integer.
    const whole = Number(segment.length)
    for (let done = 0; done < whole; ) {
      const length = Math.min(buffer.length, whole - done)
      const bytes = buffer.subarray(0, length)
      const offset = add(segment.offset, done)
      readExtent(inode, segment.extent, offset, bytes)
      yield { offset, length, bytes }
      done += length
    }
  }
}
