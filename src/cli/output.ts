import { writeSync } from 'node:fs'
import type { Struct } from '../format/struct.ts'
import { escapeJson, escapeLines, escapeText } from '../util/escape.ts'
import { jsonValue, named } from '../util/json.ts'
import { digits } from '../util/numbers.ts'
import { sleep } from '../util/sleep.ts'
import { CannotRun } from './status.ts'

/**
 * The only writer of output. Commands pass values, and this class selects the form: aligned text,
 * JSON (`--json`: one document, or one object per line for records) or CSV. All text is made safe
 * for a terminal, except that of `bytes` and `styled`. A closed pipe ends the output silently.
 */
export type OutputForm = 'text' | 'json' | 'csv'

interface OutputColumn {
  /** Its key in rows, JSON and CSV. */
  readonly name: string
  /** In text (default: the name). */
  readonly title?: string
  /** Minimum width in text; wider values are not cut. */
  readonly width?: number
  readonly left?: boolean
}

type Value = string | number | bigint | boolean | null | undefined | object
export type Row = Readonly<Record<string, Value>>

interface OutputOptions {
  readonly form: OutputForm
  /** The destination of standard output: a file descriptor, or a function (tests). */
  readonly sink?: number | ((text: string) => void)
  readonly errorSink?: number | ((text: string) => void)
}

/** Of all schemas (schemas.ts). */
export const SCHEMA_VERSION = 1

const BUFFERED = 65536
/** Rows that determine the widths of the columns. */
const SAMPLE = 200

export class Output {
  form: OutputForm
  readonly #sink: number | ((text: string) => void)
  readonly #errorSink: number | ((text: string) => void)
  #pending = ''
  #closed = false
  #plan: object | undefined

  constructor(options: OutputOptions) {
    this.form = options.form
    this.#sink = options.sink ?? 1
    this.#errorSink = options.errorSink ?? 2
  }

  /** The reader closed the pipe. */
  get closed(): boolean {
    return this.#closed
  }

  get json(): boolean {
    return this.form === 'json'
  }

  /** Text in every form, laid out by the caller: what a reference tool prints. */
  raw(text: string): void {
    this.styled(escapeLines(text))
  }

