import { statSync } from 'node:fs'
import type { HostPath } from './hostpath.ts'

/** A value that differs after a change of the file. */
export function fileStamp(path: HostPath): string {
  try {
    const { dev, ino, size, mtimeNs } = statSync(path, { bigint: true })
    return [dev, ino, size, mtimeNs].join(' ')
  } catch {
    return ''
  }
}
