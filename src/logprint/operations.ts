import { AGF_MAGIC, AGI_MAGIC } from '../format/ag.ts'
import { FILE_TYPES, S_IFMT } from '../format/dinode.ts'
import { DiskDquot, DQUOT_MAGIC } from '../format/dquot.ts'
import type { ByteOrder } from '../format/hostorder.ts'
import { LogClients, LogOp, LogOpFlags, TRANS_HEADER_MAGIC, TransHeader, UNMOUNT_MAGIC } from '../format/log.ts'
import {
  AttrdLogFormat,
  AttriLogFormat,
  BufLogFormat,
  DquotLogFormat,
  IcreateLog,
  ILOG_FIELDS,
  InodeLogFormat,
  InodeLogFormat32,
  LogDinode,
  LogItemTypes,
  QuotaoffLogFormat,
} from '../format/logitems.ts'
import { viewOf } from '../util/view.ts'
import { agfText, agiText, dquotText, superblockText } from './headers.ts'
import { coreText, icreateText } from './inodes.ts'
import { LogFault, type Printing } from './options.ts'
import { operationAt, type RawOperation, type RecordData } from './record.ts'
import { attributeLine, attributeParts, isRedo, parentPointers, partsOf, printRedo } from './redo.ts'
import { byteHex, exact, hex, hex64, OPERATION_LINE, octal, signed, signed64, textOrDump, wordDump } from './text.ts'

/**
 * The operations of one record, as they lie. An item that continues in the next record is decoded
 * as far as it is in this one; its other regions are skipped there, by the transaction's number.
 */
export class OperationPrinter {
  readonly #printing: Printing
  readonly #order: ByteOrder
  readonly #data: RecordData
  readonly #count: number
  readonly #split: SplitItems
  /** The current position, and the number of the operation there. */
  #at = 0
  #index = 0

  constructor(printing: Printing, split: SplitItems, data: RecordData, count: number, order: ByteOrder) {
    this.#printing = printing
    this.#order = order
    this.#data = data
    this.#count = count
    this.#split = split
  }

  /** @throws LogFault */
  run(warnUnknown: boolean): void {
    let lostContext = false
    for (this.#index = 0; this.#index < this.#count; this.#index++) {
      this.#print(OPERATION_LINE)
      const operation = this.#header()
      const { length, flags, tid } = operation
      const continued = (flags & (LogOpFlags.wasContinued | LogOpFlags.continues)) !== 0
      if (continued && length === 0) continue
      if (this.#printing.options.noData === true) {
        this.#bytes(length)
        continue
      }
      if (this.#split.leftOver(tid, (flags & LogOpFlags.wasContinued) !== 0)) {
        this.#print('Left over region from split log item\n')
        this.#at += length
        lostContext = true
        continue
      }
      if (length === 0) continue
      const skip = this.#item(operation, continued)
      if (skip === undefined) {
        if (warnUnknown && !lostContext) {
          const type = this.#view.getUint16(this.#at, this.#order === 'little')
          this.#printing.warn(`${this.#printing.program}: unknown log operation type (${hex(type)})\n`)
          if (this.#printing.options.keepGoing !== true) throw new LogFault('Bad data in log')
        } else this.#print('Left over region from split log item\n')
        this.#at += length
        lostContext = false
      } else if (skip !== 0) this.#split.add(tid, skip)
    }
  }

  get #view(): DataView {
    return this.#data.view
  }