  /** Our own text that contains escape sequences for colours, or is safe already. */
  styled(text: string): void {
    this.#pending += text
    if (this.#pending.length >= BUFFERED) this.flush()
  }

  /** Raw bytes (`cat`). */
  bytes(bytes: Uint8Array): void {
    this.flush()
    if (typeof this.#sink === 'function') this.#sink(Buffer.from(bytes).toString('latin1'))
    else this.#write(this.#sink, bytes)
  }

  /** A line of text, omitted from JSON and CSV. */
  line(text = ''): void {
    if (this.form === 'text') this.raw(`${text}\n`)
  }

  /** Put a plan into the JSON document or stream that follows. */
  attachPlan(plan: object): void {
    this.#plan = plan
  }

  /** One value: as text, or as a JSON document `{ schema, version, … }`. */
  document(schema: string, value: Readonly<Record<string, unknown>>, text: () => string): void {
    if (this.form === 'text') {
      const lines = text()
      this.raw(lines === '' || lines.endsWith('\n') ? lines : `${lines}\n`)
    } else {
      const json = JSON.stringify({ ...headOf(schema, this.#plan), ...value }, jsonValue, 2)
      this.styled(`${escapeJson(json)}\n`)
    }
  }

  /** A structure: one `name = text` per line, as xfs_db prints it. */
  struct(structure: Struct, view: DataView, at = 0): void {
    const fields = structure.list.filter((field) => field.kind !== 'pad')
    this.document(
      structure.name,
      Object.fromEntries(
        fields.map((field) => [field.name, jsonField(field.get(view, at), () => field.text(view, at))]),
      ),
      () => fields.map((field) => `${field.name} = ${escapeText(field.text(view, at))}\n`).join(''),
    )
  }

  /**
   * Records: aligned columns, CSV, or as JSON a line with the schema and then one object per line.
   * Stops if the reader closed the pipe.
   */
  records(schema: string, columns: readonly OutputColumn[], rows: Iterable<Row>): void {
    if (this.form === 'json') {
      this.styled(`${streamHead(schema, this.#plan)}\n`)
      this.#stream(rows, jsonLine)
    } else if (this.form === 'csv') this.#csv(columns, rows)
    else this.#aligned(columns, rows)
  }

  #csv(columns: readonly OutputColumn[], rows: Iterable<Row>): void {
    this.styled(`${columns.map((column) => column.name).join(',')}\r\n`)
    this.#stream(rows, (row) => `${columns.map((column) => csvValue(row[column.name])).join(',')}\r`)
  }

  #aligned(columns: readonly OutputColumn[], rows: Iterable<Row>): void {
    const iterator = rows[Symbol.iterator]()
    const sample: Row[] = []
    let next = iterator.next()
    for (; !next.done && sample.length < SAMPLE; next = iterator.next()) sample.push(next.value)
    const widths = columns.map(({ name, title = name, width = 0 }) =>
      Math.max(width, displayWidth(title), ...sample.map((row) => displayWidth(textValue(row[name])))),
    )
    const line = (cells: readonly string[]): string =>
      `${cells
        .map((cell, i) => pad(cell, widths[i] as number, columns[i]?.left === true))
        .join('  ')
        .trimEnd()}\n`
    const cellsOf = (row: Row): string[] => columns.map((column) => textValue(row[column.name]))
    this.raw(line(columns.map(({ name, title = name }) => title)))
    for (const row of sample) this.raw(line(cellsOf(row)))
    for (; !next.done && !this.#closed; next = iterator.next()) this.raw(line(cellsOf(next.value)))
    iterator.return?.()
  }

  #stream(rows: Iterable<Row>, line: (row: Row) => string): void {
    for (const row of rows) {
      if (this.#closed) return
      this.styled(`${line(row)}\n`)
    }
  }

  /**
   * A small summary, with borders on a terminal. Too slow for records: half a millisecond per row.
   */
  async table(schema: string, columns: readonly string[], rows: readonly Row[]): Promise<void> {
    if (this.form === 'csv') {
      this.#csv(
        columns.map((name) => ({ name })),
        rows,
      )
      return
    }
    const Table = this.form === 'text' ? (await import('cli-table3')).default : undefined
    this.document(schema, { rows }, () => {
      if (!Table) return ''
      const table = new Table({ head: [...columns], style: { head: [], border: [] } })
      for (const row of rows) table.push(columns.map((name) => textValue(row[name])))
      return table.toString()
    })
  }

  /** A message on standard error: warnings, progress, errors. */
  error(text: string): void {
    this.flush()
    const safe = escapeLines(text)
    if (typeof this.#errorSink === 'function') this.#errorSink(safe)
    else this.#write(this.#errorSink, Buffer.from(safe))
  }

  /**
   * A message about the work on standard error: as text after the program's name, or as a JSON
   * line.
   * @param name  of the program and command, as `xfskit ls`
   */
  message(
    level: 'error' | 'warning' | 'note',
    name: string,
    message: string,
    facts: {
      readonly code?: string
      /** Of the file that it is about: absolute. */
      readonly path?: Uint8Array
      readonly status?: number
      readonly hint?: string
    } = {},
  ): void {
    const { hint = '', code, path, status } = facts
    const rest = { code, ...(path && named('path', path)), status }
    if (this.json) {
      const command = name.replace(/^xfskit ?/, '')
      this.error(`${jsonLine({ ...headOf('message'), level, ...(command !== '' && { command }), message, ...rest })}\n`)
    } else this.error(`${name}: ${level === 'warning' ? 'warning: ' : ''}${escapeText(message)}${hint}\n`)
  }

  /** Everything was written. */
  flush(): void {
    const text = this.#pending
    this.#pending = ''
    if (text === '' || this.#closed) return
    if (typeof this.#sink === 'function') this.#sink(text)
    else this.#write(this.#sink, Buffer.from(text))
  }

  #write(fd: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      try {
        done += writeSync(fd, bytes, done)
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        // The other end of a pipe is slow and the pipe does not block.
        if (code === 'EAGAIN') sleep(1)
        else if (code === 'EPIPE' || fd === this.#errorSink) {
          if (fd === this.#sink) this.#closed = true
          return
        } else {
          this.#closed = true
          throw new CannotRun(`cannot write standard output: ${(error as Error).message.replace(/, write$/, '')}`)
        }
      }
    }
  }
}

/** The first properties of every document and every stream of records. */
const headOf = (schema: string, plan?: object) => ({
  schema: `xfskit.${schema}`,
  version: SCHEMA_VERSION,
  ...(plan && { plan }),
})

const textValue = (value: Value): string =>
  value === undefined || value === null
    ? '-'
    : typeof value === 'string'
      ? escapeText(value)
      : typeof value === 'number'
        ? digits(value)
        : String(value)

/**
 * Text that a spreadsheet would take for a formula gets a leading apostrophe, as OWASP recommends.
 */
const FORMULA = /^[=+@-]./
/** `-rw-r--r--` */
const PERMISSIONS = /^-[-rwxsStT]{9}$/

function csvValue(value: Value): string {
  if (value === undefined || value === null) return ''
  if (typeof value === 'number') return digits(value)
  const shown = escapeText(String(value))
  const text = FORMULA.test(shown) && !PERMISSIONS.test(shown) ? `'${shown}` : shown
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** The first line of a stream of records in JSON. */
export const streamHead = (schema: string, plan?: object): string => jsonLine(headOf(schema, plan))

/** An object on one line, as in a stream of records. */
const jsonLine = (value: Readonly<Record<string, unknown>>): string => escapeJson(JSON.stringify(value, jsonValue))

function jsonField(value: unknown, text: () => string): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : text()
  return typeof value === 'string' ? value : text()
}

const pad = (text: string, width: number, left: boolean): string => {
  const fill = ' '.repeat(Math.max(0, width - displayWidth(text)))
  return left ? text + fill : fill + text
}

const ASCII = /^[ -~]*$/
/**
 * Columns of text on a terminal, approximately: wide characters count as two, combining ones as
 * zero.
 */
function displayWidth(text: string): number {
  if (ASCII.test(text)) return text.length
  let width = 0
  for (const char of text) {
    if (/\p{M}/u.test(char)) continue
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}]/u.test(
        char,
      )
        ? 2
        : 1
  }
  return width
}
