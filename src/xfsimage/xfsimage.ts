import { fileURLToPath } from 'node:url'
import type { Device } from '../device/device.ts'
import type { HostPath } from '../device/hostpath.ts'
import { openPlace, type Place } from '../device/place.ts'
import { XfsImageCore } from './core.ts'
import type { OpenOptions } from './opening.ts'

export interface FileOpenOptions extends OpenOptions, Place {}

/** A file of the host: its path, a `file:` URL, or a path that is not UTF-8. */
export type HostTarget = string | URL | { readonly path: HostPath }

/** An image: a file of the host, a device, or the bytes of an image (which are copied). */
export type ImageTarget = HostTarget | Device | ArrayBuffer | Uint8Array

/**
 * An XFS filesystem in an image file, a block device, or a partition of one.
 *
 *     using image = XfsImage.open('disk.img', { write: true })
 *     image.writeFile('/etc/motd', 'welcome\n')
 */
export class XfsImage extends XfsImageCore {
  /**
   * Open an image. For changes it is locked until `close`: only one process changes an image.
   * @throws XfsError BUSY (for changes: mounted, attached to a loop device, or being changed by
   *   another process), NOENT, IO; and as `XfsImageCore.open`
   */
  static override open(target: ImageTarget, options: FileOpenOptions = {}): XfsImage {
    const { offset, partition, ...rest } = options
    const path = pathOf(target)
    if (path === undefined) return new XfsImage(target as Device | ArrayBuffer | Uint8Array, rest)
    const place = { ...(offset !== undefined && { offset }), ...(partition !== undefined && { partition }) }
    const { device } = openPlace(path, rest.write && !rest.dryRun ? 'rw' : 'r', place)
    try {
      return new XfsImage(device, rest)
    } catch (error) {
      device.close()
      throw error
    }
  }
}

function pathOf(target: ImageTarget): HostPath | undefined {
  if (typeof target === 'string') return target
  if (target instanceof URL) return fileURLToPath(target)
  return 'path' in target ? target.path : undefined
}
