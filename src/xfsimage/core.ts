import { type FlagChanges, setAttributes } from '../attr/setattr.ts'
import { getXattr, removeXattr, setXattr, xattrs } from '../attr/xattrs.ts'
import { check } from '../check/check.ts'
import { addPaths } from '../check/paths.ts'
import type { CheckResult } from '../check/result.ts'
import { fileChunks, readFile } from '../data/data.ts'
import { falloc, fcollapse, finsert, fpunch, fzero, truncate } from '../data/fallocate.ts'
import { prepareWrite, writeFile } from '../data/write.ts'
import { type DumpOptions, dump } from '../db/dump.ts'
import type { Device } from '../device/device.ts'
import { memoryDevice } from '../device/memory.ts'
import { entries } from '../dir/dir.ts'
import { XfsError } from '../errors.ts'
import type { Geometry } from '../format/geometry.ts'
import { geometryReport } from '../format/report.ts'
import type { Timestamp } from '../format/time.ts'
import type { TreeName } from '../format/trees.ts'
import { type ForkName, type Inode, openInode } from '../inode/inode.ts'
import { type Statfs, statfsOf } from '../inode/statfs.ts'
import { type FindOptions, type Test as FindTest, find } from '../namespace/find.ts'
import { link, mkdir, mknod, type PathLike, rename, rmdir, symlink, unlink } from '../namespace/namespace.ts'
import { createComplete, createUnfinished, makeDirectories } from '../namespace/newfile.ts'
import { type BlockOwner, type BlockPlace, blockOwners } from '../namespace/owners.ts'
import { pathsOf, withPaths } from '../namespace/paths.ts'
import { removeTree } from '../namespace/removetree.ts'
import { creationPath, splitPath } from '../namespace/resolve.ts'
import { walkTree } from '../namespace/tree.ts'
import { type Recovered, recover } from '../recovery/recover.ts'
import { type DedupeResult, dedupeAll } from '../reflink/dedupe.ts'
import { type FsrOptions, type FsrResult, fsr } from '../reflink/fsr.ts'
import type { RangeRequest } from '../reflink/range.ts'
import { type CloneResult, checkNewClone, reflink } from '../reflink/reflink.ts'
import { mappedRuns, refcountHistogram, sharers } from '../reflink/sharing.ts'
import { type TreeUsage, treeUsage } from '../reflink/treeusage.ts'
import { type UnshareResult, unshare } from '../reflink/unshare.ts'
import { type RepairOptions, type RepairResult, repair } from '../repair/repair.ts'
import { type SpaceRecord, spaceMap } from '../space/fsmap.ts'
import { readSymlink } from '../symlink.ts'
import { add, type Bytes, most, subtract, unitStart } from '../util/bytes.ts'
import type { Steps } from '../util/progress.ts'
import { Volume } from '../volume.ts'
import { type FileRef, inodeOf, XfsFile } from './file.ts'
import { FileWriter } from './filewriter.ts'
import { type Fingerprint, fingerprintOf } from './fingerprint.ts'
import { type OpenOptions, openVolume, type Warning } from './opening.ts'
import { type LongOptions, run } from './run.ts'
import { Dirent, Stats, statData, type TimeLike, timestampOf } from './stats.ts'
import { claim } from './writers.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** A range of a file, in bytes. */
export interface Range {
  /** Default: 0. */
  readonly offset?: Bytes
  /** Default: to EOF. */
  readonly length?: Bytes
}

export interface WriteOptions {
  /** Permissions of a file that is created (default: 0o644). */
  readonly mode?: number
  /**
   * As in Node: `w` (default) replaces the content, `r+` writes into it, `a` appends; with `x` the
   * file must not exist; `r+` needs one that exists.
   */
  readonly flag?: 'w' | 'wx' | 'r+' | 'a' | 'ax'
  /** Where the data go, with `r+` (default: 0). */
  readonly offset?: Bytes
}

/** Part of a file, in bytes, with one mapping. */
export interface Extent {
  readonly offset: Bytes
  readonly length: number
  /** Bytes from the start of the filesystem. */
  readonly physical: number
  /** Allocated, but never written: it reads as zeros. */
  readonly unwritten: boolean
  /** The blocks have more than one owner. */
  readonly shared: boolean
}

/** Another mapping of blocks of a file, in bytes. */
export interface Share {
  /** In the file that was asked about. */
  readonly offset: Bytes
  readonly length: number
  /** The other file (or the same one at another offset). */
  readonly ino: number
  readonly inoOffset: Bytes
  /** A path of the other file, with `paths`. */
  readonly path?: Uint8Array
}

/** Blocks of one owner, as `owners` lists them. */
export interface OwnedSpace extends SpaceRecord {
  /** A path of the inode, with `paths`. */
  readonly path?: Uint8Array
}

