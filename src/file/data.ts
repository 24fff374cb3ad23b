import { XfsError } from '../errors.ts'
import type { BmbtRec } from '../format/btrecs.ts'
import { FORK_FORMATS } from '../format/dinode.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import type { BlockReader } from '../volume.ts'
import { extents } from './bmap.ts'
import { refuseRealtime } from './fork.ts'
import { forkBytes, forkFormat, type Inode } from './inode.ts'

/** The most that is read or written at once. */
export const CHUNK_BYTES = 2 ** 20
const MAX_READ = 2 ** 30

/** A piece of a file: its bytes, or undefined where it has none (a hole, or blocks that were never written). */
export interface Segment {
  readonly offset: number
  readonly length: number
  /** Where the bytes are; undefined for zeros. */
  readonly extent: BmbtRec | undefined
}

/** The runs of [from, to) in bytes, within the file's size: data and gaps in turn. Neighbouring gaps are one. */
export function* segments(
  inode: Inode,
  from = 0,
  to = inode.size,
  reader: BlockReader = inode.volume,
): Generator<Segment> {
  const { blocksize } = inode.volume.geometry
  const end = Math.min(to, inode.size)
  let position = from
  if (position >= end) return
  for (const extent of extents(inode, 'data', Math.floor(from / blocksize), reader)) {
    if (extent.extentflag === 1) continue
    const start = Math.max(extent.startoff * blocksize, from)
    if (start >= end) break
    if (start > position) yield { offset: position, length: start - position, extent: undefined }
    const stop = Math.min((extent.startoff + extent.blockcount) * blocksize, end)
    yield { offset: start, length: stop - start, extent }
    position = stop
  }
  if (position < end) yield { offset: position, length: end - position, extent: undefined }
}

/**
 * The bytes [offset, offset + length) of a file, or as many of them as lie before its end.
 * @throws XfsError RANGE above 1 GiB: read in pieces
 */
export function readFile(
  inode: Inode,
  offset = 0,
  length = inode.size,
  reader: BlockReader = inode.volume,
): Uint8Array {
  const wanted = Math.max(0, Math.min(length, inode.size - offset))
  if (wanted > MAX_READ) throw new XfsError('RANGE', `${wanted} bytes at once; read in pieces`, { ino: inode.ino })
  if (forkFormat(inode, 'data') === FORK_FORMATS.local) return forkBytes(inode, 'data').slice(offset, offset + wanted)
  refuseRealtime(inode, 'data')
  const bytes = new Uint8Array(wanted)
  for (const segment of segments(inode, offset, offset + wanted, reader)) {
    if (!segment.extent) continue
    const at = segment.offset - offset
    readExtent(inode, segment.extent, segment.offset, bytes.subarray(at, at + segment.length))
  }
  return bytes
}

/** Fill `into` from file offset `offset`, which lies in `extent`. */
export function readExtent(inode: Inode, extent: BmbtRec, offset: number, into: Uint8Array): void {
  const { volume } = inode
  const { blocksize, fsbToDaddr } = volume.geometry
  volume.device.read(into, fsbToDaddr(extent.startblock) * BASIC_BLOCK + (offset - extent.startoff * blocksize))
}

export interface Chunk {
  readonly offset: number
  readonly length: number
  /** Undefined: zeros, of any length. The bytes are valid until the next chunk is asked for. */
  readonly bytes: Uint8Array | undefined
}

/** A file from front to back in pieces of at most `chunkBytes`; gaps come as one piece without bytes. */
export function* fileChunks(
  inode: Inode,
  from = 0,
  to = inode.size,
  chunkBytes = CHUNK_BYTES,
  reader: BlockReader = inode.volume,
): Generator<Chunk> {
  if (forkFormat(inode, 'data') === FORK_FORMATS.local) {
    const bytes = readFile(inode, from, to - from, reader)
    if (bytes.length > 0) yield { offset: from, length: bytes.length, bytes }
    return
  }
  refuseRealtime(inode, 'data')
  const buffer = new Uint8Array(Math.min(chunkBytes, Math.max(0, Math.min(to, inode.size) - from)))
  for (const segment of segments(inode, from, to, reader)) {
    if (!segment.extent) {
      yield { offset: segment.offset, length: segment.length, bytes: undefined }
      continue
    }
    for (let done = 0; done < segment.length; ) {
      const length = Math.min(buffer.length, segment.length - done)
      const bytes = buffer.subarray(0, length)
      readExtent(inode, segment.extent, segment.offset + done, bytes)
      yield { offset: segment.offset + done, length, bytes }
      done += length
    }
  }
}
