import { assert } from '../errors.ts'
import { bytesAt } from '../format/fields.ts'
import { countOf, type Level, type Path, setCount, setLevel } from './path.ts'

/**
 * Insert and delete at the position of a path, level by level from the leaf up.
 *
 *   insert   room in the block ─▶ put the entry there
 *            full ─▶ move entries to the right neighbour, or the left; else split the block in two
 *                    and insert the new block into the level above (at the top: a new root)
 *   delete   still half full ─▶ done
 *            else ─▶ take entries from a neighbour; or join with it and delete the emptied block
 *                    from the level above (a root with one child is dropped)
 *
 * Each step updates the keys of the changed blocks in their parents, up to the first parent whose
 * keys do not change (`refreshKeys`). Afterwards the path is valid. It is on the new entry, or at
 * the position of the deleted one: its index is then that of the next entry, and may equal the
 * count of the block.
 *
 * An inline root is not split: its entries move into a new block, and one pointer to that block
 * remains (`pushDown`). If its only child fits into it, the entries move back (`pullUp`). An inline
 * root is never a leaf.
 *
 * Source: fs/xfs/libxfs/xfs_btree.c (xfs_btree_insrec, xfs_btree_delrec).
 */
type Put = (level: Level, index: number) => void

const minOf = <R, K>(path: Path<R, K>, slot: number): number =>
  (slot === 0 ? path.layout.leafMax : path.layout.nodeMax) >> 1

// ----------------------------------------------------------------------------------------- entries

/** Move `count` entries of a block to a position in another block, or in the same. */
function move<R, K>(
  path: Path<R, K>,
  slot: number,
  from: Level,
  index: number,
  to: Level,
  toIndex: number,
  count: number,
): void {
  if (count <= 0) return
  const { recSize, ptrSize } = path.ops
  const { stride } = path.layout
  if (slot === 0) {
    copyBytes(from.view, path.recAt(from, index), to.view, path.recAt(to, toIndex), count * recSize)
    return
  }
  copyBytes(from.view, path.keyAt(from, index), to.view, path.keyAt(to, toIndex), count * stride)
  copyBytes(from.view, path.ptrAt(from, index), to.view, path.ptrAt(to, toIndex), count * ptrSize)
}

function copyBytes(from: DataView, at: number, to: DataView, toAt: number, length: number): void {
  bytesAt(to, toAt, length).set(bytesAt(from, at, length))
}

/** Zero the space of removed entries. */
function clear<R, K>(path: Path<R, K>, slot: number, level: Level, index: number, count: number): void {
  if (count <= 0) return
  const { view } = level
  const zero = (at: number, length: number): void => {
    bytesAt(view, at, length).fill(0)
  }
  if (slot === 0) {
    zero(path.recAt(level, index), count * path.ops.recSize)
    return
  }
  zero(path.keyAt(level, index), count * path.layout.stride)
  zero(path.ptrAt(level, index), count * path.ops.ptrSize)
}

function open<R, K>(path: Path<R, K>, slot: number, level: Level, put: Put): void {
  const count = countOf(level)
  move(path, slot, level, level.index, level, level.index + 1, count - level.index)
  setCount(level, count + 1)
  put(level, level.index)
}

// -------------------------------------------------------------------------------------------- keys

/** Write the keys that the parent of `level` stores for it: low, and high if records overlap. */
function writeKeys<R, K>(path: Path<R, K>, slot: number, level: Level, to: DataView, toAt: number): void {
  const { ops, layout } = path
  const count = countOf(level)
  const first = level.base + level.header
  if (slot === 0) {
    ops.copyKey(level.view, first, to, toAt)
    ops.high?.ofRecords(level.view, first, count, ops.recSize, to, toAt + ops.keySize)
  } else {
    copyBytes(level.view, first, to, toAt, ops.keySize)
    ops.high?.ofKeys(level.view, first + ops.keySize, count, layout.stride, to, toAt + ops.keySize)
  }
}

