import { XfsError } from '../errors.ts'
import { FILE_TYPES, S_IFMT } from './dinode.ts'
import {
  array,
  bytesAt,
  crc32c,
  dablk,
  daddr,
  get64,
  i32,
  ino,
  lsn,
  nested,
  pad,
  type Rec,
  set64,
  struct,
  u8,
  u16,
  u32,
  uuid,
  x16,
  x32,
} from './struct.ts'

/**
 * Directories. There are four formats, from small to large:
 *
 *   shortform   in the inode: header, then packed entries; "." and ".." are implied
 *   block       one directory block: data entries from the start, leaf entries (hash -> address)
 *               and a tail at the end
 *   leaf        data blocks, and one leaf block at 32 GiB, which also holds the longest free space
 *               of each data block
 *   node        data blocks, a hash btree (nodes above leaves) from 32 GiB on, free index blocks
 *               from 64 GiB on
 *
 * Parts with a fixed layout are declared. The others (entries with a name inside) have an iterator
 * here that yields plain records. Iterators do not trust lengths: on bytes that contradict the
 * format they throw XfsError CORRUPT, they never leave the view, and every step moves forward. All
 * structures are those of V5 (with CRC and file type).
 *
 * An *address* in a leaf entry is the byte offset in the directory's data space, in units of 8.
 */

export const DIR3_BLOCK_MAGIC = 0x58444233 // XDB3
export const DIR3_DATA_MAGIC = 0x58444433 // XDD3
export const DIR3_FREE_MAGIC = 0x58444633 // XDF3
export const DIR3_LEAF1_MAGIC = 0x3df1
export const DIR3_LEAFN_MAGIC = 0x3dff
export const DA3_NODE_MAGIC = 0x3ebe

/** Bytes: the start of the leaf (hash) space and of the free index of a directory. */
export const DIR_LEAF_OFFSET = 2 ** 35
export const DIR_FREE_OFFSET = 2 ** 36

export const DIR_ALIGN = 8
/**
 * The `freetag` that distinguishes a free space from an entry: an inode number never begins with
 * it.
 */
export const DIR_FREE_TAG = 0xffff
/** A `bests` element without a data block. */
export const DIR_NULL_BEST = 0xffff
export const DIR_BESTFREE_COUNT = 3
export const MAX_NAME_LENGTH = 255
/** The maximum depth of a hash btree, of a directory or of attributes. */
export const DA_NODE_MAXDEPTH = 5

/** File types in directory entries. S_IFMT >> 12 has other numbers. */
export const FileTypes = {
  unknown: 0,
  regular: 1,
  directory: 2,
  characterDevice: 3,
  blockDevice: 4,
  fifo: 5,
  socket: 6,
  symlink: 7,
  whiteout: 8,
} as const
export const FILE_TYPE_COUNT = 9

/** The directory file type of an inode's mode. */
export function fileTypeOfMode(mode: number): number {
  switch (mode & S_IFMT) {
    case FILE_TYPES.reg:
      return FileTypes.regular
    case FILE_TYPES.dir:
      return FileTypes.directory
    case FILE_TYPES.chr:
      return FileTypes.characterDevice
    case FILE_TYPES.blk:
      return FileTypes.blockDevice
    case FILE_TYPES.fifo:
      return FileTypes.fifo
    case FILE_TYPES.sock:
      return FileTypes.socket
    case FILE_TYPES.lnk:
      return FileTypes.symlink
    default:
      return FileTypes.unknown
  }
}

// ----------------------------------------------------------------------------- declared structures

// biome-ignore format: one field a line, columns aligned
export const DaBlkinfo = struct('da_blkinfo', 12, 'xfs_da_format.h: struct xfs_da_blkinfo', {
  forw:     dablk(0, 'next block of this level, as a file block', { to: 'inodata' }),
  back:     dablk(4, 'previous block of this level, as a file block', { to: 'inodata' }),
  magic:    x16(8, 'magic number of the block type'),
  pad:      pad(10, 2),
})
export type DaBlkinfo = Rec<typeof DaBlkinfo>

