import { featureBits } from './features.ts'
import {
  crc32c,
  extlen,
  fsbno,
  ino,
  lsn,
  magic32,
  pad,
  text,
  u8,
  u16,
  u32,
  u32OrNull,
  u64,
  uuid,
  x8,
  x16,
  x32,
} from './fields.ts'
import { type Rec, struct } from './struct.ts'

export const SB_MAGIC = 0x58465342 // XFSB

// biome-ignore format: one field a line, columns aligned
export const Superblock = struct('sb', 512, 'xfs_format.h: struct xfs_dsb', {
  magicnum:      magic32(0, SB_MAGIC, '"XFSB"'),
  blocksize:     u32(4, 'bytes of a filesystem block'),
  dblocks:       u64(8, 'blocks of the data device'),
  rblocks:       u64(16, 'blocks of the realtime device'),
  rextents:      u64(24, 'realtime extents'),
  uuid:          uuid(32, 'user-visible UUID'),
  logstart:      fsbno(48, 'first block of the internal log, 0 for an external one', { to: 'log' }),
  rootino:       ino(56, 'inode of the root directory', { to: 'inode' }),
  rbmino:        ino(64, 'inode of the realtime bitmap', { to: 'inode' }),
  rsumino:       ino(72, 'inode of the realtime summary', { to: 'inode' }),
  rextsize:      u32OrNull(80, 'blocks of a realtime extent'),
  agblocks:      u32OrNull(84, 'blocks of an allocation group; the last may be smaller'),
  agcount:       u32OrNull(88, 'allocation groups'),
  rbmblocks:     u32(92, 'blocks of the realtime bitmap'),
  logblocks:     u32(96, 'blocks of the log'),
  versionnum:    x16(100, 'format version (low four bits) and feature bits'),
  sectsize:      u16(102, 'bytes of a sector'),
  inodesize:     u16(104, 'bytes of an inode'),
  inopblock:     u16(106, 'inodes in a block'),
  fname:         text(108, 12, 'label'),
  blocklog:      u8(120, 'log2 of blocksize'),
  sectlog:       u8(121, 'log2 of sectsize'),
  inodelog:      u8(122, 'log2 of inodesize'),
  inopblog:      u8(123, 'log2 of inopblock'),
  agblklog:      u8(124, 'log2 of agblocks, rounded up: the width of an agbno in an fsbno'),
  rextslog:      u8(125, 'log2 of rextents'),
  inprogress:    u8(126, 'mkfs or growfs has not finished'),
  imax_pct:      u8(127, 'maximum percentage of space for inodes, 0 for no limit'),
  icount:        u64(128, 'allocated inodes'),
  ifree:         u64(136, 'free inodes among them'),
  fdblocks:      u64(144, 'free data blocks'),
  frextents:     u64(152, 'free realtime extents'),
  uquotino:      ino(160, 'inode of the user quota', { to: 'inode' }),
  gquotino:      ino(168, 'inode of the group quota', { to: 'inode' }),
  qflags:        x16(176, 'quota accounting and enforcement flags'),
  flags:         x8(178, 'unused'),
  shared_vn:     u8(179, 'unused, zero'),
  inoalignmt:    extlen(180, 'alignment of inode chunks, in blocks'),
  unit:          u32(184, 'stripe unit in blocks'),
  width:         u32(188, 'stripe width in blocks'),
  dirblklog:     u8(192, 'log2 of the blocks of a directory block'),
  logsectlog:    u8(193, 'log2 of the log sector size, 0 where not used'),
  logsectsize:   u16(194, 'bytes of a log sector, 0 where not used'),
  logsunit:      u32(196, 'stripe unit of the log in bytes; 1 means none'),
  features2:     x32(200, 'further feature bits'),
  bad_features2: x32(204, 'a copy of features2 (an old padding bug)'),
  features_compat:       x32(208, 'compatible features: unknown ones are ignored'),
  features_ro_compat:    x32(212, 'read-only compatible features: unknown ones forbid writing'),
  features_incompat:     x32(216, 'incompatible features: unknown ones forbid mounting'),
  features_log_incompat: x32(220, 'log incompatible features: unknown ones forbid log recovery'),
  crc:           crc32c(224),
  spino_align:   extlen(228, 'alignment of sparse inode chunks, in blocks'),
  pquotino:      ino(232, 'inode of the project quota', { to: 'inode' }),
  lsn:           lsn(240, 'LSN of the last write of the superblock'),
  meta_uuid:     uuid(248, 'UUID in metadata blocks (META_UUID)', { since: 'metauuid' }),
  metadirino:    ino(264, 'inode of the metadata directory', { to: 'inode', since: 'metadir' }),
  rgcount:       u32(272, 'realtime groups', { since: 'metadir' }),
  rgextents:     u32(276, 'realtime extents of a realtime group', { since: 'metadir' }),
  rgblklog:      u8(280, 'log2 of the blocks of a realtime group', { since: 'metadir' }),
  pad1:          pad(281, 7, { zero: true }),
  rtstart:       fsbno(288, 'start of an internal realtime section', { since: 'zoned' }),
  rtreserved:    u64(296, 'blocks of it that are reserved', { since: 'zoned' }),
  rest:          pad(304, 208, { zero: true }),
})
export type Superblock = Rec<typeof Superblock>

/** Set or clear NEEDSREPAIR in the superblock that `view` shows. */
export function setNeedsRepair(view: DataView, on: boolean): void {
  const words = Superblock.fields.features_incompat
  const { bit } = featureBits.needsrepair
  const old = words.get(view, 0)
  words.set(view, 0, on ? (old | bit) >>> 0 : (old & ~bit) >>> 0)
}

/**
 * Bits of `qflags`: the counters in the records of user, group and project quota are right. Without
 * them the kernel counts all inodes again at the next mount with quota. Source: xfs_log_format.h.
 */
const QUOTA_CHECKED = 0x0004 | 0x0100 | 0x0400

/** Bits of `qflags`: quota of this type is counted. */
export const QuotaAccounting = { user: 0x0001, project: 0x0008, group: 0x0040 } as const

/** The counters of quota are declared to be right. */
export const isQuotaChecked = ({ qflags }: Pick<Superblock, 'qflags'>): boolean => (qflags & QUOTA_CHECKED) !== 0

/** Clear these bits in the superblock that `view` shows. */
export function clearQuotaChecked(view: DataView): void {
  const { qflags } = Superblock.fields
  qflags.set(view, 0, qflags.get(view, 0) & ~QUOTA_CHECKED)
}
