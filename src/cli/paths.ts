import { XfsError } from '../errors.ts'
import { escapeBytes } from '../util/escape.ts'
import type { Volume } from '../volume.ts'
import type { ImageArguments } from './arguments.ts'
import type { Session } from './command.ts'
import { FAILED, Interrupted, OK, UsageError } from './command.ts'
import { withVolume } from './image.ts'
import type { Output } from './output.ts'
import { pause } from './progress.ts'

/** The result for one path. */
interface Failure {
  readonly path: string
  readonly code: string
  readonly message: string
}

/**
 * Change the image, path by path. A failure is reported and does not stop the others. The exit
 * status is then 1 if nothing was changed, else 4. Success prints nothing as text. JSON is a
 * document with the changed and the failed paths.
 */
export async function changeEachPath(
  session: Pick<Session, 'out'>,
  command: string,
  args: ImageArguments & { readonly image: string },
  paths: readonly string[],
  action: (volume: Volume, path: string) => void | Promise<void>,
): Promise<number> {
  const { done, failed, status } = await withVolume(session, args.image, 'write', args, (volume) =>
    tryEachPath(session, command, paths, (path) => action(volume, path)),
  )
  if (session.out.form !== 'text') session.out.document(command, { done, failed }, () => '')
  return status
}

/** Print something for each path. A failure is reported and does not stop the others. */
export async function tryEachPath(
  { out }: Pick<Session, 'out'>,
  command: string,
  paths: readonly string[],
  action: (path: string) => void | Promise<void>,
): Promise<{ readonly done: readonly string[]; readonly failed: readonly Failure[]; readonly status: number }> {
  const done: string[] = []
  const failed: Failure[] = []
  for (const path of paths) {
    try {
      await action(path)
      done.push(path)
    } catch (error) {
      if (error instanceof Interrupted || !(error instanceof XfsError)) throw error
      failed.push({ path, code: error.code, message: error.message })
      reportFailure(out, command, path, error)
    }
    await pause()
  }
  return { done, failed, status: failed.length > 0 ? FAILED : OK }
}

/** Report a path that failed. Many messages already contain the path. */
export function reportFailure(out: Output, command: string, path: string, { code, message }: XfsError): void {
  out.message('error', `xfskit ${command}`, message.includes(path) ? message : `${path}: ${message}`, { code, path })
}

/** The path of a file of a tree that was given as `start`, as text. */
export const pathBelow = (start: string, path: Uint8Array): string =>
  path.length === 0 ? start : `${start.replace(/\/+$/, '')}/${escapeBytes(path)}`

const READ = 0o444
const WRITE = 0o222
const EXECUTE = 0o111
const who: Readonly<Record<string, number>> = { u: 0o4700, g: 0o2070, o: 0o1007, a: 0o7777 }

/**
 * Permissions as chmod(1) takes them: octal, or clauses like `u+x,go-w,a=rX,+t`.
 * @param current  the permissions that symbolic clauses change
 * @throws UsageError
 */
export function parseMode(text: string, current: number, isDirectory: boolean): number {
  if (/^[0-7]{1,5}$/.test(text)) return Number.parseInt(text, 8) & 0o7777
  let mode = current
  for (const clause of text.split(',')) {
    const match = /^([ugoa]*)((?:[-+=][rwxXst]*)+)$/.exec(clause)
    if (!match) throw new UsageError(`not a mode: ${text} (octal, or like u+x,go-w)`)
    const [, whom = '', actions = ''] = match
    const mask = [...(whom || 'a')].reduce((bits, letter) => bits | (who[letter] as number), 0)
    for (const [, operator, letters = ''] of actions.matchAll(/([-+=])([rwxXst]*)/g)) {
      let bits = 0
      for (const letter of letters) {
        if (letter === 'r') bits |= READ
        else if (letter === 'w') bits |= WRITE
        else if (letter === 'x' || (letter === 'X' && (isDirectory || (mode & EXECUTE) !== 0))) bits |= EXECUTE
        else if (letter === 's') bits |= 0o6000
        else if (letter === 't') bits |= 0o1000
      }
      bits &= mask
      if (operator === '+') mode |= bits
      else if (operator === '-') mode &= ~bits
      else mode = (mode & ~(mask & (isDirectory ? 0o1777 : 0o7777))) | bits
    }
  }
  return mode & 0o7777
}

/** `1000:100`, `1000`, `1000:` or `:100`. @throws UsageError */
export function parseOwner(text: string): { uid?: number; gid?: number } {
  const match = /^(\d*)(?::(\d*))?$/.exec(text)
  const [, uid = '', gid = ''] = match ?? []
  const number = (digits: string): number => {
    const value = Number(digits)
    if (value >= 2 ** 32 - 1) throw new UsageError(`not a user or group: ${digits}`)
    return value
  }
  if (!match || (uid === '' && gid === ''))
    throw new UsageError(`not an owner: ${text} (UID, UID:GID or :GID, as numbers)`)
  return { ...(uid === '' ? {} : { uid: number(uid) }), ...(gid === '' ? {} : { gid: number(gid) }) }
}

/**
 * `@seconds.nanoseconds`, or a date with a time in ISO 8601 format (UTC if it has no zone).
 * @throws UsageError
 */
export function parseTime(text: string): { seconds: number; nanoseconds: number } {
  const epoch = /^@(-?\d+)(?:\.(\d{1,9}))?$/.exec(text)
  if (epoch) return { seconds: Number(epoch[1]), nanoseconds: nanos(epoch[2]) }
  const date = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?)? ?(Z|[-+]\d\d:?\d\d)?$/.exec(
    text.trim(),
  )
  const [, day = '', time = '00:00', fraction, zone = 'Z'] = date ?? []
  const ms = date
    ? Date.parse(`${day}T${time.length === 5 ? `${time}:00` : time}${zone.replace(/(\d\d)(\d\d)$/, '$1:$2')}`)
    : Number.NaN
  if (Number.isNaN(ms)) throw new UsageError(`not a time: ${text} (@seconds, or like 2026-03-01 12:30:15.5 +0100)`)
  return { seconds: Math.floor(ms / 1000), nanoseconds: nanos(fraction) }
}

const nanos = (digits: string | undefined): number => Number((digits ?? '').padEnd(9, '0'))
