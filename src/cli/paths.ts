import { XfsError } from '../errors.ts'
import { escapeBytes } from '../util/escape.ts'
import type { XfsImage } from '../xfsimage/xfsimage.ts'
import { type ImageArguments, imagePath } from './arguments.ts'
import type { Session } from './command.ts'
import { FAILED, Interrupted, OK, UsageError } from './command.ts'
import { absolute, named } from './json.ts'
import { withImage } from './open.ts'
import type { Output } from './output.ts'
import { pause } from './progress.ts'

/** The JSON of one path: what was done, or why it was not. */
export type PathResult = Readonly<Record<string, unknown>>

/** The JSON of a path that was given. */
export const pathEntry = (path: string): PathResult => named('path', absolute(imagePath(path)))

/** Reports a file at or below the current path that failed. @param path  as it is shown */
export type Fail = (path: string, error: XfsError) => void

/** @returns further facts about the path, for JSON */
// biome-ignore lint/suspicious/noConfusingVoidType: most actions return nothing
type Action<Result = PathResult | void> = (path: string, fail: Fail) => Result | Promise<Result>

/**
 * Change the image, path by path. A failure is reported and does not stop the others. The exit
 * status is then 1 if nothing was changed, else 4. Success prints nothing as text. JSON is a
 * document with the changed and the failed paths.
 * @param entry  the JSON of a path that was given (default: `path`)
 */
export async function changeEachPath(
  session: Pick<Session, 'out'>,
  command: string,
  args: ImageArguments & { readonly image: string },
  paths: readonly string[],
  // biome-ignore lint/suspicious/noConfusingVoidType: most actions return nothing
  action: (image: XfsImage, ...rest: Parameters<Action>) => PathResult | void | Promise<PathResult | void>,
  entry = pathEntry,
): Promise<number> {
  const { done, failed, status } = await withImage(session, args.image, 'write', args, (image) =>
    tryEachPath(session, command, paths, (path, fail) => action(image, path, fail), entry),
  )
  const dryRun = args.dryRun === true && { dryRun: true }
  session.out.document(command, { done, failed, ...dryRun }, () => '')
  return status
}

/** Do something for each path. A failure is reported and does not stop the others. */
export async function tryEachPath(
  { out }: Pick<Session, 'out'>,
  command: string,
  paths: readonly string[],
  action: Action,
  entry = pathEntry,
): Promise<{ readonly done: readonly PathResult[]; readonly failed: readonly PathResult[]; readonly status: number }> {
  const done: PathResult[] = []
  const failed: PathResult[] = []
  const note = (path: string, error: XfsError, at: PathResult): void => {
    failed.push({ ...at, code: error.code, message: error.message })
    reportFailure(out, command, path, error)
  }
  for (const path of paths) {
    const before = failed.length
    try {
      const facts = await action(path, (below, error) => note(below, error, pathEntry(below)))
      if (failed.length === before) done.push({ ...entry(path), ...facts })
    } catch (error) {
      if (error instanceof Interrupted || !(error instanceof XfsError)) throw error
      note(path, error, entry(path))
    }
    await pause()
  }
  return { done, failed, status: failed.length > 0 ? FAILED : OK }
}

/** Report a path that failed. Many messages already contain the path. */
export function reportFailure(out: Output, command: string, path: string, { code, message }: XfsError): void {
  const text = message.includes(path) ? message : `${path}: ${message}`
  out.message('error', `xfskit ${command}`, text, { code, path: absolute(imagePath(path)) })
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
