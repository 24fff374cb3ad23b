import { MAX_FILE_BLOCKS } from '../format/btrecs.ts'
import { FORK_FORMATS } from '../format/dinode.ts'
import { freeInode } from '../inode/ialloc.ts'
import {
  editInode,
  extentCount,
  forkBytes,
  hasAttrFork,
  type Inode,
  openInode,
  setExtentCount,
  setForkFormat,
  updateInode,
} from '../inode/inode.ts'
import { addUnlinked, removeUnlinked } from '../inode/unlinked.ts'
import { SHARED_PIECE, unmapRange } from '../mapping/bmap.ts'
import { setForkoff } from '../mapping/fork.ts'
import { asMuchAsFits, type Transaction, withTransaction } from '../tx/transaction.ts'
import type { Volume } from '../volume.ts'

/**
 * Freeing an inode without links: first its blocks, then the inode.
 *
 *   few extents    all in the transaction that removes the last link
 *   many extents   that transaction puts it on the AGI unlinked list; then it is freed in steps,
 *                  the last of which removes it from the list
 *
 * Source: fs/xfs/xfs_inode.c (xfs_inactive, xfs_ifree).
 */

/** Maximum extents that one transaction frees. */
const STEP = 256

/**
 * The inode has lost its last link (nlink is 0). The handle must not be used afterwards.
 * @returns true: it has many extents, or the transaction is full. Then `finishRemoval` must be
 *   called after the transaction is committed
 */
export function dropInode(tx: Transaction, inode: Inode): boolean {
  const few = extentCount(inode, 'data') + extentCount(inode, 'attr') <= STEP
  const long = inode.reflink && inode.nblocks > SHARED_PIECE
  if (few && !long && !tx.full && removeExtents(tx, inode, STEP)) {
    freeEmpty(tx, inode)
    return false
  }
  addUnlinked(tx, inode)
  return true
}

/** Free the blocks of an inode on the AGI unlinked list, and then the inode. */
export function finishRemoval(volume: Volume, ino: number): void {
  for (let more = true; more; ) {
    more = asMuchAsFits(STEP, (most) =>
      withTransaction(volume, (tx) => {
        const inode = openInode(volume, ino, tx)
        if (!removeExtents(tx, inode, most)) return true
        removeUnlinked(tx, inode)
        freeEmpty(tx, inode)
        return false
      }),
    )
  }
}

/** Free up to `most` extents. @returns false if some remain */
function removeExtents(tx: Transaction, inode: Inode, most: number): boolean {
  const before = extentCount(inode, 'data')
  if (unmapRange(tx, inode, 'data', 0, MAX_FILE_BLOCKS, { maxExtents: most }) > 0) return false
  if (!hasAttrFork(inode)) return true
  const left = most - before
  return left > 0
    ? unmapRange(tx, inode, 'attr', 0, MAX_FILE_BLOCKS, { maxExtents: left }) === 0
    : extentCount(inode, 'attr') === 0
}

/** Free an inode without blocks; it may have local content. */
function freeEmpty(tx: Transaction, inode: Inode): void {
  editInode(tx, inode)
  for (const fork of ['data', 'attr'] as const) {
    if (fork === 'attr' && !hasAttrFork(inode)) continue
    forkBytes(inode, fork).fill(0)
    setForkFormat(tx, inode, fork, FORK_FORMATS.extents)
    setExtentCount(tx, inode, fork, 0)
  }
  updateInode(tx, inode, { size: 0 })
  setForkoff(tx, inode, 0)
  freeInode(tx, inode)
}
