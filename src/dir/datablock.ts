import { assert } from '../errors.ts'
import {
  bestLength,
  bestOffset,
  DIR_BESTFREE_COUNT,
  DIR_DATA_START,
  Dir3DataHdr,
  DirDataEntryHead,
  DirDataFree,
  DirDataTag,
  DirDataUnusedHead,
} from '../format/dir.ts'
import { dataItemSize, isDataFree, writeDataUnused } from '../format/dirblocks.ts'
import { bytesAt } from '../format/fields.ts'

/**
 * The space of a directory's data block (data or block format): allocating and freeing space for
 * entries.
 *
 *   │ header, bestfree │ entry │ free │ entry │ free      │ (block format: leaf entries, tail) │
 *
 * Invariants: entries and free spaces cover the area from DIR_DATA_START to `end` without gaps; no
 * two free spaces are adjacent; `bestfree` lists the three longest, longest first. The last two
 * bytes of each item contain its own offset, with which the previous item is found.
 */

/** The header's table of free spaces: offset and length of slot `i`. */
const BESTFREE_AT = Dir3DataHdr.fields.bestfree.offset
const { offset: offsetField, length: lengthField } = DirDataFree.fields
const slotAt = (slot: number): number => BESTFREE_AT + slot * DirDataFree.size

function setSlot(view: DataView, slot: number, offset: number, length: number): void {
  offsetField.set(view, slotAt(slot), offset)
  lengthField.set(view, slotAt(slot), length)
}

/** Bytes of the longest free space of a block without entries. */
export const emptyBest = (blockSize: number): number => blockSize - DIR_DATA_START

const { length: freeLengthField } = DirDataUnusedHead.fields
/** Bytes of a free space. */
export const freeLength = (view: DataView, at: number): number => freeLengthField.get(view, at)

/** The offset of the item that ends at `end`. */
const itemBefore = (view: DataView, end: number): number => DirDataTag.fields.tag.get(view, end - DirDataTag.size)

/** The free space that ends at `end`, if there is one. */
export function freeBefore(view: DataView, end: number): { at: number; length: number } | undefined {
  if (end <= DIR_DATA_START) return undefined
  const at = itemBefore(view, end)
  return at >= DIR_DATA_START && at < end && isDataFree(view, at) && at + freeLength(view, at) === end
    ? { at, length: end - at }
    : undefined
}

/**
 * The shortest listed free space of at least `length` bytes, except the one at `except`; 0 for
 * none.
 */
export function findFree(view: DataView, length: number, except = 0): number {
  for (let slot = DIR_BESTFREE_COUNT - 1; slot >= 0; slot--) {
    if (bestLength(view, slot) >= length && bestOffset(view, slot) !== except) return bestOffset(view, slot)
  }
  return 0
}

/** Make the complete area one free space. */
export function clearData(view: DataView, end: number): void {
  for (let slot = 0; slot < DIR_BESTFREE_COUNT; slot++) setSlot(view, slot, 0, 0)
  if (end === DIR_DATA_START) return
  writeDataUnused(view, DIR_DATA_START, end - DIR_DATA_START)
  setSlot(view, 0, DIR_DATA_START, end - DIR_DATA_START)
}

/**
 * Allocate `length` bytes at `at`, inside the free space at `hole`; the caller writes an entry
 * there.
 * @param end the end of the area
 */
export function takeSpace(view: DataView, hole: number, at: number, length: number, end: number): void {
  const before = at - hole
  const after = hole + freeLength(view, hole) - (at + length)
  assert(isDataFree(view, hole) && before >= 0 && after >= 0, `no room for ${length} bytes at ${at}`)
  const third = bestLength(view, DIR_BESTFREE_COUNT - 1)
  const listed = unlist(view, hole)
  if (before > 0) writeDataUnused(view, hole, before)
  if (after > 0) writeDataUnused(view, at + length, after)
  if (listed && third > 0 && before < third && after < third) {
    rescan(view, end, at, length) // a free space without a slot may be longer than the rest
    return
  }
  if (before > 0) list(view, hole, before)
  if (after > 0) list(view, at + length, after)
}

