import { BASIC_BLOCK } from '../format/geometry.ts'
import { blockCycle, LOG_RECORD_MAGIC, LogFormats, LogRecord } from '../format/log.ts'
import { viewOf } from '../util/view.ts'
import { type LogPosition, type LogRing, type LogState, MAX_PENDING } from './ring.ts'

/**
 * Blocks to overwrite stale ones ahead of the head, which an interrupted writer, or the tool that
 * formatted the log, has left.
 *
 *        cycle 8              cycle 7    8 8   7
 *   |████████████████████|░░░░░░░░░░░░░░░██░░░░░░|
 *                         ▲ head         stale
 *
 * Blocks ahead of the head must be of the previous cycle. Otherwise, after a short record and
 * another interruption, the search for the head would find blocks of the wrong cycle. So the blocks
 * that can be in flight at once are overwritten with empty records of the previous cycle. Blocks
 * that recovery needs are not changed.
 *
 * @source fs/xfs/xfs_log_recover.c: xlog_clear_stale_blocks
 */
export function* staleBlocks(
  ring: LogRing,
  state: LogState,
): Generator<{ readonly block: number; readonly bytes: Uint8Array }> {
  const head = state.head.block
  const cycle = Math.max(1, state.head.cycle)
  const needed = state.clean ? state.last?.block : state.tail.block
  const distance = needed === undefined ? ring.blocks : (needed - head + ring.blocks) % ring.blocks
  const end = head + Math.min(MAX_PENDING, distance)
  const found = viewOf(ring.read(head, end - head))
  const expected = (at: number): number => (at < ring.blocks ? previousCycle(cycle) : cycle)
  const isStale = (at: number): boolean => blockCycle(found, (at - head) * BASIC_BLOCK) !== expected(at)
  for (let at = head; at < end; ) {
    const from = at
    while (at < end && isStale(at) && (at === from || at !== ring.blocks)) at++
    if (at > from) yield emptyRecords(ring, state, { cycle: expected(from), block: from % ring.blocks }, at - from)
    else at++
  }
}

/** Records without content; zeros if the ring was never filled. */
function emptyRecords(ring: LogRing, { tail }: LogState, { cycle, block }: LogPosition, count: number) {
  const bytes = new Uint8Array(count * BASIC_BLOCK)
  for (let i = 0; i < count && cycle > 0; i++) {
    LogRecord.encode(viewOf(bytes), i * BASIC_BLOCK, {
      magicno: LOG_RECORD_MAGIC,
      cycle,
      version: ring.version,
      lsn: { cycle, block: block + i },
      tail_lsn: tail,
      fmt: LogFormats.little,
      fs_uuid: ring.uuid,
    })
  }
  return { block, bytes }
}

/** The record magic is not a cycle. */
const previousCycle = (cycle: number): number => (cycle - 1 === LOG_RECORD_MAGIC ? cycle - 2 : cycle - 1)
