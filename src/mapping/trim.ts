import { MAX_FILE_BLOCKS } from '../format/btrecs.ts'
import { DIFLAGS, DIFLAGS2 } from '../format/dinode.ts'
import { extentCount, type Inode, openInode, updateInode } from '../inode/inode.ts'
import { asMuchAsFits, type Transaction, withTransaction } from '../tx/transaction.ts'
import { unitsFor } from '../util/bytes.ts'
import { trace } from '../util/trace.ts'
import type { Volume } from '../volume.ts'
import { unmapRange } from './bmap.ts'
import { findExtent } from './extents.ts'

/** Removing blocks at the end of a file. */

/** Maximum extents that one transaction removes. */
const STEP = 256

/** Free the data blocks from file block `startoff` on, in steps. */
export function removeBlocksFrom(volume: Volume, ino: number, startoff: number): void {
  const before = openInode(volume, ino)
  if (!findExtent(before, 'data', startoff) && !needsNoFlag(before)) return
  for (let left = 1; left > 0; ) {
    left = asMuchAsFits(STEP, (maxExtents) =>
      withTransaction(volume, (tx) => {
        const inode = openInode(volume, ino, tx)
        const rest = unmapRange(tx, inode, 'data', startoff, MAX_FILE_BLOCKS - startoff, { maxExtents })
        clearReflinkFlag(tx, inode)
        return rest
      }),
    )
  }
}

/** A file without blocks does not share any. */
const needsNoFlag = (inode: Inode): boolean => inode.reflink && extentCount(inode, 'data') === 0

function clearReflinkFlag(tx: Transaction, inode: Inode): void {
  if (!needsNoFlag(inode)) return
  if (trace.reflink.hasSubscribers) trace.reflink.publish({ point: 'clearFlag', ino: inode.ino })
  updateInode(tx, inode, { flags2: (inode.flags2 & ~DIFLAGS2.reflink) >>> 0 })
}

/** Trim preallocated blocks past EOF, unless they were requested. */
export function trimPastEof(volume: Volume, ino: number): void {
  const inode = openInode(volume, ino)
  if ((inode.flags & (DIFLAGS.prealloc | DIFLAGS.append)) !== 0) return
  const end = unitsFor(inode.size, volume.geometry.blocksize)
  if (findExtent(inode, 'data', end)) removeBlocksFrom(volume, ino, end)
}

/** Make a range of file blocks a hole, in steps. */
export function unmapSteps(volume: Volume, ino: number, startoff: number, blockcount: number): void {
  for (let left = blockcount; left > 0; ) {
    const now = left
    left = asMuchAsFits(STEP, (maxExtents) =>
      withTransaction(volume, (tx) =>
        unmapRange(tx, openInode(volume, ino, tx), 'data', startoff, now, { maxExtents }),
      ),
    )
  }
}
