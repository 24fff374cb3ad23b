/**
 * How far the log has come. Metadata whose LSN lies ahead of it was written with another log, one that was zeroed or replaced
 * since: the kernel refuses such a block, and log recovery would skip changes of it as older than what is on disk.
 *
 * @source xfs_log.c: xfs_log_check_lsn
 */
export class LogHead {
  /** For a log whose head is not known: nothing is ahead of it. */
  static readonly unknown = new LogHead({ cycle: 0xffffffff, block: 0xffffffff })

  readonly cycle: number
  readonly block: number
  /** The largest cycle of the LSNs that were found ahead of the log, 0 for none. */
  aheadCycle = 0

  /** @param head where the next record goes; a log that was never written to begins with cycle 1 */
  constructor({ cycle, block }: { readonly cycle: number; readonly block: number }) {
    this.cycle = Math.max(1, cycle)
    this.block = block
  }

  /** Does the LSN at `at` lie ahead of the log? */
  isBehind(view: DataView, at: number): boolean {
    const cycle = view.getUint32(at)
    if (cycle === ONES && view.getUint32(at + 4) === ONES) return false
    const ahead = cycle > this.cycle || (cycle === this.cycle && view.getUint32(at + 4) > this.block)
    if (ahead && cycle > this.aheadCycle) this.aheadCycle = cycle
    return ahead
  }

  text(view: DataView, at: number): string {
    return `it was last written at ${view.getUint32(at)}:${view.getUint32(at + 4)} of the log, which is at ${this.cycle}:${this.block}`
  }
}

/** All ones: never written through the log. xfs_repair leaves AGFLs like that. */
const ONES = 0xffffffff
