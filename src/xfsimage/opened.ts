import type { Device } from '../device/device.ts'
import { ChangeUndone, XfsError } from '../errors.ts'
import type { Geometry } from '../format/geometry.ts'
import { geometryReport } from '../format/report.ts'
import type { Inode } from '../inode/inode.ts'
import { type Statfs, statfsOf } from '../inode/statfs.ts'
import type { Steps } from '../util/progress.ts'
import type { Volume } from '../volume.ts'
import { deviceOf, optionsOf } from './arguments.ts'
import { type FileRef, inodeOf } from './file.ts'
import type { FileWriter } from './filewriter.ts'
import { type Fingerprint, fingerprintOf } from './fingerprint.ts'
import { type OpenOptions, openVolume, type Warning } from './opening.ts'
import { type LongOptions, run } from './run.ts'
import { claim } from './writers.ts'

/**
 * The first part of `XfsImageCore`: the opened image, and which operations may run at the same
 * time.
 */
export abstract class OpenedImage implements Disposable {
  readonly #options: OpenOptions
  #volume: Volume
  /** The long change that is running. */
  #busy: { readonly what: string; readonly ended: Promise<void> } | undefined
  /** Long operations that read. */
  readonly #readers = new Set<{ readonly what: string; readonly ended: Promise<void> }>()
  /** Files that are being written in pieces. */
  protected readonly writers = new Set<FileWriter>()
  protected closed = false
  /** A change was made and not undone. */
  protected kept = false
  #release: () => void = () => {}
  /** Why the image cannot be changed any more, since a repair or recovery of it failed. */
  #refusal: XfsError | undefined
  /** The dry run's changes. */
  readonly #dry: { changed(): Iterable<{ readonly start: number; readonly length: number }> } | undefined
  /**
   * Why the state that is read is incomplete: a dirty log was ignored (`log: 'ignore'`), or is on
   * another device.
   */
  readonly incomplete: XfsError | undefined
  /** What is wrong with the image, though it could be opened for reading. */
  readonly warnings: readonly Warning[]

  protected constructor(target: Device | ArrayBuffer | Uint8Array, options: OpenOptions) {
    const device = deviceOf(target)
    optionsOf(options)
    if (options.write && !options.dryRun) this.#release = claim(device)
    try {
      const { volume, dry, ignored, warnings } = openVolume(device, options)
      this.#options = options
      this.#volume = volume
      this.#dry = dry
      this.incomplete = ignored
      this.warnings = warnings
    } catch (error) {
      this.#release()
      throw error
    }
  }

  /** Sizes and places of everything, and the superblock as it was when the image was opened. */
  get geometry(): Geometry {
    return this.volume.geometry
  }

  /** Text, as xfs_info prints it. @param name what it calls the image */
  report(name = ''): string {
    const { sb, features } = this.geometry
    return geometryReport(sb, features, name)
  }

  /** The superblock is marked NEEDSREPAIR: a change was interrupted outside of the log. */
  get needsRepair(): boolean {
    return this.volume.features.has('needsrepair')
  }

  get writable(): boolean {
    return this.volume.writable
  }

  /** Sizes and free space, as statfs(2) reports them of the mounted filesystem. */
  statfs(): Statfs {
    return statfsOf(this.volume)
  }

  /** What a dry run would write, in bytes from the start of the filesystem; in order. */
  get changes(): Iterable<{ readonly start: number; readonly length: number }> {
    return this.#dry?.changed() ?? []
  }

  /**
   * The state of the filesystem with all changes so far, to find out later whether it was changed.
   * @throws XfsError IO, BUSY
   */
  fingerprint(): Fingerprint {
    this.requireIdle('fingerprint')
    this.sync()
    return fingerprintOf(this.volume.device)
  }

  /** Everything that was changed is durable when this returns. @throws XfsError IO */
  sync(): void {
    if (this.writable) this.volume.sync()
  }

  /**
   * `sync`, and release the image. New files that were not written to their end are removed.
   * @throws XfsError IO
   */
  close(): void {
    if (this.closed) return
    this.closed = true
    try {
      for (const writer of this.writers) writer.abandon()
    } finally {
      this.#release()
      this.#volume.close()
    }
  }

  [Symbol.dispose](): void {
    this.close()
  }

