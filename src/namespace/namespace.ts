import { addParent, removeParent } from '../attr/parent.ts'
import {
  checkName,
  insertEntry,
  isEmpty,
  lookup,
  parentOf,
  type RemoveOptions,
  removeEntry,
  replaceEntry,
  requireFree,
} from '../dir/dir.ts'
import { DOTDOT } from '../dir/read.ts'
import { XfsError } from '../errors.ts'
import { FILE_TYPES, S_IFMT } from '../format/dinode.ts'
import { fileTypeOfMode } from '../format/dir.ts'
import type { Ino } from '../format/geometry.ts'
import { allocInodes } from '../inode/ialloc.ts'
import { type Inode, openInode, touchInode } from '../inode/inode.ts'
import { addUnlinked, removeUnlinked } from '../inode/unlinked.ts'
import { refuseRealtime } from '../mapping/fork.ts'
import { type Transaction, withTransaction } from '../tx/transaction.ts'
import { printable } from '../util/printable.ts'
import type { Volume } from '../volume.ts'
import { changeLinks, requireRemovable, requireSameProject, requireWritable, touchContent } from './links.ts'
import { InodeWriter, type NewChild, type NewFile } from './newinodes.ts'
import { populate } from './populate.ts'
import { dropInode, finishRemoval } from './remove.ts'
import { resolveParent } from './resolve.ts'

/**
 * The names of files: create, link, rename and remove, including link counts, "..", parent pointers
 * and times (links.ts). The room also has paths (resolve.ts), walks (tree.ts, find.ts) and creation
 * of one or many files at once (populate.ts). The storage of entries is handled by dir.
 *
 * There are two layers. `…In` functions use directory handles inside the caller's transaction. The
 * others take a path and are one transaction. If a file loses its last link, they free it: at once
 * if it has few extents, else in steps while it is on its AGI unlinked list.
 *
 * Invariants: nlink counts entries; every entry has its parent pointer (if the feature is enabled);
 * only empty directories are removed. Permission bits are not enforced; inode flags are. In an
 * immutable directory nothing is created or removed, in an append-only one nothing is removed. An
 * immutable or append-only file keeps its names.
 *
 * Source for the order of changes and for updates of times: xfs_dir2.c (xfs_dir_create_child
 * …), xfs_inode.c (xfs_rename), fs/namei.c.
 */
export type PathLike = string | Uint8Array

const DIRECTORY = 2 // FileTypes.directory

/** The inode that an entry points to. It must exist. @throws XfsError NOENT, CORRUPT */
function childOf(tx: Transaction, dir: Inode, name: Uint8Array): Inode {
  const entry = lookup(dir, name, tx)
  if (!entry) throw noEntry(dir, name)
  return openEntry(tx, dir, name, entry.ino)
}

const noEntry = (dir: Inode, name: Uint8Array): XfsError =>
  new XfsError('NOENT', `no "${printable(name)}" in directory ${dir.ino}`, { ino: dir.ino })

function openEntry(tx: Transaction, dir: Inode, name: Uint8Array, ino: number): Inode {
  try {
    return openInode(tx.volume, ino, tx)
  } catch (error) {
    if (!(error instanceof XfsError) || (error.code !== 'NOENT' && error.code !== 'INVAL')) throw error
    throw new XfsError(
      'CORRUPT',
      `"${printable(name)}" in directory ${dir.ino} points to inode ${ino}, which is not in use`,
      { ino: dir.ino },
      { cause: error },
    )
  }
}

// ---------------------------------------------------------------------------------------- creating

/** Values of a new file; absent values are inherited, or the default. */
type NewOptions = Pick<NewFile, 'uid' | 'gid' | 'device' | 'target'>

/**
 * Create a file, directory or special file (`options.device`); the type is in `mode`.
 * @throws XfsError EXIST, NOSPC, PERM, INVAL, NAMETOOLONG
 */
export function createIn(tx: Transaction, dir: Inode, name: Uint8Array, mode: number, options: NewOptions = {}): Inode {
  requireFree(dir, name, tx)
  const child: NewChild = { name, mode, ...options }
  populate(tx, [{ dir, children: [child] }])
  return openInode(tx.volume, child.ino as Ino, tx)
}

/**
 * Create a file without a name, like O_TMPFILE: it is on the AGI unlinked list until `nameIn`.
 * @param copies  it is a copy: see `populate`
 * @throws XfsError NOSPC, PERM
 */
export function createUnnamed(tx: Transaction, dir: Inode, file: NewFile, copies = false): Inode {
  requireWritable(dir)
  const [ino] = allocInodes(tx, dir.ino, 1)
  const child = new InodeWriter(tx, dir, copies).write(ino as Ino, { ...file, nlink: 0 })
  addUnlinked(tx, child)
  return child
}

