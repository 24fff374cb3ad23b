import {chmodSync, 
  closeSync, constants, fchmodSync, fchownSync, ftruncateSync, lchownSync, linkSync, lstatSync, mkdirSync, openSync, symlinkSync, unlinkSync,
  utimesSync, writeSync,
} from 'node:fs' // biome-ignore format: short
import { type Native, native } from '../device/native.ts'
import { XfsError } from '../errors.ts'
import { fileChunks } from '../file/data.ts'
import { deviceNumber, FILE_TYPES, type Inode } from '../file/inode.ts'
import { printable } from '../file/names.ts'
import { readSymlink } from '../file/symlink.ts'
import { xattrs } from '../file/xattrs.ts'
import type { Timestamp } from '../format/time.ts'
import { add, type Bytes } from '../util/bytes.ts'
import type { Steps } from '../util/progress.ts'
import { type Outgoing, outgoing, requireCopyable } from './fromimage.ts'
import { hostMessage } from './hostwalk.ts'
import type { Problems } from './problems.ts'

/**
 * Writing trees of an image to the host. The image is not trusted: every directory is made here, or is one already (never a link to one), every file is made
 * anew, so that nothing outside of the target is reached, whatever names and links the image holds.
 */
export interface ToHostOptions {
  /** Owners too (for root). */
  readonly owner: boolean
  readonly xattrs: boolean
  /** Device nodes too. */
  readonly devices: boolean
}

export interface ToHostCount {
  files: number
  bytes: number
  /** Left out because nobody asked for them, or they cannot be made here. */
  devices: number
  special: number
  /** Left out because only root can set them. */
  attributes: number
}

const SLASH = 0x2f
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (constants.O_NOFOLLOW ?? 0)

export class HostWriter {
  readonly #options: ToHostOptions
  readonly #problems: Problems
  readonly #native: Native | undefined
  /** Of the directories that were entered and not left: was it there before? */
  readonly #existed: boolean[] = []
  readonly count: ToHostCount = { files: 0, bytes: 0, devices: 0, special: 0, attributes: 0 }

  constructor(options: ToHostOptions, problems: Problems) {
    this.#options = options
    this.#problems = problems
    this.#native = native()
  }

  /** Write a file or tree to `target`: a path that is not there, or for a directory one that is. */
  *write(top: Inode, target: Buffer): Steps<void> {
    const hostPath = (below: Uint8Array): Buffer =>
      below.length === 0 ? target : Buffer.concat([target, Uint8Array.of(SLASH), below])
    const walk = outgoing(top, (path, error) => this.#problems.add(hostPath(path), error))
    for (let step = walk.next(); !step.done; ) {
      const { kind, file } = step.value
      const path = hostPath(file.path)
      let skip = false
      try {
        if (kind === 'enter') this.#existed.push(this.#enter(path))
        else if (kind === 'leave') {
          const old = this.#existed.pop() === true
          this.#finish(path, file.inode, old || this.#inherits)
        } else yield* this.#one(path, file, target)
        if (kind !== 'leave') this.count.files++
      } catch (error) {
        skip = kind === 'enter'
        this.#tell(path, error)
      }
      yield { what: 'copying', done: this.count.files }
      step = walk.next(skip)
    }
  }

  /** @throws what is not about this one file */
  #tell(path: Uint8Array, error: unknown): void {
    const { code, syscall } = error as NodeJS.ErrnoException
    if (code === 'ENOSPC' || code === 'EDQUOT')
      throw new XfsError(
        'NOSPC',
        `no space left on the host's disk at ${printable(path)}`,
        {},
        { cause: error as Error },
      )
    if (error instanceof XfsError) this.#problems.add(path, error)
    else if (syscall !== undefined || (error as Error).name === 'NativeError')
      this.#problems.add(path, hostMessage(error))
    else throw error
  }

