import { statSync } from 'node:fs'
import type { Device } from '../device/device.ts'
import { guarded, openFile, sectorSizes } from '../device/file.ts'
import { holdBack } from '../device/holdback.ts'
import type { HostPath } from '../device/hostpath.ts'
import { outputFile, syncFolder } from '../device/outputfile.ts'
import { openPlace, type Place } from '../device/place.ts'
import { XfsError } from '../errors.ts'
import { openImage } from '../image.ts'
import { type MkfsResult, mkfs as makeFilesystem } from '../mkfs/mkfs.ts'
import { type MkfsFileOptions, mkfsFile, refuseExisting } from '../mkfs/mkfsfile.ts'
import type { MkfsOptions } from '../mkfs/options.ts'
import { type PutSource, put, type TransferResult } from '../transfer/put.ts'
import {
  type ByteStream,
  type HostTarget,
  hostBytesOf,
  hostPathOf,
  isHostTarget,
  isStream,
  openArchive,
} from './host.ts'
import { run } from './run.ts'
import { type TimeLike, timestampOf } from './stats.ts'
import { type PutOptions, settingsOf } from './transfer.ts'
import { claimed } from './writers.ts'
import { placeOf } from './xfsimage.ts'

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
  readonly from?: HostTarget | ByteStream
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
  const { offset, partition, from, time, ...given } = options
  const plan = given.action === 'plan'
  const content = from === undefined || plan ? undefined : await contentOf(from, options.signal)
  const all = { ...given, ...(time !== undefined && { time: timestampOf(time) }) }
  try {
    options.signal?.throwIfAborted()
    if (!isHostTarget(target)) return await claimed(target, () => formatInPlace(target, all, content))
    const path = hostPathOf(target)
    const named = { ...all, name: given.name ?? String(path) }
    if (offset === undefined && partition === undefined && !(content && isDevice(path)))
      return content ? await formatWhole(path, named, content) : formatFile(path, named)
    const part = offset === undefined && partition === undefined ? 'disk' : placeOf(options)
    const { device } = openPlace(path, plan ? 'r' : 'rw', part)
    const sectors = sectorSizes(path)
    try {
      return await formatInPlace(device, { ...named, ...(sectors && { deviceSectors: sectors }) }, content)
    } finally {
      device.close()
    }
  } finally {
    content?.close()
  }
}

type Format = MkfsFileOptions & PutOptions

interface Content extends PutSource {
  close(): void
}

/** Opened before anything is created. @throws XfsError NOENT, IO */
async function contentOf(from: HostTarget | ByteStream, signal: AbortSignal | undefined): Promise<Content> {
  const where = { dir: new TextEncoder().encode('/'), name: undefined }
  if (!isStream(from)) {
    const host = hostBytesOf(from)
    if (guarded(host, 'read', () => statSync(host)).isDirectory()) return { ...where, host, close() {} }
  }
  return { ...where, ...(await openArchive(from, signal)) }
}

const isDevice = (path: HostPath): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === false

/** It is durable when this returns. */
function formatFile(path: HostPath, options: MkfsFileOptions): MkfsResult {
  const made = mkfsFile(path, options)
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
  const held = there && openFile(path, 'rw')
  const file = outputFile(path)
  let complete = false
  try {
    const size = there && options.imageSize === undefined ? { imageSize: there.size } : {}
    const made = formatFile(file.path, { ...options, ...size, existing: 'overwrite' })
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
  const filled = await fill(to, options, content)
  to.release()
  return { ...made, filled }
}

/** @throws XfsError NOSPC if not everything fits */
async function fill(device: Device, options: Format, content: Content): Promise<TransferResult> {
  const { time } = options
  const volume = openImage(device, { write: true, ...(time && { now: () => time }) })
  const filled = await run(put(volume, [content], settingsOf(options)), options)
  if (filled.problems.some(({ code }) => code === 'NOSPC'))
    throw new XfsError('NOSPC', 'not all files fit: no filesystem was created')
  volume.sync()
  return filled
}
