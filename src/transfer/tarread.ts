import { Header } from 'tar/header'
import type { XfsError } from '../errors.ts'
import type { IdOf } from '../file/acl.ts'
import type { Xattr } from '../file/xattrs.ts'
import type { Timestamp } from '../format/time.ts'
import { add, type Bytes, capped, exact, subtract } from '../util/bytes.ts'
import type { ByteSource } from './bytesource.ts'
import { DataMap, decimals } from './datamap.ts'
import { bad, latin1, parsePaxTime } from './pax.ts'
import { MAX_FIELD, PaxHeader } from './paxheader.ts'

/**
 * Reading tar archives: POSIX ustar and pax, and what GNU tar made of them (long names, numbers in base 256, holes in four forms).
 *
 *   │ x: extended header of the next │ its records │ header │ content │ padding │ header │ … │ two blocks of zeros │
 *
 * The header block is decoded by the package `tar`; names are taken from its bytes, since that takes them for UTF-8.
 */
export interface TarEntry {
  readonly path: Uint8Array
  readonly type: TarType
  readonly permissions: number
  readonly uid: number
  readonly gid: number
  readonly mtime: Timestamp
  readonly atime: Timestamp | undefined
  /** Of a symbolic link; of a further name: the path in the archive of the file that it is one of. */
  readonly target: Uint8Array | undefined
  readonly device: { readonly major: number; readonly minor: number } | undefined
  readonly xattrs: readonly Xattr[]
  /** Of the attributes: those that make no sense. */
  readonly faults: readonly XfsError[]
  /** Of the file, holes included. */
  readonly size: Bytes
  /** Has it holes? */
  readonly sparse: boolean
  /** The data, in order; the bytes are valid until the next are asked for. To be read before the next entry, or not at all. */
  content(): Generator<{ readonly offset: Bytes; readonly bytes: Uint8Array }>
}

export type TarType = 'file' | 'directory' | 'symlink' | 'link' | 'char' | 'block' | 'fifo'

const BLOCK = 512
/** Extended headers, long names and maps of holes are no longer than this. */
const MAX_EXTENDED = 64 * 2 ** 20
const PIECE = 2 ** 18
const NEWLINE = 0x0a

const types: Readonly<Record<string, TarType>> = {
  '\0': 'file', '0': 'file', '7': 'file', S: 'file', '1': 'link', '2': 'symlink', '3': 'char', '4': 'block', '5': 'directory', '6': 'fifo', D: 'directory',
} // biome-ignore format: a table

/** The entries of an archive. @param idOf  knows the users and groups that access control lists name @throws XfsError INVAL, IO */
export function* readTar(source: ByteSource, idOf?: IdOf): Generator<TarEntry> {
  const reader = new TarReader(source, idOf)
  for (let entry = reader.next(); entry; entry = reader.next()) {
    yield entry
    reader.finishEntry()
  }
}

class TarReader {
  readonly #source: ByteSource
  /** Of the entry at hand: bytes of content still in the archive, and the padding behind them. */
  #left = 0
  #padding = 0
  #global = new PaxHeader()
  #any = false
  readonly #idOf: IdOf | undefined

  constructor(source: ByteSource, idOf: IdOf | undefined) {
    this.#source = source
    this.#idOf = idOf
  }

