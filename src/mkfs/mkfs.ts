import { randomInt, randomUUID } from 'node:crypto'
import type { Device } from '../device/device.ts'
import { createFile, fileExists, openFile } from '../device/file.ts'
import { XfsError } from '../errors.ts'
import type { Geometry } from '../format/geometry.ts'
import { systemClock } from '../format/time.ts'
import { type MkfsPlan, planFilesystem } from './geometry.ts'
import type { MkfsOptions } from './options.ts'
import { geometryReport } from './report.ts'
import { findSignature } from './signature.ts'
import { writeFilesystem } from './write.ts'

export interface MkfsResult {
  readonly geometry: Geometry
  /** What mkfs.xfs prints. */
  readonly report: readonly string[]
}

export interface MkfsFileOptions extends MkfsOptions {
  /** Bytes that the image file shall have; default: what it has, or what the filesystem needs. */
  readonly imageSize?: number
  /** What to do with a file that holds something; default: refuse. */
  readonly existing?: 'refuse' | 'overwrite'
  /** Plan and report only. */
  readonly action?: 'format' | 'plan'
}

/**
 * Make an XFS filesystem on `device`, as mkfs.xfs does it: the same bytes, when time, generation and uuid are given.
 *
 * @param name what the report calls the device
 * @throws XfsError INVAL (options that do not go together, a size too small), UNSUPPORTED, IO, NOSPC
 * @source mkfs/xfs_mkfs.c
 */
export function mkfs(device: Device, options: MkfsOptions = {}, name = ''): MkfsResult {
  return format(device, planFilesystem(options, device.size, options.uuid ?? randomUUID()), options, name)
}

function format(device: Device, plan: MkfsPlan, options: MkfsOptions, name: string): MkfsResult {
  const random = (): number => options.generation ?? randomInt(2 ** 32)
  const identity = {
    time: options.time ?? systemClock(),
    generations: [random(), random()] as const,
    unusedGeneration: random(),
  }
  writeFilesystem(device, plan, identity)
  return result(plan, name)
}

const result = ({ geometry }: MkfsPlan, name: string): MkfsResult => ({
  geometry,
  report: geometryReport(geometry, name),
})

/**
 * Make an image file. A regular file is made anew, all of it a hole at first; so nothing of its old content stays.
 *
 * @throws XfsError EXIST where the file holds a filesystem or partition table; NOENT where there is no file and no size; and as `mkfs`
 */
export function mkfsFile(path: string, options: MkfsFileOptions = {}): MkfsResult {
  const found = fileExists(path) ? inspect(path, options.existing === 'overwrite') : undefined
  const room = options.imageSize ?? (options.size === undefined ? found : Math.max(options.size, found ?? 0))
  if (room === undefined)
    throw new XfsError('NOENT', `Error accessing specified device ${path}: No such file or directory`)
  const plan = planFilesystem(options, room, options.uuid ?? randomUUID())
  if (options.action === 'plan') return result(plan, path)
  const { sb, blocksize } = plan.geometry
  const device = createFile(path, options.imageSize ?? Math.max(sb.dblocks * blocksize, found ?? 0))
  try {
    return format(device, plan, options, path)
  } finally {
    device.close()
  }
}

/** The size of an existing image. @throws XfsError EXIST where it holds something that must not be overwritten */
function inspect(path: string, overwrite: boolean): number {
  const device = openFile(path, 'r')
  try {
    const signature = overwrite ? undefined : findSignature(device)
    if (signature) {
      const what = signature.kind === 'filesystem' ? 'an existing filesystem' : 'a partition table'
      throw new XfsError(
        'EXIST',
        `${path} appears to contain ${what} (${signature.type}).\nUse the -f option to force overwrite.`,
      )
    }
    return device.size
  } finally {
    device.close()
  }
}
