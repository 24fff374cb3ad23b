import { resolve } from '../namespace/path.ts'
import type { Steps } from '../util/progress.ts'
import type { Volume } from '../volume.ts'
import type { ByteSink } from './bytesink.ts'
import { type Problem, Problems } from './problems.ts'
import type { TransferResult } from './put.ts'
import { HostWriter, type ToHostOptions } from './tohost.ts'
import { TarWriter } from './totar.ts'

interface GetOptions extends Partial<Omit<ToHostOptions, 'devices'>> {
  /** Device nodes too. False: they are left out. Without an answer they are left out and told (an archive has them). */
  readonly devices?: boolean
  readonly onProblem?: (problem: Problem) => void
}

/** A file or tree of the image, and where it goes. */
export interface GetSource {
  readonly path: Uint8Array
  readonly host: Buffer
  /**
   * True: `host` is the very path that somebody gave, not that of a folder with the file's name put to it. What is there is
   * meant: a device or fifo is written to, a symbolic link followed.
   */
  readonly named: boolean
}

/** A file or tree of the image, and by what name it stands in an archive. */
export interface TarSource {
  readonly path: Uint8Array
  /** Empty: what is in it stands at the top. */
  readonly name: Uint8Array
}

/**
 * Write files and trees of an image as a tar archive, device nodes included. What cannot be read is told and left out.
 * @throws XfsError NOENT, NOTDIR (a source, before anything is written); what the sink throws
 */
export function* getTar(
  volume: Volume,
  sources: readonly TarSource[],
  sink: ByteSink,
  options: GetOptions = {},
): Steps<TransferResult> {
  const problems = new Problems(options.onProblem ?? (() => {}))
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
 * Copy files and trees of an image to the host. What cannot be copied, also of a file's attributes, is told and left out; no
 * path and no link leads out of the target.
 * @throws XfsError NOENT, NOTDIR (a source, before anything is written)
 */
export function* get(volume: Volume, sources: readonly GetSource[], options: GetOptions = {}): Steps<TransferResult> {
  const problems = new Problems(options.onProblem ?? (() => {}))
  const writer = new HostWriter(
    {
      owner: options.owner ?? process.getuid?.() === 0,
      xattrs: options.xattrs ?? true,
      devices: options.devices === undefined ? 'told' : options.devices ? 'made' : 'left',
    },
    problems,
  )
  for (const { inode, host, named } of found(volume, sources)) yield* writer.write(inode, host, named)
  return { ...writer.count, problems: problems.list, problemCount: problems.count }
}

const found = <T extends { readonly path: Uint8Array }>(volume: Volume, sources: readonly T[]) =>
  sources.map((source) => ({ ...source, inode: resolve(volume, source.path, { follow: false }) }))
