import type { Buf } from '../buffer/buf.ts'
import { createDaBlock, daBlocks, daError, firstHole, freeDaBlock, readDaBlock } from '../da/dablock.ts'
import { HASH_ENTRY_SIZE, upperBound } from '../da/hashes.ts'
import {
  DIR_ALIGN,
  DIR_NULL_BEST,
  DIR3_DATA_MAGIC,
  DIR3_LEAF1_MAGIC,
  Dir3BlkHdr,
  Dir3LeafHdr,
  DirLeafTail,
} from '../format/dir.ts'
import {
  blockLeafSpan,
  dataEntrySize,
  leafBestSpan,
  leafSpan,
  longestFree,
  writeDataEntry,
} from '../format/dirblocks.ts'
import { bytesOf } from '../format/fields.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { type Inode, updateInode } from '../inode/inode.ts'
import { extentBefore } from '../mapping/extents.ts'
import type { Transaction } from '../tx/transaction.ts'
import { BEST_SIZE, getBest, putBest, trimmedCount } from './bests.ts'
import { blockBytes, blockContent, leafIndexOf, rebuildAsBlock, toShort } from './block.ts'
import { clearData, emptyBest, entryNameLength, findFree, freeSpace, takeSpace } from './datablock.ts'
import { liveEntries, packFront, setLeafEntry } from './leafentries.ts'
import { dataBlockAt, leafStart, nameRules } from './read.ts'
import { FIRST_OFFSET, shortFits } from './shortform.ts'

/**
 * Directories with data blocks and one leaf, which also contains the longest free space of each
 * data block (`bests`).
 *
 *   data   │ 0 │ 1 │ 2 │ …
 *   leaf   │ header │ hash,addr │ hash,addr │ … │ best 0 │ best 1 │ best 2 │ count of bests │
 *
 * An empty data block is freed (except block 0, which contains "." and ".."); its best is then all
 * ones.
 */

const { count: countField, stale: staleField } = Dir3LeafHdr.fields
const { bestcount: bestcountField } = DirLeafTail.fields

/** The leaf, for changing; stale entries are removed. */
export function editLeaf(tx: Transaction, dir: Inode): Buf {
  const buf = readDaBlock(dir, 'data', leafStart(dir), blockTypes.da, tx)
  tx.edit(buf)
  dropStale(buf.view)
  return buf
}

/** Remove the stale entries of a leaf in leaf or node format. */
export function dropStale(view: DataView): void {
  if (staleField.get(view, 0) === 0) return
  countField.set(view, 0, packFront(view, leafSpan(view)))
  staleField.set(view, 0, 0)
}

/** Bytes of a leaf with these numbers of entries and bests. */
export const leafBytes = (entries: number, bests: number): number =>
  Dir3LeafHdr.size + entries * HASH_ENTRY_SIZE + bests * BEST_SIZE + DirLeafTail.size

function setBest(view: DataView, db: number, best: number): void {
  putBest(view, leafBestSpan(view).at, db, best)
}

/**
 * Set the number of bests; new ones are "no block". The entries must leave enough space.
 */
function setBestCount(view: DataView, count: number): void {
  const { at, count: old } = leafBestSpan(view)
  const start = view.byteLength - DirLeafTail.size - count * BEST_SIZE
  const kept = Math.min(old, count)
  bytesOf(view).copyWithin(start, at, at + kept * BEST_SIZE)
  if (start > at) bytesOf(view).fill(0, at, start)
  for (let db = kept; db < count; db++) putBest(view, start, db, DIR_NULL_BEST)
  bestcountField.set(view, view.byteLength - DirLeafTail.size, count)
}

/** Move the block's own leaf entries into a leaf. @throws XfsError NOSPC */
export function blockToLeaf(tx: Transaction, dir: Inode, block: Buf): void {
  const leaf = createDaBlock(tx, dir, 'data', leafStart(dir), blockTypes.da, DIR3_LEAF1_MAGIC)
  const span = blockLeafSpan(block.view)
  let count = 0
  for (const { hashval, address } of liveEntries(block.view, span))
    setLeafEntry(leaf.view, Dir3LeafHdr.size + HASH_ENTRY_SIZE * count++, hashval, address)
  countField.set(leaf.view, 0, count)
  const view = tx.edit(block)
  Dir3BlkHdr.fields.magic.set(view, 0, DIR3_DATA_MAGIC)
  freeSpace(view, span.at, view.byteLength - span.at, view.byteLength)
  setBestCount(leaf.view, 1)
  setBest(leaf.view, 0, longestFree(view))
}

