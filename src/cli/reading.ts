import { statSync } from 'node:fs'
import type { HostPath } from '../device/hostpath.ts'
import { changedBy } from '../device/lock.ts'
import { hostPath } from './arguments.ts'
import type { Session } from './command.ts'

/**
 * Readers take no lock. They look when they begin and when they end, and say once where the image is being changed: what
 * they show may be from before the change, from after it, or from both.
 * @returns to be called when the reading has ended
 */
export function watchImage({ out }: Pick<Session, 'out'>, image: string): () => void {
  const path = hostPath(image)
  const before = fileStamp(path)
  let told = false
  const tell = (text: string | undefined): void => {
    if (text === undefined || told) return
    told = true
    out.error(`xfskit: warning: ${text}; what is shown may be inconsistent\n`)
  }
  tell(changedBy(path))
  return () => {
    tell(changedBy(path))
    if (fileStamp(path) !== before) tell(`${image} was changed while it was read`)
  }
}

/** What differs after a change, where the system notes that. */
export function fileStamp(path: HostPath): string {
  try {
    const { dev, ino, size, mtimeNs } = statSync(path, { bigint: true })
    return [dev, ino, size, mtimeNs].join(' ')
  } catch {
    return ''
  }
}
