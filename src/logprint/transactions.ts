import type { ByteOrder } from '../format/hostorder.ts'
import { LogClients, LogOp, LogOpFlags, TRANS_HEADER_MAGIC, TransHeader } from '../format/log.ts'
import { InodeLogFormat } from '../format/logitems.ts'
import type { LogRing } from '../log/ring.ts'
import { viewOf } from '../util/view.ts'
import { LogFault } from './options.ts'
import { dataOf, operationAt, type RawRecord, type RecordData, recordAt } from './record.ts'

/**
 * Transactions from their operations in the records between tail and head. A region of a
 * transaction is kept as its place in the log, and read again when it is printed: a transaction may
 * be as large as the log.
 */

/** A region: pieces of the data of records. */
export interface Region {
  readonly pieces: { readonly block: number; readonly at: number; readonly length: number }[]
  length: number
}

export interface Item {
  /** As its first region says. */
  readonly total: number
  readonly regions: Region[]
}

export interface Transaction {
  readonly tid: number
  readonly order: ByteOrder
  /** The record in which it begins. */
  readonly cycle: number
  readonly block: number
  /** Its header, which may come in two parts. */
  readonly header: { readonly bytes: Uint8Array; at: number; place: Region['pieces'][number] | undefined }
  readonly items: Item[]
}

/** Regions of all unfinished transactions: more are not in any log that a kernel has written. */
const MOST_REGIONS = 4e6
/** A region maps at most a block of the largest size, a bit for 128 bytes, every second one. */
const MOST_REGIONS_IN_ITEM = 257
const EIO = 5
const EFSCORRUPTED = 117

/** What the records contain, in their order. */
export type LogEvent =
  | { readonly kind: 'record'; readonly record: RawRecord }
  | { readonly kind: 'transaction'; readonly transaction: Transaction }
  | { readonly kind: 'unmount' }

/** An error in the records between tail and head. */
export class RecoveryFault extends LogFault {
  /** For standard error; empty if there is nothing more to say. */
  readonly detail: string
  constructor(errno: number, detail = '') {
    super(`failed in xfs_do_recovery_pass, error: ${errno}`)
    this.detail = detail
  }
}

/**
 * The records and complete transactions from `tail` to `head`.
 * @throws RecoveryFault
 */
export function* logEvents(ring: LogRing, tail: number, head: number): Generator<LogEvent> {
  const open = new Map<number, Transaction>()
  const budget = { regions: 0 }
  let seen = 0
  for (let block = tail; seen < distance(ring, tail, head); ) {
    const record = recordAt(ring, block)
    if (!record || (record.header.len | 0) <= 0) throw new RecoveryFault(EFSCORRUPTED)
    const { version } = record.header
    if (version === 0 || (version & ~VERSIONS) !== 0)
      throw new RecoveryFault(EIO, `xlog_valid_rec_header: unrecognised log version (${version | 0}).`)
    const data = dataOf(ring, record, false)
    if (!data) throw new RecoveryFault(EFSCORRUPTED)
    yield { kind: 'record', record }
    yield* eventsOf(record, data, open, budget)
    seen += record.headerBlocks + record.dataBlocks
    block = (block + record.headerBlocks + record.dataBlocks) % ring.blocks
  }
}

const VERSIONS = 3

const distance = (ring: LogRing, from: number, to: number): number => (to - from + ring.blocks) % ring.blocks

function* eventsOf(
  record: RawRecord,
  data: RecordData,
  open: Map<number, Transaction>,
  budget: { regions: number },
): Generator<LogEvent> {
  const { header, block, order } = record
  let at = 0
  for (let i = 0; i < header.num_logops && at < header.len; i++) {
    const operation = operationAt(data.view, at)
    const { tid, length, client } = operation
    at += LogOp.size
    if (client !== LogClients.transaction && client !== LogClients.log) fail(`bad clientid 0x${client.toString(16)}`)
    const transaction = open.get(tid)
    if (!transaction) {
      if ((operation.flags & LogOpFlags.start) !== 0) open.set(tid, begin(tid, record))
    } else {
      if (at + length > header.len) fail(`bad length 0x${length.toString(16)}`)
      const flags = meaning(operation.flags)
      const piece = { block, at, length }
      if (flags === LogOpFlags.commit) {
        open.delete(tid)
        for (const item of transaction.items) budget.regions -= item.regions.length
        yield { kind: 'transaction', transaction }
      } else if (flags === LogOpFlags.unmount) yield { kind: 'unmount' }
      else if (flags === LogOpFlags.wasContinued) extend(transaction, piece, data)
      else if (flags === 0 || flags === LogOpFlags.continues) {
        add(transaction, piece, data, order)
        if (++budget.regions > MOST_REGIONS) fail('too many regions')
      } else fail(flags === LogOpFlags.start ? 'bad transaction' : `bad flag 0x${flags.toString(16)}`)
    }
    at += length
  }
}

