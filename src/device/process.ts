import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/**
 * Identifies a process, so that another process can check later whether it is still running.
 * Unknown fields are empty.
 */
export interface ProcessIdentity {
  readonly host: string
  /** The boot of the system: process IDs and start times are valid within it only. */
  readonly boot: string
  /** The namespaces of process IDs and of times: a container has its own. */
  readonly namespace: string
  readonly pid: number
  /** Start time, in clock ticks since boot. */
  readonly start: string
}

let own: ProcessIdentity | undefined

/** This process. */
export function thisProcess(): ProcessIdentity {
  own ??= {
    host: hostname(),
    boot: textOf('/proc/sys/kernel/random/boot_id').trim(),
    namespace: [linkOf('/proc/self/ns/pid'), linkOf('/proc/self/ns/time')].join(' ').trim(),
    pid: process.pid,
    start: statOf(process.pid)?.start ?? '',
  }
  return own
}

/** A short hash of host, boot and namespaces, the scope of process IDs and start times. */
const placeName = ({ host, boot, namespace }: ProcessIdentity): string =>
  createHash('sha256')
    .update(JSON.stringify([host, boot, namespace]))
    .digest('hex')
    .slice(0, 12)

/** This process, as a part of a file name. */
export function nameOfProcess(): string {
  const here = thisProcess()
  return `${here.pid}-${here.start || 0}-${placeName(here)}`
}

/** True only if the process with this `nameOfProcess` has certainly ended. */
export function namedHasEnded(name: string): boolean {
  const [pid = '', start = '', place] = name.split('-')
  const here = thisProcess()
  return place === placeName(here) && hasEnded({ ...here, pid: Number(pid), start })
}

/** True if both are known to run on the same boot of the same system. */
export function sameKernel({ host, boot }: ProcessIdentity): boolean {
  const here = thisProcess()
  return boot !== '' && boot === here.boot && host === here.host
}

/**
 * True only if the process has certainly ended: it ran in this boot and in these namespaces, and
 * its ID is unused, or belongs to a process with another start time.
 */
export function hasEnded(other: ProcessIdentity): boolean {
  const here = thisProcess()
  if (!sameKernel(other) || other.namespace !== here.namespace || other.start === '' || here.start === '') return false
  try {
    process.kill(other.pid, 0)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ESRCH') return true
    if (code !== 'EPERM') return false
  }
  const now = statOf(other.pid)
  if (now === undefined) return false // It exists, but /proc hides it from this user.
  return now.start !== other.start || (now.state === 'Z' && threadsOf(other.pid) === 1)
}

/** State and start time of a process, from /proc. */
function statOf(pid: number): { state: string; start: string } | undefined {
  const text = textOf(`/proc/${pid}/stat`)
  // The name, in parentheses, may contain any characters.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state, start] = [fields[0], fields[19]]
  return text !== '' && state && start ? { state, start } : undefined
}

/** A killed process may still write until its last thread has ended. */
function threadsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).length
  } catch {
    return Number.NaN
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