/**
 * Free the `length` bytes at `at`, an entry until now. They are joined with the adjacent free
 * spaces.
 */
export function freeSpace(view: DataView, at: number, length: number, end: number): void {
  const full = bestLength(view, DIR_BESTFREE_COUNT - 1) > 0
  let from = at
  let to = at + length
  let unlisted = 0
  const before = freeBefore(view, at)
  if (before) {
    from = before.at
    if (unlist(view, from)) unlisted++
  }
  if (to < end && isDataFree(view, to)) {
    if (unlist(view, to)) unlisted++
    to += freeLength(view, to)
  }
  writeDataUnused(view, from, to - from)
  // Only one of two removed slots is filled: a free space without a slot may belong in the other.
  if (full && unlisted === 2) rescan(view, end)
  else list(view, from, to - from)
}

/** Remove a free space from the table, if it is there. */
function unlist(view: DataView, at: number): boolean {
  for (let slot = 0; slot < DIR_BESTFREE_COUNT; slot++) {
    if (bestOffset(view, slot) !== at || bestLength(view, slot) === 0) continue
    for (let i = slot; i + 1 < DIR_BESTFREE_COUNT; i++)
      setSlot(view, i, bestOffset(view, i + 1), bestLength(view, i + 1))
    setSlot(view, DIR_BESTFREE_COUNT - 1, 0, 0)
    return true
  }
  return false
}

/** Add a free space to the table if it is long enough. */
function list(view: DataView, at: number, length: number): void {
  for (let slot = 0; slot < DIR_BESTFREE_COUNT; slot++) {
    if (bestLength(view, slot) >= length) continue
    for (let i = DIR_BESTFREE_COUNT - 1; i > slot; i--)
      setSlot(view, i, bestOffset(view, i - 1), bestLength(view, i - 1))
    setSlot(view, slot, at, length)
    return
  }
}

/**
 * Rebuild the table from the complete area; the `length` bytes at `taken` count as one used item.
 */
function rescan(view: DataView, end: number, taken = -1, length = 0): void {
  for (let slot = 0; slot < DIR_BESTFREE_COUNT; slot++) setSlot(view, slot, 0, 0)
  for (let at = DIR_DATA_START; at < end; ) {
    const size = at === taken ? length : dataItemSize(view, at, end)
    assert(size > 0, `directory data: no item at ${at}`)
    if (at !== taken && isDataFree(view, at)) list(view, at, size)
    at += size
  }
}

const { inumber: inoField, namelen: namelenField } = DirDataEntryHead.fields

/** Fields of an entry, without the cost of an iterator. */
export const entryIno = (view: DataView, at: number): number => inoField.get(view, at)
export const entryNameLength = (view: DataView, at: number): number => namelenField.get(view, at)
/** The offset of its name. */
const entryNameAt = (at: number): number => at + DirDataEntryHead.size
/** Its file type is in the byte after the name. */
const entryFtypeAt = (view: DataView, at: number): number => entryNameAt(at) + entryNameLength(view, at)
/** Its name, a view on the block. */
export const entryName = (view: DataView, at: number): Uint8Array =>
  bytesAt(view, entryNameAt(at), entryNameLength(view, at))

/** True if the item of `size` bytes at `at` ends with its own offset, as it must. */
export const hasOwnTag = (view: DataView, at: number, size: number): boolean => itemBefore(view, at + size) === at

/** Make an entry point to another inode. */
export function setEntryTarget(view: DataView, at: number, ino: number, ftype: number): void {
  inoField.set(view, at, ino)
  view.setUint8(entryFtypeAt(view, at), ftype)
}

/** True if this is the name of the entry at `at`. */
export function nameIs(view: DataView, at: number, name: Uint8Array): boolean {
  if (entryNameLength(view, at) !== name.length) return false
  const from = entryNameAt(at)
  for (let i = 0; i < name.length; i++) if (view.getUint8(from + i) !== name[i]) return false
  return true
}