  protected get volume(): Volume {
    if (this.closed) throw new XfsError('INVAL', 'the image is closed')
    return this.#volume
  }

  protected inode(path: FileRef, follow: boolean): Inode {
    return inodeOf(this.volume, path, follow)
  }

  /** A change at once. @throws XfsError ROFS, BUSY */
  protected change<T>(what: string, action: (volume: Volume) => T): T {
    this.requireIdle(what)
    const volume = this.#writable(what)
    return this.#noting(() => action(volume))
  }

  /** A change that another one may undo. */
  protected changeForNow<T>(what: string, action: (volume: Volume) => T): T {
    this.requireIdle(what)
    return action(this.#writable(what))
  }

  #noting<T>(action: () => T): T {
    try {
      const result = action()
      this.kept = true
      return result
    } catch (error) {
      this.#noteFailure(error)
      throw error
    }
  }

  /** What failed has changed something, unless it was undone. */
  #noteFailure(error: unknown): void {
    if (!(error instanceof ChangeUndone)) this.kept = true
  }

  /** A change in steps; the next one is refused until it has ended. @throws XfsError ROFS, BUSY */
  protected async changeLong<T>(
    what: string,
    steps: (volume: Volume) => Steps<T> | Promise<Steps<T>>,
    options: LongOptions,
  ): Promise<T> {
    this.requireIdle(what)
    const volume = this.#writable(what)
    const { running, end } = started(what)
    this.#busy = running
    try {
      const result = await run(await steps(volume), options)
      this.kept = true
      return result
    } catch (error) {
      this.#noteFailure(error)
      throw error
    } finally {
      this.#busy = undefined
      end()
    }
  }

  /** Reading in steps: changes are refused until it has ended. @throws XfsError BUSY */
  protected async readLong<T>(
    what: string,
    steps: (volume: Volume) => Steps<T> | Promise<Steps<T>>,
    options: LongOptions,
    between?: () => Promise<void> | undefined,
  ): Promise<T> {
    if (this.#busy) this.requireIdle(what)
    const { running, end } = started(what)
    this.#readers.add(running)
    try {
      return await run(await steps(this.volume), options, between)
    } finally {
      this.#readers.delete(running)
      end()
    }
  }

  /** Work on the device below the open filesystem, which is then opened again. */
  protected below<T>(what: string, action: (device: Device) => T): T {
    this.requireIdle(what)
    this.requireNoWriter(what)
    const { volume } = this
    if (this.#options.write !== true) throw readOnly(what)
    if (volume.writable) volume.sync()
    const { device } = volume
    try {
      return this.#noting(() => action(device))
    } finally {
      this.#reopen(device)
    }
  }

  /** The work may have failed half-way: an image that `open` would refuse can only be read then. */
  #reopen(device: Device): void {
    const options = { ...this.#options, dryRun: false }
    try {
      this.#volume = openVolume(device, options).volume
      this.#refusal = undefined
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      this.#refusal = error
      this.#volume = openVolume(device, { ...options, write: false, log: 'ignore' }).volume
    }
  }

  #writable(what: string): Volume {
    const { volume } = this
    if (this.#refusal) throw this.#refusal
    if (volume.writable) return volume
    throw readOnly(what)
  }

  get #running(): { readonly what: string; readonly ended: Promise<void> } | undefined {
    return this.#busy ?? [...this.#readers][0]
  }

  /** No long operation is running. */
  protected async idle(): Promise<void> {
    for (let { ended } = this.#running ?? {}; ended; { ended } = this.#running ?? {}) await ended
  }

  /** A new file that is being written has no name yet. @throws XfsError BUSY */
  protected requireNoWriter(what: string): void {
    if (this.writers.size > 0) throw new XfsError('BUSY', `${what}: a file is being written`)
  }

  protected requireIdle(what: string): void {
    const running = this.#running
    if (running) throw new XfsError('BUSY', `${what}: ${running.what} has not ended yet`)
  }
}

const readOnly = (what: string): XfsError => new XfsError('ROFS', `${what}: the image was opened for reading`)

/** A long operation: its name, and the promise that ends with it. */
function started(what: string) {
  let end = (): void => {}
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  return { running: { what, ended }, end }
}
