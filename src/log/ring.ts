import type { Device } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import {
  blockCycle,
  LOG_CRC_SIZES,
  LOG_CYCLE_WORDS,
  LOG_RECORD_MAGIC,
  LogOp,
  LogOpFlags,
  LogRecord,
  LogRecordExt,
  logCrc,
  logHeaderBlocks,
} from '../format/log.ts'
import { viewOf } from '../util/view.ts'
import type { Volume } from '../volume.ts'

/**
 * The log as a ring of basic blocks, its head and its tail.
 *
 *        cycle 8              cycle 7
 *   |████████████████████|░░░░░░░░░░░░░░░░░░|
 *                 ▲       ▲
 *                 tail    head: position of the next record
 *
 * The first word of a block is the cycle in which it was written, so the cycle decreases by one at
 * the head. A binary search finds the approximate head. Writes may have arrived out of order, so
 * the blocks before it that can be in flight at once are checked one by one, and incomplete records
 * are ignored. The last complete record has the position of the tail. The log is clean if that
 * record is an unmount record.
 *
 * The content of the log is not trusted: garbage gives a `fault`, never an endless loop or another
 * error.
 *
 * Source: xfs_log_recover.c, xlog_find_head and xlog_find_tail.
 */
export interface LogState {
  /** There is nothing to replay. */
  readonly clean: boolean
  /** The log was never written, or was zeroed. */
  readonly zeroed?: boolean
  /** The reason if head and tail could not be found. */
  readonly fault?: string
  readonly head: LogPosition
  readonly tail: LogPosition
  /** The basic block and header of the last complete record; undefined in a log of zeros. */
  readonly last?: { readonly block: number; readonly record: LogRecord }
}

/** A position in the log, as in an LSN; blocks are relative to the start of the log. */
export interface LogPosition {
  readonly cycle: number
  readonly block: number
}

/** The parts of a volume that are used here. */
export type LogHolder = Pick<Volume, 'device' | 'geometry' | 'features'>

/** The basic blocks of the log. */
export interface LogRing {
  readonly uuid: string
  readonly version: number
  readonly blocks: number
  /** `count` blocks from `block`, wrapping at the end. */
  read(block: number, count: number): Uint8Array
}

/** Records that can be in flight at once. */
export const MAX_IN_FLIGHT = 8
/** In bytes. */
export const LARGEST_RECORD = 2 ** 18
/** Basic blocks of the largest record, and of all that can be in flight at once. */
const MAX_RECORD = LARGEST_RECORD / BASIC_BLOCK
export const MAX_PENDING = MAX_IN_FLIGHT * MAX_RECORD
const CHUNK = 2048

/**
 * The state of the log of `volume`. Throws only if the device fails, not for the content of the
 * log.
 */
export function logState(volume: LogHolder): LogState {
  const { sb } = volume.geometry
  if (sb.logstart === 0) return broken('it is on another device')
  return ringState(openRing(volume))
}

/** The internal log of `volume`. @throws XfsError UNSUPPORTED if it is on another device */
export function openRing(volume: LogHolder): LogRing {
  const { device, geometry, features } = volume
  const { sb } = geometry
  if (sb.logstart === 0) throw new XfsError('UNSUPPORTED', 'the log is on another device', { type: 'log' })
  const start = geometry.fsbToDaddr(sb.logstart as Parameters<typeof geometry.fsbToDaddr>[0])
  const blocks = (sb.logblocks * sb.blocksize) / BASIC_BLOCK
  return ringOn(device, { start, blocks, uuid: sb.uuid, version: features.has('logv2') ? 2 : 1 })
}

/** Where a log is: its basic blocks on a device. */
export interface LogPlace extends Pick<LogRing, 'uuid' | 'version' | 'blocks'> {
  readonly start: number
}

export const ringOn = (device: Device, { start, blocks, uuid, version }: LogPlace): LogRing => ({
  uuid,
  version,
  blocks,
  read(block, count) {
    const bytes = new Uint8Array(count * BASIC_BLOCK)
    const first = Math.min(count, blocks - block)
    device.read(bytes.subarray(0, first * BASIC_BLOCK), (start + block) * BASIC_BLOCK)
    if (first < count) device.read(bytes.subarray(first * BASIC_BLOCK), start * BASIC_BLOCK)
    return bytes
  },
})

