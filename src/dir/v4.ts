import { daBlocks, daError, readDaBlock } from '../da/dablock.ts'
import { XfsError } from '../errors.ts'
import { FORK_FORMATS } from '../format/dinode.ts'
import { DIR_FREE_TAG, DIR_LEAF_OFFSET } from '../format/dir.ts'
import { get64 } from '../format/struct.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { forkFormat, forkStart, type Inode, inodeError } from '../inode/inode.ts'
import { extents } from '../mapping/bmap.ts'
import type { BlockReader } from '../volume.ts'

/**
 * Directories of V4 filesystems, for reading only and in the simplest way: all data, no hashes. Blocks have no checksum and a header of
 * 16 bytes; the file type behind a name is there only where the filesystem has the feature (`ftype2`).
 */

interface V4Entry {
  readonly ino: number
  readonly ftype: number
  readonly name: Uint8Array
}

const BLOCK_MAGIC = 0x58443242 // XD2B
const DATA_START = 16

/** Entries with "." and ".." where they are stored; names are views. */
export function* v4Entries(dir: Inode, reader: BlockReader): Generator<V4Entry> {
  if (forkFormat(dir, 'data') === FORK_FORMATS.local) yield* shortEntries(dir)
  else yield* longEntries(dir, reader)
}

/** The inode that `..` leads to. */
export function v4Parent(dir: Inode, reader: BlockReader): number {
  if (forkFormat(dir, 'data') === FORK_FORMATS.local) {
    const at = forkStart(dir, 'data')
    return dir.view.getUint8(at + 1) === 0 ? dir.view.getUint32(at + 2) : get64(dir.view, at + 2)
  }
  for (const entry of longEntries(dir, reader)) {
    if (entry.name.length === 2 && entry.name[0] === 0x2e && entry.name[1] === 0x2e) return entry.ino
  }
  throw inodeError(dir.ino, 'a directory without ".."')
}

const bytesAt = (view: DataView, at: number, length: number): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset + at, length)

function* shortEntries(dir: Inode): Generator<V4Entry> {
  const ftypeSize = dir.volume.features.has('ftype') ? 1 : 0
  const { view } = dir
  const at = forkStart(dir, 'data')
  const end = at + dir.roundedSize
  const wide = view.getUint8(at + 1) !== 0
  let next = at + (wide ? 10 : 6)
  for (let left = view.getUint8(at); left > 0; left--) {
    const length = next + 3 <= end ? view.getUint8(next) : 0
    const size = 3 + length + ftypeSize + (wide ? 8 : 4)
    if (length === 0 || next + size > end)
      throw inodeError(dir.ino, 'shortform directory: an entry does not fit', 'list')
    const inoAt = next + 3 + length + ftypeSize
    yield {
      name: bytesAt(view, next + 3, length),
      ftype: ftypeSize === 0 ? 0 : view.getUint8(inoAt - 1),
      ino: wide ? get64(view, inoAt) : view.getUint32(inoAt),
    }
    next += size
  }
}

function* longEntries(dir: Inode, reader: BlockReader): Generator<V4Entry> {
  const { blocksize } = dir.volume.geometry
  const blocks = daBlocks(dir, 'data')
  const end = Math.min(DIR_LEAF_OFFSET / blocksize, Math.ceil(dir.roundedSize / blocksize))
  const seen = new Set<number>()
  let dablk = 0
  for (const rec of extents(dir, 'data', 0, reader)) {
    if (rec.startoff >= end) return
    dablk = Math.max(dablk, Math.floor(rec.startoff / blocks) * blocks)
    for (; dablk < Math.min(end, rec.startoff + rec.blockcount); dablk += blocks) {
      const buf = readDaBlock(dir, 'data', dablk, blockTypes.dir3, reader)
      if (seen.has(buf.daddr)) throw daError(dir, 'data', dablk, 'the same block stands in two places')
      seen.add(buf.daddr)
      yield* blockEntries(dir, dablk, buf.view)
    }
  }
}

function* blockEntries(dir: Inode, dablk: number, view: DataView): Generator<V4Entry> {
  const ftypeSize = dir.volume.features.has('ftype') ? 1 : 0
  let end = view.byteLength
  if (view.getUint32(0) === BLOCK_MAGIC) end -= 8 + 8 * view.getUint32(view.byteLength - 8)
  for (let at = DATA_START; at < end; ) {
    const left = end - at
    if (left < 8) throw daError(dir, 'data', dablk, `no entry fits at ${at}`)
    if (view.getUint16(at) === DIR_FREE_TAG) {
      const length = view.getUint16(at + 2)
      if (length < 8 || length % 8 !== 0 || length > left)
        throw daError(dir, 'data', dablk, `a free space of ${length} bytes at ${at}`)
      at += length
      continue
    }
    const nameLength = left >= 16 ? view.getUint8(at + 8) : 0
    const size = (8 + 1 + nameLength + ftypeSize + 2 + 7) & ~7
    if (nameLength === 0 || size > left) throw daError(dir, 'data', dablk, `no entry at ${at}`)
    yield {
      ino: get64(view, at),
      ftype: ftypeSize === 0 ? 0 : view.getUint8(at + 9 + nameLength),
      name: bytesAt(view, at + 9, nameLength),
    }
    at += size
  }
  if (end < DATA_START)
    throw new XfsError('CORRUPT', `inode ${dir.ino}: a directory block of ${end} bytes`, { ino: dir.ino })
}
