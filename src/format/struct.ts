import { XfsError } from '../errors.ts'
import type { Bytes } from '../util/bytes.ts'

/**
 * One declaration per on-disk structure, two speeds: hot code calls a declared field by its name
 * (`Agf.fields.freeblks.get(view, at)`); printing, writing, fuzzing, JSON and verification loop
 * over the same fields.
 *
 * A field kind is a few closures over a byte offset. The kind is the unit (agbno, fsbno, ino, …).
 * It determines how the value is printed, in the form of `xfs_db`. Offsets are explicit, so that a
 * line can be compared with the XFS documentation. `struct()` asserts at load that fields are in
 * order, without gaps or overlaps, and end at the size.
 *
 * 64-bit quantities are Numbers with a signed high word. So all-ones is −1 (NULLFSBLOCK,
 * NULLFSINO), and the special rmap owners are −1, −2, −3 …. `get` never throws. It may round past
 * 2^53, which keeps order and magnitude, so that a range check still rejects garbage. `set` rejects
 * values that are not integers. `text` is always exact. The size of a file, which can be valid past
 * 2^53, is read with `getExact64`.
 */

export interface Field<T> {
  readonly name: string
  readonly kind: FieldKind
  readonly doc: string
  /** Bytes from the start of the structure to the (shared) word that holds the field. */
  readonly offset: number
  /** Bytes of that word; bit fields of one word have the same offset and size. */
  readonly size: number
  /**
   * For a bit field: its first bit, counted from the most significant of the word, and its width.
   */
  readonly bits?: { readonly first: number; readonly width: number }
  /** Without this feature the field must be zero. */
  readonly since?: string
  /**
   * The type that the value points to, as in db; `btree` for a block of the same tree, `inodata`
   * for the content of the fork.
   */
  readonly to?: string
  /** A value that `magic` fields must have. */
  readonly magic?: number
  /** Readers refuse the structure if it is not zero; other padding they ignore. */
  readonly zero?: boolean
  /** Elements, for `array` fields. */
  readonly count?: number
  /**
   * The first element, for `array` fields. Its offset is that of the array; the others follow at
   * intervals of its size.
   */
  readonly element?: Omit<Field<unknown>, 'name'>
  /** The nested structure, for `struct` fields. */
  readonly inner?: Struct
  get(view: DataView, at: number): T
  set(view: DataView, at: number, value: T): void
  /** The exact value as `xfs_db` prints it. Never throws. */
  text(view: DataView, at: number): string
  /**
   * The inverse of `text` for `db write`: decimal, 0x hexadecimal, 0 octal, uuid, "string" or #hex.
   */
  parse?(text: string): T
}

export type FieldKind =
  | 'agno' | 'agbno' | 'extlen' | 'agino' | 'ino' | 'fsbno' | 'daddr' | 'fileoff' | 'dablk' | 'lsn'
  | 'u8' | 'u16' | 'u32' | 'i8' | 'i16' | 'i32' | 'x8' | 'x16' | 'x32' | 'i64' | 'u64' | 'x64' | 'bits' | 'mask64'
  | 'uuid' | 'bytes' | 'text' | 'time' | 'crc32c' | 'pad' | 'array' | 'struct' // biome-ignore format: a row a width

/** 64 bits that are not a quantity. */
export interface Mask64 {
  readonly hi: number
  readonly lo: number
}

/** A log sequence number: cycle, then block in the log. */
export interface Lsn {
  readonly cycle: number
  readonly block: number
}

export interface More {
  /** The unit, if a field is declared by its form: bits, or a plain number. */
  readonly kind?: FieldKind
  readonly since?: string
  readonly to?: string
  readonly magic?: number
  readonly zero?: boolean
  readonly text?: (view: DataView, at: number) => string
}

