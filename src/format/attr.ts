import { corrupt } from '../errors.ts'
import { viewOf } from '../util/view.ts'
import { bits, padBits } from './bitfield.ts'
import { Da3Blkinfo, daHash } from './dir.ts'
import { array, crc32c, daddr, ino, lsn, magic32, nested, pad, u8, u16, u32, uuid, x32 } from './fields.ts'
import { type Rec, struct } from './struct.ts'

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
