import type { Device } from '../device/device.ts'
import type { HostPath } from '../device/hostpath.ts'
import { changedBy } from '../device/lock.ts'
import { ImageLocked } from '../device/lockfile.ts'
import { type Overlay, overlay } from '../device/overlay.ts'
import { openPlace } from '../device/place.ts'
import { XfsError } from '../errors.ts'
import { superblockFaults } from '../format/sbrules.ts'
import { fixedClock, pinnedTime, systemClock } from '../format/time.ts'
import { openImage } from '../image.ts'
import { dirtyLog } from '../log/dirty.ts'
import { counted } from '../util/counted.ts'
import type { Volume } from '../volume.ts'
import { reportState } from '../xfsimage/edit.ts'
import { hostPath, type ImageArguments } from './arguments.ts'
import { changeCopy, changeDevice, whenFree } from './changing.ts'
import { CannotRun, ChangeUndone, DIRTY_LOG, Interrupted, OK, replaceStatus, type Session } from './command.ts'
import { watchImage } from './reading.ts'
import { holdSignals } from './signals.ts'

interface DeviceOptions extends ImageArguments {
  /** Open the complete device, even if it is a disk with one XFS partition. */
  readonly asDisk?: boolean
}

export interface VolumeOptions extends DeviceOptions {
  /** Open even if the superblock has NEEDSREPAIR. */
  readonly needsRepair?: boolean
  /** For reading: refuse a dirty log, because the image lacks its changes. */
  readonly complete?: boolean
}

/**
 * Open the image, do `use`, close it. For 'write' the image is locked, a dirty log is refused,
 * signals are held until the current step is done, and the image is sound even if `use` fails. With
 * `dryRun` changes go to memory, with `output` to a sparse copy.
 *
 * The changes are durable when this returns; report them afterwards. The exit status in the answer
 * of `use` (see `statusOf`) becomes PARTLY if it is FAILED and something was changed, and DIRTY_LOG
 * if a reader ignored a dirty log.
 *
 * @throws CannotRun (no such file, not an XFS image), XfsError BUSY, DIRTYLOG, UNSUPPORTED, and
 *   what `use` throws
 */
export function withVolume<T>(
  session: Pick<Session, 'out'>,
  image: string,
  mode: 'read' | 'write',
  options: VolumeOptions,
  use: (volume: Volume) => T | Promise<T>,
): Promise<T> {
  return withDevice(session, image, mode, options, async (device) => {
    const { volume, dirty } = openVolume(session, image, device, mode, options)
    let result: T
    try {
      result = await use(volume)
    } catch (error) {
      closeAfter(volume, error)
      throw error
    }
    // An incomplete transaction was undone; committed ones go to the device.
    if (mode === 'write') volume.sync()
    return dirty ? replaceStatus(result, OK, DIRTY_LOG) : result
  })
}

/** Finish after an error. An error of finishing is added to the first one. */
function closeAfter(volume: Volume, error: unknown): void {
  if (!volume.writable) return
  try {
    volume.sync()
  } catch (second) {
    // The image may not be sound any more.
    if (error instanceof Interrupted || error instanceof ChangeUndone) throw second
    if (error instanceof Error && second !== error)
      error.message += `; and the changes before that could not be completed: ${(second as Error).message}`
  }
}

/**
 * A change runs much code for a short time, and V8 would spend half of the processor time on
 * optimizing it. Less inlining saves a sixth of the total.
 */
const LESS_INLINING = '--max-inlined-bytecode-size-cumulative=200'

/**
 * Open the device, with a partition or an offset, call `use`, close it. For devices without a valid
 * filesystem.
 */
export async function withDevice<T>(
  session: Pick<Session, 'out'>,
  image: string,
  mode: 'read' | 'write',
  options: DeviceOptions,
  use: (device: Device) => T | Promise<T>,
): Promise<T> {
  if (mode === 'read') return readDevice(session, image, options, use)
  process.getBuiltinModule('node:v8').setFlagsFromString(LESS_INLINING)
  const { dryRun, output, wait } = options
  return holdSignals(async () => {
    if (dryRun === true)
      return readDevice(session, image, options, async (device) => {
        reportState(device, options, hostPath(image))
        const dry = overlay(device)
        const result = await use(dry)
        reportDryRun(session, dry)
        return result
      })
    const change = async (file: HostPath): Promise<T> =>
      changeDevice(await whenFree(wait, () => openPart(session, file, 'rw', options)), (device) => {
        reportState(device, options, hostPath(image))
        return use(device)
      })
    return output === undefined ? change(hostPath(image)) : changeCopy(image, output, wait, change)
  })
}

