import { copyExtents } from '../data/cow.ts'
import { falloc } from '../data/fallocate.ts'
import { checkWritable } from '../data/write.ts'
import { XfsError } from '../errors.ts'
import type { BmbtRec } from '../format/btrecs.ts'
import { DIFLAGS2 } from '../format/dinode.ts'
import { type Inode, openInode, updateInode } from '../inode/inode.ts'
import { findExtent } from '../mapping/extents.ts'
import { requireBlocks, runAt, sharedBlocks } from '../mapping/runs.ts'
import { asMuchAsFits, withTransaction } from '../tx/transaction.ts'
import { add, type Bytes, least, unitOf, unitsFor } from '../util/bytes.ts'
import type { Steps } from '../util/progress.ts'
import { trace } from '../util/trace.ts'
import type { Volume } from '../volume.ts'
import { requireReflink } from './reflink.ts'
import { mappedRuns } from './sharing.ts'

interface UnshareRequest {
  /** Bytes. */
  readonly offset: Bytes
  readonly length: Bytes
  /** Blocks past EOF are allocated, but the file does not grow. */
  readonly keepSize?: boolean
}

export interface UnshareResult {
  /** Blocks that were shared, and now belong to this file only. */
  readonly copied: number
  /** The file has no shared blocks any more; its reflink flag was cleared. */
  readonly cleared: boolean
}

/** Maximum blocks and extents copied in one step, and maximum extents read. */
const STEP_EXTENTS = 64
const BLOCKS_PER_EXTENT = 64
const STEP_LOOKS = 4096

/**
 * Give a file its own copy of every shared block of a range, as FALLOC_FL_UNSHARE_RANGE does. The
 * range is rounded outwards to blocks. Holes in it get unwritten blocks, unwritten blocks stay, and
 * the file grows to the end of the range. If the file has no shared blocks left, its reflink flag
 * is cleared.
 *
 * Space for all copies is checked before the first one.
 *
 * @throws XfsError INVAL (no length, not a regular file), ISDIR, PERM, FBIG, NOSPC (nothing is
 *   changed)
 * @source fs/xfs/xfs_file.c: xfs_falloc_unshare_range; xfs_reflink.c: xfs_reflink_unshare
 */
export function* unshare(volume: Volume, ino: number, request: UnshareRequest): Steps<UnshareResult> {
  const { offset, length } = request
  if (length <= 0) throw new XfsError('INVAL', 'the length of the range is not positive', { ino })
  const inode = openInode(volume, ino)
  checkWritable(inode, offset, length)
  const { blocksize } = volume.geometry
  const end = unitsFor(least(add(offset, length), inode.size), blocksize)
  const start = unitOf(offset, blocksize)
  const copied = yield* copyShared(volume, ino, start, end)
  falloc(volume, ino, offset, length, { keepSize: request.keepSize === true })
  return { copied, cleared: clearReflinkFlag(volume, ino) }
}

/** Copy the shared blocks of the file blocks [start, end). @returns blocks copied */
function* copyShared(volume: Volume, ino: number, start: number, end: number): Steps<number> {
  if (trace.reflink.hasSubscribers)
    trace.reflink.publish({ point: 'unshare', ino, startoff: start, blockcount: end - start })
  const first = openInode(volume, ino)
  if (!first.reflink || end <= start) return 0
  requireReflink(volume)
  requireBlocks(volume, sharedIn(first, start, end), first.agno)
  let copied = 0
  for (let at = start; at < end; ) {
    const from = at
    const { blocks, next } = asMuchAsFits(STEP_EXTENTS, (most) => {
      const runs = sharedRuns(openInode(volume, ino), from, end, most)
      if (runs.list.length > 0) copyExtents(volume, ino, runs.list)
      return runs
    })
    copied += blocks
    at = next
    yield { what: 'unsharing', done: at - start, total: end - start }
  }
  return copied
}

/**
 * The shared runs of the file blocks [start, end), as many as a step of `most` extents copies, and
 * where the search stopped.
 */
function sharedRuns(
  inode: Inode,
  start: number,
  end: number,
  most: number,
): { list: BmbtRec[]; blocks: number; next: number } {
  const mostBlocks = most * BLOCKS_PER_EXTENT
  const list: BmbtRec[] = []
  let blocks = 0
  let looked = 0
  for (let at = start; at < end; looked++) {
    if (list.length === most || blocks >= mostBlocks || looked === STEP_LOOKS) return { list, blocks, next: at }
    const extent = findExtent(inode, 'data', at)
    if (!extent || extent.startoff >= end) break
    at = Math.max(at, extent.startoff)
    const run = runAt(inode, at, Math.min(mostBlocks - blocks, end - at), inode.volume)
    if (run.kind === 'shared' && run.extent) {
      list.push(run.extent)
      blocks += run.blockcount
    }
    at += run.blockcount
  }
  return { list, blocks, next: end }
}

function sharedIn(inode: Inode, start: number, end: number): number {
  let count = 0
  for (let at = start; at < end; ) {
    const rec = findExtent(inode, 'data', at)
    if (!rec || rec.startoff >= end) break
    const from = Math.max(at, rec.startoff)
    const blockcount = Math.min(rec.startoff + rec.blockcount, end) - from
    if (rec.extentflag === 0)
      count += sharedBlocks(inode, {
        ...rec,
        startoff: from,
        startblock: rec.startblock + from - rec.startoff,
        blockcount,
      })
    at = from + blockcount
  }
  return count
}

/**
 * Clear the inode's reflink flag if none of its blocks is shared. @returns whether it was cleared
 */
export function clearReflinkFlag(volume: Volume, ino: number): boolean {
  const inode = openInode(volume, ino)
  if (!inode.reflink) return false
  for (const run of mappedRuns(inode)) if (run.shared) return false
  if (trace.reflink.hasSubscribers) trace.reflink.publish({ point: 'clearFlag', ino })
  withTransaction(volume, (tx) => {
    const changed = openInode(volume, ino, tx)
    updateInode(tx, changed, { flags2: (changed.flags2 & ~DIFLAGS2.reflink) >>> 0 })
  })
  return true
}
