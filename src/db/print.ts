import { bytesOf } from '../format/fields.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import type { Field } from '../format/struct.ts'
import { itemsIn, type Part, partsOf, select } from './fields.ts'
import { type Item, itemText } from './layout/items.ts'
import type { DbSession } from './session.ts'
import { Refusal } from './session.ts'
import { crcOf, printLines } from './types.ts'

/** `print`: all fields of the place, or the given ones; bytes if the type has no fields. */
export function print(session: DbSession, names: readonly string[]): void {
  const { kind, geometry } = session
  if (!kind) throw new Refusal('no current type')
  const view = session.view()
  if (kind.handler === 'none') throw new Refusal(`no print function for type ${kind.name}`)
  if (session.options.json) printJson(session, names)
  else if (kind.handler === 'block') session.print(rawText(view))
  else if (kind.handler === 'text') session.print(characterText(view))
  else if (kind.handler === 'string' || !kind.type) session.line(`"${latin1(view).replace(/\0.*$/s, '')}"`)
  else if (names.length > 0) printItems(session, selectItems(session, names))
  else for (const line of printLines(kind.type, view, geometry)) session.line(unlessChecked(session, line))
}

/** The items that expressions select. @throws Refusal if one of them selects nothing */
export function selectItems(session: DbSession, names: readonly string[]): Item[] {
  const { kind, geometry } = session
  if (!kind) throw new Refusal('no current type')
  const root = partsOf(kind, session.view(), geometry)
  return names.flatMap((name) => select(root, name).flatMap(({ path, part }) => renamed(path, part)))
}

/** Items are printed with the name in the command. */
const renamed = (path: string, part: Part): Item[] =>
  part.form === 'item' ? [{ ...part.item, path }] : [...itemsIn(part)]

export function printItems(session: DbSession, items: readonly Item[]): void {
  const view = session.view()
  const crc = crcOf(view)
  for (const item of items) {
    const [name, value] = jsonItem(view, item)
    const checked = item.form === 'field' && item.field.kind === 'crc32c' && session.geometry.features.version === 5
    const correct = checked ? { correct: crc(item.field, item.at) } : {}
    session.result('field', { name, value, ...correct }, unlessChecked(session, itemText(view, item, crc)))
  }
}

/** V4 has the field, but no checksums. */
const unlessChecked = ({ geometry }: DbSession, line: string): string =>
  geometry.features.version === 5 ? line : line.replace(/^((?:.*\.)?crc = .*) \((?:bad|correct)\)$/, '$1 (unchecked)')

/** The same for programs: one JSON document per command. */
function printJson(session: DbSession, names: readonly string[]): void {
  const { kind, here } = session
  const view = session.view()
  const place = {
    schema: 'xfskit.db.print',
    version: 1,
    type: kind?.name,
    daddr: here.bb,
    offset: here.bb * BASIC_BLOCK + here.boff,
    length: view.byteLength,
  }
  if (!kind?.type) {
    session.document(JSON.stringify({ ...place, bytes: hex(view) }))
    return
  }
  const items =
    names.length > 0
      ? selectItems(session, names)
      : [...itemsIn({ form: 'group', group: partsOf(kind, view, session.geometry) })]
  const fields: Record<string, unknown> = {}
  for (const item of items) {
    const [key, value] = jsonItem(view, item)
    setPath(fields, key, value)
  }
  session.document(JSON.stringify({ ...place, fields }))
}

function jsonItem(view: DataView, item: Item): [string, unknown] {
  if (item.form === 'note') return [item.path || 'note', item.text]
  if (item.form === 'field') return [item.path, jsonField(view, item.field, item.at)]
  const rows = Array.from({ length: item.count }, (_, i) => {
    const at = item.at + i * item.step
    if (item.form === 'array') return jsonField(view, item.field, at)
    return Object.fromEntries(item.columns.map(({ name, field, delta }) => [name, jsonField(view, field, at + delta)]))
  })
  return [item.path, rows]
}

/**
 * JSON numbers for numbers that are exact; for all others their text, without quotes around names.
 */
function jsonField(view: DataView, field: Pick<Field<unknown>, 'get' | 'text' | 'kind'>, at: number): unknown {
  const value = field.get(view, at)
  if (typeof value === 'number' && Number.isSafeInteger(value) && field.kind !== 'crc32c') return value
  const text = field.text(view, at)
  return text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text
}

/** Set `a.b[2].c` in plain objects and arrays. */
function setPath(root: Record<string, unknown>, path: string, value: unknown): void {
  const keys = path.split('.').flatMap((segment) => {
    const match = /^(.*)\[(\d+)\]$/.exec(segment)
    return match ? [match[1] as string, Number(match[2])] : [segment]
  })
  let node: Record<string | number, unknown> = root
  keys.forEach((key, i) => {
    if (i === keys.length - 1) node[key] = value
    else {
      // Objects, not arrays: the requested elements may begin at any index.
      node[key] ??= {}
      node = node[key] as Record<string | number, unknown>
    }
  })
}

const latin1 = (view: DataView): string => Buffer.from(bytesOf(view)).toString('latin1')
const hex = (view: DataView): string => Buffer.from(bytesOf(view)).toString('hex')

/** Digits of the offsets in a dump of `length` bytes. */
const digits = (length: number, step: number): number =>
  Math.min(4, Math.max(1, ((length - 1) & ~(step - 1)).toString(16).length))

/** Bytes in words of four, 32 bytes per line. */
function rawText(view: DataView): string {
  const width = digits(view.byteLength, 32)
  const text = hex(view)
  let lines = ''
  for (let at = 0; at < view.byteLength; at += 32) {
    const words = text.slice(at * 2, at * 2 + 64).match(/.{1,8}/g) ?? []
    lines += `${at.toString(16).padStart(width, '0')}: ${words.join(' ')}\n`
  }
  return lines
}

/** Bytes and characters, 16 per line. */
function characterText(view: DataView): string {
  const width = digits(view.byteLength, 16)
  const bytes = bytesOf(view)
  let lines = ''
  for (let at = 0; at < bytes.length; at += 16) {
    const part = bytes.subarray(at, at + 16)
    const numbers = Array.from(part, (byte) => `${byte.toString(16).padStart(2, '0')} `).join('')
    const letters = Array.from(part, (byte) =>
      /[0-9A-Za-z]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : '.',
    ).join('')
    lines += `${at.toString(16).padStart(width, '0')}:  ${numbers} ${letters}\n`
  }
  return lines
}
