import type { Buf } from '../buffer/buf.ts'
import { XfsError } from '../errors.ts'
import { DA_NODE_MAXDEPTH, DA3_NODE_MAGIC, Da3Blkinfo, Da3NodeHdr, DaBlkinfo, DaNodeEntry } from '../format/dir.ts'
import { daMaxEntries } from '../format/dirblocks.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { copyDaBlock, createDaBlock, daError, firstHole, freeDaBlock } from './dablock.ts'
import {
  type DaChange,
  type DaPath,
  type DaStep,
  daBack,
  daForw,
  daMagicOf,
  isDaNode,
  nodeChild,
  nodeEntryAt,
  nodeHash,
  nodeLevel,
  readTreeBlock,
} from './datree.ts'

/**
 * Changing a hash btree: the effects of an insertion or removal in a leaf on the blocks next to and
 * above it.
 *
 *   a leaf is full:   add a new leaf next to it ─▶ one more entry in the parent
 *                     ─▶ if the parent is full, split it ─▶ … ─▶ the root grows
 *   a leaf is sparse: join it with a neighbour below the same parent ─▶ one entry less there
 *                     ─▶ … ─▶ a root with one entry is replaced by its child
 *
 * The root does not move: to grow, its content is moved into a new block below it; to shrink, it
 * takes the content of its only child. Invariants: a node's entry has exactly the maximum hash of
 * its child; blocks of a level are linked in order; no block except the root is empty. A path that
 * is passed in is updated: after a split its end is the new block.
 */

const { count: countField, level: levelField } = Da3NodeHdr.fields
const { forw: forwField, back: backField, magic: magicField } = DaBlkinfo.fields
const { hashval: hashField, before: childField } = DaNodeEntry.fields
const nodeCount = (view: DataView): number => countField.get(view, 0)

function setEntry(view: DataView, at: number, hash: number, child: number): void {
  hashField.set(view, at, hash)
  childField.set(view, at, child)
}

/** The maximum hash of a block of any level. */
function greatest(tree: DaChange, view: DataView): number {
  if (!isDaNode(view)) return tree.leaves.lastHash(view)
  return nodeHash(view, nodeCount(view) - 1)
}

/** The block `height` levels above the end of a path. */
const step = (path: DaPath, height: number): DaStep => path[path.length - 1 - height] as DaStep
const isRoot = (path: DaPath, height: number): boolean => height === path.length - 1

/** A new block of the tree, empty except its header. */
function newBlock(tree: DaChange, magic: number): DaStep {
  const dablk = firstHole(tree.tx, tree.inode, tree.fork, tree.root, tree.end)
  return { dablk, buf: createDaBlock(tree.tx, tree.inode, tree.fork, dablk, blockTypes.da, magic), index: 0 }
}

/** Update the hashes along `path` after a change of the block at `height`. */
export function fixHashes(tree: DaChange, path: DaPath, height = 0): void {
  for (let above = height + 1; above < path.length; above++) {
    const { buf, index } = step(path, above)
    const hash = greatest(tree, step(path, above - 1).buf.view)
    if (nodeHash(buf.view, index) === hash) return
    setHash(tree, step(path, above), index, hash)
  }
}

/**
 * Set the hash of a node's entry. @throws XfsError CORRUPT if it is not between the adjacent ones:
 * then the child is in the wrong place
 */
function setHash(tree: DaChange, { dablk, buf }: DaStep, index: number, hash: number): void {
  const view = tree.tx.edit(buf)
  const low = index === 0 ? 0 : nodeHash(view, index - 1)
  const high = index + 1 >= nodeCount(view) ? 0xffffffff : nodeHash(view, index + 1)
  if (hash < low || hash > high)
    throw daError(tree.inode, tree.fork, dablk, 'the hashes of a child are out of order with those of its neighbours')
  hashField.set(view, nodeEntryAt(index), hash)
}

/**
 * Add a leaf to the right of the one at the end of `path`. `fill` fills it and may move entries
 * from the old one; both may be written to. Afterwards the path ends in the new leaf.
 */
export function splitLeaf(tree: DaChange, path: DaPath, fill: (left: DataView, right: DataView) => void): void {
  if (isRoot(path, 0)) growRoot(tree, path)
  const left = step(path, 0)
  const right = newBlock(tree, daMagicOf(left.buf.view))
  fill(tree.tx.edit(left.buf), right.buf.view)
  insertAfter(tree, path, 0, right)
}

