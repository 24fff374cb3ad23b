import type { Buf } from '../buffer/buf.ts'
import { DA_NODE_MAXDEPTH, DA3_HEADER_SIZE, DA3_NODE_MAGIC, Da3NodeHdr, DaBlkinfo, DaNodeEntry } from '../format/dir.ts'
import { nodeSpan, type Span } from '../format/dirblocks.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import type { ForkName, Inode } from '../inode/inode.ts'
import type { Transaction } from '../tx/transaction.ts'
import type { BlockReader } from '../volume.ts'
import { daError, readDaBlock } from './dablock.ts'
import { hashAt, lowerBound } from './hashes.ts'

/**
 * The hash btree of directories and attributes in node format: reading (for changes see
 * datree-update.ts).
 *
 *            ┌ root ─────────────────┐      A node has entries (maximum hash in the child, child).
 *            │  h0 → b0 │ h1 → b1 │ …│      The root is always at the first block of its space.
 *            └────┬─────────┬────────┘      Blocks of a level are linked both ways. Entries with
 *          ┌──────▼──┐   ┌──▼──────┐        the same hash may span several leaves.
 *          │ leaf    │ ⇄ │ leaf    │
 *          └─────────┘   └─────────┘
 *
 * Every walk is bounded: the level decreases with each step, and walks along siblings detect loops.
 */
export interface DaTree {
  readonly inode: Inode
  readonly fork: ForkName
  /** The file block of the root. */
  readonly root: number
  /** The end of the space for its blocks. */
  readonly end: number
}

/** Operations on leaves that are needed to change the tree. */
export interface DaLeaves {
  /** Entries in use. */
  count(view: DataView): number
  /** The maximum hash of all entries; 0 without entries. */
  lastHash(view: DataView): number
  /** True if the leaf should be joined with another one. */
  sparse(view: DataView): boolean
  /** True if the entries of both fit into one leaf, with some free space. */
  fit(left: DataView, right: DataView): boolean
  /** Append the entries of `right` to those of `left`. Both views may be written to. */
  join(left: DataView, right: DataView): void
}

/** A tree that can be changed. */
export interface DaChange extends DaTree {
  readonly tx: Transaction
  readonly leaves: DaLeaves
}

/** One block of a path; `index` is the child that the path uses (not used in the leaf). */
export interface DaStep {
  readonly dablk: number
  readonly buf: Buf
  index: number
}

/** From the root down to a leaf. */
export type DaPath = DaStep[]

const { magic: magicField, forw: forwField, back: backField } = DaBlkinfo.fields
export const daMagicOf = (view: DataView): number => magicField.get(view, 0)
export const daForw = (view: DataView): number => forwField.get(view, 0)
export const daBack = (view: DataView): number => backField.get(view, 0)
export const isDaNode = (view: DataView): boolean => daMagicOf(view) === DA3_NODE_MAGIC

const { level: levelField } = Da3NodeHdr.fields
export const nodeLevel = (view: DataView): number => levelField.get(view, 0)

const { before: childField } = DaNodeEntry.fields

/** The offset of an entry of a node; `count` gives the offset after the last one. */
export const nodeEntryAt = (index: number): number => DA3_HEADER_SIZE + index * DaNodeEntry.size
/** Hash and child of a node's entry. */
export const nodeHash = (view: DataView, index: number): number => hashAt(view, DA3_HEADER_SIZE, index)
export const nodeChild = (view: DataView, index: number): number => childField.get(view, nodeEntryAt(index))

/** Any block of the tree. */
export const readTreeBlock = (tree: DaTree, dablk: number, reader: BlockReader): Buf =>
  readDaBlock(tree.inode, tree.fork, dablk, blockTypes.da, reader)

/**
 * The path to the first leaf that can contain `hash` (the last leaf if all hashes are smaller).
 * @throws XfsError CORRUPT
 */
export function findPath(tree: DaTree, hash: number, reader: BlockReader): DaPath {
  return descend(tree, tree.root, undefined, reader, (view, span) =>
    Math.min(lowerBound(view, span, hash), span.count - 1),
  )
}

/** The path to the leftmost leaf. */
export const firstPath = (tree: DaTree, reader: BlockReader): DaPath =>
  descend(tree, tree.root, undefined, reader, () => 0)

/** Descend from `dablk`, a block of `level` (unknown for the root), to a leaf. */
function descend(
  tree: DaTree,
  start: number,
  above: number | undefined,
  reader: BlockReader,
  choose: (view: DataView, entries: Span) => number,
): DaPath {
  const path: DaPath = []
  let dablk = start
  let level = above
  for (;;) {
    const buf = readTreeBlock(tree, dablk, reader)
    if (!isDaNode(buf.view)) {
      if (level !== undefined && level !== 0)
        throw daError(tree.inode, tree.fork, dablk, `is a leaf, expected a node of level ${level}`)
      path.push({ dablk, buf, index: 0 })
      return path
    }
    const found = nodeLevel(buf.view)
    if (level === undefined ? found < 1 || found > DA_NODE_MAXDEPTH : found !== level) {
      throw daError(tree.inode, tree.fork, dablk, `level ${found}, expected ${level ?? `1 to ${DA_NODE_MAXDEPTH}`}`)
    }
    level = found - 1
    const span = nodeSpan(buf.view)
    if (span.count === 0) throw daError(tree.inode, tree.fork, dablk, 'node without entries')
    const index = choose(buf.view, span)
    path.push({ dablk, buf, index })
    dablk = nodeChild(buf.view, index)
    if (dablk === tree.root) throw daError(tree.inode, tree.fork, dablk, 'the root is its own descendant')
  }
}

/** The path to the next leaf to the right; undefined after the last. */
export function nextPath(tree: DaTree, path: DaPath, reader: BlockReader): DaPath | undefined {
  for (let depth = path.length - 2; depth >= 0; depth--) {
    const step = path[depth] as DaStep
    if (step.index + 1 >= nodeSpan(step.buf.view).count) continue
    const head = path.slice(0, depth).map((s) => ({ ...s }))
    const index = step.index + 1
    const rest = descend(tree, nodeChild(step.buf.view, index), nodeLevel(step.buf.view) - 1, reader, () => 0)
    return [...head, { ...step, index }, ...rest]
  }
  return undefined
}

/**
 * The leaves from the end of `path` to the right, along their links. @throws XfsError CORRUPT if
 * they form a loop
 */
export function* leavesFrom(tree: DaTree, path: DaPath, reader: BlockReader): Generator<{ dablk: number; buf: Buf }> {
  const { dablk, buf } = path.at(-1) as DaStep
  yield { dablk, buf }
  const seen = new Set([dablk])
  for (let next = daForw(buf.view); next !== 0; ) {
    if (seen.has(next)) throw daError(tree.inode, tree.fork, next, 'the links of the leaves form a loop')
    seen.add(next)
    const leaf = readTreeBlock(tree, next, reader)
    if (isDaNode(leaf.view)) throw daError(tree.inode, tree.fork, next, 'node among the leaves')
    yield { dablk: next, buf: leaf }
    next = daForw(leaf.view)
  }
}
