import type { Field, Struct } from '../format/struct.ts'
import { escapeJson } from '../util/escape.ts'
import { Refusal } from './session.ts'
import { structures } from './types.ts'

/** What is declared of structures, for people and, as plain data, for programs. */

export interface StructDescription {
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** Where XFS declares it. */
  readonly source: string
  readonly fields: readonly FieldDescription[]
}

interface FieldDescription {
  readonly name: string
  /**
   * Bytes from the start of the structure to the word that holds the field, and bytes of that word.
   */
  readonly offset: number
  readonly size: number
  /** The bits of the word that the field is, counted from the most significant. */
  readonly bits?: { readonly first: number; readonly width: number }
  /** Its unit; of an array, that of its elements. */
  readonly kind: string
  /** Elements of an array. */
  readonly count?: number
  /** The structure inside, or that each element is. */
  readonly struct?: string
  /** The value that it must have. */
  readonly magic?: number
  /** The feature without which it is not used. */
  readonly since?: string
  /** The type of what it points to. */
  readonly to?: string
  readonly doc: string
}

function describeField(field: Field<unknown>): FieldDescription {
  const { name, offset, size, bits, count, magic, since, to, doc } = field
  const { kind, inner } = field.element ?? field
  return {
    name,
    offset,
    size,
    ...(bits && { bits }),
    kind,
    ...(count !== undefined && { count }),
    ...(inner && { struct: inner.name }),
    ...(magic !== undefined && { magic }),
    ...(since !== undefined && { since }),
    ...(to !== undefined && { to }),
    doc,
  }
}

const describeStruct = ({ name, size, source, list }: Struct): StructDescription => ({
  name,
  size,
  source,
  fields: list.map(describeField),
})

const hex = (value: number): string => `0x${value.toString(16)}`

/** Lines of cells as columns; the last column is as long as its text. */
function columns(rows: readonly (readonly string[])[], right: ReadonlySet<number>): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, i) => (right.has(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
}

const bitsText = (bits: FieldDescription['bits']): string =>
  !bits ? '' : bits.width === 1 ? String(bits.first) : `${bits.first}-${bits.first + bits.width - 1}`

/** A structure as a table: a field a line, bit fields as their place in the word. */
function tableOf({ name, size, source, fields }: StructDescription): string[] {
  const rows = fields.map(({ offset, size, bits, name, kind, count, struct, magic, since, to, doc }) => [
    String(offset),
    String(size),
    bitsText(bits),
    name,
    (struct ?? kind) + (count === undefined ? '' : `[${count}]`),
    since ?? '',
    to ?? '',
    magic === undefined ? doc : `${doc}, ${hex(magic)}`,
  ])
  const heads = ['offset', 'size', 'bits', 'field', 'kind', 'since', 'to', 'what']
  return [`${name}: ${size} bytes (${source})`, ...columns([heads, ...rows], new Set([0, 1]))]
}

/**
 * `describe`: the fields of a structure, as a table or a JSON document; without a name all
 * structures, in the table by their names.
 * @throws Refusal where there is no such structure
 */
export function describe(name: string | undefined, json: boolean): string {
  const one = name === undefined ? undefined : structures.get(name)
  if (name !== undefined && !one) throw new Refusal(`no structure ${name}: describe lists them`)
  const found = one ? [one] : [...structures.values()]
  if (json) {
    const document = { schema: 'xfskit.db.describe', version: 1, structures: found.map(describeStruct) }
    return `${escapeJson(JSON.stringify(document))}\n`
  }
  const lines = one
    ? tableOf(describeStruct(one))
    : columns(
        [['structure', 'size', 'source'], ...found.map((it) => [it.name, String(it.size), it.source])],
        new Set([1]),
      )
  return lines.map((line) => `${line}\n`).join('')
}
