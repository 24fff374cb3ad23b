import type { Device } from './device/device.ts'
import { XfsError } from './errors.ts'
import { LogHead } from './format/lsn.ts'
import type { Clock } from './format/time.ts'
import { markedCommits } from './log/checkpoint.ts'
import { dirtyLog } from './log/dirty.ts'
import { type LogState, logState } from './log/ring.ts'
import { Volume } from './volume.ts'

export interface ImageOptions {
  /** Changes are wanted. */
  readonly write?: boolean
  /** Change also what is marked NEEDSREPAIR. */
  readonly needsRepair?: boolean
  /** The present time, for timestamps (default: that of the machine). */
  readonly now?: Clock
}

/**
 * The filesystem on `device`, opened. For reading it is what is on the device, whatever its log
 * holds. For `write` the log has to be clean, and changes go through it: a killed process leaves an
 * image that `xfskit recover` completes. `close` (or `sync`) makes the changes durable.
 *
 * @throws XfsError DIRTYLOG (the log is dirty; nothing was changed), INVAL (not XFS), CORRUPT or
 *   BADCRC (the superblock is damaged, or marked NEEDSREPAIR; metadata is ahead of the log),
 *   UNSUPPORTED (features; a log on another device)
 */
export function openImage(device: Device, options: ImageOptions = {}): Volume {
  const { write = false, needsRepair = false, now } = options
  const volume = Volume.open(device, { needsRepair: !write || needsRepair })
  if (!write) return volume
  const state = logState(volume)
  const refusal = dirtyLog(volume, state)
  if (refusal) throw refusal
  const writable = Volume.open(device, { write, needsRepair, committer: markedCommits, ...(now && { now }) })
  requireBehind(writable, state)
  return writable
}

/**
 * Metadata ahead of the log, which was zeroed or replaced: refused before anything is changed where
 * the headers show it, else when the block is read through this volume.
 * @throws XfsError CORRUPT, with `where.field` 'lsn'
 */
export function requireBehind(volume: Volume, { head }: Pick<LogState, 'head'>): void {
  volume.cache.logHead = new LogHead(head)
  const ahead = (read: () => void): void => {
    try {
      read()
    } catch (error) {
      // What else is wrong matters where the header is needed.
      if (!(error instanceof XfsError) || error.code === 'IO' || error.where.field === 'lsn') throw error
    }
  }
  ahead(() => volume.superblock())
  for (let agno = 0; agno < volume.geometry.agcount; agno++) {
    ahead(() => volume.agf(agno))
    ahead(() => volume.agi(agno))
    ahead(() => volume.agfl(agno))
  }
}
