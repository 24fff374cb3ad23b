import { addParent } from '../attr/parent.ts'
import { XfsError } from '../errors.ts'
import { DIFLAGS, isSpecial } from '../format/dinode.ts'
import { type Inode, requireChangeable, touchInode, updateInode } from '../inode/inode.ts'
import type { Transaction } from '../tx/transaction.ts'

/**
 * Changes of names: which directories and files permit them, and the updates of link counts, times
 * and parent pointers.
 */

/** Maximum number of links of a file. */
const MAX_LINK_COUNT = 2 ** 31 - 1

export const hasFlag = (inode: Inode, flags: number): boolean => (inode.flags & flags) !== 0

/** Check that entries may be added. @throws XfsError NOTDIR, PERM */
export function requireWritable(dir: Inode): void {
  if (!dir.isDirectory) throw new XfsError('NOTDIR', `inode ${dir.ino} is not a directory`, { ino: dir.ino })
  if (hasFlag(dir, DIFLAGS.immutable)) throw new XfsError('PERM', `directory ${dir.ino} is immutable`, { ino: dir.ino })
}

/** Check that the entry for `child` in `dir` may be removed. @throws XfsError NOTDIR, PERM */
export function requireRemovable(dir: Inode, child: Inode): void {
  requireWritable(dir)
  if (hasFlag(dir, DIFLAGS.append)) throw new XfsError('PERM', `directory ${dir.ino} is append-only`, { ino: dir.ino })
  requireChangeable(child)
}

/** Check that `child` may have a hard link in `dir`. @throws XfsError PERM, XDEV */
export function requireLinkable(dir: Inode, child: Inode): void {
  if (child.isDirectory) throw new XfsError('PERM', `inode ${child.ino} is a directory`, { ino: child.ino })
  requireChangeable(child)
  requireSameProject(dir, child)
}

/**
 * A directory with an inherited project accepts only files with the same project (except special
 * files without a project). @throws XfsError XDEV
 */
export function requireSameProject(dir: Inode, child: Inode): void {
  if (!hasFlag(dir, DIFLAGS.projinherit) || dir.projid === child.projid) return
  if (isSpecial(child.mode) && child.projid === 0) return
  throw new XfsError(
    'XDEV',
    `inode ${child.ino} has project ${child.projid}, directory ${dir.ino} project ${dir.projid}`,
    { ino: child.ino },
  )
}

/** @throws XfsError CORRUPT, RANGE */
export function changeLinks(tx: Transaction, inode: Inode, by: number): void {
  const nlink = inode.nlink + by
  if (nlink < 0)
    throw new XfsError('CORRUPT', `inode ${inode.ino} has fewer links than names`, { ino: inode.ino, field: 'nlink' })
  if (nlink > MAX_LINK_COUNT)
    throw new XfsError('RANGE', `inode ${inode.ino} has the maximum number of links`, { ino: inode.ino })
  updateInode(tx, inode, { nlink })
  touchInode(tx, inode, { ctime: true })
}

/** The entries of a directory have changed. */
export const touchContent = (tx: Transaction, dir: Inode): void => touchInode(tx, dir, { mtime: true, ctime: true })

/** Update `child` for a hard link `name` in `dir`. @throws XfsError RANGE, NOSPC */
export function countLink(tx: Transaction, dir: Inode, name: Uint8Array, child: Inode): void {
  changeLinks(tx, child, 1)
  addParent(tx, child, dir, name)
}
