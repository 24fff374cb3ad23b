/**
 * Lines of records as bytes, without an object or a string a record: a million of them take a second. Three forms of the same columns: aligned for
 * people, one JSON object a line, CSV.
 */
export type RowForm = 'text' | 'json' | 'csv'

export interface RowColumn {
  readonly name: string
  /** Digits that are expected: what is wider is not cut. */
  readonly width: number
  /** The number; past 2^53 `exact` says it. */
  readonly get?: (view: DataView, at: number) => number
  readonly exact?: (view: DataView, at: number) => string
  /** A word in place of the number; undefined where there is none. */
  readonly word?: (view: DataView, at: number) => string | undefined
  /** The word is left out of text, and stands in a column of its own elsewhere; or the other way round. */
  readonly only?: 'text' | 'programs'
}

const CAPACITY = 2 ** 18
/** More than any row takes. */
const MARGIN = 2 ** 12
const SPACE = 0x20
const ZERO = 0x30

interface Prepared {
  readonly column: RowColumn
  /** What stands before the value. */
  readonly before: Uint8Array
}

export class RowWriter {
  readonly #form: RowForm
  readonly #columns: readonly Prepared[]
  readonly #emit: (bytes: Uint8Array) => void
  readonly #end: Uint8Array
  #bytes = Buffer.allocUnsafe(CAPACITY)
  #at = 0

  constructor(form: RowForm, columns: readonly RowColumn[], emit: (bytes: Uint8Array) => void) {
    const shown = columns.filter(({ only }) => only === undefined || (only === 'text') === (form === 'text'))
    this.#form = form
    this.#emit = emit
    this.#columns = shown.map((column, i) => {
      const text =
        form === 'json' ? `${i === 0 ? '{' : ','}"${column.name}":` : i === 0 ? '' : form === 'csv' ? ',' : '  '
      return { column, before: Buffer.from(text) }
    })
    this.#end = Buffer.from(form === 'json' ? '}\n' : form === 'csv' ? '\r\n' : '\n')
    if (form === 'csv') this.#put(Buffer.from(shown.map(({ name }) => name).join(',')))
    else if (form === 'text') for (const { column, before } of this.#columns) this.#heading(column, before)
    if (form !== 'json') this.#put(this.#end)
  }

  #heading({ name, width }: RowColumn, before: Uint8Array): void {
    this.#put(before)
    this.#put(Buffer.from(name.padStart(width)))
  }

  /** The record at `at`. */
  row(view: DataView, at: number): void {
    for (const { column, before } of this.#columns) {
      this.#put(before)
      const word = column.word?.(view, at)
      if (word !== undefined || !column.get) this.#word(word, column.width)
      else this.#number(column, column.get(view, at), view, at)
    }
    this.#put(this.#end)
    if (this.#at > CAPACITY - MARGIN) this.flush()
  }

  flush(): void {
    if (this.#at > 0) this.#emit(this.#bytes.subarray(0, this.#at))
    this.#at = 0
  }

  #put(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) this.#bytes[this.#at++] = bytes[i] as number
  }

  #word(word: string | undefined, width: number): void {
    const text = word ?? (this.#form === 'json' ? 'null' : '')
    const quoted = this.#form === 'json' && word !== undefined
    const whole = quoted ? `"${text}"` : this.#form === 'text' ? text.padStart(width) : text
    this.#at += this.#bytes.write(whole, this.#at, 'latin1')
  }

  #number({ width, exact }: RowColumn, value: number, view: DataView, at: number): void {
    if (!(value >= 0 && value <= 0xffffffff)) {
      const safe = Number.isSafeInteger(value)
      const text = safe ? String(value) : (exact?.(view, at) ?? String(value))
      const whole = this.#form === 'text' ? text.padStart(width) : safe || this.#form === 'csv' ? text : `"${text}"`
      this.#at += this.#bytes.write(whole, this.#at, 'latin1')
      return
    }
    let digits = 1
    for (let limit = 10; value >= limit; limit *= 10) digits++
    const bytes = this.#bytes
    if (this.#form === 'text') for (let i = digits; i < width; i++) bytes[this.#at++] = SPACE
    let left = value
    for (let i = this.#at + digits - 1; i >= this.#at; i--) {
      const next = Math.floor(left / 10)
      bytes[i] = ZERO + left - next * 10
      left = next
    }
    this.#at += digits
  }
}
