import { type BigIntStats, statSync } from 'node:fs'
import type { HostPath } from './hostpath.ts'

/** What a change of a file changes. */
export interface FileStamp {
  readonly size: string
  readonly ino: string
  /** Times of the last change of the content, and of the inode: nanoseconds since 1970. */
  readonly modified: string
  readonly changed: string
}

/** Of a file, whose properties are known. */
export const stampOf = ({ size, ino, mtimeNs, ctimeNs }: BigIntStats): FileStamp => ({
  size: `${size}`,
  ino: `${ino}`,
  modified: `${mtimeNs}`,
  changed: `${ctimeNs}`,
})

/** The modification time of a regular file, in nanoseconds since 1970. */
export function modificationTime(path: HostPath): string | undefined {
  const stats = statSync(path, { bigint: true })
  return stats.isFile() ? String(stats.mtimeNs) : undefined
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
