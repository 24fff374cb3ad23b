import { type FlagChanges, setAttributes } from '../attr/setattr.ts'
import { getXattr, removeXattr, setXattr, xattrs } from '../attr/xattrs.ts'
import { falloc, fcollapse, finsert, fpunch, fzero, truncate } from '../data/fallocate.ts'
import { prepareWrite, writeFile } from '../data/write.ts'
import { XfsError } from '../errors.ts'
import type { Timestamp } from '../format/time.ts'
import type { Inode } from '../inode/inode.ts'
import { requireBlocks } from '../mapping/runs.ts'
import { link, mkdir, mknod, type PathLike, rename, rmdir, symlink, unlink } from '../namespace/namespace.ts'
import { createComplete, createUnfinished, makeDirectories } from '../namespace/newfile.ts'
import { removeTree } from '../namespace/removetree.ts'
import { creationPath } from '../namespace/resolve.ts'
import { type Bytes, unitsFor } from '../util/bytes.ts'
import { pathBytes } from '../util/printable.ts'
import type { Volume } from '../volume.ts'
import { bytesOf, choiceOf, idOf, iterableOf, modeOf, optionsOf, positionOf, requireObject } from './arguments.ts'
import { type FileRef, XfsFile } from './file.ts'
import { FileWriter } from './filewriter.ts'
import { ImageReading } from './reading.ts'
import type { LongOptions } from './run.ts'
import { type TimeLike, timestampOf } from './stats.ts'

const decoder = new TextDecoder()

export interface WriteOptions {
  /** Permissions of a file that is created (default: 0o644). */
  readonly mode?: number
  /**
   * As in Node: `w` (default) replaces the content, `r+` writes into it, `a` appends; with `x` the
   * file must not exist; `r+` needs one that exists.
   */
  readonly flag?: 'w' | 'wx' | 'r+' | 'a' | 'ax'
  /** Where the data go, with `r+` or in a new file (default: 0). */
  readonly offset?: Bytes
}

export interface StreamOptions extends WriteOptions {
  /** Bytes that are known to come (default: 0): without space for them nothing is written. */
  readonly length?: number
}

