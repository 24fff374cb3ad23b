import {
  agino,
  crc32c,
  extlen,
  i8,
  i64,
  ino,
  lsn,
  magic16,
  mask64,
  pad,
  u8,
  u16,
  u32,
  u64,
  uuid,
  x16,
} from './fields.ts'
import { type Rec, struct } from './struct.ts'

/**
 * The inode core, version 3 (V5 filesystems). V1 and V2 cores are its first 100 bytes. The data
 * fork follows the core.
 */

export const DINODE_MAGIC = 0x494e // IN
/** The maximum ID of a user or group. The next number means "none". */
export const MAX_ID = 2 ** 32 - 2
export const DINODE_V2_SIZE = 100
export const DINODE_V3_SIZE = 176
export const INODES_PER_CHUNK = 64

/** The bits of `mode` that are the file type, and the types. */
export const S_IFMT = 0o170000
export const FILE_TYPES = {
  fifo: 0o010000,
  chr: 0o020000,
  dir: 0o040000,
  blk: 0o060000,
  reg: 0o100000,
  lnk: 0o120000,
  sock: 0o140000,
} as const
/** Is it a device node, fifo or socket? Their data fork is a device number. */
export const isSpecial = (mode: number): boolean => {
  const type = mode & S_IFMT
  return type !== FILE_TYPES.reg && type !== FILE_TYPES.dir && type !== FILE_TYPES.lnk
}
export const S_ISUID = 0o4000
export const S_ISGID = 0o2000

/** `format`, `aformat`: how a fork is stored. */
export const FORK_FORMATS = { dev: 0, local: 1, extents: 2, btree: 3, uuid: 4, rmap: 5, metabtree: 5 } as const

export const DIFLAGS = {
  realtime: 1 << 0, prealloc: 1 << 1, newrtbm: 1 << 2, immutable: 1 << 3, append: 1 << 4, sync: 1 << 5, noatime: 1 << 6,
  nodump: 1 << 7, rtinherit: 1 << 8, projinherit: 1 << 9, nosymlinks: 1 << 10, extsize: 1 << 11, extszinherit: 1 << 12,
  nodefrag: 1 << 13, filestream: 1 << 14,
} as const // biome-ignore format: a table

/** Low word of flags2. */
export const DIFLAGS2 = {
  dax: 1 << 0, reflink: 1 << 1, cowextsize: 1 << 2, bigtime: 1 << 3, nrext64: 1 << 4, metadata: 1 << 5,
} as const // biome-ignore format: a table

// biome-ignore format: one field a line, columns aligned
export const Dinode = struct('inode', 176, 'xfs_format.h: struct xfs_dinode', {
  magic:        magic16(0, DINODE_MAGIC, '"IN"'),
  mode:         x16(2, 'file type and permissions'),
  version:      i8(4, '3'),
  format:       i8(5, 'how the data fork is stored'),
  onlink:       u16(6, 'old link count, zero; the metadata type of a metadir inode'),
  uid:          u32(8, 'owner'),
  gid:          u32(12, 'group'),
  nlink:        u32(16, 'links'),
  projid_lo:    u16(20, 'project id, low half'),
  projid_hi:    u16(22, 'project id, high half'),
  /** With nrext64 the `nextents` of the data fork, else zero and the flush count of V2. */
  big_nextents: u64(24, 'extents of the data fork (nrext64)'),
  atime:        mask64(32, 'last access'),
  mtime:        mask64(40, 'last change of content'),
  ctime:        mask64(48, 'last change of the inode'),
  size:         i64(56, 'bytes'),
  nblocks:      u64(64, 'blocks of both forks, with their btree blocks'),
  extsize:      extlen(72, 'extent size hint in blocks'),
  /** Without nrext64 the data fork's count, else the attribute fork's. */
  nextents:     u32(76, 'extents of the data fork; of the attribute fork with nrext64'),
  anextents:    u16(80, 'extents of the attribute fork; zero with nrext64'),
  forkoff:      u8(82, 'start of the attribute fork after the core, in 8 bytes; 0 for none'),
  aformat:      i8(83, 'how the attribute fork is stored'),
  dmevmask:     u32(84, 'unused'),
  dmstate:      u16(88, 'unused'),
  flags:        x16(90, 'flags'),
  gen:          u32(92, 'generation'),
  next_unlinked: agino(96, 'next inode of the unlinked list', { to: 'inode' }),
  crc:          crc32c(100),
  change_count: u64(104, 'changes of the inode'),
  lsn:          lsn(112, 'LSN of the last write of the inode'),
  flags2:       mask64(120, 'more flags'),
  cowextsize:   extlen(128, 'extent size hint of copy-on-write, in blocks'),
  pad2:         pad(132, 12),
  crtime:       mask64(144, 'creation'),
  inumber:      ino(152, 'inode number'),
  uuid:         uuid(160, 'UUID of the filesystem'),
})
export type Dinode = Rec<typeof Dinode>

/** Bytes in one unit of `forkoff`. */
export const FORKOFF_UNIT = 8

const FLAGS2_LOW = Dinode.fields.flags2.offset + 4

/** The low word of `flags2` of the inode at `at`. It contains all defined flags. */
export const flags2Of = (view: DataView, at: number): number => view.getUint32(at + FLAGS2_LOW)

/** The data fork of a device node, FIFO or socket. */
// biome-ignore format: one field a line, columns aligned
export const DevFork = struct('dev', 4, 'xfs_format.h: xfs_dinode_get_rdev', {
  dev: u32(0, 'device number: major * 2^18 + minor'),
})
