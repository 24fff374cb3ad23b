import { type Connection, isPlain, plain } from './connection.ts'
import { nodeError } from './errors.ts'
import type { Methods } from './methods.ts'
import {
  AbortError,
  bufferOf,
  bytesOf,
  direntOf,
  type Encoding,
  encoded,
  encodingOf,
  modeOf,
  optionsOf,
  shown,
  statsOf,
  thenUse,
  timeOf,
  type WithEncoding,
  withMode,
} from './nodevalues.ts'

/** The methods of `node:fs/promises`: how each differs from the worker's. */

/** How a method of Node's form differs from the worker's. */
interface Form {
  /** What the worker gets (default: the arguments as they are). */
  readonly send?: (args: unknown[]) => unknown[] | Promise<unknown[]>
  /** The result, of what the worker gave (default: that). */
  readonly receive?: (value: unknown, args: unknown[]) => unknown
  /** The system call in messages (default: the method). */
  readonly syscall?: string
  /** Arguments that are paths (default: the first). */
  readonly paths?: readonly number[]
}

const two: Form = { paths: [0, 1] }
const stat: Form = { send: ([path]) => [path], receive: (value, [, options]) => statsOf(value, options) }
const named = (standard: Encoding): Form => ({
  send: ([path]) => [path],
  receive: (value, [, options]) => encoded(value as Uint8Array, encodingOf(options as WithEncoding, standard)),
})
const writing: Form = {
  syscall: 'open',
  send([path, data, options]) {
    const { encoding, signal, ...rest } = optionsOf(options)
    const sent = (bytes: Uint8Array) => [path, bytes, { ...rest, ...(signal !== undefined && { signal }) }]
    return thenUse(bytesOf(data, encoding as Encoding, signal as AbortSignal | undefined), sent)
  },
}

/** The methods of Node's form. */
export const forms = {
  access: {},
  appendFile: writing,
  chmod: { send: ([path, mode]) => [path, modeOf(mode)] },
  chown: {},
  copyFile: two,
  lchown: {},
  link: two,
  lstat: stat,
  lutimes: { send: ([path, ...times]) => [path, ...times.map(timeOf)], syscall: 'lutime' },
  mkdir: {
    send: ([path, options]) => [
      path,
      typeof options === 'object' && options !== null
        ? withMode(options)
        : options === undefined
          ? {}
          : modeOf(options),
    ],
  },
  mkdtemp: { ...named('utf8'), syscall: 'mkdtemp' },
  readFile: {
    syscall: 'open',
    send: ([path, options]) => {
      const { signal } = optionsOf(options)
      return [path, ...(signal === undefined ? [] : [{ signal }])]
    },
    receive: (value, [, options]) => encoded(value as Uint8Array, encodingOf(options as WithEncoding, null)),
  },
  readdir: {
    syscall: 'scandir',
    send: ([path, options]) => [path, { recursive: optionsOf(options)['recursive'] === true }],
    receive: (value, [path, options]) => entriesOf(value as EntryData[], path, options),
  },
  readlink: named('utf8'),
  realpath: named('utf8'),
  rename: two,
  // What Node calls for it first.
  rm: { syscall: 'lstat' },
  rmdir: { send: ([path]) => [path] },
  stat,
  statfs: {
    send: ([path]) => [path],
    receive: (value, [, options]) =>
      optionsOf(options)['bigint'] === true
        ? Object.fromEntries(Object.entries(value as object).map(([name, number]) => [name, BigInt(number)]))
        : value,
  },
  symlink: { send: ([target, path]) => [target, path], paths: [0, 1] },
  truncate: {},
  unlink: {},
  utimes: { send: ([path, ...times]) => [path, ...times.map(timeOf)], syscall: 'utime' },
  writeFile: writing,
} as const satisfies Partial<Record<keyof Methods, Form>>

type EntryData = Awaited<ReturnType<Methods['readdir']>>[number]

function entriesOf(list: EntryData[], path: unknown, options: unknown): unknown[] {
  const { withFileTypes } = optionsOf(options)
  const encoding = encodingOf(options as WithEncoding, 'utf8')
  if (withFileTypes === true) return list.map((entry) => direntOf(entry, encoding))
  const top = Buffer.byteLength(path as string | Uint8Array)
  return list.map((entry) => {
    // With `recursive`: the path from the top.
    const below = bufferOf(entry.path).subarray(top)
    const start = below[0] === 0x2f ? 1 : 0
    const name = below.length === 0 ? entry.name : Buffer.concat([below.subarray(start), Buffer.from('/'), entry.name])
    return encoded(name, encoding)
  })
}

/** Call a method in Node's form. */
export async function callForm(
  connection: Connection,
  name: keyof typeof forms,
  given: readonly unknown[],
): Promise<unknown> {
  const form: Form = forms[name]
  const args = given.map(plain)
  try {
    const sending = form.send ? form.send([...args]) : args
    const sent = sending instanceof Promise ? await sending : sending
    const options = sent.at(-1)
    const signal = isPlain(options) ? (options['signal'] as AbortSignal | undefined) : undefined
    try {
      const value = await connection.call(name, sent)
      return form.receive ? form.receive(value, args) : value
    } catch (error) {
      throw signal?.aborted ? new AbortError(signal.reason) : error
    }
  } catch (error) {
    const [path, dest] = (form.paths ?? [0]).map((i) => shown(args[i]))
    throw nodeError(error as Error, form.syscall ?? name.toLowerCase(), path, dest)
  }
}
