import { XfsError } from '../errors.ts'
import { bytesAt, crc32c, daddr, ino, lsn, magic32, u32, uuid } from './fields.ts'
import { type Rec, struct } from './struct.ts'

/**
 * Remote targets of symbolic links, which do not fit into the inode: one or more blocks, each with
 * a header and a part of the target.
 */

export const SYMLINK_MAGIC = 0x58534c4d // XSLM
/** Targets are shorter than this value. */
export const SYMLINK_MAXLEN = 1024

// biome-ignore format: one field a line, columns aligned
export const SymlinkHdr = struct('symlink', 56, 'xfs_format.h: struct xfs_dsymlink_hdr', {
  magic:  magic32(0, SYMLINK_MAGIC, '"XSLM"'),
  offset: u32(4, 'offset of this block in the target'),
  bytes:  u32(8, 'bytes of the target in this block'),
  crc:    crc32c(12),
  uuid:   uuid(16, 'UUID of the filesystem'),
  owner:  ino(32, 'inode of the link'),
  bno:    daddr(40, 'address of this block'),
  lsn:    lsn(48, 'LSN of the last write of this block'),
})
export type SymlinkHdr = Rec<typeof SymlinkHdr>

/** Bytes of a target in one block. */
export const symlinkSpace = (blockSize: number): number => blockSize - SymlinkHdr.size
/** Blocks that a target takes. */
export const symlinkBlocks = (length: number, blockSize: number): number => Math.ceil(length / symlinkSpace(blockSize))

/**
 * The part of the target in this block: a view on it, not a copy. @throws XfsError CORRUPT if it
 * does not fit
 */
export function symlinkPart(view: DataView): Uint8Array {
  const length = SymlinkHdr.fields.bytes.get(view, 0)
  if (SymlinkHdr.size + length > view.byteLength) {
    throw new XfsError('CORRUPT', `symlink block: ${length} bytes do not fit`, { type: 'symlink', field: 'bytes' })
  }
  return bytesAt(view, SymlinkHdr.size, length)
}
