import type { Problem } from '../transfer/problems.ts'
import type { TransferResult } from '../transfer/put.ts'
import { escapeBytes } from '../util/escape.ts'
import { FAILED, OK, type Session } from './command.ts'

/** Problems that are told one by one; all are counted. */
const TOLD = 50

/** Tells what could not be copied, as it comes. */
export function problemTeller({ out }: Pick<Session, 'out'>, command: string): (problem: Problem) => void {
  let told = 0
  return ({ path, message }) => {
    if (told++ < TOLD) out.error(`xfskit ${command}: ${escapeBytes(path)}: ${message}\n`)
  }
}

/** What was copied and what was not. */
export function reportTransfer(
  { out }: Pick<Session, 'out'>,
  command: string,
  result: TransferResult,
  quiet = false,
): number {
  const { files, bytes, problems, problemCount } = result
  if (problemCount > TOLD) out.error(`xfskit ${command}: and ${problemCount - TOLD} more\n`)
  const shown = problems.map(({ path, message, code }) => ({ path: escapeBytes(path), message, code }))
  const missing = problemCount > 0 ? `; ${problemCount} could not be copied` : ''
  // Standard output may be the archive itself.
  if (quiet) return problemCount > 0 ? FAILED : OK
  out.document(
    command,
    { files, bytes, problemCount, problems: shown },
    () => `copied ${files} files, ${bytes} bytes${missing}`,
  )
  return problemCount > 0 ? FAILED : OK
}

/** Does the name say that it is a tar archive? */
export const isArchive = (path: string): boolean => /\.(tar|tar\.gz|tgz)$/i.test(path)
