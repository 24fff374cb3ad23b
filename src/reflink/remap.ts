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
 *   one step = one transaction:     A (3 blocks)
 *     1. unmap X X X, rmap gone, refcount of X − 1    (freed where that was the last; never a block of A, which the source still maps)
 *     2. refcount of A + 1, map A A A at the same place, rmap added
 *     3. the size grows, where the step ends behind it
 *
 *   holes and unwritten blocks of the source only do step 1: the destination gets a hole. Where the destination has the very same blocks
 *   already, or both have unwritten ones, nothing happens at all.
 *
 * A step covers at most one extent of the source and one of the destination (or a hole), the rule
 * that the kernel learnt the hard way: an older loop over whole source extents ran out of
 * reservation on fragmented destinations. So a stop between two steps leaves a sound image in which
 * part of the range is remapped, and an error undoes the step that it happened in.
 *
 * Several steps that touch the same blocks share a transaction (`STEPS_PER_TRANSACTION`): they are
 * undone and made together.
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
 * Both files may share blocks from now on: the flag goes first, so that no shared block is ever in
 * a file without it.
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
 * @param size bytes that the destination's size reaches at least when all is done (it grows with
 *   the steps)
 * @param prepare what has to change with the first step
 * @returns how many extents were mapped; progress (in blocks) after each transaction
 * @throws XfsError NOSPC (a group has too little left for its btrees, or no blocks), FBIG (too many
 *   extents): steps before it stay done
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

/**
 * What the first blocks of `range` are in a fork: an extent cut to it, or a hole (no startblock).
 */
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
  // What unmapping may cut in two, and what is mapped.
  reserveExtents(tx, dst, 'data', (to.startblock === undefined ? 0 : 1) + (shares ? 1 : 0))
  if (to.startblock !== undefined) unmapRange(tx, dst, 'data', range.dstOffset, blocks)
  if (shares) {
    tx.defer(refcountUpdate, { op: 'increase', fsbno: startblock, blockcount: blocks })
    mapExtent(tx, dst, 'data', { startoff: range.dstOffset, startblock, blockcount: blocks, extentflag: 0 })
  }
  return { blocks, mapped: shares }
}

/**
 * Records of a new owner need room in the group's btrees: near the end of it the kernel shares
 * nothing more.
 */
function refuseCritical(tx: Transaction, startblock: number): void {
  const { volume } = tx
  const agno = volume.geometry.agnoOf(startblock)
  if (volume.features.has('rmapbt') && isCritical(volume, agno, tx)) {
    throw new XfsError('NOSPC', `AG ${agno} is almost full: too little is left for its btrees to share more blocks`, {
      agno,
    })
  }
}
