import type { Buf } from '../buffer/buf.ts'
import { createDaBlock, daBlocks, daError, freeDaBlock, tryDaBlock } from '../da/dablock.ts'
import { type DaChange, type DaLeaves, type DaPath, type DaStep, findPath, isDaNode, nextPath } from '../da/datree.ts'
import { fixHashes, settle, splitLeaf } from '../da/datree-update.ts'
import { HASH_ENTRY_SIZE, hashAt, lastHashOf } from '../da/hashes.ts'
import {
  DaBlkinfo,
  DIR_ALIGN,
  DIR_FREE_OFFSET,
  DIR_LEAF_OFFSET,
  DIR_NULL_BEST,
  DIR3_FREE_MAGIC,
  DIR3_LEAF1_MAGIC,
  DIR3_LEAFN_MAGIC,
  Dir3FreeHdr,
  Dir3LeafHdr,
  DirLeafTail,
} from '../format/dir.ts'
import {
  daMaxEntries,
  dataEntrySize,
  freeBestSpan,
  freeMaxBests,
  leafBestSpan,
  leafSpan,
  type Span,
} from '../format/dirblocks.ts'
import { bytesOf } from '../format/fields.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import type { Inode } from '../inode/inode.ts'
import { lastExtent } from '../mapping/extents.ts'
import type { Transaction } from '../tx/transaction.ts'
import { BEST_SIZE, getBest, putBest, trimmedCount } from './bests.ts'
import { leafIndexOf } from './block.ts'
import { emptyBest } from './datablock.ts'
import {
  addToData,
  createData,
  deleteLeafEntry,
  dropStale,
  firstMissingData,
  freeData,
  insertLeafEntry,
  leafBytes,
  leafToBlock,
  removeFromData,
} from './leaf.ts'
import { setStale } from './leafentries.ts'
import { dirLeafSpan, dirTree, leafStart, nameRules } from './read.ts'

/**
 * Large directories: data blocks, a hash btree whose leaves contain (hash, address), and an index
 * of free space.
 *
 *   from 0        data         │ 0 │ 1 │ 2 │ …
 *   from 32 GiB   hash btree   │ root │ leaf or node │ …
 *   from 64 GiB   free index   │ bests of 0 … n−1 │ bests of n … 2n−1 │ …
 *
 * The root stays at 32 GiB: a leaf, or a node. A free index block exists as long as one of its data
 * blocks does.
 */

const { count: countField, stale: staleField } = Dir3LeafHdr.fields
const { magic: magicField } = DaBlkinfo.fields
const { firstdb: firstdbField, nvalid: nvalidField, nused: nusedField } = Dir3FreeHdr.fields

/** The entries of a leaf whose count was verified. */
const entriesOf = (view: DataView): Span => ({ at: Dir3LeafHdr.size, count: countField.get(view, 0) })

const leaves: DaLeaves = {
  count: (view) => countField.get(view, 0),
  lastHash: (view) => lastHashOf(view, entriesOf(view)),
  sparse: (view) => live(view) <= daMaxEntries(view.byteLength) / 2,
  fit: (left, right) => {
    const most = daMaxEntries(left.byteLength)
    return live(left) + live(right) <= most - (most >>> 2)
  },
  join: (left, right) => {
    dropStale(left)
    dropStale(right)
    const count = countField.get(left, 0)
    const more = countField.get(right, 0)
    const at = Dir3LeafHdr.size
    bytesOf(left).set(bytesOf(right).subarray(at, at + more * HASH_ENTRY_SIZE), at + count * HASH_ENTRY_SIZE)
    countField.set(left, 0, count + more)
  },
}

const live = (view: DataView): number => countField.get(view, 0) - staleField.get(view, 0)

const changeTree = (tx: Transaction, dir: Inode): DaChange => {
  const root = leafStart(dir)
  return { inode: dir, fork: 'data', root, end: 2 * root, tx, leaves }
}

// ---------------------------------------------------------------------------------- the free index

/** The file block of free index block `fdb`. */
const freeBlockAt = (dir: Inode, fdb: number): number =>
  DIR_FREE_OFFSET / dir.volume.geometry.blocksize + fdb * daBlocks(dir, 'data')

const maxBests = (dir: Inode): number => freeMaxBests(dir.volume.geometry.dirblocksize)

/** Free index block `fdb`, or undefined if there is none. */
function tryFree(tx: Transaction, dir: Inode, fdb: number): Buf | undefined {
  const dablk = freeBlockAt(dir, fdb)
  const buf = tryDaBlock(dir, 'data', dablk, blockTypes.dirFree, tx)
  if (buf && firstdbField.get(buf.view, 0) !== fdb * maxBests(dir)) {
    throw daError(
      dir,
      'data',
      dablk,
      `begins with data block ${firstdbField.get(buf.view, 0)}, expected ${fdb * maxBests(dir)}`,
    )
  }
  return buf
}

