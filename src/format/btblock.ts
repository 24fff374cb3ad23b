import { agbno, crc32c, daddr, fsbno, ino, lsn, pad, u16, u32, uuid, x32 } from './fields.ts'
import { type Rec, struct } from './struct.ts'

/**
 * Headers of V5 btree blocks with short pointers (inside an AG) and long ones (bmbt), and the bmbt
 * root in an inode.
 */

// biome-ignore format: one field a line, columns aligned
export const ShortBlock = struct('btblock_short', 56, 'xfs_format.h: struct xfs_btree_block, xfs_btree_block_shdr', {
  magic:    x32(0, 'magic number of the tree'),
  level:    u16(4, '0 for a leaf'),
  numrecs:  u16(6, 'records or keys in this block'),
  leftsib:  agbno(8, 'left sibling', { to: 'btree' }),
  rightsib: agbno(12, 'right sibling', { to: 'btree' }),
  bno:      daddr(16, 'address of this block', { to: 'btree' }),
  lsn:      lsn(24, 'LSN of the last write of this block'),
  uuid:     uuid(32, 'UUID of the filesystem'),
  owner:    u32(48, 'AG'),
  crc:      crc32c(52),
})
export type ShortBlock = Rec<typeof ShortBlock>

// biome-ignore format: one field a line, columns aligned
export const LongBlock = struct('btblock_long', 72, 'xfs_format.h: struct xfs_btree_block, xfs_btree_block_lhdr', {
  magic:    x32(0, 'magic number of the tree'),
  level:    u16(4, '0 for a leaf'),
  numrecs:  u16(6, 'records or keys in this block'),
  leftsib:  fsbno(8, 'left sibling', { to: 'btree' }),
  rightsib: fsbno(16, 'right sibling', { to: 'btree' }),
  bno:      daddr(24, 'address of this block', { to: 'btree' }),
  lsn:      lsn(32, 'LSN of the last write of this block'),
  uuid:     uuid(40, 'UUID of the filesystem'),
  owner:    ino(56, 'inode'),
  crc:      crc32c(64),
  pad:      pad(68, 4),
})
export type LongBlock = Rec<typeof LongBlock>

/** V4 blocks end after the siblings. */
export const SHORT_BLOCK_SIZE_V4 = ShortBlock.fields.bno.offset
export const LONG_BLOCK_SIZE_V4 = LongBlock.fields.bno.offset

/**
 * The root of a bmbt in an inode fork: `level`, `numrecs`, then keys and pointers. Their maximum
 * depends on the size of the fork.
 */
// biome-ignore format: one field a line, columns aligned
export const BmdrBlock = struct('bmdr', 4, 'xfs_format.h: struct xfs_bmdr_block', {
  level:    u16(0, 'height above the leaves, at least 1'),
  numrecs:  u16(2, 'keys in the root'),
})
