import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  type Stats,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { fileChunks } from '../data/data.ts'
import { type Native, native, withoutNative } from '../device/native.ts'
import { outputFile, temporaryName } from '../device/outputfile.ts'
import { XfsError } from '../errors.ts'
import { FILE_TYPES, S_IFMT } from '../format/dinode.ts'
import type { Timestamp } from '../format/time.ts'
import { deviceNumber, type Inode } from '../inode/inode.ts'
import { readSymlink } from '../symlink.ts'
import { add, type Bytes, capped, subtract } from '../util/bytes.ts'
import { printable } from '../util/printable.ts'
import type { Steps } from '../util/progress.ts'
import { hostSink, openStream } from './bytesink.ts'
import { type Outgoing, outgoing, outgoingXattrs, requireCopyable } from './fromimage.ts'
import { hostMessage } from './hostwalk.ts'
import { below, checkHostName } from './names.ts'
import type { Problems } from './problems.ts'

/**
 * Writing trees of an image to the host. The image is not trusted: every directory is made here, or is one already (never a
 * link to one), every file is made here, so that nothing outside of the target is reached, whatever names and links the image
 * holds. A file that is there is replaced when the new one is complete; where that fails, it stays.
 */
export interface ToHostOptions {
  /** Owners too (for root). */
  readonly owner: boolean
  readonly xattrs: boolean
  /** Device nodes: made, left out, or left out and told. */
  readonly devices: 'made' | 'left' | 'told'
}

const SLASH = 0x2f
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (constants.O_NOFOLLOW ?? 0)

export class HostWriter {
  readonly #options: ToHostOptions
  readonly #problems: Problems
  readonly #native: Native | undefined
  /** Of the directories that were entered and not left: was it there before? */
  readonly #existed: boolean[] = []
  readonly count = { files: 0, bytes: 0 }

  constructor(options: ToHostOptions, problems: Problems) {
    this.#options = options
    this.#problems = problems
    this.#native = native()
  }

  /**
   * Write a file or tree to `target`: a path that is not there, or for a directory one that is.
   * @param named what is at `target` is meant, as cp has it: a regular file goes into the device or fifo, or through the link
   */
  *write(top: Inode, target: Buffer, named: boolean): Steps<void> {
    const hostPath = (path: Uint8Array): Buffer => (path.length === 0 ? target : below(target, path))
    const walk = outgoing(top, (path, error) => this.#problems.add(hostPath(path), error))
    for (let step = walk.next(); !step.done; ) {
      const { kind, file } = step.value
      const path = hostPath(file.path)
      let left = false
      try {
        checkHostName(file.path.subarray(file.path.lastIndexOf(SLASH) + 1))
        if (kind === 'enter') this.#existed.push(this.#enter(path))
        else if (kind === 'leave') {
          const old = this.#existed.pop() === true
          this.#finish(path, path, file.inode, old || this.#inherits)
        } else if (named && file.path.length === 0) yield* this.#named(path, file)
        else left = !(yield* this.#below(path, file, target))
        if (kind !== 'leave' && !left) this.count.files++
      } catch (error) {
        left = kind !== 'leave'
        this.#tell(path, error)
      }
      yield { what: 'copying', done: this.count.files }
      step = walk.next(left)
    }
  }

  /** @throws what is not about this one file */
  #tell(path: Uint8Array, error: unknown): void {
    // What the host says is told by itself: the path is told anyway.
    const said = error instanceof XfsError ? error.cause : error
    if (isOfHost(said)) this.#problems.add(path, hostMessage(said))
    else if (error instanceof XfsError) this.#problems.add(path, error)
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

  /** A file whose very path was given. */
  *#named(path: Buffer, file: Outgoing): Steps<void> {
    if (!file.inode.isRegular) {
      const there = lstatSync(path, { throwIfNoEntry: false })
      if (there && !there.isFile() && !there.isSymbolicLink()) throw inTheWay(there)
      yield* this.#below(path, file, path)
      return
    }
    requireCopyable(file.inode)
    const output = outputFile(path, 'new')
    try {
      if (output.inPlace) yield* this.#stream(path, file.inode)
      else yield* this.#regular(Buffer.from(output.path as string), path, file.inode)
      output.commit()
    } catch (error) {
      output.abandon()
      throw error
    }
  }

  /** Into a device or fifo: all bytes in turn, holes too, and nothing but the bytes. */
  *#stream(path: Buffer, inode: Inode): Steps<void> {
    const fd = yield* openStream(path)
    try {
      const sink = hostSink(fd, printable(path))
      for (const { bytes, length } of fileChunks(inode)) {
        if (bytes) sink.write(bytes)
        else
          for (let done = 0; done < length; done += ZEROS.length) {
            sink.write(ZEROS.subarray(0, capped(subtract(length, done), ZEROS.length)))
            yield { what: 'copying', done: this.count.files }
          }
        this.count.bytes += bytes?.length ?? 0
        yield { what: 'copying', done: this.count.files }
      }
      sink.end()
    } finally {
      closeSync(fd)
    }
  }

