import { type BigIntStats, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { XfsError } from '../errors.ts'
import { deviceNumbers } from './devicenumbers.ts'
import type { HostPath } from './hostpath.ts'

/** Uses of an image by Linux: loop devices, mounts, locks. Other systems do not report them. */

/** A mount of a device, and whether it is read-only. */
interface Mount {
  readonly source: string
  readonly type: string
  readonly place: string
  readonly readOnly: boolean
}

/** @throws XfsError BUSY if the image backs a loop device, or is a mounted device */
export function refuseInUse(path: HostPath, stats: BigIntStats): void {
  if (process.platform !== 'linux') return
  if (stats.isBlockDevice()) {
    const mount = mountOf(stats)
    if (mount) throw new XfsError('BUSY', `${path} is mounted at ${mount.place}`)
    return
  }
  for (const loop of loopsOf(path, stats))
    throw new XfsError('BUSY', `${path} is attached to ${loop}${mountedAt(mountOfLoop(loop))}`)
}

/**
 * Refuse a mounted filesystem: its state on disk is older than the kernel's state in memory, and it
 * changes meanwhile.
 * @param readOnly also refuse read-only mounts
 * @throws XfsError BUSY if the image is a mounted device, or the file of one
 */
export function refuseMounted(path: HostPath, { readOnly }: { readonly readOnly: boolean }): void {
  if (process.platform !== 'linux') return
  const stats = statsOf(path)
  const mount = stats && mountsOf(path, stats).find((mount) => readOnly || !mount.readOnly)
  if (!mount) return
  const kind = readOnly ? 'mounted' : 'mounted and writable'
  throw new XfsError('BUSY', `${path} contains a ${kind} filesystem (at ${mount.place})`)
}

/** The mount at a place, or of a device, or of a loop device's file. */
export function findMount(path: HostPath): Mount | undefined {
  if (process.platform !== 'linux') return undefined
  const stats = statsOf(path)
  if (!stats) return undefined
  if (!stats.isDirectory()) return mountsOf(path, stats)[0]
  const real = realpathSync.native(path)
  // The last mount hides the others.
  return mounts().findLast(({ place }) => place === real)
}

const mountsOf = (path: HostPath, stats: BigIntStats): Mount[] =>
  (stats.isBlockDevice() ? [mountOf(stats)] : loopsOf(path, stats).map(mountOfLoop)).filter(
    (mount) => mount !== undefined,
  )

function mountOf({ rdev }: BigIntStats): Mount | undefined {
  return mounts().find(({ source }) => {
    const device = statsOf(source)
    return device?.isBlockDevice() && device.rdev === rdev
  })
}

const mountOfLoop = (loop: string): Mount | undefined => mounts().find(({ source }) => source === loop)

/** The loop devices of a file. */
function loopsOf(path: HostPath, stats: BigIntStats): string[] {
  const real = realpathSync.native(path)
  return list('/sys/block')
    .filter((name) => {
      if (!name.startsWith('loop')) return false
      const backing = read(`/sys/block/${name}/loop/backing_file`)?.trimEnd()
      if (backing === undefined) return false
      const file = statsOf(backing)
      return backing === real || (file !== undefined && file.dev === stats.dev && file.ino === stats.ino)
    })
    .map((name) => `/dev/${name}`)
}

/** The process that has an exclusive flock on a file, if /proc/locks shows it. */
export function flockHolder(stats: BigIntStats): number | undefined {
  const { major, minor } = deviceNumbers(stats.dev)
  const hex = (number: bigint): string => number.toString(16).padStart(2, '0')
  const file = `${hex(major)}:${hex(minor)}:${stats.ino}`
  for (const line of read('/proc/locks')?.split('\n') ?? []) {
    const [, kind, , access, pid, where] = line.split(/\s+/)
    if (kind === 'FLOCK' && access === 'WRITE' && where === file) return Number(pid)
  }
  return undefined
}

const mountedAt = (mount: Mount | undefined): string => (mount ? `, mounted at ${mount.place}` : '')

function mounts(): Mount[] {
  const lines = read('/proc/self/mounts')?.split('\n') ?? []
  return lines
    .filter((line) => line.startsWith('/'))
    .map((line) => {
      const [source = '', place = '', type = '', options = ''] = line.split(' ').map(unescapeOctal)
      return { source, place, type, readOnly: options.split(',').includes('ro') }
    })
}

const unescapeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))

/** Undefined if it does not exist, or is not accessible to this user. */
function statsOf(path: HostPath): BigIntStats | undefined {
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
