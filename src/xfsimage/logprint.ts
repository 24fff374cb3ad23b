import { openImage } from '../db/image.ts'
import type { Device } from '../device/device.ts'
import { createFile } from '../device/file.ts'
import { XfsError } from '../errors.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import { type LogPlace, type LogRing, ringOn } from '../log/ring.ts'
import { type LogEntry, logEntries } from '../logprint/entries.ts'
import { headerText, logEnds, printLog } from '../logprint/logprint.ts'
import { LogFault, type LogPrintOptions, type LogPrintOutput } from '../logprint/options.ts'
import { type TimelineLine, timeline } from '../logprint/timeline.ts'
import { readTarget, type WorkOptions } from './edit.ts'
import type { HostPath, HostTarget } from './host.ts'

export { NotXfs } from '../db/image.ts'
export type { FieldValues, ItemEntry, LogEntry, RecordEntry, TransactionEntry } from '../logprint/entries.ts'
export { LogFault, type LogPrintOptions, type LogPrintOutput } from '../logprint/options.ts'
export type { TimelineLine } from '../logprint/timeline.ts'

export interface LogOptions extends WorkOptions {
  /** The target is a log alone, as `copy` writes it. */
  readonly logOnly?: boolean
  /** The external log of the filesystem. */
  readonly log?: { readonly path: HostPath }
}

/** The log of an image, as it lies. Nothing is replayed. */
export interface ImageLog {
  /** It has changes that are not in their places; undefined if that cannot be found. */
  readonly dirty: boolean | undefined
  /**
   * Print it as xfs_logprint does, after its name.
   * @param about  the device number of a block device, and the name of an external log
   * @returns the exit status of xfs_logprint
   */
  print(
    output: LogPrintOutput,
    options?: LogPrintOptions,
    about?: { readonly device?: number; readonly logName?: string },
  ): 0 | 1
  /** Records, transactions and items from tail to head. @throws LogFault while they are read */
  entries(): Iterable<LogEntry>
  /** What changed, in order. @throws LogFault while it is read */
  timeline(): Iterable<TimelineLine>
  /** Write all blocks of the log to a file. @throws XfsError BUSY, IO, NOSPC */
  copy(to: HostPath): void
}

/** The log is on another device, which was not given. */
export class NoLog extends XfsError {
  constructor() {
    super('INVAL', 'external log device not specified', { type: 'log' })
  }
}

/**
 * Look at the log of an image, which may be damaged or dirty.
 * @throws XfsError NOENT, IO; NoLog; NotXfs
 */
export const openLog = async <T>(
  target: HostTarget | Device,
  { logOnly = false, log, ...options }: LogOptions,
  use: (log: ImageLog) => T | Promise<T>,
): Promise<T> =>
  readTarget(target, { ...options, whole: logOnly || options.whole === true }, (device) => {
    if (logOnly) return use(imageLog(device, { start: 0, blocks: blocksOf(device), uuid: '', version: 2 }))
    const { geometry } = openImage(device, { force: false })
    const { sb } = geometry
    const blocks = (sb.logblocks * sb.blocksize) / BASIC_BLOCK
    const place = { blocks, uuid: sb.uuid, version: geometry.features.has('logv2') ? 2 : 1 }
    if (log) return readTarget(log, { whole: true }, (external) => use(imageLog(external, { ...place, start: 0 })))
    if (sb.logstart === 0) throw new NoLog()
    return use(imageLog(device, { ...place, start: geometry.fsbToDaddr(sb.logstart) }))
  })

const blocksOf = ({ size }: Device): number => Math.floor(size / BASIC_BLOCK)

function imageLog(device: Device, place: LogPlace): ImageLog {
  if (place.blocks === 0 || place.start + place.blocks > blocksOf(device))
    throw new XfsError('IO', `the log is not within the device: ${place.blocks} blocks at ${place.start}`)
  const ring = ringOn(device, place)
  return {
    get dirty() {
      return isDirty(ring)
    },
    print(output, options, about = {}) {
      output.print(headerText({ ...place, ...about }))
      return printLog(ring, output, options)
    },
    entries: () => logEntries(ring),
    timeline: () => timeline(logEntries(ring)),
    copy: (to) => copyRing(ring, to),
  }
}

function isDirty(ring: LogRing): boolean | undefined {
  try {
    const { head, tail } = logEnds(ring)
    return head !== tail
  } catch (error) {
    if (!(error instanceof LogFault)) throw error
    return undefined
  }
}

const CHUNK = 2048

function copyRing(ring: LogRing, to: HostPath): void {
  const target = createFile(to, ring.blocks * BASIC_BLOCK)
  try {
    for (let block = 0; block < ring.blocks; block += CHUNK)
      target.write(ring.read(block, Math.min(CHUNK, ring.blocks - block)), block * BASIC_BLOCK)
    target.flush()
  } finally {
    target.close()
  }
}