// biome-ignore format: one field a line, columns aligned
export const Da3Blkinfo = struct('da3_blkinfo', 56, 'xfs_da_format.h: struct xfs_da3_blkinfo', {
  hdr:      nested(0, DaBlkinfo, 'siblings and magic'),
  crc:      crc32c(12),
  bno:      daddr(16, 'address of this block'),
  lsn:      lsn(24, 'LSN of the last write of this block'),
  uuid:     uuid(32, 'UUID of the filesystem'),
  owner:    ino(48, 'inode that owns the block'),
})
export type Da3Blkinfo = Rec<typeof Da3Blkinfo>

/**
 * Leaf1, leafn and (with other names for count and stale) node blocks: 64 bytes precede the
 * entries.
 */
export const DA3_HEADER_SIZE = 64

// biome-ignore format: one field a line, columns aligned
export const Da3NodeHdr = struct('da3_node_hdr', 64, 'xfs_da_format.h: struct xfs_da3_node_hdr', {
  info:     nested(0, Da3Blkinfo, 'siblings, owner, self-address'),
  count:    u16(56, 'entries in use'),
  level:    u16(58, 'height above the leaves'),
  pad:      pad(60, 4),
})
export type Da3NodeHdr = Rec<typeof Da3NodeHdr>

// biome-ignore format: one field a line, columns aligned
export const DaNodeEntry = struct('da_node_entry', 8, 'xfs_da_format.h: struct xfs_da_node_entry', {
  hashval:  x32(0, 'maximum hash value in the child'),
  before:   dablk(4, 'file block of the child', { to: 'inodata' }),
})
export type DaNodeEntry = Rec<typeof DaNodeEntry>

// biome-ignore format: one field a line, columns aligned
export const Dir3BlkHdr = struct('dir3_blk_hdr', 48, 'xfs_da_format.h: struct xfs_dir3_blk_hdr', {
  magic:    x32(0, 'magic number of the block type'),
  crc:      crc32c(4),
  bno:      daddr(8, 'address of this block'),
  lsn:      lsn(16, 'LSN of the last write of this block'),
  uuid:     uuid(24, 'UUID of the filesystem'),
  owner:    ino(40, 'inode that owns the block'),
})
export type Dir3BlkHdr = Rec<typeof Dir3BlkHdr>

// biome-ignore format: one field a line, columns aligned
export const DirDataFree = struct('dir2_data_free', 4, 'xfs_da_format.h: struct xfs_dir2_data_free', {
  offset:   x16(0, 'offset of the free space in the block, in bytes'),
  length:   x16(2, 'length in bytes'),
})
export type DirDataFree = Rec<typeof DirDataFree>

// biome-ignore format: one field a line, columns aligned
export const Dir3DataHdr = struct('dir3_data_hdr', 64, 'xfs_da_format.h: struct xfs_dir3_data_hdr', {
  hdr:      nested(0, Dir3BlkHdr, 'owner, self-address'),
  bestfree: array(48, DIR_BESTFREE_COUNT, (offset, doc) => nested(offset, DirDataFree, doc), 'the three longest free spaces'),
  pad:      pad(60, 4),
})
export type Dir3DataHdr = Rec<typeof Dir3DataHdr>

const BEST_OFFSET = Dir3DataHdr.fields.bestfree.offset + DirDataFree.fields.offset.offset
const BEST_LENGTH = Dir3DataHdr.fields.bestfree.offset + DirDataFree.fields.length.offset
/** Offset and bytes of the free space in a slot of the bestfree table. */
export const bestOffset = (view: DataView, slot: number): number =>
  view.getUint16(BEST_OFFSET + slot * DirDataFree.size)
export const bestLength = (view: DataView, slot: number): number =>
  view.getUint16(BEST_LENGTH + slot * DirDataFree.size)

/** Offset of the first entry in a data or block format block. */
export const DIR_DATA_START = Dir3DataHdr.size

/** The fixed part before an entry's name. File type, padding and tag follow the name. */
// biome-ignore format: one field a line, columns aligned
export const DirDataEntryHead = struct('dir2_data_entry', 9, 'xfs_da_format.h: struct xfs_dir2_data_entry', {
  inumber:  ino(0, 'inode of the entry', { to: 'inode' }),
  namelen:  u8(8, 'bytes of the name'),
})