/** Data block `db`, for changing. */
function editData(tx: Transaction, dir: Inode, db: number): DataView {
  return tx.edit(readDaBlock(dir, 'data', dataBlockAt(dir, db), blockTypes.dir3, tx))
}

/** The first data block that does not exist. */
export function firstMissingData(tx: Transaction, dir: Inode): number {
  return firstHole(tx, dir, 'data', 0, leafStart(dir)) / daBlocks(dir, 'data')
}

/** Create data block `db`, and update the directory's size. @throws XfsError NOSPC */
export function createData(tx: Transaction, dir: Inode, db: number): void {
  const { view, length } = createDaBlock(tx, dir, 'data', dataBlockAt(dir, db), blockTypes.dir3, DIR3_DATA_MAGIC)
  clearData(view, length)
  if (dir.roundedSize < (db + 1) * length) updateInode(tx, dir, { size: (db + 1) * length })
}

/** Free the empty data block `db`, and update the directory's size. */
export function freeData(tx: Transaction, dir: Inode, db: number): void {
  const dablk = dataBlockAt(dir, db)
  const buf = readDaBlock(dir, 'data', dablk, blockTypes.dir3, tx)
  if (longestFree(buf.view) !== emptyBest(buf.length))
    throw daError(dir, 'data', dablk, 'not empty, but the free index records no entries')
  freeDaBlock(tx, dir, 'data', dablk, buf)
  const { blocksize, dirblocksize } = dir.volume.geometry
  if (dir.roundedSize > (db + 1) * dirblocksize) return
  const last = extentBefore(dir, 'data', leafStart(dir), tx)
  if (!last) throw daError(dir, 'data', 0, 'it is missing')
  updateInode(tx, dir, { size: (last.startoff + last.blockcount) * blocksize })
}

/**
 * Write an entry into data block `db`, which has enough free space. Returns its address and the
 * longest remaining free space.
 */
export function addToData(
  tx: Transaction,
  dir: Inode,
  db: number,
  name: Uint8Array,
  ino: number,
  ftype: number,
): { address: number; best: number } {
  const view = editData(tx, dir, db)
  const size = dataEntrySize(name.length)
  const at = findFree(view, size)
  if (at === 0)
    throw daError(dir, 'data', dataBlockAt(dir, db), `no free space of ${size} bytes, but the free index records one`)
  takeSpace(view, at, at, size, view.byteLength)
  writeDataEntry(view, at, { name, ino, ftype })
  return { address: (db * view.byteLength + at) / DIR_ALIGN, best: longestFree(view) }
}

/** Remove the entry at `at` of data block `db`; returns the longest free space. */
export function removeFromData(tx: Transaction, dir: Inode, db: number, at: number): number {
  const view = editData(tx, dir, db)
  freeSpace(view, at, dataEntrySize(entryNameLength(view, at)), view.byteLength)
  return longestFree(view)
}

/** Insert a leaf entry; the caller has checked the space. */
export function insertLeafEntry(view: DataView, hash: number, address: number): void {
  const count = countField.get(view, 0)
  const at = Dir3LeafHdr.size
  const place = at + upperBound(view, { at, count }, hash) * HASH_ENTRY_SIZE
  bytesOf(view).copyWithin(place + HASH_ENTRY_SIZE, place, at + count * HASH_ENTRY_SIZE)
  setLeafEntry(view, place, hash, address)
  countField.set(view, 0, count + 1)
}

/** Remove the leaf entry with this index. */
export function deleteLeafEntry(view: DataView, index: number): void {
  const count = countField.get(view, 0)
  const at = Dir3LeafHdr.size + index * HASH_ENTRY_SIZE
  const end = Dir3LeafHdr.size + count * HASH_ENTRY_SIZE
  const bytes = bytesOf(view)
  bytes.copyWithin(at, at + HASH_ENTRY_SIZE, end)
  bytes.fill(0, end - HASH_ENTRY_SIZE, end)
  countField.set(view, 0, count - 1)
}

