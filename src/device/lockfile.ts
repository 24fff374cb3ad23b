import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { XfsError } from '../errors.ts'
import { hasEnded, type ProcessIdentity, sameKernel, thisProcess } from './process.ts'

/**
 * The lock file of an image, `.NAME.xfskit-lock` beside it: who changes it. It is made where there is none (O_EXCL), which
 * one of several processes can do, and removed at the end.
 *
 * The file of a process that has ended is removed by the next who comes. That needs a lock of its own (the same name with
 * `~` at its end, taken in the same way): of two that find such a file, the slower must not remove what the faster has made
 * since. A file that does not tell for certain that its process has ended stays: the user decides, by the command in the
 * message.
 */
export interface LockFile {
  release(): void
}

/** What a lock file says. */
interface Holder extends ProcessIdentity {
  /** It has a flock on the image, too. */
  readonly flock: boolean
}

/** Another changes the image, or seems to. */
export class ImageLocked extends XfsError {
  /** False where waiting is in vain: what is there is no lock file. */
  readonly passes: boolean
  constructor(message: string, passes = true) {
    super('BUSY', message)
    this.passes = passes
  }
}

/** The folder does not take a lock file. */
const CANNOT: ReadonlySet<string | undefined> = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT', 'ENOENT'])
/** Longest name of a file on the usual systems. */
const LONGEST_NAME = 255
const SUFFIX = '.xfskit-lock'
/** Room for the names of lock files of lock files. */
const SPARE = 15
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0
const NO_WAIT = constants.O_NONBLOCK ?? 0
/** An empty file is one whose process is about to write it, for so long. */
const BEGINNING_MS = 10_000
const MAX_SIZE = 4096
/** How often others may be faster. */
const ATTEMPTS = 100

/**
 * A name beside `path`, hidden, that says what it is for. A name that would be too long is cut.
 * @param path a real path
 */
export function besideFile(path: Buffer, suffix: string): Buffer {
  const text = path.toString('latin1')
  const start = Math.max(text.lastIndexOf('/'), process.platform === 'win32' ? text.lastIndexOf('\\') : -1) + 1
  let end = Math.min(path.length, start + LONGEST_NAME - SPARE - 1 - suffix.length)
  // Never inside of a character of UTF-8.
  while (end < path.length && ((path[end] as number) & 0xc0) === 0x80) end--
  return Buffer.concat([path.subarray(0, start), Buffer.from('.'), path.subarray(start, end), Buffer.from(suffix)])
}

/** Where the lock file of an image is. @param path a real path */
export const lockFileOf = (path: Buffer): Buffer => besideFile(path, SUFFIX)

/**
 * Take the lock.
 * @param flock this process has a flock on the image: whoever says to have one, has ended
 * @returns nothing where the folder does not take the file, and none is there
 * @throws ImageLocked
 */
export function takeLockFile(path: Buffer, image: string, flock: boolean): LockFile | undefined {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const made = makeLockFile(path, flock)
    if (made) return made
    const found = readLockFile(path)
    if (found === undefined) {
      if (made === undefined) return undefined
      continue // It has just been removed.
    }
    if (!isGone(found, flock)) throw lockedError(path, image, found)
    if (made === undefined) return undefined // Not ours to remove.
    if (removeGone(path, image, flock)) continue
    if (flock) return undefined
    throw new ImageLocked(
      `${image} is locked by a process that has ended, and this user cannot remove the lock: ${removeCommand(path, false)}`,
      false,
    )
  }
  throw new ImageLocked(`${image} is being changed by others in turn`)
}

/** Who changes the image, according to its lock file; nothing where nobody does. */
export function holderOf(path: Buffer, image: string): string | undefined {
  const found = readLockFile(path)
  return found === undefined || isGone(found, false) ? undefined : lockedError(path, image, found).message
}

/** False where there is one, nothing where the folder does not take any. */
function makeLockFile(path: Buffer, flock: boolean): LockFile | false | undefined {
  // Known before: who is killed between the two calls leaves an empty file, which only the user removes.
  const holder: Holder = { ...thisProcess(), flock }
  let fd: number
  try {
    fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | NO_FOLLOW, 0o644)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    if (CANNOT.has(code)) return undefined
    throw new XfsError(
      'IO',
      `cannot make the lock file ${shown(path)}: ${(error as Error).message}`,
      {},
      { cause: error },
    )
  }
  const stats = fstatSync(fd, { bigint: true })
  try {
    writeSync(fd, `${JSON.stringify(holder)}\n`)
  } catch (error) {
    removeOwn(path, stats)
    if (CANNOT.has((error as NodeJS.ErrnoException).code)) return undefined
    throw error
  } finally {
    closeSync(fd)
  }
  return { release: () => removeOwn(path, stats) }
}

