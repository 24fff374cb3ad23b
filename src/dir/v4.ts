import { daBlocks, daError, readDaBlock } from '../da/dablock.ts'
import { XfsError } from '../errors.ts'
import { FORK_FORMATS } from '../format/dinode.ts'
import {
  DIR_ALIGN,
  DIR_LEAF_OFFSET,
  DirBlockTail,
  DirDataEntryHead,
  DirDataTag,
  DirLeafEntry,
  DirSfEntryHead,
  DirSfHead,
} from '../format/dir.ts'
import { dataFtype, isDataFree } from '../format/dirblocks.ts'
import { sfHeaderSize, sfIno, sfParent } from '../format/dirshortform.ts'
import { bytesAt } from '../format/fields.ts'
import { DIR2_BLOCK_MAGIC, Dir2DataHdr } from '../format/v4.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { forkFormat, forkStart, type Inode, inodeError } from '../inode/inode.ts'
import { extents } from '../mapping/extents.ts'
import type { BlockReader } from '../volume.ts'
import { entryIno, entryName, entryNameLength, freeLength } from './datablock.ts'

/**
 * Directories of V4 filesystems, read-only and in the simplest way: all data, no hashes. Blocks
 * have no checksum and a header of 16 bytes. The file type after a name is present only with the
 * feature `ftype2`.
 */

interface V4Entry {
  readonly ino: number
  readonly ftype: number
  readonly name: Uint8Array
}

const DATA_START = Dir2DataHdr.size

/** Entries including "." and ".." if they are stored; names are views. */
export function* v4Entries(dir: Inode, reader: BlockReader): Generator<V4Entry> {
  if (forkFormat(dir, 'data') === FORK_FORMATS.local) yield* shortEntries(dir)
  else yield* longEntries(dir, reader)
}

/** The inode that `..` points to. */
export function v4Parent(dir: Inode, reader: BlockReader): number {
  if (forkFormat(dir, 'data') === FORK_FORMATS.local) {
    return sfParent(dir.view, forkStart(dir, 'data'))
  }
  for (const entry of longEntries(dir, reader)) {
    if (entry.name.length === 2 && entry.name[0] === 0x2e && entry.name[1] === 0x2e) return entry.ino
  }
  throw inodeError(dir.ino, 'directory without ".."')
}

function* shortEntries(dir: Inode): Generator<V4Entry> {
  const ftypeSize = dir.volume.features.has('ftype') ? 1 : 0
  const { view } = dir
  const at = forkStart(dir, 'data')
  const end = at + dir.roundedSize
  const i8count = DirSfHead.fields.i8count.get(view, at)
  const inoSize = i8count === 0 ? 4 : 8
  let next = at + sfHeaderSize(i8count)
  for (let left = DirSfHead.fields.count.get(view, at); left > 0; left--) {
    const head = next + DirSfEntryHead.size
    const length = head <= end ? DirSfEntryHead.fields.namelen.get(view, next) : 0
    const size = DirSfEntryHead.size + length + ftypeSize + inoSize
    if (length === 0 || next + size > end)
      throw inodeError(dir.ino, 'shortform directory: an entry does not fit', 'list')
    const ftypeAt = head + length
    yield {
      name: bytesAt(view, head, length),
      ftype: ftypeSize === 0 ? 0 : view.getUint8(ftypeAt),
      ino: sfIno(view, ftypeAt + ftypeSize, i8count),
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
      if (seen.has(buf.daddr)) throw daError(dir, 'data', dablk, 'the block is mapped twice')
      seen.add(buf.daddr)
      yield* blockEntries(dir, dablk, buf.view)
    }
  }
}

function* blockEntries(dir: Inode, dablk: number, view: DataView): Generator<V4Entry> {
  const ftypeSize = dir.volume.features.has('ftype') ? 1 : 0
  let end = view.byteLength
  if (Dir2DataHdr.fields.magic.get(view, 0) === DIR2_BLOCK_MAGIC) {
    end -= DirBlockTail.size
    end -= DirLeafEntry.size * DirBlockTail.fields.count.get(view, end)
  }
  for (let at = DATA_START; at < end; ) {
    const left = end - at
    if (left < DIR_ALIGN) throw daError(dir, 'data', dablk, `no entry fits at ${at}`)
    if (isDataFree(view, at)) {
      const length = freeLength(view, at)
      if (length < DIR_ALIGN || length % DIR_ALIGN !== 0 || length > left)
        throw daError(dir, 'data', dablk, `invalid free space of ${length} bytes at ${at}`)
      at += length
      continue
    }
    const nameLength = left >= 2 * DIR_ALIGN ? entryNameLength(view, at) : 0
    const size = (DirDataEntryHead.size + nameLength + ftypeSize + DirDataTag.size + 7) & ~7
    if (nameLength === 0 || size > left) throw daError(dir, 'data', dablk, `no valid entry at ${at}`)
    yield {
      ino: entryIno(view, at),
      ftype: ftypeSize === 0 ? 0 : dataFtype(view, at),
      name: entryName(view, at),
    }
    at += size
  }
  if (end < DATA_START)
    throw new XfsError('CORRUPT', `inode ${dir.ino}: directory block of ${end} bytes`, { ino: dir.ino })
}
