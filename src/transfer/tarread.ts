import type { IdOf } from '../attr/acl.ts'
import type { Xattr } from '../attr/xattrs.ts'
import { XfsError } from '../errors.ts'
import type { Timestamp } from '../format/time.ts'
import { add, type Bytes, capped, exact, subtract } from '../util/bytes.ts'
import type { ByteSource } from './bytesource.ts'
import { DataMap, decimals } from './datamap.ts'
import { bad, latin1, parsePaxTime } from './pax.ts'
import { MAX_FIELD, PaxHeader } from './paxheader.ts'
import {
  BLOCK,
  FIELDS,
  type HeaderField,
  hasChecksum,
  isEnd,
  nameOf,
  numberOf,
  textOf,
  typeOf,
  untilZero,
} from './tarheader.ts'

/**
 * Read tar archives: POSIX ustar and pax, and the formats of GNU tar (long names, numbers in base
 * 256, holes in four forms).
 *
 *   │ x: extended header of the next │ its records │ header │ content │ padding │ header │ …
 *   │ two blocks of zeros │
 */
export interface TarEntry {
  readonly path: Uint8Array
  readonly type: TarType
  readonly permissions: number
  readonly uid: number
  readonly gid: number
  /** Undefined if the archive has an invalid time. */
  readonly mtime: Timestamp | undefined
  readonly atime: Timestamp | undefined
  /** The target of a symbolic link; for a hard link the path of its file in the archive. */
  readonly target: Uint8Array | undefined
  readonly device: { readonly major: number; readonly minor: number } | undefined
  readonly xattrs: readonly Xattr[]
  /** Why the entry is invalid, as an owner that no file can have. */
  readonly refusal: XfsError | undefined
  /** Invalid attributes. */
  readonly faults: readonly XfsError[]
  /** Of the file, holes included. */
  readonly size: Bytes
  /** Does it have holes? */
  readonly sparse: boolean
  /**
   * The data, in order; each piece is valid until the next. Must be read before the next entry, or
   * not at all.
   */
  content(): Generator<{ readonly offset: Bytes; readonly bytes: Uint8Array }>
}

export type TarType = 'file' | 'directory' | 'symlink' | 'link' | 'char' | 'block' | 'fifo'

/** Maximum bytes of extended headers, long names and sparse maps. */
const MAX_EXTENDED = 64 * 2 ** 20
const PIECE = 2 ** 18
/** The largest user or group ID: the next one means none. */
const MAX_ID = 2 ** 32 - 2
const NEWLINE = 0x0a

const types: Readonly<Record<string, TarType>> = {
  '\0': 'file', '0': 'file', '7': 'file', S: 'file', '1': 'link', '2': 'symlink', '3': 'char', '4': 'block', '5': 'directory', '6': 'fifo', D: 'directory',
} // biome-ignore format: a table

/**
 * The entries of an archive.
 * @param idOf  looks up the users and groups that ACLs name
 * @throws XfsError INVAL, IO
 */
export function* readTar(source: ByteSource, idOf?: IdOf): Generator<TarEntry> {
  const reader = new TarReader(source, idOf)
  for (let entry = reader.next(); entry; entry = reader.next()) {
    yield entry
    reader.finishEntry()
  }
}

class TarReader {
  readonly #source: ByteSource
  /** Unread bytes of the current entry, and the padding after them. */
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

  /**
   * A part of the archive that belongs to the headers, or its first `most` bytes; valid until more
   * is read.
   */
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
    let pax: PaxHeader | undefined
    let longName: Uint8Array | undefined
    let longLink: Uint8Array | undefined
    for (;;) {
      const block = this.#block()
      if (!block || isEnd(block)) {
        if (pax || longName || longLink) throw bad('it ends after an extended header')
        return undefined
      }
      if (!hasChecksum(block))
        throw bad(this.#any ? 'a header has a wrong checksum' : 'the first header has a wrong checksum')
      this.#any = true
      const flag = typeOf(block)
      const size = (): number => sizeOf(numberOf(block, FIELDS.size))
      if (flag === 'x' || flag === 'X') pax = this.#extended(size(), (bytes) => new PaxHeader(this.#global).read(bytes))
      else if (flag === 'g') this.#global = this.#extended(size(), (bytes) => new PaxHeader().readGlobal(bytes))
      else if (flag === 'L') longName = this.#extended(size(), untilZero, MAX_FIELD)
      else if (flag === 'K') longLink = this.#extended(size(), untilZero, MAX_FIELD)
      else if (flag === 'V') this.#skip(padded(size()))
      else if (flag === 'M') throw bad('a continuation of a file of another volume')
      else return this.#entry(block, flag, pax ?? this.#global, longName, longLink)
    }
  }

