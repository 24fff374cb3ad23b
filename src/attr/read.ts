import { daError, localError } from '../da/dablock.ts'
import { type DaTree, daMagicOf, findPath, firstPath, leavesFrom } from '../da/datree.ts'
import { hashAt, lastHashOf, lowerBound } from '../da/hashes.ts'
import { ATTR_MAX_VALUE, ATTR_NAMESPACES, ATTR3_LEAF_MAGIC, AttrFlags, attrEntryHash } from '../format/attr.ts'
import {
  type AttrLeafItem,
  type AttrSfEntry,
  attrLeafItem,
  attrLeafSpan,
  attrSfEntries,
} from '../format/attrentries.ts'
import { FORK_FORMATS } from '../format/dinode.ts'
import { dirHash } from '../format/dir.ts'
import { extentCount, forkFormat, forkSize, forkStart, hasAttrFork, type Inode } from '../inode/inode.ts'
import { sameBytes } from '../util/samebytes.ts'
import type { BlockReader } from '../volume.ts'
import { readRemoteValue } from './remote.ts'
import { v4Attributes } from './v4.ts'

/**
 * Reading extended attributes of every format. An attribute is identified by its namespace and
 * name; a parent pointer (an attribute in a separate namespace) by name and value, because many
 * directories can have an entry with the same name.
 */
interface Attribute {
  /**
   * Its namespace: 0 (user), AttrFlags.root (trusted, and ACLs), AttrFlags.secure or
   * AttrFlags.parent.
   */
  readonly space: number
  readonly name: Uint8Array
  /** Bytes of the value. */
  readonly size: number
  /** The value. @throws XfsError CORRUPT */
  read(): Uint8Array
}

/** The key of an attribute; `value` for parent pointers only. */
export interface AttrKey {
  readonly space: number
  readonly name: Uint8Array
  readonly value?: Uint8Array
  /** Also an incomplete one, which a change that was interrupted has left. */
  readonly incomplete?: boolean
}

type AttrForm = 'none' | 'shortform' | 'leaf'

/** The format of the attributes; `leaf` stands for leaf and node format. */
export function attrForm(inode: Inode): AttrForm {
  if (!hasAttrFork(inode)) return 'none'
  const format = forkFormat(inode, 'attr')
  if (format === FORK_FORMATS.local) return 'shortform'
  return format === FORK_FORMATS.extents && extentCount(inode, 'attr') === 0 ? 'none' : 'leaf'
}

export const attrTree = (inode: Inode): DaTree => ({ inode, fork: 'attr', root: 0, end: 2 ** 32 })

/** The hash of an attribute. */
export const hashOf = (inode: Inode, key: AttrKey): number =>
  attrEntryHash(key.space, key.name, key.value, dirHash(inode.volume.features))

/**
 * The attributes, except incomplete ones. They must not change meanwhile.
 * @throws XfsError CORRUPT
 */
export function* attributes(inode: Inode, reader: BlockReader = inode.volume): Generator<Attribute> {
  const form = attrForm(inode)
  if (form === 'shortform') for (const entry of shortform(inode)) yield fromEntry(entry)
  else if (form === 'leaf' && inode.volume.features.version !== 5) yield* v4Attributes(inode, reader)
  else if (form === 'leaf') yield* long(inode, reader)
}

function* shortform(inode: Inode): Generator<AttrSfEntry> {
  try {
    yield* attrSfEntries(inode.view, forkStart(inode, 'attr'), forkSize(inode, 'attr'))
  } catch (error) {
    throw localError(inode, error)
  }
}

function fromEntry({ flags, name, value }: AttrSfEntry): Attribute {
  const kept = value.slice()
  return { space: flags & ATTR_NAMESPACES, name: name.slice(), size: kept.length, read: () => kept }
}

function* long(inode: Inode, reader: BlockReader): Generator<Attribute> {
  const tree = attrTree(inode)
  for (const { dablk, buf } of leavesFrom(tree, firstPath(tree, reader), reader)) {
    const count = attrCount(inode, dablk, buf.view)
    for (let i = 0; i < count; i++) {
      const item = attrLeafItem(buf.view, i)
      if ((item.flags & AttrFlags.incomplete) === 0) yield fromItem(inode, item, reader)
    }
  }
}

function fromItem(inode: Inode, item: AttrLeafItem, reader: BlockReader): Attribute {
  const space = item.flags & ATTR_NAMESPACES
  const name = item.name.slice()
  if (item.local) {
    const kept = item.value.slice()
    return { space, name, size: kept.length, read: () => kept }
  }
  const { valueblk, valuelen } = item
  return {
    space,
    name,
    size: Math.min(valuelen, ATTR_MAX_VALUE),
    read: () => readRemoteValue(inode, valueblk, valuelen, reader),
  }
}

/** The number of entries of a leaf. @throws XfsError CORRUPT if it is not a leaf */
function attrCount(inode: Inode, dablk: number, view: DataView): number {
  if (daMagicOf(view) !== ATTR3_LEAF_MAGIC) throw daError(inode, 'attr', dablk, 'not an attribute leaf')
  return attrLeafSpan(view).count
}

/** True if it is the attribute with this key. */
export function matches(
  item: { readonly flags: number; readonly name: Uint8Array; readonly value?: Uint8Array },
  key: AttrKey,
): boolean {
  if (
    (item.flags & ATTR_NAMESPACES) !== key.space ||
    ((item.flags & AttrFlags.incomplete) !== 0 && key.incomplete !== true) ||
    !sameBytes(item.name, key.name)
  )
    return false
  return key.value === undefined || (item.value !== undefined && sameBytes(item.value, key.value))
}

/** The attribute with this key, or undefined. @throws XfsError CORRUPT */
export function findAttr(inode: Inode, key: AttrKey, reader: BlockReader = inode.volume): Attribute | undefined {
  const form = attrForm(inode)
  if (form === 'none') return undefined
  if (form === 'shortform') {
    for (const entry of shortform(inode)) {
      if (matches({ ...entry, flags: entry.flags & ATTR_NAMESPACES }, key)) return fromEntry(entry)
    }
    return undefined
  }
  if (inode.volume.features.version !== 5) {
    for (const attr of attributes(inode, reader)) {
      if (matches({ flags: attr.space, name: attr.name, ...(key.value ? { value: attr.read() } : {}) }, key))
        return attr
    }
    return undefined
  }
  const hash = hashOf(inode, key)
  const tree = attrTree(inode)
  for (const { dablk, buf } of leavesFrom(tree, findPath(tree, hash, reader), reader)) {
    const index = findInLeaf(inode, dablk, buf.view, hash, key)
    if (index >= 0) return fromItem(inode, attrLeafItem(buf.view, index), reader)
    if (lastHash(buf.view) > hash) return undefined
  }
  return undefined
}

/** Index of the attribute in a leaf; −1 for none. */
export function findInLeaf(inode: Inode, dablk: number, view: DataView, hash: number, key: AttrKey): number {
  const count = attrCount(inode, dablk, view)
  const span = attrLeafSpan(view)
  for (let i = lowerBound(view, span, hash); i < count && hashAt(view, span.at, i) === hash; i++) {
    if (matches(attrLeafItem(view, i), key)) return i
  }
  return -1
}

/** The maximum hash of a leaf. */
export const lastHash = (view: DataView): number => lastHashOf(view, attrLeafSpan(view))
