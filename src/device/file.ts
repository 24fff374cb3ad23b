import {
  type BigIntStats,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { isZero } from '#native'
import { type ErrorCode, XfsError } from '../errors.ts'
import { ExtentSet } from '../util/extentset.ts'
import { type WriteBehind, writeBehind } from './behind.ts'
import { checkRange, checkWrite, type Device, type SectorSizes } from './device.ts'
import { deviceNumbers } from './devicenumbers.ts'
import type { HostPath } from './hostpath.ts'
import { type ImageLock, lockImage, openExclusively } from './lock.ts'

/** Maximum bytes of one system call: some platforms fail above 2 GiB. */
const PIECE = 2 ** 30
const CHUNK = 2 ** 20
/** Maximum separate writes to a new file that are recorded. With more, its holes are unknown. */
const MAX_WRITTEN_RUNS = 4096

/**
 * Open an image: a file or a block device.
 * @param mode 'rw' takes a lock until the device is closed
 * @throws XfsError BUSY (rw: mounted, attached to a loop device, or being changed by another
 *   xfskit), IO
 */
export function openFile(path: HostPath, mode: 'r' | 'rw'): Device {
  requireImage(path)
  const fd =
    mode === 'r' ? open(path, constants.O_RDONLY | NO_WAIT) : guarded(path, 'open', () => openExclusively(path))
  return closeOnError(fd, () => {
    const stats = fstatSync(fd, { bigint: true })
    const lock = mode === 'rw' ? guarded(path, 'lock', () => lockImage(path, fd)) : undefined
    return unlockOnError(lock, () => fileDevice(fd, path, sizeOf(fd, path, stats), mode === 'r', lock, undefined))
  })
}

export interface CreateOptions {
  /** Fail if the file exists. */
  readonly exclusive?: boolean
}

/**
 * Create `path` as an image of `size` zero bytes, as one hole. The content of an existing file is
 * lost. A block device keeps its size and content.
 * @throws XfsError BUSY, EXIST (exclusive), IO, NOSPC
 */
export function createFile(path: HostPath, size: number, options: CreateOptions = {}): Device {
  const { fd, made } = openOrMake(path, options.exclusive === true)
  return closeOnError(fd, () => {
    const stats = fstatSync(fd, { bigint: true })
    const lock = lockNew(path, fd, made)
    return unlockOnError(lock, () => {
      if (!stats.isFile()) return fileDevice(fd, path, sizeOf(fd, path, stats), false, lock, undefined)
      guarded(path, 'resize', () => {
        ftruncateSync(fd, 0)
        ftruncateSync(fd, size)
      })
      return fileDevice(fd, path, size, false, lock, new ExtentSet())
    })
  })
}

/** Refuse a fifo or a terminal: opening or reading it could block. @throws XfsError IO */
function requireImage(path: HostPath): void {
  const stats = guarded(path, 'open', () => statSync(path, { throwIfNoEntry: false }))
  if (stats && !mayBeImage(stats)) throw notAnImage(path)
}

/** Linux has block devices only; on other systems disks are character devices as well. */
const mayBeImage = (stats: Stats | BigIntStats): boolean =>
  stats.isFile() ||
  stats.isDirectory() ||
  stats.isBlockDevice() ||
  (stats.isCharacterDevice() && process.platform !== 'linux')

const notAnImage = (path: HostPath): XfsError => new XfsError('IO', `${shown(path)} is not a file or block device`)

/** Opening does not block, even if the file was replaced by a fifo after it was checked. */
const NO_WAIT = constants.O_NONBLOCK ?? 0

/** @param exclusive fail if it exists */
function openOrMake(path: HostPath, exclusive: boolean): { fd: number; made: boolean } {
  if (!exclusive) requireImage(path)
  const there = !exclusive && fileExists(path)
  if (there) return { fd: guarded(path, 'open', () => openExclusively(path)), made: false }
  return { fd: open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL), made: true }
}

/** A new file that cannot be locked is removed. */
function lockNew(path: HostPath, fd: number, made: boolean): ImageLock {
  try {
    return guarded(path, 'lock', () => lockImage(path, fd))
  } catch (error) {
    if (made) unlinkSync(path)
    throw error
  }
}

/**
 * Copy an image to a new file or over an existing one. Zero blocks become holes. Blocks are shared
 * if the host supports that.
 * @throws XfsError INVAL (the same file), BUSY (the copy is in use, or the image is being changed),
 *   IO, NOSPC
 */
export function copyFile(from: HostPath, to: HostPath): void {
  const source = openFile(from, 'r')
  try {
    if (sameFile(from, to)) throw new XfsError('INVAL', `${shown(to)} is the image itself`)
    createFile(to, 0).close() // Fails if it is in use.
    if (statSync(from).isFile() && statSync(to).isFile() && copiedByHost(from, to, source.size)) return
    const target = createFile(to, source.size)
    try {
      copyDevice(source, target)
      target.flush()
    } catch (error) {
      throw isHostFull(error) ? new XfsError('NOSPC', error.message, error.where, { cause: error }) : error
    } finally {
      target.close()
    }
  } finally {
    source.close()
  }
}

