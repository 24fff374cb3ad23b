import { DirLeafEntry } from '../format/dir.ts'
import type { Span } from '../format/dirblocks.ts'
import { bytesOf } from '../format/fields.ts'

/**
 * Arrays of leaf entries (hash, address), sorted by hash, in block, leaf and node format. Stale
 * ones have address 0. For searches by hash see da/hashes.ts.
 */

const { hashval: hashField, address: addressField } = DirLeafEntry.fields
const SIZE = DirLeafEntry.size

/** The address of the entry with this index. */
export const leafAddress = (view: DataView, { at }: Span, index: number): number =>
  addressField.get(view, at + index * SIZE)

export function setLeafEntry(view: DataView, at: number, hash: number, address: number): void {
  hashField.set(view, at, hash)
  addressField.set(view, at, address)
}

/** Make the entry with this index stale. */
export const setStale = (view: DataView, { at }: Span, index: number): void =>
  addressField.set(view, at + index * SIZE, 0)

/**
 * Remove the stale entries and move the others to the front. Returns the number of the others.
 */
export function packFront(view: DataView, { at, count }: Span): number {
  let kept = 0
  for (let from = at; from < at + count * SIZE; from += SIZE) {
    const address = addressField.get(view, from)
    if (address !== 0) setLeafEntry(view, at + SIZE * kept++, hashField.get(view, from), address)
  }
  bytesOf(view).fill(0, at + kept * SIZE, at + count * SIZE)
  return kept
}

/** The same, but the others are moved to the end. */
export function packBack(view: DataView, { at, count }: Span): number {
  let kept = 0
  for (let from = at + (count - 1) * SIZE; from >= at; from -= SIZE) {
    const address = addressField.get(view, from)
    if (address !== 0) setLeafEntry(view, at + SIZE * (count - ++kept), hashField.get(view, from), address)
  }
  return kept
}

/** Copies of the entries in use. */
export function* liveEntries(view: DataView, { at, count }: Span): Generator<DirLeafEntry> {
  for (let i = 0, from = at; i < count; i++, from += SIZE) {
    const address = addressField.get(view, from)
    if (address !== 0) yield { hashval: hashField.get(view, from), address }
  }
}
