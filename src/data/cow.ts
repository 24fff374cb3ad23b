import { XfsError } from '../errors.ts'
import type { BmbtRec } from '../format/btrecs.ts'
import { DIFLAGS2 } from '../format/dinode.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import { type Inode, inodeError, openInode } from '../inode/inode.ts'
import { mapExtent, nearestBlock, unmapRange } from '../mapping/bmap.ts'
import { endOf, findExtent, trimExtent } from '../mapping/extents.ts'
import { allocExtent, extentFree } from '../space/alloc.ts'
import { allocCowExtent, freeCowExtent } from '../space/refcount.ts'
import type { Transaction } from '../tx/transaction.ts'
import { withTransaction } from '../tx/transaction.ts'
import { type Bytes, unitStart, unitsFor } from '../util/bytes.ts'
import { trace } from '../util/trace.ts'
import type { Volume } from '../volume.ts'
import { CHUNK_BYTES } from './data.ts'

/**
 * Copy on write: shared blocks are not written to; the file gets other blocks instead.
 *
 *                 file A ──┐
 *   shared (2)    ├────────┴─┬─────────┤
 *                 file B ────┘  write here ▒▒▒▒
 *
 *   1. reserve    new blocks as CoW staging: in the refcountbt, OWN_COW in the rmapbt (transaction)
 *   2. copy       old content and new bytes together to the new blocks
 *   3. remap      remove the staging; unmap the old blocks, which lose an owner; map the new blocks
 *                 (transaction)
 *
 * A crash between 1 and 3 leaves the file unchanged, and staging blocks that repair (or the kernel,
 * when it replays a log) frees; no file content has changed. With a CoW extent size hint
 * (cowextsize) the new blocks begin and end at its multiples; unused ones are freed in step 3.
 *
 * Source: fs/xfs/xfs_reflink.c (xfs_reflink_allocate_cow, xfs_reflink_end_cow).
 */

/**
 * Change the bytes of some blocks while they are copied.
 * @param offset  file offset of `bytes`, which have the old content
 * @returns the file offset up to which blocks must be replaced; if it is before the end of `bytes`,
 *   the rest stays
 */
type Rewrite = (offset: Bytes, bytes: Uint8Array) => Bytes

/** CoW staging blocks. */
interface StagingBlocks {
  readonly fsbno: number
  readonly length: number
}

/** CoW staging blocks and their file range. */
interface Staging extends StagingBlocks {
  /** File block of the first staged block. */
  readonly startoff: number
}

/**
 * Replace (the first part of) `extent`, which is mapped and written, by newly allocated blocks.
 *
 * @param remapped called in the transaction that changes the mapping, for other changes in the same
 *   transaction
 * @returns the file block after the last one replaced; equal to `extent.startoff` if `fill` had no
 *   data
 * @throws XfsError NOSPC: nothing has changed
 */
export function copyOnWrite(
  volume: Volume,
  ino: number,
  extent: BmbtRec,
  fill: Rewrite,
  remapped: (tx: Transaction, inode: Inode) => void = () => {},
): number {
  const staging = reserve(volume, ino, extent)
  if (trace.reflink.hasSubscribers) trace.reflink.publish({ point: 'cowReserve', ino, ...staging })
  let end: number
  try {
    end = copy(volume, extent, staging, fill)
    if (end > extent.startoff) remap(volume, ino, extent, staging, end, remapped)
  } catch (error) {
    release(volume, [staging])
    throw error
  }
  if (end === extent.startoff) release(volume, [staging])
  return end
}

/** An extent, or a part of one, and its new blocks. */
interface Move {
  readonly extent: BmbtRec
  readonly staging: Staging
}

/**
 * Replace all of these extents, which are mapped and written, by copies: as `copyOnWrite` for each,
 * but in two transactions. The copies are contiguous on the disk if there is enough space, and use
 * as few staging extents as possible.
 * @throws XfsError NOSPC: nothing has changed
 */
export function copyExtents(volume: Volume, ino: number, extents: readonly BmbtRec[]): void {
  const { held, moves } = withTransaction(volume, (tx) => stageAll(tx, openInode(volume, ino, tx), extents))
  try {
    for (const { fsbno, length } of held)
      volume.beforeReuse(volume.geometry.fsbToDaddr(fsbno), length * volume.geometry.blocksize)
    copyAll(volume, moves)
    withTransaction(volume, (tx) => {
      const inode = openInode(volume, ino, tx)
      for (const { fsbno, length } of held) freeCowExtent(tx, fsbno, length)
      for (const { extent, staging } of moves) remapIn(tx, inode, extent, staging, endOf(extent))
    })
  } catch (error) {
    release(volume, held)
    throw error
  }
}

