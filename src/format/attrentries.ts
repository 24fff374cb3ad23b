import { corrupt, XfsError } from '../errors.ts'
import {
  Attr3LeafHdr,
  AttrFlags,
  AttrLeafEntry,
  AttrNameLocalHead,
  AttrNameRemoteHead,
  AttrSfEntryHead,
  AttrSfHdr,
  attrEntryFlags,
  attrLocalSize,
  attrRemoteSize,
  attrSfEntrySize,
  setAttrEntryFlags,
} from './attr.ts'
import { Da3Blkinfo } from './dir.ts'
import { bytesAt } from './fields.ts'

/** Attributes as they lie in an inode or in a leaf block: reading and writing them. */

const localHead = AttrNameLocalHead.fields
const remoteHead = AttrNameRemoteHead.fields

/** The offset of the byte whose bits are the flags of a shortform entry. */
const SF_FLAGS = AttrSfEntryHead.fields.root.offset

// --------------------------------------------------------------------------------------- iterators

/** An attribute of a shortform list; `name` and `value` are views on the inode, not copies. */
export interface AttrSfEntry {
  readonly at: number
  readonly size: number
  readonly flags: number
  readonly name: Uint8Array
  readonly value: Uint8Array
}

/** Bytes of a shortform list according to its header. */
export const attrSfSize = (view: DataView, at = 0): number => AttrSfHdr.fields.totsize.get(view, at)

/**
 * The attributes of the shortform list at `at`, in a fork of `size` bytes.
 *
 * @throws XfsError CORRUPT if the list exceeds the fork, or an entry exceeds the list
 */
export function* attrSfEntries(view: DataView, at: number, size: number): Generator<AttrSfEntry> {
  if (!(size >= AttrSfHdr.size) || at + size > view.byteLength)
    throw corrupt('attrshort', `attributes: a fork of ${size} bytes is too small for a list`, 'hdr')
  const total = attrSfSize(view, at)
  const count = AttrSfHdr.fields.count.get(view, at)
  if (total < AttrSfHdr.size || total > size)
    throw corrupt('attrshort', `attributes: a list of ${total} bytes in a fork of ${size} bytes`, 'hdr.totsize')
  const end = at + total
  let next = at + AttrSfHdr.size
  for (let i = 0; i < count; i++) {
    const head = next + AttrSfEntryHead.size
    const nameLength = head <= end ? AttrSfEntryHead.fields.namelen.get(view, next) : 0
    const valueLength = head <= end ? AttrSfEntryHead.fields.valuelen.get(view, next) : 0
    if (nameLength === 0 || head + nameLength + valueLength > end) {
      throw corrupt(
        'attrshort',
        `attributes: entry ${i} of ${count} at ${next - at} does not fit into ${total} bytes`,
        'list',
      )
    }
    yield {
      at: next,
      size: attrSfEntrySize(nameLength, valueLength),
      flags: view.getUint8(next + SF_FLAGS),
      name: bytesAt(view, head, nameLength),
      value: bytesAt(view, head + nameLength, valueLength),
    }
    next = head + nameLength + valueLength
  }
}

/** A shortform list as bytes, for an inode's attribute fork. */
export function buildAttrSf(
  entries: readonly { readonly flags: number; readonly name: Uint8Array; readonly value: Uint8Array }[],
): Uint8Array {
  let totsize = AttrSfHdr.size
  for (const { name, value } of entries) totsize += attrSfEntrySize(name.length, value.length)
  const result = new Uint8Array(totsize)
  const view = new DataView(result.buffer)
  AttrSfHdr.fields.totsize.set(view, 0, totsize)
  AttrSfHdr.fields.count.set(view, 0, entries.length)
  let at = AttrSfHdr.size
  for (const { flags, name, value } of entries) {
    AttrSfEntryHead.encode(view, at, { namelen: name.length, valuelen: value.length })
    view.setUint8(at + SF_FLAGS, flags)
    result.set(name, at + AttrSfEntryHead.size)
    result.set(value, at + AttrSfEntryHead.size + name.length)
    at += attrSfEntrySize(name.length, value.length)
  }
  return result
}