/** The fixed part of a free space. Its tag (its own offset) is in its last two bytes. */
// biome-ignore format: one field a line, columns aligned
export const DirDataUnusedHead = struct('dir2_data_unused', 4, 'xfs_da_format.h: struct xfs_dir2_data_unused', {
  freetag:  x16(0, 'all ones: marks a free space', { magic: DIR_FREE_TAG }),
  length:   x16(2, 'bytes of the free space, a multiple of 8'),
})

/** The last two bytes of an entry or a free space. */
// biome-ignore format: one field a line, columns aligned
export const DirDataTag = struct('dir2_data_tag', 2, 'xfs_da_format.h: __be16 tag', {
  tag:      x16(0, 'offset of the entry or free space in the block, in bytes'),
})

// biome-ignore format: one field a line, columns aligned
export const DirLeafEntry = struct('dir2_leaf_entry', 8, 'xfs_da_format.h: struct xfs_dir2_leaf_entry', {
  hashval:  x32(0, 'hash value of the name'),
  address:  x32(4, 'byte offset of the entry in the data space, in units of 8; zero if stale'),
})
export type DirLeafEntry = Rec<typeof DirLeafEntry>

// biome-ignore format: one field a line, columns aligned
export const DirBlockTail = struct('dir2_block_tail', 8, 'xfs_da_format.h: struct xfs_dir2_block_tail', {
  count:    u32(0, 'leaf entries, including stale ones'),
  stale:    u32(4, 'stale leaf entries'),
})
export type DirBlockTail = Rec<typeof DirBlockTail>

// biome-ignore format: one field a line, columns aligned
export const Dir3LeafHdr = struct('dir3_leaf_hdr', 64, 'xfs_da_format.h: struct xfs_dir3_leaf_hdr', {
  info:     nested(0, Da3Blkinfo, 'siblings, owner, self-address'),
  count:    u16(56, 'leaf entries, including stale ones'),
  stale:    u16(58, 'stale leaf entries'),
  pad:      pad(60, 4),
})
export type Dir3LeafHdr = Rec<typeof Dir3LeafHdr>

// biome-ignore format: one field a line, columns aligned
export const DirLeafTail = struct('dir2_leaf_tail', 4, 'xfs_da_format.h: struct xfs_dir2_leaf_tail', {
  bestcount: u32(0, 'elements of the bests array before the tail, one for each data block'),
})

// biome-ignore format: one field a line, columns aligned
export const Dir3FreeHdr = struct('dir3_free_hdr', 64, 'xfs_da_format.h: struct xfs_dir3_free_hdr', {
  hdr:      nested(0, Dir3BlkHdr, 'owner, self-address'),
  firstdb:  i32(48, 'number of the data block of the first element'),
  nvalid:   i32(52, 'elements of the bests array'),
  nused:    i32(56, 'elements with a data block'),
  pad:      pad(60, 4),
})
export type Dir3FreeHdr = Rec<typeof Dir3FreeHdr>

/**
 * An element of a bests array: bytes of the longest free space of one data block, all ones if there
 * is no block.
 */
export const DirBest = struct('dir2_data_off', 2, 'xfs_da_format.h: __be16 bests[]', {
  best: x16(0, 'bytes of the longest free space of the data block'),
})

/** The fixed part of a shortform directory; the parent inode number follows in 4 or 8 bytes. */
// biome-ignore format: one field a line, columns aligned
export const DirSfHead = struct('dir2_sf_hdr', 2, 'xfs_da_format.h: struct xfs_dir2_sf_hdr', {
  count:    u8(0, 'entries'),
  i8count:  u8(1, 'inode numbers (including the parent) that need 8 bytes; if not zero, all have 8'),
})

/** The fixed part before a shortform entry's name. File type and inode number follow the name. */
// biome-ignore format: one field a line, columns aligned
export const DirSfEntryHead = struct('dir2_sf_entry', 3, 'xfs_da_format.h: struct xfs_dir2_sf_entry', {
  namelen:  u8(0, 'bytes of the name'),
  offset:   x16(1, 'offset of the entry in block format'),
})

