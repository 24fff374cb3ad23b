import { resolve } from '../namespace/resolve.ts'
import type { Steps } from '../util/progress.ts'
import type { Volume } from '../volume.ts'
import { hostSource } from './bytesource.ts'
import { type CopyProblem, CopyProblems } from './copyproblems.ts'
import { type HostOptions, HostReader } from './fromhost.ts'
import { TarPutter } from './fromtar.ts'
import { ImageWriter } from './intoimage.ts'
import { Merge } from './merge.ts'
import { OwnerRules } from './ownerrules.ts'
import { PutLog, type PutName } from './putlog.ts'

export interface PutOptions extends Partial<HostOptions> {
  /** Called for files that could not be copied. */
  readonly onProblem?: (problem: CopyProblem) => void
  /** Called at the end for each name that was put. */
  readonly onPut?: (name: PutName) => void
}

export interface TransferResult {
  /** Names created: files, directories, links. */
  readonly files: number
  readonly bytes: number
  readonly problems: readonly CopyProblem[]
  /** The number of all problems, including those not listed. */
  readonly problemCount: number
}

/** A file or tree of the host, and its destination. */
export interface PutSource {
  readonly host: Buffer
  /** `host` is a tar archive, open at this descriptor. */
  readonly tar?: number
  /** Directory of the image. */
  readonly dir: Uint8Array
  /** Its name there; undefined: its contents go into `dir`, which gets its attributes. */
  readonly name: Uint8Array | undefined
}

/**
 * Copy files and trees of the host into an image with all their metadata. Files that cannot be
 * copied are reported and skipped.
 * @throws XfsError NOENT, NOTDIR (the destination), IO, CORRUPT
 */
export function* put(volume: Volume, sources: readonly PutSource[], options: PutOptions = {}): Steps<TransferResult> {
  const problems = new CopyProblems(options.onProblem ?? (() => {}))
  const writer = new ImageWriter(volume, problems)
  const log = options.onPut && new PutLog()
  const repeats = sources.some(({ tar }) => tar !== undefined)
  const merge = new Merge(volume, writer, problems, repeats, log)
  const settings: HostOptions = {
    mapping: options.mapping ?? new OwnerRules([]),
    xattrs: options.xattrs ?? true,
    sparse: options.sparse ?? false,
    oneFileSystem: options.oneFileSystem ?? false,
    atime: options.atime,
  }
  const reader = new HostReader(volume, writer, merge, problems, settings)
  let complete = false
  try {
    for (const { host, dir, name, tar } of sources) {
      const { ino } = resolve(volume, dir)
      if (log) log.top = dir
      if (tar !== undefined) {
        const putter = new TarPutter(volume, writer, merge, problems, merge.existing(ino), settings)
        yield* putter.put(hostSource(tar))
        continue
      }
      if (name !== undefined) {
        yield* reader.put(host, merge.existing(ino), name)
        continue
      }
      const attributes = reader.attributesOf(host)
      if (!attributes) continue
      const { atime, mtime } = attributes
      const changed = merge.setAttributes(ino, attributes)
      yield* reader.putContent(host, merge.existing(ino, changed ? { atime, mtime } : undefined))
    }
    complete = true
  } finally {
    // Also after an interruption: queued changes are sound.
    if (complete) writer.commit()
    else writer.abandon()
  }
  for (const name of log?.names(writer) ?? []) options.onPut?.(name)
  return { files: writer.made, bytes: writer.bytes, problems: problems.list, problemCount: problems.count }
}