/** How many blocks of an AG have so many owners. */
export interface OwnerCount {
  readonly agno: number
  /** `cow`: staging blocks of copy-on-write, which no file maps yet. */
  readonly owners: number | 'cow'
  readonly blocks: number
}

/** The space of a tree, in bytes. Files with several names in it count once. */
export interface SpaceUsage {
  readonly inodes: number
  /** Sum of the sizes of the files. */
  readonly size: Bytes
  /**
   * Blocks that the inodes count: data, and blocks of directories, attributes and block maps.
   * Shared blocks count for each file.
   */
  readonly total: Bytes
  /** Mapped by data forks (a block mapped twice counts twice). */
  readonly referenced: Bytes
  /** Of these, with more than one owner. */
  readonly shared: Bytes
  /** Of these, with one. */
  readonly exclusive: Bytes
  /** What removing the tree would free. */
  readonly freed: Bytes
}

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

/**
 * An XFS filesystem in an image, by the names of its files. This class has what needs no host, for
 * browsers too; `XfsImage` adds files of the host.
 *
 * The methods for single files are synchronous, with the names and forms of Node's `fs`. Those that
 * may take long return a promise, with progress and a signal; until it is settled, other changes
 * fail with BUSY. Each change is sound by itself: an error, a signal or a killed process leaves a
 * filesystem without inconsistencies. Changes are durable after `sync` or `close`.
 *
 * Permission bits are not enforced; inode flags (immutable, append-only) are.
 */
export class XfsImageCore implements Disposable {
  readonly #options: OpenOptions
  #volume: Volume
  /** The long change that is running. */
  #busy: { readonly what: string; readonly ended: Promise<void> } | undefined
  /** Long operations that read. */
  readonly #readers = new Set<{ readonly what: string; readonly ended: Promise<void> }>()
  /** Files that are being written in pieces. */
  readonly #writers = new Set<FileWriter>()
  #closed = false
  #release: () => void = () => {}
  /** Why the image cannot be changed any more, since a repair or recovery of it failed. */
  #refusal: XfsError | undefined
  /** The dry run's changes. */
  readonly #dry: { changed(): Iterable<{ readonly start: number; readonly length: number }> } | undefined
  /**
   * Why the state that is read is incomplete: a dirty log was ignored (`log: 'ignore'`), or is on
   * another device.
   */
  readonly incomplete: XfsError | undefined
  /** What is wrong with the image, though it could be opened for reading. */
  readonly warnings: readonly Warning[]

  protected constructor(target: Device | ArrayBuffer | Uint8Array, options: OpenOptions) {
    const device = deviceOf(target)
    if (options.write && !options.dryRun) this.#release = claim(device)
    try {
      const { volume, dry, ignored, warnings } = openVolume(device, options)
      this.#options = options
      this.#volume = volume
      this.#dry = dry
      this.incomplete = ignored
      this.warnings = warnings
    } catch (error) {
      this.#release()
      throw error
    }
  }

  /**
   * Open the filesystem on a device, or in bytes (which are changed in place in memory only, in a
   * copy).
   * @throws XfsError INVAL (not XFS), CORRUPT, BADCRC (the superblock is damaged; for changes also:
   *   marked NEEDSREPAIR, metadata ahead of the log), DIRTYLOG (see `OpenOptions.log`), UNSUPPORTED
   *   (features), IO (the image is truncated)
   */
  static open(target: Device | ArrayBuffer | Uint8Array, options: OpenOptions = {}): XfsImageCore {
    return new XfsImageCore(target, options)
  }

  // ------------------------------------------------------------------------------------ the image

  /** Sizes and places of everything, and the superblock as it was when the image was opened. */
  get geometry(): Geometry {
    return this.volume.geometry
  }

  /** Text, as xfs_info prints it. @param name what it calls the image */
  report(name = ''): string {
    const { sb, features } = this.geometry
    return geometryReport(sb, features, name)
  }

  /** The superblock is marked NEEDSREPAIR: a change was interrupted outside of the log. */
  get needsRepair(): boolean {
    return this.volume.features.has('needsrepair')
  }

  get writable(): boolean {
    return this.volume.writable
  }

  /** Sizes and free space, as statfs(2) reports them of the mounted filesystem. */
  statfs(): Statfs {
    return statfsOf(this.volume)
  }

  /** What a dry run would write, in bytes from the start of the filesystem; in order. */
  get changes(): Iterable<{ readonly start: number; readonly length: number }> {
    return this.#dry?.changed() ?? []
  }

  /**
   * The state of the filesystem with all changes so far, to find out later whether it was changed.
   * @throws XfsError IO, BUSY
   */
  fingerprint(): Fingerprint {
    this.#requireIdle('fingerprint')
    this.sync()
    return fingerprintOf(this.volume.device)
  }

  /** Everything that was changed is durable when this returns. @throws XfsError IO */
  sync(): void {
    if (this.writable) this.volume.sync()
  }

