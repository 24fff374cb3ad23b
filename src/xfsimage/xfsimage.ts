import type { Readable, Writable } from 'node:stream'
import type { Device } from '../device/device.ts'
import { type Mounted, mountedXfs } from '../device/mounted.ts'
import { openPlace, type Place } from '../device/place.ts'
import { ChangeUndone, type Where, XfsError } from '../errors.ts'
import type { PathLike } from '../namespace/namespace.ts'
import type { TransferResult } from '../transfer/put.ts'
import { escapeBytes } from '../util/escape.ts'
import { pathBytes } from '../util/printable.ts'
import type { Volume } from '../volume.ts'
import { iterableOf, optionsOf, positionOf } from './arguments.ts'
import { XfsImageCore } from './core.ts'
import {
  type ChangeOptions,
  changeDevice,
  placeOf,
  readDevice,
  reportState,
  type Worked,
  type WorkOptions,
} from './edit.ts'
import type { FileRef } from './file.ts'
import { type Fingerprint, requireSame } from './fingerprint.ts'
import {
  type HostTarget,
  hostBytesOf,
  hostPathOf,
  isDescriptor,
  isHostTarget,
  isStream,
  type OpenArchive,
  openArchive,
} from './host.ts'
import type { Io, IoOptions } from './io.ts'
import type { OpenOptions } from './opening.ts'
import { pipeTo } from './pipe.ts'
import { type ReadStreamOptions, readStream, type WriteStreamOptions, writeStream } from './streams.ts'
import type { GetOptions, PutFrom, PutOptions } from './transfer.ts'

/** Loaded when they are used: programs that only look at an image start sooner without them. */
const loadTransfer = async () => ({
  ...(await import('../transfer/bytesink.ts')),
  ...(await import('../transfer/get.ts')),
  ...(await import('../transfer/places.ts')),
  ...(await import('../transfer/put.ts')),
  ...(await import('./transfer.ts')),
})

export interface FileOpenOptions extends OpenOptions, Place {}

export interface ViewOptions extends Omit<OpenOptions, 'write' | 'dryRun'>, WorkOptions {}
export interface EditOptions extends Omit<OpenOptions, 'write' | 'dryRun'>, ChangeOptions {}

