import { parseInteger } from '../util/numbers.ts'

/** Numbers and words of command lines, parsed as xfs_db does with the C library. */

/** `strtoull(text, &end, 0)`; the complete text must be a number: decimal, 0x…, 0…, a sign. */
export function parseUnsigned(text: string): bigint | undefined {
  const parsed = parseInteger(text)
  return parsed?.rest === '' ? BigInt.asUintN(64, parsed.value) : undefined
}

/** The same as a Number. Above 2^53 it is rounded, and not a valid address. */
export function parseAddress(text: string): number | undefined {
  const value = parseUnsigned(text)
  return value === undefined ? undefined : Number(value)
}

/**
 * Split a command line into words at blanks outside of double quotes. Quotes and backslashes are
 * kept for the commands.
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
