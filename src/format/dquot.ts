import { crc32c, i32, lsn, magic16, nested, pad, u16, u32, u64, uuid, x8 } from './fields.ts'
import { type Rec, struct } from './struct.ts'

/**
 * Quota records. The file of each quota inode is an array of them, indexed by id. A block contains
 * as many as fit.
 */

export const DQUOT_MAGIC = 0x4451 // DQ
export const DQUOT_VERSION = 1
/** `type`: user, group or project, and whether timers are in units of four seconds. */
export const DquotTypes = { user: 0x01, project: 0x02, group: 0x04, bigtime: 0x80 } as const
export const DQUOT_TYPE_MASK = DquotTypes.user | DquotTypes.project | DquotTypes.group

// biome-ignore format: one field a line, columns aligned
export const DiskDquot = struct('disk_dquot', 104, 'xfs_format.h: struct xfs_disk_dquot', {
  magic:         magic16(0, DQUOT_MAGIC, '"DQ"'),
  version:       x8(2, '1'),
  type:          x8(3, 'user 1, project 2, group 4; bigtime 0x80'),
  id:            i32(4, 'user, group or project ID; the record of id 0 holds the defaults'),
  blk_hardlimit: u64(8, 'hard limit for blocks'),
  blk_softlimit: u64(16, 'soft limit for blocks'),
  ino_hardlimit: u64(24, 'hard limit for inodes'),
  ino_softlimit: u64(32, 'soft limit for inodes'),
  bcount:        u64(40, 'blocks in use'),
  icount:        u64(48, 'inodes in use'),
  itimer:        u32(56, 'when the inode soft limit becomes hard; for id 0 the grace period'),
  btimer:        u32(60, 'when the block soft limit becomes hard; for id 0 the grace period'),
  iwarns:        u16(64, 'warnings about inodes'),
  bwarns:        u16(66, 'warnings about blocks'),
  pad0:          pad(68, 4),
  rtb_hardlimit: u64(72, 'hard limit for realtime blocks'),
  rtb_softlimit: u64(80, 'soft limit for realtime blocks'),
  rtbcount:      u64(88, 'realtime blocks in use'),
  rtbtimer:      u32(96, 'when the realtime soft limit becomes hard; for id 0 the grace period'),
  rtbwarns:      u16(100, 'warnings about realtime blocks'),
  pad:           pad(102, 2),
})
export type DiskDquot = Rec<typeof DiskDquot>

// biome-ignore format: one field a line, columns aligned
export const Dqblk = struct('dqblk', 136, 'xfs_format.h: struct xfs_dqblk', {
  diskdq:        nested(0, DiskDquot, 'the record'),
  fill:          pad(104, 4),
  crc:           crc32c(108),
  lsn:           lsn(112, 'LSN of the last write of the record'),
  uuid:          uuid(120, 'UUID of the filesystem'),
})
export type Dqblk = Rec<typeof Dqblk>
