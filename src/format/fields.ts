import { XfsError } from '../errors.ts'
import type { Bytes } from '../util/bytes.ts'
import type { FieldKind, FieldTable, Lsn, Mask64, More, Padding, Rec, Struct, Unnamed } from './struct.ts'

/** The kinds of fields: how each is read, written, printed and parsed. Bit fields: bitfield.ts. */

/** The number of a `db write` argument: decimal, 0x…, 0… or "null" for all-ones. */
export function parseNumber(text: string): number {
  if (text === 'null') return -1
  const value = /^-?0[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number(text)
  if (text.trim() === '' || !Number.isSafeInteger(value)) throw new XfsError('INVAL', `not a number: ${text}`)
  return value
}

const hex = (value: number | bigint): string => (Number(value) === 0 ? '0' : `0x${value.toString(16)}`) // C's %#x gives a bare 0

export type Num = Unnamed<number>

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

export const padDoc = ({ zero }: Pick<More, 'zero'>): string => (zero === true ? 'zero' : 'unused')

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
