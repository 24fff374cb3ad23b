import { ZERO_LSN } from '../ag/ag.ts'
import { Sector } from '../ag/sector.ts'
import { check } from '../check/check.ts'
import type { Device } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { AG_SECTORS } from '../format/ag.ts'
import type { Geometry } from '../format/geometry.ts'
import { LogHead } from '../format/lsn.ts'
import { Superblock, setNeedsRepair } from '../format/sb.ts'
import { formatLog } from '../log/format.ts'
import { type LogState, openRing } from '../log/ring.ts'
import { readTransactions } from '../log/transactions.ts'
import { CYCLES_AHEAD, LAST_CYCLE } from './cycles.ts'

/** A log that was discarded. */
export interface DiscardedLog {
  /** Transactions whose changes are lost; undefined if the log could not be read to its end. */
  readonly transactions: number | undefined
  /** The cycle at which the log begins now. */
  readonly cycle: number
}

/**
 * Discard a dirty log: format it at a cycle past the LSNs of all metadata. The superblock is marked
 * NEEDSREPAIR before, because metadata may be inconsistent without the changes in the log. A repair
 * that ends without problems clears the mark.
 * @throws XfsError UNSUPPORTED if no cycle is left
 */
export function discardLog(device: Device, geometry: Geometry, state: LogState): DiscardedLog {
  const transactions = countTransactions(device, geometry, state)
  const head = new LogHead(state.head)
  check(device, geometry, head)
  const cycle = Math.max(head.cycle, head.aheadCycle) + CYCLES_AHEAD
  if (cycle > LAST_CYCLE)
    throw new XfsError(
      'UNSUPPORTED',
      `the log cannot be formatted: metadata has an LSN of cycle ${cycle - CYCLES_AHEAD}`,
    )
  const superblock = new Sector(device, geometry, 0, AG_SECTORS.sb)
  setNeedsRepair(superblock.view, true)
  Superblock.fields.lsn.set(superblock.view, 0, ZERO_LSN)
  superblock.write()
  device.flush()
  formatLog(device, geometry, cycle)
  return { transactions, cycle }
}

function countTransactions(device: Device, geometry: Geometry, state: LogState): number | undefined {
  if (state.fault !== undefined) return undefined
  try {
    let count = 0
    for (const _ of readTransactions(openRing({ device, geometry, features: geometry.features }), state)) count++
    return count
  } catch (error) {
    if (error instanceof XfsError && error.code !== 'IO') return undefined
    throw error
  }
}
