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
 * The lock file of an image, `.NAME.xfskit-lock` next to it, identifies the process that changes
 * the image. It is created exclusively (O_EXCL), so only one process succeeds. It is removed at the
 * end.
 *
 * A process removes a lock file whose owner has ended. That requires another lock (the same name
 * with `~` appended, taken in the same way). Without it, the slower of two processes that find the
 * stale file could remove the new file of the faster one. If it is not certain that the owner has
 * ended, the file stays: the user decides, with the command in the message.
 */
export interface LockFile {
  release(): void
}

/** The content of a lock file. */
interface Holder extends ProcessIdentity {
  /** The owner has a flock on the image, too. */
  readonly flock: boolean
}

/** Another process changes the image, or might. */
export class ImageLocked extends XfsError {
  /** False if waiting cannot help: the file is not a lock file. */
  readonly passes: boolean
  constructor(message: string, passes = true) {
    super('BUSY', message)
    this.passes = passes
  }
}

/** Error codes if the folder does not allow a lock file. */
const CANNOT: ReadonlySet<string | undefined> = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT', 'ENOENT'])
/** Longest name of a file on the usual systems. */
const LONGEST_NAME = 255
const SUFFIX = '.xfskit-lock'
/** Room for the suffixes of locks on lock files. */
const SPARE = 15
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0
const NO_WAIT = constants.O_NONBLOCK ?? 0
/** Time during which an empty lock file is assumed to be incomplete. */
const BEGINNING_MS = 10_000
const MAX_SIZE = 4096
/** Maximum retries after another process was faster. */
const ATTEMPTS = 100

/**
 * A hidden name next to `path` that shows its purpose. A name that would be too long is truncated.
 * @param path a real path
 */
export function besideFile(path: Buffer, suffix: string): Buffer {
  const text = path.toString('latin1')
  const start = Math.max(text.lastIndexOf('/'), process.platform === 'win32' ? text.lastIndexOf('\\') : -1) + 1
  let end = Math.min(path.length, start + LONGEST_NAME - SPARE - 1 - suffix.length)
  // Do not split a UTF-8 character.
  while (end < path.length && ((path[end] as number) & 0xc0) === 0x80) end--
  return Buffer.concat([path.subarray(0, start), Buffer.from('.'), path.subarray(start, end), Buffer.from(suffix)])
}

/** The path of the lock file of an image. @param path a real path */
export const lockFileOf = (path: Buffer): Buffer => besideFile(path, SUFFIX)

/**
 * Take the lock.
 * @param flock this process has a flock on the image: an owner that claims to have one has ended
 * @returns undefined if the folder does not allow the file, and there is none
 * @throws ImageLocked
 */
export function takeLockFile(path: Buffer, image: string, flock: boolean): LockFile | undefined {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const made = makeLockFile(path, flock)
    if (made) return made
    const found = readLockFile(path)
    if (found === undefined) {
      if (made === undefined) return undefined
      continue // It was just removed.
    }
    if (!isStale(found, flock)) throw lockedError(path, image, found)
    if (made === undefined) return undefined // Made by another process.
    if (removeStale(path, image, flock)) continue
    if (flock) return undefined
    throw new ImageLocked(
      `${image} is locked by a process that has ended, and this user cannot remove the lock: ${removeCommand(path, false)}`,
      false,
    )
  }
  throw new ImageLocked(`${image} is locked by other processes`)
}

/** The process that changes the image according to its lock file; undefined if there is none. */
export function holderOf(path: Buffer, image: string): string | undefined {
  const found = readLockFile(path)
  return found === undefined || isStale(found, false) ? undefined : lockedError(path, image, found).message
}

/** False if the file exists, undefined if the folder does not allow one. */
function makeLockFile(path: Buffer, flock: boolean): LockFile | false | undefined {
  // Prepared before the file is created: a process killed between the two calls leaves an empty
  // file.
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
      `cannot create the lock file ${shown(path)}: ${(error as Error).message}`,
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

/** Remove the file if this process made it: it may have been replaced since. */
function removeOwn(path: Buffer, own: BigIntStats): void {
  try {
    const { dev, ino } = lstatSync(path, { bigint: true })
    if (dev === own.dev && ino === own.ino) unlinkSync(path)
  } catch {
    // Already removed.
  }
}

/**
 * Remove the lock file of a process that has ended.
 * @returns false if this user cannot
 * @throws ImageLocked if another process is removing it
 */
function removeStale(path: Buffer, image: string, flock: boolean): boolean {
  const turn = takeLockFile(Buffer.concat([path, Buffer.from('~')]), image, flock)
  if (!turn) return false
  try {
    // No other process can remove it now: read it again.
    const found = readLockFile(path)
    if (found !== undefined && isStale(found, flock)) unlinkSync(path)
    return true
  } catch (error) {
    if (CANNOT.has((error as NodeJS.ErrnoException).code)) return false
    throw error
  } finally {
    turn.release()
  }
}

/** The owner, or why it is unknown: `begins` if the file is empty and new. */
type LockState = Holder | 'begins' | 'unreadable' | 'directory'

function readLockFile(path: Buffer): LockState | undefined {
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

/** True only if the owner has certainly ended. */
function isStale(found: LockState, flock: boolean): boolean {
  if (typeof found === 'string') return false
  return hasEnded(found) || (flock && found.flock && sameKernel(found))
}

function lockedError(path: Buffer, image: string, found: LockState): ImageLocked {
  if (found === 'begins') return new ImageLocked(`${image} is being changed by another xfskit`)
  const remove = `; if no xfskit process is using it, remove the lock: ${removeCommand(path, found === 'directory')}`
  if (typeof found === 'string')
    return new ImageLocked(`${image} is locked: ${shown(path)} is not a valid lock file${remove}`, false)
  const here = thisProcess()
  const who = `process ${found.pid}`
  if (found.host !== here.host)
    return new ImageLocked(`${image} is being changed by another xfskit, ${who} on host ${found.host}${remove}`)
  if (found.boot === '' || found.boot !== here.boot || found.namespace !== here.namespace)
    return new ImageLocked(`${image} is locked by ${who}, whose state cannot be determined${remove}`)
  return new ImageLocked(`${image} is being changed by another xfskit, ${who} (lock file ${shown(path)})`)
}

function removeCommand(path: Buffer, directory: boolean): string {
  const text = shown(path)
  if (process.platform === 'win32') return `${directory ? 'rmdir /s' : 'del'} "${text}"`
  const word = /^[\w./+@%,:=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
  return `rm ${directory ? '-r ' : ''}-- ${word}`
}

const shown = (path: Buffer): string => path.toString('utf8')