/** A field without its name, as it is declared. */
export type Unnamed<T = unknown> = Omit<Field<T>, 'name'>
// biome-ignore lint/suspicious/noExplicitAny: fields of every type are in one table
type AnyField = Unnamed<any>
export type FieldTable = Readonly<Record<string, AnyField>>
/** Fields that a record does not have. */
export interface Padding {
  readonly kind: 'pad'
}
type ValueOf<F> = F extends { get(view: DataView, at: number): infer T } ? T : never

export interface Struct<T extends FieldTable = FieldTable> {
  readonly name: string
  readonly size: number
  readonly source: string
  readonly fields: { readonly [K in keyof T]: Field<ValueOf<T[K]>> }
  /** The fields in disk order. */
  readonly list: readonly Field<unknown>[]
  /** All fields except padding, as a plain object. */
  decode(view: DataView, at?: number): Rec<Struct<T>>
  /**
   * The same, but a field is read when it is accessed. For code that uses a few of many fields,
   * while the bytes do not change.
   */
  lazy(view: DataView, at?: number): Rec<Struct<T>>
  /** Write the given fields; the others keep their bytes. */
  encode(view: DataView, at: number, record: Partial<Rec<Struct<T>>>): void
  /** The first field that must be zero, but is not. */
  nonzero(view: DataView, at: number): Field<unknown> | undefined
}

/** The plain object that a structure decodes to. */
export type Rec<S> =
  S extends Struct<infer T> ? { [K in keyof T as T[K] extends Padding ? never : K]: ValueOf<T[K]> } : never

/** Declare a structure. Throws if the declared layout is inconsistent, which is a bug. */
export function struct<T extends FieldTable>(name: string, size: number, source: string, table: T): Struct<T> {
  const list = Object.entries(table).map(([key, field]) => Object.assign(field, { name: key }) as Field<unknown>)
  assertLayout(name, size, list)
  const valued = list.filter((field) => field.kind !== 'pad')
  const zeros = list.filter((field) => field.zero === true)
  let Lazy: ReturnType<typeof lazyRecord> | undefined
  return {
    name,
    size,
    source,
    list,
    fields: Object.fromEntries(list.map((field) => [field.name, field])) as Struct<T>['fields'],
    decode(view, at = 0) {
      const record: Record<string, unknown> = {}
      for (const field of valued) record[field.name] = field.get(view, at)
      return record as Rec<Struct<T>>
    },
    lazy(view, at = 0) {
      Lazy ??= lazyRecord(valued)
      return new Lazy(view, at) as Rec<Struct<T>>
    },
    encode(view, at, record) {
      for (const field of valued) {
        const value = (record as Record<string, unknown>)[field.name]
        if (value !== undefined) field.set(view, at, value)
      }
    },
    nonzero(view, at) {
      for (const field of zeros) if (!isZero(field, view, at)) return field
      return undefined
    },
  }
}

/** Are all bits of the field zero? */
export function isZero({ offset, size, bits, get }: Field<unknown>, view: DataView, at: number): boolean {
  if (bits) return get(view, at) === 0
  for (let i = at + offset; i < at + offset + size; i++) if (view.getUint8(i) !== 0) return false
  return true
}

