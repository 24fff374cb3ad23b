import { XfsError } from '../errors.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import type { ByteOrder } from '../format/hostorder.ts'
import {
  byteOrderOf,
  LOG_CRC_SIZES,
  LOG_CYCLE_SIZE,
  LOG_RECORD_MAGIC,
  LogClients,
  LogOp,
  LogRecord,
  logCrc,
  logHeaderBlocks,
} from '../format/log.ts'
import { viewOf } from '../util/view.ts'
import { checkHeader, keptWordAt, type LogPosition, type LogRing, type LogState } from './ring.ts'

/**
 * Reading the records of a log: from the tail to the head, each checked and taken apart into its
 * operations.
 *
 *   tail ─▶ record ─▶ record ─▶ … ─▶ head
 *
 * Source: fs/xfs/xfs_log_recover.c (xlog_do_recovery_pass, xlog_unpack_data).
 */

/** An operation as a record has it: a region may continue in further operations. */
export interface LoggedOperation {
  /** The byte order of its data. */
  readonly order: ByteOrder
  /** The LSN of its record. */
  readonly lsn: LogPosition
  readonly tid: number
  readonly flags: number
  /** Part of the bytes of the record, which are not used again. */
  readonly data: Uint8Array
}

export const logError = (message: string): XfsError => new XfsError('CORRUPT', `the log: ${message}`, { type: 'log' })

const clients: ReadonlySet<number> = new Set(Object.values(LogClients))

/** @throws XfsError CORRUPT (a record is damaged), IO */
export function* readOperations(
  ring: LogRing,
  { tail, head }: Pick<LogState, 'tail' | 'head'>,
): Generator<LoggedOperation> {
  const { tid, len, flags, clientid } = LogOp.fields
  for (let block = tail.block, seen = 0; block !== head.block; ) {
    const { record, data, blocks } = readRecord(ring, block)
    const order = byteOrderOf(record.fmt)
    if (!order) throw logError(`the record at block ${block} has byte order ${record.fmt}`)
    const view = viewOf(data)
    let at = 0
    for (let i = 0; i < record.num_logops; i++) {
      const start = at + LogOp.size
      const end = start > data.length ? start : start + len.get(view, at)
      if (end > data.length) throw logError(`the record at block ${block} is too short for its operations`)
      const operation = { tid: tid.get(view, at), flags: flags.get(view, at) }
      if (!clients.has(clientid.get(view, at)))
        throw logError(`the record at block ${block} has an operation of an unknown client`)
      yield { order, lsn: record.lsn, ...operation, data: data.subarray(start, end) }
      at = end
    }
    block = (block + blocks) % ring.blocks
    seen += blocks
    if (seen > ring.blocks) throw logError('its records do not end at the head')
  }
}

/** The data of a record with the first words of its blocks restored. */
function readRecord(ring: LogRing, block: number): { record: LogRecord; data: Uint8Array; blocks: number } {
  const record = LogRecord.decode(viewOf(ring.read(block, 1)))
  const fault =
    record.magicno === LOG_RECORD_MAGIC ? checkHeader(ring, block, record) : `no record begins at block ${block}`
  if (fault !== undefined) throw logError(fault)
  const headers = logHeaderBlocks(record.size, record.version)
  const length = Math.ceil(record.len / BASIC_BLOCK)
  if (record.len > headers * LOG_CYCLE_SIZE) throw logError(`the record at block ${block} has ${record.len} bytes`)
  const whole = ring.read(block, headers + length)
  const data = whole.subarray(headers * BASIC_BLOCK, headers * BASIC_BLOCK + record.len)
  const head = whole.subarray(0, headers * BASIC_BLOCK)
  if (!LOG_CRC_SIZES.some((size) => logCrc(head, data, size) === record.crc))
    throw logError(`the record at block ${block} has a bad CRC`)
  const view = viewOf(whole)
  for (let i = 0; i < length; i++) view.setUint32((headers + i) * BASIC_BLOCK, view.getUint32(keptWordAt(i)))
  return { record, data, blocks: headers + length }
}
