import {
  LOG_CYCLE_SIZE,
  LOG_CYCLE_WORDS,
  LOG_RECORD_MAGIC,
  LogFormats,
  LogRecord,
  LogRecordExt,
} from '../format/log.ts'
import { cycleAt, findHead, firstBlockOf, headerBefore } from '../log/ring.ts'
import { viewOf } from '../util/view.ts'
import { OperationPrinter, SplitItems } from './operations.ts'
import { LogFault, type Printing } from './options.ts'
import { Blocks, dataOf, headersNeeded, type RawRecord, recordAt } from './record.ts'
import { EXTENDED_LINE, hex, RECORD_LINE, STARS, signed, wordDump } from './text.ts'
import { UuidCheck } from './uuid.ts'

/**
 * The view of records: the ring from its oldest block to the end, then from its start to the newest.
 * Blocks before the first header are the rest of an overwritten record.
 *
 * @throws LogFault
 */
export function printRecords(printing: Printing): void {
  new RecordPrinter(printing).run()
}

/** What a block of the ring is that should begin a record. */
type Kind = 'record' | 'zeroed' | 'cleared' | 'bad'

/** What was printed of a record. */
interface Printed {
  /** The block after it. */
  readonly next: number
  /** Its data go on at the start of the ring. */
  readonly wrapped: boolean
  readonly damaged: boolean
}

class RecordPrinter {
  readonly #printing: Printing
  readonly #blocks: Blocks
  readonly #split = new SplitItems()
  /** Records that were seen. Before the first of them, damage is normal. */
  #seen = 0

  constructor(printing: Printing) {
    this.#printing = printing
    this.#blocks = new Blocks(printing.ring)
  }

  run(): void {
    const { options } = this.#printing
    const end = this.#oldest()
    const next = this.#toTheEnd(options.start ?? end, end)
    if (next !== undefined) this.#fromTheStart(next, end)
    this.#say('logical end of log')
    this.#print(RECORD_LINE)
  }

