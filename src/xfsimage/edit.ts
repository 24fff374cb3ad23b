import type { Device } from '../device/device.ts'
import { copyFile, openFile, sameFile } from '../device/file.ts'
import { fileStamp, modificationTime } from '../device/filestamp.ts'
import type { HostPath } from '../device/hostpath.ts'
import { changedBy } from '../device/lock.ts'
import { ImageLocked } from '../device/lockfile.ts'
import { outputFile } from '../device/outputfile.ts'
import { overlay } from '../device/overlay.ts'
import { openPlace, type Place } from '../device/place.ts'
import { ChangedInPart, ChangeUndone, XfsError } from '../errors.ts'
import { deviceOf } from './arguments.ts'
import { type Fingerprint, fingerprintOf } from './fingerprint.ts'
import { type HostTarget, hostPathOf, isHostTarget } from './host.ts'
import { turn } from './run.ts'
import { claimed } from './writers.ts'

export { changedBy } from '../device/lock.ts'
export { ImageLocked } from '../device/lockfile.ts'

/**
 * Opening an image for the time of one piece of work, and closing it however the work ends:
 *
 *   read     open ─▶ work ─▶ close; warn if another process changes the image meanwhile
 *   change   lock ─▶ work ─▶ flush ─▶ unlock
 *   output   copy ─▶ lock the copy ─▶ work ─▶ flush ─▶ rename it; on failure remove it
 *   dry run  open ─▶ work on changes in memory ─▶ close
 */
export interface WorkOptions extends Place {
  /** The complete image, even if a partition contains XFS. */
  readonly whole?: boolean
  /**
   * Messages about circumstances in which the result may be wrong; the image's name is not in them.
   */
  readonly onWarning?: (message: string) => void
}

export interface ChangeOptions extends WorkOptions {
  /** Changes go to memory, and are lost. */
  readonly dryRun?: boolean
  /** Change a sparse copy, which gets this name if the work succeeds. */
  readonly output?: HostPath
  /** Seconds to wait for another process that changes the image (default: 0). */
  readonly wait?: number
  /** Ends waiting and copying; the work itself is the caller's. */
  readonly signal?: AbortSignal
  /**
   * Called before the work with the state of the image, which is locked if it is changed. If this
   * throws (as `requireSame` does), nothing is changed.
   */
  readonly onState?: (state: Fingerprint) => void
}

/** What work on a device gets. */
export interface Worked {
  readonly device: Device
  /** Something was written. */
  readonly changed: boolean
  /** What a dry run has changed. */
  readonly changes: Iterable<{ readonly start: number; readonly length: number }>
}

/** Where in an image a filesystem is. */
export const placeOf = ({ offset, partition, whole = false }: WorkOptions): Place | 'disk' =>
  whole ? 'disk' : { ...(offset !== undefined && { offset }), ...(partition !== undefined && { partition }) }

/** @throws XfsError as `openPlace`; what `work` throws */
export async function readDevice<T>(
  path: HostPath,
  { onWarning = () => {}, ...place }: WorkOptions,
  work: (device: Device) => T | Promise<T>,
): Promise<T> {
  const { device, chosen } = openPlace(path, 'r', placeOf(place))
  if (chosen !== undefined) onWarning(`partition ${chosen}, the only one that holds XFS`)
  const endWatch = watch(path, onWarning)
  try {
    return await work(device)
  } finally {
    device.close()
    endWatch()
  }
}

/**
 * Let `work` change the filesystem of an image. Changes are durable when this returns.
 * @param keep  whether a result is a success; after a failure an `output` is not written
 * @throws XfsError as `openPlace`; what `work` throws; ChangedInPart for an XfsError after a change
 */
export async function changeDevice<T>(
  path: HostPath,
  options: ChangeOptions,
  work: (worked: Worked) => T | Promise<T>,
  keep: (result: T) => boolean = () => true,
): Promise<T> {
  const { onWarning = () => {}, output, wait, signal } = options
  if (options.dryRun === true) return readDevice(path, options, (device) => workDry(device, work))
  const change = async (file: HostPath): Promise<T> => {
    const { device, chosen } = await whenFree(wait, signal, () => openPlace(file, 'rw', placeOf(options)))
    if (chosen !== undefined) onWarning(`partition ${chosen}, the only one that holds XFS`)
    try {
      return await changeOpened(device, work)
    } finally {
      device.close()
    }
  }
  return output === undefined ? change(path) : changeCopy(path, output, options, change, keep)
}

/** As `readDevice`; also on a device, or on bytes, which are copied. */
export const readTarget = async <T>(
  target: HostTarget | Device | ArrayBuffer | Uint8Array,
  options: WorkOptions,
  work: (device: Device) => T | Promise<T>,
): Promise<T> => (isHostTarget(target) ? readDevice(hostPathOf(target), options, work) : work(deviceOf(target)))

/** As `changeDevice`; also on a device, without `output`. */
export async function changeTarget<T>(
  target: HostTarget | Device,
  options: ChangeOptions,
  work: (worked: Worked) => T | Promise<T>,
  keep?: (result: T) => boolean,
): Promise<T> {
  if (isHostTarget(target)) return changeDevice(hostPathOf(target), options, work, keep)
  if (options.output !== undefined) throw new XfsError('INVAL', 'an output is a copy of a file')
  return options.dryRun === true ? workDry(target, work) : claimed(target, () => changeOpened(target, work))
}