/**
 * Give a file from `createUnnamed` its name, replacing an existing file with that name.
 * @returns an inode for `finishRemoval`, once this transaction is committed
 * @throws XfsError as `removeIn` and `linkIn`
 */
export function nameIn(tx: Transaction, dir: Inode, name: Uint8Array, child: Inode): Ino | undefined {
  removeUnlinked(tx, child)
  const left = vacate(tx, dir, name)
  linkIn(tx, dir, name, child)
  return left
}

/**
 * Free a name for another file. @returns an inode for `finishRemoval`, once this transaction is
 * committed
 */
const vacate = (tx: Transaction, dir: Inode, name: Uint8Array): Ino | undefined =>
  lookup(dir, name, tx) ? release(tx, removeIn(tx, dir, name, false)) : undefined

/**
 * Create a hard link. @throws XfsError EXIST, NOSPC, PERM (a directory, or flags), XDEV (project),
 * RANGE (links)
 */
export function linkIn(tx: Transaction, dir: Inode, name: Uint8Array, child: Inode): void {
  requireFree(dir, name, tx)
  populate(tx, [{ dir, children: [{ name, link: child }] }])
}

// ---------------------------------------------------------------------------------------- removing

/**
 * Remove the name of a file or of an empty directory. If the inode lost its last link, the caller
 * continues with `release`.
 * @throws XfsError NOENT, ISDIR, NOTDIR, NOTEMPTY, PERM, NOSPC (not with `keepBlocks`)
 */
export function removeIn(
  tx: Transaction,
  dir: Inode,
  name: Uint8Array,
  directory: boolean,
  options?: RemoveOptions,
): Inode {
  checkName(name)
  const child = childOf(tx, dir, name)
  requireRemovable(dir, child)
  if (directory && !child.isDirectory)
    throw new XfsError('NOTDIR', `"${printable(name)}" is not a directory`, { ino: child.ino })
  if (!directory && child.isDirectory)
    throw new XfsError('ISDIR', `"${printable(name)}" is a directory`, { ino: child.ino })
  dropName(tx, dir, storedName(tx, dir, name), child, options)
  return child
}

/** The name in the directory entry and the parent pointer, if names are case-insensitive. */
const storedName = (tx: Transaction, dir: Inode, name: Uint8Array): Uint8Array =>
  (tx.volume.features.has('asciici') && lookup(dir, name, tx)?.name) || name

function dropName(tx: Transaction, dir: Inode, name: Uint8Array, child: Inode, options?: RemoveOptions): void {
  if (child.isDirectory) {
    requireEmpty(tx, child)
    changeLinks(tx, dir, -1)
    changeLinks(tx, child, -1)
  }
  touchContent(tx, dir)
  changeLinks(tx, child, -1)
  removeEntry(tx, dir, name, options)
  removeParent(tx, child, dir, name)
}

function requireEmpty(tx: Transaction, dir: Inode): void {
  if (dir.nlink > 2 || !isEmpty(dir, tx))
    throw new XfsError('NOTEMPTY', `directory ${dir.ino} is not empty`, { ino: dir.ino })
}

/**
 * Free an inode without links, at once if it has few extents. Else its number is returned, and
 * `finishRemoval` frees it after this transaction is committed.
 */
export function release(tx: Transaction, inode: Inode): Ino | undefined {
  if (inode.nlink > 0) return undefined
  refuseRealtime(inode, 'data')
  return dropInode(tx, inode) ? inode.ino : undefined
}

// ---------------------------------------------------------------------------------------- renaming

interface RenameOptions {
  /**
   * If the new name exists: replace it (default), refuse, or exchange the two.
   */
  readonly existing?: 'replace' | 'refuse' | 'exchange'
}

/** For new links. */
interface LinkOptions {
  /** If the name exists: refuse (default), or replace a file that is no directory. */
  readonly existing?: 'replace' | 'refuse'
}

/** A name in a directory. */
interface DirName {
  readonly dir: Inode
  readonly name: Uint8Array
}

/**
 * Rename. Returns the inode that was replaced, for `release`.
 * @throws XfsError NOENT, EXIST, ISDIR, NOTDIR, NOTEMPTY, INVAL (into itself), PERM, XDEV
 *   (project), NOSPC
 */