/** Move the content of the root into a new block, its only child. The path gets one step longer. */
function growRoot(tree: DaChange, path: DaPath): void {
  const root = path[0] as DaStep
  const level = isDaNode(root.buf.view) ? nodeLevel(root.buf.view) + 1 : 1
  if (level > DA_NODE_MAXDEPTH)
    throw new XfsError('NOSPC', `inode ${tree.inode.ino}: its hash btree has the maximum height`, {
      ino: tree.inode.ino,
    })
  const child = newBlock(tree, daMagicOf(root.buf.view))
  copyDaBlock(tree.tx, root.buf, child.buf)
  const view = tree.tx.edit(root.buf)
  root.buf.bytes.fill(0, Da3Blkinfo.size)
  magicField.set(view, 0, DA3_NODE_MAGIC)
  countField.set(view, 0, 1)
  levelField.set(view, 0, level)
  setEntry(view, nodeEntryAt(0), greatest(tree, child.buf.view), child.dablk)
  path.splice(
    0,
    1,
    { dablk: root.dablk, buf: root.buf, index: 0 },
    { dablk: child.dablk, buf: child.buf, index: root.index },
  )
}

/**
 * Insert `right`, a filled block, after the block at `height` of the path. The path then ends
 * there.
 */
function insertAfter(tree: DaChange, path: DaPath, height: number, right: DaStep): void {
  const left = step(path, height)
  link(tree, left, right)
  if (nodeCount(step(path, height + 1).buf.view) >= daMaxEntries(left.buf.length)) splitNode(tree, path, height + 1)
  const parent = step(path, height + 1)
  const view = tree.tx.edit(parent.buf)
  const count = nodeCount(view)
  const at = nodeEntryAt(parent.index + 1)
  parent.buf.bytes.copyWithin(at + DaNodeEntry.size, at, nodeEntryAt(count))
  const hash = greatest(tree, right.buf.view)
  setEntry(view, at, hash, right.dablk)
  countField.set(view, 0, count + 1)
  setHash(tree, parent, parent.index, greatest(tree, left.buf.view))
  setHash(tree, parent, parent.index + 1, hash)
  parent.index++
  path[path.length - 1 - height] = right
  fixHashes(tree, path, height)
}

/** Make `right` the right sibling of `left`. */
function link(tree: DaChange, left: DaStep, right: DaStep): void {
  const next = daForw(left.buf.view)
  forwField.set(right.buf.view, 0, next)
  backField.set(right.buf.view, 0, left.dablk)
  if (next !== 0) backField.set(tree.tx.edit(readTreeBlock(tree, next, tree.tx)), 0, right.dablk)
  forwField.set(tree.tx.edit(left.buf), 0, right.dablk)
}

/**
 * Move the upper half of a full node into a new node on its right. The path keeps its child.
 */
function splitNode(tree: DaChange, path: DaPath, height: number): void {
  if (isRoot(path, height)) growRoot(tree, path)
  const left = step(path, height)
  const right = newBlock(tree, DA3_NODE_MAGIC)
  const view = tree.tx.edit(left.buf)
  const count = nodeCount(view)
  const kept = count >>> 1
  const from = nodeEntryAt(kept)
  right.buf.bytes.set(left.buf.bytes.subarray(from, nodeEntryAt(count)), nodeEntryAt(0))
  left.buf.bytes.fill(0, from)
  countField.set(view, 0, kept)
  countField.set(right.buf.view, 0, count - kept)
  levelField.set(right.buf.view, 0, nodeLevel(view))
  insertAfter(tree, path, height, right)
  if (left.index >= kept) right.index = left.index - kept
  else {
    path[path.length - 1 - height] = left
    step(path, height + 1).index--
  }
}

/**
 * Update the tree after entries were removed from the leaf at the end of `path`: update hashes, and
 * join or remove blocks if possible.
 */