function createFree(tx: Transaction, dir: Inode, fdb: number): Buf {
  const buf = createDaBlock(tx, dir, 'data', freeBlockAt(dir, fdb), blockTypes.dirFree, DIR3_FREE_MAGIC)
  firstdbField.set(buf.view, 0, fdb * maxBests(dir))
  return buf
}

/**
 * Record `best` as the longest free space of data block `db` (DIR_NULL_BEST: the block was
 * removed).
 */
function setBest(tx: Transaction, dir: Inode, db: number, best: number): void {
  const fdb = Math.floor(db / maxBests(dir))
  const buf = tryFree(tx, dir, fdb) ?? createFree(tx, dir, fdb)
  const view = tx.edit(buf)
  const index = db % maxBests(dir)
  const { at, count } = freeBestSpan(view)
  for (let i = count; i <= index; i++) putBest(view, at, i, DIR_NULL_BEST)
  const before = getBest(view, at, index)
  putBest(view, at, index, best)
  const used = nusedField.get(view, 0) + (best !== DIR_NULL_BEST ? 1 : 0) - (before !== DIR_NULL_BEST ? 1 : 0)
  const written = Math.max(count, index + 1)
  const valid = trimmedCount(view, at, written)
  bytesOf(view).fill(0, at + valid * BEST_SIZE, at + written * BEST_SIZE)
  nvalidField.set(view, 0, valid)
  nusedField.set(view, 0, used)
  if (used === 0) freeDaBlock(tx, dir, 'data', freeBlockAt(dir, fdb), buf)
}

/** The last data block with `size` bytes of free space; −1 for none. */
function findBest(tx: Transaction, dir: Inode, size: number): number {
  const blocks = Math.floor(Math.min(dir.roundedSize, DIR_LEAF_OFFSET) / dir.volume.geometry.dirblocksize)
  for (let fdb = Math.floor((blocks - 1) / maxBests(dir)); fdb >= 0; fdb--) {
    const buf = tryFree(tx, dir, fdb)
    if (!buf) continue
    const { view } = buf
    const { at, count } = freeBestSpan(view)
    for (let i = count - 1; i >= 0; i--) {
      const best = getBest(view, at, i)
      if (best >= size && best !== DIR_NULL_BEST) return fdb * maxBests(dir) + i
    }
  }
  return -1
}

// ---------------------------------------------------------------------------------------- changing

/**
 * Convert the leaf to the root of a hash btree, and its bests to the first free index block.
 * @throws XfsError NOSPC
 */
export function leafToNode(tx: Transaction, dir: Inode, leaf: Buf): void {
  const view = tx.edit(leaf)
  const { at, count } = leafBestSpan(view)
  const free = createFree(tx, dir, 0)
  free.bytes.set(leaf.bytes.subarray(at, at + count * BEST_SIZE), Dir3FreeHdr.size)
  let used = 0
  for (let i = 0; i < count; i++) if (getBest(view, at, i) !== DIR_NULL_BEST) used++
  nvalidField.set(free.view, 0, count)
  nusedField.set(free.view, 0, used)
  leaf.bytes.fill(0, at)
  magicField.set(view, 0, DIR3_LEAFN_MAGIC)
}

/** Add an entry. @throws XfsError NOSPC */
export function nodeAdd(tx: Transaction, dir: Inode, name: Uint8Array, ino: number, ftype: number): void {
  let db = findBest(tx, dir, dataEntrySize(name.length))
  if (db < 0) {
    db = firstMissingData(tx, dir)
    createData(tx, dir, db)
  }
  const { address, best } = addToData(tx, dir, db, name, ino, ftype)
  setBest(tx, dir, db, best)
  const tree = changeTree(tx, dir)
  const hash = nameRules(dir).hash(name)
  const path = findPath(tree, hash, tx)
  insertLeaf(tree, path, hash, address)
  fixHashes(tree, path)
}

function insertLeaf(tree: DaChange, path: DaPath, hash: number, address: number): void {
  const { buf } = path.at(-1) as DaStep
  leafSpan(buf.view)
  if (live(buf.view) < daMaxEntries(buf.length)) {
    const view = tree.tx.edit(buf)
    dropStale(view)
    insertLeafEntry(view, hash, address)
    return
  }
  splitLeaf(tree, path, (left, right) => {
    const count = countField.get(left, 0)
    const kept = splitPoint(left, count, hash)
    const at = Dir3LeafHdr.size
    const end = at + kept * HASH_ENTRY_SIZE
    bytesOf(right).set(bytesOf(left).subarray(end, at + count * HASH_ENTRY_SIZE), at)
    bytesOf(left).fill(0, end)
    countField.set(left, 0, kept)
    countField.set(right, 0, count - kept)
    insertLeafEntry(kept < count && hash < hashAt(right, at, 0) ? left : right, hash, address)
  })
}