function renameIn(tx: Transaction, old: DirName, place: DirName, options: RenameOptions = {}): Inode | undefined {
  checkName(old.name)
  checkName(place.name)
  const [from, to] = [old, place].map(({ dir, name }) => ({ dir, name: storedName(tx, dir, name) })) as [
    DirName,
    DirName,
  ]
  const { existing = 'replace' } = options
  const source = childOf(tx, from.dir, from.name)
  const found = lookup(to.dir, to.name, tx)
  const target = found ? openEntry(tx, to.dir, to.name, found.ino) : undefined
  if (target && existing === 'refuse') requireFree(to.dir, to.name, tx)
  if (!target && existing === 'exchange') throw noEntry(to.dir, to.name)
  if (from.dir.ino !== to.dir.ino) {
    if (source.isDirectory && isAncestor(tx, source, to.dir))
      throw new XfsError('INVAL', `directory ${source.ino} cannot be moved into itself`, { ino: source.ino })
    if (target?.isDirectory && isAncestor(tx, target, from.dir)) {
      throw new XfsError(
        existing === 'exchange' ? 'INVAL' : 'NOTEMPTY',
        `directory ${target.ino} contains the source`,
        { ino: target.ino },
      )
    }
  }
  // Two names of one file: no change.
  if (target?.ino === source.ino) return undefined
  requireRemovable(from.dir, source)
  if (target) requireRemovable(to.dir, target)
  else requireWritable(to.dir)
  if (target && existing !== 'exchange') requireSameKind(source, target)
  requireSameProject(to.dir, source)
  if (target && existing === 'exchange') {
    // As in the kernel, the target's project is not compared with that of its new directory.
    exchange(tx, from, source, to, target)
    return undefined
  }
  if (target?.isDirectory) requireEmpty(tx, target)
  move(tx, from, source, to, target)
  return target
}

/** True if `dir` is in `above`, or is `above` itself. */
function isAncestor(tx: Transaction, above: Inode, dir: Inode): boolean {
  const { rootino } = tx.volume.geometry.sb
  const seen = new Set<number>()
  for (let at = dir; at.ino !== above.ino; at = openInode(tx.volume, parentOf(at, tx), tx)) {
    if (at.ino === rootino) return false
    if (seen.has(at.ino)) throw new XfsError('CORRUPT', `directory ${at.ino} is its own ancestor`, { ino: at.ino })
    seen.add(at.ino)
  }
  return true
}

function requireSameKind(source: Inode, target: Inode): void {
  if (source.isDirectory && !target.isDirectory)
    throw new XfsError('NOTDIR', `inode ${target.ino} is not a directory`, { ino: target.ino })
  if (!source.isDirectory && target.isDirectory)
    throw new XfsError('ISDIR', `inode ${target.ino} is a directory`, { ino: target.ino })
}

function move(tx: Transaction, from: DirName, source: Inode, to: DirName, target: Inode | undefined): void {
  const elsewhere = from.dir.ino !== to.dir.ino
  const type = fileTypeOfMode(source.mode)
  if (target) {
    replaceEntry(tx, to.dir, to.name, source.ino, type)
    changeLinks(tx, target, target.isDirectory ? -2 : -1)
  } else {
    insertEntry(tx, to.dir, to.name, source.ino, type)
    if (elsewhere && source.isDirectory) changeLinks(tx, to.dir, 1)
  }
  touchContent(tx, to.dir)
  if (elsewhere && source.isDirectory) replaceEntry(tx, source, DOTDOT, to.dir.ino, DIRECTORY)
  touchInode(tx, source, { ctime: true })
  if (source.isDirectory && (elsewhere || target)) changeLinks(tx, from.dir, -1)
  removeEntry(tx, from.dir, from.name)
  touchContent(tx, from.dir)
  removeParent(tx, source, from.dir, from.name)
  addParent(tx, source, to.dir, to.name)
  if (target) removeParent(tx, target, to.dir, to.name)
}

function exchange(tx: Transaction, one: DirName, first: Inode, other: DirName, second: Inode): void {
  replaceEntry(tx, one.dir, one.name, second.ino, fileTypeOfMode(second.mode))
  replaceEntry(tx, other.dir, other.name, first.ino, fileTypeOfMode(first.mode))
  if (one.dir.ino !== other.dir.ino) {
    const changed = (inode: Inode, dir: Inode): void => {
      if (!inode.isDirectory) return
      replaceEntry(tx, inode, DOTDOT, dir.ino, DIRECTORY)
      touchContent(tx, inode)
    }
    changed(second, one.dir)
    changed(first, other.dir)
    if (first.isDirectory && !second.isDirectory) moveLink(tx, one.dir, other.dir)
    if (second.isDirectory && !first.isDirectory) moveLink(tx, other.dir, one.dir)
    if (first.isDirectory || second.isDirectory)
      for (const inode of [first, second]) touchInode(tx, inode, { ctime: true })
    touchContent(tx, other.dir)
  }
  touchContent(tx, one.dir)
  removeParent(tx, first, one.dir, one.name)
  removeParent(tx, second, other.dir, other.name)
  addParent(tx, first, other.dir, other.name)
  addParent(tx, second, one.dir, one.name)
}

