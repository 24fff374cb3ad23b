import { XfsError } from '../errors.ts'
import { setAttr } from '../file/attr.ts'
import { isEmpty, lookup } from '../file/dir.ts'
import { FILE_TYPES, openInode, S_IFMT, updateInode } from '../file/inode.ts'
import type { NewChild } from '../file/populate.ts'
import type { Volume } from '../volume.ts'
import type { Child, DirRef, ImageWriter } from './intoimage.ts'
import type { Problems } from './problems.ts'

/**
 * Putting into directories that exist: a directory and a directory become one, with the attributes of the new; another file takes the place of
 * a file; a directory and a file do not replace each other.
 */
export class Merge {
  readonly #volume: Volume
  readonly #writer: ImageWriter
  readonly #problems: Problems
  /** Directories of the image that may have entries already. */
  readonly #old = new Set<DirRef>()
  /** Names put into such directories so far, so that no two children of one name meet in a transaction. */
  readonly #put = new Map<DirRef, Set<string>>()

  constructor(volume: Volume, writer: ImageWriter, problems: Problems) {
    this.#volume = volume
    this.#writer = writer
    this.#problems = problems
  }

  /** A directory that is there. */
  existing(ino: number, times?: DirRef['times']): DirRef {
    const inode = openInode(this.#volume, ino)
    const dir: DirRef = { ino: inode.ino, times }
    if (!isEmpty(inode)) this.#old.add(dir)
    return dir
  }

  /** Put a child into a directory. @returns what it became, if it is there; a directory can be filled */
  put(dir: DirRef, child: Child): DirRef | undefined {
    if (!this.#old.has(dir)) {
      this.#writer.put(dir, child)
      return child as DirRef
    }
    return this.#putOver(dir, child)
  }

  #putOver(dir: DirRef, child: Child): DirRef | undefined {
    const ino = this.#writer.inoOf(dir)
    if (ino === undefined) return undefined
    const name = Buffer.from(child.name).toString('latin1')
    const seen = this.#put.get(dir) ?? new Set<string>()
    this.#put.set(dir, seen)
    if (seen.has(name)) this.#writer.commit()
    seen.add(name)
    const found = lookup(openInode(this.#volume, ino), child.name)
    if (!found) {
      this.#writer.put(dir, child)
      return child as DirRef
    }
    const old = openInode(this.#volume, found.ino)
    const isDirectory = 'mode' in child && (child.mode & S_IFMT) === FILE_TYPES.dir
    if (old.isDirectory !== isDirectory) {
      this.#problems.add(
        child.path,
        new XfsError(
          old.isDirectory ? 'ISDIR' : 'NOTDIR',
          old.isDirectory ? 'a directory of that name exists' : 'a file of that name exists, which is no directory',
        ),
      )
      return undefined
    }
    if (!isDirectory) {
      this.#writer.put(dir, child, 'replace')
      return child as DirRef
    }
    this.setAttributes(old.ino, child as NewChild)
    return this.existing(old.ino, (child as DirRef).times)
  }

  /** Give a directory that exists the attributes of the new one. */
  setAttributes(ino: number, { mode, uid, gid, atime, mtime, attrs }: NewChild): void {
    this.#writer.within((tx) => {
      const inode = openInode(this.#volume, ino, tx)
      updateInode(tx, inode, { mode: (inode.mode & S_IFMT) | (mode & ~S_IFMT), uid, gid, atime, mtime })
      for (const attr of attrs ?? []) setAttr(tx, inode, attr, attr.value)
    })
  }
}