/** A record with a getter for each field. */
function lazyRecord(fields: readonly Field<unknown>[]): new (view: DataView, at: number) => object {
  class Lazy {
    readonly #view: DataView
    readonly #at: number

    constructor(view: DataView, at: number) {
      this.#view = view
      this.#at = at
    }

    static {
      for (const { name, get } of fields) {
        Object.defineProperty(Lazy.prototype, name, {
          get(this: Lazy) {
            return get(this.#view, this.#at)
          },
        })
      }
    }
  }
  return Lazy
}

function assertLayout(name: string, size: number, list: readonly Field<unknown>[]): void {
  let end = 0
  let word: { offset: number; size: number; used: bigint } | undefined
  const closeWord = (): void => {
    if (word && word.used !== (1n << BigInt(word.size * 8)) - 1n) {
      throw new Error(`${name}: bits of the word at ${word.offset} are not complete`)
    }
    word = undefined
  }
  for (const field of list) {
    if (field.bits && word && field.offset === word.offset) {
      word.used = claimBits(name, field, word.used)
      continue
    }
    closeWord()
    if (field.offset !== end)
      throw new Error(`${name}.${field.name}: at ${field.offset}, but the last field ends at ${end}`)
    end = field.offset + field.size
    if (field.bits) word = { offset: field.offset, size: field.size, used: claimBits(name, field, 0n) }
  }
  closeWord()
  if (end !== size) throw new Error(`${name}: fields end at ${end}, size is ${size}`)
}

function claimBits(name: string, field: Field<unknown>, used: bigint): bigint {
  if (!field.bits) throw new Error(`${name}.${field.name}: a plain field inside a word of bits`)
  const { first, width } = field.bits
  const mask = ((1n << BigInt(width)) - 1n) << BigInt(field.size * 8 - first - width)
  if ((used & mask) !== 0n) throw new Error(`${name}.${field.name}: bits overlap`)
  return used | mask
}

/** The number of a `db write` argument: decimal, 0x…, 0… or "null" for all-ones. */
function parseNumber(text: string): number {
  if (text === 'null') return -1
  const value = /^-?0[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number(text)
  if (text.trim() === '' || !Number.isSafeInteger(value)) throw new XfsError('INVAL', `not a number: ${text}`)
  return value
}

const hex = (value: number | bigint): string => (Number(value) === 0 ? '0' : `0x${value.toString(16)}`) // C's %#x gives a bare 0

type Num = Unnamed<number>

/** Unsigned 8, 16 or 32 bits; all-ones is `null` if `nullable`. */
function unsigned(kind: FieldKind, size: 1 | 2 | 4, nullable: boolean, radix: 10 | 16) {
  return (offset: number, doc: string, more: More = {}): Num => {
    const get: Num['get'] =
      size === 4 ? (view, at) => view.getUint32(at + offset)
      : size === 2 ? (view, at) => view.getUint16(at + offset)
      : (view, at) => view.getUint8(at + offset)
    const set: Num['set'] =
      size === 4 ? (view, at, value) => view.setUint32(at + offset, value)
      : size === 2 ? (view, at, value) => view.setUint16(at + offset, value)
      : (view, at, value) => view.setUint8(at + offset, value)
    const text: Num['text'] =
      radix === 16 ? (view, at) => hex(get(view, at))
      : nullable ? (view, at) => (get(view, at) === 0xffffffff ? 'null' : String(get(view, at)))
      : (view, at) => String(get(view, at))
    return { kind, doc, offset, size, get, set, text, parse: parseNumber, ...more }
  } // biome-ignore format: one case a line
}

export const u8 = unsigned('u8', 1, false, 10)
export const u16 = unsigned('u16', 2, false, 10)
export const u32 = unsigned('u32', 4, false, 10)
export const x8 = unsigned('x8', 1, false, 16)
export const x16 = unsigned('x16', 2, false, 16)
/** 32 bits shown in hexadecimal: flags. */
export const x32 = unsigned('x32', 4, false, 16)
export const agno = unsigned('agno', 4, true, 10)
export const agbno = unsigned('agbno', 4, true, 10)
export const extlen = unsigned('extlen', 4, false, 10)
export const agino = unsigned('agino', 4, true, 10)
/** A block of a directory or of an attribute fork, relative to the start of the fork. */
export const dablk = unsigned('dablk', 4, false, 10)
/** Counts of blocks, AGs and inodes that `xfs_db` prints as `null` if all bits are set. */
export const extlenOrNull = unsigned('extlen', 4, true, 10)
export const u32OrNull = unsigned('u32', 4, true, 10)

/** Four characters, or the same as a number, that the field must contain. */
export const magic32 = (offset: number, value: number, doc = 'magic number'): Num => x32(offset, doc, { magic: value })
export const magic16 = (offset: number, value: number, doc = 'magic number'): Num => x16(offset, doc, { magic: value })

/** Signed numbers. */
function signed(kind: FieldKind, size: 1 | 2 | 4) {
  return (offset: number, doc: string, more: More = {}): Num => {
    const get: Num['get'] =
      size === 4
        ? (view, at) => view.getInt32(at + offset)
        : size === 2
          ? (view, at) => view.getInt16(at + offset)
          : (view, at) => view.getInt8(at + offset)
    return {
      kind, doc, offset, size, get,
      set: (view, at, value) => {
        if (size === 4) view.setInt32(at + offset, value)
        else if (size === 2) view.setInt16(at + offset, value)
        else view.setInt8(at + offset, value)
      },
      text: (view, at) => String(get(view, at)),
      parse: parseNumber, ...more,
    } // biome-ignore format: as a table
  }
}
export const i8 = signed('i8', 1)
export const i32 = signed('i32', 4)

/** 64 bits as a Number with a signed high word. */
export const get64 = (view: DataView, at: number): number => view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4)

/** The same, exact. */
export function getExact64(view: DataView, at: number): Bytes {
  const value = get64(view, at)
  return Number.isSafeInteger(value) ? value : view.getBigInt64(at)
}

/**
 * Write a value that `get64` or `getExact64` returned; rejects values that are not 64-bit integers.
 */
export function set64(view: DataView, at: number, value: Bytes): void {
  if (typeof value === 'bigint') {
    if (value !== BigInt.asIntN(64, value)) throw new XfsError('RANGE', `not a 64-bit integer: ${value}`)
    view.setBigInt64(at, value)
    return
  }
  if (!Number.isInteger(value) || Math.abs(value) > 2 ** 63 || value === 2 ** 63)
    throw new XfsError('RANGE', `not a 64-bit integer: ${value}`)
  view.setInt32(at, Math.floor(value / 2 ** 32))
  view.setUint32(at + 4, value >>> 0)
}

function wide(kind: FieldKind, print: (value: bigint) => string) {
  return (offset: number, doc: string, more: More = {}): Num => ({
    kind, doc, offset, size: 8,
    get: (view, at) => view.getInt32(at + offset) * 2 ** 32 + view.getUint32(at + offset + 4),
    set: (view, at, value) => set64(view, at + offset, value),
    text: (view, at) => print(view.getBigUint64(at + offset)),
    parse: parseNumber, ...more,
  }) // biome-ignore format: as a table
}

const nullable64 = (value: bigint): string => (value === 0xffff_ffff_ffff_ffffn ? 'null' : value.toString())
export const ino = wide('ino', nullable64)
export const fsbno = wide('fsbno', nullable64)
export const daddr = wide('daddr', (value) => value.toString())
export const fileoff = wide('fileoff', (value) => value.toString())
export const u64 = wide('u64', (value) => value.toString())
export const i64 = wide('i64', (value) => BigInt.asIntN(64, value).toString())

const getMask = (view: DataView, at: number): Mask64 => ({ hi: view.getUint32(at), lo: view.getUint32(at + 4) })
const setMask = (view: DataView, at: number, value: Mask64): void => {
  view.setUint32(at, value.hi)
  view.setUint32(at + 4, value.lo)
}
const parseMask = (text: string): Mask64 => {
  let value: bigint
  try {
    value = BigInt.asUintN(64, BigInt(text))
  } catch {
    throw new XfsError('INVAL', `not a number: ${text}`)
  }
  return { hi: Number(value >> 32n), lo: Number(value & 0xffffffffn) }
}

function masked(kind: FieldKind) {
  return (offset: number, doc: string, more: More = {}): Unnamed<Mask64> => ({
    kind, doc, offset, size: 8,
    get: (view, at) => getMask(view, at + offset),
    set: (view, at, value) => setMask(view, at + offset, value),
    text: (view, at) => hex(view.getBigUint64(at + offset)),
    parse: parseMask, ...more,
  }) // biome-ignore format: as a table
}
export const mask64 = masked('mask64')
export const x64 = masked('x64')

export const lsn = (offset: number, doc: string, more: More = {}): Unnamed<Lsn> => ({
  kind: 'lsn', doc, offset, size: 8,
  get: (view, at) => ({ cycle: view.getUint32(at + offset), block: view.getUint32(at + offset + 4) }),
  set: (view, at, value) => {
    view.setUint32(at + offset, value.cycle)
    view.setUint32(at + offset + 4, value.block)
  },
  text: (view, at) => hex(view.getBigUint64(at + offset)),
  parse: (text) => {
    const { hi, lo } = parseMask(text)
    return { cycle: hi, block: lo }
  },
  ...more,
}) // biome-ignore format: as a table

/** The checksum of its structure: the only little-endian field of XFS metadata. */
export const crc32c = (offset: number): Num => ({
  kind: 'crc32c', doc: 'CRC32C of the structure with this field zero, little-endian', offset, size: 4,
  get: (view, at) => view.getUint32(at + offset, true),
  set: (view, at, value) => view.setUint32(at + offset, value, true),
  // xfs_db shows, and takes, the four bytes in disk order.
  text: (view, at) => hex(view.getUint32(at + offset)),
  parse: (text) => {
    const value = parseNumber(text) >>> 0
    return ((value >>> 24) | ((value >>> 8) & 0xff00) | ((value << 8) & 0xff0000) | (value << 24)) >>> 0
  },
}) // biome-ignore format: as a table

/** Unused bytes. Writers set them to zero; with `zero`, readers require that. */
export const pad = (offset: number, size: number, more: Pick<More, 'zero'> = {}): Unnamed<Uint8Array> & Padding => ({
  ...bytes(offset, size, padDoc(more)), kind: 'pad', ...more,
}) // biome-ignore format: as a table

/** The same for bits of a word. */
export const padBits = (offset: number, size: number, first: number, width: number, more: Pick<More, 'zero'> = {}): Num & Padding => ({
  ...bits(offset, size, first, width, padDoc(more)), kind: 'pad', ...more,
}) // biome-ignore format: as a table

const padDoc = ({ zero }: Pick<More, 'zero'>): string => (zero === true ? 'zero' : 'unused')

/** Bytes of a view, not a copy. */
export const bytesAt = (view: DataView, at: number, size: number): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset + at, size)

