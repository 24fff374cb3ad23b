import { constants, type PathLike as HostPathLike } from 'node:fs'
import type * as fsp from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Worker } from 'node:worker_threads'
import { startWorker } from '../device/workers.ts'
import { XfsError } from '../errors.ts'
import { optionsOf as checked } from '../xfsimage/arguments.ts'
import { isHostTarget } from '../xfsimage/host.ts'
import { Dirent, type StatData, Stats } from '../xfsimage/stats.ts'
import type { FileOpenOptions, ImageTarget } from '../xfsimage/xfsimage.ts'
import { nodeError, receiveError } from './errors.ts'
import type { Methods } from './methods.ts'
import { type Abort, type Answer, type Call, CLOSE, type Descriptor, type Event, type Start } from './protocol.ts'

/** The program's side of the promise form: calls go to the worker, results get Node's form. */

const BADF = { code: 'EBADF', errno: -9 }

interface Pending {
  resolve(value: unknown): void
  reject(error: Error): void
  readonly listeners: Readonly<Record<string, (...values: unknown[]) => void>>
}

/** The connection to a worker: calls by name. */
class Connection {
  readonly #worker: Worker
  readonly #pending = new Map<number, Pending>()
  #last = 0
  #ended: Error | undefined

  constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (message: Answer | Event) => this.#receive(message))
    worker.on('error', (error) => this.#end(error as Error))
    worker.on('messageerror', (error) => this.#end(error))
    worker.on('exit', (code) => this.#end(new XfsError('IO', `the worker of the image ended with status ${code}`)))
  }

  /** The answer to the start of the worker. */
  started(): Promise<unknown> {
    return this.#wait(0, {})
  }

  async call(method: string, args: readonly unknown[]): Promise<unknown> {
    if (this.#ended) throw this.#ended
    const { sent, signal, listeners } = sendable(args)
    signal?.throwIfAborted()
    const id = ++this.#last
    const call: Call = { id, method, args: sent, listens: [...Object.keys(listeners), ...(signal ? ['signal'] : [])] }
    try {
      this.#worker.postMessage(call)
    } catch (error) {
      throw new XfsError('INVAL', `an argument cannot be sent to the worker: ${(error as Error).message}`)
    }
    const abort = (): void => this.#worker.postMessage({ abort: id } satisfies Abort)
    signal?.addEventListener('abort', abort)
    try {
      return await this.#wait(id, listeners)
    } catch (error) {
      throw signal?.aborted ? signal.reason : error
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  /** No calls are taken any more. */
  end(): void {
    this.#ended ??= Object.assign(new Error('EBADF: the image is closed'), BADF)
  }

  #wait(id: number, listeners: Pending['listeners']): Promise<unknown> {
    // A program ends although an image is open, but not while it waits for an answer.
    this.#worker.ref()
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject, listeners }))
  }

  #receive(message: Answer | Event): void {
    const pending = this.#pending.get(message.id)
    if (!pending) return
    if ('event' in message) {
      pending.listeners[message.event]?.(...message.values)
      return
    }
    this.#pending.delete(message.id)
    if (this.#pending.size === 0) this.#worker.unref()
    if ('error' in message) pending.reject(receiveError(message.error))
    else pending.resolve(message.value)
  }

  #end(error: Error): void {
    this.#ended ??= error
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
  }
}

