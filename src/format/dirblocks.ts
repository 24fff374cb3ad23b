import { corrupt } from '../errors.ts'
import {
  bestLength,
  DA3_HEADER_SIZE,
  Da3NodeHdr,
  DaBlkinfo,
  DaNodeEntry,
  DIR_ALIGN,
  DIR_DATA_START,
  DIR_FREE_TAG,
  DIR3_BLOCK_MAGIC,
  DIR3_FREE_MAGIC,
  DIR3_LEAF1_MAGIC,
  Dir3BlkHdr,
  Dir3FreeHdr,
  Dir3LeafHdr,
  DirBest,
  DirBlockTail,
  DirDataEntryHead,
  DirDataUnusedHead,
  type DirEntry,
  DirLeafEntry,
  DirLeafTail,
  FTYPE_SIZE,
} from './dir.ts'
import { bytesAt } from './fields.ts'

/**
 * Blocks of directories: entries and free spaces of data blocks, leaf entries, bests, nodes of the
 * hash btree.
 */

/** Bytes of the tag, at the end of an entry or free space. */
const TAG_SIZE = 2
/** Read for every entry and free space: by offsets, not by fields, for speed. */
const NAME_LENGTH = DirDataEntryHead.fields.namelen.offset
const FREE_TAG = DirDataUnusedHead.fields.freetag.offset
const FREE_LENGTH = DirDataUnusedHead.fields.length.offset
/** The size of an entry with a name of one byte, and of the smallest free space. */
const SMALLEST_ENTRY = 16
const SMALLEST_FREE = DIR_ALIGN

/** An entry or free space of a data block. */
export type DirDataItem = (DirEntry & { readonly free: false; readonly tag: number }) | DirDataHole
interface DirDataHole {
  readonly free: true
  readonly at: number
  readonly size: number
  readonly tag: number
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