/** All bytes of a view. */
export const bytesOf = (view: DataView): Uint8Array => bytesAt(view, 0, view.byteLength)

const hexText = (array: Uint8Array): string => Array.from(array, (byte) => byte.toString(16).padStart(2, '0')).join('')

/** Raw bytes; `get` is a view on the structure, not a copy. */
export const bytes = (offset: number, size: number, doc: string, more: More = {}): Unnamed<Uint8Array> => ({
  kind: 'bytes', doc, offset, size,
  get: (view, at) => bytesAt(view, at + offset, size),
  set: (view, at, value) => bytesAt(view, at + offset, size).set(value.subarray(0, size)),
  text: (view, at) => hexText(bytesAt(view, at + offset, size)),
  parse: (text) => {
    const digits = text.replace(/^#|^0x/, '')
    if (!/^([0-9a-f]{2})*$/i.test(digits) || digits.length > size * 2) throw new XfsError('INVAL', `not ${size} bytes: ${text}`)
    const value = new Uint8Array(size)
    for (let i = 0; i < digits.length; i += 2) value[i / 2] = Number.parseInt(digits.slice(i, i + 2), 16)
    return value
  },
  ...more,
}) // biome-ignore format: as a table

/** A UUID in its usual text form. */
export const uuid = (offset: number, doc: string, more: More = {}): Unnamed<string> => {
  const text = (view: DataView, at: number): string =>
    hexText(bytesAt(view, at + offset, 16)).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  const parse = (value: string): string => {
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)) throw new XfsError('INVAL', `not a UUID: ${value}`)
    return value.toLowerCase()
  }
  return {
    kind: 'uuid', doc, offset, size: 16, get: text, text, parse,
    set: (view, at, value) => {
      const digits = parse(value).replaceAll('-', '')
      for (let i = 0; i < 16; i++) view.setUint8(at + offset + i, Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16))
    },
    ...more,
  } // biome-ignore format: as a table
}