  /** `sync`, and release the image. New files that were not written to their end are removed. @throws XfsError IO */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    try {
      for (const writer of this.#writers) writer.abandon()
    } finally {
      this.#release()
      this.#volume.close()
    }
  }

  [Symbol.dispose](): void {
    this.close()
  }

  // --------------------------------------------------------------------------------- reading files

  /** A file by its path, for methods that take a path or a file. */
  file(path: FileRef, { follow = true }: { readonly follow?: boolean } = {}): XfsFile {
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
    { encoding = 'utf8', withFileTypes = false }: { encoding?: 'utf8' | 'buffer'; withFileTypes?: boolean } = {},
  ): (string | Uint8Array | Dirent<string | Uint8Array>)[] {
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
    for (const { path: below, depth, last, inode } of walkTree(this.inode(path, options.follow === true), options))
      yield new Walked(below, depth, last, inode)
  }

  /** The files of a tree that pass every test (`findTests` makes them). */
  *find(path: FileRef, tests: readonly FindTest[], options: FindOptions = {}): Generator<Walked> {
    const name = path instanceof XfsFile ? new Uint8Array(0) : (splitPath(bytesOf(path)).at(-1) ?? Uint8Array.of(0x2f))
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
    const { offset = 0, length, encoding } = options === 'utf8' ? { encoding: options } : options
    const inode = this.#regular(path)
    const bytes = readFile(inode, offset, length ?? most(0, subtract(inode.size, offset)))
    return encoding === 'utf8' ? decoder.decode(bytes) : bytes
  }

  /**
   * The content in pieces, holes as pieces without bytes. Bytes are valid until the next piece is
   * taken.
   */
  chunks(
    path: FileRef,
    { offset = 0, length }: Range = {},
  ): Iterable<{ readonly offset: Bytes; readonly length: Bytes; readonly bytes: Uint8Array | undefined }> {
    const inode = this.#regular(path)
    return fileChunks(inode, offset, length === undefined ? inode.size : add(offset, length))
  }

  /** The target of a symbolic link. */
  readlink(path: FileRef, options?: { readonly encoding?: 'utf8' }): string
  readlink(path: FileRef, options: { readonly encoding: 'buffer' }): Uint8Array
  readlink(path: FileRef, { encoding = 'utf8' }: { encoding?: 'utf8' | 'buffer' } = {}): string | Uint8Array {
    const inode = this.inode(path, false)
    if (!inode.isSymlink) throw new XfsError('INVAL', `inode ${inode.ino} is not a symbolic link`, { ino: inode.ino })
    const target = readSymlink(inode)
    return encoding === 'buffer' ? target : decoder.decode(target)
  }

  // -------------------------------------------------------------------------------- changing files

  /**
   * Write a file. A new one appears with its content or not at all. An existing one is overwritten
   * in place, and is unchanged if there is not enough space.
   * @throws XfsError EXIST, NOENT, ISDIR, NOSPC, FBIG, PERM
   */
  writeFile(path: FileRef, data: string | Uint8Array, options: WriteOptions = {}): void {
    const { mode = 0o644, flag = 'w', offset = 0 } = options
    const bytes = typeof data === 'string' ? encoder.encode(data) : data
    this.change('writeFile', (volume) => {
      const found = this.#existing(path, flag)
      if (!found) {
        const steps = createComplete(volume, creationPath(volume, path as PathLike), mode, (ino) => {
          prepareWrite(volume, ino, 0, bytes.length)
          writeFile(volume, ino, 0, bytes)
          return []
        })
        settle(steps)
        return
      }
      const start = flag === 'a' ? found.size : flag === 'r+' ? offset : 0
      prepareWrite(volume, found.ino, start, bytes.length)
      writeFile(volume, found.ino, start, bytes)
      if (flag === 'w') truncate(volume, found.ino, bytes.length)
    })
  }

  /**
   * As `writeFile`, from pieces that arrive over time: a stream, a generator. A new file appears
   * when it is complete, or not at all; an existing one is emptied and written in place. Other
   * changes may be made meanwhile.
   * @returns the number of bytes
   */
  async writeFrom(
    path: FileRef,
    pieces: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>,
    { signal, ...options }: WriteOptions & { readonly signal?: AbortSignal } = {},
  ): Promise<number> {
    const writer = await this.openWriter(path, options)
    try {
      for await (const piece of pieces) {
        signal?.throwIfAborted()
        const bytes = bytesOf(piece)
        await this.useWriter(writer, () => writer.write(bytes))
      }
      signal?.throwIfAborted()
      await this.useWriter(writer, () => writer.finish())
      return writer.written
    } finally {
      await this.closeWriter(writer)
    }
  }

  /** Append to a file, which is created if it does not exist. */
  appendFile(path: FileRef, data: string | Uint8Array, options: { readonly mode?: number } = {}): void {
    this.writeFile(path, data, { ...options, flag: 'a' })
  }