/**
 * The file type, which follows the name of an entry. The tag is at the end of an entry or free
 * space.
 */
const FTYPE_SIZE = 1
const TAG_SIZE = 2
/** Read for every entry and free space: by offsets, not by fields, for speed. */
const NAME_LENGTH = DirDataEntryHead.fields.namelen.offset
const FREE_TAG = DirDataUnusedHead.fields.freetag.offset
const FREE_LENGTH = DirDataUnusedHead.fields.length.offset
/** The size of an entry with a name of one byte, and of the smallest free space. */
const SMALLEST_ENTRY = 16
const SMALLEST_FREE = DIR_ALIGN

// --------------------------------------------------------------------------------------- name hash

const rol = (value: number, count: number): number => (value << count) | (value >>> (32 - count))

/**
 * The hash of a directory entry's name or of an attribute's name. @source xfs_da_btree.c:
 * xfs_da_hashname
 */
export function daHash(name: Uint8Array): number {
  let hash = 0
  for (let i = 0; i < name.length; i++) hash = (name[i] as number) ^ rol(hash, 7)
  return hash >>> 0
}

/** The hash of a name in a case-insensitive filesystem (`-n version=ci`). */
export function daHashIgnoringCase(name: Uint8Array): number {
  let hash = 0
  for (const byte of name) hash = lowerCase(byte) ^ rol(hash, 7)
  return hash >>> 0
}

// Latin letters of ISO 8859-1, as kernels since 6.4 fold them.
const lowerCase = (byte: number): number =>
  (byte >= 0x41 && byte <= 0x5a) || (byte >= 0xc0 && byte <= 0xde && byte !== 0xd7) ? byte + 0x20 : byte

/** The hash function that a filesystem uses for directory names. */
export const dirHash = (features: { has(name: 'asciici'): boolean }): ((name: Uint8Array) => number) =>
  features.has('asciici') ? daHashIgnoringCase : daHash

// ----------------------------------------------------------------------------------- the iterators

const corrupt = (type: string, message: string, field?: string): XfsError =>
  new XfsError('CORRUPT', message, field === undefined ? { type } : { type, field })

/** An entry of a directory of any format. `name` is a view on the block, not a copy. */
export interface DirEntry {
  /** Byte offset of the entry in its view. */
  readonly at: number
  /** Its size in bytes. */
  readonly size: number
  readonly ino: number
  readonly ftype: number
  readonly name: Uint8Array
}

/** An entry of a shortform directory; `offset` is its offset in block format. */
export interface DirSfEntry extends DirEntry {
  readonly offset: number
}

/** An entry or free space of a data block. */
export type DirDataItem = (DirEntry & { readonly free: false; readonly tag: number }) | DirDataHole
interface DirDataHole {
  readonly free: true
  readonly at: number
  readonly size: number
  readonly tag: number
}

/** Bytes of an inode number in a shortform directory. */
const sfInoSize = (i8count: number): 4 | 8 => (i8count === 0 ? 4 : 8)

/** Bytes of the header of a shortform directory. */
export const sfHeaderSize = (i8count: number): number => DirSfHead.size + sfInoSize(i8count)

/** Bytes of a shortform entry: length, offset, name, file type, inode number. */
export const sfEntrySize = (nameLength: number, i8count: number): number =>
  DirSfEntryHead.size + nameLength + FTYPE_SIZE + sfInoSize(i8count)

/** The inode number of `..` in a shortform directory. */
export function sfParent(view: DataView, at = 0): number {
  const wide = DirSfHead.fields.i8count.get(view, at) !== 0
  return wide ? get64(view, at + DirSfHead.size) : view.getUint32(at + DirSfHead.size)
}

/** An inode number that follows an entry's name in a shortform directory. */
export const sfIno = (view: DataView, at: number, i8count: number): number =>
  i8count === 0 ? view.getUint32(at) : get64(view, at)

function setSfParent(view: DataView, at: number, parent: number): void {
  if (DirSfHead.fields.i8count.get(view, at) === 0) view.setUint32(at + DirSfHead.size, parent)
  else set64(view, at + DirSfHead.size, parent)
}

