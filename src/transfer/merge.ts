import { aclKeys, setAcl } from '../attr/acl.ts'
import { setAttr } from '../attr/attr.ts'
import { isEmpty, lookup } from '../dir/dir.ts'
import { XfsError } from '../errors.ts'
import { FILE_TYPES, S_IFMT } from '../format/dinode.ts'
import type { Ino } from '../format/geometry.ts'
import { openInode, updateInode } from '../inode/inode.ts'
import type { FileRef, NewChild, NewLink } from '../namespace/newinodes.ts'
import { sameBytes } from '../util/samebytes.ts'
import type { Volume } from '../volume.ts'
import type { Child, DirRef, ImageWriter } from './intoimage.ts'
import type { Problems } from './problems.ts'

/** The content of a small file, read into the writer's room; or how to read that of a large one. */
export type Fill = () => Pick<NewChild, 'content'> & Pick<Child, 'large'>

/** What may happen to what has the name already, and where the content comes from. */
interface PlaceOptions {
  /**
   * Gives the content of a file, which goes into the child once its place is clear: from then on nothing must come
   * between it and the writer.
   */
  readonly fill?: Fill | undefined
  /** A file takes the place of an empty directory, and a directory that of a file, as when tar extracts. */
  readonly anyType?: boolean | undefined
}

/** What has a name. */
export interface Found {
  /** On the image, or on its way there. */
  readonly file: FileRef
  readonly isDirectory: boolean
}

/** What was put under a name; without a mode or a link it is a directory that was there before. */
type Named = DirRef & Partial<Pick<NewChild, 'mode'> & NewLink>

const isDirectoryMode = (mode: number): boolean => (mode & S_IFMT) === FILE_TYPES.dir
const isDirectory = (named: Named): boolean => !named.link && (named.mode === undefined || isDirectoryMode(named.mode))

/**
 * Putting into directories that exist: a directory and a directory become one, with the attributes of the new;
 * another file takes the place of a file; a directory and a file replace each other only on request.
 */
export class Merge {
  readonly #volume: Volume
  readonly #writer: ImageWriter
  readonly #problems: Problems
  /** Directories of the image that may have entries already. */
  readonly #old = new Set<DirRef>()
  /**
   * What was put last under each name. No two children of one name meet in a transaction, and a hard link goes to
   * the file that has the name when the link comes.
   */
  readonly #names = new Map<DirRef, Map<string, Named>>()
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
   * Put a child into a directory. A hard link to the file that has the name already changes nothing.
   * @returns what has the name then, if it is there; a directory can be filled
   */
  put(dir: DirRef, child: Child, options: PlaceOptions = {}): DirRef | undefined {
    const names = this.#namesOf(dir)
    const key = this.#key(child.name)
    const before = names?.get(key)
    // What was put under this name before is on the image then.
    if (before) this.#writer.commit()
    const isNew = !before && !this.#old.has(dir)
    const made = isNew ? this.#give(dir, child, options.fill) : this.#putOver(dir, child, before, options)
    if (made) names?.set(key, made)
    return made
  }

  /** What has this name now: what was put last, or what the image has. */
  find(dir: DirRef, name: Uint8Array): Found | undefined {
    const put = this.#names.get(dir)?.get(this.#key(name))
    if (put && !this.#writer.failed(put)) return { file: put.link ?? put, isDirectory: isDirectory(put) }
    if (!put && !this.#old.has(dir)) return undefined
    const ino = this.#writer.inoOf(dir)
    const found = ino === undefined ? undefined : lookup(openInode(this.#volume, ino), name)
    if (!found) return undefined
    const inode = openInode(this.#volume, found.ino)
    return { file: { ino: inode.ino }, isDirectory: inode.isDirectory }
  }

  /** The directory of this name, to be filled; undefined where nothing has the name. @throws XfsError NOTDIR */
  enter(dir: DirRef, name: Uint8Array): DirRef | undefined {
    const names = this.#namesOf(dir)
    const key = this.#key(name)
    const put = names?.get(key)
    if (put && isDirectory(put)) return put
    const found = this.find(dir, name)
    if (!found) return undefined
    if (!found.isDirectory) throw new XfsError('NOTDIR', 'a file that is not a directory is in the path')
    const entered = this.existing(found.file.ino as Ino)
    names?.set(key, entered)
    return entered
  }

  /** Undefined where no name can come twice and none is there before. */
  #namesOf(dir: DirRef): Map<string, Named> | undefined {
    const names = this.#names.get(dir)
    if (names || !(this.#remembers || this.#old.has(dir))) return names
    const made = new Map<string, Named>()
    this.#names.set(dir, made)
    return made
  }

  #give(dir: DirRef, child: Child, fill: Fill | undefined, exists?: 'replace'): Child & DirRef {
    if (fill) Object.assign(child, fill())
    this.#writer.put(dir, child, exists)
    return child
  }

  #key(name: Uint8Array): string {
    const text = Buffer.from(name).toString('latin1')
    return this.#folds ? text.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) : text
  }
  /** Put where the image may have something of that name, all of it committed. */
  #putOver(dir: DirRef, child: Child, before: Named | undefined, options: PlaceOptions): Named | undefined {
    const ino = this.#writer.inoOf(dir)
    if (ino === undefined) return undefined
    const found = lookup(openInode(this.#volume, ino), child.name)
    if (!found) return this.#give(dir, child, options.fill)
    // A further name of the file that has the name.
    if ('link' in child && child.link.ino === found.ino) return before
    const old = openInode(this.#volume, found.ino)
    const makesDirectory = 'mode' in child && isDirectoryMode(child.mode)
    if (makesDirectory && old.isDirectory) {
      this.setAttributes(old.ino, child)
      const dirRef = before && before.ino === old.ino ? before : this.existing(old.ino)
      dirRef.times = (child as DirRef).times
      return dirRef
    }
    if (old.isDirectory && options.anyType && isEmpty(old)) {
      this.#writer.removeDirectory(dir, child.name)
      return this.#give(dir, child, options.fill)
    }
    if (!old.isDirectory && (options.anyType || !makesDirectory)) return this.#give(dir, child, options.fill, 'replace')
    const error = old.isDirectory
      ? new XfsError('ISDIR', `a directory of that name exists${options.anyType ? ' and is not empty' : ''}`)
      : new XfsError('NOTDIR', 'a file of that name exists, which is not a directory')
    this.#problems.add(child.path, error)
    return undefined
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
