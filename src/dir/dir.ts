import { readDaBlock } from '../da/dablock.ts'
import { daMagicOf } from '../da/datree.ts'
import { XfsError } from '../errors.ts'
import { DIR3_LEAF1_MAGIC, MAX_NAME_LENGTH } from '../format/dir.ts'
import { dataFtype, isBlockForm } from '../format/dirblocks.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import type { Inode } from '../inode/inode.ts'
import type { Transaction } from '../tx/transaction.ts'
import { printable } from '../util/printable.ts'
import type { BlockReader } from '../volume.ts'
import { blockAdd, blockRemove, blockToShort, editBlock, shortToBlock } from './block.ts'
import { entryIno, setEntryTarget } from './datablock.ts'
import { blockToLeaf, editLeaf, leafAdd, leafRemove } from './leaf.ts'
import { leafToNode, nodeAdd, nodeRemove } from './node.ts'
import {
  DOTDOT,
  dataBlockAt,
  type Entry,
  entries,
  findEntry,
  isDots,
  isShortform,
  leafStart,
  lookup,
  requireDirectory,
} from './read.ts'
import { indexOf, readShort, shortFits, withEntry, writeShort } from './shortform.ts'

/**
 * Directories: the interface for other rooms. This room handles the data fork of directories: their
 * entries, hash index and free index. Reading is in read.ts, changing in a file for each format
 * (shortform.ts, block.ts, leaf.ts, node.ts). This file calls the code of the current format, and
 * converts between formats.
 *
 *            add: no space            add                       add
 *   shortform ──────────────▶ block ──────▶ leaf ─────────────────▶ node
 *             ◀────────────── ◀────────────  ◀─────────────────────
 *             remove: fits again, block by block
 *
 * Invariants: an entry has a leaf entry with the hash of its name and its address; leaf entries are
 * in order of their hash; the free index has each data block's longest free space. Link counts,
 * times and parent pointers are handled by the caller (namespace).
 */
export { entries, lookup, parentOf } from './read.ts'

/** @throws XfsError INVAL, NAMETOOLONG if the name is not valid for an entry */
export function checkName(name: Uint8Array): void {
  if (name.length === 0) throw new XfsError('INVAL', 'empty name')
  if (name.length > MAX_NAME_LENGTH)
    throw new XfsError('NAMETOOLONG', `name of ${name.length} bytes exceeds maximum ${MAX_NAME_LENGTH}`)
  if (isDots(name) || name.includes(0x2f) || name.includes(0))
    throw new XfsError('INVAL', `invalid name "${printable(name)}"`)
}

/** Options for a removal. */
export interface RemoveOptions {
  /** Do not free blocks, which can need space for the block map: they stay, empty. */
  readonly keepBlocks: boolean
}

/** True if it has no entries except "." and "..". */
export function isEmpty(dir: Inode, reader: BlockReader = dir.volume): boolean {
  for (const _ of entries(dir, reader)) return false
  return true
}

/**
 * Check that the name is valid and that the directory does not contain it.
 * @throws XfsError EXIST, INVAL, NAMETOOLONG, NOTDIR, CORRUPT
 */
export function requireFree(dir: Inode, name: Uint8Array, reader: BlockReader): void {
  checkName(name)
  if (lookup(dir, name, reader))
    throw new XfsError('EXIST', `"${printable(name)}" already exists in directory ${dir.ino}`, { ino: dir.ino })
}

/**
 * Add an entry whose name was checked and does not exist yet. @throws XfsError NOSPC, CORRUPT
 */
export function insertEntry(tx: Transaction, dir: Inode, name: Uint8Array, ino: number, ftype: number): void {
  if (isShortform(dir)) {
    const content = withEntry(dir, readShort(dir), name, ino, ftype)
    if (content) {
      writeShort(tx, dir, content)
      return
    }
    shortToBlock(tx, dir)
  }
  if (isBlock(tx, dir)) {
    const block = editBlock(tx, dir)
    if (blockAdd(dir, block.view, name, ino, ftype)) return
    blockToLeaf(tx, dir, block)
  }
  if (isLeaf(tx, dir)) {
    const leaf = editLeaf(tx, dir)
    if (leafAdd(tx, dir, leaf, name, ino, ftype)) return
    leafToNode(tx, dir, leaf)
  }
  nodeAdd(tx, dir, name, ino, ftype)
}

