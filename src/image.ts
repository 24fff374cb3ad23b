import type { Device } from './device/device.ts'
import type { Clock } from './format/time.ts'
import { markedCommits } from './log/checkpoint.ts'
import { dirtyLog } from './log/dirty.ts'
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
 * The filesystem on `device`, opened. For reading it is what is on the device, whatever its log holds. For `write` the
 * log has to be clean, and what is changed goes through it: whoever is killed leaves an image that `xfskit recover` heals.
 * `close` (or `sync`) makes the changes durable.
 *
 * @throws XfsError DIRTYLOG (the log has to be replayed first; nothing was changed), INVAL (not XFS), CORRUPT or BADCRC
 *   (the superblock is damaged, or marked NEEDSREPAIR), UNSUPPORTED (features; a log on another device)
 */
export function openImage(device: Device, options: ImageOptions = {}): Volume {
  const { write = false, needsRepair = false, now } = options
  const volume = Volume.open(device, { needsRepair: !write || needsRepair })
  if (!write) return volume
  const refusal = dirtyLog(volume)
  if (refusal) throw refusal
  return Volume.open(device, { write, needsRepair, committer: markedCommits, ...(now && { now }) })
}