/**
 * The entries of a shortform directory that takes `size` bytes (the inode's size field) at `at`.
 *
 * @throws XfsError CORRUPT if header or entries do not fit into `size` bytes or into the view
 */
export function* sfEntries(view: DataView, at: number, size: number): Generator<DirSfEntry> {
  const end = at + size
  if (!(size >= sfHeaderSize(0)) || end > view.byteLength)
    throw corrupt('dir2sf', `shortform directory: ${size} bytes are too small for a header`, 'hdr')
  const count = DirSfHead.fields.count.get(view, at)
  const i8count = DirSfHead.fields.i8count.get(view, at)
  let next = at + sfHeaderSize(i8count)
  for (let i = 0; i < count; i++) {
    const nameLength = next + DirSfEntryHead.size <= end ? DirSfEntryHead.fields.namelen.get(view, next) : 0
    const entrySize = sfEntrySize(nameLength, i8count)
    if (nameLength === 0 || next + entrySize > end) {
      throw corrupt(
        'dir2sf',
        `shortform directory: entry ${i} of ${count} at ${next - at} does not fit into ${size} bytes`,
        'list',
      )
    }
    const head = next + DirSfEntryHead.size
    const inoAt = head + nameLength + FTYPE_SIZE
    yield {
      at: next,
      size: entrySize,
      offset: DirSfEntryHead.fields.offset.get(view, next),
      name: bytesAt(view, head, nameLength),
      ftype: view.getUint8(head + nameLength),
      ino: sfIno(view, inoAt, i8count),
    }
    next += entrySize
  }
}

/** Input for a new shortform directory. */
interface NewSfEntry {
  readonly name: Uint8Array
  readonly ino: number
  readonly ftype: number
  readonly offset: number
}

const needs8 = (value: number): boolean => value > 0xffffffff

/** The number of these inode numbers that need 8 bytes: the header's `i8count`. */
const countWide = (parent: number, entries: Iterable<{ readonly ino: number }>): number => {
  let count = needs8(parent) ? 1 : 0
  for (const entry of entries) if (needs8(entry.ino)) count++
  return count
}

/** Bytes of a shortform directory with these entries. */
export function sfSize(
  parent: number,
  entries: readonly { readonly name: Uint8Array; readonly ino: number }[],
): number {
  const i8count = countWide(parent, entries)
  return entries.reduce((sum, entry) => sum + sfEntrySize(entry.name.length, i8count), sfHeaderSize(i8count))
}

/** A shortform directory as bytes, for an inode's data fork. At most 255 entries. */
export function buildSf(parent: number, entries: readonly NewSfEntry[]): Uint8Array {
  const i8count = countWide(parent, entries)
  const result = new Uint8Array(sfSize(parent, entries))
  const view = new DataView(result.buffer)
  DirSfHead.encode(view, 0, { count: entries.length, i8count })
  setSfParent(view, 0, parent)
  let at = sfHeaderSize(i8count)
  for (const { name, ino: inumber, ftype, offset } of entries) {
    DirSfEntryHead.encode(view, at, { namelen: name.length, offset })
    const head = at + DirSfEntryHead.size
    result.set(name, head)
    view.setUint8(head + name.length, ftype)
    const inoAt = head + name.length + FTYPE_SIZE
    if (i8count === 0) view.setUint32(inoAt, inumber)
    else set64(view, inoAt, inumber)
    at += sfEntrySize(name.length, i8count)
  }
  return result
}

/** Bytes of a data entry: inode number, length, name, file type, tag, rounded up to 8. */
export const dataEntrySize = (nameLength: number): number =>
  (DirDataEntryHead.size + nameLength + FTYPE_SIZE + TAG_SIZE + DIR_ALIGN - 1) & -DIR_ALIGN

/** True if the block is in block format, with leaf entries and tail at its end. */
export const isBlockForm = (view: DataView): boolean => Dir3BlkHdr.fields.magic.get(view, 0) === DIR3_BLOCK_MAGIC

/** The offset of the tail in a block format directory. */
export const blockTailAt = (view: DataView): number => view.byteLength - DirBlockTail.size

/**
 * The end of the entries of a data or block format block.
 *
 * @throws XfsError CORRUPT if the tail of a block format block counts more leaf entries than fit
 */
