import type { Buf } from '../buffer/buf.ts'
import { createDaBlock } from '../da/dablock.ts'
import { type DaChange, type DaLeaves, type DaPath, type DaStep, findPath, nextPath } from '../da/datree.ts'
import { fixHashes, settle, splitLeaf } from '../da/datree-update.ts'
import { upperBound } from '../da/hashes.ts'
import {
  ATTR_LEAF_MAPSIZE,
  ATTR3_LEAF_MAGIC,
  Attr3LeafHdr,
  AttrLeafEntry,
  AttrLeafMap,
  attrEntryFlags,
} from '../format/attr.ts'
import {
  attrContent,
  attrFirstUsed,
  attrLeafContents,
  attrLeafItem,
  attrLeafSpan,
  attrNameSize,
  attrsFit,
  copiedAttr,
  type NewAttr,
  newAttrSize,
  writeAttrEntry,
  writeAttrLeaf,
} from '../format/attrentries.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import type { Inode } from '../inode/inode.ts'
import type { Transaction } from '../tx/transaction.ts'
import { type AttrKey, attrTree, findInLeaf, lastHash } from './read.ts'

/**
 * Attributes in leaves, a single one at block 0 or below a hash btree: the same code for both.
 *
 *   │ header, free map │ hash,place,flags │ hash,place,flags │ … free … │ name, value │ … │
 *
 * Names are written from the end. A new one is written into the gap in the middle if that is large
 * enough. If names are contiguous, they stay so when one is removed. Otherwise the leaf is
 * rewritten with all names contiguous. A full leaf is split into two if both halves fit, else into
 * three around one large attribute.
 */

const { count: countField, usedbytes: usedField, firstused: firstusedField, holes: holesField } = Attr3LeafHdr.fields

const { nameidx: nameidxField } = AttrLeafEntry.fields
const { base: baseField, size: sizeField } = AttrLeafMap.fields

/** The offset of an element of the free map. */
const freeMapAt = (slot: number): number => Attr3LeafHdr.fields.freemap.offset + slot * AttrLeafMap.size

const used = (view: DataView): number =>
  Attr3LeafHdr.size + countField.get(view, 0) * AttrLeafEntry.size + usedField.get(view, 0)

const leaves: DaLeaves = {
  count: (view) => countField.get(view, 0),
  lastHash,
  sparse: (view) => used(view) <= view.byteLength / 2,
  fit: (left, right) => used(left) + used(right) - Attr3LeafHdr.size <= left.byteLength - (left.byteLength >>> 2),
  join: (left, right) => writeAttrLeaf(left, [...attrLeafContents(left), ...attrLeafContents(right)]),
}

export const changeTree = (tx: Transaction, inode: Inode): DaChange => ({ ...attrTree(inode), tx, leaves })

/** Create the first leaf of an empty fork. @throws XfsError NOSPC */
export function createLeaf(tx: Transaction, inode: Inode, attrs: readonly NewAttr[]): void {
  const { view } = createDaBlock(tx, inode, 'attr', 0, blockTypes.da, ATTR3_LEAF_MAGIC)
  writeAttrLeaf(view, attrs)
}

interface LeafPlace {
  readonly path: DaPath
  readonly index: number
}

/** The position of an attribute; undefined if it does not exist. */
export function findPlace(tree: DaChange, hash: number, key: AttrKey): LeafPlace | undefined {
  for (let path: DaPath | undefined = findPath(tree, hash, tree.tx); path; path = nextPath(tree, path, tree.tx)) {
    const { dablk, buf } = path.at(-1) as DaStep
    const index = findInLeaf(tree.inode, dablk, buf.view, hash, key)
    if (index >= 0) return { path, index }
    if (lastHash(buf.view) > hash) return undefined
  }
  return undefined
}

/** The attribute at a position; its value, if local, is a view on the block. */
export const itemAt = ({ path, index }: LeafPlace): NewAttr =>
  attrContent(attrLeafItem((path.at(-1) as DaStep).buf.view, index))

/**
 * Put an attribute into its leaf, replacing the one at `old`, if given. @throws XfsError NOSPC
 */
export function putItem(tree: DaChange, item: NewAttr, old: LeafPlace | undefined): void {
  const path = old ? old.path : findPath(tree, item.hashval, tree.tx)
  const { buf } = path.at(-1) as DaStep
  const view = tree.tx.edit(buf)
  if (old) takeOut(buf, old.index)
  if (insertInGap(buf, item)) {
    fixHashes(tree, path)
    return
  }
  const items = attrLeafContents(view).map(copiedAttr)
  const place = items.findIndex((other) => other.hashval > item.hashval)
  items.splice(place < 0 ? items.length : place, 0, item)
  const [first, ...more] = groups(items, place < 0 ? items.length - 1 : place, buf.length)
  writeAttrLeaf(view, first as NewAttr[])
  for (const group of more) splitLeaf(tree, path, (_, right) => writeAttrLeaf(right, group))
  fixHashes(tree, path)
}

/**
 * The attributes for one leaf if they fit; or for two, split as evenly as possible; or for three:
 * those before the new one, the new one, those after it.
 */
