import { parseInteger } from '../util/numbers.ts'

/**
 * Numbers and words of commands as C's library reads them: the commands of `db` take what xfs_db
 * takes.
 */

/** `strtoull(text, &end, 0)` where the whole text has to be a number: decimal, 0x…, 0…, a sign. */
export function parseUnsigned(text: string): bigint | undefined {
  const parsed = parseInteger(text)
  return parsed?.rest === '' ? BigInt.asUintN(64, parsed.value) : undefined
}

/** The same as a Number. Beyond 2^53 it is rounded, and not a valid address. */
export function parseAddress(text: string): number | undefined {
  const value = parseUnsigned(text)
  return value === undefined ? undefined : Number(value)
}

/**
 * A command line cut into words: at blanks outside of double quotes; quotes and backslashes stay,
 * as commands expect them.
 */
export function splitWords(line: string): string[] {
  const words: string[] = []
  let word = ''
  let quoted = false
  let escaped = false
  for (const char of line) {
    if (!quoted && !escaped && (char === ' ' || char === '\t')) {
      if (word !== '') words.push(word)
      word = ''
      continue
    }
    word += char
    if (escaped) escaped = false
    else if (char === '\\') escaped = true
    else if (char === '"') quoted = !quoted
  }
  if (word !== '') words.push(word)
  return words
}