/** Remove what this process made; somebody may have removed it and another made one since. */
function removeOwn(path: Buffer, own: BigIntStats): void {
  try {
    const { dev, ino } = lstatSync(path, { bigint: true })
    if (dev === own.dev && ino === own.ino) unlinkSync(path)
  } catch {
    // Gone already.
  }
}

/**
 * Remove the file of a process that has ended.
 * @returns false where this user cannot
 * @throws ImageLocked where another does so at the moment
 */
function removeGone(path: Buffer, image: string, flock: boolean): boolean {
  const turn = takeLockFile(Buffer.concat([path, Buffer.from('~')]), image, flock)
  if (!turn) return false
  try {
    // Now nobody else removes it, and it is looked at again.
    const found = readLockFile(path)
    if (found !== undefined && isGone(found, flock)) unlinkSync(path)
    return true
  } catch (error) {
    if (CANNOT.has((error as NodeJS.ErrnoException).code)) return false
    throw error
  } finally {
    turn.release()
  }
}

/** A holder, or why the file says nothing: `begins` where it is empty and new. */
type Found = Holder | 'begins' | 'unreadable' | 'directory'

function readLockFile(path: Buffer): Found | undefined {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | NO_FOLLOW | NO_WAIT)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : 'unreadable'
  }
  try {
    const stats = fstatSync(fd)
    if (stats.isDirectory()) return 'directory'
    if (!stats.isFile()) return 'unreadable'
    const bytes = Buffer.alloc(MAX_SIZE)
    const text = bytes.toString('utf8', 0, readSync(fd, bytes, 0, MAX_SIZE, 0))
    if (stats.size === 0 && Date.now() - stats.mtimeMs < BEGINNING_MS) return 'begins'
    return parseHolder(text) ?? 'unreadable'
  } catch {
    return 'unreadable'
  } finally {
    closeSync(fd)
  }
}

function parseHolder(text: string): Holder | undefined {
  let value: Partial<Record<keyof Holder, unknown>>
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (value === null || typeof value !== 'object') return undefined
  const { host, boot, namespace, pid, start, flock } = value
  const texts = [host, boot, namespace, start].every((part) => typeof part === 'string')
  if (!texts || !Number.isSafeInteger(pid) || (pid as number) < 1 || typeof flock !== 'boolean') return undefined
  return value as unknown as Holder
}

/** Certainly so. */
function isGone(found: Found, flock: boolean): boolean {
  if (typeof found === 'string') return false
  return hasEnded(found) || (flock && found.flock && sameKernel(found))
}

function lockedError(path: Buffer, image: string, found: Found): ImageLocked {
  if (found === 'begins') return new ImageLocked(`${image} is being changed by another xfskit`)
  const remove = `; if no xfskit changes it, remove the lock: ${removeCommand(path, found === 'directory')}`
  if (typeof found === 'string')
    return new ImageLocked(`${image} is locked: ${shown(path)} is not a lock file that can be read${remove}`, false)
  const here = thisProcess()
  const who = `process ${found.pid}`
  if (found.host !== here.host)
    return new ImageLocked(`${image} is being changed by another xfskit, ${who} on host ${found.host}${remove}`)
  if (found.boot === '' || found.boot !== here.boot || found.namespace !== here.namespace)
    return new ImageLocked(`${image} is locked by ${who}, of which nothing can be told from here${remove}`)
  return new ImageLocked(`${image} is being changed by another xfskit, ${who} (lock file ${shown(path)})`)
}

function removeCommand(path: Buffer, directory: boolean): string {
  const text = shown(path)
  if (process.platform === 'win32') return `${directory ? 'rmdir /s' : 'del'} "${text}"`
  const word = /^[\w./+@%,:=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
  return `rm ${directory ? '-r ' : ''}-- ${word}`
}

const shown = (path: Buffer): string => path.toString('utf8')
