import type { Device } from './device/device.ts'
import { XfsError } from './errors.ts'
import { LogHead } from './format/lsn.ts'
import type { Clock } from './format/time.ts'
import { loggedCommits } from './log/checkpoint.ts'
import { dirtyLog } from './log/dirty.ts'
import { type LogState, logState } from './log/ring.ts'
import { Volume } from './volume.ts'

export interface ImageOptions {
  /** Open for changes. */
  readonly write?: boolean
  /** Allow changes even if NEEDSREPAIR is set. */
  readonly needsRepair?: boolean
  /** The current time, for timestamps (default: that of the machine). */
  readonly now?: Clock
}

/**
 * Open the filesystem on `device`. For reading, the content of the log is ignored. For `write` the
 * log must be clean, and changes are written to it first: after a crash `xfskit recover` completes
 * them. `close` (or `sync`) makes the changes durable.
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
  const writable = Volume.open(device, { write, needsRepair, committer: loggedCommits, ...(now && { now }) })
  requireNotAhead(writable, state)
  return writable
}

/**
 * Reject metadata ahead of the log, which was zeroed or replaced: before any change if the AG
 * headers show it, else when the block is read through this volume.
 * @throws XfsError CORRUPT, with `where.field` 'lsn'
 */
export function requireNotAhead(volume: Volume, { head }: Pick<LogState, 'head'>): void {
  volume.cache.logHead = new LogHead(head)
  const ahead = (read: () => void): void => {
    try {
      read()
    } catch (error) {
      // Other faults are reported when the header is needed.
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
