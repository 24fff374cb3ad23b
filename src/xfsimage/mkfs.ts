import { statSync } from 'node:fs'
import type { Device } from '../device/device.ts'
import { guarded, openFile, sectorSizes } from '../device/file.ts'
import { holdBack } from '../device/holdback.ts'
import type { HostPath } from '../device/hostpath.ts'
import { outputFile, syncFolder } from '../device/outputfile.ts'
import type { Place } from '../device/place.ts'
import { XfsError } from '../errors.ts'
import { AG_SECTORS } from '../format/ag.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import { type MkfsResult, mkfs as makeFilesystem } from '../mkfs/mkfs.ts'
import { type MkfsFileOptions, mkfsFile, refuseExisting } from '../mkfs/mkfsfile.ts'
import type { MkfsOptions } from '../mkfs/options.ts'
import type { PutSource, TransferResult } from '../transfer/put.ts'
import { optionsOf } from './arguments.ts'
import { changeDevice, readDevice, whenFree } from './edit.ts'
import { type HostTarget, hostBytesOf, hostPathOf, isDescriptor, isHostTarget, isStream, openArchive } from './host.ts'
import { run } from './run.ts'
import { type TimeLike, timestampOf } from './stats.ts'
import type { PutFrom, PutOptions } from './transfer.ts'
import { claimed } from './writers.ts'

export { environmentOptions, type OptionTexts, type ParsedOptions, parseOptions, parseSize } from '../mkfs/options.ts'

export interface MakeOptions extends Omit<MkfsOptions, 'time'>, Place, PutOptions {
  /**
   * Bytes of the image file; an existing one is replaced. `needed`: what the filesystem needs.
   * Default: the present size.
   */
  readonly imageSize?: number | 'needed'
  /** What is done if there is a filesystem or a partition table (default: refuse). */
  readonly existing?: 'refuse' | 'overwrite'
  /** `plan`: report the geometry, write nothing. */
  readonly action?: 'format' | 'plan'
  /** Name of the image in messages and the report (default: the path). */
  readonly name?: string
  /** Copy this into the root directory: the contents of a directory, or of a tar archive. */
  readonly from?: PutFrom
  /** Seconds to wait for another process that changes the image (default: 0). */
  readonly wait?: number
  /** Timestamps of the root directory (default: the present time). */
  readonly time?: TimeLike
}

export interface Made extends MkfsResult {
  /** What was copied, with `from`. */
  readonly filled?: TransferResult
}

/**
 * Make a filesystem: in an image file, which is created or replaced; in a part of it; on a block
 * device; or on a `Device`. With `from` it also gets files. It is complete or not at all: on an
 * error an image file is as before; a device or a part of one has no filesystem.
 * @throws XfsError EXIST (see `existing`), NOENT (no such file, and no size), NOSPC (too small, or
 *   `from` does not fit), INVAL, UNSUPPORTED (options), BUSY, IO; the reason of `signal`
 */
export async function mkfs(target: HostTarget | Device, options: MakeOptions = {}): Promise<Made> {
  const { offset, partition, from, time, ...given } = optionsOf(options)
  const plan = given.action === 'plan'
  const content = from === undefined || plan ? undefined : await contentOf(from, options.signal)
  const all = { ...given, ...(time !== undefined && { time: timestampOf(time) }) }
  try {
    options.signal?.throwIfAborted()
    if (!isHostTarget(target)) return await claimed(target, () => formatInPlace(target, all, content))
    const path = hostPathOf(target)
    const named = { ...all, name: given.name ?? String(path) }
    const part = offset !== undefined || partition !== undefined
    if (!part && !(content && isDevice(path)))
      return content ? await formatWhole(path, named, content) : await formatFile(path, named)
    const sectors = sectorSizes(path)
    const format = (device: Device) =>
      formatInPlace(device, { ...named, ...(sectors && { deviceSectors: sectors }) }, content)
    const { wait, signal } = options
    const place = {
      ...(offset !== undefined && { offset }),
      ...(partition !== undefined && { partition }),
      whole: !part,
    }
    if (plan) return await readDevice(path, place, format)
    const change = { ...place, ...(wait !== undefined && { wait }), ...(signal && { signal }) }
    return await changeDevice(path, change, ({ device }) => format(device))
  } finally {
    content?.close()
  }
}

