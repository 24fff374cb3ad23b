/** Numbers and options of commands as C's library reads them: the commands of `db` take what xfs_db takes. */

/** `strtoull(text, &end, 0)` where the whole text has to be a number: decimal, 0x…, 0…, a sign. */
export function parseUnsigned(text: string): bigint | undefined {
  const match = /^\s*([+-]?)(0x[0-9a-f]+|[0-9]+)$/i.exec(text)
  if (!match) return undefined
  const digits = match[2] as string
  if (/^0[0-9]+$/.test(digits) && !/^0[0-7]+$/.test(digits)) return undefined
  const value = /^0[0-7]+$/.test(digits) ? BigInt(`0o${digits.slice(1)}`) : BigInt(digits)
  return BigInt.asUintN(64, match[1] === '-' ? -value : value)
}

/** The same as a Number; what lies past 2^53 is rounded, and no address. */
export function parseAddress(text: string): number | undefined {
  const value = parseUnsigned(text)
  return value === undefined ? undefined : Number(value)
}

/** What `getopt` found among the words of a command. */
export interface Options {
  readonly letters: ReadonlyMap<string, readonly string[]>
  readonly operands: readonly string[]
  /** The first letter that is none of the command's, or lacks its value. */
  readonly bad?: string
}

/** Options anywhere among the words, glued or not; `--` ends them. @param letters of the command, `:` behind one that takes a value */
export function getopt(words: readonly string[], letters: string): Options {
  const found = new Map<string, string[]>()
  const operands: string[] = []
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string
    if (word === '--') {
      operands.push(...words.slice(i + 1))
      break
    }
    if (!word.startsWith('-') || word === '-') {
      operands.push(word)
      continue
    }
    for (let at = 1; at < word.length; at++) {
      const letter = word[at] as string
      const place = letter === ':' ? -1 : letters.indexOf(letter)
      if (place < 0) return { letters: found, operands, bad: letter }
      const values = found.get(letter) ?? []
      found.set(letter, values)
      if (letters[place + 1] !== ':') {
        values.push('')
        continue
      }
      const value = at + 1 < word.length ? word.slice(at + 1) : words[++i]
      if (value === undefined) return { letters: found, operands, bad: letter }
      values.push(value)
      break
    }
  }
  return { letters: found, operands }
}

/** A command line cut into words: at blanks outside of double quotes; quotes and backslashes stay, as commands expect them. */
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
