import { statSync } from 'node:fs'
import type { HostPath } from '../device/hostpath.ts'
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

/** A value that differs after a change of the file. */
export function fileStamp(path: HostPath): string {
  try {
    const { dev, ino, size, mtimeNs } = statSync(path, { bigint: true })
    return [dev, ino, size, mtimeNs].join(' ')
  } catch {
    return ''
  }
}