  #block(): Buffer | undefined {
    const bytes = this.#source.take(BLOCK)
    if (bytes.length === 0) return undefined
    if (bytes.length < BLOCK) throw bad('it ends in the middle of a header')
    return Buffer.from(bytes)
  }

  /** A part of the archive that belongs to the headers, or its first `most` bytes; valid until more is read. */
  #extended<T>(size: number, use: (bytes: Uint8Array) => T, most = size): T {
    if (size > MAX_EXTENDED) throw bad(`an extended header of ${size} bytes`)
    const length = Math.min(size, most)
    const bytes = this.#source.take(length)
    if (bytes.length < length) throw bad('it ends in the middle of an extended header')
    const result = use(bytes)
    this.#skip(size - length + padding(size))
    return result
  }

  #skip(length: number): void {
    for (let left = length; left > 0; ) {
      const { length: have } = this.#source.some(left)
      if (have === 0) throw bad('it ends in the middle of a file')
      left -= have
    }
  }

  finishEntry(): void {
    this.#skip(this.#left + this.#padding)
    this.#left = 0
    this.#padding = 0
  }

  next(): TarEntry | undefined {
    let pax = this.#global
    let longName: Uint8Array | undefined
    let longLink: Uint8Array | undefined
    for (;;) {
      const block = this.#block()
      if (!block) return undefined
      const header = decode(block)
      if (!header) return undefined // zeros: the end
      if (!header.cksumValid)
        throw bad(this.#any ? 'a header has a wrong checksum' : 'the first header has a wrong checksum')
      this.#any = true
      const flag = String.fromCharCode(block[156] as number)
      const size = header.size ?? 0
      if (flag === 'x' || flag === 'X') pax = this.#extended(size, (bytes) => new PaxHeader(this.#global).read(bytes))
      else if (flag === 'g') this.#global = this.#extended(size, (bytes) => new PaxHeader().readGlobal(bytes))
      else if (flag === 'L') longName = this.#extended(size, untilZero, MAX_FIELD)
      else if (flag === 'K') longLink = this.#extended(size, untilZero, MAX_FIELD)
      else if (flag === 'V') this.#skip(size + padding(size))
      else if (flag === 'M') throw bad('a part of a file that began in another volume')
      else return this.#entry(block, header, flag, pax, longName, longLink)
    }
  }

  #entry(
    block: Buffer,
    header: Header,
    flag: string,
    pax: PaxHeader,
    longName?: Uint8Array,
    longLink?: Uint8Array,
  ): TarEntry {
    const number = (key: string, value: number | undefined): number => {
      const text = pax.get(key)
      if (text === undefined) return value ?? 0
      const given = Number(latin1(text))
      if (!Number.isSafeInteger(given) || given < 0) throw bad(`${key}=${latin1(text)}`)
      return given
    }
    const path = pax.get('GNU.sparse.name') ?? pax.get('path') ?? longName ?? nameOf(block)
    const type = types[flag] === 'file' && path.at(-1) === 0x2f ? 'directory' : (types[flag] ?? 'file')
    const hasContent = type === 'file' || (flag === 'D' && type === 'directory')
    const stored = hasContent || type === 'link' ? number('size', header.size) : 0
    // A further name has a size in old archives, and its content in some of pax; those give it in the extended header.
    this.#left = type === 'link' && !pax.has('size') ? 0 : stored
    this.#padding = padding(this.#left)
    const sparse = type === 'file' ? this.#sparse(block, flag, pax) : undefined
    const device = {
      major: number('SCHILY.devmajor', numberAt(block, 329, 8)),
      minor: number('SCHILY.devminor', numberAt(block, 337, 8)),
    }
    const seconds = header.mtime ? Math.floor(header.mtime.getTime() / 1000) : 0
    const mtime = pax.get('mtime')
    const atime = pax.get('atime')
    const size = type === 'file' ? (sparse?.size ?? stored) : 0
    return {
      path,
      type,
      permissions: (header.mode ?? 0) & 0o7777,
      uid: number('uid', header.uid),
      gid: number('gid', header.gid),
      mtime: (mtime && parsePaxTime(mtime)) ?? { seconds, nanoseconds: 0 },
      atime: atime && parsePaxTime(atime),
      target:
        type === 'link' || type === 'symlink'
          ? (pax.get('linkpath') ?? longLink ?? untilZero(block.subarray(157, 257)))
          : undefined,
      device: type === 'char' || type === 'block' ? device : undefined,
      ...pax.xattrs(this.#idOf),
      size,
      sparse: sparse !== undefined,
      content: () => this.#content(sparse?.map ?? [{ offset: 0, length: size }]),
    }
  }

  *#content(
    runs: Iterable<{ readonly offset: Bytes; readonly length: Bytes }>,
  ): Generator<{ offset: Bytes; bytes: Uint8Array }> {
    for (const { offset, length } of runs) {
      for (let done = 0; done < length; ) {
        const bytes = this.#source.some(Math.min(capped(subtract(length, done), PIECE), this.#left))
        if (bytes.length === 0)
          throw bad(
            this.#left === 0 ? 'a file with holes has less data than it says' : 'it ends in the middle of a file',
          )
        this.#left -= bytes.length
        yield { offset: add(offset, done), bytes }
        done += bytes.length
      }
    }
  }

  /** The data of a file with holes; undefined for one without. */
  #sparse(block: Buffer, flag: string, pax: PaxHeader): { size: Bytes; map: DataMap } | undefined {
    const number = (key: string): Bytes => wholeNumber(latin1(pax.get(key) ?? new Uint8Array(0)))
    let size: Bytes
    let map = pax.dataMap
    if (flag === 'S') {
      size = largeAt(block, 483)
      map = this.#oldMap(block)
    } else if (pax.has('GNU.sparse.major')) {
      if (number('GNU.sparse.major') !== 1) throw bad('a file with holes in a form that is not known')
      size = number('GNU.sparse.realsize')
      map = this.#mapInFront()
    } else if (pax.has('GNU.sparse.size')) size = number('GNU.sparse.size')
    else return undefined
    map.finish(size)
    return { size, map }
  }

  /** In the header, and in blocks behind it. */
  #oldMap(block: Buffer): DataMap {
    const map = new DataMap()
    const collect = (from: Buffer, at: number, count: number): void => {
      for (let i = 0; i < count * 2; i++) map.push(largeAt(from, at + i * 12))
    }
    collect(block, 386, 4)
    let read = 0
    for (let more = block[482] !== 0; more; ) {
      const next = this.#block()
      if (!next) throw bad('it ends in the middle of a list of holes')
      read += BLOCK
      if (read > MAX_EXTENDED) throw bad(`a list of holes of more than ${MAX_EXTENDED} bytes`)
      collect(next, 0, 21)
      more = next[504] !== 0
    }
    return map
  }

  /** At the start of the content, in decimal, a number a line; the data begins with the next block. */
  #mapInFront(): DataMap {
    const numbers = decimals(this.#mapBlocks(), NEWLINE)
    const next = (): Bytes => {
      const number = numbers.next()
      if (number.done) throw bad('it ends in the middle of a list of holes')
      return number.value
    }
    const map = new DataMap()
    const count = next()
    for (let i = 0; i < count; i++) {
      map.push(next())
      map.push(next())
    }
    return map
  }

  /** Blocks of the content, as long as they are asked for. */
  *#mapBlocks(): Generator<Uint8Array> {
    for (let read = BLOCK; this.#left >= BLOCK; read += BLOCK) {
      if (read > MAX_EXTENDED) throw bad(`a list of holes of more than ${MAX_EXTENDED} bytes`)
      const bytes = this.#source.take(BLOCK)
      if (bytes.length < BLOCK) return
      this.#left -= BLOCK
      yield bytes
    }
  }
}

