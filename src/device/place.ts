import { XfsError } from '../errors.ts'
import { SB_MAGIC, Superblock } from '../format/sb.ts'
import { viewOf } from '../util/view.ts'
import type { Device } from './device.ts'
import { openFile } from './file.ts'
import type { HostPath } from './hostpath.ts'
import { findPartition, type Partition, partitionWindow, xfsPartitions } from './partition.ts'
import { window } from './window.ts'

/** The position of a filesystem in a disk image. */
export interface Place {
  /** Bytes from the start of the image. */
  readonly offset?: number
  /** Number of a partition. Default: if the image is not XFS itself, the only one with XFS. */
  readonly partition?: number
}

export interface Placed {
  readonly device: Device
  /** The partition that was chosen because it is the only one with XFS. */
  readonly chosen: number | undefined
}

/**
 * Open the filesystem's part of an image.
 * @param place  'disk': the complete image, even if a partition contains XFS
 * @throws XfsError as `openFile`; NOENT (no such partition), CORRUPT (the partition table)
 */
export function openPlace(path: HostPath, mode: 'r' | 'rw', place: Place | 'disk'): Placed {
  const file = openFile(path, mode)
  try {
    if (place === 'disk') return { device: file, chosen: undefined }
    const { offset, partition } = place
    if (offset !== undefined && partition !== undefined)
      throw new XfsError('INVAL', 'an offset and a partition exclude each other')
    if (offset !== undefined) return { device: window(file, offset), chosen: undefined }
    const only = partition === undefined ? onlyXfs(file) : undefined
    const part = partition === undefined ? only : findPartition(file, partition)
    return { device: part ? partitionWindow(file, part) : file, chosen: only?.number }
  } catch (error) {
    file.close()
    throw error
  }
}

/** The only XFS partition of a disk that is not XFS itself. */
function onlyXfs(disk: Device): Partition | undefined {
  const magic = new Uint8Array(4)
  if (disk.size < 512) return undefined
  disk.read(magic, 0)
  if (Superblock.fields.magicnum.get(viewOf(magic), 0) === SB_MAGIC) return undefined
  const found = xfsPartitions(disk)
  return found?.length === 1 ? found[0] : undefined
}
