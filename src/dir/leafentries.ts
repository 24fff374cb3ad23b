import type { DirLeafEntry, Span } from '../format/dir.ts'

/** Leaf entries (hash, address) in a row, sorted by hash: what block, leaf and node form have in common. Stale ones have address 0. */

export const leafHash = (view: DataView, span: Span, index: number): number => view.getUint32(span.at + index * 8)
export const leafAddress = (view: DataView, span: Span, index: number): number =>
  view.getUint32(span.at + index * 8 + 4)

export function setLeafEntry(view: DataView, at: number, hash: number, address: number): void {
  view.setUint32(at, hash)
  view.setUint32(at + 4, address)
}

/** Take the stale entries out; the others move to the front of the row. Returns how many are left. */
export function packFront(view: DataView, { at, count }: Span): number {
  let kept = 0
  for (let i = 0; i < count; i++) {
    const hash = view.getUint32(at + i * 8)
    const address = view.getUint32(at + i * 8 + 4)
    if (address !== 0) setLeafEntry(view, at + 8 * kept++, hash, address)
  }
  bytesOf(view).fill(0, at + kept * 8, at + count * 8)
  return kept
}

/** The same, but the others move to the end of the row. */
export function packBack(view: DataView, { at, count }: Span): number {
  let kept = 0
  for (let i = count - 1; i >= 0; i--) {
    const hash = view.getUint32(at + i * 8)
    const address = view.getUint32(at + i * 8 + 4)
    if (address !== 0) setLeafEntry(view, at + 8 * (count - ++kept), hash, address)
  }
  return kept
}

export const bytesOf = (view: DataView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength)

/** The entries in use, copied out. */
export function* liveEntries(view: DataView, { at, count }: Span): Generator<DirLeafEntry> {
  for (let i = 0; i < count; i++) {
    const address = view.getUint32(at + i * 8 + 4)
    if (address !== 0) yield { hashval: view.getUint32(at + i * 8), address }
  }
}

/** Where an entry of this hash goes: behind all that are not greater. */
export function upperBound(view: DataView, { at, count }: Span, hash: number): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (view.getUint32(at + middle * 8) <= hash) low = middle + 1
    else high = middle
  }
  return low
}
