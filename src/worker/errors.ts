import { constants } from 'node:os'
import { type ErrorCode, type Where, XfsError } from '../errors.ts'

/** Errors in the form of Node's, whose cause is the XfsError. */

/** Codes of the kernel, where the name is not `E` and the code. */
const codes: Partial<Record<ErrorCode, string>> = {
  CORRUPT: 'EUCLEAN', BADCRC: 'EBADMSG', UNSUPPORTED: 'ENOTSUP', DIRTYLOG: 'EUCLEAN', TOOBIG: 'E2BIG',
} // biome-ignore format: one line

/** Numbers that Node does not have. */
const numbers: Readonly<Record<string, number>> = { ...constants.errno, EUCLEAN: 117 }

/** The texts of Node. */
const texts: Partial<Record<ErrorCode, string>> = {
  NOENT: 'no such file or directory',
  EXIST: 'file already exists',
  NOTDIR: 'not a directory',
  ISDIR: 'illegal operation on a directory',
  NOTEMPTY: 'directory not empty',
  ROFS: 'read-only file system',
  STALE: 'stale file handle',
  PERM: 'operation not permitted',
  NAMETOOLONG: 'name too long',
  NOSPC: 'no space left on device',
  FBIG: 'file too large',
  LOOP: 'too many symbolic links encountered',
  INVAL: 'invalid argument',
  BUSY: 'resource busy or locked',
  IO: 'i/o error',
}

/** An error as data that can be sent. */
export interface SentError {
  readonly code?: ErrorCode
  readonly name: string
  readonly message: string
  readonly where?: Where
  readonly stack?: string | undefined
}

export function sendError(error: unknown): SentError {
  if (error instanceof XfsError) {
    const { code, name, message, where, stack } = error
    return { code, name, message, where, stack }
  }
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error))
  return { name, message, stack }
}

export function receiveError({ code, name, message, where, stack }: SentError): Error {
  const error = code === undefined ? Object.assign(new Error(message), { name }) : new XfsError(code, message, where)
  if (stack !== undefined) error.stack = stack
  return error
}

/** The same for a call of Node's form. */
export function nodeError(cause: Error, syscall: string, path?: string, dest?: string): Error {
  if (!(cause instanceof XfsError)) return cause
  const code = codes[cause.code] ?? `E${cause.code}`
  const files = `${path === undefined ? '' : ` '${path}'`}${dest === undefined ? '' : ` -> '${dest}'`}`
  const number = numbers[code]
  return Object.assign(new Error(`${code}: ${texts[cause.code] ?? cause.message}, ${syscall}${files}`, { cause }), {
    code,
    syscall,
    ...(number !== undefined && { errno: -number }),
    ...(path !== undefined && { path }),
    ...(dest !== undefined && { dest }),
  })
}
