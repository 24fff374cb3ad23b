import { type ErrorCode, XfsError } from '../errors.ts'

/** The C library's text for the errors that the kernel would return. */
const TEXTS: Readonly<Record<ErrorCode | SystemError, string>> = {
  CORRUPT: 'Structure needs cleaning',
  BADCRC: 'Bad message',
  UNSUPPORTED: 'Operation not supported',
  DIRTYLOG: 'Structure needs cleaning',
  BUSY: 'Device or resource busy',
  NOSPC: 'No space left on device',
  TOOBIG: 'No space left on device',
  NOENT: 'No such file or directory',
  EXIST: 'File exists',
  NOTDIR: 'Not a directory',
  ISDIR: 'Is a directory',
  NOTEMPTY: 'Directory not empty',
  PERM: 'Operation not permitted',
  NAMETOOLONG: 'File name too long',
  FBIG: 'File too large',
  NODATA: 'No data available',
  LOOP: 'Too many levels of symbolic links',
  XDEV: 'Invalid cross-device link',
  RANGE: 'Numerical result out of range',
  INVAL: 'Invalid argument',
  IO: 'Input/output error',
  BADF: 'Bad file descriptor',
  NOTTY: 'Inappropriate ioctl for device',
  ROFS: 'Read-only file system',
  STALE: 'Stale file handle',
}

/** Errors of open files, which lower layers do not have. */
type SystemError = 'BADF' | 'NOTTY' | 'ROFS' | 'STALE'

/** A call that the kernel would refuse because of the flags with which the file was opened. */
export class CallError extends Error {
  readonly code: SystemError | ErrorCode
  constructor(code: SystemError | ErrorCode) {
    super(TEXTS[code])
    this.code = code
  }
}

/** The text for an error of a file operation; undefined for a bug. */
export function errorText(error: unknown): string | undefined {
  if (error instanceof CallError) return error.message
  return error instanceof XfsError ? TEXTS[error.code] : undefined
}