/** The part of `XfsImageCore` that changes files. */
export abstract class ImageChanging extends ImageReading {
  /**
   * Write a file. A new one appears with its content or not at all. An existing one is overwritten
   * in place, and is unchanged if there is not enough space.
   * @throws XfsError EXIST, NOENT, ISDIR, NOSPC, FBIG, PERM
   */
  writeFile(path: FileRef, data: string | Uint8Array, options: WriteOptions = {}): void {
    const { mode, flag, offset } = writingOf(options)
    const bytes = bytesOf(data)
    this.change('writeFile', (volume) => {
      const found = this.#existing(path, flag)
      if (!found) {
        const steps = createComplete(volume, creationPath(volume, path as PathLike), mode, (ino) => {
          const start = flag.startsWith('a') ? 0 : offset
          prepareWrite(volume, ino, start, bytes.length)
          writeFile(volume, ino, start, bytes)
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
    given: StreamOptions & { readonly signal?: AbortSignal } = {},
  ): Promise<number> {
    const { signal, ...options } = optionsOf(given)
    iterableOf('pieces', pieces)
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
    this.#changeInode('truncate', path, (volume, { ino }) => truncate(volume, ino, positionOf('size', size)))
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
    optionsOf(options)
    positionOf('offset', offset)
    positionOf('length', length)
    const actions = { allocate: falloc, punch: fpunch, zero: fzero, collapse: fcollapse, insert: finsert }
    const act = actions[choiceOf('action', action, ['allocate', 'punch', 'zero', 'collapse', 'insert'])]
    this.#changeInode('fallocate', path, (volume, { ino }) => act(volume, ino, offset, length, options))
  }

  /** @returns the first directory that was created, with `recursive`; as in Node */
  mkdir(path: PathLike, options: { readonly mode?: number; readonly recursive?: boolean } = {}): string | undefined {
    const { mode = 0o755, recursive = false } = optionsOf(options)
    return this.change('mkdir', (volume) => {
      if (!recursive) {
        mkdir(volume, path, modeOf(mode))
        return undefined
      }
      const first = makeDirectories(volume, path, modeOf(mode))
      return first && decoder.decode(first)
    })
  }

  /**
   * A device node, fifo or socket. @param mode type and permissions
   * @throws XfsError INVAL (another type), EXIST …
   */
  mknod(path: PathLike, mode: number, device?: { readonly major: number; readonly minor: number }): void {
    this.change('mknod', (volume) => {
      mknod(volume, path, modeOf(mode), device ? { device } : {})
    })
  }

  /**
   * Create a symbolic link.
   * @param options.existing  what happens if there is a file of this name (default: refused with
   *   EXIST)
   */
  symlink(target: PathLike, path: PathLike, options: { readonly existing?: 'replace' | 'refuse' } = {}): void {
    checkExisting(options, ['replace', 'refuse'])
    this.change('symlink', (volume) => {
      symlink(volume, pathBytes(target), path, options)
    })
  }

  /**
   * Create a hard link: a further name of a file.
   * @param options.existing  what happens if there is a file of this name (default: refused with
   *   EXIST)
   */
  link(source: FileRef, path: PathLike, options: { readonly existing?: 'replace' | 'refuse' } = {}): void {
    checkExisting(options, ['replace', 'refuse'])
    this.change('link', (volume) => link(volume, this.inode(source, false).ino, path, options))
  }

  /**
   * @param options.existing what happens if there is a file of the new name (default: it is
   *   replaced)
   */
  rename(from: PathLike, to: PathLike, options: { readonly existing?: 'replace' | 'refuse' | 'exchange' } = {}): void {
    checkExisting(options, ['replace', 'refuse', 'exchange'])
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
  rm(path: PathLike, options: { readonly recursive?: boolean; readonly force?: boolean } = {}): void {
    const { recursive = false, force = false } = optionsOf(options)
    this.change('rm', (volume) => {
      if (force && !this.found(path, false)) return
      if (recursive) settle(removeTree(volume, path))
      else unlink(volume, path)
    })
  }

  /**
   * As `rm` with `recursive`. `onRemove` is called for each name that was removed, with its path
   * from `path`.
   * @returns the number of names removed
   */
  removeTree(
    path: PathLike,
    given: LongOptions & { readonly onRemove?: (path: Uint8Array) => void } = {},
  ): Promise<number> {
    const { onRemove, ...options } = optionsOf(given)
    return this.changeLong('removeTree', (volume) => removeTree(volume, path, onRemove), options)
  }

  /** Set permissions, with set-id and sticky bits. An access control list follows. */
  chmod(path: FileRef, mode: number): void {
    this.#changeInode('chmod', path, (volume, { ino }) => setAttributes(volume, ino, { permissions: modeOf(mode) }))
  }

  /** An ID of −1 is not changed. */
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
    requireObject('changes', changes)
    for (const name of ['projid', 'extsize', 'cowextsize'] as const)
      if (changes[name] !== undefined) idOf(name, changes[name])
    for (const name of ['set', 'clear'] as const)
      if (changes[name] !== undefined && typeof changes[name] !== 'string') iterableOf(name, changes[name])
    this.#changeInode('chattr', path, (volume, { ino }) => setAttributes(volume, ino, changes))
  }

  /**
   * Extended attributes, by names as `user.origin`, `security.capability`,
   * `system.posix_acl_access`.
   */
  readonly xattr = {
    /**
     * Names and values, in the order in which they are stored. Names that are not UTF-8 lose bytes
     * as text: `encoding: 'buffer'` has the bytes.
     */
    list: <Encoding extends 'utf8' | 'buffer' = 'utf8'>(
      path: FileRef,
      options: { readonly follow?: boolean; readonly encoding?: Encoding } = {},
    ) => {
      const { follow = true, encoding } = optionsOf(options)
      return Array.from(xattrs(this.inode(path, follow)), ({ name, value }) => ({
        name: (encoding === 'buffer' ? name : decoder.decode(name)) as Encoding extends 'buffer' ? Uint8Array : string,
        value,
      }))
    },
    /** @throws XfsError NODATA */
    get: (path: FileRef, name: PathLike, options: { readonly follow?: boolean } = {}): Uint8Array =>
      getXattr(this.inode(path, optionsOf(options).follow ?? true), bytesOf(name)),
    /** @param options  `mode`: `create` fails if it exists, `replace` if it does not */
    set: (
      path: FileRef,
      name: PathLike,
      value: string | Uint8Array,
      options: { readonly mode?: 'any' | 'create' | 'replace'; readonly follow?: boolean } = {},
    ): void => {
      const { mode = 'any', follow = true } = optionsOf(options)
      this.#changeInode(
        'xattr.set',
        path,
        (volume, { ino }) =>
          setXattr(
            volume,
            ino,
            bytesOf(name),
            bytesOf(value),
            choiceOf<'any' | 'create' | 'replace'>('mode', mode, ['any', 'create', 'replace']),
          ),
        follow,
      )
    },
    /** @throws XfsError NODATA */
    remove: (path: FileRef, name: PathLike, options: { readonly follow?: boolean } = {}): void => {
      const { follow = true } = optionsOf(options)
      this.#changeInode('xattr.remove', path, (volume, { ino }) => removeXattr(volume, ino, bytesOf(name)), follow)
    },
  }

  /**
   * Begin to write a file in pieces, when no long operation is running. End it with `closeWriter`.
   */
  protected async openWriter(path: FileRef, options: StreamOptions = {}): Promise<FileWriter> {
    const { mode, flag, offset } = writingOf(options)
    const length = Number(positionOf('length', options.length ?? 0))
    await this.idle()
    return this.changeForNow('writing a file', (volume) => {
      const found = this.#existing(path, flag)
      if (found && !found.isRegular) this.regular(path)
      if (found) this.kept = true
      if (found && flag === 'w') {
        // The content is kept if the new one does not fit.
        prepareWrite(volume, found.ino, 0, length)
        truncate(volume, found.ino, 0)
      }
      if (!found) requireBlocks(volume, unitsFor(length, volume.geometry.blocksize))
      const file = found ? { ino: found.ino } : createUnfinished(volume, creationPath(volume, path as PathLike), mode)
      const start = flag.startsWith('a') ? (found?.size ?? 0) : found && flag === 'w' ? 0 : offset
      const writer = new FileWriter(volume, file, start)
      try {
        prepareWrite(volume, file.ino, start, length)
      } catch (error) {
        writer.abandon()
        throw error
      }
      this.writers.add(writer)
      return writer
    })
  }

  /** @throws XfsError INVAL if the image was closed */
  protected async useWriter(writer: FileWriter, action: () => void): Promise<void> {
    await this.idle()
    if (!writer.unnamed) this.change('writing a file', action)
    else {
      this.changeForNow('writing a file', action)
      if (!writer.unnamed) this.kept = true
    }
    if (!this.writers.has(writer)) throw new XfsError('INVAL', 'the image is closed')
  }

  /** Remove a new file that is incomplete. */
  protected async closeWriter(writer: FileWriter): Promise<void> {
    await this.idle()
    this.writers.delete(writer)
    if (!this.closed) writer.abandon()
  }

  /** The file to write to; undefined: a new one. @throws XfsError EXIST, NOENT */
  #existing(path: FileRef, flag: NonNullable<WriteOptions['flag']>): Inode | undefined {
    const found = this.found(path)
    if (found && flag.endsWith('x')) throw new XfsError('EXIST', 'the file exists', { ino: found.ino })
    if (!found && (flag === 'r+' || path instanceof XfsFile)) throw new XfsError('NOENT', 'no such file')
    return found
  }

  #changeInode(what: string, path: FileRef, action: (volume: Volume, inode: Inode) => void, follow = true): void {
    this.change(what, (volume) => action(volume, this.inode(path, follow)))
  }
}

/** Options with their defaults. @throws XfsError INVAL */
function writingOf(options: WriteOptions): Required<WriteOptions> {
  const { mode = 0o644, flag = 'w', offset = 0 } = optionsOf(options)
  return {
    mode: modeOf(mode),
    flag: choiceOf('flag', flag, ['w', 'wx', 'r+', 'a', 'ax']),
    offset: positionOf('offset', offset),
  }
}

function checkExisting<Existing extends string>(
  options: { readonly existing?: Existing },
  values: readonly Existing[],
): void {
  const { existing } = optionsOf(options)
  if (existing !== undefined) choiceOf('existing', existing, values)
}

/** As for chown(2), −1 stands for no change. */
const ownerOf = (uid: number, gid: number) => ({
  uid: idOf('uid', uid, -1) === -1 ? undefined : uid,
  gid: idOf('gid', gid, -1) === -1 ? undefined : gid,
})

function settle<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}
