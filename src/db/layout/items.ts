import { XfsError } from '../../errors.ts'
import { bytes } from '../../format/fields.ts'
import type { Geometry } from '../../format/geometry.ts'
import type { Field, Struct, Unnamed } from '../../format/struct.ts'

/**
 * The items of a block, in the order and with the names of xfs_db: single fields, arrays of
 * scalars, and tables of records. Everything that handles a block field by field (print, write,
 * fuzz, JSON) uses this list. Parts of variable length become fields created for that place. If
 * bytes contradict the format, the list ends with a note.
 */

/** A field at a place. */
export interface FieldItem {
  readonly form: 'field'
  readonly path: string
  readonly field: Field<unknown>
  /** Offsets of fields count from here. */
  readonly at: number
}

/** Scalars in a row: `bno[0-118] = 0:null 1:7 …` */
interface ArrayItem {
  readonly form: 'array'
  readonly path: string
  /** Number of the first element. */
  readonly first: number
  readonly count: number
  readonly field: Field<unknown>
  readonly at: number
  readonly step: number
  /** Values of elements that are not printed: all ones, or zero. */
  readonly skip?: 'null' | 'zero'
}

/** An array of records: `recs[1-2] = [startblock,blockcount]` and a line for each. */
interface TableItem {
  readonly form: 'table'
  readonly path: string
  readonly first: number
  readonly count: number
  readonly columns: readonly TableColumn[]
  readonly at: number
  readonly step: number
}

/** A column: a field of the record, at an additional offset of `delta` bytes. */
export interface TableColumn {
  readonly name: string
  readonly field: Field<unknown>
  readonly delta: number
}

/** A part that is empty, or whose bytes contradict the format. */
interface NoteItem {
  readonly form: 'note'
  readonly path: string
  readonly text: string
}

export type Item = FieldItem | ArrayItem | TableItem | NoteItem

export type Layout = (view: DataView, geometry: Geometry) => Iterable<Item>

export const named = (name: string, field: Unnamed): Field<unknown> => ({ ...field, name })

/** One field at a place; its name is the end of the path. */
export const single = (path: string, field: Unnamed, at: number): FieldItem => ({
  form: 'field',
  path,
  field: named(path.slice(path.lastIndexOf('.') + 1), field),
  at,
})

/** The field with its own text instead of the declared one. */
export const printed = <T>(field: Unnamed<T>, text: (value: T, view: DataView, at: number) => string): Unnamed<T> => ({
  ...field,
  text: (view, at) => text(field.get(view, at), view, at),
})

interface StructOptions {
  /** Print these fields in this order; undefined for all, in disk order. */
  readonly order?: readonly string[]
  /** Names of xfs_db that differ from the declared ones. */
  readonly names?: Readonly<Record<string, string>>
  /** Arrays of structures that are printed as tables. */
  readonly tables?: boolean
  readonly skip?: Readonly<Record<string, 'null' | 'zero'>>
}

/**
 * The items of a declared structure. Inner structures and arrays are expanded; padding and fields
 * of missing features are omitted.
 */
export function* structItems(
  struct: Struct,
  at: number,
  prefix: string,
  geometry: Geometry,
  options: StructOptions = {},
): Generator<Item> {
  const fields = options.order ? options.order.map((name) => struct.fields[name] as Field<unknown>) : struct.list
  for (const one of fields) {
    if (one.kind === 'pad') continue
    const path = prefix + (options.names?.[one.name] ?? one.name)
    const { inner, element } = one
    if (inner) yield* structItems(inner, at + one.offset, `${path}.`, geometry, options)
    else if (element?.inner && options.tables)
      yield table(path, 0, one.count ?? 0, columnsOf(element.inner), at + one.offset, element.size)
    else if (element?.inner) {
      for (let i = 0; i < (one.count ?? 0); i++) {
        yield* structItems(element.inner, at + one.offset + i * element.size, `${path}[${i}].`, geometry, options)
      }
    } else if (element) {
      const skip = options.skip?.[one.name]
      yield array(path, 0, one.count ?? 0, named(one.name, element), at, element.size, skip)
    } else yield { form: 'field', path, field: one, at }
  }
}

export const array = (
  path: string,
  first: number,
  count: number,
  one: Field<unknown>,
  at: number,
  step: number,
  skip?: 'null' | 'zero',
): ArrayItem => ({ form: 'array', path, first, count, field: one, at, step, ...(skip ? { skip } : {}) })

