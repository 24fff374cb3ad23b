import { DaNodeEntry } from '../format/dir.ts'
import type { Span } from '../format/dirblocks.ts'

/**
 * Arrays of entries that are sorted by hash: in a node, a directory leaf and an attribute leaf. All
 * three kinds of entry have the same size and begin with the hash.
 */

/** Bytes of an entry. */
export const HASH_ENTRY_SIZE = DaNodeEntry.size

const { hashval } = DaNodeEntry.fields

/** The hash of the entry with this index, in an array that begins at `at`. */
export const hashAt = (view: DataView, at: number, index: number): number =>
  hashval.get(view, at + index * HASH_ENTRY_SIZE)

/** The maximum hash of an array; 0 without entries. */
export const lastHashOf = (view: DataView, { at, count }: Span): number =>
  count === 0 ? 0 : hashAt(view, at, count - 1)

/** Index of the first entry whose hash is not below `hash`; `count` for none. */
export function lowerBound(view: DataView, { at, count }: Span, hash: number): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (hashAt(view, at, middle) < hash) low = middle + 1
    else high = middle
  }
  return low
}

/**
 * Index of the first entry whose hash is above `hash`, the position for a new entry; `count` for
 * none.
 */
export function upperBound(view: DataView, { at, count }: Span, hash: number): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (hashAt(view, at, middle) <= hash) low = middle + 1
    else high = middle
  }
  return low
}
