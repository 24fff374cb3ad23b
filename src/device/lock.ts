import {
  type BigIntStats,
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { XfsError } from '../errors.ts'
import type { HostPath } from './file.ts'

/**
 * One writer an image. A file (or block device) is known by its numbers, whatever its path:
 *
 *   /tmp/xfskit-DEV-INO.PID      "this process changes it", one file a process, holding the start time of the process
 *
 * To lock, make the own file first and then look for others: of two that come at once each sees the other, so never both go on. A file whose process is gone
 * (killed) counts for nothing and is removed. What the operating system does with the image (loop devices, mounts) is looked up on Linux.
 */
export interface ImageLock {
  release(): void
}

/** Always the same place, not what TMPDIR says: two processes have to meet there. */
const directory = process.platform === 'win32' ? tmpdir() : '/tmp'
/** Lock files of this process, to be removed when it ends. */
const held = new Set<string>()

/** @throws XfsError BUSY */
export function lockImage(path: HostPath, stats: BigIntStats): ImageLock {
  refuseInUse(path, stats)
  const key = stats.isFile() ? `${stats.dev}-${stats.ino}` : `device-${stats.rdev}`
  const prefix = `xfskit-${key}.`
  const own = join(directory, prefix + process.pid)
  if (held.has(own)) throw new XfsError('BUSY', `${path} is already open for changing in this process`)
  if (held.size === 0) process.once('exit', releaseAll)
  try {
    writeFileSync(own, startTime(process.pid), { flag: 'w', mode: 0o644 })
    held.add(own)
  } catch {
    return { release() {} } // No place for lock files (a read-only host): go on without.
  }
  const release = (): void => {
    held.delete(own)
    remove(own)
    if (held.size === 0) process.removeListener('exit', releaseAll)
  }
  const other = readdirSync(directory)
    .filter((name) => name.startsWith(prefix) && name !== prefix + process.pid)
    .find((name) => isAlive(join(directory, name), Number(name.slice(prefix.length))))
  if (other !== undefined) {
    release()
    throw new XfsError('BUSY', `${path} is being changed by another xfskit, process ${other.slice(prefix.length)}`)
  }
  return { release }
}

function releaseAll(): void {
  for (const path of held) remove(path)
}

function remove(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // Gone already, or another user's.
  }
}

/** Does the process that wrote a lock file still run? The files of dead ones are removed. */
function isAlive(file: string, pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') {
      remove(file)
      return false
    }
  }
  try {
    if (readFileSync(file, 'latin1') === startTime(pid)) return true
  } catch {
    return false // It has just been released.
  }
  remove(file) // Another process has the number now.
  return false
}

/** When a process started, as Linux tells it; elsewhere nothing, and the process number has to do. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}

/** @throws XfsError BUSY where Linux uses the image: as a loop device, as a mounted device, or otherwise exclusively */
function refuseInUse(path: HostPath, stats: BigIntStats): void {
  if (process.platform !== 'linux') return
  if (stats.isBlockDevice()) {
    for (const [device, place] of mounts()) {
      const mounted = statsOf(device)
      if (mounted?.isBlockDevice() && mounted.rdev === stats.rdev)
        throw new XfsError('BUSY', `${path} is mounted at ${place}`)
    }
    refuseExclusive(path)
    return
  }
  const real = realpathSync(path)
  for (const loop of list('/sys/block')) {
    if (!loop.startsWith('loop')) continue
    const backing = read(`/sys/block/${loop}/loop/backing_file`)?.trimEnd()
    if (backing === undefined) continue
    const same = statsOf(backing)
    if (backing === real || (same && same.dev === stats.dev && same.ino === stats.ino)) {
      throw new XfsError('BUSY', `${path} is behind /dev/${loop}${mountedAt(`/dev/${loop}`)}`)
    }
  }
}

/** Linux gives a block device exclusively to one user: a mount, a volume manager, another claim. */
function refuseExclusive(path: HostPath): void {
  try {
    closeSync(openSync(path, constants.O_RDWR | constants.O_EXCL))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') throw new XfsError('BUSY', `${path} is in use by the system`)
  }
}

const mountedAt = (device: string): string => {
  const mount = mounts().find(([source]) => source === device)
  return mount ? `, mounted at ${mount[1]}` : ''
}

/** What is mounted: device and place. */
function mounts(): [string, string][] {
  const lines = read('/proc/self/mounts')?.split('\n') ?? []
  return lines
    .filter((line) => line.startsWith('/'))
    .map((line) => line.split(' ').map(unescapeOctal) as [string, string])
}

const unescapeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))

/** Nothing where it is gone, or out of this user's reach. */
function statsOf(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true })
  } catch {
    return undefined
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