  /** A file at a path below the target. @returns false where it is left out on demand */
  *#below(path: Buffer, file: Outgoing, target: Buffer): Steps<boolean> {
    if (this.#options.devices === 'left' && isDevice(file.inode)) return false
    // In a directory of our own nothing can be in the way, but what a damaged image has twice.
    const there = this.#inherits ? lstatSync(path, { throwIfNoEntry: false }) : undefined
    if (!there) {
      yield* this.#make(path, path, file, target)
      return true
    }
    const isSpecial = !there.isFile() && !there.isSymbolicLink()
    if (there.isDirectory() || (isSpecial && (there.mode & S_IFMT) !== file.inode.type)) throw inTheWay(there)
    const beside = temporaryName(path)
    try {
      yield* this.#make(beside, path, file, target)
      renameSync(beside, path)
    } finally {
      // It is there still where something failed, or where both were names of one file.
      rmSync(beside, { force: true })
    }
    return true
  }

  /**
   * Make a file.
   * @param path   where nothing is
   * @param shown  its path for messages
   */
  *#make(path: Buffer, shown: Buffer, { inode, linkTo }: Outgoing, target: Buffer): Steps<void> {
    if (linkTo) linkSync(below(target, linkTo), path)
    else if (inode.isRegular) yield* this.#regular(path, shown, inode)
    else {
      if (inode.isSymlink) symlinkSync(Buffer.from(readSymlink(inode)), path)
      else this.#special(path, inode)
      this.#finish(path, shown, inode, this.#inherits)
    }
  }

  *#regular(path: Buffer, shown: Buffer, inode: Inode): Steps<void> {
    requireCopyable(inode)
    const fd = openSync(path, NEW_FILE, 0o600)
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
      complete = true
      this.#finish(path, shown, inode, this.#inherits, fd)
    } finally {
      closeSync(fd)
      if (!complete) unlinkSync(path)
    }
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

  #special(path: Buffer, inode: Inode): void {
    const device = isDevice(inode)
    if (device && this.#options.devices === 'told')
      throw new XfsError('UNSUPPORTED', 'a device node: made only on demand (--devices)', { ino: inode.ino })
    const calls = this.#native
    if (!calls) throw new XfsError('UNSUPPORTED', `${kindOf(inode)} cannot be made here (${withoutNative()})`)
    const { major, minor } = device ? deviceNumber(inode) : { major: 0, minor: 0 }
    calls.mknod(path, inode.type | 0o600, major, minor)
  }

  /**
   * Owner, attributes, permissions and times. What cannot be set is told; the file stays without it.
   * @param fd of a regular file, which is open
   */
  #finish(path: Buffer, shown: Buffer, inode: Inode, inherits: boolean, fd?: number): void {
    const { uid, gid, mode, isSymlink } = inode
    const lost = new Losses()
    const chown = () => (fd === undefined ? lchownSync(path, uid, gid) : fchownSync(fd, uid, gid))
    const owned = this.#options.owner && lost.attempt('owner', chown)
    // A new owner takes capabilities away, and what nobody may write takes no attributes.
    if (this.#options.xattrs) this.#attributes(path, inode, inherits, lost)
    // Set-id bits go with the owner only.
    const permissions = mode & (owned ? 0o7777 : 0o1777)
    // The last component is what was made here, and no link.
    const chmod = () => (fd === undefined ? chmodSync(path, permissions) : fchmodSync(fd, permissions))
    if (!isSymlink) lost.attempt('permissions', chmod)
    lost.attempt('times', () => this.#setTimes(path, inode))
    lost.tell(this.#problems, shown)
  }

  #attributes(path: Buffer, inode: Inode, inherits: boolean, lost: Losses): void {
    const calls = this.#native
    if (calls && inherits && !inode.isSymlink) {
      try {
        for (const name of ACLS) calls.removeXattr(path, name)
      } catch {
        // A filesystem without such lists has none to take away.
      }
    }
    try {
      for (const { name, value } of outgoingXattrs(inode)) {
        const shown = printable(name)
        if (!calls) lost.add(shown, withoutNative() ?? '')
        else lost.attempt(shown, () => calls.setXattr(path, name, value), isPrivileged(name) ? ROOT_ONLY : undefined)
      }
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      lost.add('attributes', error.message)
    }
  }

  #setTimes(path: Buffer, { atime, mtime, isSymlink }: Inode): void {
    if (this.#native) this.#native.setTimes(path, nanoseconds(atime), nanoseconds(mtime))
    else if (isSymlink) lutimesSync(path, asDate(atime), asDate(mtime))
    else utimesSync(path, asDate(atime), asDate(mtime))
  }
}

