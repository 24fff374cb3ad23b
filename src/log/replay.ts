import type { Device } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import type { ByteOrder } from '../format/hostorder.ts'
import {
  byteOrderOf,
  LOG_CRC_SIZES,
  LOG_CYCLE_SIZE,
  LOG_RECORD_MAGIC,
  LogOp,
  LogOpFlags,
  LogRecord,
  logCrc,
  logHeaderBlocks,
} from '../format/log.ts'
import { BLF_CHUNK, BlfFlags, BufLogFormat, LogItemTypes } from '../format/logitems.ts'
import { viewOf } from '../util/view.ts'
import { LogWriter } from './records.ts'
import { keptWordAt, type LogHolder, type LogRing, type LogState, logState, openRing } from './ring.ts'

/**
 * Replay: write the changes in the log to their places.
 *
 *   tail ─▶ record ─▶ record ─▶ … ─▶ head
 *
 * Operations are collected by transaction. At the commit of a transaction its blocks are written.
 *
 * Only logs of xfskit are replayed: transactions of complete blocks. Transactions of the kernel
 * also contain inodes, intents and quota, which only the kernel replays: such a log is refused
 * before anything is written. A transaction without commit is ignored.
 *
 * Source: fs/xfs/xfs_log_recover.c.
 */
export interface Replayed {
  readonly transactions: number
  readonly blocks: number
}

interface LoggedRange {
  readonly position: number
  readonly bytes: Uint8Array
}

/**
 * Replay the log of the filesystem on `device`, and leave it clean.
 * @throws XfsError UNSUPPORTED (only the kernel can replay it), CORRUPT (it cannot be read)
 */
export function recoverLog(device: Device, geometry: Geometry): Replayed {
  const holder = { device, geometry, features: geometry.features }
  const state = logState(holder)
  if (state.clean) return { transactions: 0, blocks: 0 }
  if (state.fault !== undefined) throw logError(`it cannot be read: ${state.fault}`)
  const transactions = [...committedChanges(holder, state)]
  for (const changes of transactions) for (const { position, bytes } of changes) device.write(bytes, position)
  device.flush()
  new LogWriter(device, geometry, state).unmount()
  device.flush()
  return { transactions: transactions.length, blocks: transactions.reduce((sum, changes) => sum + changes.length, 0) }
}

/** Parse a dirty log without writing. @throws as `recoverLog` */
export function requireReplayable(holder: LogHolder, state: LogState): void {
  for (const _ of committedChanges(holder, state));
}

/** The writes of each committed transaction. */
function* committedChanges(holder: LogHolder, state: LogState): Generator<LoggedRange[]> {
  const { device, geometry } = holder
  for (const regions of readTransactions(openRing(holder), state)) yield changesOf(regions, geometry, device.size)
}

const logError = (message: string): XfsError => new XfsError('CORRUPT', `the log: ${message}`, { type: 'log' })
const kernelOnly = (what: string): XfsError =>
  new XfsError('UNSUPPORTED', `the log contains ${what}, which only the kernel replays`, {
    type: 'log',
  })

interface Region {
  readonly order: ByteOrder
  readonly data: Uint8Array
}

/** The regions of each committed transaction, in the order of the commits. */
function* readTransactions(ring: LogRing, { tail, head }: LogState): Generator<Region[]> {
  const open = new Map<number, Region[]>()
  for (const { order, operation, data } of readOperations(ring, tail.block, head.block)) {
    const { tid, flags } = operation
    if ((flags & (LogOpFlags.continues | LogOpFlags.wasContinued | LogOpFlags.ends)) !== 0)
      throw kernelOnly('an operation in several records')
    if ((flags & LogOpFlags.unmount) !== 0) continue
    if ((flags & LogOpFlags.start) !== 0) {
      open.set(tid, [])
      continue
    }
    const regions = open.get(tid)
    if (!regions) throw logError(`operation of transaction 0x${tid.toString(16)} without a start`)
    if ((flags & LogOpFlags.commit) === 0) {
      regions.push({ order, data })
      continue
    }
    open.delete(tid)
    yield regions
  }
}

interface LoggedOperation {
  readonly order: ByteOrder
  readonly operation: ReturnType<typeof LogOp.decode>
  readonly data: Uint8Array
}

