import { u32 } from './fields.ts'
import { type Lsn, struct } from './struct.ts'

// biome-ignore format: one field a line, columns aligned
const Words = struct('lsn', 8, 'xfs_log_format.h: xfs_lsn_t', {
  cycle: u32(0, 'cycle number of the log'),
  block: u32(4, 'basic block of the log'),
})

export const readLsn = (view: DataView, at: number): Lsn => Words.decode(view, at)
export const writeLsn = (view: DataView, at: number, lsn: Lsn): void => Words.encode(view, at, lsn)
/** False for metadata that was never written through the log. */
export const isLsn = ({ cycle, block }: Lsn): boolean =>
  !(cycle === 0 && block === 0) && !(cycle === ONES && block === ONES)
/** Negative if `one` is older. */
export const compareLsn = (one: Lsn, other: Lsn): number => one.cycle - other.cycle || one.block - other.block

/**
 * The head of the log. Metadata with an LSN ahead of it was written with another log, which was
 * zeroed or replaced since. The kernel rejects such a block, and log recovery would skip changes of
 * it as older than the block on disk.
 *
 * @source xfs_log.c: xfs_log_check_lsn
 */
export class LogHead {
  /** For a log whose head is unknown: nothing is ahead of it. */
  static readonly unknown = new LogHead({ cycle: 0xffffffff, block: 0xffffffff })

  readonly cycle: number
  readonly block: number
  /** The largest cycle of the LSNs that were found ahead of the log, 0 for none. */
  aheadCycle = 0

  /** @param head position of the next record; a log that was never written begins with cycle 1 */
  constructor({ cycle, block }: { readonly cycle: number; readonly block: number }) {
    this.cycle = Math.max(1, cycle)
    this.block = block
  }

  /** True if the LSN at `at` is ahead of the log. */
  isAhead(view: DataView, at: number): boolean {
    const cycle = Words.fields.cycle.get(view, at)
    const block = Words.fields.block.get(view, at)
    if (cycle === ONES && block === ONES) return false
    const ahead = cycle > this.cycle || (cycle === this.cycle && block > this.block)
    if (ahead && cycle > this.aheadCycle) this.aheadCycle = cycle
    return ahead
  }

  text(view: DataView, at: number): string {
    const { cycle, block } = Words.decode(view, at)
    return `LSN ${cycle}:${block} is ahead of the log (${this.cycle}:${this.block})`
  }
}

/** All ones: never written through the log. xfs_repair writes AGFLs with this LSN. */
const ONES = 0xffffffff
