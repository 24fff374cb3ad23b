import { crc32c, i32, lsn, magic16, nested, pad, type Rec, struct, u16, u32, u64, uuid, x8 } from './struct.ts'

/**
 * Quota records: the file of each quota inode is an array of them, indexed by id, as many to a
 * block as fit.
 */

export const DQUOT_MAGIC = 0x4451 // DQ
export const DQUOT_VERSION = 1
/** `type`: whose quota it is, and whether its timers count in units of four seconds. */
export const DquotTypes = { user: 0x01, project: 0x02, group: 0x04, bigtime: 0x80 } as const
export const DQUOT_TYPE_MASK = DquotTypes.user | DquotTypes.project | DquotTypes.group

// biome-ignore format: one field a line, columns aligned
export const DiskDquot = struct('disk_dquot', 104, 'xfs_format.h: struct xfs_disk_dquot', {
  magic:         magic16(0, DQUOT_MAGIC, '"DQ"'),
  version:       x8(2, '1'),
  type:          x8(3, 'user 1, project 2, group 4; bigtime 0x80'),
  id:            i32(4, 'whose quota this is; the record of id 0 holds the defaults'),
  blk_hardlimit: u64(8, 'blocks: never more'),
  blk_softlimit: u64(16, 'blocks: more only for a while'),
  ino_hardlimit: u64(24, 'inodes: never more'),
  ino_softlimit: u64(32, 'inodes: more only for a while'),
  bcount:        u64(40, 'blocks in use'),
  icount:        u64(48, 'inodes in use'),
  itimer:        u32(56, 'when the inode soft limit becomes hard; of id 0 the time allowed'),
  btimer:        u32(60, 'when the block soft limit becomes hard; of id 0 the time allowed'),
  iwarns:        u16(64, 'warnings about inodes'),
  bwarns:        u16(66, 'warnings about blocks'),
  pad0:          pad(68, 4),
  rtb_hardlimit: u64(72, 'realtime blocks: never more'),
  rtb_softlimit: u64(80, 'realtime blocks: more only for a while'),
  rtbcount:      u64(88, 'realtime blocks in use'),
  rtbtimer:      u32(96, 'when the realtime soft limit becomes hard; of id 0 the time allowed'),
  rtbwarns:      u16(100, 'warnings about realtime blocks'),
  pad:           pad(102, 2),
})
export type DiskDquot = Rec<typeof DiskDquot>

// biome-ignore format: one field a line, columns aligned
export const Dqblk = struct('dqblk', 136, 'xfs_format.h: struct xfs_dqblk', {
  diskdq:        nested(0, DiskDquot, 'the record'),
  fill:          pad(104, 4),
  crc:           crc32c(108),
  lsn:           lsn(112, 'last log write of the record'),
  uuid:          uuid(120, 'filesystem that the record belongs to'),
})
export type Dqblk = Rec<typeof Dqblk>

/** Quota records in a block. */
export const dquotsPerBlock = (blockSize: number): number => Math.floor(blockSize / Dqblk.size)
