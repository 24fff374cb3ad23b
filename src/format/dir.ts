import { FILE_TYPES, S_IFMT } from './dinode.ts'
import { array, crc32c, dablk, daddr, i32, ino, lsn, nested, pad, u8, u16, u32, uuid, x16, x32 } from './fields.ts'
import { type Rec, struct } from './struct.ts'

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

/** Bytes of the file type, which follows the name of an entry. */
export const FTYPE_SIZE = 1

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