/** What `XfsImage.plan` gives. */
export interface Plan<T> {
  /** What the function returned, in memory. */
  readonly result: T
  /** What would be written, in bytes from the start of the filesystem; in order. */
  readonly changes: readonly { readonly start: number; readonly length: number }[]
  /** The state of the image that it was made for. */
  readonly image: Fingerprint
  /** Do it. @throws XfsError STALE if the image was changed since; as `XfsImage.edit` */
  apply(): Promise<T>
}

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
    const { offset, partition, ...rest } = optionsOf(options)
    if (!isHostTarget(target)) return new XfsImage(target, rest)
    const mode = rest.write && !rest.dryRun ? 'rw' : 'r'
    const { device } = openPlace(hostPathOf(target), mode, placeOf(options))
    try {
      return new XfsImage(device, rest)
    } catch (error) {
      device.close()
      throw error
    }
  }

  /**
   * The mounted filesystem of a mount point, a device, or the file of a loop device, as the kernel
   * reports it: its superblock on the device may be older. Only Linux reports mounts.
   * @returns undefined if there is none
   */
  static mounted(target: HostTarget): Mounted | undefined {
    return mountedXfs(hostPathOf(target))
  }

  /**
   * Open an image for reading, let `use` read it, and close it.
   * @throws as `open`; what `use` throws
   */
  static view<T>(target: HostTarget, options: ViewOptions, use: (image: XfsImage) => T | Promise<T>): Promise<T> {
    const { offset, partition, whole, onWarning, ...rest } = optionsOf(options)
    return readDevice(hostPathOf(target), defined({ offset, partition, whole, onWarning }), async (device) => {
      const image = new XfsImage(device, rest)
      try {
        return await use(image)
      } catch (error) {
        throw image.#withPath(error)
      }
    })
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
    const { offset, partition, whole, onWarning, dryRun, output, wait, signal, onState, ...rest } = optionsOf(options)
    const change = defined({ offset, partition, whole, onWarning, dryRun, output, wait, signal })
    const work = async (worked: Worked): Promise<T> => {
      reportState(worked.device, defined({ onState }), hostPathOf(target))
      const image = new XfsImage(worked.device, { ...rest, write: true })
      image.#worked = worked
      return image.#finish(() => use(image))
    }
    return changeDevice(hostPathOf(target), change, work, keep)
  }

  /**
   * Let `use` change an image in memory only, to see what it does; `apply` lets it do the same to
   * the image, if that is as it was. `use` is called twice, and must do the same both times.
   *
   *     const plan = await XfsImage.plan('disk.img', {}, (image) => image.dedupe('/a', '/b'))
   *     if (plan.result.same) await plan.apply()
   *
   * @throws as `edit`
   */
  static async plan<T>(
    target: HostTarget,
    options: Omit<EditOptions, 'dryRun' | 'onState'>,
    use: (image: XfsImage) => T | Promise<T>,
  ): Promise<Plan<T>> {
    const states: Fingerprint[] = []
    const onState = (found: Fingerprint): void => void states.push(found)
    const { output: _, ...dry } = optionsOf(options)
    const work = async (image: XfsImage) => {
      const result = await use(image)
      image.sync()
      return { result, changes: [...image.changes] }
    }
    const planned = await XfsImage.edit(target, { ...dry, dryRun: true, onState }, work)
    const state = states[0] as Fingerprint
    const apply = (): Promise<T> =>
      XfsImage.edit(target, { ...options, onState: (found) => requireSame(state, found) }, use)
    return { ...planned, image: state, apply }
  }

  #worked: Worked | undefined

  /** Something was changed, and not undone, since `edit` opened it. */
  get changed(): boolean {
    return this.kept && (this.#worked?.changed ?? false)
  }

  override get changes(): Iterable<{ readonly start: number; readonly length: number }> {
    return this.#worked?.changes ?? super.changes
  }

  /** Committed changes go to the device also after an error. */
  async #finish<T>(use: () => T | Promise<T>): Promise<T> {
    let result: T
    try {
      result = await use()
    } catch (caught) {
      const error = this.#noted(this.#withPath(caught))
      try {
        this.sync()
      } catch (second) {
        if (!(error instanceof XfsError)) throw second
        if (second !== caught)
          error.message += `; and the changes before it could not be finished: ${(second as Error).message}`
      }
      throw error
    }
    this.sync()
    return result
  }

  /** Whether changes were undone is said of all of them, not only of the last one. */
  #noted(error: unknown): unknown {
    if (!(error instanceof XfsError)) return error
    if (this.kept) return error instanceof ChangeUndone ? error.cause : error
    return error instanceof ChangeUndone ? error : new ChangeUndone(error)
  }

  /**
   * An error about a damaged inode or block gets the path of the file: a number alone says little.
   */
  #withPath(error: unknown): unknown {
    if (!(error instanceof XfsError) || !DAMAGE.has(error.code) || error.where.path !== undefined) return error
    const { code, message, where } = error
    const path = pathOfDamaged(this, where)
    if (path === undefined) return error
    const inode = `inode ${where.ino}`
    const named = message.includes(inode) ? message.replace(inode, `${inode} (${path})`) : `${path}: ${message}`
    return new XfsError(code, named, { ...where, path }, { cause: error })
  }

  // --------------------------------------------------------------------------------------- xfs_io

  /** The commands of xfs_io on the files of this image. */
  async io(options: IoOptions): Promise<Io> {
    const { openIo } = await import('./io.ts')
    return openIo(this.volume, optionsOf(options), (run) => (this.writable ? this.change('io', run) : run()))
  }

  // -------------------------------------------------------------------------------------- streams

  /** The content of a file, or of a range of it, as in Node: `end` is inclusive. */
  createReadStream(path: FileRef, options: ReadStreamOptions = {}): Readable {
    return readStream(this, this.file(path), streaming(options))
  }

  /**
   * Write a file from a stream. A new file appears when the stream is finished, or not at all; an
   * existing one is emptied and written in place. The image must be open until then; other changes
   * may be made meanwhile.
   */
  createWriteStream(path: FileRef, options: WriteStreamOptions = {}): Writable {
    const { flags, start, mode } = streaming(options)
    const writing = {
      ...(mode !== undefined && { mode }),
      ...(flags !== undefined && { flag: flags }),
      ...(start !== undefined && { offset: start }),
    }
    return writeStream(
      {
        open: () => this.openWriter(path, writing),
        use: (writer, action) => this.useWriter(writer, action),
        close: (writer) => this.closeWriter(writer),
      },
      options,
    )
  }

  // ---------------------------------------------------------------------------------- put and get

  /**
   * Copy files and trees of the host into the image, with all their metadata. As with cp(1), a
   * source goes into `destination` if that is an existing directory, else it gets this path;
   * `DIR/.` is the contents of DIR. With `tar` the sources are archives, whose contents go into a
   * directory; so do streams. Files that cannot be copied are in `problems`.
   * @throws XfsError NOTDIR (the destination is not a directory, but must be one), INVAL, IO
   */
  async put(
    sources: PutFrom | readonly PutFrom[],
    destination: PathLike,
    options: PutOptions & { readonly tar?: boolean } = {},
  ): Promise<TransferResult> {
    optionsOf(options)
    const opened: ({ readonly host: Buffer } & Partial<OpenArchive>)[] = []
    try {
      for (const source of Array.isArray(sources) ? sources : [sources])
        opened.push(
          isStream(source) || isDescriptor(source) || options.tar === true
            ? await openArchive(source, options.signal)
            : { host: hostBytesOf(source) },
        )
      const steps = async (volume: Volume) => {
        const { put, putPlaces, settingsOf } = await loadTransfer()
        const given = opened.map(({ host, tar }) => ({ host, ...(tar !== undefined && { tar }) }))
        return put(volume, putPlaces(volume, given, pathBytes(destination)), settingsOf(options))
      }
      return await this.changeLong('put', steps, options)
    } finally {
      for (const source of opened) source.close?.()
    }
  }

  /**
   * Copy files and trees of the image to the host. As with cp(1), a source goes into `target` if
   * that is an existing directory, else it gets this path; `DIR/.` is the contents of DIR. With
   * `tar`, or if `target` is a stream, a tar archive is written: to a file that gets its name when
   * it is complete. Files that cannot be copied are in `problems`.
   * @throws XfsError NOENT (a source), NOTDIR, EXIST (the target), IO, NOSPC
   */
  async get(
    sources: PathLike | readonly PathLike[],
    target: HostTarget | Writable | WritableStream,
    given: GetOptions = {},
  ): Promise<TransferResult> {
    const { tar = false, gzip = false, signal, onProgress, ...options } = optionsOf(given)
    const paths = Array.from(isPath(sources) ? [sources] : iterableOf('sources', sources), pathBytes)
    const long = { ...(signal && { signal }), ...(onProgress && { onProgress }) }
    if (isSink(target)) {
      const pipe = pipeTo(target, signal)
      try {
        const steps = async (volume: Volume) => {
          const { gatheringSink, getTar, tarPlaces } = await loadTransfer()
          const sink = gatheringSink((bytes) => pipe.push(bytes), gzip)
          return getTar(volume, tarPlaces(paths), sink, options)
        }
        const result = await this.readLong('get', steps, long, () => pipe.drained())
        await pipe.end()
        return result
      } catch (error) {
        throw await pipe.fail(error)
      }
    }
    const host = hostPathOf(target)
    const steps = async (volume: Volume) => {
      const { get, getPlaces, getTarFile, tarPlaces } = await loadTransfer()
      return tar || gzip
        ? getTarFile(volume, tarPlaces(paths), host, { ...options, gzip })
        : get(volume, getPlaces(paths, host), options)
    }
    return this.readLong('get', steps, long)
  }
}

