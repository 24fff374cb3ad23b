import { bits, padBits } from './bitfield.ts'
import { agbno, agino, extlen, fileoff, i64, mask64, u8, u32, x16 } from './fields.ts'
import { type Rec, struct } from './struct.ts'

/** Records and keys of the seven btrees. */

export const MAX_REFCOUNT = 0xffffffff
/** Lengths of refcount and rmap records are below this value. */
export const MAX_REFCOUNT_EXTLEN = 0xffffffff
export const MAX_BMBT_EXTLEN = 2 ** 21 - 1
/** The maximum file block number, plus one. */
export const MAX_FILE_BLOCKS = 2 ** 54

/** Owners of rmap records that are not inodes. */
export const OWNERS = {
  null: -1,
  unknown: -2,
  fs: -3,
  log: -4,
  ag: -5,
  inobt: -6,
  inodes: -7,
  refc: -8,
  cow: -9,
} as const

// biome-ignore format: one field a line, columns aligned
export const AllocRec = struct('alloc_rec', 8, 'xfs_format.h: struct xfs_alloc_rec', {
  startblock: agbno(0, 'first free block', { to: 'data' }),
  blockcount: extlen(4, 'free blocks from there'),
})
export type AllocRec = Rec<typeof AllocRec>

// biome-ignore format: one field a line, columns aligned
export const InobtRec = struct('inobt_rec', 16, 'xfs_format.h: struct xfs_inobt_rec (sparse form)', {
  startino:  agino(0, 'first inode of the chunk', { to: 'inode' }),
  holemask:  x16(4, 'mask of holes, one bit for four inodes'),
  count:     u8(6, 'inodes outside of holes'),
  freecount: u8(7, 'free inodes'),
  free:      mask64(8, 'one bit an inode: free or in a hole'),
})
export type InobtRec = Rec<typeof InobtRec>

/** Without the sparse feature the count of free inodes takes a full word. */
// biome-ignore format: one field a line, columns aligned
export const InobtRecFull = struct('inobt_rec_full', 16, 'xfs_format.h: struct xfs_inobt_rec (full form)', {
  startino:  agino(0, 'first inode of the chunk', { to: 'inode' }),
  freecount: u32(4, 'free inodes'),
  free:      mask64(8, 'one bit an inode: free'),
})

// biome-ignore format: one field a line, columns aligned
export const InobtKey = struct('inobt_key', 4, 'xfs_format.h: struct xfs_inobt_key', {
  startino:  agino(0, 'first inode of the chunk', { to: 'inode' }),
})

// biome-ignore format: one field a line, columns aligned
export const RmapRec = struct('rmap_rec', 24, 'xfs_format.h: struct xfs_rmap_rec', {
  startblock: agbno(0, 'first block', { to: 'data' }),
  blockcount: extlen(4, 'blocks'),
  owner:      i64(8, 'inode, or a negative special owner'),
  attrfork:   bits(16, 8, 0, 1, 'mapped by the attribute fork'),
  bmbtblock:  bits(16, 8, 1, 1, 'a bmbt block of the inode'),
  extentflag: bits(16, 8, 2, 1, 'unwritten'),
  reserved:   padBits(16, 8, 3, 7, { zero: true }),
  offset:     bits(16, 8, 10, 54, 'file offset in blocks, 0 if the owner is not an inode'),
})
export type RmapRec = Rec<typeof RmapRec>

/**
 * As RmapRec, without the length. The unwritten bit is not part of the key. Old kernels wrote it:
 * mask it when reading.
 */
// biome-ignore format: one field a line, columns aligned
export const RmapKey = struct('rmap_key', 20, 'xfs_format.h: struct xfs_rmap_key', {
  startblock: agbno(0, 'first block', { to: 'data' }),
  owner:      i64(4, 'inode, or a negative special owner'),
  attrfork:   bits(12, 8, 0, 1, 'mapped by the attribute fork'),
  bmbtblock:  bits(12, 8, 1, 1, 'a bmbt block of the inode'),
  extentflag: bits(12, 8, 2, 1, 'not part of the key, ignored'),
  reserved:   padBits(12, 8, 3, 7, { zero: true }),
  offset:     bits(12, 8, 10, 54, 'file offset in blocks'),
})
export type RmapKey = Rec<typeof RmapKey>

// biome-ignore format: one field a line, columns aligned
export const RefcountRec = struct('refcount_rec', 12, 'xfs_format.h: struct xfs_refcount_rec', {
  cowflag:    bits(0, 4, 0, 1, 'CoW staging'),
  startblock: bits(0, 4, 1, 31, 'first block', { kind: 'agbno', to: 'data' }),
  blockcount: extlen(4, 'blocks'),
  refcount:   u32(8, 'owners: at least 2, or exactly 1 for CoW staging'),
})
export type RefcountRec = Rec<typeof RefcountRec>

// biome-ignore format: one field a line, columns aligned
export const RefcountKey = struct('refcount_key', 4, 'xfs_format.h: struct xfs_refcount_key', {
  cowflag:    bits(0, 4, 0, 1, 'CoW staging'),
  startblock: bits(0, 4, 1, 31, 'first block', { kind: 'agbno', to: 'data' }),
})

// biome-ignore format: one field a line, columns aligned
export const BmbtRec = struct('bmbt_rec', 16, 'xfs_format.h: struct xfs_bmbt_rec', {
  extentflag: bits(0, 16, 0, 1, 'unwritten'),
  startoff:   bits(0, 16, 1, 54, 'file offset in blocks', { kind: 'fileoff', to: 'inodata' }),
  startblock: bits(0, 16, 55, 52, 'first block', { kind: 'fsbno', to: 'inodata' }),
  blockcount: bits(0, 16, 107, 21, 'blocks'),
})
export type BmbtRec = Rec<typeof BmbtRec>

// biome-ignore format: one field a line, columns aligned
export const BmbtKey = struct('bmbt_key', 8, 'xfs_format.h: struct xfs_bmbt_key', {
  startoff:   fileoff(0, 'file offset in blocks', { to: 'inodata' }),
})