  #print(text: string): void {
    this.#printing.print(text)
  }

  /** Print the header of the operation at the current position, and step over it. */
  #header(): RawOperation {
    if (this.#at + LogOp.size > this.#data.length) throw new LogFault('Bad data in log')
    const operation = operationAt(this.#view, this.#at)
    const { tid, length, client, flags } = operation
    const end = this.#at + LogOp.size + length
    const name = client === LogClients.transaction ? 'TRANS' : client === LogClients.log ? 'LOG' : 'ERROR'
    const set = FLAG_NAMES.filter(([bit]) => (flags & bit) !== 0).map(([, flag]) => `${flag} `)
    const shown = flags === 0 ? 'none' : set.join('')
    this.#print(`Oper (${this.#index}): tid: ${hex(tid)}  len: ${signed(length)}  clientid: ${name}  flags: ${shown}\n`)
    if (end > this.#data.length) throw new LogFault('Bad data in log')
    this.#at += LogOp.size
    return operation
  }

  #bytes(length: number): void {
    let text = ''
    for (let i = 0; i < length; i++) {
      text += `0x${byteHex(this.#data.bytes[this.#at + i] as number)} `
      if (i % 16 === 15) text += '\n'
    }
    this.#at += length
    this.#print(`${text}\n`)
  }

  /**
   * Print the item that begins with the operation at the current position.
   * @returns its regions that are not in this record; undefined if this is no item
   */
  #item({ length }: RawOperation, continued: boolean): number | undefined {
    const view = this.#view
    const at = this.#at
    const little = this.#order === 'little'
    if (view.getUint32(at, little) === TRANS_HEADER_MAGIC) return this.#transaction(length)
    const type = view.getUint16(at, little)
    if (isRedo(type)) {
      this.#at += length
      const region = viewOf(this.#data.bytes.subarray(at))
      return printRedo(this.#printing, { type, view: region, length, order: this.#order, continued, trans: false })
    }
    switch (type) {
      case LogItemTypes.buf:
        return this.#buffer(length)
      case LogItemTypes.icreate:
        return this.#icreate(length)
      case LogItemTypes.inode:
        return this.#inode(length, continued)
      case LogItemTypes.dquot:
        return this.#dquot(length)
      case LogItemTypes.attri:
        return this.#attri(length)
      case LogItemTypes.attrd:
        return this.#attrd(length)
      case LogItemTypes.quotaoff:
        return this.#quotaoff(length)
      case UNMOUNT_MAGIC:
        this.#at += length
        this.#print('Unmount filesystem\n')
        return 0
      default:
        return undefined
    }
  }

  #transaction(length: number): number {
    const at = this.#at
    this.#at += length
    this.#print('TRAN:')
    if (length !== TransHeader.size) {
      this.#print('   Not enough data to decode further\n')
      return 1
    }
    const { tid, num_items } = TransHeader[this.#order].fields
    this.#print(`     tid: ${hex(tid.get(this.#view, at))}  num_items: ${signed(num_items.get(this.#view, at))}\n`)
    return 0
  }

  /** How many of the next `wanted` regions are in this record. */
  #present(wanted: number): number {
    return Math.min(wanted, this.#count - 1 - this.#index)
  }

  #buffer(length: number): number {
    const view = this.#view
    const { size, flags, len, blkno, map_size } = BufLogFormat[this.#order].fields
    const at = this.#at
    this.#at += length
    const regions = size.get(view, at)
    this.#print('BUF:  ')
    const words = map_size.get(view, at)
    if (length < map_size.offset + words) {
      this.#print(`#regs: ${regions}   Not printing rest of data\n`)
      return regions
    }
    const place = `start blkno: ${signed64(blkno, view, at)} (0x${hex64(blkno, view, at)})`
    const rest = `len: ${len.get(view, at)}  bmap size: ${signed(words)}  flags: 0x${hex(flags.get(view, at))}`
    this.#print(`#regs: ${regions}   ${place}  ${rest}\n`)
    const present = Math.max(0, this.#present(regions - 1))
    let superblock = exact(blkno, view, at) === 0n
    let skip = Math.max(0, regions - 1 - present)
    for (let i = 0; i < present; i++) {
      this.#index++
      const operation = this.#header()
      this.#print(this.#bufferData(operation, superblock))
      superblock = false
      this.#at += operation.length
      if (i === present - 1 && (operation.flags & LogOpFlags.continues) !== 0) skip++
    }
    return skip
  }

  #bufferData({ length, flags }: RawOperation, superblock: boolean): string {
    const view = this.#view
    const at = this.#at
    if (superblock) return superblockText(view, at, length)
    const magic = view.getUint32(at)
    if (magic === AGI_MAGIC) return agiText(view, at, length, (flags & LogOpFlags.continues) !== 0)
    if (magic === AGF_MAGIC) return agfText(view, at, length)
    if (magic === DQUOT_MAGIC) return dquotText(view, at, length)
    const data =
      this.#printing.options.data === true ? wordDump(view, at, length, { order: this.#order, fill: ' ' }) : ''
    return `BUF DATA\n${data}`
  }

  #icreate(length: number): number {
    const at = this.#at
    this.#at += length
    if (length !== IcreateLog.size) {
      this.#print('ICR: split header, not printing\n')
      return 1
    }
    this.#print(icreateText(this.#view, at, this.#order, ''))
    return 0
  }

  #inode(length: number, continued: boolean): number {
    const view = this.#view
    const at = this.#at
    const form = length === InodeLogFormat32.size ? InodeLogFormat32 : InodeLogFormat
    const { size, fields, dsize, ino, blkno, len, boffset } = form[this.#order].fields
    this.#index++
    this.#at += length
    const regions = size.get(view, at)
    if (continued || length !== form.size) {
      this.#print(`INODE: #regs: ${regions}   Not printing rest of data\n`)
      return regions
    }
    const logged = fields.get(view, at)
    const inode = `ino: 0x${hex64(ino, view, at)}  flags: 0x${hex(logged)}   dsize: ${dsize.get(view, at)}`
    this.#print(`INODE: #regs: ${regions}   ${inode}\n`)
    const place = `len: ${len.get(view, at)}  boff: ${boffset.get(view, at)}`
    this.#print(`        blkno: ${signed64(blkno, view, at)}  ${place}\n`)
    let missing = regions - 1
    if (this.#index >= this.#count) return missing
    const core = this.#header()
    if ((core.flags & LogOpFlags.continues) !== 0) return missing
    this.#print(coreText(view, this.#at, this.#order))
    const mode = LogDinode[this.#order].fields.mode.get(view, this.#at)
    const bytes = Number(BigInt.asIntN(32, exact(LogDinode[this.#order].fields.fsize, view, this.#at)))
    this.#at += core.length
    missing--
    if ((logged & ILOG_FIELDS.dev) !== 0 && (logged & ILOG_FIELDS.uuid) === 0)
      this.#print('DEV inode: no extra region\n')
    if ((logged & ILOG_FIELDS.uuid) !== 0 && (logged & ILOG_FIELDS.dev) === 0)
      this.#print('UUID inode: no extra region\n')
    if (regions === 2) return 0
    for (const [fork, forms] of FORKS) {
      const part = logged & fork
      if (part === 0) continue
      if (this.#index === this.#count - 1) return missing
      this.#index++
      const operation = this.#header()
      this.#print(forms.get(part) ?? '')
      if (part === ILOG_FIELDS.dataLocal && (mode & S_IFMT) === FILE_TYPES.dir)
        this.#print(`SHORTFORM DIRECTORY size ${bytes}\n`)
      this.#at += operation.length
      if ((operation.flags & LogOpFlags.continues) !== 0) return missing
      missing--
    }
    return 0
  }

  #dquot(length: number): number {
    const view = this.#view
    const at = this.#at
    const { size, id, blkno, len, boffset } = DquotLogFormat[this.#order].fields
    this.#index++
    this.#at += length
    const regions = size.get(view, at)
    if (length !== DquotLogFormat.size) {
      this.#print(`DQUOT: #regs: ${regions}   Not printing rest of data\n`)
      return regions
    }
    const place = `blkno: ${signed64(blkno, view, at)}  len: ${len.get(view, at)}  boff: ${signed(boffset.get(view, at))}`
    this.#print(`#regs: ${regions}   id: 0x${hex(id.get(view, at))}  ${place}\n`)
    // The tool has counted the record's operation already, and looks for one more.
    const present = Math.max(0, Math.min(regions - 1, this.#count - 1 - this.#index))
    let skip = Math.max(0, regions - 1 - present)
    for (let i = 0; i < present; i++) {
      const operation = this.#header()
      const { magic, type } = DiskDquot.fields
      this.#print(`DQUOT: magic 0x${hex(magic.get(view, this.#at))} flags 0${octal(type.get(view, this.#at))}\n`)
      this.#at += operation.length
      if (i === present - 1 && (operation.flags & LogOpFlags.continues) !== 0) skip++
    }
    return skip
  }

  #attri(length: number): number {
    const { warn, program } = this.#printing
    const at = this.#at
    if (length !== AttriLogFormat.size) {
      warn(`${program}: bad size of attri format: ${length}; expected ${AttriLogFormat.size}\n`)
      this.#at += length
      return 1
    }
    this.#at += length
    const view = viewOf(this.#data.bytes.subarray(at, at + length))
    this.#print(attributeLine(view, this.#order, false))
    const lengths = partsOf(view, this.#order)
    const parts: Partial<Record<(typeof attributeParts)[number], Uint8Array>> = {}
    for (const part of attributeParts) {
      if (lengths[part] === 0) continue
      this.#print('\n')
      this.#index++
      const operation = this.#header()
      const whole = this.#data.bytes.subarray(this.#at, this.#at + operation.length)
      const value = part === 'value' || part === 'newValue'
      const shown = value ? Math.min(lengths[part], operation.length) : operation.length
      this.#print(`ATTRI:  ${part.toLowerCase()} len:${value ? lengths[part] : operation.length}\n`)
      this.#print(textOrDump(whole.subarray(0, shown)))
      parts[part] = whole
      this.#at += operation.length
    }
    this.#print(parentPointers(view, this.#order, parts))
    return 0
  }

  #attrd(length: number): number {
    const at = this.#at
    this.#at += length
    if (length < AttrdLogFormat.size) {
      this.#print('ATTRD: Not enough data to decode further\n')
      return 1
    }
    const { size, intent_id } = AttrdLogFormat[this.#order].fields
    this.#print(`ATTRD:  #regs: ${size.get(this.#view, at)}\tid: 0x${hex64(intent_id, this.#view, at)}\n`)
    return 0
  }

  #quotaoff(length: number): number {
    const at = this.#at
    this.#at += length
    if (length < QuotaoffLogFormat.size) {
      this.#print('QOFF: Not enough data to decode further\n')
      return 1
    }
    const { size, flags } = QuotaoffLogFormat[this.#order].fields
    this.#print(`QOFF:  #regs: ${size.get(this.#view, at)}    flags: 0x${hex(flags.get(this.#view, at))}\n`)
    return 0
  }
}

const FLAG_NAMES = [
  [LogOpFlags.start, 'START'],
  [LogOpFlags.commit, 'COMMIT'],
  [LogOpFlags.wasContinued, 'WAS_CONT'],
  [LogOpFlags.unmount, 'UNMOUNT'],
  [LogOpFlags.continues, 'CONTINUE'],
  [LogOpFlags.ends, 'END'],
] as const

/** The forks of an inode item: the bits of each, and the text for its form. */
const FORKS: readonly (readonly [number, ReadonlyMap<number, string>])[] = [
  [
    ILOG_FIELDS.dataFork,
    new Map([
      [ILOG_FIELDS.dataExtents, 'EXTENTS inode data\n'],
      [ILOG_FIELDS.dataRoot, 'BTREE inode data\n'],
      [ILOG_FIELDS.dataLocal, 'LOCAL inode data\n'],
    ]),
  ],
  [
    ILOG_FIELDS.attrFork,
    new Map([
      [ILOG_FIELDS.attrExtents, 'EXTENTS attr data\n'],
      [ILOG_FIELDS.attrRoot, 'BTREE attr data\n'],
      [ILOG_FIELDS.attrLocal, 'LOCAL attr data\n'],
    ]),
  ],
]

/** Transactions whose last item is not complete, with the regions that are missing. */
export class SplitItems {
  /** The last one first. */
  #items: { readonly tid: number; missing: number }[] = []

  add(tid: number, missing: number): void {
    this.#items.unshift({ tid, missing })
  }

  /** True if a region of `tid` belongs to an item of an earlier record. */
  leftOver(tid: number, wasContinued: boolean): boolean {
    if (this.#items.length === 0) return wasContinued
    const item = this.#items.find((one) => one.tid === tid)
    if (!item) return false
    if (--item.missing === 0) this.#items = this.#items.filter((one) => one !== item)
    return true
  }
}
