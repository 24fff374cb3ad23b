import { AttrFlags, ParentRec } from '../format/attr.ts'
import type { ByteOrder } from '../format/hostorder.ts'
import {
  AttriLogFormat,
  AttriLogFormatReplace,
  BuiLogFormat,
  EfdLogFormat,
  EfiLogFormat,
  Extent32,
  Extent64,
  efiExtentSize,
  LogItemTypes,
  MapExtent,
  PhysExtent,
  RudLogFormat,
  XmiLogFormat,
} from '../format/logitems.ts'
import { viewOf } from '../util/view.ts'
import type { Printing } from './options.ts'
import { exact, hex, hex64, nameText, signed, signed64 } from './text.ts'

/**
 * Intents and done items. Both views print them alike, except for tabs. Each function returns
 * undefined if the item was too short: its rest is in the next record.
 */

export interface Redo {
  readonly type: number
  readonly view: DataView
  readonly length: number
  readonly order: ByteOrder
  /** The region goes on in the next record, or began in another. */
  readonly continued: boolean
  /** The view of transactions. */
  readonly trans: boolean
}

const DONE_GAP = `\t${' '.repeat(17)}`

/** Names by item type, as they are printed. */
const names: ReadonlyMap<number, string> = new Map([
  [LogItemTypes.efi, 'EFI'],
  [LogItemTypes.efiRt, 'EFI_RT'],
  [LogItemTypes.efd, 'EFD'],
  [LogItemTypes.efdRt, 'EFD_RT'],
  [LogItemTypes.rui, 'RUI'],
  [LogItemTypes.ruiRt, 'RUI_RT'],
  [LogItemTypes.rud, 'RUD'],
  [LogItemTypes.rudRt, 'RUD_RT'],
  [LogItemTypes.cui, 'CUI'],
  [LogItemTypes.cuiRt, 'CUI_RT'],
  [LogItemTypes.cud, 'CUD'],
  [LogItemTypes.cudRt, 'CUD_RT'],
  [LogItemTypes.bui, 'BUI'],
  [LogItemTypes.bud, 'BUD'],
  [LogItemTypes.xmi, 'XMI'],
  [LogItemTypes.xmd, 'XMD'],
] as const)

/** True for the items that `printRedo` prints: all intents and done items except ATTRI and ATTRD. */
export const isRedo = (type: number): boolean => names.has(type)

/** @returns the regions that are missing of the item */
export function printRedo(printing: Printing, redo: Redo): 0 | 1 {
  switch (redo.type) {
    case LogItemTypes.efi:
    case LogItemTypes.efiRt:
      return extents(printing, redo, efiExtents, 'EFI free extent data')
    case LogItemTypes.rui:
    case LogItemTypes.ruiRt:
      return extents(printing, redo, mapExtents, 'RUI extent data')
    case LogItemTypes.bui:
      return extents(printing, redo, mapExtents, 'BUI extent data')
    case LogItemTypes.cui:
    case LogItemTypes.cuiRt:
      return extents(printing, redo, physExtents, 'CUI extent data')
    case LogItemTypes.xmi:
      return exchange(printing, redo)
    default:
      return done(printing, redo)
  }
}

type Extents = (redo: Redo, count: number) => string | { readonly expected: string }

function extents({ print, warn, program }: Printing, redo: Redo, list: Extents, what: string): 0 | 1 {
  const { type, view, length, order, continued, trans } = redo
  const short = what.slice(0, 3)
  const { size, nextents, id } = EfiLogFormat[order].fields
  if (length < EfiLogFormat.size) {
    print(`${short}: Not enough data to decode further\n`)
    return 1
  }
  const count = nextents.get(view, 0)
  const text = continued ? '' : list(redo, count)
  if (typeof text !== 'string') {
    const name = short === 'EFI' ? 'efi' : short
    warn(`${program}: bad size of ${name} format: ${length}; expected ${text.expected}; nextents = ${count}\n`)
    return 1
  }
  const tight = trans && short === 'EFI'
  const [tab, space] = tight ? ['\t', ''] : ['', ' ']
  const shown = short === 'BUI' ? signed(count) : count
  const numbers = `#regs:${space}${size.get(view, 0)}\tnum_extents:${space}${shown}  id:${space}0x${hex64(id, view)}`
  print(`${tab}${names.get(type)}:  ${numbers}\n`)
  print(continued ? `${what} skipped (CONTINUE set, no space)\n` : `${tight ? '\t' : ''}${text}`)
  return 0
}

