import type { Device } from '../device/device.ts'
import { type Overlay, overlay } from '../device/overlay.ts'
import { XfsError } from '../errors.ts'
import { superblockFaults } from '../format/sbrules.ts'
import { systemClock } from '../format/time.ts'
import { openImage } from '../image.ts'
import { dirtyLog } from '../log/dirty.ts'
import { recover, replayInMemory } from '../recovery/recover.ts'
import { findRoots, type Roots, restoredText } from '../roots/roots.ts'
import { Volume } from '../volume.ts'
import { choiceOf } from './arguments.ts'
import { type TimeLike, timestampOf } from './stats.ts'

export interface OpenOptions {
  /** Changes are wanted: the image is locked, and changes go through its log. */
  readonly write?: boolean
  /**
   * What happens if the log is dirty, that is, has changes that are not in their places yet:
   *
   * - `refuse` (default): XfsError DIRTYLOG.
   * - `recover`: for changes recover the filesystem first, as `recover` does; for reading replay the
   *   log in memory.
   * - `ignore`: read the state without these changes. Not with `write`.
   */
  readonly log?: 'refuse' | 'recover' | 'ignore'
  /** Open for changes although the superblock is marked NEEDSREPAIR (default: refuse). */
  readonly needsRepair?: boolean
  /** Changes go to memory: nothing is written. `changes` lists what would be. */
  readonly dryRun?: boolean
  /** The time for timestamps of everything that is changed (default: the present time). */
  readonly time?: TimeLike
}

export interface Opened {
  readonly volume: Volume
  /** For reading: how its superblock was found. */
  readonly roots: Roots | undefined
  /** Where changes of a dry run are. */
  readonly dry: Overlay | undefined
  /** Why the state that is read is incomplete: a dirty log was ignored. */
  readonly ignored: XfsError | undefined
  readonly warnings: readonly Warning[]
}

/** What is wrong with an image that was opened for reading all the same. */
export interface Warning {
  readonly about: 'superblock' | 'truncated' | 'needsrepair' | 'log'
  readonly message: string
}

/**
 * The policy of opening: what may be read, what may be changed.
 * @throws XfsError as `XfsImage.open`
 */
export function openVolume(device: Device, options: OpenOptions): Opened {
  const { write = false, log = 'refuse', needsRepair = false, time } = options
  choiceOf('log', log, ['refuse', 'recover', 'ignore'])
  if (write && log === 'ignore') throw new XfsError('INVAL', "log: 'ignore' is for reading only")
  if (write && options.dryRun !== true && device.readOnly)
    throw new XfsError('ROFS', 'the device was opened for reading')
  const dry = options.dryRun === true ? overlay(device) : undefined
  const fixed = time === undefined ? undefined : timestampOf(time)
  const clock = fixed ? () => fixed : systemClock
  const target = dry ?? device
  if (write) {
    if (log === 'recover') replay(target)
    return {
      volume: openImage(target, { write, needsRepair, now: clock }),
      roots: undefined,
      dry,
      ignored: undefined,
      warnings: [],
    }
  }
  const roots = findRoots(target)
  const volume = openImage(roots.device)
  const refusal = logRefusal(volume)
  if (refusal?.code === 'DIRTYLOG' && log === 'refuse') throw refusal
  if (refusal?.code !== 'DIRTYLOG' || log === 'ignore')
    return { volume, roots, dry, ignored: refusal, warnings: warningsOf(volume, roots, refusal) }
  const replayed = openImage(replayInMemory(roots.device))
  const note = { about: 'log', message: 'the log is dirty: showing the state after its replay' } as const
  return {
    volume: replayed,
    roots,
    dry,
    ignored: undefined,
    warnings: [...warningsOf(replayed, roots, undefined), note],
  }
}

/** Why the state that is read may lack the changes in the log; for reading, an IO error is a reason. */
function logRefusal(volume: Volume): XfsError | undefined {
  try {
    return dirtyLog(volume)
  } catch (error) {
    if (error instanceof XfsError && error.code === 'IO')
      return new XfsError('IO', `the log cannot be read: ${error.message}`, { type: 'log' }, { cause: error })
    throw error
  }
}

function warningsOf({ geometry, features }: Volume, roots: Roots, refusal: XfsError | undefined): Warning[] {
  const warnings: Warning[] = []
  const { restored, missing } = roots
  if (restored) warnings.push({ about: 'superblock', message: restoredText(restored) })
  if (missing) {
    const { start, length } = missing
    warnings.push({ about: 'truncated', message: `the image is truncated: bytes ${start}+${length} are missing` })
  }
  const fault = superblockFaults(geometry.sb, 'primary')[0]
  if (fault) warnings.push({ about: 'superblock', message: `superblock: ${fault.field}: ${fault.message}` })
  if (features.has('needsrepair'))
    warnings.push({ about: 'needsrepair', message: 'marked NEEDSREPAIR: a change to it was interrupted' })
  if (refusal) warnings.push({ about: 'log', message: `showing the state on disk without the log: ${refusal.message}` })
  return warnings
}

/** @throws XfsError DIRTYLOG */
function replay(device: Device): void {
  if (!dirtyLog(Volume.open(device, { needsRepair: true }))) return
  const { refused } = recover(device)
  if (refused !== undefined) throw new XfsError('DIRTYLOG', `not recovered: ${refused}; run xfskit repair`)
}
