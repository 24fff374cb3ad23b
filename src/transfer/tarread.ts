import { Header } from 'tar/header'
import { XfsError } from '../errors.ts'
import { aclFromText, aclToProgram, type IdOf } from '../file/acl.ts'
import type { Xattr } from '../file/xattrs.ts'
import type { Timestamp } from '../format/time.ts'
import { add, type Bytes, capped, exact, MAX_FILE_SIZE, subtract } from '../util/bytes.ts'
import type { ByteSource } from './bytesource.ts'
import { latin1, type PaxRecord, parsePax, parsePaxTime, paxNameOf } from './pax.ts'

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

const types: Readonly<Record<string, TarType>> = {
  '\0': 'file', '0': 'file', '7': 'file', S: 'file', '1': 'link', '2': 'symlink', '3': 'char', '4': 'block', '5': 'directory', '6': 'fifo', D: 'directory',
} // biome-ignore format: a table

const bad = (message: string): XfsError => new XfsError('INVAL', `not a sound tar archive: ${message}`)

/** The entries of an archive. @param idOf  knows the users and groups that access control lists name @throws XfsError INVAL, IO */
export function* readTar(source: ByteSource, idOf?: IdOf): Generator<TarEntry> {
  const reader = new TarReader(source, idOf)
  for (let entry = reader.next(); entry; entry = reader.next()) {
    yield entry
    reader.finishEntry()
  }
}

interface DataRun {
  readonly offset: Bytes
  readonly length: Bytes
}

class TarReader {
  readonly #source: ByteSource
  /** Of the entry at hand: bytes of content still in the archive, and the padding behind them. */
  #left = 0
  #padding = 0
  #global: readonly PaxRecord[] = []
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

  /** A part of the archive that belongs to the headers. */
  #extended(size: number): Uint8Array {
    if (size > MAX_EXTENDED) throw bad(`an extended header of ${size} bytes`)
    const bytes = this.#source.take(size).slice()
    if (bytes.length < size) throw bad('it ends in the middle of an extended header')
    this.#skip(padding(size))
    return bytes
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
    let records: PaxRecord[] = []
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
      if (flag === 'x' || flag === 'X') records = parsePax(this.#extended(size))
      else if (flag === 'g') this.#global = parsePax(this.#extended(size))
      else if (flag === 'L') longName = untilZero(this.#extended(size))
      else if (flag === 'K') longLink = untilZero(this.#extended(size))
      else if (flag === 'V') this.#skip(size + padding(size))
      else if (flag === 'M') throw bad('a part of a file that began in another volume')
      else return this.#entry(block, header, flag, [...this.#global, ...records], longName, longLink)
    }
  }

  #entry(
    block: Buffer,
    header: Header,
    flag: string,
    records: readonly PaxRecord[],
    longName?: Uint8Array,
    longLink?: Uint8Array,
  ): TarEntry {
    const pax = new Map(records)
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
    const sparse = type === 'file' ? this.#sparse(block, flag, pax, records) : undefined
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
      ...xattrsOf(records, this.#idOf),
      size,
      sparse: sparse !== undefined,
      content: () => this.#content(sparse?.runs ?? [{ offset: 0, length: size }]),
    }
  }

