import type { LogRecord } from '../format/log.ts'
import type { LogPrintOutput } from './options.ts'

const NULL_UUID = '00000000-0000-0000-0000-000000000000'

/**
 * Compares the filesystem's UUID with that of records, and says once that it differs: it was
 * changed since the log was written.
 */
export class UuidCheck {
  readonly #print: LogPrintOutput['print']
  /** That of the filesystem, then that of the log; undefined to accept any. */
  #uuid: string | undefined

  constructor(print: LogPrintOutput['print'], uuid: string | undefined) {
    this.#print = print
    this.#uuid = uuid
  }

  /** @param nullable  a null UUID is accepted */
  check({ fs_uuid }: Pick<LogRecord, 'fs_uuid'>, nullable = false): void {
    if (this.#uuid === undefined || fs_uuid === this.#uuid || (nullable && fs_uuid === NULL_UUID)) return
    this.#print(`* ERROR: mismatched uuid in log\n*            SB : ${this.#uuid}\n*            log: ${fs_uuid}\n`)
    this.#uuid = fs_uuid
  }
}
