import type { Buf } from '../buffer/buf.ts'
import { createDaBlock, daError, freeDaBlock, readDaBlock } from '../da/dablock.ts'
import { HASH_ENTRY_SIZE, hashAt, lowerBound, upperBound } from '../da/hashes.ts'
import { FORK_FORMATS } from '../format/dinode.ts'
import { DIR_ALIGN, DIR_DATA_START, DIR3_BLOCK_MAGIC, Dir3BlkHdr, DirBlockTail, FileTypes } from '../format/dir.ts'
import {
  blockLeafSpan,
  blockTailAt,
  dataEntries,
  dataEntrySize,
  type Span,
  writeDataEntry,
} from '../format/dirblocks.ts'
import { bytesOf } from '../format/fields.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { editInode, forkBytes, type Inode, setExtentCount, setForkFormat, updateInode } from '../inode/inode.ts'
import type { Transaction } from '../tx/transaction.ts'
import { clearData, entryName, findFree, freeBefore, freeSpace, takeSpace } from './datablock.ts'
import { leafAddress, packBack, setLeafEntry } from './leafentries.ts'
import { DOT, DOTDOT, isDots, nameRules } from './read.ts'
import { FIRST_OFFSET, readShort, type ShortDirectory, type ShortEntry, shortFits, writeShort } from './shortform.ts'

/**
 * Directories in block format: entries from the start, leaf entries (sorted by hash) and their
 * count at the end.
 *
 *   │ header │ entry │ free │ entry │ … │ free     │ hash,addr │ hash,addr │ … │ count, stale │
 *                                                  ▲ the leaf entries grow towards the start
 *
 * Before a change, stale leaf entries are removed.
 */

const { count: countField, stale: staleField } = DirBlockTail.fields

/** The block, for changing. */
export function editBlock(tx: Transaction, dir: Inode): Buf {
  const buf = readDaBlock(dir, 'data', 0, blockTypes.dir3, tx)
  tx.edit(buf)
  dropStale(buf.view)
  return buf
}

/** Remove the stale leaf entries; their space becomes free space. */
function dropStale(view: DataView): void {
  const tail = blockTailAt(view)
  if (staleField.get(view, tail) === 0) return
  const span = blockLeafSpan(view)
  const kept = packBack(view, span)
  countField.set(view, tail, kept)
  staleField.set(view, tail, 0)
  if (kept < span.count) freeSpace(view, span.at, (span.count - kept) * HASH_ENTRY_SIZE, blockLeafSpan(view).at)
}

/**
 * Write the contents of a block: all entries at their offsets, "." and "..", and the leaf entries.
 * The view is zeroed except its header.
 */
function layOut(view: DataView, dir: Inode, content: ShortDirectory): void {
  const { hash } = nameRules(dir)
  const all: ShortEntry[] = [
    { name: DOT, ino: dir.ino, ftype: FileTypes.directory, offset: DIR_DATA_START },
    { name: DOTDOT, ino: content.parent, ftype: FileTypes.directory, offset: DIR_DATA_START + dataEntrySize(1) },
    ...content.entries,
  ]
  const tail = blockTailAt(view)
  const end = tail - all.length * HASH_ENTRY_SIZE
  clearData(view, end)
  let hole = DIR_DATA_START
  for (const entry of all) {
    const size = dataEntrySize(entry.name.length)
    takeSpace(view, hole, entry.offset, size, end)
    writeDataEntry(view, entry.offset, entry)
    hole = entry.offset + size
  }
  const leaves = all.map((entry) => ({ hash: hash(entry.name), address: entry.offset / DIR_ALIGN }))
  leaves.sort((a, b) => a.hash - b.hash || a.address - b.address)
  for (const [i, { hash: value, address }] of leaves.entries())
    setLeafEntry(view, end + i * HASH_ENTRY_SIZE, value, address)
  DirBlockTail.encode(view, tail, { count: all.length, stale: 0 })
}

/** Move the directory from the inode into its first block. @throws XfsError NOSPC */
export const shortToBlock = (tx: Transaction, dir: Inode): void => contentToBlock(tx, dir, readShort(dir))

/**
 * Replace a directory in shortform by this content, in its first block (at `place`, if given).
 * @throws XfsError NOSPC
 */
export function contentToBlock(tx: Transaction, dir: Inode, content: ShortDirectory, place?: number): void {
  editInode(tx, dir)
  forkBytes(dir, 'data').fill(0)
  setForkFormat(tx, dir, 'data', FORK_FORMATS.extents)
  setExtentCount(tx, dir, 'data', 0)
  const buf = createDaBlock(tx, dir, 'data', 0, blockTypes.dir3, DIR3_BLOCK_MAGIC, place)
  updateInode(tx, dir, { size: buf.length })
  layOut(buf.view, dir, content)
}