const newKeys = <R, K>(path: Path<R, K>): DataView => new DataView(new ArrayBuffer(path.layout.stride))

/** Update the parents' keys of the block at `slot`, as far up as they change. */
function refreshKeys<R, K>(path: Path<R, K>, slot: number): void {
  const { layout } = path
  let keys: DataView | undefined
  for (let s = slot; s + 1 < path.height; s++) {
    const level = path.at(s)
    const parent = path.at(s + 1)
    if (countOf(level) === 0) return
    keys ??= newKeys(path)
    writeKeys(path, s, level, keys, 0)
    const at = path.keyAt(parent, parent.index)
    if (sameBytes(keys, parent.view, at, layout.stride)) return
    path.edit(parent)
    copyBytes(keys, 0, parent.view, at, layout.stride)
    if (parent.index !== 0 && !path.ops.overlapping) return
  }
}

/**
 * The record at the leaf's index is new, and not the first. If it ends after the parents' high
 * keys, raise them, without reading other records.
 */
function raiseHighKeys<R, K>(path: Path<R, K>): void {
  const { high, keySize, recSize } = path.ops
  if (!high) return
  const leaf = path.at(0)
  const rec = path.recAt(leaf, leaf.index)
  for (let slot = 1; slot < path.height; slot++) {
    const parent = path.at(slot)
    const at = path.keyAt(parent, parent.index) + keySize
    if (high.compareRec(leaf.view, rec, parent.view, at) <= 0) return
    path.edit(parent)
    high.ofRecords(leaf.view, rec, 1, recSize, parent.view, at)
  }
}

function sameBytes(a: DataView, b: DataView, at: number, length: number): boolean {
  for (let i = 0; i < length; i += 4) if (a.getUint32(i) !== b.getUint32(at + i)) return false
  return true
}

/** True if a change at `index` changes keys of the parents. */
const keysChange = <R, K>(path: Path<R, K>, index: number): boolean => index === 0 || path.ops.overlapping

/**
 * True if the record at the leaf's index can be added, removed or changed without a change of the
 * parents' keys: it is not the first, and (if records overlap) it ends before the highest key in
 * the parent, or at that key with `atMost` 0.
 */
function keepsParentKeys<R, K>(path: Path<R, K>, atMost: 0 | -1): boolean {
  const { high, keySize } = path.ops
  const leaf = path.at(0)
  if (leaf.index === 0) return path.height === 1
  if (!high || path.height === 1) return true
  const parent = path.at(1)
  return (
    high.compareRec(leaf.view, path.recAt(leaf, leaf.index), parent.view, path.keyAt(parent, parent.index) + keySize) <=
    atMost
  )
}

/** Replace the record at the path. */
export function updateRecord<R, K>(path: Path<R, K>, rec: R): void {
  const leaf = path.at(0)
  path.edit(leaf)
  const before = keepsParentKeys(path, -1)
  path.ops.writeRec(leaf.view, path.recAt(leaf, leaf.index), rec)
  if (!before || !keepsParentKeys(path, 0)) refreshKeys(path, 0)
}

// ------------------------------------------------------------------------------------------ insert

/** Insert a record before the leaf's index. */
export function insertRecord<R, K>(path: Path<R, K>, rec: R): void {
  insertEntry(path, 0, (level, index) => path.ops.writeRec(level.view, path.recAt(level, index), rec))
}

function insertEntry<R, K>(path: Path<R, K>, slot: number, put: Put): void {
  if (path.at(slot).buf === undefined && countOf(path.at(slot)) >= path.at(slot).max) pushDown(path)
  const level = path.at(slot)
  if (countOf(level) >= level.max && !shift(path, slot, 1) && !shift(path, slot, -1)) {
    split(path, slot, put)
    return
  }
  path.edit(level)
  open(path, slot, level, put)
  if (slot === 0 && level.index > 0) raiseHighKeys(path)
  else if (keysChange(path, level.index)) refreshKeys(path, slot)
}

