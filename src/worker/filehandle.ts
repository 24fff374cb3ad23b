import type { Stats } from '../xfsimage/stats.ts'
import { BADF, type Connection, sentAs } from './connection.ts'
import { nodeError } from './errors.ts'
import type { Methods } from './methods.ts'
import { bytesOf, encoded, encodingOf, statsOf, thenUse, timeOf, type WithEncoding } from './nodevalues.ts'

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
    sentAs.set(this, { fd })
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