/** The entries of a block in shortform. */
export function blockContent(dir: Inode, view: DataView): ShortDirectory {
  let parent = dir.ino as number
  const entries: ShortEntry[] = []
  for (const { at, ino, ftype, name } of dataEntries(view)) {
    if (!isDots(name)) entries.push({ name: name.slice(), ino, ftype, offset: at })
    else if (name.length === 2) parent = ino
  }
  return { parent, entries }
}

/** Move the directory from its block into the inode, if it fits there. */
export function blockToShort(tx: Transaction, dir: Inode, buf: Buf): void {
  // Every entry takes at least 3 + 1 + 1 + 4 bytes.
  if ((countField.get(buf.view, blockTailAt(buf.view)) - 2) * 9 > forkBytes(dir, 'data').length) return
  const content = blockContent(dir, buf.view)
  if (shortFits(dir, content)) toShort(tx, dir, content, buf)
}

/** Write `content` into the inode and remove the block. */
export function toShort(tx: Transaction, dir: Inode, content: ShortDirectory, buf: Buf): void {
  freeDaBlock(tx, dir, 'data', 0, buf)
  setForkFormat(tx, dir, 'data', FORK_FORMATS.local)
  writeShort(tx, dir, content)
}

/**
 * Convert the last remaining block of a directory with leaves to block format, with its entries
 * packed.
 */
export function rebuildAsBlock(dir: Inode, buf: Buf, content: ShortDirectory): void {
  let offset = FIRST_OFFSET
  const entries = content.entries.map((entry) => {
    const moved = { ...entry, offset }
    offset += dataEntrySize(entry.name.length)
    return moved
  })
  Dir3BlkHdr.fields.magic.set(buf.view, 0, DIR3_BLOCK_MAGIC)
  buf.bytes.fill(0, DIR_DATA_START)
  layOut(buf.view, dir, { parent: content.parent, entries })
}

/** Bytes of a block with these entries. */
export const blockBytes = (content: ShortDirectory): number =>
  content.entries.reduce(
    (sum, entry) => sum + dataEntrySize(entry.name.length) + HASH_ENTRY_SIZE,
    FIRST_OFFSET + 2 * HASH_ENTRY_SIZE + DirBlockTail.size,
  )

/** Add an entry; false if there is not enough space. The block may be written to. */
export function blockAdd(dir: Inode, view: DataView, name: Uint8Array, ino: number, ftype: number): boolean {
  const span = blockLeafSpan(view)
  const size = dataEntrySize(name.length)
  const last = freeBefore(view, span.at)
  // One free space gives 8 bytes to the leaf entries. Then it or another one must be large enough
  // for the entry.
  if (!last || (last.length - HASH_ENTRY_SIZE < size && findFree(view, size, last.at) === 0)) return false
  const hash = nameRules(dir).hash(name)
  const index = upperBound(view, span, hash)
  const end = span.at - HASH_ENTRY_SIZE
  takeSpace(view, last.at, end, HASH_ENTRY_SIZE, span.at)
  bytesOf(view).copyWithin(end, span.at, span.at + index * HASH_ENTRY_SIZE)
  countField.set(view, blockTailAt(view), span.count + 1)
  const at = findFree(view, size)
  takeSpace(view, at, at, size, end)
  writeDataEntry(view, at, { name, ino, ftype })
  setLeafEntry(view, end + index * HASH_ENTRY_SIZE, hash, at / DIR_ALIGN)
  return true
}

/** Remove the entry at `at`. The block may be written to. */
export function blockRemove(dir: Inode, view: DataView, at: number): void {
  const name = entryName(view, at)
  const span = blockLeafSpan(view)
  const index = leafIndexOf(view, span, nameRules(dir).hash(name), at / DIR_ALIGN)
  if (index < 0) throw daError(dir, 'data', 0, `the entry at ${at} has no leaf entry`)
  bytesOf(view).copyWithin(span.at + HASH_ENTRY_SIZE, span.at, span.at + index * HASH_ENTRY_SIZE)
  countField.set(view, blockTailAt(view), span.count - 1)
  const end = span.at + HASH_ENTRY_SIZE
  freeSpace(view, span.at, HASH_ENTRY_SIZE, end)
  freeSpace(view, at, dataEntrySize(name.length), end)
}

/** Index of the leaf entry with this hash and address. */
export function leafIndexOf(view: DataView, span: Span, hash: number, address: number): number {
  for (let i = lowerBound(view, span, hash); i < span.count && hashAt(view, span.at, i) === hash; i++) {
    if (leafAddress(view, span, i) === address) return i
  }
  return -1
}
