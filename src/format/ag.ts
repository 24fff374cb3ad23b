import {
  agbno,
  agino,
  agno,
  array,
  crc32c,
  extlen,
  extlenOrNull,
  lsn,
  magic32,
  pad,
  u32,
  u32OrNull,
  uuid,
} from './fields.ts'
import { type Rec, struct } from './struct.ts'

/**
 * The headers of an AG: AGF (space), AGI (inodes), AGFL (blocks reserved for the free space and
 * rmap btrees).
 */

export const AGF_MAGIC = 0x58414746 // XAGF
export const AGI_MAGIC = 0x58414749 // XAGI
export const AGFL_MAGIC = 0x5841464c // XAFL
export const NULLAGBLOCK = 0xffffffff
export const NULLAGINO = 0xffffffff
export const AGI_UNLINKED_BUCKETS = 64

/** Sectors of the four headers of an AG: superblock, AGF, AGI, AGFL. */
export const AG_SECTORS = { sb: 0, agf: 1, agi: 2, agfl: 3 } as const

// biome-ignore format: one field a line, columns aligned
export const Agf = struct('agf', 224, 'xfs_format.h: struct xfs_agf', {
  magicnum:        magic32(0, AGF_MAGIC, '"XAGF"'),
  versionnum:      u32(4, '1'),
  seqno:           agno(8, 'sequence number of the AG'),
  length:          extlenOrNull(12, 'blocks of this AG'),
  bnoroot:         agbno(16, 'root of the free space btree by block', { to: 'bnobt' }),
  cntroot:         agbno(20, 'root of the free space btree by size', { to: 'cntbt' }),
  rmaproot:        agbno(24, 'root of rmapbt', { since: 'rmapbt', to: 'rmapbt' }),
  bnolevel:        u32(28, 'height of bnobt'),
  cntlevel:        u32(32, 'height of cntbt'),
  rmaplevel:       u32(36, 'height of rmapbt', { since: 'rmapbt' }),
  flfirst:         u32(40, 'first used slot of the AGFL'),
  fllast:          u32(44, 'last used slot of the AGFL'),
  flcount:         u32(48, 'used slots of the AGFL'),
  freeblks:        extlen(52, 'free blocks in bnobt'),
  longest:         extlen(56, 'longest free extent'),
  btreeblks:       u32(60, 'blocks of bnobt, cntbt and rmapbt, without the roots'),
  uuid:            uuid(64, 'UUID of the filesystem'),
  rmapblocks:      extlen(80, 'blocks of rmapbt, with the root', { since: 'rmapbt' }),
  refcntblocks:    extlen(84, 'blocks of refcountbt, with the root', { since: 'reflink' }),
  refcntroot:      agbno(88, 'root of refcountbt', { since: 'reflink', to: 'refcntbt' }),
  refcntlevel:     u32(92, 'height of refcountbt', { since: 'reflink' }),
  spare64:         pad(96, 112),
  lsn:             lsn(208, 'LSN of the last write of this sector'),
  crc:             crc32c(216),
  spare2:          pad(220, 4),
})
export type Agf = Rec<typeof Agf>

// biome-ignore format: one field a line, columns aligned
export const Agi = struct('agi', 344, 'xfs_format.h: struct xfs_agi', {
  magicnum:        magic32(0, AGI_MAGIC, '"XAGI"'),
  versionnum:      u32(4, '1'),
  seqno:           agno(8, 'sequence number of the AG'),
  length:          extlenOrNull(12, 'blocks of this AG'),
  count:           u32OrNull(16, 'allocated inodes'),
  root:            agbno(20, 'root of inobt', { to: 'inobt' }),
  level:           u32(24, 'height of inobt'),
  freecount:       u32OrNull(28, 'free inodes among them'),
  newino:          agino(32, 'first inode of the chunk allocated last', { to: 'inode' }),
  dirino:          agino(36, 'unused, null', { to: 'inode' }),
  unlinked:        array(40, AGI_UNLINKED_BUCKETS, agino, 'heads of the AGI unlinked lists'),
  uuid:            uuid(296, 'UUID of the filesystem'),
  crc:             crc32c(312),
  pad32:           pad(316, 4),
  lsn:             lsn(320, 'LSN of the last write of this sector'),
  free_root:       agbno(328, 'root of finobt', { since: 'finobt', to: 'finobt' }),
  free_level:      u32(332, 'height of finobt', { since: 'finobt' }),
  iblocks:         extlen(336, 'blocks of inobt', { since: 'inobtcount' }),
  fblocks:         extlen(340, 'blocks of finobt', { since: 'inobtcount' }),
})
export type Agi = Rec<typeof Agi>
/** Bytes of a bucket of the AGI unlinked lists. */
export const BUCKET_SIZE = Agi.fields.unlinked.size / AGI_UNLINKED_BUCKETS

/**
 * The header only. The slots follow, up to the end of the sector: an agbno each, NULLAGBLOCK if
 * empty. V4 has no header.
 */
// biome-ignore format: one field a line, columns aligned
export const Agfl = struct('agfl', 36, 'xfs_format.h: struct xfs_agfl', {
  magicnum:        magic32(0, AGFL_MAGIC, '"XAFL"'),
  seqno:           agno(4, 'sequence number of the AG'),
  uuid:            uuid(8, 'UUID of the filesystem'),
  lsn:             lsn(24, 'LSN of the last write of this sector'),
  crc:             crc32c(32),
})
export type Agfl = Rec<typeof Agfl>

/** A slot of the AGFL. */
export const AgflSlot = struct('agfl_slot', 4, 'xfs_format.h: struct xfs_agfl, bno[]', {
  bno: agbno(0, 'a reserved block, null if the slot is empty', { to: 'data' }),
})

/** Add an AG to the counters that the superblock has of all of them. */
export function countAg(sum: { fdblocks: number; icount: number; ifree: number }, agf: DataView, agi: DataView): void {
  const { freeblks, flcount, btreeblks } = Agf.fields
  sum.fdblocks += freeblks.get(agf, 0) + flcount.get(agf, 0) + btreeblks.get(agf, 0)
  sum.icount += Agi.fields.count.get(agi, 0)
  sum.ifree += Agi.fields.freecount.get(agi, 0)
}