/** Half of the entries; but all stay if the new entry comes after them. */
const splitPoint = (view: DataView, count: number, hash: number): number =>
  hash > hashAt(view, Dir3LeafHdr.size, count - 1) ? count : count >>> 1

/** Remove the entry at `at` of data block `db`. The format may become leaf, block or shortform. */
export function nodeRemove(
  tx: Transaction,
  dir: Inode,
  name: Uint8Array,
  db: number,
  at: number,
  keepBlocks: boolean,
): void {
  const tree = changeTree(tx, dir)
  const { dirblocksize } = dir.volume.geometry
  const { path, index } = findLeafEntry(tx, dir, nameRules(dir).hash(name), (db * dirblocksize + at) / DIR_ALIGN)
  const best = removeFromData(tx, dir, db, at)
  const empty = best === emptyBest(dirblocksize) && db !== 0 && !keepBlocks
  if (empty) freeData(tx, dir, db)
  setBest(tx, dir, db, empty ? DIR_NULL_BEST : best)
  const { buf } = path.at(-1) as DaStep
  const view = tx.edit(buf)
  if (keepBlocks) {
    // The leaf must not become empty: a stale entry stays.
    setStale(view, entriesOf(view), index)
    staleField.set(view, 0, staleField.get(view, 0) + 1)
    return
  }
  deleteLeafEntry(view, index)
  dropStale(view)
  settle(tree, path)
  nodeToLeaf(tx, dir)
}

/** The leaf entry with this hash and address, and its leaf. */
function findLeafEntry(tx: Transaction, dir: Inode, hash: number, address: number): { path: DaPath; index: number } {
  const tree = dirTree(dir)
  for (let path: DaPath | undefined = findPath(tree, hash, tx); path; path = nextPath(tree, path, tx)) {
    const { view } = (path.at(-1) as DaStep).buf
    const span = dirLeafSpan(dir, view)
    const index = leafIndexOf(view, span, hash, address)
    if (index >= 0) return { path, index }
    if (leaves.lastHash(view) > hash) break
  }
  throw daError(dir, 'data', leafStart(dir), `no leaf entry for address ${address}`)
}

/**
 * Convert to leaf format if one leaf and one free index block remain, and their contents fit into
 * one block.
 */
function nodeToLeaf(tx: Transaction, dir: Inode): void {
  const root = findRoot(tx, dir)
  if (isDaNode(root.view)) return
  freeEmptyData(tx, dir)
  const end = lastExtent(dir, 'data', tx)
  const fdbEnd = freeBlockAt(dir, 1)
  if (!end || end.startoff + end.blockcount > fdbEnd) return
  const free = tryFree(tx, dir, 0)
  if (!free) throw daError(dir, 'data', freeBlockAt(dir, 0), 'it is missing')
  const bests = freeBestSpan(free.view)
  // Keep space for a few entries, so that the next one does not restore the node format at once.
  if (leafBytes(live(root.view) + 8, bests.count + 1) > root.length) return
  const view = tx.edit(root)
  dropStale(view)
  magicField.set(view, 0, DIR3_LEAF1_MAGIC)
  root.bytes.fill(0, Dir3LeafHdr.size + countField.get(view, 0) * HASH_ENTRY_SIZE)
  const tail = root.length - DirLeafTail.size
  const length = bests.count * BEST_SIZE
  root.bytes.set(free.bytes.subarray(bests.at, bests.at + length), tail - length)
  DirLeafTail.fields.bestcount.set(view, tail, bests.count)
  freeDaBlock(tx, dir, 'data', freeBlockAt(dir, 0), free)
  leafToBlock(tx, dir, root)
}

/** Free data blocks that are empty because a removal had no space to free them. */
function freeEmptyData(tx: Transaction, dir: Inode): void {
  const empty = emptyBest(dir.volume.geometry.dirblocksize)
  for (let db = findBest(tx, dir, empty); db > 0; db = findBest(tx, dir, empty)) {
    freeData(tx, dir, db)
    setBest(tx, dir, db, DIR_NULL_BEST)
  }
}

const findRoot = (tx: Transaction, dir: Inode): Buf => {
  const buf = tryDaBlock(dir, 'data', leafStart(dir), blockTypes.da, tx)
  if (!buf) throw daError(dir, 'data', leafStart(dir), 'it is missing')
  return buf
}
