import type { ByteOrder, HostStruct } from '../format/hostorder.ts'
import {
  AttriLogFormatReplace,
  BLF_TYPE_SHIFT,
  BlfFlags,
  BlfTypes,
  BufLogFormat,
  EfiLogFormat,
  Extent32,
  efiExtentSize,
  InodeLogFormat32,
  LogDinode,
  type LogItemType,
  LogItemTypes,
  logItems,
} from '../format/logitems.ts'
import type { Struct } from '../format/struct.ts'
import type { LogRing } from '../log/ring.ts'
import { escapeBytes } from '../util/escape.ts'
import { itemType } from './items.ts'
import { logEnds } from './logprint.ts'
import { attributeParts, partsOf, replacesParent } from './redo.ts'
import { type Item, logEvents, type Region, Regions } from './transactions.ts'

/** The content of a log between tail and head as values. Fields have their names in XFS. */
export type LogEntry = RecordEntry | TransactionEntry | ItemEntry

/** A number, or a text: exact if it is more than 2^53, and for values that are not quantities. */
export type FieldValue = string | number | readonly (string | number)[]
export type FieldValues = Readonly<Record<string, FieldValue>>

export interface RecordEntry {
  readonly kind: 'record'
  readonly cycle: number
  readonly block: number
  readonly tailCycle: number
  readonly tailBlock: number
  /** Bytes of data. */
  readonly length: number
  readonly operations: number
  readonly byteOrder: ByteOrder
}

/** A transaction that was committed. Its items follow. */
export interface TransactionEntry {
  readonly kind: 'transaction'
  readonly tid: string
  /** Where it begins. */
  readonly cycle: number
  readonly block: number
  readonly items: number
}

export interface ItemEntry {
  readonly kind: 'item'
  readonly tid: string
  readonly type: LogItemType | 'unknown'
  /** Bytes of each region. */
  readonly regions: readonly number[]
  /** The fields of the first region. */
  readonly fields: FieldValues
  /** Of a buffer: the type of its block, and whether earlier items for it are void. */
  readonly block?: string
  readonly cancelled?: boolean
  /** The inode's core. */
  readonly core?: FieldValues
  /** Of intents. */
  readonly extents?: readonly FieldValues[]
  /** Names and values of an attribute. */
  readonly attribute?: Readonly<Record<string, string>>
}

const types = new Map(Object.entries(LogItemTypes).map(([name, code]) => [code as number, name as LogItemType]))
const blockTypes = new Map(Object.entries(BlfTypes).map(([name, code]) => [code as number, name]))

/**
 * The entries of a log from tail to head; none if it is clean.
 * @throws LogFault (it is damaged)
 */
export function* logEntries(ring: LogRing): Generator<LogEntry> {
  const { head, tail } = logEnds(ring)
  if (head === tail) return
  const regions = new Regions(ring)
  for (const event of logEvents(ring, tail, head)) {
    if (event.kind === 'record') {
      const { header, order } = event.record
      const { lsn, tail_lsn, len, num_logops } = header
      const ends = { cycle: lsn.cycle, block: lsn.block, tailCycle: tail_lsn.cycle, tailBlock: tail_lsn.block }
      yield { kind: 'record', ...ends, length: len, operations: num_logops, byteOrder: order }
    } else if (event.kind === 'transaction') {
      const { order, cycle, block, items } = event.transaction
      const tid = `0x${event.transaction.tid.toString(16)}`
      yield { kind: 'transaction', tid, cycle, block, items: items.length }
      for (const item of items) yield itemEntry(tid, item, order, regions)
    }
  }
}

function itemEntry(tid: string, { regions }: Item, order: ByteOrder, reader: Regions): ItemEntry {
  const view = reader.view(regions[0])
  const type: ItemEntry['type'] = types.get(itemType(view, order)) ?? 'unknown'
  const length = regions[0]?.length ?? 0
  const form = type === 'unknown' ? undefined : formOf(type, view, length, order)
  const entry = { kind: 'item' as const, tid, type, regions: regions.map((region) => region.length) }
  if (type === 'unknown' || !form) return { ...entry, fields: {} }
  return {
    ...entry,
    fields: valuesOf(form[order], view),
    ...(type === 'buf' && bufferFacts(view, order)),
    ...(type === 'inode' && { core: valuesOf(LogDinode[order], reader.view(regions[1])) }),
    ...(type === 'attri' && { attribute: attributeOf(view, order, regions, reader) }),
    ...extentsOf(type, view, length, order),
  }
}

/** The form of the first region. */
function formOf(type: LogItemType, view: DataView, length: number, order: ByteOrder): HostStruct | undefined {
  if (type === 'inode' && length === InodeLogFormat32.size) return InodeLogFormat32
  if (type === 'attri' && replacesParent(view, order)) return AttriLogFormatReplace
  return logItems[type]?.format
}

function bufferFacts(view: DataView, order: ByteOrder): Pick<ItemEntry, 'block' | 'cancelled'> {
  const flags = BufLogFormat[order].fields.flags.get(view, 0)
  const block = blockTypes.get(flags >> BLF_TYPE_SHIFT) ?? 'unknown'
  return { block, ...((flags & BlfFlags.cancel) !== 0 && { cancelled: true }) }
}

function attributeOf(
  view: DataView,
  order: ByteOrder,
  regions: readonly Region[],
  reader: Regions,
): Record<string, string> {
  const lengths = partsOf(view, order)
  const attribute: Record<string, string> = {}
  let index = 1
  for (const part of attributeParts) {
    const length = lengths[part]
    if (length === 0) continue
    const region = regions[index++]
    const { buffer, byteOffset } = reader.view(region, length)
    attribute[part] = escapeBytes(new Uint8Array(buffer, byteOffset, Math.min(length, region?.length ?? 0)))
  }
  return attribute
}

function extentsOf(
  type: LogItemType,
  view: DataView,
  length: number,
  order: ByteOrder,
): Partial<Pick<ItemEntry, 'extents'>> {
  const row = logItems[type]
  if (!row?.extent) return {}
  // Of all items with extents these fields are in the same places.
  const count = EfiLogFormat[order].fields.nextents.get(view, 0)
  const small = (type.startsWith('ef') && efiExtentSize(length, count)) === Extent32.size
  const form = small ? Extent32 : row.extent
  const first = row.format.size
  const present = Math.min(count, Math.floor((length - first) / form.size))
  const extents = Array.from({ length: Math.max(0, present) }, (_, i) =>
    valuesOf(form[order], view, first + i * form.size),
  )
  return { extents }
}

/** The fields of a structure as values, without padding. */
function valuesOf(structure: Struct, view: DataView, at = 0): FieldValues {
  const fields = structure.list.filter(({ kind }) => kind !== 'pad' && kind !== 'bytes')
  return Object.fromEntries(
    fields.map((field) => {
      const value = field.get(view, at)
      const plain = (typeof value === 'number' && Number.isSafeInteger(value)) || Array.isArray(value)
      return [field.name, plain ? (value as FieldValue) : field.text(view, at)]
    }),
  )
}
