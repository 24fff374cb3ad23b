import { XfsError } from '../errors.ts'
import { viewOf } from '../util/view.ts'
import { Da3Blkinfo, daHash } from './dir.ts'
import {
  array,
  bits,
  bytesAt,
  crc32c,
  daddr,
  ino,
  lsn,
  magic32,
  nested,
  pad,
  padBits,
  type Rec,
  struct,
  u8,
  u16,
  u32,
  uuid,
  x32,
} from './struct.ts'

/**
 * Extended attributes. There are three formats, from small to large:
 *
 *   shortform   in the inode's attribute fork: header, then packed entries
 *   leaf        one block: entries (hash, offset, flags) from the start, names with their values
 *               from the end
 *   node        a hash btree (nodes as in directories) above such leaves
 *
 * A value too large for its leaf is *remote*: in blocks of the attribute fork, each with a header.
 * A parent pointer is an attribute in its own namespace: its name is that of the directory entry,
 * its value identifies the directory. Iterators do not trust lengths: on bytes that contradict the
 * format they throw XfsError CORRUPT.
 */

export const ATTR3_LEAF_MAGIC = 0x3bee
export const ATTR3_RMT_MAGIC = 0x5841524d // XARM

/**
 * Flags of an entry: the place of its value, its namespace (default: user), and whether it is being
 * created or removed.
 */
export const AttrFlags = { local: 0x01, root: 0x02, secure: 0x04, parent: 0x08, incomplete: 0x80 } as const
export const ATTR_NAMESPACES = AttrFlags.root | AttrFlags.secure | AttrFlags.parent

export const ATTR_LEAF_MAPSIZE = 3
/** The maximum size of a value, in bytes. */
export const ATTR_MAX_VALUE = 65536

// ----------------------------------------------------------------------------- declared structures

// biome-ignore format: one field a line, columns aligned
export const AttrSfHdr = struct('attr_sf_hdr', 4, 'xfs_da_format.h: struct xfs_attr_sf_hdr', {
  totsize:    u16(0, 'bytes of the list, including this header'),
  count:      u8(2, 'entries'),
  padding:    pad(3, 1),
})
export type AttrSfHdr = Rec<typeof AttrSfHdr>

/** The fixed part before a shortform entry's name and value. */
// biome-ignore format: one field a line, columns aligned
export const AttrSfEntryHead = struct('attr_sf_entry', 3, 'xfs_da_format.h: struct xfs_attr_sf_entry', {
  namelen:    u8(0, 'bytes of the name'),
  valuelen:   u8(1, 'bytes of the value'),
  root:       bits(2, 1, 6, 1, 'namespace "trusted"'),
  secure:     bits(2, 1, 5, 1, 'namespace "security"'),
  parent:     bits(2, 1, 4, 1, 'a parent pointer'),
  spare:      padBits(2, 1, 0, 4, { zero: true }),
  spare2:     padBits(2, 1, 7, 1, { zero: true }),
})

// biome-ignore format: one field a line, columns aligned
export const AttrLeafMap = struct('attr_leaf_map', 4, 'xfs_da_format.h: struct xfs_attr_leaf_map', {
  base:       u16(0, 'offset of the free space in the block, in bytes'),
  size:       u16(2, 'length in bytes'),
})
export type AttrLeafMap = Rec<typeof AttrLeafMap>

// biome-ignore format: one field a line, columns aligned
export const Attr3LeafHdr = struct('attr3_leaf_hdr', 80, 'xfs_da_format.h: struct xfs_attr3_leaf_hdr', {
  info:       nested(0, Da3Blkinfo, 'siblings, owner, self-address'),
  count:      u16(56, 'entries'),
  usedbytes:  u16(58, 'bytes of names and values'),
  firstused:  u16(60, 'offset of the first name; zero for the end of a 64 KiB block'),
  holes:      u8(62, '1 if there are gaps that the free map does not list'),
  pad1:       pad(63, 1),
  freemap:    array(64, ATTR_LEAF_MAPSIZE, (offset, doc) => nested(offset, AttrLeafMap, doc), 'free spaces'),
  pad2:       pad(76, 4),
})
export type Attr3LeafHdr = Rec<typeof Attr3LeafHdr>

// biome-ignore format: one field a line, columns aligned
export const AttrLeafEntry = struct('attr_leaf_entry', 8, 'xfs_da_format.h: struct xfs_attr_leaf_entry', {
  hashval:    x32(0, 'hash value of the name'),
  nameidx:    u16(4, 'offset of name and value in the block, in bytes'),
  incomplete: bits(6, 1, 0, 1, 'being created or removed: not visible'),
  root:       bits(6, 1, 6, 1, 'namespace "trusted"'),
  secure:     bits(6, 1, 5, 1, 'namespace "security"'),
  local:      bits(6, 1, 7, 1, 'the value is in this block'),
  parent:     bits(6, 1, 4, 1, 'a parent pointer'),
  spare:      padBits(6, 1, 1, 3, { zero: true }),
  pad2:       pad(7, 1),
})
export type AttrLeafEntry = Rec<typeof AttrLeafEntry>

/** The flags of a leaf entry: its bit fields as one byte of AttrFlags. */
export const attrEntryFlags = (view: DataView, at: number): number =>
  view.getUint8(at + AttrLeafEntry.fields.local.offset)
export const setAttrEntryFlags = (view: DataView, at: number, flags: number): void =>
  view.setUint8(at + AttrLeafEntry.fields.local.offset, flags)