  /** @throws XfsError NOSPC, FBIG, PERM, ISDIR, INVAL */
  truncate(path: FileRef, size: Bytes = 0): void {
    this.#changeInode('truncate', path, (volume, { ino }) => truncate(volume, ino, size))
  }

  /**
   * Change how a range is mapped, as fallocate(2): `allocate` unwritten blocks, `punch` a hole,
   * `zero`, `collapse` the range out of the file, or `insert` a hole.
   */
  fallocate(
    path: FileRef,
    action: 'allocate' | 'punch' | 'zero' | 'collapse' | 'insert',
    offset: Bytes,
    length: Bytes,
    options: { readonly keepSize?: boolean } = {},
  ): void {
    const actions = { allocate: falloc, punch: fpunch, zero: fzero, collapse: fcollapse, insert: finsert }
    this.#changeInode('fallocate', path, (volume, { ino }) => actions[action](volume, ino, offset, length, options))
  }

  /** @returns the first directory that was created, with `recursive`; as in Node */
  mkdir(
    path: PathLike,
    { mode = 0o755, recursive = false }: { readonly mode?: number; readonly recursive?: boolean } = {},
  ): string | undefined {
    return this.change('mkdir', (volume) => {
      if (!recursive) {
        mkdir(volume, path, mode)
        return undefined
      }
      const first = makeDirectories(volume, path, mode)
      return first && decoder.decode(first)
    })
  }

  /**
   * A device node, fifo or socket. @param mode type and permissions
   * @throws XfsError INVAL (another type), EXIST …
   */
  mknod(path: PathLike, mode: number, device?: { readonly major: number; readonly minor: number }): void {
    this.change('mknod', (volume) => {
      mknod(volume, path, mode, device ? { device } : {})
    })
  }

  /**
   * Create a symbolic link.
   * @param options.existing  what happens if there is a file of this name (default: refused with EXIST)
   */
  symlink(target: PathLike, path: PathLike, options: { readonly existing?: 'replace' | 'refuse' } = {}): void {
    this.change('symlink', (volume) => {
      symlink(volume, target, path, options)
    })
  }

  /**
   * Create a hard link: a further name of a file.
   * @param options.existing  what happens if there is a file of this name (default: refused with EXIST)
   */
  link(source: FileRef, path: PathLike, options: { readonly existing?: 'replace' | 'refuse' } = {}): void {
    this.change('link', (volume) => link(volume, this.inode(source, false).ino, path, options))
  }

  /** @param options.existing what happens if there is a file of the new name (default: it is replaced) */
  rename(from: PathLike, to: PathLike, options: { readonly existing?: 'replace' | 'refuse' | 'exchange' } = {}): void {
    this.change('rename', (volume) => rename(volume, from, to, options))
  }

  unlink(path: PathLike): void {
    this.change('unlink', (volume) => unlink(volume, path))
  }

  rmdir(path: PathLike): void {
    this.change('rmdir', (volume) => rmdir(volume, path))
  }