const nowhere: LogPosition = { cycle: 0, block: 0 }
const broken = (fault: string): LogState => ({ clean: false, fault, head: nowhere, tail: nowhere })

/**
 * In a record, the offset of the saved first word of block `i` of its data: in the header, then in
 * the extended headers.
 */
export function keptWordAt(i: number): number {
  const holder = Math.floor(i / LOG_CYCLE_WORDS)
  const table =
    holder === 0 ? LogRecord.fields.cycle_data.offset : holder * BASIC_BLOCK + LogRecordExt.fields.cycle_data.offset
  return table + (i % LOG_CYCLE_WORDS) * 4
}

/** The state of a ring. */
export function ringState(ring: LogRing): LogState {
  const found = findHead(ring)
  if ('fault' in found) return broken(found.fault)
  if ('zeroed' in found) return { clean: true, zeroed: true, head: nowhere, tail: nowhere }
  const state = stateAt(ring, found.head)
  if (state.clean || state.fault !== undefined) return state
  const torn = firstTornRecord(ring, state)
  return torn === undefined ? state : stateAt(ring, torn)
}

/** The state according to the last record before `head`. */
function stateAt(ring: LogRing, headBlock: number): LogState {
  const last = headerBefore(ring, headBlock)
  if (last === undefined) return broken('no record header was found')
  const record = LogRecord.decode(viewOf(ring.read(last, 1)))
  const fault = checkHeader(ring, last, record)
  if (fault !== undefined) return broken(fault)
  const cycle = record.cycle + (last >= headBlock ? 1 : 0)
  const head = { cycle, block: headBlock }
  if (isUnmountRecord(ring, last, record, headBlock))
    return { clean: true, head, tail: head, last: { block: last, record } }
  const { tail_lsn: tail } = record
  if (tail.block >= ring.blocks || tail.cycle > cycle) return broken(`tail ${tail.cycle}:${tail.block} is out of range`)
  return { clean: false, head, tail, last: { block: last, record } }
}

/**
 * The first record with a bad CRC among those that can have been in flight at once. Its write did
 * not complete, so neither it nor later records were committed.
 *
 * @source xfs_log_recover.c: xlog_verify_head
 */
function firstTornRecord(ring: LogRing, { head, tail }: LogState): number | undefined {
  let torn: number | undefined
  for (let n = 0, at = head.block; n < MAX_IN_FLIGHT && (n === 0 || at !== tail.block); n++) {
    const block = headerBefore(ring, at)
    if (block === undefined) break
    const record = LogRecord.decode(viewOf(ring.read(block, 1)))
    if (checkHeader(ring, block, record) !== undefined) break
    if (!checksumFits(ring, block, record)) torn = block
    at = block
  }
  return torn
}

/** True if the CRC of a record with a valid header is correct. A writer may leave it zero. */
function checksumFits(ring: LogRing, block: number, record: LogRecord): boolean {
  if (record.crc === 0) return true
  const headers = logHeaderBlocks(record.size, record.version) * BASIC_BLOCK
  const bytes = ring.read(block, headers / BASIC_BLOCK + Math.ceil(record.len / BASIC_BLOCK))
  const data = bytes.subarray(headers, headers + record.len)
  return LOG_CRC_SIZES.some((size) => logCrc(bytes.subarray(0, headers), data, size) === record.crc)
}

export type Head = { readonly head: number } | { readonly fault: string }

/**
 * The block of the next record, without looking at checksums; `zeroed` for a log that was never
 * written.
 */
export function findHead(ring: LogRing): Head | { readonly zeroed: true } {
  const { blocks } = ring
  if (!(blocks > 0)) return { fault: '0 blocks' }
  const first = cycleAt(ring, 0)
  if (first === 0) return { zeroed: true }
  const last = cycleAt(ring, blocks - 1)
  if (last === 0) {
    if (first !== 1) return { fault: `it ends with zeros, but begins with cycle ${first}` }
    const rough = firstBlockOf(ring, 0)
    const head = find(ring, Math.max(0, rough - MAX_PENDING), rough, 0) ?? rough
    return completeRecord(ring, head)
  }
  const rough = first === last ? blocks : firstBlockOf(ring, last)
  const stop = first === last ? last - 1 : last
  return completeRecord(ring, refine(ring, rough, stop))
}

