import { DirLeafEntry, type Span } from '../format/dir.ts'
import { bytesOf } from '../format/struct.ts'

/**
 * Leaf entries (hash, address) in a row, sorted by hash: what block, leaf and node format have in
 * common. Stale ones have address 0. How they are found by hash is in da/hashes.ts.
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
 * Take the stale entries out; the others move to the front of the row. Returns how many are left.
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

/** The same, but the others move to the end of the row. */
export function packBack(view: DataView, { at, count }: Span): number {
  let kept = 0
  for (let from = at + (count - 1) * SIZE; from >= at; from -= SIZE) {
    const address = addressField.get(view, from)
    if (address !== 0) setLeafEntry(view, at + SIZE * (count - ++kept), hashField.get(view, from), address)
  }
  return kept
}

/** The entries in use, copied out. */
export function* liveEntries(view: DataView, { at, count }: Span): Generator<DirLeafEntry> {
  for (let i = 0, from = at; i < count; i++, from += SIZE) {
    const address = addressField.get(view, from)
    if (address !== 0) yield { hashval: hashField.get(view, from), address }
  }
}