  /**
   * Remove a file; with `recursive` a directory and everything below it; with `force` it is no
   * error if it does not exist.
   */
  rm(
    path: PathLike,
    { recursive = false, force = false }: { readonly recursive?: boolean; readonly force?: boolean } = {},
  ): void {
    this.change('rm', (volume) => {
      if (force && !this.#found(path, false)) return
      if (recursive) settle(removeTree(volume, path))
      else unlink(volume, path)
    })
  }

  /**
   * As `rm` with `recursive`.
   * @param options.onRemove  called for each name that was removed, with its path from `path`
   * @returns the number of names removed
   */
  removeTree(
    path: PathLike,
    { onRemove, ...options }: LongOptions & { readonly onRemove?: (path: Uint8Array) => void } = {},
  ): Promise<number> {
    return this.changeLong('removeTree', (volume) => removeTree(volume, path, onRemove), options)
  }

  /** Set permissions, with set-id and sticky bits. An access control list follows. */
  chmod(path: FileRef, mode: number): void {
    this.#changeInode('chmod', path, (volume, { ino }) => setAttributes(volume, ino, { permissions: mode }))
  }

  /** @param uid, gid  −1: not changed */
  chown(path: FileRef, uid: number, gid: number): void {
    this.#changeInode('chown', path, (volume, { ino }) => setAttributes(volume, ino, ownerOf(uid, gid)))
  }

  /** As `chown`; of a symbolic link itself. */
  lchown(path: FileRef, uid: number, gid: number): void {
    this.#changeInode('lchown', path, (volume, { ino }) => setAttributes(volume, ino, ownerOf(uid, gid)), false)
  }

  /** The time that changes made now have as their timestamps. */
  now(): Timestamp {
    return this.volume.now()
  }

  utimes(path: FileRef, atime: TimeLike, mtime: TimeLike): void {
    const times = { atime: timestampOf(atime), mtime: timestampOf(mtime) }
    this.#changeInode('utimes', path, (volume, { ino }) => setAttributes(volume, ino, times))
  }

  /** As `utimes`; of a symbolic link itself. */
  lutimes(path: FileRef, atime: TimeLike, mtime: TimeLike): void {
    const times = { atime: timestampOf(atime), mtime: timestampOf(mtime) }
    this.#changeInode('lutimes', path, (volume, { ino }) => setAttributes(volume, ino, times), false)
  }

  /** Set flags, the project and hints, as FSSETXATTR does. */
  chattr(path: FileRef, changes: FlagChanges): void {
    this.#changeInode('chattr', path, (volume, { ino }) => setAttributes(volume, ino, changes))
  }

  /** Extended attributes, by names as `user.origin`, `security.capability`, `system.posix_acl_access`. */
  readonly xattr = {
    /**
     * Names and values, in the order in which they are stored. Names that are not UTF-8 lose bytes
     * as text: `encoding: 'buffer'` has the bytes.
     */
    list: <Encoding extends 'utf8' | 'buffer' = 'utf8'>(
      path: FileRef,
      { follow = true, encoding }: { readonly follow?: boolean; readonly encoding?: Encoding } = {},
    ) =>
      Array.from(xattrs(this.inode(path, follow)), ({ name, value }) => ({
        name: (encoding === 'buffer' ? name : decoder.decode(name)) as Encoding extends 'buffer' ? Uint8Array : string,
        value,
      })),
    /** @throws XfsError NODATA */
    get: (path: FileRef, name: PathLike, { follow = true }: { readonly follow?: boolean } = {}): Uint8Array =>
      getXattr(this.inode(path, follow), bytesOf(name)),
    /** @param mode `create` fails if it exists, `replace` if it does not */
    set: (
      path: FileRef,
      name: PathLike,
      value: string | Uint8Array,
      { mode = 'any', follow = true }: { readonly mode?: 'any' | 'create' | 'replace'; readonly follow?: boolean } = {},
    ): void =>
      this.#changeInode(
        'xattr.set',
        path,
        (volume, { ino }) => setXattr(volume, ino, bytesOf(name), bytesOf(value), mode),
        follow,
      ),
    /** @throws XfsError NODATA */
    remove: (path: FileRef, name: PathLike, { follow = true }: { readonly follow?: boolean } = {}): void =>
      this.#changeInode('xattr.remove', path, (volume, { ino }) => removeXattr(volume, ino, bytesOf(name)), follow),
  }

  // -------------------------------------------------------------------------------- shared blocks

  /**
   * Share a range of `src` into `dst`, as FICLONERANGE does; without a range the whole file. A file
   * `dst` that does not exist is created, and appears complete or not at all.
   * @returns bytes shared, and extents mapped
   */
  reflink(
    src: FileRef,
    dst: FileRef,
    { srcOffset = 0, dstOffset = 0, length = 0, ...options }: Partial<RangeRequest> & LongOptions = {},
  ): Promise<CloneResult> {
    const request = { srcOffset, dstOffset, length }
    return this.changeLong('reflink', (volume) => this.#clone(volume, src, dst, request), options)
  }

  *#clone(volume: Volume, src: FileRef, dst: FileRef, request: RangeRequest): Steps<CloneResult> {
    const source = this.inode(src, true)
    const existing = this.#found(dst)
    if (existing || dst instanceof XfsFile)
      return yield* reflink(volume, source.ino, this.inode(dst, true).ino, request)
    checkNewClone(volume, source, request)
    let result: CloneResult = { length: 0, mapped: 0 }
    yield* createComplete(volume, creationPath(volume, dst), 0o644, function* (ino) {
      result = yield* reflink(volume, source.ino, ino, request)
    })
    return result
  }

  /**
   * Share a range of two files if it has the same content, as FIDEDUPERANGE does; without a range
   * all of `src`. Different content is a result, not an error.
   */
  dedupe(
    src: FileRef,
    dst: FileRef,
    { srcOffset = 0, dstOffset = 0, length, ...options }: Partial<RangeRequest> & LongOptions = {},
  ): Promise<DedupeResult> {
    const steps = (volume: Volume): Steps<DedupeResult> => {
      const source = this.inode(src, true)
      const all = length ?? most(0, subtract(source.size, srcOffset))
      return dedupeAll(volume, source.ino, this.inode(dst, true).ino, { srcOffset, dstOffset, length: all })
    }
    return this.changeLong('dedupe', steps, options)
  }

  /** Copy the shared blocks of a range, as FALLOC_FL_UNSHARE_RANGE does; without a range of the file. */
  unshare(
    path: FileRef,
    { offset = 0, length, keepSize = false, ...options }: Range & { readonly keepSize?: boolean } & LongOptions = {},
  ): Promise<UnshareResult> {
    const steps = (volume: Volume): Steps<UnshareResult> => {
      const inode = this.inode(path, true)
      const all = length ?? most(0, subtract(inode.size, offset))
      if (all === 0 && length === undefined && inode.isRegular) return nothing({ copied: 0, cleared: false })
      return unshare(volume, inode.ino, { offset, length: all, keepSize })
    }
    return this.changeLong('unshare', steps, options)
  }