/** True if both paths are the same file. */
export function sameFile(a: HostPath, b: HostPath): boolean {
  const [first, second] = [a, b].map((path) =>
    guarded(path, 'stat', () => statSync(path, { bigint: true, throwIfNoEntry: false })),
  )
  return first !== undefined && second !== undefined && first.dev === second.dev && first.ino === second.ino
}

/** Copy all bytes; `target` is all zeros, so zeros are not written. */
export function copyDevice(source: Device, target: Device): void {
  const chunk = Buffer.alloc(CHUNK)
  for (let at = 0; at < source.size; at += CHUNK) {
    const part = chunk.subarray(0, Math.min(CHUNK, source.size - at))
    source.read(part, at)
    for (const run of nonZeroRuns(part)) target.write(part.subarray(run.start, run.end), at + run.start)
  }
}

/**
 * Node cannot find holes and reads them all. The `cp` of Linux skips them, which is faster for
 * large images.
 */
const LARGE = 2 ** 28

function copiedByHost(from: HostPath, to: HostPath, size: number): boolean {
  try {
    copyFileSync(from, to, constants.COPYFILE_FICLONE_FORCE)
    return true
  } catch {
    if (process.platform !== 'linux' || size < LARGE || Buffer.isBuffer(from) || Buffer.isBuffer(to)) return false
  }
  // Loaded on demand: it would add milliseconds to every start.
  const { spawnSync } = process.getBuiltinModule('node:child_process')
  const copy = spawnSync('cp', ['--sparse=always', '--', from, to], { stdio: 'ignore' })
  if (copy.signal !== null) throw new XfsError('IO', `cp of ${from} was killed by ${copy.signal}`)
  return copy.status === 0 && statSync(to).size === size
}

function fileDevice(
  fd: number,
  path: HostPath,
  size: number,
  readOnly: boolean,
  lock: ImageLock | undefined,
  written: ExtentSet | undefined,
): Device {
  let zeros: Buffer | undefined
  let behind: WriteBehind | undefined
  const noteWritten = (position: number, length: number): void => {
    if (!written) return
    written.add(position, length)
    if (written.size > MAX_WRITTEN_RUNS) written = undefined
  }
  const write = (bytes: Uint8Array, position: number): void => {
    noteWritten(position, bytes.length)
    guarded(path, 'write', () => {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(fd, bytes, done, Math.min(PIECE, bytes.length - done), position + done)
      }
    })
  }
  let closed = false
  const device: Device = {
    size,
    readOnly,
    read(into, position) {
      checkRange(device, 'read', position, into.length)
      guarded(path, 'read', () => {
        for (let done = 0; done < into.length; ) {
          const count = readSync(fd, into, done, Math.min(PIECE, into.length - done), position + done)
          if (count === 0) throw new XfsError('IO', `${shown(path)} ends at ${position + done}: it was truncated`)
          done += count
        }
      })
    },
    write(bytes, position) {
      checkWrite(device, position, bytes.length)
      write(bytes, position)
    },
    zero(position, length) {
      checkWrite(device, position, length)
      zeros ??= Buffer.alloc(CHUNK)
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK, length))
      for (let done = 0; done < length; ) {
        const at = position + done
        const run = written?.run(at, length - done)
        if (run && !run.inside) {
          done += run.length
          continue
        }
        const part = chunk.subarray(0, Math.min(CHUNK, run?.length ?? length - done))
        device.read(part, at)
        // A hole reads as zeros: keep it.
        for (const { start, end } of nonZeroRuns(part)) write(zeros.subarray(start, end), at + start)
        done += part.length
      }
    },
    behind: {
      write(bytes, position) {
        checkWrite(device, position, bytes.length)
        behind ??= writeBehind(fd)
        if (!behind) return write(bytes, position)
        noteWritten(position, bytes.length)
        behind.write(bytes, position)
      },
      settle: () => guarded(path, 'write', () => behind?.settle()),
    },
    flush: () => guarded(path, 'flush', () => fdatasyncSync(fd)),
    close() {
      // The number of a closed file may belong to another file already.
      if (closed) return
      closed = true
      behind?.close()
      // Remove the lock file first: a process that finds it and gets the flock assumes that its
      // owner has ended.
      lock?.release()
      closeSync(fd)
    },
  }
  return device
}

