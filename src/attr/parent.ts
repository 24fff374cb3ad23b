import { XfsError } from '../errors.ts'
import { AttrFlags, buildParentRec, parseParentRec } from '../format/attr.ts'
import { type Inode, inodeError, touchInode } from '../inode/inode.ts'
import type { Transaction } from '../tx/transaction.ts'
import { printable } from '../util/printable.ts'
import type { BlockReader } from '../volume.ts'
import { attributes, removeAttr, setAttr } from './attr.ts'

/**
 * Parent pointers: for each directory entry of an inode, the inode has an attribute in a separate
 * namespace. Its name is that of the entry, its value identifies the directory. The root directory
 * has none. namespace.ts updates them if the filesystem has the feature.
 */
export interface ParentPointer {
  /** The directory. */
  readonly ino: number
  /** Its generation. */
  readonly gen: number
  /** The name of the entry. */
  readonly name: Uint8Array
}

/** The parent pointers of an inode. @throws XfsError CORRUPT */
export function* parentPointers(inode: Inode, reader: BlockReader = inode.volume): Generator<ParentPointer> {
  for (const attr of attributes(inode, reader)) {
    if (attr.space !== AttrFlags.parent) continue
    const { inumber, gen } = parseParentRec(attr.read())
    yield { ino: inumber, gen, name: attr.name }
  }
}

/**
 * Add the parent pointer of a new directory entry for `child`, if the filesystem has the feature.
 * @throws XfsError NOSPC
 */
export function addParent(tx: Transaction, child: Inode, dir: Inode, name: Uint8Array): void {
  if (!tx.volume.features.has('parent')) return
  const value = valueFor(dir)
  setAttr(tx, child, { space: AttrFlags.parent, name, value }, value, 'create')
  touchInode(tx, child, { ctime: true })
}

/** Remove the parent pointer of a removed entry. @throws XfsError CORRUPT if there is none */
export function removeParent(tx: Transaction, child: Inode, dir: Inode, name: Uint8Array): void {
  if (!tx.volume.features.has('parent')) return
  try {
    removeAttr(tx, child, { space: AttrFlags.parent, name, value: valueFor(dir) })
  } catch (error) {
    if (!(error instanceof XfsError) || error.code !== 'NODATA') throw error
    throw inodeError(child.ino, `no parent pointer for "${printable(name)}" in directory ${dir.ino}`)
  }
}

const valueFor = (dir: Inode): Uint8Array => buildParentRec({ inumber: dir.ino, gen: dir.generation })