async function readDevice<T>(
  session: Pick<Session, 'out'>,
  image: string,
  options: DeviceOptions,
  use: (device: Device) => T | Promise<T>,
): Promise<T> {
  const device = openPart(session, hostPath(image), 'r', options)
  const endWatch = watchImage(session, image)
  try {
    return await use(device)
  } finally {
    device.close()
    endWatch()
  }
}

function openPart(
  { out }: Pick<Session, 'out'>,
  image: HostPath,
  mode: 'r' | 'rw',
  { offset, partition, asDisk }: DeviceOptions,
): Device {
  const place = { ...(offset === undefined ? {} : { offset }), ...(partition === undefined ? {} : { partition }) }
  const given = offset !== undefined || partition !== undefined
  const { device, chosen } = running(() => openPlace(image, mode, asDisk === true && !given ? 'disk' : place))
  if (chosen !== undefined) out.error(`xfskit: ${image}: partition ${chosen}, the only one that holds XFS\n`)
  return device
}

/** An error that prevents the command from running, with the image's name. */
export function running<T>(open: () => T, image?: string): T {
  try {
    return open()
  } catch (error) {
    if (!(error instanceof XfsError) || error instanceof ImageLocked) throw error
    const message = image === undefined ? error.message : `${image}: ${error.message}`
    if (error.code === 'BUSY' || error.code === 'UNSUPPORTED' || error.code === 'NOSPC' || error.code === 'DIRTYLOG') {
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
): { volume: Volume; dirty: boolean } {
  if (mode === 'read') {
    const volume = running(() => openImage(device), image)
    return { volume, dirty: checkLog(session, image, volume, options) }
  }
  return { volume: openToChange(image, device, options.needsRepair), dirty: false }
}

/** @throws CannotRun, XfsError DIRTYLOG, UNSUPPORTED */
export function openToChange(image: string, device: Device, needsRepair = false): Volume {
  const time = running(() => pinnedTime(process.env), image)
  const now = time ? fixedClock(time.seconds) : systemClock
  return running(() => openImage(device, { write: true, needsRepair, now }), image)
}

/**
 * Report a dirty log: its changes are not in place yet.
 * @returns whether it is dirty: the output is then incomplete
 * @throws XfsError DIRTYLOG if the command needs the complete state
 */
function checkLog(session: Pick<Session, 'out'>, image: string, volume: Volume, { complete }: VolumeOptions): boolean {
  const fault = superblockFaults(volume.geometry.sb, 'primary')[0]
  if (fault) session.out.error(`xfskit: warning: ${image}: superblock: ${fault.field}: ${fault.message}\n`)
  const refusal = dirtyLog(volume)
  const marked = volume.features.has('needsrepair')
  if (!refusal && !marked) return false
  // While the image is being changed both are normal, and a warning was printed.
  const busy = changedBy(hostPath(image))
  if (marked && busy === undefined)
    session.out.error(`xfskit: warning: ${image} is marked NEEDSREPAIR: a change to it was interrupted\n`)
  if (!refusal) return false
  if (complete === true) throw new XfsError('DIRTYLOG', busy ?? `${image}: ${refusal.message}`, { type: 'log' })
  if (busy === undefined)
    session.out.error(`xfskit: warning: ${image}: showing the state on disk without the log: ${refusal.message}\n`)
  return true
}

function reportDryRun(session: Pick<Session, 'out'>, dry: Overlay): void {
  let places = 0
  let bytes = 0
  for (const { length } of dry.changed()) {
    places++
    bytes += length
  }
  session.out.line(`dry run: would write ${counted(bytes, 'byte')} in ${counted(places, 'place')}; nothing was written`)
}
