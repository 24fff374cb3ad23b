import type { Device } from '../device/device.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import type { ByteOrder } from '../format/hostorder.ts'
import {
  LOG_CYCLE_SIZE, LOG_CYCLE_WORDS, LOG_RECORD_MAGIC, LogClients, LogFormats, LogOp, LogOpFlags, LogRecord, LogRecordExt, logCrc, logHeaderBlocks,
  TRANS_CHECKPOINT, TRANS_HEADER_MAGIC, TransHeader, UNMOUNT_MAGIC, UnmountRecord,
} from '../format/log.ts' // biome-ignore format: short
import { type LogPosition, type LogState, openRing } from './ring.ts'
import { staleBlocks } from './stale.ts'

/**
 * Writing the log: operations are packed into records, records follow one another around the ring.
 *
 *   │ header │ op op op op … padding │ header │ op op … │ …
 *      ▲ says where the oldest needed record is (tail), how long this one is, its checksum,
 *        and keeps the first word of each block that follows; in their place stands the cycle
 *
 * An operation never spans two records here (the format would allow it): the rest of a record is padding. A record may run around the
 * end of the ring; its blocks from there on carry the next cycle.
 *
 * Source: fs/xfs/xfs_log.c (xlog_sync, xlog_pack_data, xlog_cksum).
 */

const ORDER: ByteOrder = 'little'
/** Records of so many bytes, where every region fits; else of the largest there can be. */
const USUAL_RECORD = 32768
const LARGEST_RECORD = 2 ** 18

/** One region of a transaction in the log. */
interface Operation {
  readonly tid: number
  readonly clientid: number
  readonly flags: number
  readonly data: Uint8Array
}

/** The write end of a log. */
export class LogWriter {
  readonly #device: Device
  readonly #uuid: string
  /** Byte of the device where the ring begins. */
  readonly #start: number
  readonly blocks: number
  /** Records are multiples of so many basic blocks: the log's stripe unit. */
  readonly #unit: number
  readonly #recordSize: number
  /** Bytes of operations that a record holds. */
  readonly #room: number
  #cycle: number
  #head: number
  #previous: number
  #tid = 0
  /** Stale blocks ahead of the head: cleared, and durably, before the first record. */
  readonly #clearStale: () => void
  #cleared = false