function* readOperations(ring: LogRing, tail: number, head: number): Generator<LoggedOperation> {
  for (let block = tail, seen = 0; block !== head; ) {
    const { record, data, blocks } = readRecord(ring, block)
    const order = byteOrderOf(record.fmt)
    if (!order) throw logError(`the record at block ${block} has byte order ${record.fmt}`)
    const view = viewOf(data)
    let at = 0
    for (let i = 0; i < record.num_logops; i++) {
      if (at + LogOp.size > data.length) throw logError(`the record at block ${block} is too short for its operations`)
      const operation = LogOp.decode(view, at)
      at += LogOp.size
      if (at + operation.len > data.length) throw kernelOnly('an operation in several records')
      yield { order, operation, data: data.subarray(at, at + operation.len) }
      at += operation.len
    }
    block = (block + blocks) % ring.blocks
    seen += blocks
    if (seen > ring.blocks) throw logError('its records do not end at the head')
  }
}

/** The data of a record with the first words of its blocks restored. */
function readRecord(ring: LogRing, block: number): { record: LogRecord; data: Uint8Array; blocks: number } {
  const record = LogRecord.decode(viewOf(ring.read(block, 1)))
  if (record.magicno !== LOG_RECORD_MAGIC || record.lsn.block !== block)
    throw logError(`no record begins at block ${block}`)
  const headers = logHeaderBlocks(record.size, record.version)
  const length = Math.ceil(record.len / BASIC_BLOCK)
  if (record.len === 0 || headers + length > ring.blocks || record.len > headers * LOG_CYCLE_SIZE) {
    throw logError(`the record at block ${block} has ${record.len} bytes`)
  }
  const whole = ring.read(block, headers + length)
  const data = whole.subarray(headers * BASIC_BLOCK, headers * BASIC_BLOCK + record.len)
  const head = whole.subarray(0, headers * BASIC_BLOCK)
  if (!LOG_CRC_SIZES.some((size) => logCrc(head, data, size) === record.crc))
    throw logError(`the record at block ${block} has a bad CRC`)
  const view = viewOf(whole)
  for (let i = 0; i < length; i++) view.setUint32((headers + i) * BASIC_BLOCK, view.getUint32(keptWordAt(i)))
  return { record, data, blocks: headers + length }
}

/**
 * The writes of a transaction. Its regions are the transaction header, then for each buffer a
 * format and its regions.
 */
function changesOf(regions: readonly Region[], geometry: Geometry, deviceSize: number): LoggedRange[] {
  const changes: LoggedRange[] = []
  for (let i = 1; i < regions.length; ) {
    const { order, data } = regions[i] as Region
    const format = decodeFormat(data, order)
    const position = format.blkno * BASIC_BLOCK
    const end = position + format.len * BASIC_BLOCK
    if (position < 0 || end > Math.min(deviceSize, geometry.sb.dblocks * geometry.blocksize))
      throw logError(`block ${format.blkno} is out of range for the image`)
    i++
    let logged = 0
    for (const { chunk, count } of runsOf(format.data_map.slice(0, format.map_size))) {
      const bytes = (regions[i++] as Region | undefined)?.data
      const at = position + chunk * BLF_CHUNK
      if (!bytes || bytes.length !== count * BLF_CHUNK || at + bytes.length > end)
        throw logError(`the block at ${format.blkno} is logged with the wrong number of bytes`)
      changes.push({ position: at, bytes })
      logged += bytes.length
    }
    // A partially logged block has no valid CRC.
    if (logged !== end - position) throw kernelOnly('changes of parts of blocks')
  }
  return changes
}

function decodeFormat(data: Uint8Array, order: ByteOrder): ReturnType<typeof BufLogFormat.little.decode> {
  const whole = new Uint8Array(BufLogFormat.size)
  whole.set(data.subarray(0, whole.length))
  const format = BufLogFormat[order].decode(viewOf(whole))
  if (format.type !== LogItemTypes.buf) throw kernelOnly(`an item of type 0x${format.type.toString(16)}`)
  if ((format.flags & (BlfFlags.cancel | BlfFlags.inode)) !== 0)
    throw kernelOnly('changes of inodes or of freed blocks')
  if (format.map_size > format.data_map.length)
    throw logError(`the block at ${format.blkno} has a map of ${format.map_size} words`)
  return format
}

/** Sequences of set bits; a bit stands for 128 bytes. */
function* runsOf(map: readonly number[]): Generator<{ chunk: number; count: number }> {
  const bits = map.length * 32
  const isSet = (bit: number): boolean => ((map[bit >>> 5] as number) & (2 ** (bit & 31))) !== 0
  for (let bit = 0; bit < bits; ) {
    if (!isSet(bit)) {
      bit++
      continue
    }
    let end = bit
    while (end < bits && isSet(end)) end++
    yield { chunk: bit, count: end - bit }
    bit = end
  }
}
