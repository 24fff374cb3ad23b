import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** A process, so that another can tell later whether it still runs. What the system does not tell is empty. */
export interface ProcessIdentity {
  readonly host: string
  /** This start of the system: process numbers and start times mean something within it only. */
  readonly boot: string
  /** The namespaces of process numbers and of times: a container has its own. */
  readonly namespace: string
  readonly pid: number
  /** When it started, in clock ticks since the start of the system. */
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

/** Host, start of the system and namespaces as a few letters: process numbers and start times mean something within these. */
const placeName = ({ host, boot, namespace }: ProcessIdentity): string =>
  createHash('sha256')
    .update(JSON.stringify([host, boot, namespace]))
    .digest('hex')
    .slice(0, 12)

/** This process, for the name of a file. */
export function nameOfProcess(): string {
  const here = thisProcess()
  return `${here.pid}-${here.start || 0}-${placeName(here)}`
}

/** True only where it is certain that the process which `nameOfProcess` gave this name has ended. */
export function namedHasEnded(name: string): boolean {
  const [pid = '', start = '', place] = name.split('-')
  const here = thisProcess()
  return place === placeName(here) && hasEnded({ ...here, pid: Number(pid), start })
}

/** True where both are of one running kernel, which the system has to tell. */
export function sameKernel({ host, boot }: ProcessIdentity): boolean {
  const here = thisProcess()
  return boot !== '' && boot === here.boot && host === here.host
}

/**
 * True only where it is certain that the process has ended: it was of this start of this system and of these namespaces,
 * and its number belongs to no process, or to one that started at another time.
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
  if (now === undefined) return false // It is there, and /proc does not show it to this user.
  return now.start !== other.start || (now.state === 'Z' && threadsOf(other.pid) === 1)
}

/** State and start time of a process, as Linux tells them. */
function statOf(pid: number): { state: string; start: string } | undefined {
  const text = textOf(`/proc/${pid}/stat`)
  // The name, in parentheses, may hold anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state, start] = [fields[0], fields[19]]
  return text !== '' && state && start ? { state, start } : undefined
}

/** While others than the first still end, a killed process may still write. */
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
