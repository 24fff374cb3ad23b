import { writeWithin } from '../data/write.ts'
import type { BmbtRec } from '../format/btrecs.ts'
import { DIFLAGS } from '../format/dinode.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import type { Inode } from '../inode/inode.ts'
import { mapExtent } from '../mapping/bmap.ts'
import { extentBefore } from '../mapping/extents.ts'
import { inodeBlock } from '../mapping/fork.ts'
import type { Transaction } from '../tx/transaction.ts'
import { unitStart } from '../util/bytes.ts'
import { BlockPool } from './blockpool.ts'

/**
 * The contents of many new files: first written to contiguous blocks of the device, then cut into
 * extents.
 */

/** The content of a regular file: ranges of complete blocks, zeroed past EOF; gaps are holes. */
export interface NewContent {
  readonly size: number
  readonly runs: readonly ContentRun[]
}

export interface ContentRun {
  /** In file blocks. */
  readonly startoff: number
  readonly blockcount: number
  /**
   * Index of the first block among the blocks of all contents. The ranges of all files are
   * contiguous there, in the order of the children.
   */
  readonly at: number
}

/** True if files with these flags get their blocks aligned to a hint. */
export const isHinted = (flags: number): boolean => (flags & (DIFLAGS.extsize | DIFLAGS.realtime)) !== 0

/** The place where a part of the contents was written. */
export interface Placed {
  readonly at: number
  readonly length: number
  readonly fsbno: number
}

/**
 * Add content to a file that has none in these ranges, and shares no blocks. The blocks are
 * allocated together and contiguously, also if there are holes between them in the file. The size
 * stays.
 * @param arena  the blocks of the ranges
 * @throws XfsError NOSPC, FBIG, TOOBIG
 */
export function addContent(tx: Transaction, inode: Inode, runs: readonly ContentRun[], arena: Uint8Array): void {
  const { volume } = tx
  const { blocksize } = volume.geometry
  const [first] = runs
  if (!first) return
  if (isHinted(inode.flags)) {
    for (const { startoff, blockcount, at } of runs) {
      const bytes = arena.subarray((at - first.at) * blocksize, (at - first.at + blockcount) * blocksize)
      writeWithin(tx, inode, unitStart(startoff, blocksize), bytes, { keepTimes: true })
    }
    return
  }
  const before = extentBefore(inode, 'data', first.startoff, tx)
  const pool = new BlockPool(tx, before ? before.startblock + before.blockcount : inodeBlock(inode))
  pool.fill(arena.length / blocksize)
  try {
    const placed = placeContent(tx, pool, arena, first.at)
    for (const rec of extentsOf(runs, placed)) mapExtent(tx, inode, 'data', rec)
  } finally {
    volume.device.behind?.settle()
  }
}

/**
 * Write the complete arena, which begins with block `start` of all contents, to blocks of the pool.
 */
export function placeContent(tx: Transaction, pool: BlockPool, arena: Uint8Array, start: number): Placed[] {
  const { volume } = tx
  const { blocksize, fsbToDaddr } = volume.geometry
  const blocks = arena.length / blocksize
  const { behind } = volume.device
  const writer = behind && arena.buffer instanceof SharedArrayBuffer ? behind : volume.device
  const placed: Placed[] = []
  for (let at = 0; at < blocks; ) {
    const { fsbno, length } = pool.take(blocks - at)
    const daddr = fsbToDaddr(fsbno)
    volume.beforeReuse(daddr, length * blocksize)
    writer.write(arena.subarray(at * blocksize, (at + length) * blocksize), daddr * BASIC_BLOCK)
    const last = placed.at(-1)
    if (
      last &&
      last.fsbno + last.length === fsbno &&
      volume.geometry.agnoOf(last.fsbno) === volume.geometry.agnoOf(fsbno)
    ) {
      placed[placed.length - 1] = { ...last, length: last.length + length }
    } else placed.push({ at: start + at, length, fsbno })
    at += length
  }
  return placed
}

/** The extents of a file, cut from the written contents. */
export function* extentsOf(runs: readonly ContentRun[], placed: readonly Placed[]): Generator<BmbtRec> {
  for (const { startoff, blockcount, at } of runs) {
    let low = 0
    for (let high = placed.length; high - low > 1; ) {
      const middle = (low + high) >> 1
      if ((placed[middle] as Placed).at <= at) low = middle
      else high = middle
    }
    for (let done = 0; done < blockcount; low++) {
      const piece = placed[low] as Placed
      const skip = at + done - piece.at
      const length = Math.min(blockcount - done, piece.length - skip)
      yield { extentflag: 0, startoff: startoff + done, startblock: piece.fsbno + skip, blockcount: length }
      done += length
    }
  }
}