function stageAll(
  tx: Transaction,
  inode: Inode,
  extents: readonly BmbtRec[],
): { held: StagingBlocks[]; moves: Move[] } {
  const held: StagingBlocks[] = []
  const moves: Move[] = []
  const hinted = hintOf(inode) > 1
  let left = extents.reduce((sum, { blockcount }) => sum + blockcount, 0)
  let near: number | undefined
  /** The unused rest of the last staging blocks. */
  let room: StagingBlocks | undefined
  for (const whole of extents) {
    for (let at = whole.startoff; at < endOf(whole); ) {
      const rest = trimExtent(whole, at, endOf(whole))
      const got = room
        ? { startoff: at, ...room }
        : hold(tx, stage(tx, inode, rest, hinted ? rest.blockcount : left, near), held)
      const extent = trimExtent(rest, at, got.startoff + got.length)
      const staging = hinted ? got : { ...got, length: extent.blockcount }
      if (trace.reflink.hasSubscribers) trace.reflink.publish({ point: 'cowReserve', ino: inode.ino, ...staging })
      moves.push({ extent, staging })
      at = endOf(extent)
      left -= extent.blockcount
      near = staging.fsbno + staging.length
      room = staging.length < got.length ? { fsbno: near, length: got.length - staging.length } : undefined
    }
  }
  return { held, moves }
}

function hold(tx: Transaction, staging: Staging, held: StagingBlocks[]): Staging {
  allocCowExtent(tx, staging.fsbno, staging.length)
  held.push(staging)
  return staging
}

/** Copy complete extents; those contiguous on both sides are copied at once. */
function copyAll(volume: Volume, moves: readonly Move[]): void {
  const { device, geometry } = volume
  const { blocksize } = geometry
  const bytesOf = (fsbno: number): number => geometry.fsbToDaddr(fsbno) * BASIC_BLOCK
  const all = moves.reduce((sum, { extent }) => sum + extent.blockcount, 0)
  const buffer = new Uint8Array(Math.min(Math.max(CHUNK_BYTES, blocksize), all * blocksize))
  let filled = 0
  let target = 0
  const flush = (): void => {
    if (filled > 0) device.write(buffer.subarray(0, filled), target)
    target += filled
    filled = 0
  }
  for (const { from, to, blocks } of joined(moves)) {
    if (bytesOf(to) !== target + filled) flush()
    if (filled === 0) target = bytesOf(to)
    for (let done = 0; done < blocks * blocksize; ) {
      const part = buffer.subarray(filled, Math.min(buffer.length, filled + blocks * blocksize - done))
      device.read(part, bytesOf(from) + done)
      done += part.length
      filled += part.length
      if (filled === buffer.length) flush()
    }
  }
  flush()
}

/** The copies to make: extents that are contiguous both before and after are joined. */
function* joined(moves: readonly Move[]): Generator<{ from: number; to: number; blocks: number }> {
  let run: { from: number; to: number; blocks: number } | undefined
  for (const { extent, staging } of moves) {
    const from = extent.startblock
    const to = staging.fsbno + extent.startoff - staging.startoff
    if (run && from === run.from + run.blocks && to === run.to + run.blocks) run.blocks += extent.blockcount
    else {
      if (run) yield run
      run = { from, to, blocks: extent.blockcount }
    }
  }
  if (run) yield run
}

/** Allocate blocks as CoW staging. */
function reserve(volume: Volume, ino: number, extent: BmbtRec): Staging {
  return withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    return hold(tx, stage(tx, inode, extent, extent.blockcount), [])
  })
}

const hintOf = (inode: Inode): number => ((inode.flags2 & DIFLAGS2.cowextsize) !== 0 ? inode.cowextsize : 0)

/**
 * Allocate blocks for `extent` according to the hint; without a hint `most` contiguous blocks, if
 * available.
 */
