import type { ErrorCode } from '../errors.ts'

export { ChangedInPart } from '../errors.ts'

/** An invalid command line: exit status 3. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** No such file, not an XFS image, or a damaged superblock: exit status 3. */
export class CannotRun extends Error {
  override readonly name = 'CannotRun'
}

/** A signal arrived; the current step was finished. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
  readonly signal: NodeJS.Signals
  constructor(signal: NodeJS.Signals, left = 'the image is sound') {
    super(`stopped by ${signal}; ${left}`)
    this.signal = signal
  }
}

/** Standard output was closed, as by `| head`: the command ends silently, exit status 0. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed'
}

export const OK = 0
/** Nothing was changed. */
export const FAILED = 1
export const DIRTY_LOG = 2
export const CANNOT_RUN = 3
/** Failed after a part was changed. */
export const PARTLY = 4

const statusOfCode: Readonly<Partial<Record<ErrorCode, number>>> = {
  DIRTYLOG: DIRTY_LOG,
  IO: CANNOT_RUN,
  CORRUPT: CANNOT_RUN,
  BADCRC: CANNOT_RUN,
}

/** The exit status for an error that ended a command. */
export const exitStatus = (code: ErrorCode): number => statusOfCode[code] ?? FAILED

/** The exit status in a command's answer: a number, or `status` of an object; else 0. */
export function statusOf(result: unknown): number {
  if (typeof result === 'number') return result
  if (typeof result === 'object' && result !== null && 'status' in result && typeof result.status === 'number')
    return result.status
  return 0
}

/** The answer, with its exit status replaced if it is `from`. */
export function replaceStatus<T>(result: T, from: number, to: number): T {
  if (statusOf(result) !== from) return result
  return (typeof result === 'object' && result !== null ? { ...result, status: to } : to) as T
}
