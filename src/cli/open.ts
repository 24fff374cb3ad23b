import { XfsError } from '../errors.ts'
import { pinnedTime } from '../format/time.ts'
import { counted } from '../util/counted.ts'
import { changedBy, ImageLocked } from '../xfsimage/edit.ts'
import { XfsImage } from '../xfsimage/xfsimage.ts'
import { hostPath, type ImageArguments } from './arguments.ts'
import {
  CannotRun,
  ChangedInPart,
  DIRTY_LOG,
  FAILED,
  Interrupted,
  OK,
  PARTLY,
  replaceStatus,
  type Session,
  statusOf,
  UsageError,
} from './command.ts'
import { holdSignals, stopped } from './signals.ts'

export interface OpenArguments extends ImageArguments {
  /** Open even if the superblock has NEEDSREPAIR. */
  readonly needsRepair?: boolean
  /** For reading: refuse a log that cannot be replayed, because the image lacks its changes. */
  readonly whole?: boolean
}

/**
 * Open the image, call `use`, close it: `XfsImage.view` or `XfsImage.edit` with the options of the
 * command line. For 'write' signals are held until the current step is done.
 *
 * The changes are durable when this returns; report them afterwards. The exit status in the answer
 * of `use` (see `statusOf`) becomes PARTLY if it is FAILED and something was changed, and DIRTY_LOG
 * if a reader ignored a dirty log, because it cannot be replayed or with `--no-replay`.
 *
 * @throws CannotRun (no such file, not an XFS image), XfsError BUSY, DIRTYLOG, UNSUPPORTED, and
 *   what `use` throws
 */
export async function withImage<T>(
  { out }: Pick<Session, 'out'>,
  image: string,
  mode: 'read' | 'write',
  options: OpenArguments,
  use: (image: XfsImage) => T | Promise<T>,
): Promise<T> {
  let opened: XfsImage | undefined
  try {
    return await (mode === 'read' ? view() : holdSignals(edit))
  } catch (error) {
    throw opened === undefined ? openingError(error, image) : usingError(error, opened, options.output)
  }

  async function view(): Promise<T> {
    if (options.replay === false) return viewWith('ignore')
    try {
      return await viewWith('recover')
    } catch (error) {
      // The log cannot be replayed.
      const isRefused = opened === undefined && error instanceof XfsError && error.code === 'DIRTYLOG'
      if (!isRefused || options.whole === true) throw error
      return viewWith('ignore')
    }
  }

  function viewWith(log: 'recover' | 'ignore'): Promise<T> {
    return XfsImage.view(
      { path: hostPath(image) },
      { ...readOptionsOf({ out }, image, options), log },
      async (volume) => {
        opened = volume
        for (const { about, message } of volume.warnings) {
          // While the image is being changed the others are normal, and a warning was printed.
          if (about === 'superblock' || changedBy(hostPath(image)) === undefined) warner({ out }, image)(message)
        }
        const result = await use(volume)
        return volume.incomplete ? replaceStatus(result, OK, DIRTY_LOG) : result
      },
    )
  }

  function edit(): Promise<T> {
    lessInlining()
    const time = pinnedTime(process.env)
    const settings = {
      ...changeOptionsOf({ out }, image, options),
      ...(options.replay === true && { log: 'recover' as const }),
      needsRepair: options.needsRepair ?? false,
      ...(time && { time }),
    }
    const work = async (volume: XfsImage): Promise<T> => {
      opened = volume
      const result = await use(volume)
      volume.sync()
      if (options.dryRun) out.line(changesText(volume.changes))
      return volume.changed ? replaceStatus(result, FAILED, PARTLY) : result
    }
    return XfsImage.edit({ path: hostPath(image) }, settings, work, (result) => statusOf(result) !== FAILED)
  }
}

/** Warnings about an image, with its name. */
const warner =
  ({ out }: Pick<Session, 'out'>, image: string) =>
  (message: string): void =>
    out.message('warning', 'xfskit', message.includes(image) ? message : `${image}: ${message}`)

/** Options of the facade for reading an image. */
export function readOptionsOf(session: Pick<Session, 'out'>, image: string, { offset, partition }: ImageArguments) {
  return {
    ...(offset !== undefined && { offset }),
    ...(partition !== undefined && { partition }),
    onWarning: warner(session, image),
  }
}

/** Options of the facade for changing an image. */
export function changeOptionsOf(session: Pick<Session, 'out'>, image: string, options: ImageArguments) {
  const { dryRun = false, output, wait, onState } = options
  return {
    ...readOptionsOf(session, image, options),
    dryRun,
    signal: stopped,
    ...(wait !== undefined && { wait }),
    ...(onState && { onState }),
    ...(output !== undefined && { output: hostPath(output) }),
  }
}

/**
 * Call a function of the facade that changes an image. Signals are held until it has returned.
 * @throws CannotRun and others as `withImage`
 */
export async function changing<T>(image: string, { output }: ImageArguments, change: () => Promise<T>): Promise<T> {
  lessInlining()
  try {
    return await holdSignals(change)
  } catch (error) {
    if (error instanceof Interrupted && output !== undefined) throw notWritten(error, output)
    throw error instanceof ChangedInPart ? error : openingError(error, image)
  }
}

/**
 * A change runs much code for a short time, and V8 would spend half of the processor time on
 * optimizing it. Less inlining saves a sixth of the total.
 */
function lessInlining(): void {
  process.getBuiltinModule('node:v8').setFlagsFromString('--max-inlined-bytecode-size-cumulative=200')
}

/** An error before `use`, with the image's name. Most of them prevent the command from running. */
export function openingError(error: unknown, image: string): unknown {
  if (!(error instanceof XfsError) || error instanceof ImageLocked) return error
  const message = error.message.includes(image) ? error.message : `${image}: ${error.message}`
  return ['BUSY', 'STALE', 'UNSUPPORTED', 'NOSPC', 'DIRTYLOG'].includes(error.code)
    ? new XfsError(error.code, message, error.where, { cause: error })
    : new CannotRun(message, { cause: error })
}

function usingError(error: unknown, { changed }: XfsImage, output: string | undefined): unknown {
  if (output !== undefined) return error instanceof Interrupted ? notWritten(error, output) : error
  return changed && (error instanceof CannotRun || error instanceof UsageError) ? new ChangedInPart(error) : error
}

const notWritten = ({ signal }: Interrupted, output: string): Interrupted =>
  new Interrupted(signal, `${output} was not written`)

/** What a dry run would have written. */
export function changesText(changes: XfsImage['changes']): string {
  let places = 0
  let bytes = 0
  for (const { length } of changes) {
    places++
    bytes += length
  }
  return `dry run: would write ${counted(bytes, 'byte')} in ${counted(places, 'place')}; nothing was written`
}
