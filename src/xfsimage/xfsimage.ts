import { fileURLToPath } from 'node:url'
import type { Device } from '../device/device.ts'
import type { HostPath } from '../device/hostpath.ts'
import { openPlace, type Place } from '../device/place.ts'
import { XfsError } from '../errors.ts'
import { XfsImageCore } from './core.ts'
import { type ChangeOptions, changeDevice, readDevice, type Worked, type WorkOptions } from './edit.ts'
import type { OpenOptions } from './opening.ts'

export interface FileOpenOptions extends OpenOptions, Place {}

export interface ViewOptions extends Omit<OpenOptions, 'write' | 'dryRun'>, WorkOptions {}
export interface EditOptions extends Omit<OpenOptions, 'write' | 'dryRun'>, ChangeOptions {}

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

  /**
   * Open an image for reading, let `use` read it, and close it.
   * @throws as `open`; what `use` throws
   */
  static view<T>(target: HostTarget, options: ViewOptions, use: (image: XfsImage) => T | Promise<T>): Promise<T> {
    const { place, onWarning, ...rest } = options
    return readDevice(hostPathOf(target), defined({ place, onWarning }), (device) => use(new XfsImage(device, rest)))
  }

  /**
   * Open an image for changes, let `use` change it, and close it. Changes are durable when this
   * returns. With `output` the image stays as it is, and a changed copy appears complete or not at
   * all.
   * @param keep  whether a result is a success; after a failure an `output` is not written
   * @throws as `open`; what `use` throws; ChangedInPart for an XfsError after a part of the changes
   */
  static edit<T>(
    target: HostTarget,
    options: EditOptions,
    use: (image: XfsImage) => T | Promise<T>,
    keep?: (result: T) => boolean,
  ): Promise<T> {
    const { place, onWarning, dryRun, output, wait, signal, ...rest } = options
    const change = defined({ place, onWarning, dryRun, output, wait, signal })
    const work = async (worked: Worked): Promise<T> => {
      const image = new XfsImage(worked.device, { ...rest, write: true })
      image.#worked = worked
      return image.#finish(() => use(image))
    }
    return changeDevice(hostPathOf(target), change, work, keep)
  }

  #worked: Worked | undefined

  /** Something was written since `edit` opened it. */
  get changed(): boolean {
    return this.#worked?.changed ?? false
  }

  override get changes(): Iterable<{ readonly start: number; readonly length: number }> {
    return this.#worked?.changes ?? super.changes
  }

  /** Committed changes go to the device also after an error. */
  async #finish<T>(use: () => T | Promise<T>): Promise<T> {
    let result: T
    try {
      result = await use()
    } catch (error) {
      try {
        this.sync()
      } catch (second) {
        if (!(error instanceof XfsError)) throw second
        if (second !== error)
          error.message += `; and the changes before it could not be finished: ${(second as Error).message}`
      }
      throw error
    }
    this.sync()
    return result
  }
}

const hostPathOf = (target: HostTarget): HostPath => pathOf(target) as HostPath

/** Without the properties that are undefined. */
const defined = <T extends object>(options: T): { [Name in keyof T]: Exclude<T[Name], undefined> } =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never

function pathOf(target: ImageTarget): HostPath | undefined {
  if (typeof target === 'string') return target
  if (target instanceof URL) return fileURLToPath(target)
  return 'path' in target ? target.path : undefined
}
