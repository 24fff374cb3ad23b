import { type BigIntStats, constants, fstatSync, openSync, realpathSync, statSync } from 'node:fs'
import { XfsError } from '../errors.ts'
import { sleep } from '../util/sleep.ts'
import type { HostPath } from './hostpath.ts'
import { flockHolder, refuseInUse } from './inuse.ts'
import { holderOf, ImageLocked, type LockFile, lockFileOf, takeLockFile } from './lockfile.ts'
import { NativeError, native } from './native.ts'

/**
 * One writer per image, and none while it is mounted. There are two locks; both are used if
 * possible:
 *
 *   flock       on the image; needs a native call. It works for any name of the file, and ends with
 *               its process.
 *   lock file   next to the image, for installations without the native call. See lockfile.ts.
 *
 * If the folder does not allow a lock file, the flock alone suffices: processes without the native
 * call find it in /proc/locks. Without any lock the image is not changed. A block device is also
 * opened exclusively (O_EXCL): the kernel refuses that if the device is mounted, in any namespace,
 * or claimed.
 */
export interface ImageLock {
  release(): void
}

/** Locks of this process, released when it ends. */
const held = new Set<ImageLock>()
const releaseAll = (): void => {
  for (const lock of held) lock.release()
}

/** For `openSync`: claims a block device. */
const EXCLUSIVE = constants.O_EXCL

/**
 * Open an existing image to change it.
 * @throws XfsError BUSY, and errors of the system
 */
export function openExclusively(path: HostPath): number {
  if (process.platform !== 'linux') return openSync(path, constants.O_RDWR)
  const stats = statSync(path, { bigint: true })
  if (!stats.isBlockDevice()) return openSync(path, constants.O_RDWR)
  refuseInUse(path, stats)
  try {
    return openSync(path, constants.O_RDWR | EXCLUSIVE)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
    throw new ImageLocked(changedBy(path) ?? `${path} is in use by the system: mounted, or claimed by another program`)
  }
}

/**
 * Lock an open image.
 * @param fd from `openExclusively`
 * @throws ImageLocked, XfsError BUSY (used by the system), IO (no lock possible)
 */
export function lockImage(path: HostPath, fd: number): ImageLock {
  const stats = fstatSync(fd, { bigint: true })
  refuseInUse(path, stats)
  const flock = takeFlock(path, fd, stats)
  const beside = lockFileOf(realpathSync(path, { encoding: 'buffer' }))
  let file: LockFile | undefined
  if (stats.isFile() || stats.isBlockDevice()) {
    file = takeLockFile(beside, String(path), flock)
    if (!flock) refuseFlocked(path, stats, file)
    if (!file && !flock && !stats.isBlockDevice())
      throw new XfsError(
        'IO',
        `${path} cannot be locked: the folder does not allow a lock file, and flock is not available (${NO_FLOCK})`,
      )
  }
  const lock: ImageLock = {
    release() {
      if (!held.delete(lock)) return
      file?.release()
      if (held.size === 0) process.removeListener('exit', releaseAll)
    },
  }
  if (held.size === 0) process.once('exit', releaseAll)
  held.add(lock)
  return lock
}

const NO_FLOCK = 'it requires the optional package koffi'

/** For readers: the process that changes an image; undefined if there is none. */
export function changedBy(path: HostPath): string | undefined {
  try {
    const holder = holderOf(lockFileOf(realpathSync(path, { encoding: 'buffer' })), String(path))
    if (holder !== undefined) return holder
    const pid = flockHolder(statSync(path, { bigint: true }))
    return pid === undefined ? undefined : flockedBy(path, pid)
  } catch {
    return undefined // Not accessible: opening it reports why.
  }
}

const flockedBy = (path: HostPath, pid: number | undefined): string =>
  `${path} is locked by another process${pid === undefined ? '' : `, ${pid}`}`

/** udev locks a device briefly after each change. */
const MOMENT_MS = 3000

/** @returns false if it is not available. @throws ImageLocked */
function takeFlock(path: HostPath, fd: number, stats: BigIntStats): boolean {
  const calls = native()
  if (!calls) return false
  const until = Date.now() + (stats.isBlockDevice() ? MOMENT_MS : 0)
  for (;;) {
    try {
      if (calls.flock(fd)) return true
    } catch (error) {
      if (error instanceof NativeError) return false
      throw error
    }
    if (Date.now() >= until) break
    sleep(20)
  }
  throw new ImageLocked(changedBy(path) ?? flockedBy(path, undefined))
}

/** Without the native call. The other process may have no lock file. */
function refuseFlocked(path: HostPath, stats: BigIntStats, file: LockFile | undefined): void {
  const pid = flockHolder(stats)
  if (pid === undefined) return
  file?.release()
  throw new ImageLocked(flockedBy(path, pid))
}
