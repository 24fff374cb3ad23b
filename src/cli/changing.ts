import type { Device } from '../device/device.ts'
import { copyFile, openFile, sameFile } from '../device/file.ts'
import { fileStamp } from '../device/filestamp.ts'
import type { HostPath } from '../device/hostpath.ts'
import { changedBy } from '../device/lock.ts'
import { ImageLocked } from '../device/lockfile.ts'
import { type OutputFile, outputFile } from '../device/outputfile.ts'
import { XfsError } from '../errors.ts'
import { hostPath } from './arguments.ts'
import {
  CannotRun,
  ChangedInPart,
  ChangeUndone,
  FAILED,
  Interrupted,
  PARTLY,
  replaceStatus,
  statusOf,
  UsageError,
} from './command.ts'
import { eventLoopTurn, stopSignal } from './signals.ts'

/** Milliseconds between two attempts to lock. */
const LEAST_WAIT_MS = 20
const MORE_WAIT_MS = 80

/**
 * Open an image that another process may have locked.
 * @param seconds timeout (default: do not wait)
 * @throws ImageLocked, Interrupted, and what `open` throws
 */
export async function whenFree<T>(seconds: number | undefined, open: () => T): Promise<T> {
  const until = Date.now() + (seconds ?? 0) * 1000
  for (;;) {
    try {
      return open()
    } catch (error) {
      if (!(error instanceof ImageLocked) || !error.passes || Date.now() >= until) throw error
    }
    // A random delay: many processes may wait.
    await new Promise((resolve) => setTimeout(resolve, LEAST_WAIT_MS + Math.random() * MORE_WAIT_MS))
    const signal = stopSignal()
    if (signal !== undefined) throw new Interrupted(signal)
  }
}

/**
 * Let `use` change the device, and close it. Changes are durable when this returns. A failure
 * (thrown, or the answer FAILED) means that nothing was changed, or that all was undone. If
 * something was changed, FAILED becomes PARTLY.
 * @throws ChangedInPart for an error after a change, unless it is a ChangeUndone
 */
export async function changeDevice<T>(device: Device, use: (device: Device) => T | Promise<T>): Promise<T> {
  let changed = false
  const noted = notingWrites(device, () => {
    changed = true
  })
  try {
    const result = await use(noted)
    if (!changed) return result
    device.flush()
    return replaceStatus(result, FAILED, PARTLY)
  } catch (error) {
    if (!changed || error instanceof ChangeUndone) throw error
    if (error instanceof XfsError || error instanceof CannotRun || error instanceof UsageError)
      throw new ChangedInPart(error)
    throw error
  } finally {
    device.close()
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

/**
 * Let `use` change a copy of the image, which then gets the name `output`. On failure an existing
 * file `output` is unchanged.
 * @param wait  seconds to wait for a lock of the image or of the existing file
 * @throws CannotRun, ImageLocked, Interrupted, XfsError BUSY, NOSPC, and what `use` throws
 */
export async function changeCopy<T>(
  image: string,
  output: string,
  wait: number | undefined,
  use: (copy: HostPath) => Promise<T>,
): Promise<T> {
  const from = hostPath(image)
  const to = hostPath(output)
  const target = runningOutput(() => {
    if (sameFile(from, to)) throw new CannotRun(`--output ${output}: it is the image itself`)
    return outputFile(to)
  })
  if (target.inPlace) throw new CannotRun(`--output ${output}: not a regular file`)
  try {
    // An existing file must not be in use, and stays locked.
    const replaced = target.exists ? await whenFree(wait, () => openFile(to, 'rw')) : undefined
    try {
      await copyUnchanged(from, target.path, wait)
      const result = await use(target.path)
      if (statusOf(result) === FAILED) target.abandon()
      else target.commit()
      return result
    } finally {
      replaced?.close()
    }
  } catch (error) {
    target.abandon()
    // The copy was removed: nothing is changed.
    if (error instanceof ChangedInPart) throw error.cause
    throw error instanceof Interrupted ? new Interrupted(error.signal, `${output} was not written`) : error
  }
}

function runningOutput(open: () => OutputFile): OutputFile {
  try {
    return open()
  } catch (error) {
    if (error instanceof XfsError) throw new CannotRun(error.message, { cause: error })
    throw error
  }
}

/** @throws ImageLocked if the image is being changed, XfsError BUSY if it was changed meanwhile */
async function copyUnchanged(from: HostPath, to: HostPath, wait: number | undefined): Promise<void> {
  const before = await whenFree(wait, () => {
    const busy = changedBy(from)
    if (busy !== undefined) throw new ImageLocked(busy)
    return fileStamp(from)
  })
  try {
    copyFile(from, to)
  } finally {
    await eventLoopTurn()
    const signal = stopSignal()
    // biome-ignore lint/correctness/noUnsafeFinally: the copying program ends by the same signal
    if (signal !== undefined) throw new Interrupted(signal)
  }
  if (fileStamp(from) !== before || changedBy(from) !== undefined)
    throw new XfsError('BUSY', `${String(from)} was changed while it was copied`)
}