  /** A directory, for us alone until it is complete. One that exists must be a directory itself. @returns whether it did */
  #enter(path: Buffer): boolean {
    try {
      mkdirSync(path, 0o700)
      return false
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !lstatSync(path).isDirectory()) throw error
      return true
    }
  }

  /** Is what is made now in a directory that we did not make? Then it may have inherited access control lists. */
  get #inherits(): boolean {
    return this.#existed.at(-1) !== false
  }

  *#one(path: Buffer, file: Outgoing, target: Buffer): Steps<void> {
    const { inode, linkTo } = file
    if (linkTo) {
      this.#anew(path, () => linkSync(Buffer.concat([target, Uint8Array.of(SLASH), linkTo]), path))
      return
    }
    if (inode.isRegular) {
      yield* this.#regular(path, inode)
      return
    }
    if (inode.isSymlink) this.#anew(path, () => symlinkSync(Buffer.from(readSymlink(inode)), path))
    else if (!this.#special(path, inode)) return
    this.#finish(path, inode, this.#inherits)
  }

  /** Make a file, in place of one that is there. */
  #anew<T>(path: Buffer, make: () => T): T {
    try {
      return make()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      unlinkSync(path)
      return make()
    }
  }

  *#regular(path: Buffer, inode: Inode): Steps<void> {
    requireCopyable(inode)
    const fd = this.#anew(path, () => openSync(path, NEW_FILE, 0o600))
    let complete = false
    try {
      let end: Bytes = 0
      for (const { offset, length, bytes } of fileChunks(inode)) {
        if (!bytes) continue
        this.#writeAll(fd, bytes, offset)
        end = add(offset, length)
        this.count.bytes += bytes.length
        if (length >= PROGRESS_BYTES) yield { what: 'copying', done: this.count.files }
      }
      if (end < inode.size) this.#truncate(fd, inode.size)
      if (this.#options.owner) fchownSync(fd, inode.uid, inode.gid)
      fchmodSync(fd, this.#permissions(inode))
      complete = true
    } finally {
      closeSync(fd)
      if (!complete) unlinkSync(path)
    }
    this.#attributes(path, inode, this.#inherits)
    this.#times(path, inode)
  }

  #writeAll(fd: number, bytes: Uint8Array, offset: Bytes): void {
    const end = add(offset, bytes.length)
    if (typeof end === 'bigint') this.#large().seek(fd, offset)
    const position = (done: number): number | null => (typeof end === 'bigint' ? null : Number(offset) + done)
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, position(done))
  }

  #truncate(fd: number, size: Bytes): void {
    if (typeof size === 'bigint') this.#large().truncate(fd, size)
    else ftruncateSync(fd, size)
  }

  /** The calls for places that Node's own cannot reach. @throws XfsError FBIG */
  #large(): Native {
    if (this.#native) return this.#native
    throw new XfsError('FBIG', 'files of more than 2^53 bytes cannot be written here without the native calls')
  }

  /** @returns false where it is left out */
  #special(path: Buffer, inode: Inode): boolean {
    const isDevice = inode.type === FILE_TYPES.blk || inode.type === FILE_TYPES.chr
    const calls = this.#native
    if (isDevice && !this.#options.devices) {
      this.count.devices++
      this.count.files--
      return false
    }
    if (!calls) {
      this.count.special++
      this.count.files--
      return false
    }
    const { major, minor } = isDevice ? deviceNumber(inode) : { major: 0, minor: 0 }
    this.#anew(path, () => {
      try {
        calls.mknod(path, inode.type | 0o600, major, minor)
      } catch (error) {
        // Told like a call of Node's.
        throw Object.assign(error as Error, { syscall: 'mknod' })
      }
    })
    return true
  }

  /** Set-id bits go with the owner. */
  #permissions(inode: Inode): number {
    return inode.mode & (this.#options.owner ? 0o7777 : 0o1777)
  }

  /** Owner, permissions, attributes and times of what is not a regular file. */
  #finish(path: Buffer, inode: Inode, inherits: boolean): void {
    if (this.#options.owner) lchownSync(path, inode.uid, inode.gid)
    this.#attributes(path, inode, inherits)
    // The last component is what was made here, and no link.
    if (!inode.isSymlink) chmodSync(path, this.#permissions(inode))
    this.#times(path, inode)
  }

  #attributes(path: Buffer, inode: Inode, inherits: boolean): void {
    const calls = this.#native
    if (!calls || !this.#options.xattrs) return
    if (inherits && !inode.isSymlink) {
      try {
        for (const name of ACLS) calls.removeXattr(path, name)
      } catch {
        // A filesystem without such lists has none to take away.
      }
    }
    const refused: string[] = []
    for (const { name, value } of xattrs(inode)) {
      try {
        calls.setXattr(path, name, value)
      } catch (error) {
        if (!this.#options.owner && (error as NodeJS.ErrnoException).code === 'EPERM' && isPrivileged(name))
          this.count.attributes++
        else refused.push(`attribute ${printable(name)}: ${(error as Error).message}`)
      }
    }
    const [first] = refused
    if (first !== undefined)
      this.#problems.add(path, refused.length === 1 ? first : `${first}; and ${refused.length - 1} other attributes`)
  }

  #times(path: Buffer, inode: Inode): void {
    const { atime, mtime } = inode
    if (this.#native) this.#native.setTimes(path, nanoseconds(atime), nanoseconds(mtime))
    else if (!inode.isSymlink) utimesSync(path, asNumber(atime), asNumber(mtime))
  }
}

/** Only root can set attributes of these namespaces. */
const isPrivileged = (name: Uint8Array): boolean => /^(trusted|security)\./.test(Buffer.from(name).toString('latin1'))

const ACLS = ['system.posix_acl_access', 'system.posix_acl_default'].map((name) => Buffer.from(name))

const PROGRESS_BYTES = 2 ** 20

const nanoseconds = ({ seconds, nanoseconds: rest }: Timestamp): bigint =>
  BigInt(seconds) * 1_000_000_000n + BigInt(rest)
const asNumber = ({ seconds, nanoseconds: rest }: Timestamp): Date => new Date(seconds * 1000 + rest / 1e6)