/** Arguments without what cannot be sent: functions and a signal among the options. */
function sendable(args: readonly unknown[]): {
  sent: unknown[]
  signal: AbortSignal | undefined
  listeners: Record<string, (...values: unknown[]) => void>
} {
  const sent = args.map(plain)
  const options = sent.at(-1)
  if (!isPlain(options)) return { sent, signal: undefined, listeners: {} }
  const { signal, ...rest } = checked(options)
  const functions = Object.entries(rest).filter(([, value]) => typeof value === 'function')
  for (const [name] of functions) {
    if (!/^on[A-Z]/.test(name)) throw new XfsError('INVAL', `${name}: a function cannot be sent to the worker`)
    delete rest[name]
  }
  sent[sent.length - 1] = rest
  return {
    sent,
    signal: signal as AbortSignal | undefined,
    listeners: Object.fromEntries(functions) as Record<string, (...values: unknown[]) => void>,
  }
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype

function plain(value: unknown): unknown {
  if (value instanceof URL) return fileURLToPath(value)
  if (value instanceof FileHandle) return { fd: value.fd } satisfies Descriptor
  return value
}

// ------------------------------------------------------------------------------------- Node's form

type Encoding = BufferEncoding | 'buffer' | null | undefined
type WithEncoding = Encoding | { readonly encoding?: Encoding }

const encodingOf = (options: WithEncoding, standard: Encoding): Encoding =>
  typeof options === 'object' && options !== null
    ? options.encoding === undefined
      ? standard
      : options.encoding
    : (options ?? standard)

const bufferOf = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength)

/** Bytes as text, or as they are. */
const encoded = (bytes: Uint8Array, encoding: Encoding): string | Buffer =>
  encoding === null || encoding === undefined || encoding === 'buffer'
    ? bufferOf(bytes)
    : bufferOf(bytes).toString(encoding)

/** Data to write, in Node's forms. */
function bytesOf(data: unknown, options: WithEncoding, signal?: AbortSignal): Uint8Array | Promise<Uint8Array> {
  if (typeof data === 'string') return Buffer.from(data, (encodingOf(options, 'utf8') ?? 'utf8') as BufferEncoding)
  if (data instanceof Uint8Array) return data
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  const iterable = data as AsyncIterable<unknown> | Iterable<unknown> | null | undefined
  if (
    typeof iterable !== 'object' ||
    iterable === null ||
    !(Symbol.asyncIterator in iterable || Symbol.iterator in iterable)
  )
    throw Object.assign(new TypeError('the data are not a string, bytes, or an iterable of them'), {
      code: 'ERR_INVALID_ARG_TYPE',
    })
  return collected(iterable, options, signal)
}

async function collected(
  data: AsyncIterable<unknown> | Iterable<unknown>,
  options: WithEncoding,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  for await (const piece of data) {
    signal?.throwIfAborted()
    pieces.push(await bytesOf(piece, options))
  }
  return Buffer.concat(pieces)
}

/** What is there at once is used at once: calls keep their order. */
const thenUse = <T, R>(value: T | Promise<T>, use: (value: T) => R): R | Promise<R> =>
  value instanceof Promise ? value.then(use) : use(value)

/** Of Node's forms: a number, a function that encodes, or an object. */
const optionsOf = (options: unknown): Record<string, unknown> =>
  typeof options === 'string' ? { encoding: options } : { ...((options as object | undefined) ?? {}) }

class AbortError extends Error {
  override readonly name = 'AbortError'
  readonly code = 'ABORT_ERR'
  constructor(cause: unknown) {
    super('The operation was aborted', { cause })
  }
}

/** What Node calls a directory entry. */
const direntOf = (
  { name, path, mode, ino }: Awaited<ReturnType<Methods['readdir']>>[number],
  encoding: Encoding,
): Dirent<string | Uint8Array> => new Dirent(encoded(name, encoding), bufferOf(path).toString(), ino, mode)

/** `fs.BigIntStats`: all numbers as bigint, and times in nanoseconds. */
function bigintStats(stats: Stats): object {
  const { xfs, atime, mtime, ctime, birthtime } = stats
  const times = { atime: xfs.atime, mtime: xfs.mtime, ctime: xfs.ctime, birthtime: xfs.crtime ?? xfs.ctime }
  const numbers = ['dev', 'ino', 'mode', 'nlink', 'uid', 'gid', 'rdev', 'blksize', 'blocks'] as const
  const types = [
    'isFile', 'isDirectory', 'isSymbolicLink', 'isBlockDevice', 'isCharacterDevice', 'isFIFO', 'isSocket',
  ] as const // biome-ignore format: one line
  return Object.assign(
    { size: BigInt(xfs.size), xfs, atime, mtime, ctime, birthtime },
    Object.fromEntries(numbers.map((name) => [name, BigInt(stats[name])])),
    Object.fromEntries(types.map((name) => [name, () => stats[name]()])),
    ...Object.entries(times).map(([name, { seconds, nanoseconds }]) => {
      const ns = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)
      return { [`${name}Ns`]: ns, [`${name}Ms`]: ns / 1_000_000n }
    }),
  )
}

