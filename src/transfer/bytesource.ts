import { readSync } from 'node:fs'
import { Gunzip } from 'minizlib'
import { XfsError } from '../errors.ts'
import { sleep } from '../util/sleep.ts'

/** A sequential input. */
export interface ByteSource {
  /** The next `length` bytes, fewer at the end; valid until the next call. */
  take(length: number): Uint8Array
  /** As many bytes as are available, at least one; empty at the end. */
  some(most: number): Uint8Array
}

const CHUNK = 2 ** 18
/** Compressed bytes read at once: they may expand a thousandfold. */
const COMPRESSED_CHUNK = 2 ** 14

/** Unsupported compressions: magic bytes and the command to decompress. */
const elsewhere = [
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a], command: 'xz' },
  { magic: [0x42, 0x5a, 0x68], command: 'bzip2' },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], command: 'zstd' },
  { magic: [0x04, 0x22, 0x4d, 0x18], command: 'lz4' },
  { magic: [0x4c, 0x5a, 0x49, 0x50], command: 'lzip' },
  { magic: [0x1f, 0x9d], command: 'uncompress' },
] as const
const LONGEST_MAGIC = 5

/**
 * The content of an open file or a pipe; gzip is detected and decompressed.
 * @throws XfsError IO, INVAL (damaged gzip), UNSUPPORTED (another compression)
 */
export function hostSource(fd: number): ByteSource {
  const raw = chunks(fd, CHUNK)
  // A pipe may return a single byte at a time.
  let head: Uint8Array = new Uint8Array(0)
  for (let next = raw.next(); !next.done; next = raw.next()) {
    head = Buffer.concat([head, next.value])
    if (head.length >= LONGEST_MAGIC) break
  }
  const other = elsewhere.find(({ magic }) => magic.every((byte, i) => head[i] === byte))
  if (other)
    throw new XfsError(
      'UNSUPPORTED',
      `the archive is compressed with ${other.command}: use ${other.command} -dc ARCHIVE | … --tar -`,
    )
  const all = function* (): Generator<Uint8Array> {
    if (head.length > 0) yield head
    yield* raw
  }
  return sourceOf(head[0] === 0x1f && head[1] === 0x8b ? gunzipped(all()) : all())
}

function* chunks(fd: number, size: number): Generator<Uint8Array> {
  for (;;) {
    const chunk = Buffer.allocUnsafe(size)
    const have = readSome(fd, chunk)
    if (have === 0) return
    yield chunk.subarray(0, have)
  }
}

function readSome(fd: number, chunk: Uint8Array): number {
  for (;;) {
    try {
      return readSync(fd, chunk, 0, chunk.length, null)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'EOF') return 0
      if (code !== 'EAGAIN') throw new XfsError('IO', `cannot read the archive: ${message}`, {}, { cause: error })
      sleep(1)
    }
  }
}

function* gunzipped(input: Iterable<Uint8Array>): Generator<Uint8Array> {
  const gunzip = new Gunzip({})
  let ready: Uint8Array[] = []
  let failure: Error | undefined
  gunzip.on('data', (bytes) => ready.push(bytes as Buffer))
  gunzip.on('error', (error) => {
    failure = error as Error
  })
  const give = function* (): Generator<Uint8Array> {
    if (failure) throw new XfsError('INVAL', `cannot decompress the archive: ${failure.message}`)
    const now = ready
    ready = []
    yield* now
  }
  for (const chunk of input) {
    for (let at = 0; at < chunk.length; at += COMPRESSED_CHUNK) {
      gunzip.write(Buffer.from(chunk.subarray(at, at + COMPRESSED_CHUNK)))
      yield* give()
    }
  }
  gunzip.end()
  yield* give()
}

/** Concatenated pieces. */
export function sourceOf(pieces: Iterable<Uint8Array>): ByteSource {
  const iterator = pieces[Symbol.iterator]()
  let piece: Uint8Array = new Uint8Array(0)
  const fill = (): void => {
    while (piece.length === 0) {
      const next = iterator.next()
      if (next.done) return
      piece = next.value
    }
  }
  const some = (most: number): Uint8Array => {
    fill()
    const bytes = piece.subarray(0, most)
    piece = piece.subarray(bytes.length)
    return bytes
  }
  return {
    some,
    take(length) {
      const first = some(length)
      if (first.length === length || first.length === 0) return first
      const all = new Uint8Array(length)
      all.set(first)
      let have = first.length
      while (have < length) {
        const next = some(length - have)
        if (next.length === 0) break
        all.set(next, have)
        have += next.length
      }
      return all.subarray(0, have)
    },
  }
}