  #entry(block: Buffer, flag: string, pax: PaxHeader, longName?: Uint8Array, longLink?: Uint8Array): TarEntry {
    let refusal: XfsError | undefined
    /** A number of an extended header, or the field. */
    const number = (what: string, key: string | undefined, field: HeaderField, most: number): number => {
      const text = key === undefined ? undefined : pax.get(key)
      const value = text ? wholeNumber(latin1(text)) : numberOf(block, field)
      if (value !== undefined && value >= 0 && value <= most) return Number(value)
      const given = text ? `: ${latin1(text.subarray(0, 40))}` : value === undefined ? '' : `: ${value}`
      refusal ??= new XfsError('INVAL', `invalid ${what}${given}`)
      return 0
    }
    const path = pax.get('GNU.sparse.name') ?? pax.get('path') ?? longName ?? nameOf(block)
    const type = types[flag] === 'file' && path.at(-1) === 0x2f ? 'directory' : (types[flag] ?? 'file')
    const hasContent = flag === 'D' || (types[flag] ?? 'file') === 'file'
    const sizeGiven = pax.get('size')
    // A hard link has a size in old archives, and its content in some of pax; those give it in the
    // extended header.
    const stored =
      hasContent || (type === 'link' && sizeGiven)
        ? sizeOf(sizeGiven ? wholeNumber(latin1(sizeGiven)) : numberOf(block, FIELDS.size))
        : 0
    this.#left = stored
    this.#padding = padding(this.#left)
    const sparse = type === 'file' ? this.#sparse(block, flag, pax) : undefined
    // Some programs write the bits of the type too.
    const mode = number('mode', undefined, FIELDS.mode, 0o177777)
    const uid = number('owner', 'uid', FIELDS.uid, MAX_ID)
    const gid = number('group', 'gid', FIELDS.gid, MAX_ID)
    const device =
      type === 'char' || type === 'block'
        ? {
            major: number('device number', 'SCHILY.devmajor', FIELDS.major, MAX_ID),
            minor: number('device number', 'SCHILY.devminor', FIELDS.minor, MAX_ID),
          }
        : undefined
    const mtime = pax.get('mtime')
    const atime = pax.get('atime')
    const size = type === 'file' ? (sparse?.size ?? stored) : 0
    return {
      path,
      type,
      permissions: mode & 0o7777,
      uid,
      gid,
      mtime: mtime ? parsePaxTime(mtime) : timeOf(numberOf(block, FIELDS.mtime)),
      atime: atime && parsePaxTime(atime),
      target:
        type === 'link' || type === 'symlink'
          ? (pax.get('linkpath') ?? longLink ?? textOf(block, FIELDS.target))
          : undefined,
      device,
      refusal: type === 'link' ? undefined : refusal,
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
            this.#left === 0 ? 'a sparse file has less data than its header says' : 'it ends in the middle of a file',
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
      size = numberOf(block, FIELDS.realsize) ?? -1
      map = this.#oldMap(block)
    } else if (pax.has('GNU.sparse.major')) {
      if (number('GNU.sparse.major') !== 1) throw bad('a sparse file of an unknown format')
      size = number('GNU.sparse.realsize')
      map = this.#mapInFront()
    } else if (pax.has('GNU.sparse.size')) size = number('GNU.sparse.size')
    else return undefined
    map.finish(size)
    return { size, map }
  }

  /** The sparse map in the header, and in blocks after it. */
  #oldMap(block: Buffer): DataMap {
    const map = new DataMap()
    const collect = (from: Buffer, at: number, count: number): void => {
      for (let i = 0; i < count * 2; i++) map.push(numberOf(from, [at + i * 12, 12]) ?? -1)
    }
    collect(block, 386, 4)
    let read = 0
    for (let more = block[482] !== 0; more; ) {
      const next = this.#block()
      if (!next) throw bad('it ends in the middle of a sparse map')
      read += BLOCK
      if (read > MAX_EXTENDED) throw bad(`a sparse map of more than ${MAX_EXTENDED} bytes`)
      collect(next, 0, 21)
      more = next[504] !== 0
    }
    return map
  }

  /**
   * The sparse map at the start of the content: decimal numbers, one per line. The data begins at
   * the next block.
   */
  #mapInFront(): DataMap {
    const numbers = decimals(this.#mapBlocks(), NEWLINE)
    const next = (): Bytes => {
      const number = numbers.next()
      if (number.done) throw bad('it ends in the middle of a sparse map')
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

  /** Blocks of the content, read on demand. */
  *#mapBlocks(): Generator<Uint8Array> {
    for (let read = BLOCK; this.#left >= BLOCK; read += BLOCK) {
      if (read > MAX_EXTENDED) throw bad(`a sparse map of more than ${MAX_EXTENDED} bytes`)
      const bytes = this.#source.take(BLOCK)
      if (bytes.length < BLOCK) return
      this.#left -= BLOCK
      yield bytes
    }
  }
}

const padding = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK

const padded = (size: number): number => size + padding(size)

/** The bytes of a file in the archive. @throws XfsError INVAL: the next header cannot be found */
function sizeOf(value: Bytes | undefined): number {
  if (typeof value !== 'number' || value < 0) throw bad(`invalid size${value === undefined ? '' : `: ${value}`}`)
  return value
}

const timeOf = (seconds: Bytes | undefined): Timestamp | undefined =>
  typeof seconds === 'number' ? { seconds, nanoseconds: 0 } : undefined

/** The value of decimal digits; −1, which is invalid in a sparse map, for anything else. */
const wholeNumber = (text: string): Bytes => (/^\s*\d{1,19}\s*$/.test(text) ? exact(BigInt(text.trim())) : -1)
