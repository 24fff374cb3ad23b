import { counted } from '../util/counted.ts'
import { escapeBytes } from '../util/escape.ts'
import { type CopyProblem, DestinationError, type TransferResult } from '../xfsimage/transfer.ts'
import { FAILED, OK, type Session, UsageError } from './command.ts'
import { absolute, named } from './json.ts'

/** The places of a copy. @throws UsageError for a destination that does not go with the sources */
export async function placed<T>(places: () => T | Promise<T>): Promise<T> {
  try {
    return await places()
  } catch (error) {
    throw error instanceof DestinationError ? new UsageError(error.message) : error
  }
}

/** Maximum problems that are reported one by one; all are counted. */
const SHOWN = 50

/** Reports files that could not be copied, when it happens. */
export function problemReporter({ out }: Pick<Session, 'out'>, command: string): (problem: CopyProblem) => void {
  let count = 0
  return ({ path, message, code }) => {
    const shown = escapeBytes(path)
    if (count++ < SHOWN)
      out.message('error', `xfskit ${command}`, `${shown}: ${message}`, {
        path: absolutePath(command, path),
        ...(code !== undefined && { code }),
      })
  }
}

/** Warn if the host's extended attributes cannot be read. @param lacking the reason */
export function warnLacking({ out }: Pick<Session, 'out'>, command: string, lacking: string | undefined): void {
  if (lacking !== undefined)
    out.message(
      'warning',
      `xfskit ${command}`,
      `cannot read extended attributes of the host (${lacking}); copying without them`,
    )
}

/** The absolute path of a file that could not be copied: by `get` of the image, else of the host. */
function absolutePath(command: string, path: Uint8Array): Uint8Array {
  return absolute(
    command === 'get' || path[0] === SLASH ? path : Buffer.concat([Buffer.from(`${process.cwd()}/`), path]),
  )
}

const SLASH = 0x2f

/** The result of a copy, as JSON. */
export const transferReport = (
  command: string,
  { files, bytes, problems, problemCount }: TransferResult,
): Record<string, unknown> => ({
  files,
  bytes,
  problemCount,
  problems: problems.map(({ path, message, code }) => ({
    ...named('path', absolutePath(command, path)),
    message,
    code,
  })),
})

/** The result of a copy, as text. */
export const transferText = ({ files, bytes, problemCount }: TransferResult, dryRun = false): string =>
  `${dryRun ? 'would copy' : 'copied'} ${counted(files, 'file')}, ${counted(bytes, 'byte')}${problemCount > 0 ? `; ${problemCount} could not be copied` : ''}`

/** The answer of a command that copies, for `withImage`. */
export const withStatus = <T extends TransferResult>(result: T): T & { readonly status: number } => ({
  ...result,
  status: result.problemCount > 0 ? FAILED : OK,
})

/** Report the result of a copy, when it is durable. */
export function reportTransfer(
  { out }: Pick<Session, 'out'>,
  command: string,
  result: TransferResult & { readonly status: number },
  {
    quiet = false,
    dryRun = false,
    names,
  }: { readonly quiet?: boolean; readonly dryRun?: boolean; readonly names?: readonly object[] } = {},
): number {
  const { problemCount } = result
  if (problemCount > SHOWN) out.message('error', `xfskit ${command}`, `and ${problemCount - SHOWN} more`)
  // Standard output may be the archive itself.
  const value = { ...transferReport(command, result), ...(names && { names }), ...(dryRun && { dryRun }) }
  if (!quiet) out.document(command, value, () => transferText(result, dryRun))
  return result.status
}

/** Compressions by file name extension; only gzip is built in. */
const COMPRESSIONS: readonly (readonly [end: RegExp, command: string])[] = [
  [/\.(tar\.gz|tgz)$/i, 'gzip'],
  [/\.(tar\.xz|txz)$/i, 'xz'],
  [/\.(tar\.bz2?|tbz2?)$/i, 'bzip2'],
  [/\.(tar\.zstd?|tzst)$/i, 'zstd'],
  [/\.(tar\.lz4|tlz4)$/i, 'lz4'],
  [/\.(tar\.lzma|tlz)$/i, 'lzma'],
  [/\.tar\.lz$/i, 'lzip'],
  [/\.tar\.Z$/, 'compress'],
]

/** The command that makes a compressed archive of that name; undefined for other names. */
export const compressionOf = (path: string): string | undefined => COMPRESSIONS.find(([end]) => end.test(path))?.[1]

/** Is it a tar archive? By its name, compressed or not; also standard input or output. */
export const isArchive = (path: string): boolean =>
  path === '-' || /\.tar$/i.test(path) || compressionOf(path) !== undefined