/**
 * Half of the neighbour's room, but the entry at the path's index stays, and the block stays half
 * full.
 */
const portion = (room: number, movable: number, spare: number): number => Math.min((room + 1) >> 1, movable, spare)

/** Make room in a full block: move some of its entries to the neighbour in `direction`. */
function shift<R, K>(path: Path<R, K>, slot: number, direction: 1 | -1): boolean {
  const level = path.at(slot)
  if (level.buf === undefined) return false
  const count = countOf(level)
  const movable = direction > 0 ? count - 1 - level.index : level.index
  if (movable < 1) return false
  const neighbor = path.neighbor(slot, direction)
  if (!neighbor) return false
  const to = neighbor.at(slot)
  const moved = portion(to.max - countOf(to), movable, count - minOf(path, slot))
  if (moved < 1) return false
  balance(path, neighbor, slot, direction, -moved)
  return true
}

/**
 * Move entries between the block of `path` and its neighbour in `direction`: `taken` from the
 * neighbour if positive, else `-taken` to it. The path stays on its entry.
 *
 *            left                right                  left             right
 *      [ a b c d e ┊ ]  ⇄  [ ┊ f g ]      ─▶      [ a b c ┊ ]     [ ┊ d e f g ]
 */
function balance<R, K>(path: Path<R, K>, neighbor: Path<R, K>, slot: number, direction: 1 | -1, taken: number): void {
  const own = path.at(slot)
  const other = neighbor.at(slot)
  const [from, to] = taken > 0 ? [other, own] : [own, other]
  const moved = Math.abs(taken)
  const [there, here] = [countOf(from), countOf(to)]
  path.edit(from)
  path.edit(to)
  // The entries to move are the last ones of the left block, or the first ones of the right block.
  if (taken > 0 === direction > 0) {
    move(path, slot, from, 0, to, here, moved)
    move(path, slot, from, moved, from, 0, there - moved)
  } else {
    move(path, slot, to, 0, to, moved, here)
    move(path, slot, from, there - moved, to, 0, moved)
  }
  clear(path, slot, from, there - moved, moved)
  setCount(to, here + moved)
  setCount(from, there - moved)
  if (direction < 0) own.index += taken
  const [left, right] = direction > 0 ? [path, neighbor] : [neighbor, path]
  refreshKeys(right, slot)
  if (path.ops.overlapping || (direction > 0 && taken > 0 && here === 0)) refreshKeys(left, slot)
}

/**
 * Move the upper half of a full block into a new one on its right, and put the entry into the half
 * where it belongs.
 */
function split<R, K>(path: Path<R, K>, slot: number, put: Put): void {
  const level = path.at(slot)
  const count = countOf(level)
  let upper = count >> 1
  if (count % 2 === 1 && level.index <= upper) upper++
  const kept = count - upper
  const fresh = path.create(slot, level.ptr)
  path.edit(level)
  move(path, slot, level, kept, fresh, 0, upper)
  clear(path, slot, level, kept, upper)
  setCount(fresh, upper)
  setCount(level, kept)
  linkAfter(path, slot, level, fresh)

  const goesRight = level.index > kept
  if (goesRight) {
    fresh.index = level.index - kept
    open(path, slot, fresh, put)
  } else open(path, slot, level, put)

  if (slot + 1 === path.height) {
    newRoot(path, level, fresh, goesRight)
    return
  }
  refreshKeys(path, slot)
  insertChild(path, slot, fresh)
  if (goesRight) path.levels[slot] = fresh
  else path.step(slot + 1, -1)
}

/**
 * Insert keys and pointer of `child` (at `slot`) after the parent's index. Afterwards the path
 * passes through the child.
 */
