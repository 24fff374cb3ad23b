import { XfsError } from '../errors.ts'
import { countAg } from '../format/ag.ts'
import { featureBits } from '../format/features.ts'
import { Superblock, setNeedsRepair } from '../format/sb.ts'
import { openInode } from '../inode/inode.ts'
import { unlinkedInodes } from '../inode/unlinked.ts'
import { finishRemoval } from '../namespace/remove.ts'
import { freeCowLeftovers, hasCowLeftovers } from '../space/refcount.ts'
import { withTransaction } from '../tx/transaction.ts'
import type { Volume } from '../volume.ts'

/**
 * The second half of recovery: finish changes that need several transactions.
 *
 *   unlinked inodes   inodes without links; they are freed with their blocks
 *   CoW leftovers     blocks in CoW staging; they are freed
 *
 * These are ordinary transactions, each of which leaves a sound image. So this can be interrupted
 * and repeated.
 *
 * @source fs/xfs/xfs_log_recover.c (xlog_recover_process_iunlinks), xfs_reflink.c
 *   (xfs_reflink_recover_cow)
 */
export interface Leftovers {
  /** Unlinked inodes. */
  readonly inodes: number
  /** CoW staging blocks. */
  readonly cowBlocks: number
}

export function hasLeftovers(volume: Volume): boolean {
  for (let agno = 0; agno < volume.geometry.agcount; agno++) {
    if (!unlinkedInodes(volume, agno).next().done || hasCowLeftovers(volume, agno)) return true
  }
  return false
}

/**
 * Free unlinked inodes and CoW leftovers, then recount.
 * @throws XfsError CORRUPT (an inode on an unlinked list has links; a btree is damaged); earlier
 *   transactions are committed
 */
export function freeLeftovers(volume: Volume): Leftovers {
  let inodes = 0
  let cowBlocks = 0
  for (let agno = 0; agno < volume.geometry.agcount; agno++) {
    for (const ino of [...unlinkedInodes(volume, agno)]) {
      if (openInode(volume, ino).nlink !== 0)
        throw new XfsError('CORRUPT', `inode ${ino} is on an AGI unlinked list, but has links`, { ino })
      finishRemoval(volume, ino)
      inodes++
    }
    cowBlocks += freeCowLeftovers(volume, agno)
  }
  setCounters(volume)
  return { inodes, cowBlocks }
}

/** The superblock's counters, from the headers of the AGs. Source: xfs_initialize_perag_data. */
export function setCounters(volume: Volume): void {
  const counters = { fdblocks: 0, icount: 0, ifree: 0 }
  for (let agno = 0; agno < volume.geometry.agcount; agno++)
    countAg(counters, volume.agf(agno).view, volume.agi(agno).view)
  const names = ['fdblocks', 'icount', 'ifree'] as const
  const { view: now } = volume.superblock()
  if (names.every((name) => Superblock.fields[name].get(now, 0) === counters[name])) return
  withTransaction(volume, (tx) => {
    const view = tx.edit(volume.superblock(tx))
    for (const name of names) Superblock.fields[name].set(view, 0, counters[name])
  })
}

/**
 * Clear the features that only a dirty log has. Source: xfs_mount.c
 * (xfs_clear_incompat_log_features).
 */
export function clearLogIncompat(volume: Volume): void {
  const words = Superblock.fields.features_log_incompat
  if (words.get(volume.superblock().view, 0) === 0) return
  withTransaction(volume, (tx) => words.set(tx.edit(volume.superblock(tx)), 0, 0))
}

/** Clear NEEDSREPAIR in the superblock. */
export function clearNeedsRepair(volume: Volume): void {
  const words = Superblock.fields.features_incompat.get(volume.superblock().view, 0)
  if ((words & featureBits.needsrepair.bit) === 0) return
  withTransaction(volume, (tx) => setNeedsRepair(tx.edit(volume.superblock(tx)), false))
}
