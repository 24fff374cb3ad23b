import { XfsError } from '../errors.ts'
import { DIFLAGS } from '../format/dinode.ts'
import type { Inode } from '../inode/inode.ts'
import { add, type Bytes, inUnit, MAX_FILE_SIZE, subtract, unitOf, unitStart, unitsFor } from '../util/bytes.ts'

export interface RangeRequest {
  /** Bytes. */
  readonly srcOffset: Bytes
  readonly dstOffset: Bytes
  /** Bytes; 0 means to the source's EOF (clone) or nothing (dedupe). */
  readonly length: Bytes
}

/** The part of a request to be shared, in bytes. */
export interface SharedRange {
  readonly srcOffset: Bytes
  readonly dstOffset: Bytes
  /** 0: nothing to do. */
  readonly length: Bytes
}

/** What the rules need to know of the destination. */
type Destination = Pick<Inode, 'ino' | 'size' | 'isDirectory' | 'isRegular' | 'flags'>

/** A regular file that does not exist yet. */
export const NEW_FILE: Destination = { ino: 0 as Inode['ino'], size: 0, isDirectory: false, isRegular: true, flags: 0 }

/**
 * May `src` be shared into `dst` at all? These are the rules of FICLONE and FIDEDUPERANGE that
 * depend on the inodes only.
 * @throws XfsError ISDIR, INVAL (not a regular file, realtime), PERM (immutable destination)
 * @source fs/remap_range.c: generic_remap_file_range_prep; fs/xfs/xfs_reflink.c:
 *   xfs_reflink_remap_prep
 */
export function checkInodes(src: Inode, dst: Destination): void {
  for (const [inode, role] of [
    [src, 'source'],
    [dst, 'destination'],
  ] as const) {
    if (inode.isDirectory) throw new XfsError('ISDIR', `the ${role} is a directory`, { ino: inode.ino })
    if (!inode.isRegular) throw new XfsError('INVAL', `the ${role} is not a regular file`, { ino: inode.ino })
    if ((inode.flags & DIFLAGS.realtime) !== 0)
      throw new XfsError('INVAL', `the ${role} is on the realtime device`, { ino: inode.ino })
  }
  if ((dst.flags & DIFLAGS.immutable) !== 0)
    throw new XfsError('PERM', 'the destination is immutable', { ino: dst.ino })
}

/**
 * The part of `request` that a clone shares.
 *
 *   src  |--------|--------|---x           x: EOF inside a block. That block may be shared only if
 *             ╲        ╲       ╲           it is the last one of the destination afterwards:
 *   dst  |--------|--------|--------|---y  elsewhere the bytes after x would become visible.
 *
 * @throws XfsError INVAL (unaligned, past the source's EOF, overlapping in one file, an EOF block
 *   into the middle), FBIG
 * @source fs/remap_range.c: generic_remap_checks, generic_remap_check_len
 */
export function cloneRange(src: Inode, dst: Destination, request: RangeRequest): SharedRange {
  const { srcOffset, dstOffset } = request
  let { length } = request
  checkNumbers(request)
  if (length === 0) {
    if (srcOffset === src.size) return { ...request, length: 0 }
    if (srcOffset > src.size)
      throw new XfsError('INVAL', `source offset ${srcOffset} is past its end of file (${src.size})`)
    length = subtract(src.size, srcOffset)
  }
  checkAlignment(src, request)
  checkSums(srcOffset, dstOffset, length)
  const srcEnd = add(srcOffset, length)
  const dstEnd = add(dstOffset, length)
  if (srcOffset >= src.size || srcEnd > src.size) {
    throw new XfsError('INVAL', `source range ${srcOffset}+${length} ends past its end of file (${src.size})`)
  }
  const blocksize = src.volume.geometry.blocksize
  const toEof = srcEnd === src.size
  const part = inUnit(length, blocksize)
  if (!toEof && part !== 0) {
    throw new XfsError(
      'INVAL',
      `length ${length} is not a multiple of the block size (${blocksize}) and does not end at the source's end of file`,
    )
  }
  checkOverlap(src, dst, srcOffset, dstOffset, unitStart(unitsFor(length, blocksize), blocksize))
  if (part !== 0 && dstEnd < dst.size) {
    throw new XfsError(
      'INVAL',
      `the source's partial last block would be inside of the destination (${dstEnd} of ${dst.size} bytes)`,
    )
  }
  return { srcOffset, dstOffset, length }
}

/**
 * The part of `request` that a dedupe compares (`compare`) and the part that it then shares
 * (`share`): an unaligned end is rounded down unless it is the EOF of both files. Length 0 means
 * nothing to do.
 * @throws XfsError INVAL
 */
export function dedupeRange(
  src: Inode,
  dst: Inode,
  request: RangeRequest,
): { compare: SharedRange; share: SharedRange } {
  const { srcOffset, dstOffset, length } = request
  checkNumbers(request)
  const srcEnd = add(srcOffset, length)
  const dstEnd = add(dstOffset, length)
  if (srcEnd > src.size)
    throw new XfsError('INVAL', `source range ${srcOffset}+${length} ends past its end of file (${src.size})`)
  if (length === 0) return { compare: request, share: request }
  checkAlignment(src, request)
  checkSums(srcOffset, dstOffset, length)
  if (srcOffset >= src.size)
    throw new XfsError('INVAL', `source offset ${srcOffset} is at or past its end of file (${src.size})`)
  if (dstOffset >= dst.size || dstEnd > dst.size) {
    throw new XfsError('INVAL', `destination range ${dstOffset}+${length} ends past its end of file (${dst.size})`)
  }
  const blocksize = src.volume.geometry.blocksize
  const bothEnd = srcEnd === src.size && dstEnd === dst.size
  const shared = bothEnd ? length : unitStart(unitOf(length, blocksize), blocksize)
  checkOverlap(src, dst, srcOffset, dstOffset, unitStart(unitsFor(shared, blocksize), blocksize))
  return { compare: { srcOffset, dstOffset, length: shared }, share: { srcOffset, dstOffset, length: shared } }
}

function checkNumbers({ srcOffset, dstOffset, length }: RangeRequest): void {
  for (const [name, value] of [
    ['source offset', srcOffset],
    ['destination offset', dstOffset],
    ['length', length],
  ] as const) {
    if (!(typeof value === 'bigint' || Number.isSafeInteger(value)) || value < 0)
      throw new XfsError('INVAL', `${name} is not an integer: ${String(value)}`)
  }
}

function checkAlignment(src: Inode, { srcOffset, dstOffset }: RangeRequest): void {
  const { blocksize } = src.volume.geometry
  for (const [name, value] of [
    ['source', srcOffset],
    ['destination', dstOffset],
  ] as const) {
    if (inUnit(value, blocksize) !== 0)
      throw new XfsError('INVAL', `${name} offset ${value} is not a multiple of the block size (${blocksize})`)
  }
}

function checkSums(srcOffset: Bytes, dstOffset: Bytes, length: Bytes): void {
  for (const offset of [srcOffset, dstOffset]) {
    if (add(offset, length) > MAX_FILE_SIZE)
      throw new XfsError('INVAL', `range ${offset}+${length} ends past the maximum file size`)
  }
}

function checkOverlap(src: Inode, dst: Destination, srcOffset: Bytes, dstOffset: Bytes, length: Bytes): void {
  if (src.ino === dst.ino && add(dstOffset, length) > srcOffset && dstOffset < add(srcOffset, length)) {
    throw new XfsError('INVAL', `the ranges overlap: ${srcOffset}+${length} and ${dstOffset}+${length} of one file`)
  }
}
