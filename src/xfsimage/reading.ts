import { fileChunks, readFile } from '../data/data.ts'
import { entries } from '../dir/dir.ts'
import { XfsError } from '../errors.ts'
import { type Inode, openInode } from '../inode/inode.ts'
import { type FindOptions, type Test as FindTest, find } from '../namespace/find.ts'
import { splitPath } from '../namespace/resolve.ts'
import { walkTree } from '../namespace/tree.ts'
import { readSymlink } from '../symlink.ts'
import { add, type Bytes, most, subtract } from '../util/bytes.ts'
import { pathBytes } from '../util/printable.ts'
import { optionsOf, type Range, rangeOf } from './arguments.ts'
import { type FileRef, XfsFile } from './file.ts'
import { OpenedImage } from './opened.ts'
import { Dirent, Stats, statData } from './stats.ts'

const decoder = new TextDecoder()

/** A file that `walk` met. */
export class Walked extends XfsFile {
  /** From the start of the walk, without a leading slash; empty for the start itself. */
  readonly path: Uint8Array
  readonly depth: number
  /** The last entry of its directory. */
  readonly last: boolean
  readonly #inode: Inode

  constructor(path: Uint8Array, depth: number, last: boolean, inode: Inode) {
    super(inode)
    this.path = path
    this.depth = depth
    this.last = last
    this.#inode = inode
  }

