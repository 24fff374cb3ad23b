import { DIR_NULL_BEST, DirBest } from '../format/dir.ts'

/**
 * Arrays of bests: the longest free space of each data block, DIR_NULL_BEST if there is no block. A
 * leaf1 block ends with one; a free index block is one after its header.
 */

const { best: bestField } = DirBest.fields
export const BEST_SIZE = DirBest.size

export const getBest = (view: DataView, at: number, index: number): number =>
  bestField.get(view, at + index * BEST_SIZE)

export const putBest = (view: DataView, at: number, index: number, best: number): void =>
  bestField.set(view, at + index * BEST_SIZE, best)

/** Number of elements without those at the end that have no data block. */
export function trimmedCount(view: DataView, at: number, count: number): number {
  let kept = count
  while (kept > 0 && getBest(view, at, kept - 1) === DIR_NULL_BEST) kept--
  return kept
}