function fail(detail: string): never {
  throw new RecoveryFault(EIO, `xlog_recover_process_data: ${detail}`)
}

/** The flags that decide what an operation is. */
function meaning(flags: number): number {
  const without = flags & ~LogOpFlags.ends
  return (without & LogOpFlags.wasContinued) !== 0 ? without & ~LogOpFlags.continues : without
}

const begin = (tid: number, { header, order }: RawRecord): Transaction => ({
  tid,
  order,
  cycle: header.lsn.cycle,
  block: header.lsn.block,
  header: { bytes: new Uint8Array(TransHeader.size), at: 0, place: undefined },
  items: [],
})

type Piece = Region['pieces'][number]

/** A region, or the first part of one. */
function add(transaction: Transaction, piece: Piece, { view, bytes }: RecordData, order: ByteOrder): void {
  if (piece.length === 0) return
  const { header, items } = transaction
  const little = order === 'little'
  if (header.at < TransHeader.size) {
    if (header.at > 0 || view.getUint32(piece.at, little) !== TRANS_HEADER_MAGIC)
      throw new RecoveryFault(EIO, 'xlog_recover_add_to_trans: bad header magic number')
    headerPart(transaction, piece, bytes)
    return
  }
  const last = items.at(-1)
  const region = { pieces: [piece], length: piece.length }
  if (last && last.regions.length < last.total) {
    last.regions.push(region)
    return
  }
  const total = InodeLogFormat[order].fields.size.get(view, piece.at)
  if (total === 0 || total > MOST_REGIONS_IN_ITEM)
    throw new RecoveryFault(EIO, `bad number of regions (${total}) in inode log format`)
  items.push({ total, regions: [region] })
}

/** A further part of the last region. */
function extend(transaction: Transaction, piece: Piece, { bytes }: RecordData): void {
  if (transaction.header.at < TransHeader.size) {
    headerPart(transaction, piece, bytes)
    return
  }
  const region = transaction.items.at(-1)?.regions.at(-1)
  if (!region) fail('nothing to continue')
  region.pieces.push(piece)
  region.length += piece.length
}

function headerPart({ header }: Transaction, piece: Piece, bytes: Uint8Array): void {
  if (header.at + piece.length > TransHeader.size) fail('the transaction header is too long')
  header.bytes.set(bytes.subarray(piece.at, piece.at + piece.length), header.at)
  header.at += piece.length
  header.place ??= piece
}

/** Reads regions again. One record is kept, as those that follow each other are mostly in one. */
export class Regions {
  readonly #ring: LogRing
  #block = -1
  #bytes: Uint8Array = new Uint8Array(0)
  #headers = 1

  constructor(ring: LogRing) {
    this.#ring = ring
  }

  /** The bytes of a region, and zeros after them. @param most  bytes that are wanted */
  view(region: Region | undefined, most = Number.POSITIVE_INFINITY): DataView {
    const length = Math.min(region?.length ?? 0, most)
    const bytes = new Uint8Array(length + MARGIN)
    let done = 0
    for (const { block, at, length: size } of region?.pieces ?? []) {
      if (done >= length) break
      const part = Math.min(size, length - done)
      this.#load(block)
      bytes.set(this.#bytes.subarray(at, at + part), done)
      done += part
    }
    return viewOf(bytes)
  }

  /** Where a piece is, in bytes from the start of the log. */
  place({ block, at }: Piece): number {
    this.#load(block)
    return ((block + this.#headers) * 512 + at) % (this.#ring.blocks * 512)
  }

  #load(block: number): void {
    if (block === this.#block) return
    const record = recordAt(this.#ring, block)
    const data = record && dataOf(this.#ring, record, false)
    this.#block = block
    this.#bytes = data?.bytes ?? new Uint8Array(0)
    this.#headers = record?.headerBlocks ?? 1
  }
}

/** Enough for the largest structure. */
const MARGIN = 512