/**
 * Characters up to the first zero. Each byte is a character (latin1), so all bytes are preserved.
 */
export const text = (offset: number, size: number, doc: string, more: More = {}): Unnamed<string> => {
  const get = (view: DataView, at: number): string => {
    const array = bytesAt(view, at + offset, size)
    const end = array.indexOf(0)
    return String.fromCharCode(...array.subarray(0, end < 0 ? size : end))
  }
  return {
    kind: 'text', doc, offset, size, get,
    set: (view, at, value) => {
      if (value.length > size) throw new XfsError('INVAL', `longer than ${size} bytes: ${value}`)
      const array = bytesAt(view, at + offset, size).fill(0)
      for (let i = 0; i < value.length; i++) array[i] = value.charCodeAt(i)
    },
    text: (view, at) => `"${get(view, at)}"`,
    parse: (value) => value.replace(/^"(.*)"$/s, '$1'),
    ...more,
  } // biome-ignore format: as a table
}

/**
 * `width` bits of a word of `size` bytes (1, 2, 4, 8 or 16), from bit `first`, counted from the
 * most significant. At most 53 bits. Fast at any place, because the parts in 32-bit words are
 * computed once.
 */
export const bits = (offset: number, size: number, first: number, width: number, doc: string, more: More = {}): Num => {
  const pieces = splitBits(offset, size, first, width)
  const get = bitReader(pieces)
  const write = bitWriter(pieces)
  const limit = 2 ** width
  return {
    kind: 'bits', doc, offset, size, bits: { first, width }, get,
    set: (view, at, value) => {
      if (!Number.isSafeInteger(value) || value < 0 || value >= limit) {
        throw new XfsError('RANGE', `${value} does not fit into ${width} bits`)
      }
      write(view, at, value)
    },
    text: (view, at) => String(width > 53 ? getExact(view, at, pieces) : get(view, at)),
    parse: parseNumber, ...more,
  } // biome-ignore format: as a table
}

