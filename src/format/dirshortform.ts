import { corrupt } from '../errors.ts'
import { type DirEntry, DirSfEntryHead, DirSfHead, FTYPE_SIZE } from './dir.ts'
import { bytesAt, get64, set64 } from './fields.ts'

/** Shortform directories, in the fork of an inode. */

/** An entry of a shortform directory; `offset` is its offset in block format. */
export interface DirSfEntry extends DirEntry {
  readonly offset: number
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