export function dataEnd(view: DataView): number {
  if (!isBlockForm(view)) return view.byteLength
  const { at } = blockLeafSpan(view)
  return at
}

/** Consecutive leaf entries or other elements. */
export interface Span {
  readonly at: number
  readonly count: number
}

/** The leaf entries of a block format directory. @throws XfsError CORRUPT if they do not fit */
export function blockLeafSpan(view: DataView): Span {
  const tail = blockTailAt(view)
  if (tail < DIR_DATA_START) throw corrupt('dir3', `directory block of ${view.byteLength} bytes`)
  const count = DirBlockTail.fields.count.get(view, tail)
  const at = tail - count * DirLeafEntry.size
  if (at < DIR_DATA_START) throw corrupt('dir3', `directory block: ${count} leaf entries do not fit`, 'btail.count')
  return { at, count }
}

/** The maximum number of entries of a leafn block, and of a node of a hash btree. */
export const daMaxEntries = (blockSize: number): number => Math.floor((blockSize - DA3_HEADER_SIZE) / DaNodeEntry.size)

/** The leaf entries of a leaf1 or leafn block. @throws XfsError CORRUPT if they do not fit */
export function leafSpan(view: DataView): Span {
  const count = Dir3LeafHdr.fields.count.get(view, 0)
  const end = DaBlkinfo.fields.magic.get(view, 0) === DIR3_LEAF1_MAGIC ? leafBestSpan(view).at : view.byteLength
  if (DA3_HEADER_SIZE + count * DirLeafEntry.size > end)
    throw corrupt('dir3', `directory leaf: ${count} entries do not fit`, 'lhdr.count')
  return { at: DA3_HEADER_SIZE, count }
}

/** The bests array of a leaf1 block. @throws XfsError CORRUPT if it does not fit */
export function leafBestSpan(view: DataView): Span {
  const tail = view.byteLength - DirLeafTail.size
  const count = tail < DA3_HEADER_SIZE ? 0 : DirLeafTail.fields.bestcount.get(view, tail)
  const at = tail - count * DirBest.size
  if (at < DA3_HEADER_SIZE) throw corrupt('dir3', `directory leaf: ${count} bests do not fit`, 'ltail.bestcount')
  return { at, count }
}

/** The leaf entries of a block, leaf1 or leafn block. */
export const leafEntriesSpan = (view: DataView): Span => (isBlockForm(view) ? blockLeafSpan(view) : leafSpan(view))

/** The entries of a node of the hash btree. @throws XfsError CORRUPT if they do not fit */
export function nodeSpan(view: DataView): Span {
  const count = Da3NodeHdr.fields.count.get(view, 0)
  if (count > daMaxEntries(view.byteLength))
    throw corrupt('da3node', `hash btree node: ${count} entries do not fit`, 'nhdr.count')
  return { at: DA3_HEADER_SIZE, count }
}

/** The maximum number of elements of a free index block. */
export const freeMaxBests = (blockSize: number): number => Math.floor((blockSize - Dir3FreeHdr.size) / DirBest.size)

/** The bests array of a free index block. @throws XfsError CORRUPT if it does not fit */
export function freeBestSpan(view: DataView): Span {
  const count = Dir3FreeHdr.fields.nvalid.get(view, 0)
  if (count < 0 || count > freeMaxBests(view.byteLength))
    throw corrupt('dir3', `directory free index block: ${count} bests do not fit`, 'fhdr.nvalid')
  return { at: Dir3FreeHdr.size, count }
}

/** The bests of a leaf1 or a free index block. */
export function bests(view: DataView): number[] {
  const { at, count } =
    Dir3BlkHdr.fields.magic.get(view, 0) === DIR3_FREE_MAGIC ? freeBestSpan(view) : leafBestSpan(view)
  return Array.from({ length: count }, (_, i) => DirBest.fields.best.get(view, at + i * DirBest.size))
}

/** True if there is a free space at `at` of a data block, not an entry. */
export const isDataFree = (view: DataView, at: number): boolean => view.getUint16(at + FREE_TAG) === DIR_FREE_TAG

