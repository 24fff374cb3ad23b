import { rmSync } from 'node:fs'
import type { Device } from '../device/device.ts'
import { copyFile, fileExists, openFile } from '../device/file.ts'
import { type Overlay, overlay } from '../device/overlay.ts'
import { findPartition } from '../device/partition.ts'
import { window } from '../device/window.ts'
import { XfsError } from '../errors.ts'
import { markedCommits } from '../log/checkpoint.ts'
import { logState } from '../log/ring.ts'
import { Volume } from '../volume.ts'
import { hostPath, type ImageArguments } from './arguments.ts'
import { CannotRun, type Session } from './command.ts'
import { holdSignals } from './signals.ts'

export interface VolumeOptions extends ImageArguments {
  /** Open although the superblock says NEEDSREPAIR. */
  readonly needsRepair?: boolean
}

/**
 * Open the image, do `use`, close it. For 'write': the image is locked, a dirty log is refused, signals are held until the step under way is done, and
 * the image is sound at the end, however `use` ends. With `dryRun` changes go to memory, with `output` to a sparse copy.
 *
 * @throws CannotRun (no such file, not an XFS image), XfsError BUSY, DIRTYLOG, UNSUPPORTED, and what `use` throws
 */
export function withVolume<T>(
  session: Pick<Session, 'out'>,
  image: string,
  mode: 'read' | 'write',
  options: VolumeOptions,
  use: (volume: Volume) => T | Promise<T>,
): Promise<T> {
  return withDevice(session, image, mode, options, async (device) => {
    const volume = openVolume(session, image, device, mode, options)
    let result: T
    try {
      result = await use(volume)
    } catch (error) {
      closeAfter(volume, error)
      throw error
    }
    // What stopped half way was undone; what was committed goes to the device.
    if (mode === 'write') volume.sync()
    return result
  })
}

/** Finish after an error: the first error is the one to tell, and one of finishing is told with it. */
function closeAfter(volume: Volume, error: unknown): void {
  if (!volume.writable) return
  try {
    volume.sync()
  } catch (second) {
    if (error instanceof Error && second !== error)
      error.message += `; and the changes before it could not be finished: ${(second as Error).message}`
  }
}

/**
 * A change runs through much code, most of it for a short time only, and V8 would spend half of the processor's time on optimizing it: less inlining makes
 * that a sixth of the whole less.
 */
const SMALL_PIECES = '--max-inlined-bytecode-size-cumulative=200'

/** Open the device, with a partition or an offset, do `use`, close it. For what is no filesystem yet, or a broken one. */
export async function withDevice<T>(
  session: Pick<Session, 'out'>,
  image: string,
  mode: 'read' | 'write',
  options: ImageArguments,
  use: (device: Device) => T | Promise<T>,
): Promise<T> {
  if (mode === 'read') return useDevice(openPart(image, 'r', options), use)
  process.getBuiltinModule('node:v8').setFlagsFromString(SMALL_PIECES)
  return holdSignals(() => {
    if (options.dryRun === true) {
      const dry = overlay(openPart(image, 'r', options))
      return useDevice(dry, async (device) => {
        const result = await use(device)
        tellChanges(session, dry)
        return result
      })
    }
    if (options.output === undefined) return useDevice(openPart(image, 'rw', options), use)
    return onCopy(image, options.output, (copy) => useDevice(openPart(copy, 'rw', options), use))
  })
}

async function useDevice<T>(device: Device, use: (device: Device) => T | Promise<T>): Promise<T> {
  try {
    return await use(device)
  } finally {
    device.close()
  }
}

/** A copy that the command failed on is removed, unless it took the place of another file. */
async function onCopy<T>(image: string, output: string, use: (copy: string) => Promise<T>): Promise<T> {
  const existed = fileExists(hostPath(output))
  running(() => copyFile(hostPath(image), hostPath(output)))
  try {
    return await use(output)
  } catch (error) {
    if (!existed) rmSync(hostPath(output), { force: true })
    throw error
  }
}

function openPart(image: string, mode: 'r' | 'rw', { offset, partition }: ImageArguments): Device {
  const file = running(() => openFile(hostPath(image), mode))
  try {
    if (offset !== undefined) return window(file, offset)
    if (partition === undefined) return file
    const part = running(() => findPartition(file, partition))
    return window(file, part.offset, part.size)
  } catch (error) {
    file.close()
    throw error
  }
}

/** What keeps a command from running at all, told with the image's name. */
export function running<T>(open: () => T, image?: string): T {
  try {
    return open()
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    const message = image === undefined ? error.message : `${image}: ${error.message}`
    if (error.code === 'BUSY' || error.code === 'UNSUPPORTED' || error.code === 'NOSPC') {
      throw new XfsError(error.code, message, error.where, { cause: error })
    }
    throw new CannotRun(message, { cause: error })
  }
}

function openVolume(
  session: Pick<Session, 'out'>,
  image: string,
  device: Device,
  mode: 'read' | 'write',
  options: VolumeOptions,
): Volume {
  const needsRepair = mode === 'read' || options.needsRepair === true
  const volume = running(() => Volume.open(device, { needsRepair }), image)
  lookAtLog(session, image, volume, mode)
  if (mode === 'read') return volume
  return running(() => Volume.open(device, { write: true, needsRepair, committer: markedCommits }), image)
}

/** A dirty log is never ignored: what it holds is not where it belongs yet. */
function lookAtLog(session: Pick<Session, 'out'>, image: string, volume: Volume, mode: 'read' | 'write'): void {
  if (mode === 'read' && volume.features.has('needsrepair')) {
    session.out.error(`xfskit: warning: ${image} is marked NEEDSREPAIR: a change to it was interrupted\n`)
  }
  const log = logState(volume)
  if (log.clean) return
  const what = log.fault === undefined ? 'the log is dirty' : `the log cannot be read (${log.fault})`
  if (mode === 'write') {
    throw new XfsError(
      'DIRTYLOG',
      `${image}: ${what}: replay it first, with xfskit recover, or by mounting and unmounting the image`,
      { type: 'log' },
    )
  }
  session.out.error(`xfskit: warning: ${image}: ${what}; what is shown is what stands on disk without it\n`)
}

function tellChanges(session: Pick<Session, 'out'>, dry: Overlay): void {
  let places = 0
  let bytes = 0
  for (const { length } of dry.changed()) {
    places++
    bytes += length
  }
  session.out.line(`dry run: ${bytes} bytes in ${places} places would be written; nothing was`)
}