  /** Defragment a file. */
  defragment(path: FileRef, { shared = 'skip', ...options }: FsrOptions & LongOptions = {}): Promise<FsrResult> {
    return this.changeLong('defragment', (volume) => fsr(volume, this.inode(path, true).ino, { shared }), options)
  }

  /** The mappings of a file in order, cut where sharing begins or ends. */
  *extents(path: FileRef, { fork = 'data' }: { readonly fork?: ForkName } = {}): Generator<Extent> {
    const { blocksize, fsbToDaddr } = this.geometry
    for (const run of mappedRuns(this.inode(path, true), fork)) {
      yield {
        offset: unitStart(run.startoff, blocksize),
        length: run.blockcount * blocksize,
        physical: fsbToDaddr(run.startblock) * 512,
        unwritten: run.unwritten,
        shared: run.shared,
      }
    }
  }

  /** Every other mapping of the blocks of a file; with `paths` also a path of each other file. */
  *shares(path: FileRef, { paths = false }: { readonly paths?: boolean } = {}): Generator<Share> {
    const { blocksize } = this.geometry
    const found = sharers(this.inode(path, true))
    for (const { item, path } of paths ? withPaths(this.volume, found, ({ ino }) => ino) : withoutPaths(found)) {
      yield {
        offset: unitStart(item.startoff, blocksize),
        length: item.blockcount * blocksize,
        ino: item.ino,
        inoOffset: unitStart(item.offset, blocksize),
        ...(path && { path }),
      }
    }
  }

  /**
   * How many blocks of an AG have how many owners (one row for each number above 1), and how many
   * are CoW staging blocks; of all AGs, or of one.
   * @throws XfsError INVAL (no such AG), CORRUPT, BADCRC
   */
  *ownerCounts({ agno }: { readonly agno?: number } = {}): Generator<OwnerCount> {
    for (const group of this.#groups(agno)) {
      const { blocks, cow } = refcountHistogram(this.volume, group)
      for (const [owners, count] of [...blocks].sort(([a], [b]) => a - b)) yield { agno: group, owners, blocks: count }
      if (cow > 0) yield { agno: group, owners: 'cow', blocks: cow }
    }
  }

  /**
   * The owner of every block of an AG, or of all AGs; in the order of the blocks. All numbers are in
   * blocks. Without the feature rmapbt only free space is known.
   * With `paths` also a path of each inode.
   * @throws XfsError INVAL (no such AG), CORRUPT, BADCRC
   */
  *owners({ agno, paths = false }: { readonly agno?: number; readonly paths?: boolean } = {}): Generator<OwnedSpace> {
    const { volume } = this
    const groups = this.#groups(agno)
    const records = function* () {
      for (const group of groups) yield* spaceMap(volume, group)
    }
    const inoOf = ({ owner }: SpaceRecord) => (typeof owner === 'number' ? owner : undefined)
    for (const { item, path } of paths ? withPaths(volume, records(), inoOf) : withoutPaths(records()))
      yield path ? { ...item, path } : item
  }

  /**
   * The owners of a block, with their paths; more than one if it is shared. A number is a byte
   * offset from the start of the filesystem.
   * @throws XfsError RANGE (no such block), CORRUPT
   */
  ownerOf(place: BlockPlace): BlockOwner[] {
    return blockOwners(this.volume, place)
  }

  /**
   * A path of a file or an inode number; undefined if it has none, or none that can be found. On a
   * damaged image, too.
   */
  pathOf(file: XfsFile | number, options?: { readonly encoding?: 'utf8' }): string | undefined
  pathOf(file: XfsFile | number, options: { readonly encoding: 'buffer' }): Uint8Array | undefined
  pathOf(
    file: XfsFile | number,
    { encoding = 'utf8' }: { encoding?: 'utf8' | 'buffer' } = {},
  ): string | Uint8Array | undefined {
    const ino = typeof file === 'number' ? file : this.inode(file, true).ino
    const path = pathsOf(this.volume, [ino]).get(ino)
    return path && encoding === 'utf8' ? decoder.decode(path) : path
  }

  /**
   * Paths of inodes; those without a path are not in the result. The tree is walked at most once
   * for all of them.
   */
  pathsOf(inos: Iterable<number>, options?: { readonly encoding?: 'utf8' }): Map<number, string>
  pathsOf(inos: Iterable<number>, options: { readonly encoding: 'buffer' }): Map<number, Uint8Array>
  pathsOf(
    inos: Iterable<number>,
    { encoding = 'utf8' }: { encoding?: 'utf8' | 'buffer' } = {},
  ): Map<number, string | Uint8Array> {
    const paths = pathsOf(this.volume, inos)
    if (encoding === 'buffer') return paths
    return new Map(Array.from(paths, ([ino, path]) => [ino, decoder.decode(path)]))
  }

