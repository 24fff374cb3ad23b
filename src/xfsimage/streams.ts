import type { Readable, Writable } from 'node:stream'
import type { WriteOptions } from './changing.ts'
import type { XfsImageCore } from './core.ts'
import type { XfsFile } from './file.ts'
import type { FileWriter } from './filewriter.ts'

export interface ReadStreamOptions {
  /** First byte (default: 0). */
  readonly start?: number
  /** Last byte, inclusive as in Node (default: to EOF). */
  readonly end?: number
  /** Bytes of a chunk (default: 64 KiB). */
  readonly highWaterMark?: number
  readonly encoding?: BufferEncoding
  readonly signal?: AbortSignal
}

export interface WriteStreamOptions extends Pick<WriteOptions, 'mode'> {
  readonly flags?: WriteOptions['flag']
  /** First byte to write, with `r+`. */
  readonly start?: number
  readonly highWaterMark?: number
  readonly signal?: AbortSignal
}

const CHUNK = 65536

/** Loaded when it is used: it takes longer than opening an image. */
const stream = () => process.getBuiltinModule('node:stream')

/** The content of a file, or a range of it; holes are read as zeros. */
export function readStream(image: XfsImageCore, file: XfsFile, options: ReadStreamOptions): Readable {
  const { start = 0, end = Number.POSITIVE_INFINITY, highWaterMark = CHUNK, ...rest } = options
  let offset = start
  return new (stream().Readable)({
    ...rest,
    highWaterMark,
    read() {
      try {
        const length = Math.min(highWaterMark, end + 1 - offset)
        const bytes = length > 0 ? image.readFile(file, { offset, length }) : new Uint8Array(0)
        offset += bytes.length
        this.push(bytes.length > 0 ? bytes : null)
      } catch (error) {
        this.destroy(error as Error)
      }
    },
  })
}

/** How a stream reaches the writer of a file. */
export interface WriterOf {
  open(): Promise<FileWriter>
  use(writer: FileWriter, action: () => void): Promise<void>
  close(writer: FileWriter): Promise<void>
}

/** A file that is written as data arrive. */
export function writeStream(of: WriterOf, { highWaterMark, signal }: WriteStreamOptions): Writable {
  let writer: FileWriter | undefined
  type Done = (error?: Error | null) => void
  const then = (work: Promise<void>, done: Done): void => void work.then(() => done(), done)
  const use = (action: (writer: FileWriter) => void): Promise<void> => {
    const to = writer as FileWriter
    return of.use(to, () => action(to))
  }
  const open = async (): Promise<void> => {
    writer = await of.open()
  }
  return new (stream().Writable)({
    ...(highWaterMark !== undefined && { highWaterMark }),
    ...(signal && { signal }),
    construct: (done) => then(open(), done),
    write: (bytes: Uint8Array, _encoding, done) =>
      then(
        use((to) => to.write(bytes)),
        done,
      ),
    writev: (chunks, done) =>
      then(
        use((to) => {
          for (const { chunk } of chunks) to.write(chunk)
        }),
        done,
      ),
    final: (done) =>
      then(
        use((to) => to.finish()),
        done,
      ),
    destroy: (error, done) => then(writer ? of.close(writer) : Promise.resolve(), (failure) => done(failure ?? error)),
  })
}
