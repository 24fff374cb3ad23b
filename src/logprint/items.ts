import { AGF_MAGIC, AGI_MAGIC, Agf, Agi } from '../format/ag.ts'
import { DiskDquot, DQUOT_MAGIC, Dqblk } from '../format/dquot.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import type { ByteOrder } from '../format/hostorder.ts'
import { TransHeader } from '../format/log.ts'
import {
  AttrdLogFormat,
  BufLogFormat,
  DquotLogFormat,
  ILOG_FIELDS,
  InodeLogFormat,
  InodeLogFormat32,
  LogItemTypes,
  QuotaoffLogFormat,
} from '../format/logitems.ts'
import { Superblock } from '../format/sb.ts'
import { viewOf } from '../util/view.ts'
import { bucketText } from './headers.ts'
import { coreNumbers, icreateText } from './inodes.ts'
import { LogFault, type Printing } from './options.ts'
import { attributeLine, attributeParts, isRedo, parentPointers, partsOf, printRedo } from './redo.ts'
import { exact, hex, hex64, RECORD_LINE, signed, signed64, textOrDump, wordDump } from './text.ts'
import type { Item, Regions, Transaction } from './transactions.ts'

/** Transactions and their items, in the view of transactions. */

const typeField = BufLogFormat.big.fields.type

/** The type of an item, whose first region is `view`. */
export const itemType = (view: DataView, order: ByteOrder): number =>
  view.getUint16(typeField.offset, order === 'little')

/** Names that the first line of an item begins with. */
const labels: ReadonlyMap<number, string> = new Map([
  [LogItemTypes.buf, 'BUF'],
  [LogItemTypes.icreate, 'ICR'],
  [LogItemTypes.inode, 'INO'],
  [LogItemTypes.efd, 'EFD'],
  [LogItemTypes.efdRt, 'EFD_RT'],
  [LogItemTypes.efi, 'EFI'],
  [LogItemTypes.efiRt, 'EFI_RT'],
  [LogItemTypes.attrd, 'ATTRD'],
  [LogItemTypes.attri, 'ATTRI'],
  [LogItemTypes.rud, 'RUD'],
  [LogItemTypes.rudRt, 'RUD_RT'],
  [LogItemTypes.rui, 'RUI'],
  [LogItemTypes.ruiRt, 'RUI_RT'],
  [LogItemTypes.cud, 'CUD'],
  [LogItemTypes.cudRt, 'CUD_RT'],
  [LogItemTypes.cui, 'CUI'],
  [LogItemTypes.cuiRt, 'CUI_RT'],
  [LogItemTypes.bud, 'BUD'],
  [LogItemTypes.bui, 'BUI'],
  [LogItemTypes.xmd, 'XMD'],
  [LogItemTypes.xmi, 'XMI'],
  [LogItemTypes.dquot, 'DQ '],
  [LogItemTypes.quotaoff, 'QOFF'],
] as const)

/**
 * Print a transaction. In place of the addresses in memory of xfs_logprint there are byte offsets
 * in the log. @throws LogFault
 */
export function printTransaction(printing: Printing, transaction: Transaction, regions: Regions): void {
  const { tid, order, header, items } = transaction
  const { num_items, tid: inner } = TransHeader[order].fields
  const view = viewOf(header.bytes)
  const place = header.place ? regions.place(header.place) : 0
  const numbers = `#items:${signed(num_items.get(view, 0))}  trans:0x${hex(inner.get(view, 0))}`
  printing.print(`${RECORD_LINE}TRANS: tid:0x${hex(tid)}  ${numbers}  q:0x${place.toString(16)}\n`)
  for (const item of items) new ItemPrinter(printing, item, order, regions).run()
}

class ItemPrinter {
  readonly #printing: Printing
  readonly #item: Item
  readonly #order: ByteOrder
  readonly #regions: Regions
  readonly #first: DataView

  constructor(printing: Printing, item: Item, order: ByteOrder, regions: Regions) {
    this.#printing = printing
    this.#item = item
    this.#order = order
    this.#regions = regions
    this.#first = regions.view(item.regions[0])
  }

