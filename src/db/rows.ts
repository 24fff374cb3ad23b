/**
 * Lines of records as bytes, without an object or a string per record: a million records take a
 * second. The same columns have three forms: aligned text, one JSON object per line, CSV.
 */
export type RowForm = 'text' | 'json' | 'csv'

export interface RowColumn {
  readonly name: string
  /** Expected number of digits; wider values are not cut. */
  readonly width: number
  /** The number; above 2^53 `exact` returns it. */
  readonly get?: (view: DataView, at: number) => number
  readonly exact?: (view: DataView, at: number) => string
  /** A word that replaces the number; undefined if there is none. */
  readonly word?: (view: DataView, at: number) => string | undefined
  /** Only in text, or only in JSON and CSV. */
  readonly only?: 'text' | 'programs'
}

const CAPACITY = 2 ** 18
/** More bytes than any row needs. */
const MARGIN = 2 ** 12
const SPACE = 0x20
const ZERO = 0x30
const encoder = new TextEncoder()

interface Prepared {
  readonly column: RowColumn
  /** The text before the value. */
  readonly before: Uint8Array
}

export class RowWriter {
  readonly #form: RowForm
  readonly #columns: readonly Prepared[]
  readonly #emit: (bytes: Uint8Array) => void
  readonly #end: Uint8Array
  #bytes = new Uint8Array(CAPACITY)
  #at = 0

  /** @param head  the first line of JSON */
  constructor(form: RowForm, columns: readonly RowColumn[], emit: (bytes: Uint8Array) => void, head?: string) {
    const shown = columns.filter(({ only }) => only === undefined || (only === 'text') === (form === 'text'))
    this.#form = form
    this.#emit = emit
    this.#columns = shown.map((column, i) => {
      const text =
        form === 'json' ? `${i === 0 ? '{' : ','}"${column.name}":` : i === 0 ? '' : form === 'csv' ? ',' : '  '
      return { column, before: encoder.encode(text) }
    })
    this.#end = encoder.encode(form === 'json' ? '}\n' : form === 'csv' ? '\r\n' : '\n')
    if (form === 'json') this.#put(encoder.encode(head === undefined ? '' : `${head}\n`))
    else if (form === 'csv') this.#put(encoder.encode(shown.map(({ name }) => name).join(',')))
    else for (const { column, before } of this.#columns) this.#heading(column, before)
    if (form !== 'json') this.#put(this.#end)
  }

  #heading({ name, width }: RowColumn, before: Uint8Array): void {
    this.#put(before)
    this.#put(encoder.encode(name.padStart(width)))
  }

  /** The record at `at`. */
  row(view: DataView, at: number): void {
    const bytes = this.#bytes
    const columns = this.#columns
    const padded = this.#form === 'text'
    let to = this.#at
    for (let c = 0; c < columns.length; c++) {
      const { column, before } = columns[c] as Prepared
      for (let i = 0; i < before.length; i++) bytes[to++] = before[i] as number
      const word = column.word === undefined ? undefined : column.word(view, at)
      const value = word === undefined && column.get ? column.get(view, at) : -1
      if (!(value >= 0 && value <= 0xffffffff)) {
        // All of it is ASCII. A loop is faster than TextEncoder for so few characters.
        const text = this.#other(column, word, view, at)
        for (let i = 0; i < text.length; i++) bytes[to++] = text.charCodeAt(i)
        continue
      }
      const digits = value < 10 ? 1 : digitsOf(value)
      if (padded) for (let i = digits; i < column.width; i++) bytes[to++] = SPACE
      to += digits
      let left = value
      for (let i = to - 1, end = to - digits; i >= end; i--) {
        const next = (left / 10) >>> 0
        bytes[i] = ZERO + left - next * 10
        left = next
      }
    }
    const end = this.#end
    for (let i = 0; i < end.length; i++) bytes[to++] = end[i] as number
    this.#at = to
    if (to > CAPACITY - MARGIN) this.flush()
  }

  /** Values that are not 32-bit numbers: words, negative and larger numbers. */
  #other({ width, get, exact }: RowColumn, word: string | undefined, view: DataView, at: number): string {
    const json = this.#form === 'json'
    let text: string
    if (word !== undefined || !get) text = json ? (word === undefined ? 'null' : `"${word}"`) : (word ?? '')
    else {
      const value = get(view, at)
      const safe = Number.isSafeInteger(value)
      text = safe ? String(value) : (exact?.(view, at) ?? String(value))
      if (json && !safe) text = `"${text}"`
    }
    return this.#form === 'text' ? text.padStart(width) : text
  }

  flush(): void {
    if (this.#at > 0) this.#emit(this.#bytes.subarray(0, this.#at))
    this.#at = 0
  }

  #put(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) this.#bytes[this.#at++] = bytes[i] as number
  }
}

function digitsOf(value: number): number {
  let digits = 2
  for (let limit = 100; value >= limit; limit *= 10) digits++
  return digits
}