function stage(tx: Transaction, inode: Inode, extent: BmbtRec, most: number, wanted?: number): Staging {
  const near = wanted ?? nearestBlock(inode, 'data', extent.startoff, tx)
  const hint = hintOf(inode)
  if (hint > 1) {
    const startoff = Math.floor(extent.startoff / hint) * hint
    const length = Math.ceil((extent.startoff + extent.blockcount) / hint) * hint - startoff
    const before = extent.startoff - startoff
    try {
      const got = allocExtent(tx, {
        near: Math.max(1, near - before),
        minLength: before + 1,
        maxLength: length,
        alignment: 1,
      })
      return { startoff, fsbno: got.fsbno, length: got.length }
    } catch (error) {
      if (!(error instanceof XfsError && error.code === 'NOSPC')) throw error
    }
  }
  const { fsbno, length } = allocExtent(tx, { near, minLength: 1, maxLength: most })
  return { startoff: extent.startoff, fsbno, length }
}

/** Write the staging blocks. @returns the file block after the last one written */
function copy(volume: Volume, extent: BmbtRec, staging: Staging, fill: Rewrite): number {
  const { device } = volume
  const { blocksize, fsbToDaddr } = volume.geometry
  const end = Math.min(extent.startoff + extent.blockcount, staging.startoff + staging.length)
  const target = fsbToDaddr(staging.fsbno)
  volume.beforeReuse(target, staging.length * blocksize)
  const buffer = new Uint8Array(Math.min(Math.max(CHUNK_BYTES, blocksize), (end - extent.startoff) * blocksize))
  for (let block = extent.startoff; block < end; ) {
    const count = Math.min(buffer.length / blocksize, end - block)
    const bytes = buffer.subarray(0, count * blocksize)
    device.read(bytes, fsbToDaddr(extent.startblock) * BASIC_BLOCK + (block - extent.startoff) * blocksize)
    const wanted = unitsFor(fill(unitStart(block, blocksize), bytes), blocksize) - block
    const used = Math.min(count, Math.max(0, wanted))
    if (used > 0)
      device.write(bytes.subarray(0, used * blocksize), target * BASIC_BLOCK + (block - staging.startoff) * blocksize)
    block += used
    if (used < count) return block
  }
  return end
}

function remap(
  volume: Volume,
  ino: number,
  extent: BmbtRec,
  staging: Staging,
  end: number,
  remapped: (tx: Transaction, inode: Inode) => void,
): void {
  withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    freeCowExtent(tx, staging.fsbno, staging.length)
    remapIn(tx, inode, extent, staging, end)
    remapped(tx, inode)
  })
}

/** Map former staging blocks to the file blocks up to `end`. */
function remapIn(tx: Transaction, inode: Inode, extent: BmbtRec, staging: Staging, end: number): void {
  const { ino } = inode
  const { startoff } = extent
  const blockcount = end - startoff
  const old = findExtent(inode, 'data', startoff, tx)
  const now = old && trimExtent(old, startoff, end)
  if (
    !now ||
    now.startoff !== startoff ||
    now.blockcount !== blockcount ||
    now.startblock !== extent.startblock ||
    now.extentflag !== 0
  ) {
    throw inodeError(ino, `the mapping of file block ${startoff} changed during the copy`)
  }
  const made: BmbtRec = {
    extentflag: 0,
    startoff,
    startblock: staging.fsbno + (startoff - staging.startoff),
    blockcount,
  }
  if (trace.reflink.hasSubscribers) trace.reflink.publish({ point: 'cowRemap', ino, ...made, from: extent.startblock })
  const before = startoff - staging.startoff
  const after = staging.length - before - blockcount
  if (before > 0) tx.defer(extentFree, { fsbno: staging.fsbno, blockcount: before })
  if (after > 0) tx.defer(extentFree, { fsbno: made.startblock + blockcount, blockcount: after })
  unmapRange(tx, inode, 'data', startoff, blockcount)
  mapExtent(tx, inode, 'data', made)
}

/** Free the staging blocks. */
function release(volume: Volume, held: readonly StagingBlocks[]): void {
  for (const { fsbno, length } of held) {
    if (trace.reflink.hasSubscribers) trace.reflink.publish({ point: 'cowCancel', fsbno, length })
    withTransaction(volume, (tx) => {
      freeCowExtent(tx, fsbno, length)
      tx.defer(extentFree, { fsbno, blockcount: length })
    })
  }
}