  *#content(runs: readonly DataRun[]): Generator<{ offset: Bytes; bytes: Uint8Array }> {
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
  #sparse(
    block: Buffer,
    flag: string,
    pax: Map<string, Uint8Array>,
    records: readonly PaxRecord[],
  ): { size: Bytes; runs: DataRun[] } | undefined {
    const text = (key: string): Bytes => wholeNumber(latin1(pax.get(key) ?? new Uint8Array(0)))
    if (flag === 'S') return this.#oldSparse(block)
    if (pax.has('GNU.sparse.major')) {
      if (text('GNU.sparse.major') !== 1) throw bad('a file with holes in a form that is not known')
      return checkRuns({ size: text('GNU.sparse.realsize'), runs: this.#mapInFront() })
    }
    if (!pax.has('GNU.sparse.size')) return undefined
    const size = text('GNU.sparse.size')
    const map = pax.get('GNU.sparse.map')
    const numbers = map
      ? latin1(map).split(',').map(wholeNumber)
      : records
          .filter(([key]) => key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes')
          .map(([, value]) => wholeNumber(latin1(value)))
    return checkRuns({ size, runs: pairs(numbers) })
  }

  /** In the header, and in blocks behind it. */
  #oldSparse(block: Buffer): { size: Bytes; runs: DataRun[] } {
    const numbers: Bytes[] = []
    const collect = (from: Buffer, at: number, count: number): void => {
      for (let i = 0; i < count * 2; i++) numbers.push(largeAt(from, at + i * 12))
    }
    collect(block, 386, 4)
    let more = block[482] !== 0
    while (more) {
      const next = this.#block()
      if (!next || numbers.length > MAX_EXTENDED / 12) throw bad('it ends in the middle of a list of holes')
      collect(next, 0, 21)
      more = next[504] !== 0
    }
    return checkRuns({
      size: largeAt(block, 483),
      runs: pairs(numbers).filter(({ offset, length }) => offset > 0 || length > 0),
    })
  }

  /** At the start of the content, in decimal, a number a line. */
  #mapInFront(): DataRun[] {
    let text = ''
    let used = 0
    const lines = (): string[] => text.split('\n')
    const more = (): void => {
      const bytes = this.#source.take(BLOCK)
      used += BLOCK
      if (bytes.length < BLOCK || used > this.#left || used > MAX_EXTENDED)
        throw bad('it ends in the middle of a list of holes')
      text += latin1(bytes)
    }
    do more()
    while (!text.includes('\n'))
    const count = Number(lines()[0])
    if (!Number.isSafeInteger(count) || count < 0 || count > MAX_EXTENDED / 4)
      throw bad('a list of holes without a length')
    let newlines = 0
    for (let at = 0; newlines < count * 2 + 1; ) {
      const next = text.indexOf('\n', at)
      if (next < 0) more()
      else {
        newlines++
        at = next + 1
      }
    }
    this.#left -= used
    return pairs(
      lines()
        .slice(1, 1 + count * 2)
        .map(wholeNumber),
    )
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

function pairs(numbers: readonly Bytes[]): DataRun[] {
  if (numbers.length % 2 !== 0) throw bad('a list of holes with a number too few')
  return Array.from({ length: numbers.length / 2 }, (_, i) => ({
    offset: numbers[2 * i] as Bytes,
    length: numbers[2 * i + 1] as Bytes,
  }))
}

/** In order, inside the file, without empty ones. */
function checkRuns({ size, runs }: { size: Bytes; runs: DataRun[] }): { size: Bytes; runs: DataRun[] } {
  let end: Bytes = 0
  for (const { offset, length } of runs) {
    if (offset < end || length < 0) throw bad('a list of holes out of order')
    end = add(offset, length)
  }
  if (size < 0 || size > MAX_FILE_SIZE || end > size) throw bad('a list of holes that goes beyond its file')
  return { size, runs: runs.filter(({ length }) => length > 0) }
}

const SCHILY = 'SCHILY.xattr.'
const LIBARCHIVE = 'LIBARCHIVE.xattr.'
const acls = {
  'SCHILY.acl.access': 'system.posix_acl_access',
  'SCHILY.acl.default': 'system.posix_acl_default',
} as const

function xattrsOf(records: readonly PaxRecord[], idOf: IdOf | undefined): Pick<TarEntry, 'xattrs' | 'faults'> {
  const found = new Map<string, Xattr>()
  const faults: XfsError[] = []
  for (const [key, value] of records) {
    if (key.startsWith(SCHILY)) {
      const name = paxNameOf(key.slice(SCHILY.length))
      found.set(latin1(name), { name, value })
    } else if (key.startsWith(LIBARCHIVE)) {
      const name = Buffer.from(decodePercent(key.slice(LIBARCHIVE.length)), 'latin1')
      if (!found.has(latin1(name))) found.set(latin1(name), { name, value: Buffer.from(latin1(value), 'base64') })
    } else if (key in acls && value.length > 0) {
      const name = acls[key as keyof typeof acls]
      try {
        found.set(name, {
          name: Buffer.from(name),
          value: aclToProgram(aclFromText(Buffer.from(value).toString('utf8'), idOf)),
        })
      } catch (error) {
        if (!(error instanceof XfsError)) throw error
        faults.push(error)
      }
    }
  }
  return { xattrs: [...found.values()], faults }
}

const decodePercent = (text: string): string =>
  text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
