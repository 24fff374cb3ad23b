import { check as checkFilesystem } from '../check/check.ts'
import { addPaths } from '../check/paths.ts'
import type { CheckResult } from '../check/result.ts'
import type { Device } from '../device/device.ts'
import type { HostPath } from '../device/hostpath.ts'
import { refuseMounted } from '../device/inuse.ts'
import { logState } from '../log/ring.ts'
import { type Recovered, recover as recoverFilesystem, recoverInMemory } from '../recovery/recover.ts'
import { actionsOf, type RepairAction } from '../repair/actions.ts'
import { type DiscardedLog, discardLog } from '../repair/discardlog.ts'
import { isWrong, type RepairResult, repair as repairFilesystem } from '../repair/repair.ts'
import { findRoots } from '../roots/roots.ts'
import { Volume } from '../volume.ts'
import { optionsOf } from './arguments.ts'
import { type ChangeOptions, changeTarget, readTarget, reportState, type Worked, type WorkOptions } from './edit.ts'
import { type HostTarget, hostPathOf, isHostTarget } from './host.ts'
import { type OpenOptions, openVolume } from './opening.ts'
import { withUndo } from './undo.ts'
import type { ImageTarget } from './xfsimage.ts'

export { actionText, type RepairAction } from '../repair/actions.ts'
export { isWrong } from '../repair/repair.ts'

/**
 * Check, recovery and repair of images that `XfsImage.open` refuses: with a dirty log, marked
 * NEEDSREPAIR, with metadata that is damaged or ahead of the log.
 */
export interface CheckOptions extends WorkOptions, Pick<OpenOptions, 'log'> {}

export interface CheckTargetResult extends CheckResult {
  /** The log is dirty. With `log: 'recover'` the findings are what is left after a recovery. */
  readonly dirty: boolean
}

/**
 * Check a filesystem, without changing it.
 * @throws XfsError DIRTYLOG (see `log`), BUSY (mounted for changes); INVAL, CORRUPT, BADCRC,
 *   UNSUPPORTED if it cannot be checked
 */
export async function check(target: ImageTarget, given: CheckOptions = {}): Promise<CheckTargetResult> {
  const { log = 'refuse', ...options } = optionsOf(given)
  refuseWritable(target)
  return readTarget(target, options, (device) => {
    const { volume, roots, ignored } = openVolume(device, { log: log === 'recover' ? 'ignore' : log })
    const dirty = ignored?.code === 'DIRTYLOG'
    // A log that cannot be read is a finding.
    if (ignored && ignored.code !== 'IO' && (!dirty || log === 'refuse')) throw ignored
    const base = roots?.device ?? device
    const state = dirty && log === 'recover' ? Volume.open(recoverInMemory(base), { needsRepair: true }) : volume
    const result = checkFilesystem(state.device, state.geometry, undefined, roots)
    addPaths(state.device, result)
    return { ...result, dirty }
  })
}

export interface RecoverResult extends Recovered {
  /** Of a dry run: what would be written, in bytes from the start of the filesystem. */
  readonly changes: Worked['changes']
}

/**
 * Recover a filesystem after an interrupted change: replay its log, free unlinked inodes and CoW
 * staging blocks, clear NEEDSREPAIR. `refused` is why it has to be repaired.
 * @throws XfsError DIRTYLOG if only the kernel can replay the log; nothing was changed
 */
export async function recover(target: HostTarget | Device, options: ChangeOptions = {}): Promise<RecoverResult> {
  optionsOf(options)
  return changeTarget(target, options, ({ device, changes }) => {
    Volume.open(device, { needsRepair: true })
    return { ...recoverFilesystem(device), changes }
  })
}

export interface RepairTargetOptions extends ChangeOptions {
  /** Write even if some problems are not repaired. */
  readonly partial?: boolean
  /**
   * A file that gets the old content of everything that is written, for `undo`. It must not exist,
   * and does not if nothing is written. The changes are in memory until it is complete.
   */
  readonly undo?: HostPath
  /** A dirty log is discarded with the changes in it, as by xfs_repair -L (default: it is replayed). */
  readonly discardLog?: boolean
}

export interface RepairTargetResult extends RepairResult {
  /** What was recovered before, if the log was dirty. */
  readonly recovered: Recovered | undefined
  /** What was in a dirty log that was discarded. */
  readonly discarded: DiscardedLog | undefined
  /** What was done after that, or of a dry run: what would be done. */
  readonly actions: readonly RepairAction[]
}

/**
 * Repair a filesystem; a dirty log is replayed first. It is rehearsed in memory, and written only
 * if a check of the result finds no problems (or with `partial`). A dry run of a filesystem that
 * has a dirty log shows the repair of what the replay would leave.
 * @throws XfsError DIRTYLOG if the log cannot be replayed; BUSY; INVAL, CORRUPT, BADCRC,
 *   UNSUPPORTED if it cannot be repaired
 */
export async function repair(
  target: HostTarget | Device,
  given: RepairTargetOptions = {},
): Promise<RepairTargetResult> {
  const { partial = false, undo, discardLog: discard = false, ...options } = optionsOf(given)
  const dryRun = options.dryRun === true
  if (dryRun) refuseWritable(target)
  const work = (device: Device): RepairTargetResult => {
    const roots = findRoots(device)
    const state = roots.missing ? undefined : logState(Volume.open(roots.device, { needsRepair: true }))
    const dirty = state?.clean === false
    const discarded = dirty && discard ? discardLog(roots.device, roots.geometry, state) : undefined
    const recovered = dirty && !discard ? recoverFilesystem(roots.device) : undefined
    const repaired = repairFilesystem(device, { dryRun, partial })
    addPaths(findRoots(device).device, repaired.before, repaired.after)
    const changed = repaired.changed || ((recovered !== undefined || discarded !== undefined) && !dryRun)
    const actions = actionsOf(repaired.before.observation.inodes.geometry, repaired)
    return { ...repaired, changed, recovered, discarded, actions }
  }
  const keep = ({ after, declined, changed }: RepairTargetResult): boolean =>
    changed || !(isWrong(after) || declined.length > 0)
  return changeTarget(
    target,
    options,
    ({ device }) => {
      reportState(device, options, isHostTarget(target) ? hostPathOf(target) : undefined)
      return undo === undefined || dryRun ? work(device) : withUndo(device, undo, work)
    },
    keep,
  )
}

/** The state on disk of a filesystem that is mounted for changes is not a state to judge. */
function refuseWritable(target: ImageTarget): void {
  if (isHostTarget(target)) refuseMounted(hostPathOf(target), { readOnly: false })
}