  /**
   * Print the records of a btree as lines of text, JSON or CSV; `bmbt` is the extents of files. Of
   * a damaged tree every record that can be read is printed, and each fault is told.
   * @throws XfsError INVAL (no such AG, no such inode), NOENT (the inode is free), UNSUPPORTED (the
   *   filesystem has no such tree)
   */
  dump(tree: TreeName, options: DumpOptions): void {
    dump(this.volume, tree, options)
  }

  /**
   * The space of a file or a tree: shared, exclusive, and freed if it was removed. A symbolic link
   * is not followed.
   * `onError` is called for what cannot be read below `path`, with its path from there;
   *   without it such an error ends the measurement
   * @throws XfsError NOENT, CORRUPT, BADCRC …
   */
  async usage(
    path: FileRef,
    { onError, ...options }: LongOptions & { readonly onError?: (path: Uint8Array, error: XfsError) => void } = {},
  ): Promise<SpaceUsage> {
    const steps = (): Steps<TreeUsage> => treeUsage(this.inode(path, false), onError)
    const { inodes, size, blocks, ...usage } = await this.readLong('usage', steps, options)
    const bytes = (count: number): Bytes => unitStart(count, this.geometry.blocksize)
    return {
      inodes,
      size,
      total: bytes(blocks),
      referenced: bytes(usage.referenced),
      shared: bytes(usage.shared),
      exclusive: bytes(usage.exclusive),
      freed: bytes(usage.freed),
    }
  }

  // ----------------------------------------------------------------------------- check and recover

  /** Check the whole filesystem. Changes before it are made durable first. */
  check(): CheckResult {
    this.#requireIdle('check')
    this.sync()
    const { device } = this.volume
    // With the superblock as it is now.
    const result = check(device, Volume.open(device).geometry)
    addPaths(device, result)
    return result
  }

  /**
   * Free what an interrupted change left: unlinked inodes, CoW staging blocks, NEEDSREPAIR. The log
   * is replayed before, if it is dirty.
   */
  recover(): Recovered {
    return this.below('recover', (device) => recover(device))
  }

  /**
   * Repair what can be repaired. It is rehearsed in memory, and written only if a check of the
   * result finds no problems (or with `partial`).
   */
  repair(options: RepairOptions = {}): RepairResult {
    return this.below('repair', (device) => {
      const result = repair(device, options)
      addPaths(device, result.before, result.after)
      return result
    })
  }

  // ------------------------------------------------------------------------------ for subclasses

