import { type BigIntStats, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { XfsError } from '../errors.ts'
import { deviceNumbers } from './devicenumbers.ts'
import type { HostPath } from './hostpath.ts'

/** What Linux does with an image: loop devices, mounts, locks. Other systems do not tell; there nothing is found. */

/** @throws XfsError BUSY where the image backs a loop device, or is a mounted device */
export function refuseInUse(path: HostPath, stats: BigIntStats): void {
  if (process.platform !== 'linux') return
  if (stats.isBlockDevice()) {
    for (const [device, place] of mounts()) {
      const mounted = statsOf(device)
      if (mounted?.isBlockDevice() && mounted.rdev === stats.rdev)
        throw new XfsError('BUSY', `${path} is mounted at ${place}`)
    }
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

/** The process that has an exclusive flock on a file, as far as /proc/locks shows it. */
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
