import { check as checkFilesystem } from '../check/check.ts'
import type { CheckResult } from '../check/result.ts'
import type { Device } from '../device/device.ts'
import { refuseMounted } from '../device/inuse.ts'
import { overlay } from '../device/overlay.ts'
import { openPlace, type Place } from '../device/place.ts'
import { logState } from '../log/ring.ts'
import { type Recovered, recover as recoverFilesystem } from '../recovery/recover.ts'
import { type RepairOptions, type RepairResult, repair as repairFilesystem } from '../repair/repair.ts'
import { Volume } from '../volume.ts'
import { type HostTarget, hostPathOf, isHostTarget } from './host.ts'
import { deviceOf } from './opened.ts'
import { openVolume } from './opening.ts'
import { claim } from './writers.ts'
import { type ImageTarget, placeOf } from './xfsimage.ts'

/**
 * Check, recovery and repair of images that `XfsImage.open` refuses: with a dirty log, marked
 * NEEDSREPAIR, with metadata that is damaged or ahead of the log.
 */

/**
 * Check a filesystem, without changing it.
 * @throws XfsError DIRTYLOG (see `log`), BUSY (mounted for changes); INVAL, CORRUPT, BADCRC,
 *   UNSUPPORTED if it cannot be checked
 */
export function check(
  target: ImageTarget,
  { log = 'refuse', ...place }: Place & { readonly log?: 'refuse' | 'recover' | 'ignore' } = {},
): CheckResult {
  return withDevice(target, 'r', place, (device) => {
    const { volume, ignored } = openVolume(device, { log })
    if (ignored && log !== 'ignore') throw ignored
    return checkFilesystem(volume.device, volume.geometry)
  })
}

/**
 * Recover a filesystem after an interrupted change: replay its log, free unlinked inodes and CoW
 * staging blocks, clear NEEDSREPAIR. `refused` is why it has to be repaired.
 * @throws XfsError DIRTYLOG if only the kernel can replay the log; nothing was changed
 */
export function recover(
  target: HostTarget | Device,
  { dryRun = false, ...place }: Place & { readonly dryRun?: boolean } = {},
): Recovered {
  return changeDevice(target, dryRun, place, recoverFilesystem)
}

/**
 * Repair a filesystem; a dirty log is replayed first. It is rehearsed in memory, and written only
 * if a check of the result finds no problems (or with `partial`).
 * @throws XfsError DIRTYLOG if the log cannot be replayed; BUSY; INVAL, CORRUPT, BADCRC,
 *   UNSUPPORTED if it cannot be repaired
 */
export function repair(
  target: HostTarget | Device,
  { offset, partition, ...options }: Place & RepairOptions = {},
): RepairResult {
  return changeDevice(target, options.dryRun === true, placeOf({ offset, partition } as Place), (device) => {
    if (!logState(Volume.open(device, { needsRepair: true })).clean) recoverFilesystem(device)
    return repairFilesystem(device, options)
  })
}

/** Changes are durable when this returns. */
function changeDevice<T>(target: HostTarget | Device, dryRun: boolean, place: Place, action: (device: Device) => T): T {
  return withDevice(target, dryRun ? 'r' : 'rw', place, (device) => {
    if (dryRun) return action(overlay(device))
    const release = claim(device)
    try {
      return action(device)
    } finally {
      release()
      device.flush()
    }
  })
}

function withDevice<T>(target: ImageTarget, mode: 'r' | 'rw', place: Place, action: (device: Device) => T): T {
  if (!isHostTarget(target)) return action(deviceOf(target))
  const path = hostPathOf(target)
  if (mode === 'r') refuseMounted(path, { readOnly: false })
  const { device } = openPlace(path, mode, place)
  try {
    return action(device)
  } finally {
    device.close()
  }
}
