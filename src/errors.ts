/**
 * The results of a verifier, a check and an operation are kept apart: a verifier returns a Fault
 * (format/verify/), a check a Finding (check/problems.ts), and an operation that cannot continue
 * throws an XfsError.
 */
export type ErrorCode =
  | 'CORRUPT' // the bytes contradict the format
  | 'BADCRC' // the bytes do not match their checksum
  | 'UNSUPPORTED' // valid, but not supported by this program
  | 'DIRTYLOG' // the log must be replayed first
  | 'BUSY' // the image is mounted, or another process is changing it
  | 'NOSPC' // no blocks or inodes left; nothing was changed
  | 'TOOBIG' // a transaction is larger than the log can hold; it was undone
  | 'NOENT'
  | 'EXIST'
  | 'NOTDIR'
  | 'ISDIR'
  | 'NOTEMPTY'
  | 'ROFS' // the image was opened for reading
  | 'STALE' // a file that was removed, or an image that was changed meanwhile
  | 'PERM' // an inode flag (immutable, append-only) forbids it
  | 'NAMETOOLONG'
  | 'FBIG' // beyond the largest file or extent count
  | 'NODATA' // no such extended attribute
  | 'LOOP' // too many symbolic links
  | 'XDEV'
  | 'RANGE'
  | 'INVAL' // the request itself is invalid
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

/**
 * The operation cannot continue. A problem that `check` finds is a Finding (a value), not an error.
 */
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

/** Bytes of a structure that contradict the format. */
export const corrupt = (type: string, message: string, field?: string): XfsError =>
  new XfsError('CORRUPT', message, field === undefined ? { type } : { type, field })

/** The operation failed after it had changed a part of the image, which is sound. */
export class ChangedInPart extends XfsError {
  constructor(cause: Error) {
    const { code, where } = cause instanceof XfsError ? cause : { code: 'IO' as const, where: {} }
    super(code, `${cause.message}; the image was changed in part`, where, { cause })
  }
}

/** The operation failed and undid its changes: the files of the image are as before. */
export class ChangeUndone extends XfsError {
  constructor(cause: Error) {
    const { code, where } = cause instanceof XfsError ? cause : { code: 'IO' as const, where: {} }
    super(code, cause.message, where, { cause })
  }
}

/** Throws a plain Error: a failure is a bug of the program, not a problem of the image. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}