function moveLink(tx: Transaction, from: Inode, to: Inode): void {
  changeLinks(tx, from, -1)
  changeLinks(tx, to, 1)
}

// ----------------------------------------------------------------------------------------- by path

const place = (volume: Volume, path: PathLike, tx: Transaction): DirName => resolveParent(volume, path, { reader: tx })

/** Create an empty regular file with the permissions `mode`. */
export function createFile(volume: Volume, path: PathLike, mode: number, options: NewOptions = {}): Inode {
  return create(volume, path, FILE_TYPES.reg | (mode & ~S_IFMT), options)
}

/** Create a directory. */
export function mkdir(volume: Volume, path: PathLike, mode: number, options: NewOptions = {}): Inode {
  return create(volume, path, FILE_TYPES.dir | (mode & ~S_IFMT), options)
}

/**
 * Create a special file: `mode` includes its type, `options.device` has the device number. (Or a
 * regular file, like mknod(2).)
 */
export function mknod(volume: Volume, path: PathLike, mode: number, options: NewOptions = {}): Inode {
  const type = mode & S_IFMT
  if (type === FILE_TYPES.dir || type === FILE_TYPES.lnk || !(Object.values(FILE_TYPES) as number[]).includes(type)) {
    throw new XfsError('INVAL', `mode 0${mode.toString(8)} is not the mode of a special file`)
  }
  return create(volume, path, mode, options)
}

function create(volume: Volume, path: PathLike, mode: number, options: NewOptions): Inode {
  return withTransaction(volume, (tx) => {
    const { dir, name } = place(volume, path, tx)
    return createIn(tx, dir, name, mode, options)
  })
}

/**
 * Create a symbolic link. @throws XfsError as `createIn`, PERM also if the directory does not allow
 * links, NAMETOOLONG (target)
 */
export function symlink(
  volume: Volume,
  target: PathLike,
  path: PathLike,
  { existing, ...options }: NewOptions & LinkOptions = {},
): Inode {
  const bytes = typeof target === 'string' ? new TextEncoder().encode(target) : target
  const { child, left } = withTransaction(volume, (tx) => {
    const { dir, name } = place(volume, path, tx)
    const replaced = existing === 'replace' ? vacate(tx, dir, name) : undefined
    return { left: replaced, child: createIn(tx, dir, name, FILE_TYPES.lnk | 0o777, { ...options, target: bytes }) }
  })
  if (left !== undefined) finishRemoval(volume, left)
  return child
}

/** Create a hard link to the inode `ino`. A name of the same inode is not replaced, but kept. */
export function link(volume: Volume, ino: number, path: PathLike, { existing }: LinkOptions = {}): void {
  const left = withTransaction(volume, (tx) => {
    const { dir, name } = place(volume, path, tx)
    if (existing === 'replace' && lookup(dir, name, tx)?.ino === ino) return undefined
    const replaced = existing === 'replace' ? vacate(tx, dir, name) : undefined
    linkIn(tx, dir, name, openInode(volume, ino, tx))
    return replaced
  })
  if (left !== undefined) finishRemoval(volume, left)
}

/** Remove a name of a file. */
export function unlink(volume: Volume, path: PathLike): void {
  remove(volume, path, false)
}

/** Remove an empty directory. */
export function rmdir(volume: Volume, path: PathLike): void {
  remove(volume, path, true)
}

function remove(volume: Volume, path: PathLike, directory: boolean): void {
  const attempt = (options: RemoveOptions): Ino | undefined =>
    withTransaction(volume, (tx) => {
      const { dir, name } = place(volume, path, tx)
      return release(tx, removeIn(tx, dir, name, directory, options))
    })
  let left: Ino | undefined
  try {
    left = attempt({ keepBlocks: false })
  } catch (error) {
    // Freeing a block of a large directory may need a block for its map. Without freeing it always
    // succeeds.
    if (!(error instanceof XfsError) || error.code !== 'NOSPC') throw error
    left = attempt({ keepBlocks: true })
  }
  if (left !== undefined) finishRemoval(volume, left)
}

/** Rename a file or directory. */
export function rename(volume: Volume, from: PathLike, to: PathLike, options: RenameOptions = {}): void {
  const left = withTransaction(volume, (tx) => {
    const target = renameIn(tx, place(volume, from, tx), place(volume, to, tx), options)
    return target && release(tx, target)
  })
  if (left !== undefined) finishRemoval(volume, left)
}
