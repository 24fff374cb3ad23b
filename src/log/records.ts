import { isZero } from '#native'
import type { Device } from '../device/device.ts'
import { assert } from '../errors.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import type { ByteOrder } from '../format/hostorder.ts'
import {
  LOG_RECORD_MAGIC,
  LogClients,
  LogFormats,
  LogOp,
  LogOpFlags,
  LogRecord,
  LogRecordExt,
  logCrc,
  logHeaderBlocks,
  TRANS_CHECKPOINT,
  TRANS_HEADER_MAGIC,
  TransHeader,
  UNMOUNT_MAGIC,
  UnmountRecord,
} from '../format/log.ts'
import { viewOf } from '../util/view.ts'
import {
  keptWordAt,
  LARGEST_RECORD,
  type LogPosition,
  type LogState,
  MAX_IN_FLIGHT,
  MAX_PENDING,
  openRing,
} from './ring.ts'
import { staleBlocks } from './stale.ts'

/**
 * Writing the log: operations are packed into records, which are written around the ring.
 *
 *   │ header │ op op op op … padding │ header │ op op … │ …
 *
 * The header has the position of the oldest needed record (tail), the length of this record and its
 * checksum. It also saves the first word of each block that follows, which the cycle number
 * replaces.
 *
 * An operation never spans two records here, although the format permits it: the rest of a record
 * is padding. A record may wrap at the end of the ring; its blocks after that have the next cycle.
 *
 * Recovery searches for the head among the last 8 records of at most 256 KiB. Any of them may be
 * missing while later ones are on the device. So no more than that is in flight at once; earlier
 * records are flushed.
 *
 * Records up to the end of the ring are flushed before anything is written at its start: if a log
 * ends with zeros, the kernel accepts only the first cycle at its start.
 *
 * A transaction takes at most half of the ring, and at most a quarter is in flight. So a new
 * transaction never overwrites the start of the last one.
 *
 * Source: fs/xfs/xfs_log.c (xlog_sync, xlog_pack_data, xlog_cksum).
 */

const ORDER: ByteOrder = 'little'
/**
 * The maximum size of a transaction that is written as one record with a short header. A larger one
 * uses records of the maximum size.
 */
const SMALL_RECORD = 32768

/** Upper bounds of the header bytes of a transaction and of an item. */
const HEADERS = 512
/**
 * Bytes per write when allocating the ring, and the unit that is checked: hosts have no smaller
 * blocks.
 */
const CHUNK = 2 ** 20
const HOST_BLOCK = 4096

/** One region of a transaction in the log. */
interface LogRegion {
  readonly tid: number
  readonly clientid: number
  readonly flags: number
  readonly data: Uint8Array
}

/** The content of one record. */
interface Content {
  readonly operations: LogRegion[]
  bytes: number
}

/** The writer of a log. */
export class LogWriter {
  readonly #device: Device
  readonly #uuid: string
  /** Byte offset of the ring on the device. */
  readonly #start: number
  readonly blocks: number
  /** The log's stripe unit in basic blocks: record sizes are multiples of it. */
  readonly #unit: number
  /** Minimum bytes in a record of the maximum size, if another follows. */
  readonly #filled: number
  /** Basic blocks and records written since the last flush. */
  #pendingBlocks = 0
  #pendingRecords = 0
  #cycle: number
  #head: number
  /** Bytes from the head that are allocated on the host. */
  #allocated = 0
  #previous: number
  #tid = 0
  /** Stale blocks ahead of the head, cleared durably before the first record. */
  readonly #clearStale: () => void
  #cleared = false
  /** The start of the oldest transaction that recovery still needs, until `release`. */
  #needed: LogPosition | undefined
  /**
   * The tail of the last durable record, if it is before the last transaction written here. What
   * follows it is not overwritten: the next transaction may be interrupted.
   */
  #oldTail: LogPosition | undefined

  /**
   * @param state of the log: writing continues at its head
   * @param needed the start of the oldest transaction in it that recovery still needs: the tail
   *   until `release`
   */
  constructor(device: Device, geometry: Geometry, state: LogState, needed?: LogPosition) {
    const { sb } = geometry
    const { head } = state
    this.#device = device
    this.#uuid = sb.uuid
    this.#start = geometry.fsbToDaddr(sb.logstart) * BASIC_BLOCK
    this.blocks = (sb.logblocks * sb.blocksize) / BASIC_BLOCK
    this.#unit = Math.max(1, sb.logsunit / BASIC_BLOCK)
    const record = this.#recordSize(LARGEST_RECORD)
    // The unused rest of a record is smaller than the largest block.
    this.#filled = roomIn(record) - Math.max(geometry.blocksize, geometry.dirblocksize) - HEADERS
    this.#needed = needed
    this.#oldTail = state.clean ? undefined : state.tail
    // A log that was never written begins with cycle 1.
    this.#cycle = Math.max(1, head.cycle)
    this.#head = head.block
    this.#previous = state.last?.block ?? -1
    this.#clearStale = () => {
      let any = false
      for (const { block, bytes } of staleBlocks(openRing({ device, geometry, features: geometry.features }), state)) {
        device.write(bytes, this.#start + block * BASIC_BLOCK)
        any = true
      }
      if (any) device.flush()
    }
  }