const padding = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK

/** The header, or nothing where the block is zero. */
function decode(block: Buffer): Header | undefined {
  let header: Header
  try {
    header = new Header(block, 0)
  } catch (error) {
    throw bad((error as Error).message)
  }
  return header.nullBlock ? undefined : header
}

const untilZero = (bytes: Uint8Array): Uint8Array => {
  const end = bytes.indexOf(0)
  return bytes.slice(0, end < 0 ? bytes.length : end)
}

function nameOf(block: Buffer): Uint8Array {
  const name = untilZero(block.subarray(0, 100))
  const prefix =
    latin1(block.subarray(257, 263)) === 'ustar\0' ? untilZero(block.subarray(345, 500)) : new Uint8Array(0)
  return prefix.length === 0 ? name : Buffer.concat([prefix, Uint8Array.of(0x2f), name])
}

/** Octal, or base 256. */
function numberAt(bytes: Buffer, at: number, length = 12): number {
  const field = bytes.subarray(at, at + length)
  if (((field[0] as number) & 0x80) === 0) return Number.parseInt(latin1(untilZero(field)).trim() || '0', 8) || 0
  return field.subarray(1).reduce((sum, byte) => sum * 256 + byte, (field[0] as number) & 0x7f)
}

/** The same, of any size. */
function largeAt(bytes: Buffer, at: number, length = 12): Bytes {
  const field = bytes.subarray(at, at + length)
  const hex = Buffer.concat([Uint8Array.of((field[0] as number) & 0x7f), field.subarray(1)]).toString('hex')
  return ((field[0] as number) & 0x80) === 0 ? numberAt(bytes, at, length) : exact(BigInt(`0x${hex}`))
}

/** Of decimal digits; −1, which no list of holes can have, for anything else. */
const wholeNumber = (text: string): Bytes => (/^\s*\d{1,19}\s*$/.test(text) ? exact(BigInt(text.trim())) : -1)