const getExact = (view: DataView, at: number, pieces: readonly BitPiece[]): bigint =>
  pieces.reduce(
    (sum, piece) =>
      sum + BigInt(((readWord(view, at, piece) >>> piece.shift) & piece.mask) >>> 0) * BigInt(piece.scale),
    0n,
  )

interface BitPiece {
  readonly offset: number
  readonly bytes: 1 | 2 | 4
  readonly shift: number
  readonly width: number
  readonly mask: number
  /** The factor of the piece in the value. */
  readonly scale: number
}

function splitBits(offset: number, size: number, first: number, width: number): BitPiece[] {
  if (width < 1 || width > 54 || first + width > size * 8)
    throw new Error(`bad bit field ${first}+${width} of ${size} bytes`)
  const wordBytes = Math.min(size, 4) as 1 | 2 | 4
  const wordBits = wordBytes * 8
  const pieces: BitPiece[] = []
  for (let bit = first, left = width; left > 0; ) {
    const inWord = bit % wordBits
    const take = Math.min(left, wordBits - inWord)
    pieces.push({
      offset: offset + Math.floor(bit / wordBits) * wordBytes,
      bytes: wordBytes,
      shift: wordBits - inWord - take,
      width: take,
      mask: 2 ** take - 1,
      scale: 2 ** (left - take),
    })
    bit += take
    left -= take
  }
  return pieces
}

const readWord = (view: DataView, at: number, piece: BitPiece): number =>
  piece.bytes === 4 ? view.getUint32(at + piece.offset)
  : piece.bytes === 2 ? view.getUint16(at + piece.offset)
  : view.getUint8(at + piece.offset) // biome-ignore format: one case a line