export function settle(tree: DaChange, path: DaPath, height = 0): void {
  if (isRoot(path, height)) {
    shrinkRoot(tree, step(path, height))
    return
  }
  const own = step(path, height)
  const { view } = own.buf
  const node = isDaNode(view)
  if ((node ? nodeCount(view) : tree.leaves.count(view)) === 0) {
    removeBlock(tree, path, height)
    return
  }
  fixHashes(tree, path, height)
  if (node ? nodeCount(view) > daMaxEntries(view.byteLength) / 2 : !tree.leaves.sparse(view)) return
  const parent = step(path, height + 1)
  const right = neighbour(tree, parent, parent.index + 1, node)
  if (right && fit(tree, own, right)) {
    joinInto(tree, own, right)
    parent.index++
    path[path.length - 1 - height] = right
    removeBlock(tree, path, height)
    return
  }
  const left = neighbour(tree, parent, parent.index - 1, node)
  if (left && fit(tree, left, own)) {
    joinInto(tree, left, own)
    removeBlock(tree, path, height)
  }
}

/** Another child of a node, or undefined if there is none with that index. */
function neighbour(tree: DaChange, parent: DaStep, index: number, node: boolean): DaStep | undefined {
  if (index < 0 || index >= nodeCount(parent.buf.view)) return undefined
  const dablk = nodeChild(parent.buf.view, index)
  const buf = readTreeBlock(tree, dablk, tree.tx)
  if (isDaNode(buf.view) !== node)
    throw daError(tree.inode, tree.fork, dablk, 'its level differs from that of its neighbour')
  return { dablk, buf, index: 0 }
}

function fit(tree: DaChange, left: DaStep, right: DaStep): boolean {
  if (!isDaNode(left.buf.view)) return tree.leaves.fit(left.buf.view, right.buf.view)
  const most = daMaxEntries(left.buf.length)
  return nodeCount(left.buf.view) + nodeCount(right.buf.view) <= most - (most >>> 2)
}

function joinInto(tree: DaChange, left: DaStep, right: DaStep): void {
  const view = tree.tx.edit(left.buf)
  tree.tx.edit(right.buf)
  if (!isDaNode(view)) {
    tree.leaves.join(view, right.buf.view)
    return
  }
  const count = nodeCount(view)
  const more = nodeCount(right.buf.view)
  left.buf.bytes.set(right.buf.bytes.subarray(nodeEntryAt(0), nodeEntryAt(more)), nodeEntryAt(count))
  countField.set(view, 0, count + more)
}

/**
 * Remove the block at `height` from the tree. It has no entries; its left neighbour may have them.
 */
function removeBlock(tree: DaChange, path: DaPath, height: number): void {
  const { dablk, buf } = step(path, height)
  const forw = daForw(buf.view)
  const back = daBack(buf.view)
  if (forw !== 0) backField.set(tree.tx.edit(readTreeBlock(tree, forw, tree.tx)), 0, back)
  if (back !== 0) forwField.set(tree.tx.edit(readTreeBlock(tree, back, tree.tx)), 0, forw)
  freeDaBlock(tree.tx, tree.inode, tree.fork, dablk, buf)
  const parent = step(path, height + 1)
  const view = tree.tx.edit(parent.buf)
  const count = nodeCount(view)
  if (count === 1 && isRoot(path, height + 1)) throw daError(tree.inode, tree.fork, parent.dablk, 'root with one entry')
  const at = nodeEntryAt(parent.index)
  parent.buf.bytes.copyWithin(at, at + DaNodeEntry.size, nodeEntryAt(count))
  parent.buf.bytes.fill(0, nodeEntryAt(count - 1), nodeEntryAt(count))
  countField.set(view, 0, count - 1)
  if (parent.index > 0) {
    // The left neighbour may have the entries now, and their maximum hash.
    const left = readTreeBlock(tree, nodeChild(view, parent.index - 1), tree.tx)
    setHash(tree, parent, parent.index - 1, greatest(tree, left.view))
  }
  settle(tree, path, height + 1)
}

/** While the root has one entry, replace its content by that of its child. */
function shrinkRoot(tree: DaChange, root: DaStep): void {
  while (isDaNode(root.buf.view) && nodeCount(root.buf.view) === 1) {
    const dablk = nodeChild(root.buf.view, 0)
    const child: Buf = readTreeBlock(tree, dablk, tree.tx)
    if (daForw(child.view) !== 0 || daBack(child.view) !== 0)
      throw daError(tree.inode, tree.fork, dablk, 'the only child of the root has siblings')
    if (isDaNode(child.view) && nodeLevel(child.view) >= nodeLevel(root.buf.view))
      throw daError(tree.inode, tree.fork, dablk, 'its level does not match that of its parent')
    copyDaBlock(tree.tx, child, root.buf)
    freeDaBlock(tree.tx, tree.inode, tree.fork, dablk, child)
  }
}
