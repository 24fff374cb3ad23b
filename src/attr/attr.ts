import { freeDaBlock, readDaBlock } from '../da/dablock.ts'
import { isDaNode } from '../da/datree.ts'
import { shortToBlock } from '../dir/block.ts'
import { XfsError } from '../errors.ts'
import { ATTR_MAX_VALUE, ATTR_NAMESPACES, AttrFlags, AttrSfHdr, attrIsLocal, attrSfEntrySize } from '../format/attr.ts'
import { attrLeafItems, type NewAttr } from '../format/attrentries.ts'
import { FORK_FORMATS, FORKOFF_UNIT } from '../format/dinode.ts'
import { MAX_NAME_LENGTH } from '../format/dir.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { forkFormat, hasAttrFork, type Inode } from '../inode/inode.ts'
import { extents } from '../mapping/extents.ts'
import { defaultForkoff, forkoffFor, setForkoff } from '../mapping/fork.ts'
import { linkToLocal, linkToRemote } from '../symlink.ts'
import type { Transaction } from '../tx/transaction.ts'
import { printable } from '../util/printable.ts'
import { changeTree, createLeaf, dropItem, findPlace, itemAt, putItem } from './leaf.ts'
import { type AttrKey, attrForm, findAttr, hashOf, matches } from './read.ts'
import { freeRemoteValue, writeRemoteValue } from './remote.ts'
import { emptyAttrFork, forkoffForAttrs, readShortAttrs, type ShortAttr, writeShortAttrs } from './shortform.ts'

/**
 * Extended attributes: the interface for other rooms. This room handles the attribute fork, and the
 * meaning of the attributes that XFS itself uses (acl.ts, parent.ts). Reading is in read.ts,
 * changing in a file for each format (shortform.ts, leaf.ts, remote.ts). This file calls the code
 * of the fork's format.
 *
 *              no space in the inode, or a
 *              name or value of 255 bytes or more         full
 *   shortform ────────────────────────────────────▶ leaf ──────▶ node (a hash btree above leaves)
 *             ◀────────────────────────────────────      ◀──────
 *              everything fits into the inode             one leaf remains
 *
 * A value that would take more than three quarters of a leaf is remote. Invariants: namespace and
 * name are unique (for a parent pointer together with its value); leaf entries are in order of
 * their hash; a fork without attributes is removed. The caller updates timestamps, and checks
 * whether a program may change an attribute.
 */
export { type AttrKey, attributes, findAttr } from './read.ts'

/** Whether the attribute must be new, or must exist already. */
export type SetMode = 'any' | 'create' | 'replace'

/** The value of an attribute; undefined if it does not exist. */
export const getAttr = (inode: Inode, key: AttrKey): Uint8Array | undefined => findAttr(inode, key)?.read()

const shown = ({ name }: AttrKey): string => `attribute "${printable(name)}"`

function checkKey({ space, name }: AttrKey): void {
  if (name.length === 0 || name.includes(0)) throw new XfsError('INVAL', 'invalid attribute name')
  if (name.length > MAX_NAME_LENGTH)
    throw new XfsError('RANGE', `attribute name of ${name.length} bytes exceeds maximum ${MAX_NAME_LENGTH}`)
  if ((space & ~ATTR_NAMESPACES) !== 0 || (space & (space - 1)) !== 0)
    throw new XfsError('INVAL', `no such namespace: ${space}`)
}

/** Check that it can be an attribute. @throws XfsError INVAL, RANGE (name or value too long) */
export function checkAttr(key: AttrKey, value: Uint8Array): void {
  checkKey(key)
  if (value.length > ATTR_MAX_VALUE)
    throw new XfsError('RANGE', `attribute value of ${value.length} bytes exceeds maximum ${ATTR_MAX_VALUE}`)
}

/**
 * Set an attribute.
 * @throws XfsError EXIST, NODATA (see `mode`), RANGE (name or value too long), NOSPC, CORRUPT
 */
export function setAttr(tx: Transaction, inode: Inode, key: AttrKey, value: Uint8Array, mode: SetMode = 'any'): void {
  checkAttr(key, value)
  addFork(tx, inode, AttrSfHdr.size + attrSfEntrySize(key.name.length, value.length))
  if (attrForm(inode) === 'leaf') setLong(tx, inode, key, value, mode)
  // `setShort` has removed the old attribute and checked `mode`.
  else if (!setShort(tx, inode, key, value, mode)) setLong(tx, inode, key, value, 'any')
  if (inode.isSymlink) linkToLocal(tx, inode)
}

function checkMode(inode: Inode, key: AttrKey, mode: SetMode, exists: boolean): void {
  if (exists && mode === 'create')
    throw new XfsError('EXIST', `inode ${inode.ino}: ${shown(key)} already exists`, { ino: inode.ino })
  if (!exists && mode === 'replace') throw noSuch(inode, key)
}

const noSuch = (inode: Inode, key: AttrKey): XfsError =>
  new XfsError('NODATA', `inode ${inode.ino}: no ${shown(key)}`, { ino: inode.ino })

/**
 * Add an attribute fork to the inode, with space for `bytes` if possible. Contents of the inode
 * that no longer fit are moved out.
 */
function addFork(tx: Transaction, inode: Inode, bytes: number): void {
  if (hasAttrFork(inode)) return
  const forkoff = forkoffFor(inode, bytes) || defaultForkoff(inode)
  if (forkFormat(inode, 'data') === FORK_FORMATS.local && inode.roundedSize > forkoff * FORKOFF_UNIT) {
    if (inode.isDirectory) shortToBlock(tx, inode)
    else linkToRemote(tx, inode)
  }
  setForkoff(tx, inode, forkoff)
}