function efiExtents({ view, length, order }: Redo, count: number): ReturnType<Extents> {
  const size = efiExtentSize(length, count)
  const sizes = [Extent32, Extent64].map((form) => (EfiLogFormat.size + form.size * count) >>> 0)
  if (size === undefined) return { expected: sizes.join(' or ') }
  const { start, len } = (size === Extent32.size ? Extent32 : Extent64)[order].fields
  let text = ''
  for (let i = 0; i < count; i++) {
    const at = EfiLogFormat.size + i * size
    text += `(s: 0x${hex64(start, view, at)}, l: ${len.get(view, at)}) `
    if (i % 4 === 3) text += '\n'
  }
  return count % 4 === 0 ? text : `${text}\n`
}

const fixed =
  (size: number, line: (redo: Redo, at: number) => string): Extents =>
  (redo, count) => {
    const expected = (BuiLogFormat.size + size * count) >>> 0
    if (redo.length !== expected) return { expected: `${expected}` }
    return Array.from({ length: count }, (_, i) => `${line(redo, BuiLogFormat.size + i * size)} \n`).join('')
  }

const mapExtents = fixed(MapExtent.size, ({ view, order }, at) => {
  const { startblock, len, owner, startoff, flags } = MapExtent[order].fields
  const place = `s: 0x${hex64(startblock, view, at)}, l: ${signed(len.get(view, at))}`
  const file = `own: ${signed64(owner, view, at)}, off: ${exact(startoff, view, at)}`
  return `(${place}, ${file}, f: 0x${hex(flags.get(view, at))})`
})

const physExtents = fixed(PhysExtent.size, ({ view, order }, at) => {
  const { startblock, len, flags } = PhysExtent[order].fields
  return `(s: 0x${hex64(startblock, view, at)}, l: ${signed(len.get(view, at))}, f: 0x${hex(flags.get(view, at))})`
})

function exchange({ print, warn, program }: Printing, { view, length, order, continued }: Redo): 0 | 1 {
  const { size, id, inode1, igen1, inode2, igen2, startoff1, startoff2, blockcount, flags } = XmiLogFormat[order].fields
  if (length !== XmiLogFormat.size) {
    if (continued) print('XMI: Not enough data to decode further\n')
    else warn(`${program}: bad size of XMI format: ${length}; expected ${XmiLogFormat.size}\n`)
    return 1
  }
  print(`XMI:  #regs: ${size.get(view, 0)}\tnum_extents: 1  id: 0x${hex64(id, view)}\n`)
  if (continued) {
    print('XMI extent data skipped (CONTINUE set, no space)\n')
    return 0
  }
  const files = [
    `ino1: 0x${hex64(inode1, view)}, igen1: 0x${hex(igen1.get(view, 0))}`,
    `ino2: 0x${hex64(inode2, view)}, igen2: 0x${hex(igen2.get(view, 0))}`,
  ]
  const offsets = `off1: ${signed64(startoff1, view)}, off2: ${signed64(startoff2, view)}`
  print(`(${files.join(', ')}, ${offsets}, len: ${signed64(blockcount, view)}, flags: 0x${hex64(flags, view)})\n`)
  return 0
}

