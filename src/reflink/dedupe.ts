import { deviceOffset, segments } from '../data/data.ts'
import type { Device } from '../device/device.ts'
import { type Inode, openInode } from '../inode/inode.ts'
import { add, type Bytes, capped, least, subtract, unitOf, unitStart } from '../util/bytes.ts'
import type { Steps } from '../util/progress.ts'
import { sameBytes } from '../util/samebytes.ts'
import { trace } from '../util/trace.ts'
import type { Volume } from '../volume.ts'
import { checkInodes, dedupeRange, type RangeRequest } from './range.ts'
import { inheritedHint, remapRange, requireReflink, setHint } from './reflink.ts'
import { setReflinkFlags } from './remap.ts'

/** Maximum bytes that one call of the kernel compares and shares. */
export const DEDUPE_MAX = 2 ** 30
const COMPARE_BYTES = 2 ** 20

export interface DedupeResult {
  /**
   * No difference was found. As in the kernel, a part of a block at the end is not compared and not
   * shared, unless both files end there.
   */
  readonly same: boolean
  /**
   * Bytes that are deduped: the requested length (at most DEDUPE_MAX per call) if the contents are
   * the same, else 0.
   */
  readonly bytes: Bytes
  readonly mapped: number
}

/**
 * Share a range of `src` into `dst` if both hold the same bytes, as one call of FIDEDUPERANGE does:
 * at most DEDUPE_MAX bytes, all or nothing. No timestamps change. Nothing can change between the
 * comparison and the sharing, because there is no other writer.
 *
 * @throws XfsError UNSUPPORTED, ISDIR, INVAL, PERM, NOSPC; contents that differ are a result, not
 *   an error
 * @source fs/remap_range.c: vfs_dedupe_file_range_one
 */
export function* dedupe(volume: Volume, srcIno: number, dstIno: number, request: RangeRequest): Steps<DedupeResult> {
  requireReflink(volume)
  const src = openInode(volume, srcIno)
  const dst = srcIno === dstIno ? src : openInode(volume, dstIno)
  checkInodes(src, dst)
  const { compare, share } = dedupeRange(src, dst, oneCall(src, request))
  const bytes = capped(request.length, DEDUPE_MAX)
  if (compare.length > 0) {
    if (trace.reflink.hasSubscribers) trace.reflink.publish({ point: 'compare', src: srcIno, dst: dstIno, ...compare })
    if (!sameContent(src, compare.srcOffset, dst, compare.dstOffset, Number(compare.length)))
      return { same: false, bytes: 0, mapped: 0 }
    const hint = inheritedHint(src, dst, share)
    const mapped = yield* remapRange(volume, srcIno, dstIno, share, (tx, ...files) => setReflinkFlags(tx, files))
    setHint(volume, dstIno, hint)
    return { same: true, bytes, mapped }
  }
  return { same: true, bytes, mapped: 0 }
}

/** Dedupe a range in as many calls as its length needs. Stops at the first part that differs. */
export function* dedupeAll(volume: Volume, srcIno: number, dstIno: number, request: RangeRequest): Steps<DedupeResult> {
  let bytes: Bytes = 0
  let mapped = 0
  do {
    const part: RangeRequest = {
      srcOffset: add(request.srcOffset, bytes),
      dstOffset: add(request.dstOffset, bytes),
      length: subtract(request.length, bytes),
    }
    const result: DedupeResult = yield* dedupe(volume, srcIno, dstIno, part)
    if (!result.same) return { same: false, bytes, mapped }
    bytes = add(bytes, result.bytes)
    mapped += result.mapped
    bytes = add(bytes, commonGap(volume, srcIno, dstIno, request, bytes))
  } while (bytes < request.length)
  return { same: true, bytes, mapped }
}

/**
 * The number of bytes of a request, from `done` on, that are in holes of both files, in whole
 * calls. Those calls would find nothing to do, and a file of 2^63 − 1 bytes would need thousands of
 * millions of them.
 */
export function commonGap(volume: Volume, srcIno: number, dstIno: number, request: RangeRequest, done: Bytes): Bytes {
  const gapAt = (ino: number, offset: Bytes): Bytes => {
    const inode = openInode(volume, ino)
    for (const { extent, length } of segments(inode, offset)) return extent ? 0 : length
    return 0
  }
  const left = subtract(request.length, done)
  if (left <= DEDUPE_MAX) return 0
  const gap = least(gapAt(srcIno, add(request.srcOffset, done)), gapAt(dstIno, add(request.dstOffset, done)))
  return unitStart(unitOf(least(left, gap), DEDUPE_MAX), DEDUPE_MAX)
}

/**
 * The part of a request for one call: at most DEDUPE_MAX bytes. Whether the range is inside of the
 * source is checked for the complete request.
 */
function oneCall(src: Inode, request: RangeRequest): RangeRequest {
  return add(request.srcOffset, request.length) > src.size
    ? request
    : { ...request, length: capped(request.length, DEDUPE_MAX) }
}

type Buffers = { readonly left: Uint8Array; readonly right: Uint8Array }

/**
 * Kept for the next comparison: most compare a few blocks, and allocating the buffers would cost as
 * much as reading the blocks.
 */
const buffers = new WeakMap<Volume, Buffers>()

function buffersOf(volume: Volume, size: number): Buffers {
  const known = buffers.get(volume)
  if (known && known.left.length >= size) return known
  const made = { left: new Uint8Array(size), right: new Uint8Array(size) }
  buffers.set(volume, made)
  return made
}

/**
 * Do two ranges inside of their files hold the same bytes? Blocks that are already shared, and
 * holes on both sides, are not read.
 */
function sameContent(a: Inode, aOffset: Bytes, b: Inode, bOffset: Bytes, length: number): boolean {
  const { device } = a.volume
  const buffers = buffersOf(a.volume, Math.min(COMPARE_BYTES, length))
  const left = byteRuns(a, aOffset, length)
  const right = byteRuns(b, bOffset, length)
  let one = left.next()
  let other = right.next()
  for (let done = 0; done < length && !one.done && !other.done; ) {
    const end = Math.min(one.value.end, other.value.end)
    if (!sameRun(device, one.value.base, other.value.base, done, end, buffers)) return false
    done = end
    if (done >= one.value.end) one = left.next()
    if (done >= other.value.end) other = right.next()
  }
  return true
}

/**
 * A run of a range, up to `end` bytes from the start of the range. Its byte at x is the byte of the
 * device at `base + x`; without a base it is zero.
 */
interface ByteRun {
  readonly end: number
  readonly base: number | undefined
}

function* byteRuns(inode: Inode, offset: Bytes, length: number): Generator<ByteRun> {
  const { geometry } = inode.volume
  for (const { extent, ...segment } of segments(inode, offset, add(offset, length))) {
    const at = Number(subtract(segment.offset, offset))
    const base = extent && deviceOffset(geometry, extent, segment.offset) - at
    yield { end: at + Number(segment.length), base }
  }
}

function sameRun(
  device: Device,
  a: number | undefined,
  b: number | undefined,
  from: number,
  to: number,
  buffers: Buffers,
): boolean {
  if (a === b) return true
  for (let at = from; at < to; at += COMPARE_BYTES) {
    const size = Math.min(COMPARE_BYTES, to - at)
    const left = load(device, a, at, buffers.left.subarray(0, size))
    const right = load(device, b, at, buffers.right.subarray(0, size))
    if (!sameBytes(left, right)) return false
  }
  return true
}

function load(device: Device, base: number | undefined, at: number, into: Uint8Array): Uint8Array {
  if (base === undefined) return into.fill(0)
  device.read(into, base + at)
  return into
}
