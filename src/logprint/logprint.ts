import { byteOrderOf, LogFormats } from '../format/log.ts'
import { findHead, headerBefore, isUnmountRecord, type LogRing } from '../log/ring.ts'
import { printBlocks } from './blocks.ts'
import { printTransaction } from './items.ts'
import { LogFault, type LogPrintOptions, type LogPrintOutput, type Printing } from './options.ts'
import { recordAt } from './record.ts'
import { printRecords } from './records.ts'
import { hex, signed } from './text.ts'
import { logEvents, RecoveryFault, Regions } from './transactions.ts'
import { UuidCheck } from './uuid.ts'

/** Head and tail of a log as xfs_logprint finds them: checksums are not used. */
export interface LogEnds {
  readonly head: number
  /** The same as `head` if the log is clean. */
  readonly tail: number
  /** The last record; undefined if the log was never written. */
  readonly last?: number
}

const EIO = 5
const EINVAL = 22

/** @throws LogFault */
export function logEnds(ring: LogRing): LogEnds {
  const found = findHead(ring)
  if ('zeroed' in found) return { head: 0, tail: 0 }
  if ('fault' in found) {
    const errno = found.fault.includes('zeros') ? EINVAL : EIO
    throw new LogFault(`failed to find head and tail, error: ${errno}`)
  }
  const { head } = found
  const last = headerBefore(ring, head)
  const record = last === undefined ? undefined : recordAt(ring, last)
  if (last === undefined || !record) throw new LogFault(`failed to find head and tail, error: ${EIO}`)
  if (isUnmountRecord(ring, last, record.header, head)) return { head, tail: head, last }
  return { head, tail: record.header.tail_lsn.block, last }
}

/**
 * Print a log as xfs_logprint 7.2 does, after its header. Damage of any kind ends the printing.
 * @returns the exit status of xfs_logprint
 */
export function printLog(ring: LogRing, output: LogPrintOutput, options: LogPrintOptions = {}): 0 | 1 {
  const printing = { ...output, ring, options }
  try {
    if (options.view === 'transactions') printTransactions(printing)
    else if (options.view === 'blocks') printBlocks(printing)
    else if (options.view !== 'none') printRecords(printing)
    return 0
  } catch (error) {
    if (!(error instanceof LogFault)) throw error
    const detail = error instanceof RecoveryFault && error.detail !== '' ? `${error.detail}\n` : ''
    const named = /^failed/.test(error.message) ? `${output.program}: ` : ''
    output.warn(`${detail}${named}${error.message}\n`)
    return 1
  }
}

function printTransactions(printing: Printing): void {
  const { ring, options, print, warn } = printing
  const { head, tail: found, last } = logEnds(ring)
  const uuid = new UuidCheck(print, options.anyUuid === true ? undefined : ring.uuid)
  const newest = last === undefined ? undefined : recordAt(ring, last)
  if (newest) uuid.check(newest.header, true)
  else warn('totally zeroed log\n')
  print(`    log tail: ${found} head: ${head} state: ${found === head ? '<CLEAN>' : '<DIRTY>'}\n`)
  if (options.start !== undefined) print(`    override tail: ${options.start}\n`)
  print('\n')
  const tail = options.start ?? found
  if (tail === head) return
  if (tail >= ring.blocks) throw new RecoveryFault(117)
  const regions = new Regions(ring)
  for (const event of logEvents(ring, tail, head)) {
    if (event.kind === 'unmount') warn('xlog_recover_unmount_trans: Unmount LR\n')
    else if (event.kind === 'transaction') printTransaction(printing, event.transaction, regions)
    else {
      const { lsn, fmt } = event.record.header
      const numbers = `(0x${hex(lsn.cycle)}, 0x${hex(lsn.block)})`
      print(`\nLOG REC AT LSN cycle ${signed(lsn.cycle)} block ${signed(lsn.block)} ${numbers}\n`)
      uuid.check(event.record.header)
      if (byteOrderOf(fmt) === undefined) {
        print(`* ERROR: log format incompatible (log=${signed(fmt)}, ours=${LogFormats.little})\n`)
        if (options.keepGoing !== true) throw new LogFault('Bad log')
      }
    }
  }
}

/** Where a log is, for the first lines. */
export interface LogPlaceText {
  /** The device number of a block device; undefined for a file. */
  readonly device?: number
  /** The name of an external log. */
  readonly logName?: string
  /** First basic block, and basic blocks. */
  readonly start: number
  readonly blocks: number
}

const NO_DEVICE = 'ffffffffffffffff'

/** The first lines that xfs_logprint prints after its name. */
export function headerText({ device, logName, start, blocks }: LogPlaceText): string {
  const number = device === undefined ? NO_DEVICE : device.toString(16)
  const log = logName === undefined ? `log device: 0x${number} ` : `log file: "${logName}" `
  return `    data device: 0x${number}\n    ${log}daddr: ${start} length: ${blocks}\n\n`
}