function insertChild<R, K>(path: Path<R, K>, slot: number, child: Level): void {
  const keys = newKeys(path)
  writeKeys(path, slot, child, keys, 0)
  path.at(slot + 1).index++
  insertEntry(path, slot + 1, (parent, index) => {
    copyBytes(keys, 0, parent.view, path.keyAt(parent, index), path.layout.stride)
    path.setPtr(parent, index, child.ptr)
  })
}

function linkAfter<R, K>(path: Path<R, K>, slot: number, level: Level, fresh: Level): void {
  const next = path.sibling(level, 1)
  path.setSibling(fresh.view, -1, level.ptr)
  path.setSibling(fresh.view, 1, next)
  path.setSibling(level.view, 1, fresh.ptr)
  if (next !== -1) linkBack(path, slot, next, level.ptr, fresh.ptr)
}

/** Change the left sibling of block `ptr` from `before` to `now`. */
function linkBack<R, K>(path: Path<R, K>, slot: number, ptr: number, before: number, now: number): void {
  const buf = path.readBlock(ptr, slot)
  const found = path.siblingOf(buf.view, -1)
  if (found !== before) throw path.corrupt(ptr, `its left sibling is ${found}, expected ${before}`)
  path.setSibling(path.writer().edit(buf), -1, now)
}

function newRoot<R, K>(path: Path<R, K>, left: Level, right: Level, goesRight: boolean): void {
  const { root } = path.tree
  assert(!root.inline, 'an inline root is not split')
  const slot = path.height
  const level = path.create(slot, left.ptr)
  ;[left, right].forEach((child, index) => {
    writeKeys(path, slot - 1, child, level.view, path.keyAt(level, index))
    path.setPtr(level, index, child.ptr)
  })
  setCount(level, 2)
  level.index = goesRight ? 1 : 0
  path.levels[slot - 1] = goesRight ? right : left
  path.levels.push(level)
  root.set(path.writer(), level.ptr, slot + 1)
}

// ------------------------------------------------------------------------------------- inline root

/**
 * Move the entries of an inline root into a new block, which is then its only child. The path may
 * be after its last entry.
 */
function pushDown<R, K>(path: Path<R, K>): void {
  const slot = path.height - 1
  const root = path.at(slot)
  assert(root.buf === undefined, 'a root in a block is not pushed down')
  const count = countOf(root)
  const block = path.create(slot, path.getPtr(root, 0))
  assert(count <= block.max, 'the entries of an inline root exceed a block')
  path.edit(root)
  move(path, slot, root, 0, block, 0, count)
  setCount(block, count)
  block.index = root.index
  clear(path, slot, root, 0, count)
  writeKeys(path, slot, block, root.view, path.keyAt(root, 0))
  path.setPtr(root, 0, block.ptr)
  setLevel(root, slot + 1)
  setCount(root, 1)
  path.levels[slot] = block
  path.levels.push({ ...root, index: 0 })
}

/**
 * Move the entries of the only child of an inline root back into it, if they fit and the child is
 * not a leaf.
 */
function pullUp<R, K>(path: Path<R, K>): boolean {
  const slot = path.height - 1
  const root = path.at(slot)
  if (root.buf !== undefined || slot < 2 || countOf(root) !== 1) return false
  const child = path.at(slot - 1)
  const count = countOf(child)
  if (count > root.max) return false
  path.edit(root)
  move(path, slot - 1, child, 0, root, 0, count)
  setCount(root, count)
  setLevel(root, slot - 1)
  root.index = child.index
  path.release(child)
  path.levels.length = slot
  path.levels[slot - 1] = root
  return true
}

// ------------------------------------------------------------------------------------------ delete

/** Delete the record at the path. */
export const deleteRecord = <R, K>(path: Path<R, K>): void => deleteEntry(path, 0)

