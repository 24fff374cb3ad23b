import type { Geometry } from '../format/geometry.ts'
import type { Kind } from './kinds.ts'
import { hiddenItems } from './layout/hidden.ts'
import type { FieldItem, Item } from './layout/items.ts'
import { Refusal } from './session.ts'
import { itemsOf } from './types.ts'

/**
 * Fields by name: `core.size`, `u3.bmx[0]`, `recs[1-3].startblock`. The flat list of the items of a
 * block (layout/) becomes a tree, and an expression selects parts of it. The messages for names
 * that are not found are those of xfs_db.
 */
interface Group {
  /** In the order in which they are printed. */
  readonly parts: Map<string, Part>
}

export type Part =
  | { readonly form: 'item'; readonly item: Item; readonly hidden?: boolean }
  | { readonly form: 'group'; readonly group: Group }
  | { readonly form: 'list'; readonly elements: Map<number, Part> }

/** A step of an expression: a name, and the selected elements. */
interface PathStep {
  readonly name: string
  readonly low?: number
  readonly high?: number
}

/** The parts of a block. */
export function partsOf(kind: Kind, view: DataView, geometry: Geometry): Group {
  const root: Group = { parts: new Map() }
  if (!kind.type) return root
  for (const item of itemsOf(kind.type, view, geometry)) if (item.path !== '') place(root, item, false)
  for (const item of hiddenItems(kind.name, view, geometry)) place(root, item, true)
  return root
}

function place(root: Group, item: Item, hidden: boolean): void {
  const segments = item.path.split('.')
  let group = root
  segments.forEach((segment, i) => {
    const last = i === segments.length - 1
    const { name, index } = segmentOf(segment)
    const parts = group.parts
    if (index === undefined) {
      const known = parts.get(name)
      if (last) {
        if (!known) parts.set(name, { form: 'item', item, ...(hidden ? { hidden } : {}) })
      } else group = enter(known, (part) => parts.set(name, part))
      return
    }
    let list = parts.get(name)
    if (list?.form !== 'list') {
      list = { form: 'list', elements: new Map() }
      parts.set(name, list)
    }
    const { elements } = list
    if (last) elements.set(index, { form: 'item', item })
    else group = enter(elements.get(index), (part) => elements.set(index, part))
  })
}

/** The group of a part; a new one if there is none. */
function enter(known: Part | undefined, add: (part: Part) => void): Group {
  if (known?.form === 'group') return known.group
  const group: Group = { parts: new Map() }
  add({ form: 'group', group })
  return group
}

function segmentOf(segment: string): { name: string; index?: number } {
  const match = /^(.*)\[(\d+)\]$/.exec(segment)
  return match ? { name: match[1] as string, index: Number(match[2]) } : { name: segment }
}

// ------------------------------------------------------------------------------------- expressions

type Token = { readonly type: 'name' | 'number' | '[' | '-' | ']' | '.' | 'string'; readonly text: string }

function tokens(text: string): Token[] {
  const list: Token[] = []
  for (let rest = text; rest !== ''; ) {
    const match = /^(?:([a-z][a-z0-9_]*)|([0-9][0-9xX]*)|([[\]\-.])|"(.*)")/s.exec(rest)
    if (!match)
      throw new Refusal(
        rest.startsWith('"') ? `missing closing quote ${rest.slice(1)}` : `bad character in field ${rest}`,
      )
    const [whole, name, number, mark, string] = match
    if (name !== undefined) list.push({ type: 'name', text: name })
    else if (number !== undefined) list.push({ type: 'number', text: number })
    else if (mark !== undefined) list.push({ type: mark as '[', text: mark })
    else list.push({ type: 'string', text: string as string })
    rest = rest.slice(whole.length)
  }
  return list
}

/** @throws Refusal with the message of xfs_db */
function parseExpression(text: string): PathStep[] {
  const list = tokens(text)
  const steps: PathStep[] = []
  let at = 0
  const bad = (): never => {
    throw new Refusal(`bad syntax in field name ${text}`)
  }
  const number = (): number => {
    const token = list[at++]
    if (token?.type !== 'number') return bad()
    const value = /^0[0-7]+$/.test(token.text) ? Number.parseInt(token.text, 8) : Number(token.text)
    return Number.isNaN(value) ? bad() : value
  }
  while (at < list.length) {
    const token = list[at++] as Token
    if (token.type !== 'name') bad()
    let step: PathStep = { name: token.text }
    if (list[at]?.type === '[') {
      at++
      step = { ...step, low: number() }
      if (list[at]?.type === '-') {
        at++
        step = { ...step, high: number() }
      }
      if (list[at++]?.type !== ']') bad()
    }
    steps.push(step)
    if (list[at]?.type === '.' && ++at === list.length) bad()
  }
  return steps
}

/** A selected part, with the name to print. Its items have complete paths. */
interface Selected {
  /** The name as given, with elements filled in. */
  readonly path: string
  readonly part: Part
}