function workDry<T>(device: Device, work: (worked: Worked) => T | Promise<T>): T | Promise<T> {
  const dry = overlay(device)
  return work({ device: dry, changed: false, changes: dry.changed() })
}

async function changeOpened<T>(device: Device, work: (worked: Worked) => T | Promise<T>): Promise<T> {
  let changed = false
  const noted = notingWrites(device, () => {
    changed = true
  })
  const worked = {
    device: noted,
    get changed() {
      return changed
    },
    changes: [],
  }
  try {
    const result = await work(worked)
    if (changed) device.flush()
    return result
  } catch (error) {
    if (changed && error instanceof XfsError && !(error instanceof ChangeUndone)) throw new ChangedInPart(error)
    throw error
  }
}

function notingWrites(device: Device, note: () => void): Device {
  const { behind } = device
  return {
    ...device,
    write(bytes, position) {
      note()
      device.write(bytes, position)
    },
    zero(position, length) {
      note()
      device.zero(position, length)
    },
    ...(behind && {
      behind: {
        write(bytes, position) {
          note()
          behind.write(bytes, position)
        },
        settle: () => behind.settle(),
      },
    }),
  }
}

/** Call `onState` with the state of an image that was opened, by whoever opened it. */
export function reportState(device: Device, { onState }: Pick<ChangeOptions, 'onState'>, path?: HostPath): void {
  if (!onState) return
  const modified = path === undefined ? undefined : modificationTime(path)
  onState({ ...fingerprintOf(device), ...(modified !== undefined && { modified }) })
}

// --------------------------------------------------------------------------------- other processes

/** Milliseconds between two attempts to lock. */
const LEAST_WAIT_MS = 20
const MORE_WAIT_MS = 80

/**
 * Open an image that another process may have locked.
 * @param seconds timeout (default: do not wait)
 * @throws ImageLocked, the reason of `signal`, and what `open` throws
 */
export async function whenFree<T>(
  seconds: number | undefined,
  signal: AbortSignal | undefined,
  open: () => T,
): Promise<T> {
  const until = Date.now() + (seconds ?? 0) * 1000
  for (;;) {
    try {
      return open()
    } catch (error) {
      if (!(error instanceof ImageLocked) || !error.passes || Date.now() >= until) throw error
    }
    // A random delay: many processes may wait.
    await new Promise((resolve) => setTimeout(resolve, LEAST_WAIT_MS + Math.random() * MORE_WAIT_MS))
    signal?.throwIfAborted()
  }
}

/**
 * Readers take no lock. They look at the start and at the end whether the image is being changed,
 * and warn once: their result may mix the states before and after the change.
 * @returns a function to call when reading has ended
 */
function watch(path: HostPath, warn: (message: string) => void): () => void {
  const before = fileStamp(path)
  let warned = false
  const tell = (message: string | undefined): void => {
    if (message === undefined || warned) return
    warned = true
    warn(`${message}; the output may be inconsistent`)
  }
  tell(changedBy(path))
  return () => {
    tell(changedBy(path))
    if (fileStamp(path) !== before) tell(`${String(path)} was changed while it was read`)
  }
}

// ------------------------------------------------------------------------------------------ copies

/**
 * Let `change` change a copy of the image, which then gets the name `output`. On failure an
 * existing file `output` is unchanged.
 * @throws XfsError INVAL (`output` is the image itself, or not a regular file), ImageLocked, BUSY,
 *   NOSPC, IO; the reason of the signal; what `change` throws
 */
async function changeCopy<T>(
  image: HostPath,
  output: HostPath,
  { wait, signal }: ChangeOptions,
  change: (copy: HostPath) => Promise<T>,
  keep: (result: T) => boolean,
): Promise<T> {
  if (sameFile(image, output)) throw new XfsError('INVAL', `${String(output)} is the image itself`)
  const target = outputFile(output)
  if (target.inPlace) throw new XfsError('INVAL', `${String(output)}: not a regular file`)
  try {
    // An existing file must not be in use, and stays locked.
    const replaced = target.exists ? await whenFree(wait, signal, () => openFile(output, 'rw')) : undefined
    try {
      await copyUnchanged(image, target.path, wait, signal)
      const result = await change(target.path)
      if (keep(result)) target.commit()
      else target.abandon()
      return result
    } finally {
      replaced?.close()
    }
  } catch (error) {
    target.abandon()
    // The copy was removed: nothing is changed.
    throw error instanceof ChangedInPart ? error.cause : error
  }
}

/** @throws ImageLocked if the image is being changed, XfsError BUSY if it was changed meanwhile */
async function copyUnchanged(
  from: HostPath,
  to: HostPath,
  wait: number | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const before = await whenFree(wait, signal, () => {
    const busy = changedBy(from)
    if (busy !== undefined) throw new ImageLocked(busy)
    return fileStamp(from)
  })
  try {
    copyFile(from, to)
  } finally {
    await turn()
    // A program that copies for us ends by the same signal, which is no error of copying.
    signal?.throwIfAborted()
  }
  if (fileStamp(from) !== before || changedBy(from) !== undefined)
    throw new XfsError('BUSY', `${String(from)} was changed while it was copied`)
}
