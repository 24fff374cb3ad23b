import { BASIC_BLOCK } from '../format/geometry.ts'
import type { ByteOrder } from '../format/hostorder.ts'
import {
  byteOrderOf,
  LOG_CYCLE_SIZE,
  LOG_CYCLE_WORDS,
  LOG_RECORD_MAGIC,
  LogOp,
  LogRecord,
  logHeaderBlocks,
} from '../format/log.ts'
import { keptWordAt, type LogRing } from '../log/ring.ts'
import { viewOf } from '../util/view.ts'

/** Records as they lie in the ring. They may be damaged or stale, so nothing is verified but lengths. */
export interface RawRecord {
  /** Basic block of its header. */
  readonly block: number
  readonly header: LogRecord
  /** Blocks of headers, as the buffer size in the header says. */
  readonly headerBlocks: number
  /** Basic blocks of data. */
  readonly dataBlocks: number
  readonly order: ByteOrder
}

/** The header at `block`; undefined if no record begins there. */
export function recordAt(ring: LogRing, block: number): RawRecord | undefined {
  const header = LogRecord.decode(viewOf(ring.read(block, 1)))
  if (header.magicno !== LOG_RECORD_MAGIC) return undefined
  return {
    block,
    header,
    headerBlocks: logHeaderBlocks(header.size, header.version),
    dataBlocks: Math.ceil(header.len / BASIC_BLOCK),
    order: byteOrderOf(header.fmt) ?? 'little',
  }
}

/** The header blocks that the data of a record needs for its first words. */
export const headersNeeded = ({ header }: RawRecord): number => Math.ceil(header.len / LOG_CYCLE_SIZE)

/** Bytes that may be read after the end of the data; they are zero. */
const MARGIN = 1024

/** The data of a record in memory, with the first words of its blocks restored. */
export interface RecordData {
  /** Without the margin of zeros that `view` has. */
  readonly length: number
  readonly bytes: Uint8Array
  readonly view: DataView
}

/**
 * The data of a record; undefined if it is larger than the ring. With `verify` also if a block of it
 * does not have the cycle of the record: it was overwritten, or never written. Blocks after the end
 * of the ring have the next cycle.
 */
export function dataOf(ring: LogRing, record: RawRecord, verify: boolean): RecordData | undefined {
  const { block, header, headerBlocks, dataBlocks } = record
  if (headerBlocks + dataBlocks > ring.blocks) return undefined
  const heads = viewOf(ring.read(block, headerBlocks))
  const bytes = new Uint8Array(dataBlocks * BASIC_BLOCK + MARGIN)
  const first = (block + headerBlocks) % ring.blocks
  bytes.set(ring.read(first, dataBlocks))
  const view = viewOf(bytes)
  for (let i = 0; i < dataBlocks; i++) {
    const at = i * BASIC_BLOCK
    const wrapped = block + headerBlocks + i >= ring.blocks
    const cycle = view.getUint32(at)
    const fits = cycle === header.cycle || (wrapped && cycle === header.cycle + 1)
    if (verify && (!fits || cycle === LOG_RECORD_MAGIC)) return undefined
    const kept = Math.floor(i / LOG_CYCLE_WORDS) < headerBlocks ? heads.getUint32(keptWordAt(i)) : 0
    view.setUint32(at, kept)
  }
  return { length: dataBlocks * BASIC_BLOCK, bytes, view }
}

/** An operation within the data of a record. */
export interface RawOperation {
  readonly tid: number
  readonly length: number
  readonly client: number
  readonly flags: number
}

const { tid, len, clientid, flags } = LogOp.fields

export const operationAt = (view: DataView, at: number): RawOperation => ({
  tid: tid.get(view, at),
  length: len.get(view, at),
  client: clientid.get(view, at),
  flags: flags.get(view, at),
})

/** Single blocks of a ring, read many at a time. */
export class Blocks {
  readonly #ring: LogRing
  #first = 0
  #bytes: Uint8Array = new Uint8Array(0)

  constructor(ring: LogRing) {
    this.#ring = ring
  }

  at(block: number): DataView {
    const { blocks } = this.#ring
    const loaded = this.#bytes.length / BASIC_BLOCK
    if (block < this.#first || block >= this.#first + loaded) {
      this.#first = block
      this.#bytes = this.#ring.read(block, Math.min(CHUNK, blocks - block))
    }
    const at = (block - this.#first) * BASIC_BLOCK
    return viewOf(this.#bytes.subarray(at, at + BASIC_BLOCK))
  }
}

const CHUNK = 512