  /** @param state of the log as it is: writing goes on at its head */
  constructor(device: Device, geometry: Geometry, state: LogState) {
    const { sb } = geometry
    const { head } = state
    this.#device = device
    this.#uuid = sb.uuid
    this.#start = geometry.fsbToDaddr(sb.logstart) * BASIC_BLOCK
    this.blocks = (sb.logblocks * sb.blocksize) / BASIC_BLOCK
    this.#unit = Math.max(1, sb.logsunit / BASIC_BLOCK)
    const large = this.#unit > 1 || Math.max(geometry.blocksize, geometry.dirblocksize) > USUAL_RECORD / 2
    const most = large ? LARGEST_RECORD / BASIC_BLOCK : USUAL_RECORD / BASIC_BLOCK
    this.#recordSize = Math.floor(most / this.#unit) * this.#unit * BASIC_BLOCK
    this.#room = this.#unit > 1 ? this.#recordSize - logHeaderBlocks(this.#recordSize) * BASIC_BLOCK : this.#recordSize
    // A log that was never written to begins with cycle 1.
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

  /** The most bytes that one transaction may put into the log: a quarter of it, as it must never run into its own tail. */
  get capacity(): number {
    return (this.blocks / 4) * BASIC_BLOCK
  }

  /** One whole transaction: its regions, from start to commit. Nothing older is needed from then on. */
  transaction(items: number, regions: Iterable<Uint8Array>): void {
    const tid = (0x786b0000 + (this.#tid++ & 0xffff)) >>> 0
    const clientid = LogClients.transaction
    const tail = { cycle: this.#cycle, block: this.#head }
    const header = new Uint8Array(TransHeader.size)
    TransHeader[ORDER].encode(viewOf(header), 0, {
      magic: TRANS_HEADER_MAGIC,
      type: TRANS_CHECKPOINT,
      tid,
      num_items: items,
    })
    const nothing = new Uint8Array(0)
    const operations = function* (): Generator<Operation> {
      yield { tid, clientid, flags: LogOpFlags.start, data: nothing }
      yield { tid, clientid, flags: 0, data: header }
      for (const data of regions) yield { tid, clientid, flags: 0, data }
      yield { tid, clientid, flags: LogOpFlags.commit, data: nothing }
    }
    let pending: Operation[] = []
    let bytes = 0
    for (const operation of operations()) {
      const size = LogOp.size + operation.data.length
      if (bytes + size > this.#room) {
        this.#record(pending, bytes, tail)
        pending = []
        bytes = 0
      }
      pending.push(operation)
      bytes += size
    }
    this.#record(pending, bytes, tail)
  }

  /** The record that says: nothing is to be replayed. */
  unmount(): void {
    const data = new Uint8Array(UnmountRecord.size)
    UnmountRecord[ORDER].encode(viewOf(data), 0, { magic: UNMOUNT_MAGIC })
    const operation = { tid: 0x786b0000, clientid: LogClients.log, flags: LogOpFlags.unmount, data }
    this.#record([operation], LogOp.size + data.length, { cycle: this.#cycle, block: this.#head })
  }

  #record(operations: readonly Operation[], bytes: number, tail: LogPosition): void {
    if (!this.#cleared) this.#clearStale()
    this.#cleared = true
    const headers = logHeaderBlocks(this.#recordSize)
    const length = Math.ceil((headers + Math.ceil(bytes / BASIC_BLOCK)) / this.#unit) * this.#unit - headers
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
      size: this.#recordSize,
    })
    this.#stampCycles(view, headers, length)
    LogRecord.fields.crc.set(view, 0, logCrc(record.subarray(0, headers * BASIC_BLOCK), data))
    this.#put(record)
    this.#previous = this.#head
    const next = this.#head + headers + length
    if (next >= this.blocks) this.#cycle = nextCycle(this.#cycle)
    this.#head = next % this.blocks
  }

  /** The first word of each block becomes the cycle; the header keeps what stood there. Behind the end of the ring it is the next cycle. */
  #stampCycles(view: DataView, headers: number, length: number): void {
    for (let i = 1; i < headers; i++) LogRecordExt.fields.cycle.set(view, i * BASIC_BLOCK, this.#cycle)
    for (let i = 0; i < length; i++) {
      const at = (headers + i) * BASIC_BLOCK
      const holder = Math.floor((i * BASIC_BLOCK) / LOG_CYCLE_SIZE)
      const table =
        holder === 0 ? LogRecord.fields.cycle_data.offset : holder * BASIC_BLOCK + LogRecordExt.fields.cycle_data.offset
      view.setUint32(table + (i % LOG_CYCLE_WORDS) * 4, view.getUint32(at))
      view.setUint32(at, this.#cycle)
    }
    for (let i = Math.max(1, this.blocks - this.#head); i < headers + length; i++)
      view.setUint32(i * BASIC_BLOCK, nextCycle(this.#cycle))
  }

  #put(record: Uint8Array): void {
    const room = (this.blocks - this.#head) * BASIC_BLOCK
    this.#device.write(record.subarray(0, room), this.#start + this.#head * BASIC_BLOCK)
    if (record.length > room) this.#device.write(record.subarray(room), this.#start)
  }
}

/** A cycle is never the record magic: that is how a header is told from other blocks. */
const nextCycle = (cycle: number): number => (cycle + 1 === LOG_RECORD_MAGIC ? cycle + 2 : cycle + 1)

function packOperations(operations: readonly Operation[], into: Uint8Array): void {
  const view = viewOf(into)
  let at = 0
  for (const { tid, clientid, flags, data } of operations) {
    LogOp.encode(view, at, { tid, len: data.length, clientid, flags, res2: 0 })
    into.set(data, at + LogOp.size)
    at += LogOp.size + data.length
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