  protected get volume(): Volume {
    if (this.#closed) throw new XfsError('INVAL', 'the image is closed')
    return this.#volume
  }

  protected inode(path: FileRef, follow: boolean): Inode {
    return inodeOf(this.volume, path, follow)
  }

  /** A change at once. @throws XfsError ROFS, BUSY */
  protected change<T>(what: string, action: (volume: Volume) => T): T {
    this.#requireIdle(what)
    return action(this.#writable(what))
  }

  /** A change in steps; the next one is refused until it has ended. @throws XfsError ROFS, BUSY */
  protected async changeLong<T>(what: string, steps: (volume: Volume) => Steps<T>, options: LongOptions): Promise<T> {
    this.#requireIdle(what)
    const volume = this.#writable(what)
    const { running, end } = started(what)
    this.#busy = running
    try {
      return await run(steps(volume), options)
    } finally {
      this.#busy = undefined
      end()
    }
  }

  /** Reading in steps: changes are refused until it has ended. @throws XfsError BUSY */
  protected async readLong<T>(
    what: string,
    steps: (volume: Volume) => Steps<T>,
    options: LongOptions,
    between?: () => Promise<void> | undefined,
  ): Promise<T> {
    if (this.#busy) this.#requireIdle(what)
    const { running, end } = started(what)
    this.#readers.add(running)
    try {
      return await run(steps(this.volume), options, between)
    } finally {
      this.#readers.delete(running)
      end()
    }
  }

  /** Begin to write a file in pieces, when no long operation is running. End it with `closeWriter`. */
  protected async openWriter(
    path: FileRef,
    { mode = 0o644, flag = 'w', offset = 0 }: WriteOptions = {},
  ): Promise<FileWriter> {
    await this.#idle()
    return this.change('writing a file', (volume) => {
      const found = this.#existing(path, flag)
      if (found && !found.isRegular) this.#regular(path)
      if (found && flag === 'w') truncate(volume, found.ino, 0)
      const start = flag === 'a' && found ? found.size : flag === 'r+' ? offset : 0
      const writer = new FileWriter(
        volume,
        found ? { ino: found.ino } : createUnfinished(volume, creationPath(volume, path as PathLike), mode),
        start,
      )
      this.#writers.add(writer)
      return writer
    })
  }

  /** @throws XfsError INVAL if the image was closed */
  protected async useWriter(writer: FileWriter, action: () => void): Promise<void> {
    await this.#idle()
    this.change('writing a file', action)
    if (!this.#writers.has(writer)) throw new XfsError('INVAL', 'the image is closed')
  }

  /** Remove a new file that is incomplete. */
  protected async closeWriter(writer: FileWriter): Promise<void> {
    await this.#idle()
    this.#writers.delete(writer)
    if (!this.#closed) writer.abandon()
  }

  /** Work on the device below the open filesystem, which is then opened again. */
  protected below<T>(what: string, action: (device: Device) => T): T {
    this.#requireIdle(what)
    if (this.#writers.size > 0) throw new XfsError('BUSY', `${what}: a file is being written`)
    const { volume } = this
    if (this.#options.write !== true) throw readOnly(what)
    if (volume.writable) volume.sync()
    const { device } = volume
    try {
      return action(device)
    } finally {
      this.#reopen(device)
    }
  }

  /** The work may have failed half-way: an image that `open` would refuse can only be read then. */
  #reopen(device: Device): void {
    const options = { ...this.#options, dryRun: false }
    try {
      this.#volume = openVolume(device, options).volume
      this.#refusal = undefined
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      this.#refusal = error
      this.#volume = openVolume(device, { ...options, write: false, log: 'ignore' }).volume
    }
  }

  /** @throws XfsError INVAL */
  #groups(agno: number | undefined): Iterable<number> {
    const { agcount } = this.geometry
    if (agno === undefined) return Array(agcount).keys()
    if (!Number.isInteger(agno) || agno < 0 || agno >= agcount)
      throw new XfsError('INVAL', `AG ${agno} does not exist: there are ${agcount}`)
    return [agno]
  }

  #writable(what: string): Volume {
    const { volume } = this
    if (this.#refusal) throw this.#refusal
    if (volume.writable) return volume
    throw readOnly(what)
  }

  get #running(): { readonly what: string; readonly ended: Promise<void> } | undefined {
    return this.#busy ?? [...this.#readers][0]
  }

  /** No long operation is running. */
  async #idle(): Promise<void> {
    for (let { ended } = this.#running ?? {}; ended; { ended } = this.#running ?? {}) await ended
  }

  #requireIdle(what: string): void {
    const running = this.#running
    if (running) throw new XfsError('BUSY', `${what}: ${running.what} has not ended yet`)
  }

  /** The file to write to; undefined: a new one. @throws XfsError EXIST, NOENT */
  #existing(path: FileRef, flag: NonNullable<WriteOptions['flag']>): Inode | undefined {
    const found = this.#found(path)
    if (found && flag.endsWith('x')) throw new XfsError('EXIST', 'the file exists', { ino: found.ino })
    if (!found && (flag === 'r+' || path instanceof XfsFile)) throw new XfsError('NOENT', 'no such file')
    return found
  }

  #regular(path: FileRef): Inode {
    const inode = this.inode(path, true)
    if (inode.isDirectory) throw new XfsError('ISDIR', `inode ${inode.ino} is a directory`, { ino: inode.ino })
    if (!inode.isRegular) throw new XfsError('INVAL', `inode ${inode.ino} is not a regular file`, { ino: inode.ino })
    return inode
  }

  #found(path: FileRef, follow = true): Inode | undefined {
    try {
      return this.inode(path, follow)
    } catch (error) {
      if (error instanceof XfsError && error.code === 'NOENT') return undefined
      throw error
    }
  }

  #changeInode(what: string, path: FileRef, action: (volume: Volume, inode: Inode) => void, follow = true): void {
    this.change(what, (volume) => action(volume, this.inode(path, follow)))
  }
}

function* withoutPaths<Item>(items: Iterable<Item>): Generator<{ readonly item: Item; readonly path: undefined }> {
  for (const item of items) yield { item, path: undefined }
}

const readOnly = (what: string): XfsError => new XfsError('ROFS', `${what}: the image was opened for reading`)

/** The bytes of an image are copied. Not by `instanceof`: those of another realm are bytes, too. */
export const deviceOf = (target: Device | ArrayBuffer | Uint8Array): Device => {
  if (!('byteLength' in target)) return target
  return memoryDevice(target.byteLength, 'buffer' in target ? target : new Uint8Array(target))
}

/** As for chown(2), −1 stands for no change. */
const ownerOf = (uid: number, gid: number) => ({
  uid: uid === -1 ? undefined : uid,
  gid: gid === -1 ? undefined : gid,
})

const bytesOf = (text: string | Uint8Array): Uint8Array => (typeof text === 'string' ? encoder.encode(text) : text)

// biome-ignore lint/correctness/useYield: there is nothing to do
function* nothing<T>(result: T): Steps<T> {
  return result
}

/** A long operation: its name, and the promise that ends with it. */
function started(what: string) {
  let end = (): void => {}
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  return { running: { what, ended }, end }
}

function settle<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}
