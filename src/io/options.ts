/** One word of a command line after GNU getopt, which lets options stand behind operands. */
export interface Options {
  /** In order; an unknown letter or a missing value is `?`. */
  readonly options: readonly { readonly letter: string; readonly value: string }[]
  readonly operands: readonly string[]
  /** What getopt prints to standard error. */
  readonly complaints: readonly string[]
}

/** @param letters `:` behind those that take a value */
export function getOptions(argv: readonly string[], letters: string): Options {
  const options: { letter: string; value: string }[] = []
  const operands: string[] = []
  const complaints: string[] = []
  const name = argv[0] as string
  for (let i = 1; i < argv.length; i++) {
    const word = argv[i] as string
    if (word === '--') {
      operands.push(...argv.slice(i + 1))
      break
    }
    if (!word.startsWith('-') || word === '-') {
      operands.push(word)
      continue
    }
    for (let at = 1; at < word.length; at++) {
      const letter = word[at] as string
      const place = letter === ':' ? -1 : letters.indexOf(letter)
      if (place < 0) {
        complaints.push(`${name}: invalid option -- '${letter}'`)
        options.push({ letter: '?', value: '' })
        continue
      }
      if (letters[place + 1] !== ':') {
        options.push({ letter, value: '' })
        continue
      }
      const rest = word.slice(at + 1)
      const value = rest === '' ? argv[++i] : rest
      if (value === undefined) {
        complaints.push(`${name}: option requires an argument -- '${letter}'`)
        options.push({ letter: '?', value: '' })
      } else options.push({ letter, value })
      break
    }
  }
  return { options, operands, complaints }
}