/** The parts of `bytes`, in units of 4 KiB, that are not all zero; adjacent ones are joined. */
function* nonZeroRuns(bytes: Buffer): Generator<{ start: number; end: number }> {
  let start = -1
  for (let at = 0; at < bytes.length; at += 4096) {
    const end = Math.min(at + 4096, bytes.length)
    if (isZero(bytes, at, end)) {
      if (start >= 0) yield { start, end: at }
      start = -1
    } else if (start < 0) start = at
  }
  if (start >= 0) yield { start, end: bytes.length }
}

function open(path: HostPath, flags: number): number {
  return guarded(path, 'open', () => openSync(path, flags, 0o666))
}

/** The bytes of a file or of a block device. */
function sizeOf(fd: number, path: HostPath, stats: BigIntStats): number {
  if (stats.isFile()) return Number(stats.size)
  if (stats.isDirectory()) throw new XfsError('IO', `${shown(path)} is a directory, not an image`)
  if (!mayBeImage(stats)) throw notAnImage(path)
  const size = linuxDeviceSize(stats.rdev) ?? probeSize(fd)
  if (size === 0) throw new XfsError('IO', `${shown(path)} has size 0`)
  return size
}

/** Linux reports the size of a block device in sectors. */
function linuxDeviceSize(rdev: bigint): number | undefined {
  const { major, minor } = deviceNumbers(rdev)
  try {
    return Number(readFileSync(`/sys/dev/block/${major}:${minor}/size`, 'latin1')) * 512
  } catch {
    return undefined
  }
}

/**
 * The size of a device that does not report it: double until a read fails, then bisect. Sectors
 * have 4 KiB at most.
 */
function probeSize(fd: number): number {
  const sector = Buffer.alloc(4096)
  const readable = (at: number): boolean => {
    try {
      return readSync(fd, sector, 0, 4096, at * 4096) === 4096
    } catch {
      return false
    }
  }
  let high = 1
  while (high < 2 ** 40 && readable(high - 1)) high *= 2
  let low = high >> 1
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (readable(middle)) low = middle + 1
    else high = middle
  }
  return low * 4096
}

/** True if `path` exists. @throws XfsError IO if that cannot be determined */
export function fileExists(path: HostPath): boolean {
  return guarded(path, 'stat', () => statSync(path, { throwIfNoEntry: false }) !== undefined)
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is not a directory',
  EROFS: 'the file system is read-only',
  EFBIG: 'the file is too large for the file system',
  EIO: 'input/output error',
  ENXIO: 'no such device',
  EBUSY: 'in use',
  ETXTBSY: 'in use',
  ELOOP: 'too many symbolic links',
  ENAMETOOLONG: 'the name is too long',
}

const codes: Readonly<Record<string, ErrorCode>> = { ENOENT: 'NOENT', EEXIST: 'EXIST', EBUSY: 'BUSY', ETXTBSY: 'BUSY' }

const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])

const isHostFull = (error: unknown): error is XfsError =>
  error instanceof XfsError && FULL.has((error.cause as NodeJS.ErrnoException | undefined)?.code ?? '')

/** Run a system call; its failure becomes an XfsError that names the file. */
export function guarded<T>(path: HostPath, action: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    if (error instanceof XfsError) throw error
    const code = (error as NodeJS.ErrnoException).code ?? ''
    if (FULL.has(code)) {
      // Not NOSPC: a caller that handles a full image would continue although the data is not on
      // the device.
      throw new XfsError(
        action === 'write' || action === 'flush' ? 'IO' : 'NOSPC',
        `cannot ${action} ${shown(path)}: no space left on the host's disk`,
        {},
        { cause: error },
      )
    }
    const reason = reasons[code] ?? (error as Error).message
    const kind = codes[code] ?? 'IO'
    throw new XfsError(
      kind,
      `cannot ${action} ${shown(path)}: ${code === 'EEXIST' ? 'file exists' : reason}`,
      {},
      { cause: error },
    )
  }
}

const shown = (path: HostPath): string => (typeof path === 'string' ? path : path.toString('latin1'))

function closeOnError<T>(fd: number, action: () => T): T {
  try {
    return action()
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function unlockOnError<T>(lock: ImageLock | undefined, action: () => T): T {
  try {
    return action()
  } catch (error) {
    lock?.release()
    throw error
  }
}

/**
 * Sector sizes of a block device; undefined if `path` is not one, or the system does not report
 * them.
 */
export function sectorSizes(path: HostPath): SectorSizes | undefined {
  try {
    const status = statSync(path, { bigint: true })
    if (!status.isBlockDevice()) return undefined
    const { major, minor } = deviceNumbers(status.rdev)
    const device = `/sys/dev/block/${major}:${minor}`
    // A partition uses the queue of its disk.
    const queue = [`${device}/queue`, `${device}/../queue`].find((folder) => existsSync(folder))
    if (queue === undefined) return undefined
    const size = (name: string): number => Number(readFileSync(`${queue}/${name}`, 'latin1'))
    return { logical: size('logical_block_size'), physical: size('physical_block_size') }
  } catch {
    return undefined
  }
}
