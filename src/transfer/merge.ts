import { XfsError } from '../errors.ts'
import { aclKeys, setAcl } from '../file/acl.ts'
import { setAttr } from '../file/attr.ts'
import { isEmpty, lookup } from '../file/dir.ts'
import { sameBytes } from '../file/dir-read.ts'
import { FILE_TYPES, openInode, S_IFMT, updateInode } from '../file/inode.ts'
import type { NewChild } from '../file/populate.ts'
import type { Volume } from '../volume.ts'
import type { Child, DirRef, ImageWriter } from './intoimage.ts'
import type { Problems } from './problems.ts'

/** The content of a small file, read into the writer's room; or how to read that of a large one. */
export type Fill = () => Pick<NewChild, 'content'> & Pick<Child, 'large'>

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
  /** Names put into directories so far, so that no two children of one name meet in a transaction. */
  readonly #names = new Map<DirRef, Set<string>>()
  /** Names may come twice: from an archive, or where upper and lower case are the same to the image. */
  readonly #remembers: boolean
  readonly #folds: boolean

  constructor(volume: Volume, writer: ImageWriter, problems: Problems, repeats: boolean) {
    this.#volume = volume
    this.#writer = writer
    this.#problems = problems
    this.#folds = volume.features.has('asciici')
    this.#remembers = repeats || this.#folds
  }

  /** A directory that is there. */
  existing(ino: number, times?: DirRef['times']): DirRef {
    const inode = openInode(this.#volume, ino)
    const dir: DirRef = { ino: inode.ino, times }
    if (!isEmpty(inode)) this.#old.add(dir)
    return dir
  }

  /**
   * Put a child into a directory.
   * @param fill  gives its content, which goes into the child, once its place is clear: from then on nothing must come between it and the writer
   * @returns what it became, if it is there; a directory can be filled
   */
  put(dir: DirRef, child: Child, fill?: Fill): DirRef | undefined {
    const isNew = !this.#old.has(dir) && !this.#repeats(dir, child.name)
    return isNew ? this.#give(dir, child, fill) : this.#putOver(dir, child, fill)
  }

  #give(dir: DirRef, child: Child, fill: Fill | undefined, exists?: 'replace'): DirRef {
    if (fill) Object.assign(child, fill())
    this.#writer.put(dir, child, exists)
    return child as DirRef
  }

  /** May the directory have an entry of this name, on the image or on its way? */
  mayHave(dir: DirRef, name: Uint8Array): boolean {
    return this.#old.has(dir) || this.#names.get(dir)?.has(this.#key(name)) === true
  }

  #key(name: Uint8Array): string {
    const text = Buffer.from(name).toString('latin1')
    return this.#folds ? text.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) : text
  }

  /** Was a child of this name put into the directory before? Then it is on the image afterwards. */
  #repeats(dir: DirRef, name: Uint8Array): boolean {
    if (!this.#remembers) return false
    const names = this.#names.get(dir) ?? new Set<string>()
    this.#names.set(dir, names)
    const key = this.#key(name)
    if (!names.has(key)) {
      names.add(key)
      return false
    }
    this.#writer.commit()
    return true
  }

  #putOver(dir: DirRef, child: Child, fill: Fill | undefined): DirRef | undefined {
    const ino = this.#writer.inoOf(dir)
    if (ino === undefined) return undefined
    if (this.#old.has(dir)) {
      const seen = this.#names.get(dir) ?? new Set<string>()
      this.#names.set(dir, seen)
      const key = this.#key(child.name)
      if (seen.has(key)) this.#writer.commit()
      seen.add(key)
    }
    const found = lookup(openInode(this.#volume, ino), child.name)
    if (!found) return this.#give(dir, child, fill)
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
    if (!isDirectory) return this.#give(dir, child, fill, 'replace')
    this.setAttributes(old.ino, child as NewChild)
    return this.existing(old.ino, (child as DirRef).times)
  }

  /** Give a directory that exists the attributes of the new one; an access control list of the old one means nothing beside the new mode. */
  setAttributes(ino: number, { mode, uid, gid, atime, mtime, attrs }: NewChild): void {
    this.#writer.within((tx) => {
      const inode = openInode(this.#volume, ino, tx)
      updateInode(tx, inode, { mode: (inode.mode & S_IFMT) | (mode & ~S_IFMT), uid, gid, atime, mtime })
      for (const kind of ['access', 'default'] as const) {
        const isGiven = attrs?.some(
          ({ space, name }) => space === aclKeys[kind].space && sameBytes(name, aclKeys[kind].name),
        )
        if (!isGiven) setAcl(tx, inode, kind, [])
      }
      for (const attr of attrs ?? []) setAttr(tx, inode, attr, attr.value)
    })
  }
}