/** The parts that an expression selects. @throws Refusal with the message of xfs_db */
export function select(root: Group, expression: string): Selected[] {
  return descend(root, parseExpression(expression), 0, '')
}

function descend(group: Group, steps: readonly PathStep[], at: number, prefix: string): Selected[] {
  const step = steps[at]
  if (!step) return []
  const part = group.parts.get(step.name)
  if (!part || (part.form === 'item' && part.item.form === 'note' && at + 1 < steps.length)) {
    throw new Refusal(`field ${part ? (steps[at + 1] as PathStep).name : step.name} not found`)
  }
  const path = prefix + step.name
  const more = at + 1 < steps.length
  const span = spanOf(part)
  if (!span) {
    if (step.low !== undefined) throw new Refusal(`field ${step.name} is not an array`)
    if (part.form === 'group' && more) return descend(part.group, steps, at + 1, `${path}.`)
    if (more) throw new Refusal(`field ${step.name} has no subfields`)
    return [{ path, part }]
  }
  const { low, high } = rangeOf(step, span)
  if (part.form === 'item')
    return more
      ? columns(part.item, steps, at, path, low, high)
      : [{ path, part: { form: 'item', item: narrowed(part.item, low, high) } }]
  const selected: Selected[] = []
  for (let index = low; index <= high; index++) {
    const element = part.form === 'list' ? part.elements.get(index) : undefined
    if (!element) continue
    if (!more) selected.push({ path: `${path}[${index}]`, part: element })
    else if (element.form === 'group') selected.push(...descend(element.group, steps, at + 1, `${path}[${index}].`))
    else throw new Refusal(`field ${step.name} has no subfields`)
  }
  return selected
}

/** First and last element; undefined if the part is not an array. */
function spanOf(part: Part): { low: number; high: number } | undefined {
  if (part.form === 'list') {
    const indexes = [...part.elements.keys()]
    return { low: indexes[0] ?? 0, high: indexes[indexes.length - 1] ?? -1 }
  }
  if (part.form !== 'item' || (part.item.form !== 'array' && part.item.form !== 'table')) return undefined
  return { low: part.item.first, high: part.item.first + part.item.count - 1 }
}

function rangeOf({ name, low, high }: PathStep, span: { low: number; high: number }): { low: number; high: number } {
  const outside = (index: number): boolean => index < span.low || index > span.high
  if (low === undefined) return span
  if (high === undefined) {
    if (outside(low)) throw new Refusal(`index ${low} for field ${name} out of range ${span.low}-${span.high}`)
    return { low, high: low }
  }
  if (outside(low) || outside(high)) {
    throw new Refusal(`indices ${low}-${high} for field ${name} out of range ${span.low}-${span.high}`)
  }
  return { low, high }
}

/** Some elements of an array or of a table. */
function narrowed(item: Item, low: number, high: number): Item {
  if (item.form !== 'array' && item.form !== 'table') return item
  return { ...item, first: low, count: high - low + 1, at: item.at + (low - item.first) * item.step }
}

/** A column of some records, one field per record. */
function columns(
  item: Item,
  steps: readonly PathStep[],
  at: number,
  path: string,
  low: number,
  high: number,
): Selected[] {
  const [step, next, after] = [steps[at] as PathStep, steps[at + 1] as PathStep, steps[at + 2]]
  if (item.form !== 'table') throw new Refusal(`field ${step.name} has no subfields`)
  const column = item.columns.find(({ name }) => name === next.name)
  if (!column) throw new Refusal(`field ${next.name} not found`)
  if (next.low !== undefined) throw new Refusal(`field ${next.name} is not an array`)
  if (after) throw new Refusal(`field ${next.name} has no subfields`)
  const selected: Selected[] = []
  for (let index = low; index <= high; index++) {
    const place = `${path}[${index}].${next.name}`
    const field: FieldItem = {
      form: 'field',
      path: place,
      field: column.field,
      at: item.at + (index - item.first) * item.step + column.delta,
    }
    selected.push({ path: place, part: { form: 'item', item: field } })
  }
  return selected
}

/** The items of a part, in the order in which they are printed. */
export function* itemsIn(part: Part): Generator<Item> {
  if (part.form === 'item') yield part.item
  else if (part.form === 'list') for (const element of part.elements.values()) yield* itemsIn(element)
  else
    for (const inner of part.group.parts.values())
      if (inner.form !== 'item' || inner.hidden !== true) yield* itemsIn(inner)
}

/** The position of the bits of an item. */
export interface BitRange {
  readonly first: number
  readonly count: number
}

/** The bits of a field or of some elements of an array; undefined for other items. */
export function bitsOf(item: Item): BitRange | undefined {
  if (item.form === 'note') return undefined
  if (item.form === 'table') return { first: item.at * 8, count: item.count * item.step * 8 }
  const { field, at } = item
  const first = (at + field.offset) * 8
  if (item.form === 'array') return { first, count: item.count * item.step * 8 }
  return field.bits ? { first: first + field.bits.first, count: field.bits.width } : { first, count: field.size * 8 }
}