function done({ print }: Printing, { type, view, length, order, trans }: Redo): 0 | 1 {
  const name = names.get(type) as string
  const plain = name.slice(0, 3)
  if (length < RudLogFormat.size) {
    print(`${plain}: Not enough data to decode further\n`)
    return 1
  }
  const { size, nextents, intent_id } = EfdLogFormat[order].fields
  const tab = trans && plain === 'EFD' ? '\t' : ''
  const between = plain === 'EFD' ? `\tnum_extents: ${signed(nextents.get(view, 0))}  ` : DONE_GAP
  print(`${tab}${name}:  #regs: ${size.get(view, 0)}${between}id: 0x${hex64(intent_id, view)}\n`)
  return 0
}

// --------------------------------------------------------------------------------- changes of attributes

/** The parts that follow in regions of their own: lengths that the item has, zero for none. */
export interface AttributeParts {
  readonly name: number
  readonly newName: number
  readonly value: number
  readonly newValue: number
}

export const attributeParts = ['name', 'newName', 'value', 'newValue'] as const

/** The line of an ATTRI. */
export function attributeLine(view: DataView, order: ByteOrder, trans: boolean): string {
  const { size, op_flags, ino, igen, attr_filter, id } = AttriLogFormat[order].fields
  const { name, newName, value, newValue } = partsOf(view, order)
  const lengths = [
    `name_len: ${name}`,
    `new_name_len: ${newName}`,
    `value_len: ${trans ? signed(value) : value}`,
    `new_value_len: ${newValue}`,
  ]
  const inode = `ino: 0x${hex64(ino, view)}, igen: 0x${hex(igen.get(view, 0))}`
  const head = `#regs: ${size.get(view, 0)}\tf: 0x${hex(op_flags.get(view, 0))}, ${inode}`
  return `ATTRI:  ${head}, attr_filter: 0x${hex(attr_filter.get(view, 0))}, ${lengths.join(', ')}  id: 0x${hex64(id, view)}\n`
}

/** Low bits of `op_flags`. */
const OPERATION = 0xff
const PPTR_REPLACE = 6

/** True if an ATTRI has the form with two names. */
export const replacesParent = (view: DataView, order: ByteOrder): boolean =>
  (AttriLogFormat[order].fields.op_flags.get(view, 0) & OPERATION) === PPTR_REPLACE

export function partsOf(view: DataView, order: ByteOrder): AttributeParts {
  const { name_len, value_len } = AttriLogFormat[order].fields
  const value = value_len.get(view, 0)
  if (!replacesParent(view, order)) return { name: name_len.get(view, 0), newName: 0, value, newValue: 0 }
  const { old_name_len, new_name_len } = AttriLogFormatReplace[order].fields
  return { name: old_name_len.get(view, 0), newName: new_name_len.get(view, 0), value, newValue: value }
}

/** What an ATTRI says of parent pointers, from its regions. */
export function parentPointers(
  view: DataView,
  order: ByteOrder,
  parts: Readonly<Partial<Record<keyof AttributeParts, Uint8Array>>>,
): string {
  if ((AttriLogFormat[order].fields.attr_filter.get(view, 0) & AttrFlags.parent) === 0) return ''
  const { name, newName, value, newValue } = parts
  const lengths = partsOf(view, order)
  const both = name !== undefined && newName !== undefined
  let text = ''
  if (name) text += parentPointer(both ? 'OLDNAME' : 'NAME', name.subarray(0, lengths.name), value, lengths.value)
  if (newName) text += parentPointer('NEWNAME', newName.subarray(0, lengths.newName), newValue, lengths.newValue)
  return text
}

function parentPointer(tag: string, name: Uint8Array, value: Uint8Array | undefined, valueLength: number): string {
  if (value === undefined || value.length < ParentRec.size || valueLength !== ParentRec.size)
    return `PPTR: ${tag} CORRUPT\n`
  const { inumber, gen } = ParentRec.fields
  const view = viewOf(value)
  const parent = `parent_ino ${exact(inumber, view)} parent_gen ${gen.get(view, 0)}`
  return (
    `PPTR: ${tag} attr_namelen ${name.length} attr_valuelen ${valueLength}\n` +
    `PPTR: ${tag} ${parent} name '${nameText(name)}'\n`
  )
}