/** The tag of an entry or a free space of `size` bytes: its offset. */
export const dataTag = (view: DataView, at: number, size: number): number => view.getUint16(at + size - TAG_SIZE)

/** The file type of the entry at `at`. */
export const dataFtype = (view: DataView, at: number): number =>
  view.getUint8(at + DirDataEntryHead.size + view.getUint8(at + NAME_LENGTH))

/**
 * Bytes of the entry or free space at `at` of a data block whose entries end at `end`; a negative
 * number if it is not valid. Every scan of a data block uses this step.
 */
export function dataItemSize(view: DataView, at: number, end: number): number {
  if (at < DIR_DATA_START || at % DIR_ALIGN !== 0 || at + SMALLEST_FREE > end) return -1
  if (isDataFree(view, at)) {
    const length = view.getUint16(at + FREE_LENGTH)
    return length < SMALLEST_FREE || length % DIR_ALIGN !== 0 || at + length > end ? -1 : length
  }
  if (at + SMALLEST_ENTRY > end) return -1
  const nameLength = view.getUint8(at + NAME_LENGTH)
  const size = dataEntrySize(nameLength)
  return nameLength === 0 || at + size > end ? -1 : size
}

/** The entry or free space at `at` with the size that `dataItemSize` returned. */
function dataItem(view: DataView, at: number, size: number): DirDataItem {
  const tag = dataTag(view, at, size)
  if (isDataFree(view, at)) return { free: true, at, size, tag }
  const nameLength = view.getUint8(at + NAME_LENGTH)
  const name = bytesAt(view, at + DirDataEntryHead.size, nameLength)
  const ftype = view.getUint8(at + DirDataEntryHead.size + nameLength)
  return { free: false, at, size, tag, ino: DirDataEntryHead.fields.inumber.get(view, at), ftype, name }
}

/**
 * Entries and free spaces of a data or block format block, in disk order.
 *
 * @throws XfsError CORRUPT if one does not fit; those before it were yielded
 */
export function* dataItems(view: DataView): Generator<DirDataItem> {
  const end = dataEnd(view)
  for (let at = DIR_DATA_START; at < end; ) {
    const size = dataItemSize(view, at, end)
    if (size < 0) throw corrupt('dir3', `directory data: no valid entry or free space at ${at}`, 'bu')
    yield dataItem(view, at, size)
    at += size
  }
}

/** The entries of a data or block format block. */
export function* dataEntries(view: DataView): Generator<DirEntry> {
  for (const item of dataItems(view)) if (!item.free) yield item
}

// ------------------------------------------------------------------------------------ the builders

/** Write an entry with its tag. Padding is zeroed. Returns the size in bytes. */
export function writeDataEntry(
  view: DataView,
  at: number,
  entry: { readonly ino: number; readonly ftype: number; readonly name: Uint8Array },
): number {
  const { name } = entry
  const size = dataEntrySize(name.length)
  const all = bytesAt(view, at, size).fill(0)
  DirDataEntryHead.encode(view, at, { inumber: entry.ino, namelen: name.length })
  all.set(name, DirDataEntryHead.size)
  all[DirDataEntryHead.size + name.length] = entry.ftype
  view.setUint16(at + size - TAG_SIZE, at)
  return size
}

/** Mark `length` bytes as free; the bytes between head and tag stay. */
export function writeDataUnused(view: DataView, at: number, length: number): void {
  DirDataUnusedHead.encode(view, at, { freetag: DIR_FREE_TAG, length })
  view.setUint16(at + length - TAG_SIZE, at)
}

/** Bytes of the longest free space according to the header. */
export const longestFree = (view: DataView): number => bestLength(view, 0)

// --------------------------------------------------------------------------------------- addresses

/** The address of the entry `at` bytes into data block `db`. */
export const toAddress = (db: number, at: number, blockSize: number): number => (db * blockSize + at) / DIR_ALIGN
/** The data block of an address. */
export const addressToDb = (address: number, blockSize: number): number => Math.floor((address * DIR_ALIGN) / blockSize)
/** The offset of an address in its data block, in bytes. */
export const addressToOffset = (address: number, blockSize: number): number => (address * DIR_ALIGN) % blockSize