/**
 * Search the blocks before `rough` for one that is not of the newest cycle: such a hole is the
 * head. The search wraps to the end of the ring, which is of the previous cycle.
 */
function refine(ring: LogRing, rough: number, stop: number): number {
  const { blocks } = ring
  const span = Math.min(MAX_PENDING, blocks)
  if (rough >= span) return find(ring, rough - span, rough, stop) ?? rough
  const wrapped = find(ring, blocks - (span - rough), blocks, stop - 1)
  return wrapped ?? find(ring, 0, rough, stop) ?? rough
}

/** `head`, or the start of the previous record if that does not end at `head`. */
function completeRecord(ring: LogRing, head: number): Head {
  const { blocks } = ring
  const before = headerBefore(ring, head % blocks, MAX_RECORD + MAX_RECORD / 64)
  if (before === undefined) return { fault: `no record header before block ${head % blocks}` }
  const record = LogRecord.decode(viewOf(ring.read(before, 1)))
  const length = logHeaderBlocks(record.size, ring.version) + Math.ceil(record.len / BASIC_BLOCK)
  const ends = (before + length) % blocks === head % blocks
  return { head: ends ? head % blocks : before }
}

/** The nearest block before `head` (wrapping) that begins with the record magic. */
export function headerBefore(ring: LogRing, head: number, limit = ring.blocks): number | undefined {
  for (let looked = 0; looked < Math.min(limit, ring.blocks); ) {
    const count = Math.min(CHUNK, limit - looked, ring.blocks - looked)
    const start = (head - looked - count + 2 * ring.blocks) % ring.blocks
    const view = viewOf(ring.read(start, count))
    for (let i = count - 1; i >= 0; i--) {
      if (view.getUint32(i * BASIC_BLOCK) === LOG_RECORD_MAGIC) return (start + i) % ring.blocks
    }
    looked += count
  }
  return undefined
}

/**
 * A binary search for the approximate first block of a cycle that extends to the end of the ring.
 */
export function firstBlockOf(ring: LogRing, cycle: number): number {
  let low = 0
  let high = ring.blocks - 1
  while (high - low > 1) {
    const middle = (low + high) >>> 1
    if (cycleAt(ring, middle) === cycle) high = middle
    else low = middle
  }
  return high
}

/** The first block of [from, to) with this cycle. */
function find(ring: LogRing, from: number, to: number, cycle: number): number | undefined {
  for (let at = from; at < to; at += CHUNK) {
    const count = Math.min(CHUNK, to - at)
    const view = viewOf(ring.read(at, count))
    for (let i = 0; i < count; i++) if (blockCycle(view, i * BASIC_BLOCK) === cycle) return at + i
  }
  return undefined
}

/** The cycle number of a block. */
export const cycleAt = (ring: LogRing, block: number): number => blockCycle(viewOf(ring.read(block, 1)), 0)
const NO_UUID = '00000000-0000-0000-0000-000000000000'

export function checkHeader(ring: LogRing, block: number, record: LogRecord): string | undefined {
  const place = `the record at block ${block}`
  if (record.fs_uuid !== ring.uuid && record.fs_uuid !== NO_UUID)
    return `${place} belongs to another filesystem, ${record.fs_uuid}`
  if (record.lsn.block !== block) return `${place} has the LSN of block ${record.lsn.block}`
  if ((record.version & ~2) > 1) return `${place} has version ${record.version}`
  const length = logHeaderBlocks(record.size, record.version) + Math.ceil(record.len / BASIC_BLOCK)
  if (record.len === 0 || length > Math.min(ring.blocks, MAX_RECORD * 2))
    return `${place} has a length of ${record.len} bytes`
  return undefined
}

/**
 * True if the record at `block`, the last one, is an unmount record. Everything was in place before
 * it was written, so its CRC is not relevant.
 *
 * @source xfs_log_recover.c: xlog_check_unmount_rec
 */
export function isUnmountRecord(ring: LogRing, block: number, record: LogRecord, head: number): boolean {
  if (record.num_logops !== 1) return false
  const headers = logHeaderBlocks(record.size, record.version)
  if ((block + headers + Math.ceil(record.len / BASIC_BLOCK)) % ring.blocks !== head) return false
  const view = viewOf(ring.read((block + headers) % ring.blocks, 1))
  return (LogOp.fields.flags.get(view, 0) & LogOpFlags.unmount) !== 0
}