/** The fixed part of a name with its value in the leaf; name and value follow. */
// biome-ignore format: one field a line, columns aligned
export const AttrNameLocalHead = struct('attr_leaf_name_local', 3, 'xfs_da_format.h: struct xfs_attr_leaf_name_local', {
  valuelen:   u16(0, 'bytes of the value'),
  namelen:    u8(2, 'bytes of the name'),
})

/** The fixed part of a name with a remote value; the name follows. */
// biome-ignore format: one field a line, columns aligned
export const AttrNameRemoteHead = struct('attr_leaf_name_remote', 9, 'xfs_da_format.h: struct xfs_attr_leaf_name_remote', {
  valueblk:   x32(0, 'first block of the value in the attribute fork'),
  valuelen:   u32(4, 'bytes of the value'),
  namelen:    u8(8, 'bytes of the name'),
})

// biome-ignore format: one field a line, columns aligned
export const Attr3RmtHdr = struct('attr3_remote_hdr', 56, 'xfs_da_format.h: struct xfs_attr3_rmt_hdr', {
  magic:      magic32(0, ATTR3_RMT_MAGIC, '"XARM"'),
  offset:     u32(4, 'offset of this block in the value'),
  bytes:      u32(8, 'bytes of the value in this block'),
  crc:        crc32c(12),
  uuid:       uuid(16, 'UUID of the filesystem'),
  owner:      ino(32, 'inode that owns the block'),
  bno:        daddr(40, 'address of this block'),
  lsn:        lsn(48, 'all ones: remote values are not logged'),
})
export type Attr3RmtHdr = Rec<typeof Attr3RmtHdr>

/** The value of a parent pointer. */
// biome-ignore format: one field a line, columns aligned
export const ParentRec = struct('parent_rec', 12, 'xfs_da_format.h: struct xfs_parent_rec', {
  inumber:    ino(0, 'directory that contains the entry', { to: 'inode' }),
  gen:        u32(8, 'generation of that directory'),
})
export type ParentRec = Rec<typeof ParentRec>

const localHead = AttrNameLocalHead.fields
const remoteHead = AttrNameRemoteHead.fields

/** The offset of the byte whose bits are the flags of a shortform entry. */
const SF_FLAGS = AttrSfEntryHead.fields.root.offset

// ------------------------------------------------------------------------------------------ hashes

const fold64 = (value: number): number => (Math.floor(value / 2 ** 32) ^ (value % 2 ** 32)) >>> 0

/**
 * The hash of a parent pointer: the directory name's, mixed with the directory's inode number. So
 * links with the same name in many directories have different hashes. @source xfs_parent.c:
 * xfs_parent_hashval
 *
 * @param hashName the filesystem's directory name hash (`dirHash`)
 */
export const parentHash = (name: Uint8Array, parent: number, hashName: (name: Uint8Array) => number = daHash): number =>
  (hashName(name) ^ fold64(parent)) >>> 0

/** The value of a parent pointer, as bytes. */
export function buildParentRec(parent: ParentRec): Uint8Array {
  const value = new Uint8Array(ParentRec.size)
  ParentRec.encode(new DataView(value.buffer), 0, parent)
  return value
}

/** The parent pointer in a value. @throws XfsError CORRUPT if the value has another size */
export function parseParentRec(value: Uint8Array): ParentRec {
  if (value.length !== ParentRec.size)
    throw corrupt('attr3', `parent pointer of ${value.length} bytes, not ${ParentRec.size}`)
  return ParentRec.decode(viewOf(value))
}

/** The hash of an attribute's leaf entry, in any namespace. */
export const attrEntryHash = (
  flags: number,
  name: Uint8Array,
  value: Uint8Array | undefined,
  hashName: (name: Uint8Array) => number = daHash,
): number =>
  (flags & AttrFlags.parent) !== 0 && value ? parentHash(name, parseParentRec(value).inumber, hashName) : daHash(name)

// ------------------------------------------------------------------------------------------- sizes

/** Bytes of a shortform entry. */
export const attrSfEntrySize = (nameLength: number, valueLength: number): number =>
  AttrSfEntryHead.size + nameLength + valueLength
/** Bytes in a leaf of a name with its value, a multiple of 4. */
export const attrLocalSize = (nameLength: number, valueLength: number): number =>
  (AttrNameLocalHead.size + nameLength + valueLength + 3) & ~3
/**
 * Bytes in a leaf of a name with a remote value. That is two more than needed, because the
 * structure formerly ended in padding.
 */
export const attrRemoteSize = (nameLength: number): number => (AttrNameRemoteHead.size + 2 + nameLength + 3) & ~3
/** A value is local if name and value take less than this. */
const attrLocalLimit = (blockSize: number): number => (blockSize >> 1) + (blockSize >> 2)
/** True if a value of this length is stored in the leaf; it always is for parent pointers. */
export const attrIsLocal = (nameLength: number, valueLength: number, blockSize: number): boolean =>
  attrLocalSize(nameLength, valueLength) < attrLocalLimit(blockSize)
/** Bytes of a value in one remote block. */
export const attrRemoteSpace = (blockSize: number): number => blockSize - Attr3RmtHdr.size
/** Blocks that a remote value takes. */
export const attrRemoteBlocks = (valueLength: number, blockSize: number): number =>
  Math.ceil(valueLength / attrRemoteSpace(blockSize))

// --------------------------------------------------------------------------------------- iterators

const corrupt = (type: string, message: string, field?: string): XfsError =>
  new XfsError('CORRUPT', message, field === undefined ? { type } : { type, field })

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