/** What could not be set of a file, which stays without it. All of it is told at once. */
class Losses {
  /** By the reason. */
  readonly #names = new Map<string, string[]>()

  add(name: string, why: string): void {
    const names = this.#names.get(why)
    if (names) names.push(name)
    else this.#names.set(why, [name])
  }

  /**
   * @param denied why the host may say that it is not permitted
   * @returns false where the host refuses
   */
  attempt(name: string, set: () => void, denied?: string): boolean {
    try {
      set()
      return true
    } catch (error) {
      if (!isOfHost(error)) throw error
      this.add(name, (error.code === 'EPERM' ? denied : undefined) ?? hostMessage(error))
      return false
    }
  }

  tell(problems: Problems, path: Uint8Array): void {
    if (this.#names.size === 0) return
    const texts = [...this.#names].map(([why, names]) => `${someOf(names)} not copied: ${why}`)
    problems.add(path, texts.join('; '))
  }
}

/** A system call failed, Node's or ours. */
const isOfHost = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && ('syscall' in error || error.name === 'NativeError')

const isDevice = ({ type }: Inode): boolean => type === FILE_TYPES.blk || type === FILE_TYPES.chr

const kindOf = (inode: Inode): string =>
  isDevice(inode) ? 'a device node' : inode.type === FILE_TYPES.fifo ? 'a fifo' : 'a socket'

const inTheWay = (there: Stats): XfsError =>
  there.isDirectory()
    ? new XfsError('ISDIR', 'a directory is there, which no file replaces')
    : new XfsError('EXIST', 'a device, fifo or socket is there, which is not replaced')

/** Names that one message has. */
const NAMED = 10

const someOf = (names: readonly string[]): string =>
  names.slice(0, NAMED).join(', ') + (names.length > NAMED ? ` and ${names.length - NAMED} more` : '')

const ROOT_ONLY = 'only root can set it'
/** Attributes of these namespaces: some systems let users set a few of them. */
const isPrivileged = (name: Uint8Array): boolean => /^(trusted|security)\./.test(Buffer.from(name).toString('latin1'))

const ACLS = ['system.posix_acl_access', 'system.posix_acl_default'].map((name) => Buffer.from(name))

const PROGRESS_BYTES = 2 ** 20
const ZEROS = new Uint8Array(2 ** 20)

const nanoseconds = ({ seconds, nanoseconds: rest }: Timestamp): bigint =>
  BigInt(seconds) * 1_000_000_000n + BigInt(rest)
const asDate = ({ seconds, nanoseconds: rest }: Timestamp): Date => new Date(seconds * 1000 + rest / 1e6)
