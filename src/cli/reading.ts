import { fileStamp } from '../device/filestamp.ts'
import { changedBy } from '../device/lock.ts'
import { hostPath } from './arguments.ts'
import type { Session } from './command.ts'

/**
 * Readers take no lock. They check at the start and at the end whether the image is being changed,
 * and warn once: their output may mix the states before and after the change.
 *
 * @returns a function to call when reading has ended
 */
export function watchImage({ out }: Pick<Session, 'out'>, image: string): () => void {
  const path = hostPath(image)
  const before = fileStamp(path)
  let warned = false
  const warn = (text: string | undefined): void => {
    if (text === undefined || warned) return
    warned = true
    out.error(`xfskit: warning: ${text}; the output may be inconsistent\n`)
  }
  warn(changedBy(path))
  return () => {
    warn(changedBy(path))
    if (fileStamp(path) !== before) warn(`${image} was changed while it was read`)
  }
}