/** An attribute of a leaf block; `name` and `value` are views on the block, not copies. */
export type AttrLeafItem = AttrLeafLocal | AttrLeafRemote
interface AttrLeafCommon {
  readonly index: number
  /** The offset of its leaf entry. */
  readonly at: number
  /** The offset and bytes of its name structure. */
  readonly nameidx: number
  readonly size: number
  readonly hashval: number
  readonly flags: number
  readonly name: Uint8Array
}
interface AttrLeafLocal extends AttrLeafCommon {
  readonly local: true
  readonly value: Uint8Array
}
interface AttrLeafRemote extends AttrLeafCommon {
  readonly local: false
  readonly valueblk: number
  readonly valuelen: number
}

/** The entries of an attribute leaf. @throws XfsError CORRUPT if they do not fit */
export function attrLeafSpan(view: DataView): { at: number; count: number } {
  const count = Attr3LeafHdr.fields.count.get(view, 0)
  if (Attr3LeafHdr.size + count * AttrLeafEntry.size > view.byteLength) {
    throw corrupt('attr3', `attribute leaf: ${count} entries do not fit`, 'hdr.count')
  }
  return { at: Attr3LeafHdr.size, count }
}

/** The offset of the first name in a leaf. */
export function attrFirstUsed(view: DataView): number {
  const firstused = Attr3LeafHdr.fields.firstused.get(view, 0)
  return firstused === 0 ? view.byteLength : firstused
}

/**
 * Bytes of the name structure at `nameidx`, with names starting at `start` or later; a negative
 * number if it does not fit into the block.
 */
export function attrNameSize(view: DataView, nameidx: number, flags: number, start: number): number {
  const local = (flags & AttrFlags.local) !== 0
  if (nameidx < start || nameidx + (local ? AttrNameLocalHead.size : AttrNameRemoteHead.size) > view.byteLength)
    return -1
  const nameLength = (local ? localHead : remoteHead).namelen.get(view, nameidx)
  const size = local ? attrLocalSize(nameLength, localHead.valuelen.get(view, nameidx)) : attrRemoteSize(nameLength)
  return nameLength === 0 || nameidx + size > view.byteLength ? -1 : size
}

/**
 * The attribute of a leaf with this index. @throws XfsError CORRUPT if there is none, or its name
 * does not fit
 */
export function attrLeafItem(view: DataView, index: number): AttrLeafItem {
  const { at: first, count } = attrLeafSpan(view)
  if (index < 0 || index >= count) throw corrupt('attr3', `attribute leaf: no entry ${index} of ${count}`, 'entries')
  const at = first + index * AttrLeafEntry.size
  const hashval = AttrLeafEntry.fields.hashval.get(view, at)
  const nameidx = AttrLeafEntry.fields.nameidx.get(view, at)
  const flags = attrEntryFlags(view, at)
  const size = attrNameSize(view, nameidx, flags, first + count * AttrLeafEntry.size)
  if (size < 0)
    throw corrupt(
      'attr3',
      `attribute leaf: the name of entry ${index} at ${nameidx} does not fit`,
      `entries[${index}].nameidx`,
    )
  if ((flags & AttrFlags.local) !== 0) {
    const valueLength = localHead.valuelen.get(view, nameidx)
    const nameLength = localHead.namelen.get(view, nameidx)
    const nameAt = nameidx + AttrNameLocalHead.size
    return {
      index,
      at,
      nameidx,
      size,
      hashval,
      flags,
      local: true,
      name: bytesAt(view, nameAt, nameLength),
      value: bytesAt(view, nameAt + nameLength, valueLength),
    }
  }
  return {
    index,
    at,
    nameidx,
    size,
    hashval,
    flags,
    local: false,
    name: bytesAt(view, nameidx + AttrNameRemoteHead.size, remoteHead.namelen.get(view, nameidx)),
    valueblk: remoteHead.valueblk.get(view, nameidx),
    valuelen: remoteHead.valuelen.get(view, nameidx),
  }
}

/**
 * The attributes of a leaf, in order of their hash. @throws XfsError CORRUPT if one does not fit
 */
export function* attrLeafItems(view: DataView): Generator<AttrLeafItem> {
  const { count } = attrLeafSpan(view)
  for (let i = 0; i < count; i++) yield attrLeafItem(view, i)
}