  run(): void {
    const { regions, total } = this.#item
    const type = itemType(this.#first, this.#order)
    const label = labels.get(type)
    if (label === undefined) this.#printing.warn('xlog_recover_print_item: illegal type\n')
    const places = regions.map(
      ({ pieces, length }) => `a:0x${this.#regions.place(pieces[0] as (typeof pieces)[0]).toString(16)} len:${length} `,
    )
    this.#print(`${label ?? ''}: cnt:${regions.length} total:${total} ${places.join('')}\n`)
    const length = regions[0]?.length ?? 0
    if (isRedo(type)) {
      const common = { type, view: this.#first, order: this.#order }
      printRedo(this.#printing, { ...common, length, continued: false, trans: true })
      return
    }
    if (type === LogItemTypes.buf) this.#buffer()
    else if (type === LogItemTypes.icreate) this.#print(icreateText(this.#first, 0, this.#order, '\t'))
    else if (type === LogItemTypes.inode) this.#inode(length)
    else if (type === LogItemTypes.dquot) this.#dquot()
    else if (type === LogItemTypes.attri) this.#attri()
    else if (type === LogItemTypes.attrd) this.#attrd()
    else if (type === LogItemTypes.quotaoff) this.#quotaoff()
    else this.#print('xlog_recover_print_logitem: illegal type\n')
  }

  #print(text: string): void {
    this.#printing.print(text)
  }

  #buffer(): void {
    const { size, flags, len, blkno, map_size } = BufLogFormat[this.#order].fields
    const view = this.#first
    const regions = size.get(view, 0)
    const place = `start blkno:0x${hex64(blkno, view)}   len:${len.get(view, 0)}`
    const rest = `bmap size:${signed(map_size.get(view, 0))}   flags:0x${hex(flags.get(view, 0))}`
    this.#print(`\tBUF:  #regs:${regions}   ${place}   ${rest}\n`)
    const superblock = exact(blkno, view) === 0n
    for (let i = 1; i < regions; i++) {
      const region = this.#item.regions[i]
      this.#print(this.#bufferData(this.#regions.view(region), region?.length ?? 0, superblock))
    }
  }

  #bufferData(view: DataView, length: number, superblock: boolean): string {
    const { buffers = false, data = false } = this.#printing.options
    const magic = view.getUint32(typeField.offset)
    if (superblock) return `\tSUPER Block Buffer:\n${buffers ? superblockText(view) : ''}`
    if (magic === AGI_MAGIC) return `\tAGI Buffer: (XAGI)\n${buffers ? agiText(view, length) : ''}`
    if (magic === AGF_MAGIC) return `\tAGF Buffer: (XAGF)\n${buffers ? agfText(view) : ''}`
    // The tool compares the number in the byte order of the host.
    if (view.getUint32(typeField.offset, this.#order === 'little') === DQUOT_MAGIC)
      return `\tDQUOT Buffer:\n${buffers ? this.#quotaIds(view) : ''}`
    return `\tBUF DATA\n${buffers && data ? wordDump(view, 0, length, { order: this.#order }) : ''}`
  }

  #quotaIds(view: DataView): string {
    const first = DiskDquot.fields.id.get(view, 0) >>> 0
    const { len } = BufLogFormat[this.#order].fields
    const count = Math.floor((len.get(this.#first, 0) * BASIC_BLOCK) / Dqblk.size)
    return `\t\tUIDs 0x${first.toString(16)}-0x${(first + count - 1).toString(16)}\n`
  }

  #inode(length: number): void {
    const view = this.#first
    const form = length === InodeLogFormat32.size ? InodeLogFormat32 : InodeLogFormat
    const { size, fields, dsize, ino } = form[this.#order].fields
    const logged = fields.get(view, 0)
    const inode = `ino:0x${hex64(ino, view)}  flags:0x${hex(logged)}   dsize:${dsize.get(view, 0)}`
    this.#print(`\tINODE: #regs:${size.get(view, 0)}   ${inode}\n`)
    this.#print('\tCORE inode:\n')
    if (this.#printing.options.inodes === true)
      this.#print(coreText(this.#regions.view(this.#item.regions[1]), this.#order))
    const hasData = (logged & ILOG_FIELDS.dataFork) !== 0
    this.#fork(DATA_FORMS, logged & (ILOG_FIELDS.dataFork | ILOG_FIELDS.dev | ILOG_FIELDS.uuid), 2)
    if ((logged & ILOG_FIELDS.attrFork) !== 0) this.#fork(ATTR_FORMS, logged & ILOG_FIELDS.attrFork, hasData ? 3 : 2)
  }

  #fork(forms: ReadonlyMap<number, string>, form: number, index: number): void {
    const text = forms.get(form)
    if (text === undefined) throw new LogFault('xlog_print_trans_inode: illegal inode type')
    this.#print(text)
    const { inodes = false, data = false } = this.#printing.options
    if (!text.endsWith(':\n') || !inodes || !data) return
    const region = this.#item.regions[index]
    this.#print(wordDump(this.#regions.view(region), 0, region?.length ?? 0, { order: this.#order }))
  }

  #dquot(): void {
    const view = this.#first
    const { size, id, blkno, boffset } = DquotLogFormat[this.#order].fields
    const place = `blkno:${signed64(blkno, view)}  boffset:${boffset.get(view, 0)}`
    this.#print(`\tDQUOT: #regs:${size.get(view, 0)}  ${place} id: ${signed(id.get(view, 0))}\n`)
    if (this.#printing.options.quota !== true) return
    const record = this.#regions.view(this.#item.regions[1])
    const fields = DiskDquot.fields
    const number = (name: QuotaField): number => Number(BigInt.asIntN(32, exact(fields[name], record)))
    const both = (name: QuotaField): string => `0x${hex(number(name))} (${number(name)})`
    const limit = (name: QuotaField): string => `0x${hex(number(name))}`
    const head = `magic ${limit('magic')}\tversion ${limit('version')}\tID ${both('id')}\t`
    const blocks = `blk_hard ${limit('blk_hardlimit')}\tblk_soft ${limit('blk_softlimit')}`
    const inodes = `ino_hard ${limit('ino_hardlimit')}\tino_soft ${limit('ino_softlimit')}`
    this.#print(`\t\t${head}\n\t\t${blocks}\t${inodes}\n`)
    this.#print(`\t\tbcount ${both('bcount')} icount ${both('icount')}\n`)
    this.#print(`\t\tbtimer ${limit('btimer')} itimer ${limit('itimer')} \n`)
  }

  #attri(): void {
    const { regions } = this.#item
    this.#print(attributeLine(this.#first, this.#order, true))
    const lengths = partsOf(this.#first, this.#order)
    const parts: Partial<Record<(typeof attributeParts)[number], Uint8Array>> = {}
    let index = 1
    for (const part of attributeParts) {
      const length = lengths[part]
      if (length === 0) continue
      const region = regions[index++]
      const view = this.#regions.view(region, length)
      const bytes = new Uint8Array(view.buffer, view.byteOffset, Math.min(length, region?.length ?? 0))
      const most = part === 'value' || part === 'newValue' ? VALUE_SHOWN : length
      this.#print(`ATTRI:  ${part.toLowerCase()} len:${length}\n${textOrDump(bytes.subarray(0, most))}`)
      parts[part] = bytes
    }
    this.#print(parentPointers(this.#first, this.#order, parts))
  }

  #attrd(): void {
    const { size, intent_id } = AttrdLogFormat[this.#order].fields
    this.#print(`\tATTRD:  #regs: ${size.get(this.#first, 0)}\tid: 0x${hex64(intent_id, this.#first)}\n`)
  }

  #quotaoff(): void {
    const { size, flags } = QuotaoffLogFormat[this.#order].fields
    const set = flags.get(this.#first, 0)
    const kinds = QUOTA_KINDS.filter(([bit]) => (set & bit) !== 0).map(([, kind]) => ` ${kind}`)
    this.#print(`\tQUOTAOFF: #regs:${size.get(this.#first, 0)}   type:${kinds.join('')}\n`)
  }
}

type QuotaField = Exclude<keyof typeof DiskDquot.fields, 'pad0' | 'pad'>

/** Bytes of an attribute's value that are shown. */
const VALUE_SHOWN = 128

/** Bits of quota types that were accounted. */
const QUOTA_KINDS = [
  [0x0001, 'USER'],
  [0x0040, 'GROUP'],
  [0x0008, 'PROJECT'],
] as const

const DATA_FORMS: ReadonlyMap<number, string> = new Map([
  [ILOG_FIELDS.dataExtents, '\t\tDATA FORK EXTENTS inode data:\n'],
  [ILOG_FIELDS.dataRoot, '\t\tDATA FORK BTREE inode data:\n'],
  [ILOG_FIELDS.dataLocal, '\t\tDATA FORK LOCAL inode data:\n'],
  [ILOG_FIELDS.dev, '\t\tDEV inode: no extra region\n'],
  [ILOG_FIELDS.uuid, '\t\tUUID inode: no extra region\n'],
  [0, ''],
])

const ATTR_FORMS: ReadonlyMap<number, string> = new Map([
  [ILOG_FIELDS.attrExtents, '\t\tATTR FORK EXTENTS inode data:\n'],
  [ILOG_FIELDS.attrRoot, '\t\tATTR FORK BTREE inode data:\n'],
  [ILOG_FIELDS.attrLocal, '\t\tATTR FORK LOCAL inode data:\n'],
])

function superblockText(view: DataView): string {
  const { icount, ifree, fdblocks, frextents, unit, width } = Superblock.fields
  const inodes = `icount:${exact(icount, view)} ifree:${exact(ifree, view)}`
  const space = `fdblks:${exact(fdblocks, view)}  frext:${exact(frextents, view)}`
  return `              ${inodes}  ${space}\n\t\tsunit:${unit.get(view, 0)}  swidth:${width.get(view, 0)}\n`
}

function agiText(view: DataView, length: number): string {
  const agi = Agi.decode(view)
  const size = `ver:${signed(agi.versionnum)}  seq#:${signed(agi.seqno)}  len:${signed(agi.length)}`
  const inodes = `cnt:${signed(agi.count)}  root:${signed(agi.root)}`
  const free = `level:${signed(agi.level)}  free#:0x${hex(agi.freecount)}  newino:0x${hex(agi.newino)}`
  return `\t\t${size}  ${inodes}\n\t\t${free}\n${bucketText(view, 0, length)}`
}

function agfText(view: DataView): string {
  const agf = Agf.decode(view)
  const list = `1st:${signed(agf.flfirst)}  last:${signed(agf.fllast)}  cnt:${signed(agf.flcount)}`
  return [
    `\t\tver:${signed(agf.versionnum)}  seq#:${signed(agf.seqno)}  len:${signed(agf.length)}  `,
    `\t\troot BNO:${signed(agf.bnoroot)}  CNT:${signed(agf.cntroot)}`,
    `\t\tlevel BNO:${signed(agf.bnolevel)}  CNT:${signed(agf.cntlevel)}`,
    `\t\t${list}  freeblks:${signed(agf.freeblks)}  longest:${signed(agf.longest)}`,
    '',
  ].join('\n')
}

function coreText(view: DataView, order: ByteOrder): string {
  const c = coreNumbers(view, 0, order)
  const projid = [c.projidHigh, c.projidLow].map((half) => hex(half).padStart(4, '0')).join('')
  const extents = `exsize:${signed(c.extsize)}  nextents:${c.nextents}  anextents:${c.anextents}`
  const lines = [
    `magic:${String.fromCharCode(c.magic >> 8, c.magic & 0xff)}  mode:0x${hex(c.mode)}  ver:${c.version}  format:${c.format}`,
    `uid:${signed(c.uid)}  gid:${signed(c.gid)}  nlink:${signed(c.nlink)} projid:0x${projid}`,
    `atime:${c.atime}  mtime:${c.mtime}  ctime:${c.ctime}`,
    `flushiter:${c.flushiter}`,
    `size:0x${c.size.toString(16)}  nblks:0x${c.nblocks.toString(16)}  ${extents}`,
    `forkoff:${c.forkoff}  dmevmask:0x${hex(c.dmevmask)}  dmstate:${c.dmstate}  flags:0x${hex(c.flags)}  gen:${c.gen}`,
  ]
  if (c.version === 3) lines.push(`flags2 0x${c.flags2.toString(16)} cowextsize 0x${hex(c.cowextsize)}`)
  return lines.map((line) => `\t\t${line}\n`).join('')
}