  /**
   * The record size in the header: a multiple of the stripe unit, at most `most` bytes with the
   * header (0: no multiple fits).
   */
  #recordSize(most: number): number {
    return Math.floor(most / BASIC_BLOCK / this.#unit) * this.#unit * BASIC_BLOCK
  }

  /** Maximum weight in bytes of one transaction (see `Committer.capacity`). */
  get capacity(): number {
    const bytes = this.#free * BASIC_BLOCK
    const small = this.#recordSize(SMALL_RECORD)
    const one = small > 0 && small <= bytes ? roomIn(small) - HEADERS : 0
    const many = Math.floor(bytes / this.#recordSize(LARGEST_RECORD)) * this.#filled - HEADERS
    return Math.max(0, one, many)
  }

  /** Maximum basic blocks of a transaction. */
  get #free(): number {
    const most = Math.floor(this.blocks / 2)
    if (!this.#oldTail) return most
    const { cycle, block } = this.#oldTail
    const used = (this.#cycle - cycle) * this.blocks + this.#head - block
    // The unmount record follows.
    return Math.max(0, Math.min(most, this.blocks - used - LARGEST_RECORD / BASIC_BLOCK))
  }

  /** Recovery needs nothing of what was in the log when writing began. */
  release(): void {
    this.#needed = undefined
  }

  /**
   * Allocate space on the host for a transaction of blocks with the weight `weight`, and for the
   * unmount record: holes of the ring are filled. No bytes change.
   * @throws XfsError NOSPC, IO
   */
  allocate(weight: number): void {
    const small = this.#recordSize(SMALL_RECORD)
    const large = this.#recordSize(LARGEST_RECORD)
    const bytes = weight + HEADERS <= roomIn(small) ? small : Math.ceil((weight + HEADERS) / this.#filled) * large
    const whole = this.blocks * BASIC_BLOCK
    const needed = bytes + (small || large)
    if (needed <= this.#allocated) return
    // An upper bound, which is fast: this is called for every transaction that waits to be logged.
    const length = Math.min(whole, Math.ceil(needed / CHUNK) * CHUNK)
    for (let done = this.#allocated; done < length; ) {
      const at = (this.#head * BASIC_BLOCK + done) % whole
      const part = Math.min(length - done, whole - at)
      this.#fillHoles(this.#start + at, part)
      done += part
    }
    this.#allocated = length
  }

  #fillHoles(position: number, length: number): void {
    const chunk = new Uint8Array(Math.min(CHUNK, length))
    for (let done = 0; done < length; done += chunk.length) {
      const part = chunk.subarray(0, Math.min(chunk.length, length - done))
      this.#device.read(part, position + done)
      for (let at = 0; at < part.length; ) {
        let end = at
        while (end < part.length && isZero(part, end, Math.min(end + HOST_BLOCK, part.length))) end += HOST_BLOCK
        if (end > at) this.#device.write(part.subarray(at, end), position + done + at)
        at = end + HOST_BLOCK
      }
    }
  }

  /**
   * Write one complete transaction, from start to commit. It is durable when this returns. Earlier
   * transactions of this writer are no longer needed.
   * @throws Error if it exceeds the capacity; nothing was written
   */
  transaction(items: number, regions: Iterable<Uint8Array>): void {
    const tid = (0x786b0000 + (this.#tid++ & 0xffff)) >>> 0
    const clientid = LogClients.transaction
    const tail = this.#needed ?? { cycle: this.#cycle, block: this.#head }
    const header = new Uint8Array(TransHeader.size)
    TransHeader[ORDER].encode(viewOf(header), 0, {
      magic: TRANS_HEADER_MAGIC,
      type: TRANS_CHECKPOINT,
      tid,
      num_items: items,
    })
    const nothing = new Uint8Array(0)
    const operations: LogRegion[] = [
      { tid, clientid, flags: LogOpFlags.start, data: nothing },
      { tid, clientid, flags: 0, data: header },
    ]
    for (const data of regions) operations.push({ tid, clientid, flags: 0, data })
    operations.push({ tid, clientid, flags: LogOpFlags.commit, data: nothing })
    const bytes = operations.reduce((sum, { data }) => sum + LogOp.size + data.length, 0)
    const small = this.#recordSize(SMALL_RECORD)
    const size = bytes <= roomIn(small) ? small : this.#recordSize(LARGEST_RECORD)
    const records = [...packed(operations, roomIn(size))]
    const blocks = records.reduce((sum, record) => sum + this.#blocksOf(record.bytes, size), 0)
    assert(blocks <= this.#free, `a transaction of ${blocks} blocks, maximum ${this.#free}`)
    for (const record of records) this.#record(record, size, tail)
    this.flush()
    this.#oldTail = this.#needed
  }

  /** Write the unmount record, which marks the log as clean. */
  unmount(): void {
    const data = new Uint8Array(UnmountRecord.size)
    UnmountRecord[ORDER].encode(viewOf(data), 0, { magic: UNMOUNT_MAGIC })
    const operation = { tid: 0x786b0000, clientid: LogClients.log, flags: LogOpFlags.unmount, data }
    const size = this.#recordSize(SMALL_RECORD) || this.#recordSize(LARGEST_RECORD)
    const content = { operations: [operation], bytes: LogOp.size + data.length }
    this.#record(content, size, { cycle: this.#cycle, block: this.#head })
    this.flush()
  }

  /** Make everything written durable. */
  flush(): void {
    this.#device.flush()
    this.#pendingBlocks = 0
    this.#pendingRecords = 0
  }

  /** Basic blocks of a record with its header and padding. */
  #blocksOf(bytes: number, recordSize: number): number {
    const used = logHeaderBlocks(recordSize) + Math.ceil(bytes / BASIC_BLOCK)
    return Math.ceil(used / this.#unit) * this.#unit
  }

  #record({ operations, bytes }: Content, recordSize: number, tail: LogPosition): void {
    if (!this.#cleared) this.#clearStale()
    this.#cleared = true
    const headers = logHeaderBlocks(recordSize)
    const length = this.#blocksOf(bytes, recordSize) - headers
    const record = new Uint8Array((headers + length) * BASIC_BLOCK)
    const data = record.subarray(headers * BASIC_BLOCK)
    packOperations(operations, data)
    const view = viewOf(record)
    LogRecord.encode(view, 0, {
      magicno: LOG_RECORD_MAGIC,
      cycle: this.#cycle,
      version: 2,
      len: data.length,
      lsn: { cycle: this.#cycle, block: this.#head },
      tail_lsn: tail,
      prev_block: this.#previous < 0 ? 0xffffffff : this.#previous,
      num_logops: operations.length,
      fmt: LogFormats.little,
      fs_uuid: this.#uuid,
      size: recordSize,
    })
    this.#stampCycles(view, headers, length)
    LogRecord.fields.crc.set(view, 0, logCrc(record.subarray(0, headers * BASIC_BLOCK), data))
    const pending = this.#pendingBlocks + headers + length
    if (this.#pendingRecords === MAX_IN_FLIGHT || pending > Math.min(MAX_PENDING, this.blocks / 4)) this.flush()
    this.#put(record)
    this.#pendingBlocks += headers + length
    this.#pendingRecords++
    this.#previous = this.#head
    const next = this.#head + headers + length
    if (next >= this.blocks) this.#cycle = nextCycle(this.#cycle)
    this.#head = next % this.blocks
    this.#allocated = Math.max(0, this.#allocated - (headers + length) * BASIC_BLOCK)
  }

  /**
   * Replace the first word of each block by the cycle number; the header saves the word. Past the
   * end of the ring it is the next cycle.
   */
  #stampCycles(view: DataView, headers: number, length: number): void {
    for (let i = 1; i < headers; i++) LogRecordExt.fields.cycle.set(view, i * BASIC_BLOCK, this.#cycle)
    for (let i = 0; i < length; i++) {
      const at = (headers + i) * BASIC_BLOCK
      view.setUint32(keptWordAt(i), view.getUint32(at))
      view.setUint32(at, this.#cycle)
    }
    for (let i = Math.max(1, this.blocks - this.#head); i < headers + length; i++)
      view.setUint32(i * BASIC_BLOCK, nextCycle(this.#cycle))
  }

  #put(record: Uint8Array): void {
    const room = (this.blocks - this.#head) * BASIC_BLOCK
    this.#device.write(record.subarray(0, room), this.#start + this.#head * BASIC_BLOCK)
    if (record.length < room) return
    this.flush()
    if (record.length > room) this.#device.write(record.subarray(room), this.#start)
  }
}

/** A cycle is never the record magic, which identifies headers. */
const nextCycle = (cycle: number): number => (cycle + 1 === LOG_RECORD_MAGIC ? cycle + 2 : cycle + 1)

/** Bytes of operations in a record. */
const roomIn = (recordSize: number): number => recordSize - logHeaderBlocks(recordSize) * BASIC_BLOCK

/** Operations by record. */
function* packed(operations: readonly LogRegion[], room: number): Generator<Content> {
  let content: Content = { operations: [], bytes: 0 }
  for (const operation of operations) {
    const size = LogOp.size + operation.data.length
    if (content.bytes + size > room) {
      yield content
      content = { operations: [], bytes: 0 }
    }
    content.operations.push(operation)
    content.bytes += size
  }
  yield content
}

function packOperations(operations: readonly LogRegion[], into: Uint8Array): void {
  const view = viewOf(into)
  let at = 0
  for (const { tid, clientid, flags, data } of operations) {
    LogOp.encode(view, at, { tid, len: data.length, clientid, flags, res2: 0 })
    into.set(data, at + LogOp.size)
    at += LogOp.size + data.length
  }
}
