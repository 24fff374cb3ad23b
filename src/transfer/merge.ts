import { aclKeys, setAcl } from '../attr/acl.ts'
import { setAttr } from '../attr/attr.ts'
import { setAttributesIn } from '../attr/setattr.ts'
import { isEmpty, lookup } from '../dir/dir.ts'
import { XfsError } from '../errors.ts'
import { FILE_TYPES, S_IFMT } from '../format/dinode.ts'
import type { Ino } from '../format/geometry.ts'
import { openInode } from '../inode/inode.ts'
import type { FileRef, NewLink } from '../namespace/newinodes.ts'
import { sameBytes } from '../util/samebytes.ts'
import type { Volume } from '../volume.ts'
import type { CopyProblems } from './copyproblems.ts'
import type { Child, DirRef, ImageWriter, NewCopy } from './intoimage.ts'
import { latin1 } from './pax.ts'
import type { PutLog } from './putlog.ts'

/** The content of a small file in the writer's buffer, or a reader for a large one. */
export type Fill = () => Pick<NewCopy, 'content'> & Pick<Child, 'large'>

/** What to do with an existing file of the name, and the source of the content. */
interface PlaceOptions {
  /**
   * Returns the content of a file. It is called when the child is about to be put: nothing else may
   * be put in between.
   */
  readonly fill?: Fill | undefined
  /** A file replaces an empty directory, and a directory replaces a file, as tar extracts. */
  readonly anyType?: boolean | undefined
}

/** What has a name. */
export interface Found {
  /** In the image, or queued. */
  readonly file: FileRef
  readonly isDirectory: boolean
}

/** What was put under a name; without a mode or a link it is an existing directory. */
type Named = DirRef & Partial<Pick<NewCopy, 'mode'> & NewLink>

const isDirectoryMode = (mode: number): boolean => (mode & S_IFMT) === FILE_TYPES.dir
const isDirectory = (named: Named): boolean => !named.link && (named.mode === undefined || isDirectoryMode(named.mode))

/**
 * Put files into existing directories. Two directories are merged, with the attributes of the new
 * one. A file replaces a file. A directory and a file replace each other only on request.
 */
export class Merge {
  readonly #volume: Volume
  readonly #writer: ImageWriter
  readonly #problems: CopyProblems
  readonly #log: PutLog | undefined
  /** Directories of the image that may have entries already. */
  readonly #old = new Set<DirRef>()
  /**
   * The last child put under each name. A transaction never has two children of one name, and a
   * hard link refers to the current file of the name.
   */
  readonly #names = new Map<DirRef, Map<string, Named>>()
  /** Names may repeat: in an archive, or if the image ignores case. */
  readonly #remembers: boolean
  readonly #folds: boolean

  constructor(volume: Volume, writer: ImageWriter, problems: CopyProblems, repeats: boolean, log?: PutLog) {
    this.#volume = volume
    this.#writer = writer
    this.#problems = problems
    this.#log = log
    this.#folds = volume.features.has('asciici')
    this.#remembers = repeats || this.#folds
  }

  /** An existing directory. */
  existing(ino: number, times?: DirRef['times']): DirRef {
    const inode = openInode(this.#volume, ino)
    const dir: DirRef = { ino: inode.ino, times }
    if (!isEmpty(inode)) this.#old.add(dir)
    return dir
  }

  /**
   * Put a child into a directory. A hard link to the file that has the name already changes
   * nothing.
   * @returns the file of the name, if it exists then; a directory can be filled
   */
  put(dir: DirRef, child: Child, options: PlaceOptions = {}): DirRef | undefined {
    const names = this.#namesOf(dir)
    const key = this.#key(child.name)
    const before = names?.get(key)
    // An earlier child of this name is then in the image.
    if (before) this.#writer.commit()
    const isNew = !before && !this.#old.has(dir)
    const made = isNew ? this.#give(dir, child, options.fill) : this.#putOver(dir, child, before, options)
    if (made) names?.set(key, made)
    return made
  }

  /** The current file of this name: the last one put, or that of the image. */
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

  /**
   * The directory of this name, to be filled; undefined if the name is unused.
   * @throws XfsError NOTDIR
   */
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

  /** Undefined if names cannot repeat and the directory is new. */
  #namesOf(dir: DirRef): Map<string, Named> | undefined {
    const names = this.#names.get(dir)
    if (names || !(this.#remembers || this.#old.has(dir))) return names
    const made = new Map<string, Named>()
    this.#names.set(dir, made)
    return made
  }

  #give(
    dir: DirRef,
    child: Child,
    fill: Fill | undefined,
    exists?: 'replace',
    action: 'create' | 'replace' = exists ?? 'create',
  ): Child & DirRef {
    if (fill) Object.assign(child, fill())
    if ('content' in child) child.size = child.content?.size
    this.#log?.add(child, action)
    this.#writer.put(dir, child, exists)
    return child
  }

  #key(name: Uint8Array): string {
    const text = latin1(name)
    return this.#folds ? text.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) : text
  }
  /** Put a name that the image may have; everything is committed. */
  #putOver(dir: DirRef, child: Child, before: Named | undefined, options: PlaceOptions): Named | undefined {
    const ino = this.#writer.inoOf(dir)
    if (ino === undefined) return undefined
    const found = lookup(openInode(this.#volume, ino), child.name)
    if (!found) return this.#give(dir, child, options.fill)
    // A hard link to the file that has the name already.
    if ('link' in child && child.link.ino === found.ino) return before
    const old = openInode(this.#volume, found.ino)
    const makesDirectory = 'mode' in child && isDirectoryMode(child.mode)
    if (makesDirectory && old.isDirectory) {
      const changed = this.setAttributes(old.ino, child)
      const dirRef = before && before.ino === old.ino ? before : this.existing(old.ino)
      if (changed) dirRef.times = (child as DirRef).times
      return dirRef
    }
    if (old.isDirectory && options.anyType && isEmpty(old)) {
      this.#writer.removeDirectory(dir, child.name)
      return this.#give(dir, child, options.fill, undefined, 'replace')
    }
    if (!old.isDirectory && (options.anyType || !makesDirectory)) return this.#give(dir, child, options.fill, 'replace')
    const error = old.isDirectory
      ? new XfsError('ISDIR', `a directory of that name exists${options.anyType ? ' and is not empty' : ''}`)
      : new XfsError('NOTDIR', 'a file of that name exists, which is not a directory')
    this.#problems.add(child.path, error)
    return undefined
  }

  /**
   * Give an existing directory the attributes of the new one, and remove its old ACLs.
   * @returns false if it refuses them, which is reported
   */
  setAttributes(ino: number, child: Child & NewCopy): boolean {
    const { path, mode, uid, gid, atime, mtime, attrs = [] } = child
    try {
      this.#writer.within((tx) => {
        const inode = openInode(this.#volume, ino, tx)
        setAttributesIn(tx, inode, { permissions: mode, uid, gid, atime, mtime })
        for (const kind of ['access', 'default'] as const) {
          const { space, name } = aclKeys[kind]
          if (!attrs.some((attr) => attr.space === space && sameBytes(attr.name, name))) setAcl(tx, inode, kind, [])
        }
        for (const attr of attrs) setAttr(tx, inode, attr, attr.value)
      })
      this.#log?.add(child, 'merge')
      return true
    } catch (error) {
      if (!(error instanceof XfsError) || error.code === 'IO') throw error
      this.#problems.add(path, error)
      return false
    }
  }
}
