import type { Field, Struct } from '../format/struct.ts'
import { escapeJson } from '../util/escape.ts'
import { Refusal } from './session.ts'
import { structures } from './types.ts'

/** The declarations of structures, for people and, as plain data, for programs. */

export interface StructDescription {
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** The declaration in XFS. */
  readonly source: string
  readonly fields: readonly FieldDescription[]
}

export interface FieldDescription {
  readonly name: string
  /**
   * Offset of the word that contains the field, in bytes from the start of the structure, and size
   * of the word in bytes.
   */
  readonly offset: number
  readonly size: number
  /** The bits of the word that the field occupies, counted from the most significant one. */
  readonly bits?: { readonly first: number; readonly width: number }
  /** The unit; of an array, that of its elements. */
  readonly kind: string
  /** Number of elements of an array. */
  readonly count?: number
  /** The structure of the field, or of each element. */
  readonly struct?: string
  /** The value that the field must have. */
  readonly magic?: number
  /** The feature that the field needs. */
  readonly since?: string
  /** The type of the block that the field points to. */
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

/** The declaration as plain data. */
export const describeStruct = ({ name, size, source, list }: Struct): StructDescription => ({
  name,
  size,
  source,
  fields: list.map(describeField),
})

const hex = (value: number): string => `0x${value.toString(16)}`

/** Lines of cells as columns. The last column is not padded. */
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

/** A structure as a table: one line per field; bit fields with their bits in the word. */
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
 * `describe`: the fields of a structure, as a table or a JSON document. Without a name all
 * structures; in the table only their names.
 * @throws Refusal if there is no such structure
 */
export function describe(name: string | undefined, json: boolean): string {
  const one = name === undefined ? undefined : structures.get(name)
  if (name !== undefined && !one) throw new Refusal(`no structure ${name}; describe lists all structures`)
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