function deleteEntry<R, K>(path: Path<R, K>, slot: number): void {
  const level = path.at(slot)
  const { index } = level
  const count = countOf(level) - 1
  path.edit(level)
  const quiet = slot === 0 ? keepsParentKeys(path, -1) : !keysChange(path, index)
  move(path, slot, level, index + 1, level, index, count - index)
  clear(path, slot, level, count, 1)
  setCount(level, count)
  if (slot === path.height - 1) {
    if (level.buf === undefined) pullUp(path)
    else if (slot > 0 && count === 1) dropRoot(path)
    return
  }
  if (!quiet) refreshKeys(path, slot)
  if (count < minOf(path, slot)) rebalance(path, slot)
}

/** Replace the root by its only child. */
function dropRoot<R, K>(path: Path<R, K>): void {
  const slot = path.height - 1
  const old = path.at(slot)
  const child = path.at(slot - 1)
  const { root } = path.tree
  assert(!root.inline, 'an inline root is not dropped')
  const ptr = path.getPtr(old, 0)
  if (ptr !== child.ptr) throw path.corrupt(old.ptr, `points to block ${ptr}, its only child was ${child.ptr}`)
  path.release(old)
  path.levels.length = slot
  root.set(path.writer(), ptr, slot)
}

/** The block at `slot` is less than half full: take entries from a neighbour or join with it. */
function rebalance<R, K>(path: Path<R, K>, slot: number): void {
  const right = path.neighbor(slot, 1)
  if (right && take(path, right, slot, 1)) return
  const left = path.neighbor(slot, -1)
  if (left && take(path, left, slot, -1)) return
  const { max } = path.at(slot)
  const count = countOf(path.at(slot))
  if (left && countOf(left.at(slot)) + count <= max) joinLeft(path, left, slot)
  else if (right && countOf(right.at(slot)) + count <= max) joinRight(path, right, slot)
  else if (!left && !right && slot === path.height - 2) pullUp(path)
}

/** Half of the difference, as long as the neighbour stays half full. */
const excess = (there: number, here: number, min: number): number => Math.min((there - here) >> 1, there - min)

function take<R, K>(path: Path<R, K>, neighbor: Path<R, K>, slot: number, direction: 1 | -1): boolean {
  const moved = excess(countOf(neighbor.at(slot)), countOf(path.at(slot)), minOf(path, slot))
  if (moved < 1) return false
  balance(path, neighbor, slot, direction, moved)
  return true
}

/** Append the block to its left neighbour and delete it from its parent. */
function joinLeft<R, K>(path: Path<R, K>, left: Path<R, K>, slot: number): void {
  const level = path.at(slot)
  const into = left.at(slot)
  const index = countOf(into) + level.index
  join(left, into, level, slot)
  path.levels[slot] = into
  into.index = index
  deleteFromParent(path, slot)
}

/** Append the right neighbour to the block and delete it from its parent. */
function joinRight<R, K>(path: Path<R, K>, right: Path<R, K>, slot: number): void {
  join(path, path.at(slot), right.at(slot), slot)
  for (let s = slot + 1; s < path.height; s++) path.levels[s] = right.at(s)
  deleteFromParent(path, slot)
}

/** The parent's index is that of the block that was joined with its left neighbour. */
function deleteFromParent<R, K>(path: Path<R, K>, slot: number): void {
  deleteEntry(path, slot + 1)
  if (slot + 1 < path.height) path.step(slot + 1, -1)
}

/** @param path the path to `into` */
function join<R, K>(path: Path<R, K>, into: Level, from: Level, slot: number): void {
  const there = countOf(into)
  const count = countOf(from)
  path.edit(into)
  move(path, slot, from, 0, into, there, count)
  setCount(into, there + count)
  const next = path.sibling(from, 1)
  path.setSibling(into.view, 1, next)
  if (next !== -1) linkBack(path, slot, next, from.ptr, into.ptr)
  if (keysChange(path, there)) refreshKeys(path, slot)
  path.release(from)
}
