import type { Field, FieldTable, Struct } from './struct.ts'

/**
 * Most of the log's content is in the byte order of the machine that wrote it. Such structures are
 * declared once, like all others. `hostOrder` returns two forms of a declaration: the declared
 * big-endian one, and one that reads numbers in little-endian order. The latter copies a field's
 * bytes, reversed, to a scratch buffer and reads the declared field there. So every kind of field
 * works without a second set of kinds.
 */
export interface HostStruct<T extends FieldTable = FieldTable> {
  readonly big: Struct<T>
  readonly little: Struct<T>
  readonly size: number
}

export type ByteOrder = 'little' | 'big'

/** @param only the fields in the byte order of the host; undefined for all. */
export const hostOrder = <T extends FieldTable>(big: Struct<T>, only?: readonly (keyof T)[]): HostStruct<T> => ({
  big,
  little: littleEndian(big, only),
  size: big.size,
})

/** Kinds that are bytes, not numbers: the same in every byte order. */
const BYTES = new Set(['bytes', 'pad', 'text', 'uuid', 'u8', 'x8', 'i8'])

/** The widest word is a bmbt record. */
const scratch = new DataView(new ArrayBuffer(16))

function reversed(field: Field<unknown>): Field<unknown> {
  const { size, offset } = field
  const load = (view: DataView, at: number): void => {
    for (let i = 0; i < size; i++) scratch.setUint8(size - 1 - i, view.getUint8(at + offset + i))
  }
  return {
    ...field,
    get: (view, at) => {
      load(view, at)
      return field.get(scratch, -offset)
    },
    set: (view, at, value) => {
      load(view, at)
      field.set(scratch, -offset, value)
      for (let i = 0; i < size; i++) view.setUint8(at + offset + i, scratch.getUint8(size - 1 - i))
    },
    text: (view, at) => {
      load(view, at)
      return field.text(scratch, -offset)
    },
  }
}

function turned(field: Field<unknown>): Field<unknown> {
  const { element, inner, offset } = field
  if (inner) {
    const little = littleEndian(inner)
    return {
      ...field,
      inner: little,
      get: (view, at) => little.decode(view, at + offset),
      set: (view, at, value) => little.encode(view, at + offset, value as Record<string, unknown>),
    }
  }
  if (element) {
    const little = turned({ ...element, name: field.name } as Field<unknown>)
    const count = field.count ?? 0
    const indexes = Array.from({ length: count }, (_, i) => i)
    return {
      ...field,
      element: little,
      get: (view, at) => indexes.map((i) => little.get(view, at + i * little.size)),
      set: (view, at, value) => {
        for (const [i, one] of (value as unknown[]).entries()) little.set(view, at + i * little.size, one)
      },
      text: (view, at) => indexes.map((i) => `${i}:${little.text(view, at + i * little.size)}`).join(' '),
    }
  }
  return BYTES.has(field.kind) ? field : reversed(field)
}

/** The same structure, with its numbers (or the numbers of `only`) in little-endian order. */
export function littleEndian<T extends FieldTable>(big: Struct<T>, only?: readonly (keyof T)[]): Struct<T> {
  const list = big.list.map((field) => (only && !only.includes(field.name) ? field : turned(field)))
  const valued = list.filter((field) => field.kind !== 'pad')
  return {
    ...big,
    list,
    fields: Object.fromEntries(list.map((field) => [field.name, field])) as Struct<T>['fields'],
    decode(view, at = 0) {
      return Object.fromEntries(valued.map((field) => [field.name, field.get(view, at)])) as ReturnType<
        Struct<T>['decode']
      >
    },
    encode(view, at, record) {
      for (const field of valued) {
        const value = (record as Record<string, unknown>)[field.name]
        if (value !== undefined) field.set(view, at, value)
      }
    },
  }
}
