import { XfsError } from '../errors.ts'
import type { BmbtRec } from '../format/btrecs.ts'
import { DIFLAGS2 } from '../format/dinode.ts'
import { type Inode, openInode, updateInode } from '../inode/inode.ts'
import { mapExtent, SHARED_PIECE, unmapRange } from '../mapping/bmap.ts'
import { findExtent } from '../mapping/extents.ts'
import { reserveExtents } from '../mapping/maprecords.ts'
import { refcountUpdate } from '../space/refcount.ts'
import { isCritical } from '../space/reserve.ts'
import { asMuchAsFits, type Transaction, withTransaction } from '../tx/transaction.ts'
import { type Bytes, least, unitStart } from '../util/bytes.ts'
import type { Steps } from '../util/progress.ts'
import { trace } from '../util/trace.ts'
import type { Volume } from '../volume.ts'

/**
 * Remap: give a range of one file the blocks of another.
 *
 *   src   │ A A A │ hole │ B B │ u u u │ C …          u: unwritten
 *            ┊        ┊     ┊      ┊     ┊
 *   dst   │ X X X X X X X │ hole │ Y Y Y Y Y Y
 *
 *   step for A (3 blocks):
 *     1. unmap X X X: remove the rmap, lower the reference counts. Blocks without an owner are
 *        freed. A is not, because the source still maps it.
 *     2. raise the reference count of A, map A A A at the same offset, add the rmap
 *     3. increase the size if the step ends past EOF
 *
 *   Holes and unwritten blocks of the source only need step 1: the destination gets a hole.
 *   If the destination has the same blocks already, or both are unwritten, nothing changes.
 *
 * A step covers at most one extent of the source and one extent or hole of the destination. Older
 * kernels looped over all blocks of a source extent, and ran out of reservation on fragmented
 * destinations. A stop between two steps leaves a sound image in which a part of the range is
 * remapped. An error undoes the current step.
 *
 * Several steps that change the same blocks share a transaction (`STEPS_PER_TRANSACTION`), and are
 * undone together.
 *
 * Source: fs/xfs/xfs_reflink.c: xfs_reflink_remap_blocks, xfs_reflink_remap_extent.
 */

/** In blocks. */
interface RemapRange {
  readonly srcOffset: number
  readonly dstOffset: number
  readonly length: number
}

const STEPS_PER_TRANSACTION = 32

/**
 * Set the reflink flag of both files before they share blocks, so that a file without it never has
 * shared blocks.
 */
export function setReflinkFlags(tx: Transaction, inodes: readonly Inode[]): void {
  for (const inode of inodes) {
    if (inode.reflink) continue
    if (trace.reflink.hasSubscribers) trace.reflink.publish({ point: 'setFlag', ino: inode.ino })
    updateInode(tx, inode, { flags2: (inode.flags2 | DIFLAGS2.reflink) >>> 0 })
  }
}

/**
 * Remap `range` of `src` into `dst`, step by step.
 * @param size  minimum bytes of the destination's size at the end (it grows with the steps)
 * @param prepare  makes changes that belong to the first step
 * @returns the number of extents mapped; progress (in blocks) after each transaction
 * @throws XfsError NOSPC (too little space left for the btrees of an AG, or no blocks), FBIG (too
 *   many extents): earlier steps stay
 */
export function* remapBlocks(
  volume: Volume,
  srcIno: number,
  dstIno: number,
  range: RemapRange,
  size: Bytes,
  prepare: (tx: Transaction, src: Inode, dst: Inode) => void = () => {},
): Steps<number> {
  if (trace.reflink.hasSubscribers) trace.reflink.publish({ point: 'remapBlocks', src: srcIno, dst: dstIno, ...range })
  let done = 0
  let mapped = 0
  while (done < range.length) {
    const steps = asMuchAsFits(STEPS_PER_TRANSACTION, (most) =>
      withTransaction(volume, (tx) => {
        const src = openInode(volume, srcIno, tx)
        const dst = srcIno === dstIno ? src : openInode(volume, dstIno, tx)
        if (done === 0) prepare(tx, src, dst)
        let blocks = 0
        let extents = 0
        for (let step = 0; step < most && done + blocks < range.length && !(step > 0 && tx.full); step++) {
          const left = range.length - done - blocks
          const result = remapStep(tx, src, dst, {
            srcOffset: range.srcOffset + done + blocks,
            dstOffset: range.dstOffset + done + blocks,
            length: most === 1 ? Math.min(left, SHARED_PIECE) : left,
          })
          blocks += result.blocks
          if (result.mapped) extents++
        }
        growTo(tx, dst, least(unitStart(range.dstOffset + done + blocks, volume.geometry.blocksize), size))
        return { blocks, extents }
      }),
    )
    done += steps.blocks
    mapped += steps.extents
    yield { what: 'sharing', done, total: range.length }
  }
  return mapped
}

