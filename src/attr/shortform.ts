import { localError } from '../da/dablock.ts'
import { AttrFlags, AttrSfEntryHead, AttrSfHdr, attrSfEntrySize, parseParentRec } from '../format/attr.ts'
import { attrSfEntries, buildAttrSf } from '../format/attrentries.ts'
import { FORK_FORMATS } from '../format/dinode.ts'
import {
  editInode,
  forkBytes,
  forkFormat,
  forkSize,
  forkStart,
  type Inode,
  inodeError,
  setForkFormat,
} from '../inode/inode.ts'
import { defaultForkoff, forkoffFor, setForkoff } from '../mapping/fork.ts'
import type { Transaction } from '../tx/transaction.ts'

/**
 * Attributes in shortform, inside the inode: a packed list of (name, value). Each change rewrites
 * the list.
 *
 * The start of the attribute fork moves to the left if the list needs space that the data fork does
 * not use. It never moves back.
 */
export interface ShortAttr {
  readonly space: number
  readonly name: Uint8Array
  readonly value: Uint8Array
}

/** Names and values of this length must be in a leaf. */
const TOO_LONG = 255
const MAX_ENTRIES = 255

/** A copy of the list. @throws XfsError CORRUPT */
export function readShortAttrs(inode: Inode): ShortAttr[] {
  if (forkFormat(inode, 'attr') !== FORK_FORMATS.local) return []
  try {
    return Array.from(
      attrSfEntries(inode.view, forkStart(inode, 'attr'), forkSize(inode, 'attr')),
      ({ at, flags, name, value }) => {
        if (AttrSfEntryHead.nonzero(inode.view, at) || (flags & (flags - 1)) !== 0) {
          throw inodeError(inode.ino, `shortform attributes: flags 0x${flags.toString(16)}`, 'list')
        }
        if ((flags & AttrFlags.parent) !== 0) parseParentRec(value)
        return { space: flags, name: name.slice(), value: value.slice() }
      },
    )
  } catch (error) {
    throw localError(inode, error)
  }
}

/** The bytes of the list in an inode; undefined if it does not fit into any. */
export const shortAttrsSize = (attrs: readonly ShortAttr[]): number | undefined =>
  attrs.length > MAX_ENTRIES || attrs.some(({ name, value }) => name.length >= TOO_LONG || value.length >= TOO_LONG)
    ? undefined
    : attrs.reduce((sum, { name, value }) => sum + attrSfEntrySize(name.length, value.length), AttrSfHdr.size)

/** The list in the format of an inode. */
export const shortAttrsBytes = (attrs: readonly ShortAttr[]): Uint8Array =>
  buildAttrSf(attrs.map(({ space, name, value }) => ({ flags: space, name, value })))

/** The required start of the attribute fork for this list; 0: it does not fit into the inode. */
export function forkoffForAttrs(inode: Inode, attrs: readonly ShortAttr[]): number {
  const size = shortAttrsSize(attrs)
  return size === undefined ? 0 : forkoffFor(inode, size)
}

/**
 * Write the list into the inode; `forkoff` is the result of `forkoffForAttrs`. The fork is in
 * shortform, or empty.
 */
export function writeShortAttrs(tx: Transaction, inode: Inode, attrs: readonly ShortAttr[], forkoff: number): void {
  setForkoff(tx, inode, forkoff)
  const bytes = shortAttrsBytes(attrs)
  editInode(tx, inode)
  setForkFormat(tx, inode, 'attr', FORK_FORMATS.local)
  const fork = forkBytes(inode, 'attr')
  fork.fill(0)
  fork.set(bytes)
}

/**
 * Make the fork empty, and give the default part of the space to the data fork.
 */
export function emptyAttrFork(tx: Transaction, inode: Inode): void {
  editInode(tx, inode)
  forkBytes(inode, 'attr').fill(0)
  setForkFormat(tx, inode, 'attr', FORK_FORMATS.extents)
  const format = forkFormat(inode, 'data')
  if (format === FORK_FORMATS.dev || format === FORK_FORMATS.btree) return
  setForkoff(tx, inode, Math.max(inode.forkoff, defaultForkoff(inode)))
}
