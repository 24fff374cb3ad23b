import { type BmbtRec, MAX_FILE_BLOCKS } from '../format/btrecs.ts'
import type { ForkName, Inode } from '../inode/inode.ts'
import type { Transaction } from '../tx/transaction.ts'
import { mapExtent, unmapRange } from './bmap.ts'
import { endOf, findExtent, trimExtent } from './extents.ts'

/**
 * Exchanging the mappings of two ranges of files:
 *
 *   before   file 1  │ a a a │ b │ hole │     afterwards  │ x x │ hole │ y y │
 *            file 2  │ x x │ hole │ y y │                 │ a a a │ b │ hole │
 *
 * One step exchanges the first extent, or hole, that both ranges have in common. Blocks that both
 * already map at the same place stay.
 *
 * Source: fs/xfs/libxfs/xfs_exchmaps.c.
 */
export interface Exchange {
  /** Start of the range in each file, in file blocks. */
  readonly startoff1: number
  readonly startoff2: number
  readonly blockcount: number
}

/** A mapping, or a hole. */
interface Piece {
  readonly blockcount: number
  /** Undefined in a hole. */
  readonly rec: BmbtRec | undefined
}

/** What a fork has at `startoff`, at most `most` blocks. */
function pieceAt(tx: Transaction, inode: Inode, fork: ForkName, startoff: number, most: number): Piece {
  const rec = findExtent(inode, fork, startoff, tx)
  if (!rec || rec.startoff >= startoff + most) return { blockcount: most, rec: undefined }
  if (rec.startoff > startoff) return { blockcount: rec.startoff - startoff, rec: undefined }
  const piece = trimExtent(rec, startoff, Math.min(endOf(rec), startoff + most, MAX_FILE_BLOCKS))
  return { blockcount: piece.blockcount, rec: piece }
}

interface ExchangeOptions {
  readonly fork: ForkName
  /** Keep what file 2 has where file 1 has a hole or unwritten blocks. */
  readonly onlyWritten: boolean
}

/**
 * Exchange the next mapping.
 * @returns the rest, which is empty at the end, and the end of the exchanged blocks in each file
 * @throws XfsError NOSPC, FBIG, CORRUPT
 */
export function exchangeNext(
  tx: Transaction,
  inodes: readonly [Inode, Inode],
  range: Exchange,
  { fork, onlyWritten }: ExchangeOptions,
): { readonly rest: Exchange; readonly exchanged: boolean } {
  let { startoff1, startoff2, blockcount } = range
  while (blockcount > 0) {
    const first = pieceAt(tx, inodes[0], fork, startoff1, blockcount)
    const skip = onlyWritten && (first.rec?.extentflag ?? 1) !== 0
    const second = skip ? first : pieceAt(tx, inodes[1], fork, startoff2, first.blockcount)
    const length = second.blockcount
    const same = skip || first.rec?.startblock === second.rec?.startblock
    if (!same) swap(tx, inodes, fork, [startoff1, startoff2], [first.rec, second.rec], length)
    startoff1 += length
    startoff2 += length
    blockcount -= length
    if (!same) return { rest: { startoff1, startoff2, blockcount }, exchanged: true }
  }
  return { rest: { startoff1, startoff2, blockcount }, exchanged: false }
}

function swap(
  tx: Transaction,
  [one, two]: readonly [Inode, Inode],
  fork: ForkName,
  [startoff1, startoff2]: readonly [number, number],
  [rec1, rec2]: readonly [BmbtRec | undefined, BmbtRec | undefined],
  blockcount: number,
): void {
  if (rec1) unmapRange(tx, one, fork, startoff1, blockcount, { keepBlocks: true })
  if (rec2) unmapRange(tx, two, fork, startoff2, blockcount, { keepBlocks: true })
  if (rec2) mapExtent(tx, one, fork, { ...rec2, startoff: startoff1, blockcount })
  if (rec1) mapExtent(tx, two, fork, { ...rec1, startoff: startoff2, blockcount })
}
