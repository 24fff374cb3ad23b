import type { ByteOrder } from '../format/hostorder.ts'
import { LogOpFlags, TRANS_HEADER_MAGIC, TransHeader } from '../format/log.ts'
import { BufLogFormat } from '../format/logitems.ts'
import { viewOf } from '../util/view.ts'
import { type LoggedOperation, logError, readOperations } from './operations.ts'
import type { LogPosition, LogRing, LogState } from './ring.ts'

/**
 * The committed transactions of a log.
 *
 *   start │ transaction header │ format  region … │ format  region … │ … │ commit
 *                                 item               item
 *
 * The first region of an item is its format; it has the number of regions. A region that does not
 * fit into a record continues in an operation of the next one. A transaction without a commit did
 * not happen. Operations whose start is before the tail are of transactions that are in place.
 *
 * Source: fs/xfs/xfs_log_recover.c (xlog_recovery_process_trans, xlog_recover_add_to_trans).
 */
export interface LoggedTransaction {
  /** The LSN of the record with its start: the age of its changes. */
  readonly lsn: LogPosition
  readonly items: readonly LoggedItem[]
}

export interface LoggedItem {
  /** A code of `LogItemTypes`, or an unknown one. */
  readonly type: number
  /** The byte order of its format. */
  readonly order: ByteOrder
  /** Its format, then what the format describes. At least one. */
  readonly regions: readonly Uint8Array[]
}

/** The kernel's limit for the regions of an item. */
const MAX_REGIONS = 65536 / 128 / 2 + 1
/** Bytes of transactions that are not complete yet, at most. The kernel writes at most half of it. */
const MAX_OPEN = 2 ** 27
/** Each format begins with its type and the number of regions. */
const { type: formatType, size: formatSize } = BufLogFormat.big.fields
const FORMAT_HEAD = formatSize.offset + formatSize.size

/** @throws XfsError CORRUPT (the log is damaged), IO */
export function* readTransactions(ring: LogRing, state: Pick<LogState, 'tail' | 'head'>): Generator<LoggedTransaction> {
  const open = new Map<number, OpenTransaction>()
  let bytes = 0
  for (const operation of readOperations(ring, state)) {
    const { tid, flags, lsn, order } = operation
    if ((flags & LogOpFlags.unmount) !== 0) continue
    const name = `transaction 0x${tid.toString(16)}`
    if ((flags & LogOpFlags.start) !== 0) {
      if (open.has(tid)) throw logError(`${name} starts twice`)
      open.set(tid, new OpenTransaction(name, lsn, order))
      continue
    }
    const transaction = open.get(tid)
    if (!transaction) continue
    if ((flags & LogOpFlags.commit) !== 0) {
      open.delete(tid)
      bytes -= transaction.bytes
      yield transaction.complete()
      continue
    }
    transaction.add(operation)
    bytes += operation.data.length
    if (bytes > MAX_OPEN) throw logError(`transactions without a commit have more than ${MAX_OPEN} bytes`)
  }
}

interface OpenItem {
  readonly type: number
  readonly order: ByteOrder
  readonly count: number
  readonly regions: Uint8Array[]
}

class OpenTransaction {
  readonly #name: string
  readonly #lsn: LogPosition
  readonly #order: ByteOrder
  readonly #items: OpenItem[] = []
  /** Its header, which may be in several parts. */
  #header = new Uint8Array(0)
  bytes = 0

  constructor(name: string, lsn: LogPosition, order: ByteOrder) {
    this.#name = name
    this.#lsn = lsn
    this.#order = order
  }

  add({ flags, data, order }: LoggedOperation): void {
    this.bytes += data.length
    if (this.#header.length < TransHeader.size) {
      this.#header = joined(this.#header, data)
      this.#checkHeader()
      return
    }
    const last = this.#items.at(-1)
    if ((flags & LogOpFlags.wasContinued) !== 0) {
      const region = last?.regions.pop()
      if (!last || !region) throw logError(`${this.#name} continues a region that it does not have`)
      last.regions.push(joined(region, data))
      return
    }
    if (data.length === 0) return
    if (last && last.regions.length < last.count) {
      last.regions.push(data)
      return
    }
    const view = viewOf(data)
    const little = order === 'little'
    const count = data.length < FORMAT_HEAD ? 0 : view.getUint16(formatSize.offset, little)
    if (count === 0 || count > MAX_REGIONS) throw logError(`${this.#name} has an item of ${count} regions`)
    this.#items.push({ type: view.getUint16(formatType.offset, little), order, count, regions: [data] })
  }

  #checkHeader(): void {
    const { length } = this.#header
    if (length > TransHeader.size) throw logError(`${this.#name} has a header of ${length} bytes`)
    if (length < TransHeader.size) return
    const magic = TransHeader[this.#order].fields.magic.get(viewOf(this.#header), 0)
    if (magic !== TRANS_HEADER_MAGIC) throw logError(`${this.#name} has magic number 0x${magic.toString(16)}`)
  }

  /** @throws XfsError CORRUPT if parts are missing */
  complete(): LoggedTransaction {
    const last = this.#items.at(-1)
    if (last && last.regions.length < last.count)
      throw logError(`${this.#name} ends with ${last.regions.length} of ${last.count} regions of an item`)
    return { lsn: this.#lsn, items: this.#items }
  }
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(one.length + other.length)
  bytes.set(one)
  bytes.set(other, one.length)
  return bytes
}
