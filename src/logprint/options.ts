import type { LogRing } from '../log/ring.ts'

/** What is printed of a log, and how; the letters are the options of xfs_logprint. */
export interface LogPrintOptions {
  /**
   * `records` (default): every record as it lies in the ring, from the oldest. `transactions`
   * (`-t`): complete transactions between tail and head. `blocks` (`-d`): where records begin.
   * `none`: only where the log is.
   */
  readonly view?: 'records' | 'transactions' | 'blocks' | 'none'
  /** Basic block to start at (`-s`). */
  readonly start?: number
  /** Continue after an error (`-c`). */
  readonly keepGoing?: boolean
  /** Do not decode the data of operations (`-n`). */
  readonly noData?: boolean
  /** Also the data of buffers, in hexadecimal (`-o`). */
  readonly data?: boolean
  /** All blocks in hexadecimal, nothing decoded (`-D`). */
  readonly onlyData?: boolean
  /** The words that were replaced by cycle numbers (`-v`). */
  readonly overwritten?: boolean
  /** In the view of transactions: details of buffers, inodes and quota records (`-b -i -q`). */
  readonly buffers?: boolean
  readonly inodes?: boolean
  readonly quota?: boolean
  /** Do not compare the UUID of records with that of the filesystem (`-f`). */
  readonly anyUuid?: boolean
}

/** Where the text goes. */
export interface LogPrintOutput {
  readonly print: (text: string) => void
  /** Messages for standard error. */
  readonly warn: (text: string) => void
  /** The name of the program in messages. */
  readonly program: string
}

/** A printing of one log. */
export interface Printing extends LogPrintOutput {
  readonly ring: LogRing
  readonly options: LogPrintOptions
}

/** An error in the log that ends the printing, with the message of xfs_logprint. */
export class LogFault extends Error {
  override readonly name = 'LogFault'
}
