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