type Format = MkfsFileOptions & PutOptions & Pick<MakeOptions, 'wait'>

interface Content extends PutSource {
  close(): void
}

/** Opened before anything is created. @throws XfsError NOENT, IO */
async function contentOf(from: PutFrom, signal: AbortSignal | undefined): Promise<Content> {
  const where = { dir: new TextEncoder().encode('/'), name: undefined }
  if (!isStream(from) && !isDescriptor(from)) {
    const host = hostBytesOf(from)
    if (guarded(host, 'read', () => statSync(host)).isDirectory()) return { ...where, host, close() {} }
  }
  return { ...where, ...(await openArchive(from, signal)) }
}

const isDevice = (path: HostPath): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === false

/** It is durable when this returns. */
async function formatFile(path: HostPath, options: Format): Promise<MkfsResult> {
  const made = await whenFree(options.wait, options.signal, () => mkfsFile(path, options))
  if (options.action !== 'plan') syncFolder(path)
  return made
}

/**
 * Under a temporary name: an incomplete image never has the final one. An existing file is locked
 * meanwhile.
 */
async function formatWhole(path: HostPath, options: Format, content: Content): Promise<Made> {
  const there = statSync(path, { throwIfNoEntry: false })
  if (!there && options.imageSize === undefined && options.size === undefined)
    throw new XfsError('NOENT', `${options.name ?? path} does not exist, and no size was given`)
  mkfsFile(path, { ...options, action: 'plan' })
  const held = there && (await whenFree(options.wait, options.signal, () => openFile(path, 'rw')))
  const file = outputFile(path)
  let complete = false
  try {
    const size = there && options.imageSize === undefined ? { imageSize: there.size } : {}
    const made = await formatFile(file.path, { ...options, ...size, existing: 'overwrite' })
    const device = openFile(file.path, 'rw')
    let filled: TransferResult
    try {
      filled = await fill(device, options, content)
    } finally {
      device.close()
    }
    file.commit()
    complete = true
    return { ...made, filled }
  } finally {
    if (!complete) file.abandon()
    held?.close()
  }
}

/** With content, the first sector is written last. */
async function formatInPlace(device: Device, options: Format, content: Content | undefined): Promise<Made> {
  const { existing, name = '' } = options
  if (existing !== 'overwrite') refuseExisting(device, name)
  const to = content ? holdBack(device) : undefined
  const made = makeFilesystem(to ?? device, options, name)
  if (!content || !to) {
    if (options.action !== 'plan') device.flush()
    return made
  }
  try {
    const filled = await fill(to, options, content)
    to.release()
    return { ...made, filled }
  } catch (error) {
    removeCopies(device, made)
    throw error
  }
}

/** Remove the secondary superblocks, so that the filesystem is not found by them. */
function removeCopies(device: Device, { geometry }: MkfsResult): void {
  for (let agno = 1; agno < geometry.agcount; agno++)
    device.zero(geometry.agHeaderDaddr(agno, AG_SECTORS.sb) * BASIC_BLOCK, geometry.sectsize)
}

/** @throws XfsError NOSPC if not everything fits */
async function fill(device: Device, options: Format, content: Content): Promise<TransferResult> {
  // Loaded when it is used: without content, making a filesystem is faster than loading it.
  const [{ openImage }, { put }, { settingsOf }] = await Promise.all([
    import('../image.ts'),
    import('../transfer/put.ts'),
    import('./transfer.ts'),
  ])
  const { time } = options
  const volume = openImage(device, { write: true, ...(time && { now: () => time }) })
  const filled = await run(put(volume, [content], settingsOf(options)), options)
  if (filled.problems.some(({ code }) => code === 'NOSPC'))
    throw new XfsError('NOSPC', 'not all files fit: no filesystem was created')
  volume.sync()
  return filled
}