/** Options of a stream, of which Node takes some. @throws XfsError INVAL */
function streaming<Options extends ReadStreamOptions | WriteStreamOptions>(options: Options): Options {
  const { highWaterMark = 1, start = 0 } = optionsOf(options)
  positionOf('start', start)
  if (!Number.isSafeInteger(start)) throw new XfsError('INVAL', `start: ${start} is not a number`)
  if (!Number.isInteger(highWaterMark) || highWaterMark < 1)
    throw new XfsError('INVAL', `highWaterMark: ${String(highWaterMark)}`)
  const { end = 0, encoding } = options as ReadStreamOptions
  if (typeof end !== 'number') throw new XfsError('INVAL', `end: ${String(end)} is not a number`)
  if (encoding !== undefined && !Buffer.isEncoding(encoding))
    throw new XfsError('INVAL', `encoding: ${String(encoding)} is not known`)
  return options
}

/** Without the properties that are undefined. */
const defined = <T extends object>(options: T): { [Name in keyof T]: Exclude<T[Name], undefined> } =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never

const isPath = (value: PathLike | readonly PathLike[]): value is PathLike =>
  typeof value === 'string' || value instanceof Uint8Array

const isSink = (target: HostTarget | Writable | WritableStream): target is Writable | WritableStream =>
  typeof target === 'object' &&
  target !== null &&
  ('getWriter' in target || ('write' in target && typeof target.write === 'function'))

const DAMAGE: ReadonlySet<string> = new Set(['CORRUPT', 'BADCRC'])

function pathOfDamaged(image: XfsImage, { ino, agno, agbno }: Where): string | undefined {
  try {
    const path =
      ino !== undefined
        ? image.pathOf(ino, { encoding: 'buffer' })
        : agno !== undefined && agbno !== undefined
          ? image.ownerOf({ agno, agbno })[0]?.path
          : undefined
    return path && escapeBytes(path)
  } catch (error) {
    // More is damaged, or `use` has closed the image.
    if (error instanceof XfsError) return undefined
    throw error
  }
}
