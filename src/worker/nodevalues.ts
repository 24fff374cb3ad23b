import { Dirent, type StatData, Stats } from '../xfsimage/stats.ts'
import type { Methods } from './methods.ts'

/** Values in the forms of `node:fs/promises`: text or bytes, data to write, times, Stats, Dirent. */

export type Encoding = BufferEncoding | 'buffer' | null | undefined
export type WithEncoding = Encoding | { readonly encoding?: Encoding }

export const encodingOf = (options: WithEncoding, standard: Encoding): Encoding =>
  typeof options === 'object' && options !== null
    ? options.encoding === undefined
      ? standard
      : options.encoding
    : (options ?? standard)

export const bufferOf = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength)

/** Bytes as text, or as they are. */
export const encoded = (bytes: Uint8Array, encoding: Encoding): string | Buffer =>
  encoding === null || encoding === undefined || encoding === 'buffer'
    ? bufferOf(bytes)
    : bufferOf(bytes).toString(encoding)

/** Data to write, in Node's forms. */
export function bytesOf(data: unknown, options: WithEncoding, signal?: AbortSignal): Uint8Array | Promise<Uint8Array> {
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
export const thenUse = <T, R>(value: T | Promise<T>, use: (value: T) => R): R | Promise<R> =>
  value instanceof Promise ? value.then(use) : use(value)

/** Of Node's forms: a number, a function that encodes, or an object. */
export const optionsOf = (options: unknown): Record<string, unknown> =>
  typeof options === 'string' ? { encoding: options } : { ...((options as object | undefined) ?? {}) }

export class AbortError extends Error {
  override readonly name = 'AbortError'
  readonly code = 'ABORT_ERR'
  constructor(cause: unknown) {
    super('The operation was aborted', { cause })
  }
}

/** What Node calls a directory entry. */
export const direntOf = (
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

export const statsOf = (data: unknown, options: unknown): unknown => {
  const stats = new Stats(data as StatData)
  return optionsOf(options)['bigint'] === true ? bigintStats(stats) : stats
}

export const modeOf = (mode: unknown): unknown => (typeof mode === 'string' ? Number.parseInt(mode, 8) : mode)
export const withMode = (options: object): object =>
  'mode' in options && options.mode !== undefined ? { ...options, mode: modeOf(options.mode) } : { ...options }
export const timeOf = (time: unknown): unknown => (typeof time === 'string' ? Number(time) : time)

/** A path for messages. */
export const shown = (path: unknown): string | undefined =>
  typeof path === 'string' ? path : path instanceof Uint8Array ? Buffer.from(path).toString() : undefined
