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
import type { CopyProblems } from './copyproblems.ts'
import { isDevice, type Outgoing, outgoing, outgoingXattrs, requireCopyable } from './fromimage.ts'
import { hostMessage } from './hostwalk.ts'
import { below, checkHostName } from './names.ts'

/**
 * Write trees of an image to the host. The image is not trusted. Every directory is created here or
 * exists as a directory (not as a link to one), and every file is created here. So no names or
 * links in the image can refer to anything outside of the target. An existing file is replaced when
 * the new one is complete, and stays if that fails.
 */
export interface ToHostOptions {
  /** Owners too (for root). */
  readonly owner: boolean
  readonly xattrs: boolean
  /** Device nodes: created, skipped, or skipped and reported. */
  readonly devices: 'made' | 'left' | 'reported'
}

const SLASH = 0x2f
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (constants.O_NOFOLLOW ?? 0)

export class HostWriter {
  readonly #options: ToHostOptions
  readonly #problems: CopyProblems
  readonly #native: Native | undefined
  /** For each open directory: did it exist before? */
  readonly #existed: boolean[] = []
  readonly count = { files: 0, bytes: 0 }

  constructor(options: ToHostOptions, problems: CopyProblems) {
    this.#options = options
    this.#problems = problems
    this.#native = native()
  }

  /**
   * Write a file or tree to `target`: a new path, or for a directory also an existing one.
   * @param named as with cp, a regular file is written to a device or fifo at `target`, or through
   *   a link
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
        this.#report(path, error)
      }
      yield { what: 'copying', done: this.count.files }
      step = walk.next(left)
    }
  }

  /** @throws errors that do not concern this one file */
  #report(path: Uint8Array, error: unknown): void {
    // The host's message only: the path is reported anyway.
    const cause = error instanceof XfsError ? error.cause : error
    if (isOfHost(cause)) this.#problems.add(path, hostMessage(cause))
    else if (error instanceof XfsError) this.#problems.add(path, error)
    else throw error
  }

  /**
   * A directory, private until it is complete. An existing one must not be a link.
   * @returns whether it existed
   */
  #enter(path: Buffer): boolean {
    try {
      mkdirSync(path, 0o700)
      return false
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !lstatSync(path).isDirectory()) throw error
      return true
    }
  }

  /** Is the current directory an existing one? New files may then inherit ACLs. */
  get #inherits(): boolean {
    return this.#existed.at(-1) !== false
  }

  /** A file with exactly the given path. */
  *#named(path: Buffer, file: Outgoing): Steps<void> {
    if (!file.inode.isRegular) {
      const there = lstatSync(path, { throwIfNoEntry: false })
      if (there && !there.isFile() && !there.isSymbolicLink()) throw notReplaced(there)
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

  /** To a device or fifo: all bytes including holes, without metadata. */
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

  /** A file at a path below the target. @returns false if it is skipped as requested */
  *#below(path: Buffer, file: Outgoing, target: Buffer): Steps<boolean> {
    if (this.#options.devices === 'left' && isDevice(file.inode)) return false
    // In a new directory only duplicate names of a damaged image can exist already.
    const there = this.#inherits ? lstatSync(path, { throwIfNoEntry: false }) : undefined
    if (!there) {
      yield* this.#make(path, path, file, target)
      return true
    }
    const isSpecial = !there.isFile() && !there.isSymbolicLink()
    if (there.isDirectory() || (isSpecial && (there.mode & S_IFMT) !== file.inode.type)) throw notReplaced(there)
    const beside = temporaryName(path)
    try {
      yield* this.#make(beside, path, file, target)
      renameSync(beside, path)
    } finally {
      // It still exists after a failure, or if both were names of one file.
      rmSync(beside, { force: true })
    }
    return true
  }

  /**
   * Make a file.
   * @param path a path that does not exist
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

  /** The calls for offsets past Node's limit. @throws XfsError FBIG */
  #large(): Native {
    if (this.#native) return this.#native
    throw new XfsError('FBIG', 'files of more than 2^53 bytes cannot be written here without the native calls')
  }

  #special(path: Buffer, inode: Inode): void {
    const device = isDevice(inode)
    if (device && this.#options.devices === 'reported')
      throw new XfsError('UNSUPPORTED', 'a device node: skipped without --devices', { ino: inode.ino })
    const calls = this.#native
    if (!calls) throw new XfsError('UNSUPPORTED', `${kindOf(inode)} cannot be created here (${withoutNative()})`)
    const { major, minor } = device ? deviceNumber(inode) : { major: 0, minor: 0 }
    calls.mknod(path, inode.type | 0o600, major, minor)
  }

  /**
   * Set owner, attributes, permissions and times. Failures are reported; the file stays.
   * @param fd of a regular file, which is open
   */
  #finish(path: Buffer, shown: Buffer, inode: Inode, inherits: boolean, fd?: number): void {
    const { uid, gid, mode, isSymlink } = inode
    const lost = new Losses()
    const chown = () => (fd === undefined ? lchownSync(path, uid, gid) : fchownSync(fd, uid, gid))
    const owned = this.#options.owner && lost.attempt('owner', chown)
    // Changing the owner clears capabilities, and a read-only file accepts no attributes.
    if (this.#options.xattrs) this.#attributes(path, inode, inherits, lost)
    // Set-ID bits are copied only with the owner.
    const permissions = mode & (owned ? 0o7777 : 0o1777)
    // The last component was created here and is not a link.
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
        // A filesystem without ACLs has none to remove.
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

/** Properties of a file that could not be set, reported together. */
class Losses {
  /** By the reason. */
  readonly #names = new Map<string, string[]>()

  add(name: string, why: string): void {
    const names = this.#names.get(why)
    if (names) names.push(name)
    else this.#names.set(why, [name])
  }

  /**
   * @param denied the reason if the host denies permission
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

  tell(problems: CopyProblems, path: Uint8Array): void {
    if (this.#names.size === 0) return
    const texts = [...this.#names].map(([why, names]) => `${someOf(names)} not copied: ${why}`)
    problems.add(path, texts.join('; '))
  }
}

/** A system call failed, Node's or ours. */
const isOfHost = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && ('syscall' in error || error.name === 'NativeError')

const kindOf = (inode: Inode): string =>
  isDevice(inode) ? 'a device node' : inode.type === FILE_TYPES.fifo ? 'a fifo' : 'a socket'

const notReplaced = (there: Stats): XfsError =>
  there.isDirectory()
    ? new XfsError('ISDIR', 'a directory exists, which a file does not replace')
    : new XfsError('EXIST', 'a device, fifo or socket exists, which is not replaced')

/** Maximum names in a message. */
const NAMED = 10

const someOf = (names: readonly string[]): string =>
  names.slice(0, NAMED).join(', ') + (names.length > NAMED ? ` and ${names.length - NAMED} more` : '')

const ROOT_ONLY = 'only root can set it'
/** Attribute namespaces of which some systems let users set a few. */
const isPrivileged = (name: Uint8Array): boolean => /^(trusted|security)\./.test(Buffer.from(name).toString('latin1'))

const ACLS = ['system.posix_acl_access', 'system.posix_acl_default'].map((name) => Buffer.from(name))

const PROGRESS_BYTES = 2 ** 20
const ZEROS = new Uint8Array(2 ** 20)

const nanoseconds = ({ seconds, nanoseconds: rest }: Timestamp): bigint =>
  BigInt(seconds) * 1_000_000_000n + BigInt(rest)
const asDate = ({ seconds, nanoseconds: rest }: Timestamp): Date => new Date(seconds * 1000 + rest / 1e6)