/** Set it in the inode; false if there is not enough space: then the list is in a leaf. */
function setShort(tx: Transaction, inode: Inode, key: AttrKey, value: Uint8Array, mode: SetMode): boolean {
  const list = readShortAttrs(inode)
  const old = list.findIndex((attr) => matches({ flags: attr.space, name: attr.name, value: attr.value }, key))
  checkMode(inode, key, mode, old >= 0)
  if (old >= 0) list.splice(old, 1)
  const added: ShortAttr = { space: key.space, name: key.name, value }
  const forkoff = forkoffForAttrs(inode, [...list, added])
  if (forkoff !== 0) {
    writeShortAttrs(tx, inode, [...list, added], forkoff)
    return true
  }
  emptyAttrFork(tx, inode)
  createLeaf(
    tx,
    inode,
    list.map((attr) => localItem(inode, attr)),
  )
  return false
}

const localItem = (inode: Inode, { space, name, value }: ShortAttr): NewAttr => ({
  hashval: hashOf(inode, { space, name, value }),
  flags: space,
  name,
  value,
})

function setLong(tx: Transaction, inode: Inode, key: AttrKey, value: Uint8Array, mode: SetMode): void {
  const tree = changeTree(tx, inode)
  const hash = hashOf(inode, { ...key, value })
  const old = findPlace(tree, hash, key)
  checkMode(inode, key, mode, old !== undefined)
  const replaced = old && itemAt(old)
  const local =
    (key.space & AttrFlags.parent) !== 0 || attrIsLocal(key.name.length, value.length, inode.volume.geometry.blocksize)
  const item: NewAttr = local
    ? { hashval: hash, flags: key.space, name: key.name, value }
    : {
        hashval: hash,
        flags: key.space,
        name: key.name,
        valueblk: writeRemoteValue(tx, inode, value),
        valuelen: value.length,
      }
  const { valueblk = 0, valuelen = 0 } = replaced ?? {}
  putItem(tree, item, old)
  if (replaced && !replaced.value && valueblk !== 0) freeRemoteValue(tx, inode, valueblk, valuelen)
}

/**
 * Remove an attribute. @throws XfsError NODATA, CORRUPT; NOSPC if the block map has no space for a
 * hole
 */
export function removeAttr(tx: Transaction, inode: Inode, key: AttrKey): void {
  checkKey(key)
  const form = attrForm(inode)
  if (form === 'shortform') removeShort(tx, inode, key)
  else if (form === 'leaf') removeLong(tx, inode, key)
  else throw noSuch(inode, key)
  if (inode.isSymlink) linkToLocal(tx, inode)
}

function removeShort(tx: Transaction, inode: Inode, key: AttrKey): void {
  const list = readShortAttrs(inode)
  const index = list.findIndex((attr) => matches({ flags: attr.space, name: attr.name, value: attr.value }, key))
  if (index < 0) throw noSuch(inode, key)
  list.splice(index, 1)
  writeRest(tx, inode, list)
}

/**
 * Write the remaining list into the inode. Remove the fork if the list is empty and nothing else
 * requires it.
 */
function writeRest(tx: Transaction, inode: Inode, list: readonly ShortAttr[]): void {
  const kept =
    list.length > 0 || forkFormat(inode, 'data') === FORK_FORMATS.btree || inode.volume.features.has('parent')
  if (kept) writeShortAttrs(tx, inode, list, inode.forkoff)
  else {
    emptyAttrFork(tx, inode)
    setForkoff(tx, inode, 0)
  }
}

function removeLong(tx: Transaction, inode: Inode, key: AttrKey): void {
  const tree = changeTree(tx, inode)
  const place = findPlace(tree, hashOf(inode, key), key)
  if (!place) throw noSuch(inode, key)
  const gone = itemAt(place)
  const { value, valueblk = 0, valuelen = 0 } = gone
  const remote = value === undefined && valueblk !== 0
  dropItem(tree, place)
  if (remote) freeRemoteValue(tx, inode, valueblk, valuelen)
  shrinkAttrs(tx, inode)
}

/** Convert to shortform if there is one block whose attributes fit into the inode. */
export function shrinkAttrs(tx: Transaction, inode: Inode): void {
  const [only, more] = extents(inode, 'attr', 0, tx)
  if (!only || more || only.startoff !== 0 || only.blockcount !== 1) return
  const buf = readDaBlock(inode, 'attr', 0, blockTypes.da, tx)
  if (isDaNode(buf.view)) return
  const list: ShortAttr[] = []
  let size = AttrSfHdr.size
  for (const item of attrLeafItems(buf.view)) {
    if (!item.local || (item.flags & AttrFlags.incomplete) !== 0) return
    const { flags, name, value } = item
    size += attrSfEntrySize(name.length, value.length)
    if (size > inode.volume.geometry.inodesize) return
    list.push({ space: flags & ATTR_NAMESPACES, name: name.slice(), value: value.slice() })
  }
  const forkoff = forkoffForAttrs(inode, list)
  if (forkoff === 0) return
  freeDaBlock(tx, inode, 'attr', 0, buf)
  if (list.length === 0) writeRest(tx, inode, list)
  else writeShortAttrs(tx, inode, list, forkoff)
}

/** The name of file capabilities, in the namespace "security". */
const CAPABILITY = new TextEncoder().encode('capability')

/** A change of a file's content removes its capabilities, as in the kernel. */
export function dropCapabilities(tx: Transaction, inode: Inode): void {
  const key: AttrKey = { space: AttrFlags.secure, name: CAPABILITY }
  if (findAttr(inode, key, tx)) removeAttr(tx, inode, key)
}