const statsOf = (data: unknown, options: unknown): unknown => {
  const stats = new Stats(data as StatData)
  return optionsOf(options)['bigint'] === true ? bigintStats(stats) : stats
}

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
const forms = {
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

const modeOf = (mode: unknown): unknown => (typeof mode === 'string' ? Number.parseInt(mode, 8) : mode)
const withMode = (options: object): object =>
  'mode' in options && options.mode !== undefined ? { ...options, mode: modeOf(options.mode) } : { ...options }
const timeOf = (time: unknown): unknown => (typeof time === 'string' ? Number(time) : time)

/** A path for messages. */
const shown = (path: unknown): string | undefined =>
  typeof path === 'string' ? path : path instanceof Uint8Array ? Buffer.from(path).toString() : undefined

/** Call a method in Node's form. */
async function callForm(connection: Connection, name: keyof typeof forms, given: readonly unknown[]): Promise<unknown> {
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

// -------------------------------------------------------------------------------------- open files

/** An open file, with methods as of Node's `FileHandle`. */
export class FileHandle {
  readonly fd: number
  readonly #connection: Connection
  readonly #path: string | undefined
  #closed = false

  constructor(connection: Connection, fd: number, path: string | undefined) {
    this.#connection = connection
    this.fd = fd
    this.#path = path
  }

  async #call(syscall: string, method: keyof Methods, ...args: unknown[]): Promise<unknown> {
    if (this.#closed) throw Object.assign(new Error(`EBADF: bad file descriptor, ${syscall}`), { ...BADF, syscall })
    try {
      return await this.#connection.call(method, [{ fd: this.fd }, ...args])
    } catch (error) {
      throw nodeError(error as Error, syscall, this.#path)
    }
  }

  /** @param buffer  or an object with `buffer` and the other arguments */
  async read(
    buffer?: NodeJS.ArrayBufferView | ReadOptions | null,
    offsetOrOptions?: number | ReadOptions | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: NodeJS.ArrayBufferView }> {
    const rest = typeof offsetOrOptions === 'object' ? offsetOrOptions : { offset: offsetOrOptions, length, position }
    const options: ReadOptions = ArrayBuffer.isView(buffer) ? { buffer, ...rest } : (buffer ?? {})
    const into = options.buffer ?? Buffer.alloc(16384)
    const view = new Uint8Array(into.buffer, into.byteOffset, into.byteLength)
    const { offset, length: wanted } = partOf(view, options)
    const bytes = (await this.#call('read', 'read', wanted, positionOf(options.position))) as Uint8Array
    view.set(bytes, offset)
    return { bytesRead: bytes.length, buffer: into }
  }

  async write(
    data: NodeJS.ArrayBufferView | string,
    offsetOrPosition?: number | null | WriteAt,
    lengthOrEncoding?: number | string | null,
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffer: NodeJS.ArrayBufferView | string }> {
    let bytes: Uint8Array
    let at: number | bigint | null | undefined
    if (typeof data === 'string') {
      bytes = Buffer.from(data, (lengthOrEncoding ?? 'utf8') as BufferEncoding)
      at = offsetOrPosition as number | null | undefined
    } else {
      const options: WriteAt =
        typeof offsetOrPosition === 'object' && offsetOrPosition !== null
          ? offsetOrPosition
          : { offset: offsetOrPosition, length: lengthOrEncoding as number | null | undefined, position }
      const all = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      const { offset, length } = partOf(all, options)
      bytes = all.slice(offset, offset + length)
      at = options.position
    }
    const bytesWritten = (await this.#call('write', 'write', bytes, positionOf(at))) as number
    return { bytesWritten, buffer: data }
  }

  async readFile(options?: WithEncoding): Promise<string | Buffer> {
    return encoded((await this.#call('read', 'readFile')) as Uint8Array, encodingOf(options, null))
  }
  async writeFile(data: unknown, options?: WithEncoding): Promise<void> {
    await thenUse(bytesOf(data, options), (bytes) => this.#call('write', 'writeFile', bytes))
  }
  appendFile(data: unknown, options?: WithEncoding): Promise<void> {
    return this.writeFile(data, options)
  }
  async stat(options?: { readonly bigint?: boolean }): Promise<Stats> {
    return statsOf(await this.#call('fstat', 'stat'), options) as Stats
  }
  async truncate(size = 0): Promise<void> {
    await this.#call('ftruncate', 'truncate', size)
  }
  async chmod(mode: number): Promise<void> {
    await this.#call('fchmod', 'chmod', mode)
  }
  async chown(uid: number, gid: number): Promise<void> {
    await this.#call('fchown', 'chown', uid, gid)
  }
  async utimes(atime: Date | number | string, mtime: Date | number | string): Promise<void> {
    await this.#call('futime', 'utimes', timeOf(atime), timeOf(mtime))
  }
  async sync(): Promise<void> {
    if (this.#closed) return
    await this.#connection.call('sync', [])
  }
  datasync(): Promise<void> {
    return this.sync()
  }
  async close(): Promise<void> {
    if (this.#closed) return
    await this.#call('close', 'close')
    this.#closed = true
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

export interface ReadOptions {
  readonly buffer?: NodeJS.ArrayBufferView
  readonly offset?: number | null | undefined
  readonly length?: number | null | undefined
  readonly position?: number | bigint | null | undefined
}
export interface WriteAt {
  readonly offset?: number | null | undefined
  readonly length?: number | null | undefined
  readonly position?: number | null | undefined
}

/** The part of a buffer that is read into or written, as in Node. */
function partOf(
  { length: all }: Uint8Array,
  options: { readonly offset?: number | null | undefined; readonly length?: number | null | undefined },
): { readonly offset: number; readonly length: number } {
  const offset = options.offset ?? 0
  const length = options.length ?? all - offset
  if (Number.isInteger(offset) && Number.isInteger(length) && offset >= 0 && length >= 0 && offset + length <= all)
    return { offset, length }
  throw Object.assign(new RangeError(`${offset}+${length} is not in the buffer of ${all} bytes`), {
    code: 'ERR_OUT_OF_RANGE',
  })
}

const positionOf = (position: number | bigint | null | undefined): number | null =>
  position === null || position === undefined || position < 0 ? null : Number(position)

/** A directory that is read entry by entry, as Node's `Dir`. */
export class Directory {
  readonly path: string
  readonly #entries: Iterator<Dirent>

  constructor(path: string, entries: readonly Dirent[]) {
    this.path = path
    this.#entries = entries.values()
  }

  async read(): Promise<Dirent | null> {
    const next = this.#entries.next()
    return next.done ? null : next.value
  }
  async close(): Promise<void> {}
  async *[Symbol.asyncIterator](): AsyncGenerator<Dirent> {
    for (let entry = await this.read(); entry; entry = await this.read()) yield entry
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

// --------------------------------------------------------------------------------------- the image

/** Methods of an XFS image that Node's form does not have. */
const xfsMethods = [
  'sync', 'report', 'mknod', 'chattr', 'fallocate', 'listxattr', 'getxattr', 'setxattr', 'removexattr', 'exchange',
  'reflink', 'dedupe', 'unshare', 'defragment', 'extents', 'shares', 'owners', 'usage', 'put', 'get', 'check', 'recover', 'repair',
] as const satisfies readonly (keyof Methods)[] // biome-ignore format: a list

type Called<M> = M extends (state: never, ...args: infer Args) => infer Result
  ? (...args: Args) => Promise<Awaited<Result>>
  : never

/** The methods of `node:fs/promises` that an image has. */
export type NodeForm = Pick<typeof fsp, Exclude<keyof typeof forms, 'readdir'>> & {
  readdir: typeof fsp.readdir
  open(path: HostPathLike, flags?: string | number, mode?: number | string): Promise<FileHandle>
  opendir(path: HostPathLike, options?: { readonly recursive?: boolean }): Promise<Directory>
}

/** The methods that only an image has: those of `XfsImage`, with results as plain data. */
export type XfsForm = { [M in (typeof xfsMethods)[number]]: Called<Methods[M]> }

/** An opened image in the form of `node:fs/promises`. */
export interface XfsPromises extends NodeForm, XfsForm, AsyncDisposable {
  /** The object itself, for tools that look for it in an `fs`. */
  readonly promises: XfsPromises
  readonly constants: typeof constants
  readonly writable: boolean
  readonly needsRepair: boolean
  /** Wait for the calls before, make changes durable, release the image, and end the worker. */
  close(): Promise<void>
}

/** @throws XfsError as `XfsImage.open` */
export async function open(target: ImageTarget, options: FileOpenOptions = {}): Promise<XfsPromises> {
  if (!(target instanceof ArrayBuffer || target instanceof Uint8Array || isHostTarget(target)))
    throw new XfsError('INVAL', 'a Device cannot be sent to the worker: a path or the bytes of an image')
  for (const [name, value] of Object.entries(checked(options)))
    if (typeof value === 'function' || typeof value === 'symbol')
      throw new XfsError('INVAL', `${name}: a ${typeof value} cannot be sent to the worker`)
  const start: Start = { target: target instanceof URL ? fileURLToPath(target) : target, options }
  const worker = startWorker('worker/server.js', start)
  if (!worker) throw new XfsError('IO', 'the script of the worker is missing')
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  const connection = new Connection(worker)
  const state = (await connection.started()) as { readonly writable: boolean; readonly needsRepair: boolean }

  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    closing ??= closeImage(connection, worker, ended)
    openImages.delete(close)
    return closing
  }
  if (openImages.size === 0) process.once('beforeExit', closeAll)
  openImages.add(close)

  const methods = {
    ...Object.fromEntries(
      Object.keys(forms).map((name) => [
        name,
        (...args: unknown[]) => callForm(connection, name as keyof typeof forms, args),
      ]),
    ),
    ...Object.fromEntries(
      xfsMethods.map((name) => [
        name,
        async (...args: unknown[]) => {
          try {
            return await connection.call(name, args)
          } catch (error) {
            throw nodeError(error as Error, name, shown(plain(args[0])))
          }
        },
      ]),
    ),
  } as unknown as NodeForm & XfsForm
  const fs: XfsPromises = {
    ...methods,
    async open(path, flags = 'r', mode) {
      const args = [plain(path), flags, ...(mode === undefined ? [] : [modeOf(mode)])]
      try {
        return new FileHandle(connection, (await connection.call('open', args)) as number, shown(args[0]))
      } catch (error) {
        throw nodeError(error as Error, 'open', shown(args[0]))
      }
    },
    async opendir(path, options = {}) {
      const entries = (await methods.readdir(path, { ...options, withFileTypes: true })) as unknown as Dirent[]
      return new Directory(shown(plain(path)) ?? '', entries)
    },
    ...state,
    constants,
    close,
    [Symbol.asyncDispose]: close,
    // Set below: tools read it as a plain property.
    promises: undefined as unknown as XfsPromises,
  }
  return Object.assign(fs, { promises: fs })
}

/** Images that a program has not closed are closed when it has nothing else to do. */
const openImages = new Set<() => Promise<void>>()
const closeAll = (): void => {
  for (const close of openImages) void close()
}

async function closeImage(connection: Connection, worker: Worker, ended: Promise<void>): Promise<void> {
  const closed = connection.call(CLOSE, [])
  connection.end()
  try {
    await closed
  } finally {
    worker.ref()
    await ended
  }
}
