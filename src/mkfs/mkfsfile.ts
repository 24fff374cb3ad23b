import type { Device } from '../device/device.ts'
import { createFile, fileExists, openFile, sectorSizes } from '../device/file.ts'
import type { HostPath } from '../device/hostpath.ts'
import { findSignature } from '../device/signature.ts'
import { XfsError } from '../errors.ts'
import { randomUuid } from '../util/uuid.ts'
import { planFilesystem, tooLarge } from './geometry.ts'
import { format, type MkfsDeviceOptions, type MkfsResult, result } from './mkfs.ts'

export interface MkfsFileOptions extends MkfsDeviceOptions {
  /**
   * Size of the image file in bytes, or 'needed': the size that the filesystem needs. Default: the
   * current size, but at least the size that is needed.
   */
  readonly imageSize?: number | 'needed'
  /** What to do with a file that has content; default: refuse. */
  readonly existing?: 'refuse' | 'overwrite'
  /** Name of the image in messages and the report; default: the path. */
  readonly name?: string
}

/**
 * Make an image file. The content of a regular file is replaced by a hole, so nothing of it is
 * left.
 *
 * @throws XfsError EXIST if the file contains a filesystem or partition table; NOENT if there is no
 *   file and no size; and as `mkfs`
 */
export function mkfsFile(path: HostPath, options: MkfsFileOptions = {}): MkfsResult {
  const name = options.name ?? path.toString()
  const there = fileExists(path) ? inspect(path, name, options.existing === 'overwrite') : undefined
  const kept = options.imageSize === 'needed' ? undefined : (options.imageSize ?? there)
  if (kept === undefined && options.size === undefined) {
    throw new XfsError('NOENT', `Error accessing specified device ${name}: No such file or directory`)
  }
  const grows = typeof options.imageSize !== 'number'
  const room = grows ? Math.max(kept ?? 0, options.size ?? 0) : (kept ?? 0)
  const sectors = sectorSizes(path)
  const plan = planFilesystem(
    { ...options, ...(sectors && { deviceSectors: sectors }) },
    room,
    options.uuid ?? randomUuid(),
  )
  if (options.action === 'plan') return result(plan, name)
  const needed = plan.geometry.sb.dblocks * plan.geometry.blocksize
  const device = createFile(path, grows ? Math.max(kept ?? 0, needed) : (kept ?? 0))
  try {
    if (device.size < needed) throw tooLarge(needed, device.size, plan.geometry.blocksize) // a block device keeps its size
    return format(device, plan, options, name)
  } finally {
    device.close()
  }
}

/**
 * The size of an existing image.
 * @throws XfsError EXIST if it contains something that must not be overwritten
 */
function inspect(path: HostPath, name: string, overwrite: boolean): number {
  const device = openFile(path, 'r')
  try {
    if (!overwrite) refuseExisting(device, name)
    return device.size
  } finally {
    device.close()
  }
}

/** @throws XfsError EXIST if `device` contains a filesystem, a part of one or a partition table */
export function refuseExisting(device: Device, name: string): void {
  const signature = findSignature(device)
  if (!signature || signature.kind === 'file') return
  const what = signature.kind === 'filesystem' ? 'an existing filesystem' : 'a partition table'
  throw new XfsError(
    'EXIST',
    `${name} appears to contain ${what} (${signature.type}).\nUse the -f option to force overwrite.`,
  )
}
