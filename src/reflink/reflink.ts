import { dropCapabilities } from '../attr/attr.ts'
import { zeroTail } from '../data/write.ts'
import { XfsError } from '../errors.ts'
import { DIFLAGS2 } from '../format/dinode.ts'
import { type Inode, openInode, touchInode, updateInode } from '../inode/inode.ts'
import { type Transaction, withTransaction } from '../tx/transaction.ts'
import { add, type Bytes, unitOf, unitsFor } from '../util/bytes.ts'
import type { Steps } from '../util/progress.ts'
import type { Volume } from '../volume.ts'
import { checkInodes, cloneRange, NEW_FILE, type RangeRequest, type SharedRange } from './range.ts'
import { remapBlocks, setReflinkFlags } from './remap.ts'

/**
 * Sharing blocks between files, and listing the sharers. This room decides which ranges may be
 * shared (range.ts) and changes mappings (remap.ts). Reference counts belong to `space`, CoW to
 * `data`.
 */

export interface CloneResult {
  /** Bytes that the two files share by this call. */
  readonly length: Bytes
  /** Extents mapped, without those that were already shared. */
  readonly mapped: number
}

/**
 * Share a range of `src` into `dst`, as FICLONERANGE does. Both files map the same blocks
 * afterwards, and reference counts are raised. Holes and unwritten blocks of the source become
 * holes. Old blocks of the destination in the range are unmapped. Its mtime and ctime are updated,
 * and its size grows to the end of the range.
 *
 * A generator of progress: between two steps the image is sound, and the caller may stop.
 *
 * @throws XfsError UNSUPPORTED without the reflink feature; ISDIR, INVAL, PERM if the range is
 *   refused (nothing is changed); NOSPC
 * @source fs/xfs/xfs_file.c: xfs_file_remap_range; rules of the ranges: range.ts
 */
export function* reflink(volume: Volume, srcIno: number, dstIno: number, request: RangeRequest): Steps<CloneResult> {
  requireReflink(volume)
  const src = openInode(volume, srcIno)
  const dst = srcIno === dstIno ? src : openInode(volume, dstIno)
  checkInodes(src, dst)
  const range = cloneRange(src, dst, request)
  if (range.length === 0) return { length: 0, mapped: 0 }
  const hint = inheritedHint(src, dst, range)
  zeroTail(volume, dstIno, range.dstOffset)
  const prepare = (tx: Transaction, source: Inode, destination: Inode): void => {
    setReflinkFlags(tx, [source, destination])
    dropCapabilities(tx, destination)
    touchInode(tx, destination, { mtime: true, ctime: true })
  }
  const mapped = yield* remapRange(volume, srcIno, dstIno, range, prepare)
  setHint(volume, dstIno, hint)
  return { length: range.length, mapped }
}

/**
 * Remap a range in bytes. `prepare` makes changes that belong to the first step.
 * @returns the number of extents mapped
 */
export function remapRange(
  volume: Volume,
  srcIno: number,
  dstIno: number,
  range: SharedRange,
  prepare: (tx: Transaction, src: Inode, dst: Inode) => void,
): Steps<number> {
  const { blocksize } = volume.geometry
  const blocks = {
    srcOffset: unitOf(range.srcOffset, blocksize),
    dstOffset: unitOf(range.dstOffset, blocksize),
    length: unitsFor(range.length, blocksize),
  }
  return remapBlocks(volume, srcIno, dstIno, blocks, add(range.dstOffset, range.length), prepare)
}

/** What `reflink` would refuse for a new file. @throws XfsError as `reflink`, except NOSPC */
export function checkNewClone(volume: Volume, src: Inode, request: RangeRequest): void {
  requireReflink(volume)
  checkInodes(src, NEW_FILE)
  cloneRange(src, NEW_FILE, request)
}

export function requireReflink(volume: Volume): void {
  if (!volume.features.has('reflink')) throw new XfsError('UNSUPPORTED', 'the filesystem has no reflink feature')
}

/** Set the CoW extent size hint of a file (0: unchanged). */
export function setHint(volume: Volume, ino: number, hint: number): void {
  if (hint === 0) return
  withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    updateInode(tx, inode, { cowextsize: hint, flags2: (inode.flags2 | DIFLAGS2.cowextsize) >>> 0 })
  })
}

/**
 * The source's CoW extent size hint, if all of the source replaces all of the destination, and the
 * destination has no hint. A dedupe copies it, too.
 */
export function inheritedHint(src: Inode, dst: Inode, range: SharedRange): number {
  const whole = range.srcOffset === 0 && range.dstOffset === 0 && range.length === src.size && range.length >= dst.size
  const inherits = whole && (src.flags2 & DIFLAGS2.cowextsize) !== 0 && (dst.flags2 & DIFLAGS2.cowextsize) === 0
  return inherits ? src.cowextsize : 0
}