// In 32-bit words `>>>` and `&` give signed results for a full mask: `>>> 0` makes them unsigned.
function bitReader(pieces: readonly BitPiece[]): (view: DataView, at: number) => number {
  const [a, b] = pieces
  if (!a) throw new Error('a bit field without bits')
  if (a.bytes !== 4) return (view, at) => (readWord(view, at, a) >>> a.shift) & a.mask
  if (!b) {
    const { offset, shift, mask } = a
    return (view, at) => ((view.getUint32(at + offset) >>> shift) & mask) >>> 0
  }
  if (pieces.length === 2) {
    const { offset, shift, mask, scale } = a
    const { offset: offset2, shift: shift2, mask: mask2 } = b
    return (view, at) =>
      (((view.getUint32(at + offset) >>> shift) & mask) >>> 0) * scale +
      (((view.getUint32(at + offset2) >>> shift2) & mask2) >>> 0)
  }
  // At most 54 bits are in at most three words.
  const { offset, shift, mask, scale } = a
  const { offset: offset2, shift: shift2, mask: mask2, scale: scale2 } = b
  const { offset: offset3, shift: shift3, mask: mask3 } = pieces[2] as BitPiece
  return (view, at) =>
    (((view.getUint32(at + offset) >>> shift) & mask) >>> 0) * scale +
    (((view.getUint32(at + offset2) >>> shift2) & mask2) >>> 0) * scale2 +
    (((view.getUint32(at + offset3) >>> shift3) & mask3) >>> 0)
}

type WriteBits = (view: DataView, at: number, value: number) => void

/** The other bits of the words are preserved. The value must fit. */
function bitWriter(pieces: readonly BitPiece[]): WriteBits {
  const [a, b, c] = pieces.map(pieceWriter) as [WriteBits, WriteBits | undefined, WriteBits | undefined]
  if (!b) return a
  if (!c)
    return (view, at, value) => {
      a(view, at, value)
      b(view, at, value)
    }
  return (view, at, value) => {
    a(view, at, value)
    b(view, at, value)
    c(view, at, value)
  }
}

/**
 * `&` takes the low 32 bits of the integer part of the quotient, at least as many as the piece has.
 */
function pieceWriter({ offset, bytes, shift, mask, scale }: BitPiece): WriteBits {
  const others = ~(mask << shift)
  if (bytes === 4)
    return (view, at, value) =>
      view.setUint32(at + offset, (view.getUint32(at + offset) & others) | (((value / scale) & mask) << shift))
  if (bytes === 2)
    return (view, at, value) =>
      view.setUint16(at + offset, (view.getUint16(at + offset) & others) | (((value / scale) & mask) << shift))
  return (view, at, value) =>
    view.setUint8(at + offset, (view.getUint8(at + offset) & others) | (((value / scale) & mask) << shift))
}

/** `count` fields of one kind in a row, e.g. `array(40, 64, u32, 'unlinked list heads')`. */
export const array = <T>(
  offset: number,
  count: number,
  element: (offset: number, doc: string) => Unnamed<T>,
  doc: string,
  more: More = {},
): Unnamed<T[]> & { readonly element: Unnamed<T> } => {
  const first = element(offset, doc)
  const step = first.size
  return {
    kind: 'array', doc, offset, size: step * count, count, element: first,
    get: (view, at) => Array.from({ length: count }, (_, i) => first.get(view, at + i * step)),
    set: (view, at, value) => value.forEach((v, i) => { first.set(view, at + i * step, v) }),
    text: (view, at) => Array.from({ length: count }, (_, i) => `${i}:${first.text(view, at + i * step)}`).join(' '),
    ...more,
  } // biome-ignore format: as a table
}

/** A structure inside another one. */
export const nested = <T extends FieldTable>(offset: number, inner: Struct<T>, doc: string, more: More = {}): Unnamed<Rec<Struct<T>>> & { readonly inner: Struct<T> } => ({
  kind: 'struct', doc, offset, size: inner.size, inner,
  get: (view, at) => inner.decode(view, at + offset),
  set: (view, at, value) => inner.encode(view, at + offset, value as never),
  text: (view, at) => inner.list.filter((f) => f.kind !== 'pad').map((f) => `${f.name}:${f.text(view, at + offset)}`).join(' '),
  ...more,
}) // biome-ignore format: as a table
