import { freeDaBlock, readDaBlock } from '../da/dablock.ts'
import { isDaNode } from '../da/datree.ts'
import { shortToBlock } from '../dir/block.ts'
import { XfsError } from '../errors.ts'
import {
  ATTR_MAX_VALUE,
  ATTR_NAMESPACES,
  AttrFlags,
  AttrSfHdr,
  attrIsLocal,
  attrLeafItems,
  attrSfEntrySize,
  type NewAttr,
} from '../format/attr.ts'
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
 * Extended attributes: what other rooms use. The room owns the attribute fork, and the meaning of
 * the attributes that XFS itself reads (acl.ts, parent.ts). Reading is in read.ts, changing in a
 * file for each format (shortform.ts, leaf.ts, remote.ts); here a change goes to the format that
 * the fork has.
 *
 *              no room in the inode, or a name or value of 255 bytes and more       full
 *   shortform ───────────────────────────────────────────────────────────▶ leaf ────────▶ node (leaves below a hash btree)
 *             ◀───────────────────────────────────────────────────────────      ◀────────
 *             all of it fits into the inode again                                one leaf is left
 *
 * A value that would take more than three quarters of a leaf is kept outside of it (remote).
 * Invariants: namespace and name are unique (of a parent pointer with its value); leaf entries are
 * in order of their hash; a fork without attributes is given back. Times, and whether a program may
 * change an attribute, are the caller's.
 */
export { type AttrKey, attributes, findAttr } from './read.ts'

/** Whether the attribute must be new, or must be there already. */
export type SetMode = 'any' | 'create' | 'replace'

/** The value of an attribute; undefined where there is none of that name. */
export const getAttr = (inode: Inode, key: AttrKey): Uint8Array | undefined => findAttr(inode, key)?.read()

const shown = ({ name }: AttrKey): string => `attribute "${printable(name)}"`

function checkKey({ space, name }: AttrKey): void {
  if (name.length === 0 || name.includes(0)) throw new XfsError('INVAL', 'not a name for an attribute')
  if (name.length > MAX_NAME_LENGTH)
    throw new XfsError('RANGE', `an attribute's name of ${name.length} bytes; at most ${MAX_NAME_LENGTH} fit`)
  if ((space & ~ATTR_NAMESPACES) !== 0 || (space & (space - 1)) !== 0)
    throw new XfsError('INVAL', `no such namespace: ${space}`)
}

/** Can it be an attribute of a file? @throws XfsError INVAL, RANGE (name or value too long) */
export function checkAttr(key: AttrKey, value: Uint8Array): void {
  checkKey(key)
  if (value.length > ATTR_MAX_VALUE)
    throw new XfsError('RANGE', `a value of ${value.length} bytes; at most ${ATTR_MAX_VALUE} fit`)
}

/**
 * Set an attribute.
 * @throws XfsError EXIST, NODATA (see `mode`), RANGE (name or value too long), NOSPC, CORRUPT
 */
export function setAttr(tx: Transaction, inode: Inode, key: AttrKey, value: Uint8Array, mode: SetMode = 'any'): void {
  checkAttr(key, value)
  addFork(tx, inode, AttrSfHdr.size + attrSfEntrySize(key.name.length, value.length))
  if (attrForm(inode) === 'leaf') setLong(tx, inode, key, value, mode)
  // What there was is gone with the short form, and `mode` has been looked at.
  else if (!setShort(tx, inode, key, value, mode)) setLong(tx, inode, key, value, 'any')
  if (inode.isSymlink) linkToLocal(tx, inode)
}

function checkMode(inode: Inode, key: AttrKey, mode: SetMode, exists: boolean): void {
  if (exists && mode === 'create')
    throw new XfsError('EXIST', `inode ${inode.ino}: ${shown(key)} exists already`, { ino: inode.ino })
  if (!exists && mode === 'replace') throw noSuch(inode, key)
}

const noSuch = (inode: Inode, key: AttrKey): XfsError =>
  new XfsError('NODATA', `inode ${inode.ino}: no ${shown(key)}`, { ino: inode.ino })

/**
 * Give the inode an attribute fork, with room for `bytes` if that can be. What is in the inode
 * and gets too little room moves out.
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

/** Set it in the inode; false where there is no room: then the list is in a leaf. */
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
 * Remove an attribute. @throws XfsError NODATA, CORRUPT; NOSPC where the block map has no room for
 * a hole
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

/** What is left, in the inode; without any the fork goes too, where nothing keeps it. */
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
  leafToShort(tx, inode)
}

/** With one block left whose attributes fit into the inode, they move there. */
function leafToShort(tx: Transaction, inode: Inode): void {
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

/** A change of a file's content takes its capabilities away, as the kernel does it. */
export function dropCapabilities(tx: Transaction, inode: Inode): void {
  const key: AttrKey = { space: AttrFlags.secure, name: CAPABILITY }
  if (findAttr(inode, key, tx)) removeAttr(tx, inode, key)
}