function groups(items: readonly NewAttr[], added: number, blockSize: number): NewAttr[][] {
  if (attrsFit(items, blockSize)) return [[...items]]
  const room = blockSize - Attr3LeafHdr.size
  const sizes = items.map((item) => newAttrSize(item) + AttrLeafEntry.size)
  const total = sizes.reduce((sum, size) => sum + size, 0)
  let cut = -1
  let left = 0
  let best = Number.POSITIVE_INFINITY
  for (let i = 1; i < items.length; i++) {
    left += sizes[i - 1] as number
    const larger = Math.max(left, total - left)
    if (larger <= room && larger < best) {
      best = larger
      cut = i
    }
  }
  if (cut > 0) return [items.slice(0, cut), items.slice(cut)]
  return [items.slice(0, added), items.slice(added, added + 1), items.slice(added + 1)].filter(
    (group) => group.length > 0,
  )
}

/**
 * Insert an attribute into the gap between entries and names; false if the gap is too small or not
 * in the free map.
 */
function insertInGap(buf: Buf, item: NewAttr): boolean {
  const { view, bytes } = buf
  const { at, count } = attrLeafSpan(view)
  const end = at + count * AttrLeafEntry.size
  const firstused = attrFirstUsed(view)
  const size = newAttrSize(item)
  const gap = firstused - end
  if (gap < size + AttrLeafEntry.size) return false
  const slot = [0, 1, 2]
    .map(freeMapAt)
    .find((map) => baseField.get(view, map) === end && sizeField.get(view, map) === gap)
  if (slot === undefined) return false
  const nameidx = firstused - size
  const left = gap - size - AttrLeafEntry.size
  baseField.set(view, slot, left === 0 ? 0 : end + AttrLeafEntry.size)
  sizeField.set(view, slot, left)
  const place = at + upperBound(view, { at, count }, item.hashval) * AttrLeafEntry.size
  bytes.copyWithin(place + AttrLeafEntry.size, place, end)
  bytes.fill(0, place, place + AttrLeafEntry.size)
  bytes.fill(0, nameidx, firstused)
  writeAttrEntry(view, place, nameidx, item)
  countField.set(view, 0, count + 1)
  usedField.set(view, 0, usedField.get(view, 0) + size)
  firstusedField.set(view, 0, nameidx)
  return true
}

/**
 * Remove an attribute from its leaf. Leaves are joined and the tree shrinks if possible.
 */
export function dropItem(tree: DaChange, { path, index }: LeafPlace): void {
  const { buf } = path.at(-1) as DaStep
  tree.tx.edit(buf)
  takeOut(buf, index)
  settle(tree, path)
}

/** Remove an attribute from a leaf; afterwards its names are contiguous. */
function takeOut(buf: Buf, index: number): void {
  if (closeGap(buf, index)) return
  const items = attrLeafContents(buf.view)
  items.splice(index, 1)
  writeAttrLeaf(buf.view, items)
}

/**
 * Move the names below that of an attribute up, over it. False if the names have gaps, or another
 * one overlaps it.
 */
function closeGap({ view, bytes }: Buf, index: number): boolean {
  const { at, count } = attrLeafSpan(view)
  const end = at + count * AttrLeafEntry.size
  const firstused = attrFirstUsed(view)
  const entry = at + index * AttrLeafEntry.size
  const gone = nameidxField.get(view, entry)
  const size = nameSize(view, entry, firstused)
  let usedbytes = size
  for (let other = at; other < end; other += AttrLeafEntry.size) {
    if (other === entry) continue
    const nameidx = nameidxField.get(view, other)
    const length = nameSize(view, other, firstused)
    if (length < 0 || (nameidx < gone + size && nameidx + length > gone)) return false
    usedbytes += length
  }
  if (size < 0 || usedbytes !== view.byteLength - firstused) return false
  bytes.copyWithin(firstused + size, firstused, gone)
  bytes.fill(0, firstused, firstused + size)
  for (let other = at; other < end; other += AttrLeafEntry.size) {
    const nameidx = nameidxField.get(view, other)
    if (nameidx < gone) nameidxField.set(view, other, nameidx + size)
  }
  bytes.copyWithin(entry, entry + AttrLeafEntry.size, end)
  const gap = end - AttrLeafEntry.size
  bytes.fill(0, gap, end)
  countField.set(view, 0, count - 1)
  usedField.set(view, 0, usedbytes - size)
  firstusedField.set(view, 0, (firstused + size) % 65536)
  holesField.set(view, 0, 0)
  bytes.fill(0, freeMapAt(0), freeMapAt(ATTR_LEAF_MAPSIZE))
  baseField.set(view, freeMapAt(0), gap)
  sizeField.set(view, freeMapAt(0), firstused + size - gap)
  return true
}

/** Bytes of the name structure of the entry at `at`; negative if it does not fit. */
const nameSize = (view: DataView, at: number, start: number): number =>
  attrNameSize(view, nameidxField.get(view, at), attrEntryFlags(view, at), start)