  get isDirectory(): boolean {
    return this.#inode.isDirectory
  }
  get isRegular(): boolean {
    return this.#inode.isRegular
  }
  /** Valid until the file is changed. */
  stat(): Stats {
    return new Stats(statData(this.#inode))
  }
}

/** The part of `XfsImageCore` that reads files. */
export abstract class ImageReading extends OpenedImage {
  /** A file by its path, for methods that take a path or a file. */
  file(path: FileRef, options: { readonly follow?: boolean } = {}): XfsFile {
    const { follow = true } = optionsOf(options)
    return new XfsFile(this.inode(path, follow))
  }

  /** @throws XfsError NOENT, NOTDIR, LOOP … */
  stat(path: FileRef): Stats {
    return new Stats(statData(this.inode(path, true)))
  }

  /** As `stat`; of a symbolic link itself. */
  lstat(path: FileRef): Stats {
    return new Stats(statData(this.inode(path, false)))
  }

  exists(path: FileRef): boolean {
    try {
      this.inode(path, true)
      return true
    } catch (error) {
      if (error instanceof XfsError && ['NOENT', 'NOTDIR', 'STALE'].includes(error.code)) return false
      throw error
    }
  }

  /**
   * The names in a directory, in its order, without "." and "..". Names that are not UTF-8 lose
   * bytes as text: `encoding: 'buffer'` has the bytes.
   */
  readdir(path: FileRef, options?: { readonly encoding?: 'utf8'; readonly withFileTypes?: false }): string[]
  readdir(path: FileRef, options: { readonly encoding: 'buffer'; readonly withFileTypes?: false }): Uint8Array[]
  readdir(path: FileRef, options: { readonly encoding?: 'utf8'; readonly withFileTypes: true }): Dirent[]
  readdir(path: FileRef, options: { readonly encoding: 'buffer'; readonly withFileTypes: true }): Dirent<Uint8Array>[]
  readdir(
    path: FileRef,
    options: { encoding?: 'utf8' | 'buffer'; withFileTypes?: boolean } = {},
  ): (string | Uint8Array | Dirent<string | Uint8Array>)[] {
    const { encoding = 'utf8', withFileTypes = false } = optionsOf(options)
    const dir = this.inode(path, true)
    const parent = path instanceof XfsFile ? '' : typeof path === 'string' ? path : decoder.decode(path)
    return Array.from(entries(dir), ({ name, ino }) => {
      const shown = encoding === 'buffer' ? name : decoder.decode(name)
      if (!withFileTypes) return shown
      return new Dirent(shown, parent, ino, openInode(dir.volume, ino).type)
    })
  }

  /**
   * A tree, each directory before what is in it. During the walk attributes and content of files
   * may be changed, but no names.
   */
  *walk(
    path: FileRef,
    options: {
      readonly maxDepth?: number
      readonly sorted?: boolean
      readonly follow?: boolean
      readonly onError?: (path: Uint8Array, error: XfsError) => void
    } = {},
  ): Generator<Walked> {
    optionsOf(options)
    for (const { path: below, depth, last, inode } of walkTree(this.inode(path, options.follow === true), options))
      yield new Walked(below, depth, last, inode)
  }

  /** The files of a tree that pass every test (`findTests` makes them). */
  *find(path: FileRef, tests: readonly FindTest[], options: FindOptions = {}): Generator<Walked> {
    optionsOf(options)
    if (!Array.isArray(tests) || !tests.every((test) => typeof test === 'function'))
      throw new XfsError('INVAL', 'tests: not functions')
    const name =
      path instanceof XfsFile ? new Uint8Array(0) : (splitPath(pathBytes(path)).at(-1) ?? Uint8Array.of(0x2f))
    for (const { path: below, depth, last, inode } of find(this.inode(path, false), name, tests, options))
      yield new Walked(below, depth, last, inode)
  }

  /**
   * The content of a file, or a range of it. @throws XfsError ISDIR, INVAL (not a regular file),
   * RANGE (more than 1 GiB: use `chunks`)
   */
  readFile(path: FileRef, options?: Range & { readonly encoding?: null }): Uint8Array
  readFile(path: FileRef, options: 'utf8' | (Range & { readonly encoding: 'utf8' })): string
  readFile(path: FileRef, options: 'utf8' | (Range & { readonly encoding?: 'utf8' | null }) = {}): Uint8Array | string {
    const { encoding, ...range } = options === 'utf8' ? { encoding: options } : optionsOf(options)
    const { offset, length } = rangeOf(range)
    const inode = this.regular(path)
    const bytes = readFile(inode, offset, length ?? most(0, subtract(inode.size, offset)))
    return encoding === 'utf8' ? decoder.decode(bytes) : bytes
  }

  /**
   * The content in pieces, holes as pieces without bytes. Bytes are valid until the next piece is
   * taken.
   */
  chunks(
    path: FileRef,
    range: Range = {},
  ): Iterable<{ readonly offset: Bytes; readonly length: Bytes; readonly bytes: Uint8Array | undefined }> {
    const { offset, length } = rangeOf(optionsOf(range))
    const inode = this.regular(path)
    return fileChunks(inode, offset, length === undefined ? inode.size : add(offset, length))
  }

  /** The target of a symbolic link. */
  readlink(path: FileRef, options?: { readonly encoding?: 'utf8' }): string
  readlink(path: FileRef, options: { readonly encoding: 'buffer' }): Uint8Array
  readlink(path: FileRef, options: { encoding?: 'utf8' | 'buffer' } = {}): string | Uint8Array {
    const { encoding = 'utf8' } = optionsOf(options)
    const inode = this.inode(path, false)
    if (!inode.isSymlink) throw new XfsError('INVAL', `inode ${inode.ino} is not a symbolic link`, { ino: inode.ino })
    const target = readSymlink(inode)
    return encoding === 'buffer' ? target : decoder.decode(target)
  }

  protected regular(path: FileRef): Inode {
    const inode = this.inode(path, true)
    if (inode.isDirectory) throw new XfsError('ISDIR', `inode ${inode.ino} is a directory`, { ino: inode.ino })
    if (!inode.isRegular) throw new XfsError('INVAL', `inode ${inode.ino} is not a regular file`, { ino: inode.ino })
    return inode
  }

  protected found(path: FileRef, follow = true): Inode | undefined {
    try {
      return this.inode(path, follow)
    } catch (error) {
      if (error instanceof XfsError && error.code === 'NOENT') return undefined
      throw error
    }
  }
}
