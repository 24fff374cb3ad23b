import { XfsError } from '../errors.ts'
import { requireReplayable } from './replay.ts'
import { type LogHolder, logState } from './ring.ts'

/**
 * The error if an image with this log cannot be changed, with the remedy. This is the only place
 * with the rule:
 *
 *   a dirty log               xfskit recover
 *   one that only the kernel  mount and unmount; the kernel does not mount if NEEDSREPAIR is set
 *     replays
 *   a damaged log             xfskit repair -L
 *   an external log           not supported
 *
 * @param state  if it is known
 * @returns undefined if the log is clean
 */
export function dirtyLog(volume: LogHolder, state = logState(volume)): XfsError | undefined {
  if (volume.geometry.sb.logstart === 0)
    return new XfsError('UNSUPPORTED', 'external logs are supported read-only', { type: 'log' })
  const { clean, fault } = state
  if (clean) return undefined
  if (fault !== undefined) return logError(`the log cannot be read (${fault}): ${DISCARD}`)
  try {
    requireReplayable(volume, state)
    return logError('the log is dirty: run xfskit recover')
  } catch (error) {
    if (!(error instanceof XfsError) || error.code === 'IO') throw error
    return logError(`the log is dirty: ${error.message}: ${remedy(error, volume)}`)
  }
}

/** The remedy if `error` is the reason why xfskit cannot replay the log of `volume`. */
export function remedy({ code }: XfsError, { features }: Pick<LogHolder, 'features'>): string {
  return code === 'UNSUPPORTED' && !features.has('needsrepair') ? 'mount and unmount the image to replay it' : DISCARD
}

const DISCARD = 'xfskit repair -L discards it and the changes in it'

const logError = (message: string): XfsError => new XfsError('DIRTYLOG', message, { type: 'log' })