// ---------------------------------------------------------------------------------------- builders

/** Input for a new leaf; an attribute with a `value` is local, one without is remote. */
export interface NewAttr {
  readonly hashval: number
  /** Namespace and incomplete; local is set automatically. */
  readonly flags: number
  readonly name: Uint8Array
  readonly value?: Uint8Array
  readonly valueblk?: number
  readonly valuelen?: number
}

/** Bytes of an attribute in a leaf, without its entry. */
export const newAttrSize = (attr: NewAttr): number =>
  attr.value ? attrLocalSize(attr.name.length, attr.value.length) : attrRemoteSize(attr.name.length)

/** True if these attributes fit into one leaf. */
export const attrsFit = (attrs: readonly NewAttr[], blockSize: number): boolean =>
  attrs.reduce((sum, attr) => sum + AttrLeafEntry.size + newAttrSize(attr), Attr3LeafHdr.size) <= blockSize

/** The attribute with copies of its name and value, instead of views on a block. */
export const copiedAttr = (attr: NewAttr): NewAttr => ({
  ...attr,
  name: attr.name.slice(),
  ...(attr.value ? { value: attr.value.slice() } : {}),
})

/** Write the entry of an attribute at `at`, and its name structure at `nameidx`. */
export function writeAttrEntry(view: DataView, at: number, nameidx: number, attr: NewAttr): void {
  const { hashval, flags, name, value, valueblk = 0, valuelen = 0 } = attr
  AttrLeafEntry.encode(view, at, { hashval, nameidx })
  setAttrEntryFlags(view, at, (flags & ~AttrFlags.local) | (value ? AttrFlags.local : 0))
  const bytes = bytesAt(view, nameidx, newAttrSize(attr))
  if (value) {
    AttrNameLocalHead.encode(view, nameidx, { valuelen: value.length, namelen: name.length })
    bytes.set(name, AttrNameLocalHead.size)
    bytes.set(value, AttrNameLocalHead.size + name.length)
  } else {
    AttrNameRemoteHead.encode(view, nameidx, { valueblk, valuelen, namelen: name.length })
    bytes.set(name, AttrNameRemoteHead.size)
  }
}

/**
 * Rewrite a leaf: entries in order of hash (equal ones in the given order), names packed at the
 * end, one free space between. Writes everything except `info` (siblings, magic, owner …).
 *
 * @throws XfsError RANGE if they do not fit (check with `attrsFit`)
 */
export function writeAttrLeaf(view: DataView, attrs: readonly NewAttr[]): void {
  const sorted = [...attrs].sort((a, b) => a.hashval - b.hashval)
  if (!attrsFit(sorted, view.byteLength))
    throw new XfsError('RANGE', `${attrs.length} attributes do not fit into one leaf`)
  // Local values may be views on this block: copy them before writing.
  const kept = sorted.map(copiedAttr)
  const all = bytesAt(view, 0, view.byteLength)
  all.fill(0, Da3Blkinfo.size)
  let nameidx = view.byteLength
  let usedbytes = 0
  let at = Attr3LeafHdr.size
  for (const attr of kept) {
    const size = newAttrSize(attr)
    nameidx -= size
    usedbytes += size
    writeAttrEntry(view, at, nameidx, attr)
    at += AttrLeafEntry.size
  }
  Attr3LeafHdr.encode(view, 0, {
    count: kept.length,
    usedbytes,
    firstused: nameidx % 65536,
    holes: 0,
    freemap: [
      { base: at, size: nameidx - at },
      { base: 0, size: 0 },
      { base: 0, size: 0 },
    ],
  })
}

/** An attribute of a leaf in the form that `writeAttrLeaf` takes. */
export const attrContent = (item: AttrLeafItem): NewAttr => {
  const { hashval, flags, name } = item
  return item.local
    ? { hashval, flags, name, value: item.value }
    : { hashval, flags, name, valueblk: item.valueblk, valuelen: item.valuelen }
}

/** All attributes of a leaf in that form. */
export const attrLeafContents = (view: DataView): NewAttr[] => Array.from(attrLeafItems(view), attrContent)