/**
 * Add an entry; false if the leaf has no space for it (then nothing was changed). @throws XfsError
 * NOSPC
 */
export function leafAdd(tx: Transaction, dir: Inode, leaf: Buf, name: Uint8Array, ino: number, ftype: number): boolean {
  const { view } = leaf
  const count = countField.get(view, 0)
  let db = findBest(view, dataEntrySize(name.length))
  let bests = leafBestSpan(view).count
  const fresh = db < 0
  if (fresh) {
    db = firstMissingData(tx, dir)
    bests = Math.max(bests, db + 1)
  }
  if (leafBytes(count + 1, bests) > view.byteLength) return false
  if (fresh) {
    createData(tx, dir, db)
    setBestCount(view, bests)
  }
  const { address, best } = addToData(tx, dir, db, name, ino, ftype)
  setBest(view, db, best)
  insertLeafEntry(view, nameRules(dir).hash(name), address)
  return true
}

/** The last data block with `size` bytes of free space; −1 for none. */
function findBest(view: DataView, size: number): number {
  const { at, count } = leafBestSpan(view)
  for (let db = count - 1; db >= 0; db--) {
    const best = getBest(view, at, db)
    if (best !== DIR_NULL_BEST && best >= size) return db
  }
  return -1
}

/** Remove the entry at `at` of data block `db`. The format may become block or shortform. */
export function leafRemove(
  tx: Transaction,
  dir: Inode,
  leaf: Buf,
  name: Uint8Array,
  db: number,
  at: number,
  keepBlocks: boolean,
): void {
  const { view } = leaf
  const blockSize = view.byteLength
  const index = leafIndexOf(view, leafSpan(view), nameRules(dir).hash(name), (db * blockSize + at) / DIR_ALIGN)
  if (index < 0 || db >= leafBestSpan(view).count)
    throw daError(dir, 'data', leafStart(dir), 'an entry has no leaf entry')
  const best = removeFromData(tx, dir, db, at)
  deleteLeafEntry(view, index)
  setBest(view, db, best)
  if (keepBlocks) return
  if (best === emptyBest(blockSize)) freeEmptyData(tx, dir, view)
  leafToBlock(tx, dir, leaf)
}

/** Free the data blocks without entries (except the first). */
function freeEmptyData(tx: Transaction, dir: Inode, leaf: DataView): void {
  const { at, count } = leafBestSpan(leaf)
  for (let db = count - 1; db > 0; db--) {
    if (getBest(leaf, at, db) !== emptyBest(leaf.byteLength)) continue
    freeData(tx, dir, db)
    setBest(leaf, db, DIR_NULL_BEST)
  }
  dropLastBests(leaf)
}

/** Remove elements without a data block from the end of the bests. */
function dropLastBests(view: DataView): void {
  const { at, count } = leafBestSpan(view)
  const kept = Math.max(trimmedCount(view, at, count), Math.min(count, 1))
  if (kept < count) setBestCount(view, kept)
}

/**
 * Convert to block format or shortform if one data block remains, with enough space for the leaf
 * entries.
 */
export function leafToBlock(tx: Transaction, dir: Inode, leaf: Buf): void {
  const { view } = leaf
  const few = FIRST_OFFSET + countField.get(view, 0) * (dataEntrySize(1) + HASH_ENTRY_SIZE) <= view.byteLength
  if (few) freeEmptyData(tx, dir, view)
  if (leafBestSpan(view).count !== 1) return
  const buf = readDaBlock(dir, 'data', 0, blockTypes.dir3, tx)
  const content = blockContent(dir, buf.view)
  const short = shortFits(dir, content)
  // Keep some space, so that one more entry does not restore the leaf at once.
  if (!short && blockBytes(content) + 64 > view.byteLength) return
  freeDaBlock(tx, dir, 'data', leafStart(dir), leaf)
  if (short) toShort(tx, dir, content, buf)
  else {
    tx.edit(buf)
    rebuildAsBlock(dir, buf, content)
  }
}