  #print(text: string): void {
    this.#printing.print(text)
  }

  #say(text: string): void {
    this.#print(`xfs_logprint: ${text}\n`)
  }

  /** The oldest block of a ring that was written around; else the first. */
  #oldest(): number {
    const { ring, options, print, warn } = this.#printing
    const first = cycleAt(ring, 0)
    const last = cycleAt(ring, ring.blocks - 1)
    if (first === 0) return 0
    if (last !== 0) return first === last ? 0 : firstBlockOf(ring, last)
    if (first !== 1) {
      warn('Log inconsistent or not a log (last==0, first!=1)\n')
      return 0
    }
    const found = findHead(ring)
    const newest = 'head' in found ? headerBefore(ring, found.head) : undefined
    const record = newest === undefined ? undefined : recordAt(ring, newest)
    if (record) new UuidCheck(print, options.anyUuid === true ? undefined : ring.uuid).check(record.header, true)
    return 0
  }

  /**
   * From `start` to the end of the ring.
   * @returns where to continue at its start; undefined if all was printed
   */
  #toTheEnd(start: number, end: number): number | undefined {
    const { ring, options } = this.#printing
    const runs = { zeroed: { count: 0, first: 0 }, cleared: { count: 0, first: 0 } }
    let first = start
    for (let block = start; block < ring.blocks; ) {
      if (options.onlyData === true) {
        this.#dump(block++)
        continue
      }
      const kind = this.#header(block)
      if (runs.zeroed.count > 0 && kind !== 'zeroed') this.#afterZeros(block, runs.zeroed)
      if (kind === 'record') {
        const { next, wrapped, damaged } = this.#record(block, first === 0)
        if (wrapped) return next
        block = next
        if (options.start !== undefined && block >= end) return undefined
        if (!damaged) this.#print(RECORD_LINE)
        continue
      }
      if (kind !== 'bad') {
        const run = runs[kind]
        if (run.count++ === 0) run.first = block
      } else if (this.#seen === 0) first = block + 1
      else this.#badHeader(block)
      block++
    }
    for (const name of ['cleared', 'zeroed'] as const) {
      const run = runs[name]
      if (run.count === 0) continue
      this.#say(`skipped ${run.count} ${name} blocks in range: ${run.first} - ${run.first + run.count - 1}`)
      if (run.count === ring.blocks) this.#say(`totally ${name} log`)
    }
    this.#physicalEnd()
    return first === 0 ? undefined : 0
  }

  #physicalEnd(): void {
    this.#say('physical end of log')
    this.#print(RECORD_LINE)
  }

  /** From the start of the ring to the newest record. */
  #fromTheStart(from: number, end: number): void {
    let block = from
    do {
      if (this.#printing.options.onlyData === true) this.#dump(block++)
      else if (block > 0 && block >= end) return
      else if (this.#header(block) === 'record') {
        const { next, damaged } = this.#record(block, true)
        if (!damaged) this.#print(RECORD_LINE)
        block = next
      } else this.#badHeader(block++)
    } while (block < end)
  }

  #dump(block: number): void {
    const view = this.#blocks.at(block)
    this.#print(`BLKNO: ${block}\n${wordDump(view, 0, view.byteLength)}`)
  }

  /** Print the header at `block`. */
  #header(block: number): Kind {
    const view = this.#blocks.at(block)
    const magic = LogRecord.fields.magicno.get(view, 0)
    if (magic === 0) return 'zeroed'
    if (magic !== LOG_RECORD_MAGIC) {
      if (this.#seen > 0) this.#print(`Header 0x${hex(magic)} wanted 0x${hex(LOG_RECORD_MAGIC)}\n`)
      return 'bad'
    }
    const header = LogRecord.decode(view)
    const { len, crc, prev_block, num_logops, size } = header
    if (len === 0 && crc === 0 && prev_block === 0 && num_logops === 0 && size === 0) return 'cleared'
    const lsns = [
      `lsn: ${header.lsn.cycle},${header.lsn.block}`,
      `tail_lsn: ${header.tail_lsn.cycle},${header.tail_lsn.block}`,
    ]
    this.#print(`cycle: ${signed(header.cycle)}\tversion: ${signed(header.version)}\t\t${lsns.join('\t')}\n`)
    this.#print(
      `length of Log Record: ${signed(len)}\tprev offset: ${signed(prev_block)}\t\tnum ops: ${signed(num_logops)}\n`,
    )
    this.#overwritten(header.cycle_data, Math.min(Math.ceil(len / 512), LOG_CYCLE_WORDS))
    this.#print(`uuid: ${header.fs_uuid}   format: ${formats.get(header.fmt) ?? `? (${signed(header.fmt)})`}\n`)
    this.#print(`h_size: ${signed(size)}\n`)
    return 'record'
  }

  #overwritten(words: readonly number[], count: number): void {
    if (this.#printing.options.overwritten !== true) return
    const shown = words.slice(0, Math.max(0, count)).map((word, i) => `${i} - 0x${hex(word)}  `)
    this.#print(`cycle num overwrites: ${shown.join('')}\n`)
  }

  /**
   * Print the rest of the record at `block`.
   * @param last  if it wraps, its data are not printed: printing began at the start of the ring
   * @returns the block after it
   */
  #record(block: number, last: boolean): Printed {
    const { ring } = this.#printing
    const record = recordAt(ring, block) as RawRecord
    const { header, headerBlocks, dataBlocks } = record
    const data = block + headerBlocks
    // Headers larger than the ring: a damaged size. The data are refused below.
    if (headerBlocks < ring.blocks) this.#extendedHeaders(record)
    const warnUnknown = this.#seen++ > 0
    const fits = headerBlocks + dataBlocks <= ring.blocks
    const wrapped = header.len > 0 && fits && data + dataBlocks > ring.blocks
    if (wrapped) {
      this.#print(RECORD_LINE)
      this.#physicalEnd()
      if (last) return { next: ring.blocks, wrapped, damaged: false }
    }
    const next = data + dataBlocks - (wrapped ? ring.blocks : 0)
    if (!this.#data(record, warnUnknown)) {
      this.#bad(`* ERROR: data block=${String(data - 1).padEnd(21)}                             *\n`, 'Bad data in log')
      return { next: wrapped ? Math.max(0, data - ring.blocks) : data, wrapped, damaged: true }
    }
    if (wrapped) this.#print(RECORD_LINE)
    return { next, wrapped, damaged: false }
  }

  #extendedHeaders(record: RawRecord): void {
    const { block, header, headerBlocks } = record
    if (header.version !== 2) return
    const needed = headersNeeded(record)
    const present = Math.ceil(header.size / LOG_CYCLE_SIZE)
    if (needed > present) {
      const numbers = `required num = ${needed}, hdr num = ${present}`
      this.#bad(
        `* ERROR: for header block=${block}\n*        not enough hdrs for data length, ${numbers}\n`,
        'Not enough headers for data length.',
      )
    }
    for (let i = 1; i < headerBlocks; i++) {
      const extended = LogRecordExt.decode(
        viewOf(this.#printing.ring.read((block + i) % this.#printing.ring.blocks, 1)),
      )
      this.#print(`${EXTENDED_LINE}extended-header: cycle: ${signed(extended.cycle)}\n`)
      const covered = i === headerBlocks - 1 ? record.dataBlocks % LOG_CYCLE_WORDS : LOG_CYCLE_WORDS
      this.#overwritten(extended.cycle_data, covered)
    }
  }

  /** Print the operations of a record. @returns false if the data are damaged */
  #data(record: RawRecord, warnUnknown: boolean): boolean {
    const { header, order } = record
    if (header.len === 0) {
      this.#print('\n')
      return true
    }
    const data = dataOf(this.#printing.ring, record, true)
    if (!data) return false
    try {
      new OperationPrinter(this.#printing, this.#split, data, header.num_logops, order).run(warnUnknown)
    } catch (error) {
      if (!(error instanceof LogFault)) throw error
      return false
    }
    this.#print('\n')
    return true
  }

  #afterZeros(block: number, zeroed: { count: number }): void {
    this.#say(`after ${zeroed.count} zeroed blocks`)
    this.#bad(
      `* ERROR: found data after zeroed blocks block=${String(block).padEnd(21)}  *\n`,
      'Bad log - data after zeroed blocks',
    )
    zeroed.count = 0
  }

  #badHeader(block: number): void {
    const cycle = String(signed(cycleAt(this.#printing.ring, block))).padEnd(11)
    this.#bad(`* ERROR: header cycle=${cycle} block=${String(block).padEnd(21)}        *\n`, 'Bad log record header')
  }

  /** @throws LogFault unless errors are to be passed over */
  #bad(text: string, message: string): void {
    this.#print(`${STARS}${text}${STARS}`)
    if (this.#printing.options.keepGoing !== true) throw new LogFault(message)
  }
}

const formats: ReadonlyMap<number, string> = new Map([
  [LogFormats.unknown, 'unknown'],
  [LogFormats.little, 'little endian linux'],
  [LogFormats.big, 'big endian linux'],
  [LogFormats.irix, 'big endian irix'],
])
