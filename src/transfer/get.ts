import { closeSync, openSync } from 'node:fs'
import { guarded } from '../device/file.ts'
import type { HostPath } from '../device/hostpath.ts'
import { outputFile } from '../device/outputfile.ts'
import { resolve } from '../namespace/resolve.ts'
import type { Steps } from '../util/progress.ts'
import type { Volume } from '../volume.ts'
import { type ByteSink, hostSink, openStream } from './bytesink.ts'
import { type CopyProblem, CopyProblems } from './copyproblems.ts'
import type { TransferResult } from './put.ts'
import { HostWriter, type ToHostOptions } from './tohost.ts'
import { TarWriter } from './totar.ts'

export interface GetOptions extends Partial<Omit<ToHostOptions, 'devices'>> {
  /** Copy device nodes. False: skip them. Undefined: skip and report them (an archive has them). */
  readonly devices?: boolean
  readonly onProblem?: (problem: CopyProblem) => void
}

/** A file or tree of the image, and its destination. */
export interface GetSource {
  readonly path: Uint8Array
  readonly host: Buffer
  /**
   * True: `host` is exactly the path that was given, not a name in a given folder. A device or fifo
   * at that path is written, a symbolic link is followed.
   */
  readonly named: boolean
}

/** A file or tree of the image, and its name in an archive. */
export interface TarSource {
  readonly path: Uint8Array
  /** Empty: its contents are at the top of the archive. */
  readonly name: Uint8Array
}

/**
 * Write files and trees of an image as a tar archive, device nodes included. Files that cannot be
 * read are reported and skipped.
 * @throws XfsError NOENT, NOTDIR (a source, before anything is written); errors of the sink
 */
export function* getTar(
  volume: Volume,
  sources: readonly TarSource[],
  sink: ByteSink,
  options: GetOptions = {},
): Steps<TransferResult> {
  const problems = new CopyProblems(options.onProblem ?? (() => {}))
  const writer = new TarWriter(
    (bytes) => sink.write(bytes),
    { xattrs: options.xattrs ?? true, devices: options.devices ?? true },
    problems,
  )
  for (const { inode, name } of found(volume, sources)) yield* writer.write(inode, name)
  writer.end()
  sink.end()
  return { ...writer.count, problems: problems.list, problemCount: problems.count }
}

/**
 * Write an archive to a file of the host, which gets its name when it is complete; or into an
 * existing device or fifo.
 * @throws as `getTar`; XfsError IO, NOSPC (the host)
 */
export function* getTarFile(
  volume: Volume,
  sources: readonly TarSource[],
  target: HostPath,
  { gzip = false, ...options }: GetOptions & { readonly gzip?: boolean } = {},
): Steps<TransferResult> {
  const file = outputFile(target)
  let complete = false
  try {
    const { path, inPlace } = file
    const fd = inPlace ? yield* openStream(path) : guarded(target, 'write', () => openSync(path, 'wx'))
    let result: TransferResult
    try {
      result = yield* getTar(volume, sources, hostSink(fd, String(target), gzip), options)
    } finally {
      closeSync(fd)
    }
    file.commit()
    complete = true
    return result
  } finally {
    // Also after an interruption.
    if (!complete) file.abandon()
  }
}

/**
 * Copy files and trees of an image to the host. Files and attributes that cannot be copied are
 * reported and skipped. No path or link escapes the target.
 * @throws XfsError NOENT, NOTDIR (a source, before anything is written)
 */
export function* get(volume: Volume, sources: readonly GetSource[], options: GetOptions = {}): Steps<TransferResult> {
  const problems = new CopyProblems(options.onProblem ?? (() => {}))
  const writer = new HostWriter(
    {
      owner: options.owner ?? process.getuid?.() === 0,
      xattrs: options.xattrs ?? true,
      devices: options.devices === undefined ? 'reported' : options.devices ? 'made' : 'left',
    },
    problems,
  )
  for (const { inode, host, named } of found(volume, sources)) yield* writer.write(inode, host, named)
  return { ...writer.count, problems: problems.list, problemCount: problems.count }
}

const found = <T extends { readonly path: Uint8Array }>(volume: Volume, sources: readonly T[]) =>
  sources.map((source) => ({ ...source, inode: resolve(volume, source.path, { follow: false }) }))