/** True if the directory is in block format. (It is not in shortform.) */
function isBlock(tx: Transaction, dir: Inode): boolean {
  if (dir.roundedSize > dir.volume.geometry.dirblocksize) return false
  return isBlockForm(readDaBlock(dir, 'data', 0, blockTypes.dir3, tx).view)
}

/** True if the directory is in leaf format. (It has leaves.) */
const isLeaf = (tx: Transaction, dir: Inode): boolean =>
  daMagicOf(readDaBlock(dir, 'data', leafStart(dir), blockTypes.da, tx).view) === DIR3_LEAF1_MAGIC

const noSuch = (dir: Inode, name: Uint8Array): XfsError =>
  new XfsError('NOENT', `no "${printable(name)}" in directory ${dir.ino}`, { ino: dir.ino })

/**
 * Remove an entry; returns the removed entry. @throws XfsError NOENT, NOSPC (not with
 * `keepBlocks`), CORRUPT
 */
export function removeEntry(
  tx: Transaction,
  dir: Inode,
  name: Uint8Array,
  options: RemoveOptions = { keepBlocks: false },
): Entry {
  requireDirectory(dir)
  checkName(name)
  const { keepBlocks } = options
  if (isShortform(dir)) {
    const content = readShort(dir)
    const index = indexOf(dir, content, name)
    const [gone] = index < 0 ? [] : content.entries.splice(index, 1)
    if (!gone) throw noSuch(dir, name)
    writeShort(tx, dir, content)
    return gone
  }
  const place = findEntry(dir, name, tx)
  if (!place) throw noSuch(dir, name)
  const gone = { ino: entryIno(place.view, place.at), ftype: dataFtype(place.view, place.at), name }
  if (isBlock(tx, dir)) {
    const block = editBlock(tx, dir)
    blockRemove(dir, block.view, place.at)
    if (!keepBlocks) blockToShort(tx, dir, block)
  } else if (isLeaf(tx, dir)) leafRemove(tx, dir, editLeaf(tx, dir), name, place.db, place.at, keepBlocks)
  else nodeRemove(tx, dir, name, place.db, place.at, keepBlocks)
  return gone
}

/**
 * Make an entry (also "..") point to another inode; returns the old entry. @throws XfsError NOENT,
 * NOSPC, CORRUPT
 */
export function replaceEntry(tx: Transaction, dir: Inode, name: Uint8Array, ino: number, ftype: number): Entry {
  requireDirectory(dir)
  const upwards = isDots(name) && name.length === 2
  if (!upwards) checkName(name)
  if (isShortform(dir)) {
    const content = readShort(dir)
    const index = upwards ? 0 : indexOf(dir, content, name)
    const old = upwards ? { ino: content.parent, ftype: 2, name: DOTDOT } : content.entries[index]
    if (!old) throw noSuch(dir, name)
    const changed = upwards
      ? { parent: ino, entries: content.entries }
      : {
          parent: content.parent,
          entries: content.entries.with(index, { ...(old as Entry & { offset: number }), ino, ftype }),
        }
    if (shortFits(dir, changed)) {
      writeShort(tx, dir, changed)
      return old
    }
    shortToBlock(tx, dir) // one inode number of 8 bytes makes all entries longer
  }
  const place = findEntry(dir, name, tx)
  if (!place) throw noSuch(dir, name)
  const old = { ino: entryIno(place.view, place.at), ftype: dataFtype(place.view, place.at), name }
  const view = tx.edit(readDaBlock(dir, 'data', dataBlockAt(dir, place.db), blockTypes.dir3, tx))
  setEntryTarget(view, place.at, ino, ftype)
  // In block format smaller inode numbers may make it fit into the inode again.
  if (isBlockForm(view)) blockToShort(tx, dir, editBlock(tx, dir))
  return old
}
