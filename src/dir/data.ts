import { assert } from '../errors.ts'
import {
  DIR_BESTFREE_COUNT,
  DIR_DATA_START,
  DIR_FREE_TAG,
  Dir3DataHdr,
  dataItemSize,
  writeDataUnused,
} from '../format/dir.ts'
import { get64 } from '../format/struct.ts'

/**
 * The space of a directory's data block (data or block form): taking and giving back room for entries.
 *
 *   │ header, bestfree │ entry │ free │ entry │ entry │ free      │ (block form: leaf entries, tail) │
 *
 * Invariants: entries and free spaces cover the area from DIR_DATA_START to `end` without a gap; no two free spaces are adjacent;
 * `bestfree` lists the three longest, longest first. The last two bytes of each hold its own offset, which is how the one before is found.
 */

/** The header's table of free spaces: offset and length of slot `i`. */
const BESTFREE_AT = Dir3DataHdr.fields.bestfree.offset
const slotAt = (slot: number): number => BESTFREE_AT + slot * 4
const slotOffset = (view: DataView, slot: number): number => view.getUint16(slotAt(slot))
const slotLength = (view: DataView, slot: number): number => view.getUint16(slotAt(slot) + 2)

function setSlot(view: DataView, slot: number, offset: number, length: number): void {
  view.setUint16(slotAt(slot), offset)
  view.setUint16(slotAt(slot) + 2, length)
}

/** Bytes of the longest free space. */
export const longestFree = (view: DataView): number => slotLength(view, 0)

/** Bytes of the longest free space of a block without entries. */
export const emptyBest = (blockSize: number): number => blockSize - DIR_DATA_START

export const isFree = (view: DataView, at: number): boolean => view.getUint16(at) === DIR_FREE_TAG

/** Where the item that ends at `end` begins. */
const itemBefore = (view: DataView, end: number): number => view.getUint16(end - 2)

/** The free space that ends at `end`, if there is one. */
export function freeBefore(view: DataView, end: number): { at: number; length: number } | undefined {
  if (end <= DIR_DATA_START) return undefined
  const at = itemBefore(view, end)
  return at >= DIR_DATA_START && at < end && isFree(view, at) && at + view.getUint16(at + 2) === end
    ? { at, length: end - at }
    : undefined
}

/** The shortest listed free space of at least `length` bytes but the one at `except`; 0 for none. */
export function findFree(view: DataView, length: number, except = 0): number {
  for (let slot = DIR_BESTFREE_COUNT - 1; slot >= 0; slot--) {
    if (slotLength(view, slot) >= length && slotOffset(view, slot) !== except) return slotOffset(view, slot)
  }
  return 0
}

/** All of the area becomes one free space. */
export function clearData(view: DataView, end: number): void {
  for (let slot = 0; slot < DIR_BESTFREE_COUNT; slot++) setSlot(view, slot, 0, 0)
  if (end === DIR_DATA_START) return
  writeDataUnused(view, DIR_DATA_START, end - DIR_DATA_START)
  setSlot(view, 0, DIR_DATA_START, end - DIR_DATA_START)
}

/**
 * Take `length` bytes at `at`, inside the free space at `hole`; the caller writes an entry there.
 * @param end where the area ends
 */
export function takeSpace(view: DataView, hole: number, at: number, length: number, end: number): void {
  const before = at - hole
  const after = hole + view.getUint16(hole + 2) - (at + length)
  assert(isFree(view, hole) && before >= 0 && after >= 0, `no room for ${length} bytes at ${at}`)
  const third = slotLength(view, DIR_BESTFREE_COUNT - 1)
  const listed = unlist(view, hole)
  if (before > 0) writeDataUnused(view, hole, before)
  if (after > 0) writeDataUnused(view, at + length, after)
  if (listed && third > 0 && before < third && after < third) {
    rescan(view, end, at, length) // a free space without a slot may be longer than what is left here
    return
  }
  if (before > 0) list(view, hole, before)
  if (after > 0) list(view, at + length, after)
}

/** The `length` bytes at `at`, an entry until now, become free and one with the free space before and behind. */
export function freeSpace(view: DataView, at: number, length: number, end: number): void {
  const full = slotLength(view, DIR_BESTFREE_COUNT - 1) > 0
  let from = at
  let to = at + length
  let unlisted = 0
  const before = freeBefore(view, at)
  if (before) {
    from = before.at
    if (unlist(view, from)) unlisted++
  }
  if (to < end && isFree(view, to)) {
    if (unlist(view, to)) unlisted++
    to += view.getUint16(to + 2)
  }
  writeDataUnused(view, from, to - from)
  // Of two slots lost only one is filled again: a free space without a slot may deserve the other.
  if (full && unlisted === 2) rescan(view, end)
  else list(view, from, to - from)
}

/** Remove a free space from the table, if it is there. */
function unlist(view: DataView, at: number): boolean {
  for (let slot = 0; slot < DIR_BESTFREE_COUNT; slot++) {
    if (slotOffset(view, slot) !== at || slotLength(view, slot) === 0) continue
    for (let i = slot; i + 1 < DIR_BESTFREE_COUNT; i++)
      setSlot(view, i, slotOffset(view, i + 1), slotLength(view, i + 1))
    setSlot(view, DIR_BESTFREE_COUNT - 1, 0, 0)
    return true
  }
  return false
}

/** Add a free space to the table where it is long enough. */
function list(view: DataView, at: number, length: number): void {
  for (let slot = 0; slot < DIR_BESTFREE_COUNT; slot++) {
    if (slotLength(view, slot) >= length) continue
    for (let i = DIR_BESTFREE_COUNT - 1; i > slot; i--)
      setSlot(view, i, slotOffset(view, i - 1), slotLength(view, i - 1))
    setSlot(view, slot, at, length)
    return
  }
}

/** Make the table anew from the whole area; the `length` bytes at `taken` count as one item in use. */
export function rescan(view: DataView, end: number, taken = -1, length = 0): void {
  for (let slot = 0; slot < DIR_BESTFREE_COUNT; slot++) setSlot(view, slot, 0, 0)
  for (let at = DIR_DATA_START; at < end; ) {
    const size = at === taken ? length : dataItemSize(view, at, end)
    assert(size > 0, `directory data: no item at ${at}`)
    if (at !== taken && isFree(view, at)) list(view, at, size)
    at += size
  }
}

/** What an entry says, without making a generator of it. */
export const entryIno = (view: DataView, at: number): number => get64(view, at)
export const entryNameLength = (view: DataView, at: number): number => view.getUint8(at + 8)
export const entryFtype = (view: DataView, at: number): number => view.getUint8(at + 9 + view.getUint8(at + 8))

/** Is this the name of the entry at `at`? */
export function nameIs(view: DataView, at: number, name: Uint8Array): boolean {
  if (view.getUint8(at + 8) !== name.length) return false
  for (let i = 0; i < name.length; i++) if (view.getUint8(at + 9 + i) !== name[i]) return false
  return true
}
