/**
 * The three kinds of "something is wrong" are kept apart: a Fault is a verifier's answer
 * (format/verify/), a Finding is a check's answer (check/problems.ts), and an XfsError says that
 * the operation cannot go on.
 */
export type ErrorCode =
  | 'CORRUPT' // the bytes contradict the format
  | 'BADCRC' // the bytes do not match their checksum
  | 'UNSUPPORTED' // sound, but not something this program can do
  | 'DIRTYLOG' // the log must be replayed first
  | 'BUSY' // the image is mounted, or another process is changing it
  | 'NOSPC' // no blocks or inodes left; nothing was changed
  | 'TOOBIG' // one transaction would be larger than the log can take; it was undone
  | 'NOENT'
  | 'EXIST'
  | 'NOTDIR'
  | 'ISDIR'
  | 'NOTEMPTY'
  | 'PERM' // an inode flag (immutable, append-only) forbids it
  | 'NAMETOOLONG'
  | 'FBIG' // beyond the largest file or extent count
  | 'NODATA' // no such extended attribute
  | 'LOOP' // too many symbolic links
  | 'XDEV'
  | 'RANGE'
  | 'INVAL' // the request itself makes no sense
  | 'IO' // the device failed

/** The place that an error is about; every part is optional. */
export interface Where {
  readonly type?: string
  readonly agno?: number
  readonly agbno?: number
  readonly daddr?: number
  readonly ino?: number
  readonly field?: string
  readonly path?: string
}

/** The operation cannot go on. What `check` finds is a Finding (a value), never one of these. */
export class XfsError extends Error {
  override readonly name = 'XfsError'
  readonly code: ErrorCode
  readonly where: Where

  constructor(code: ErrorCode, message: string, where: Where = {}, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.where = where
  }
}

/** A bug of ours, not of the image: throws a plain Error. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}