function growTo(tx: Transaction, dst: Inode, size: Bytes): void {
  if (size <= dst.size) return
  if (trace.reflink.hasSubscribers) trace.reflink.publish({ point: 'updateSize', ino: dst.ino, size })
  updateInode(tx, dst, { size })
}

/** The first blocks of `range` in a fork: an extent cut to it, or a hole (no startblock). */
interface ForkPart {
  readonly blocks: number
  readonly startblock: number | undefined
  readonly unwritten: boolean
}

function partAt(tx: Transaction, inode: Inode, offset: number, length: number): ForkPart {
  const rec: BmbtRec | undefined = findExtent(inode, 'data', offset, tx)
  if (!rec || rec.startoff >= offset + length) return { blocks: length, startblock: undefined, unwritten: false }
  if (rec.startoff > offset) return { blocks: rec.startoff - offset, startblock: undefined, unwritten: false }
  const skip = offset - rec.startoff
  return {
    blocks: Math.min(length, rec.blockcount - skip),
    startblock: rec.startblock + skip,
    unwritten: rec.extentflag === 1,
  }
}

function remapStep(tx: Transaction, src: Inode, dst: Inode, range: RemapRange): { blocks: number; mapped: boolean } {
  const from = partAt(tx, src, range.srcOffset, range.length)
  const to = partAt(tx, dst, range.dstOffset, from.blocks)
  const blocks = to.blocks
  const { startblock } = from
  const shares = startblock !== undefined && !from.unwritten
  if (shares && to.startblock === startblock) {
    if (to.unwritten)
      throw new XfsError('CORRUPT', `inode ${dst.ino}: shares unwritten blocks with inode ${src.ino}`, { ino: dst.ino })
    return { blocks, mapped: false }
  }
  if (from.unwritten && to.unwritten) return { blocks, mapped: false }
  if (trace.reflink.hasSubscribers) {
    trace.reflink.publish({
      point: 'remapExtent',
      src: src.ino,
      dst: dst.ino,
      startoff: range.dstOffset,
      blockcount: blocks,
      startblock: shares ? startblock : -1,
    })
  }
  if (shares) refuseCritical(tx, startblock)
  // Unmapping may cut an extent in two; mapping adds one.
  reserveExtents(tx, dst, 'data', (to.startblock === undefined ? 0 : 1) + (shares ? 1 : 0))
  if (to.startblock !== undefined) unmapRange(tx, dst, 'data', range.dstOffset, blocks)
  if (shares) {
    tx.defer(refcountUpdate, { op: 'increase', fsbno: startblock, blockcount: blocks })
    mapExtent(tx, dst, 'data', { startoff: range.dstOffset, startblock, blockcount: blocks, extentflag: 0 })
  }
  return { blocks, mapped: shares }
}

/**
 * Records of a new owner need space for the btrees of the AG. If that is low, the kernel does not
 * share blocks either.
 */
function refuseCritical(tx: Transaction, startblock: number): void {
  const { volume } = tx
  const agno = volume.geometry.agnoOf(startblock)
  if (volume.features.has('rmapbt') && isCritical(volume, agno, tx)) {
    throw new XfsError(
      'NOSPC',
      `AG ${agno} is almost full: too little space left for its btrees to share more blocks`,
      {
        agno,
      },
    )
  }
}