export const table = (
  path: string,
  first: number,
  count: number,
  columns: readonly TableColumn[],
  at: number,
  step: number,
): TableItem => ({ form: 'table', path, first, count, columns, at, step })

/** Columns of a structure, in the order given. */
export function columnsOf(struct: Struct, order?: readonly string[], delta = 0, suffix = ''): TableColumn[] {
  const fields = order
    ? order.map((name) => struct.fields[name] as Field<unknown>)
    : struct.list.filter((one) => one.kind !== 'pad')
  return fields.map((one) => ({ name: one.name + suffix, field: one, delta }))
}

/** Characters as xfs_db prints them; unprintable ones in octal. */
export function charsText(array: Uint8Array): string {
  let text = '"'
  for (const byte of array) {
    const char = String.fromCharCode(byte)
    if (`\\'"?`.includes(char)) text += `\\${char}`
    else if (byte >= 0x20 && byte < 0x7f) text += char
    else if (byte >= 7 && byte <= 13) text += `\\${String.fromCharCode(byte + 97 - 7)}`
    else text += `\\${byte.toString(8).padStart(3, '0')}`
  }
  return `${text}"`
}

/**
 * The inverse: the text between the quotes, with the escapes of `charsText`; `#` and hexadecimal
 * digits for raw bytes.
 */
export function parseChars(text: string, size: number): Uint8Array {
  const result = new Uint8Array(size)
  let length = 0
  const put = (byte: number): void => {
    if (length >= size) throw new XfsError('INVAL', `longer than ${size} bytes: ${text}`)
    result[length++] = byte
  }
  if (text.startsWith('#')) {
    if (!/^#([0-9a-f]{2})*$/i.test(text)) throw new XfsError('INVAL', `not hexadecimal: ${text}`)
    for (let i = 1; i < text.length; i += 2) put(Number.parseInt(text.slice(i, i + 2), 16))
    return result
  }
  for (const [piece] of text.replace(/^"([\s\S]*)"$/, '$1').matchAll(/\\[0-7]{3}|\\[\s\S]|[^\\]+|\\$/g)) {
    if (/^\\[0-7]{3}$/.test(piece)) put(Number.parseInt(piece.slice(1), 8))
    else if (/^\\[a-g]$/.test(piece)) put(piece.charCodeAt(1) - 97 + 7)
    else for (const byte of new TextEncoder().encode(piece.startsWith('\\') ? piece.slice(1) : piece)) put(byte)
  }
  return result
}

/** A name or a value: `size` characters. */
export const chars = (size: number, doc: string, offset = 0): Unnamed => ({
  ...printed(bytes(offset, size, doc), charsText),
  kind: 'text',
  parse: (text) => parseChars(text, size),
})

/** All items of a generator; if it throws an XfsError, a note replaces the rest. */
export function* guarded(path: string, items: Generator<Item>): Generator<Item> {
  try {
    yield* items
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    yield { form: 'note', path, text: `(${error.message})` }
  }
}

const range = (path: string, first: number, count: number): string =>
  `${path}[${count === 1 ? first : `${first}-${first + count - 1}`}]`

/**
 * An item as xfs_db prints it, without a newline at the end. A table has one line per record.
 *
 * @param crc  whether a checksum is right
 */
export function itemText(view: DataView, item: Item, crc: (field: Field<unknown>, at: number) => boolean): string {
  if (item.form === 'note') return item.path === '' ? item.text : `${item.path} = ${item.text}`
  if (item.form === 'field') {
    const text = item.field.text(view, item.at)
    return `${item.path} = ${text}${item.field.kind === 'crc32c' ? (crc(item.field, item.at) ? ' (correct)' : ' (bad)') : ''}`
  }
  const { path, first, count, at, step } = item
  if (item.form === 'array') {
    const parts: string[] = []
    for (let i = 0; i < count; i++) {
      const text = item.field.text(view, at + i * step)
      if ((item.skip === 'null' && text === 'null') || (item.skip === 'zero' && text === '0')) continue
      parts.push((count > 1 ? `${first + i}:` : '') + text + (i < count - 1 ? ' ' : ''))
    }
    return `${range(path, first, count)} = ${parts.join('')}`
  }
  const lines = [`${range(path, first, count)} = [${item.columns.map((column) => column.name).join(',')}] `]
  for (let i = 0; i < count; i++) {
    const values = item.columns.map(({ field: one, delta }) => one.text(view, at + i * step + delta))
    lines.push(`${first + i}:[${values.join(',')}]${i < count - 1 ? ' ' : ''}`)
  }
  return lines.join('\n')
}
