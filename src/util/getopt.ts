/** The result of {@link getopt}, in order; each fault is a `?`. */
export interface Parsed {
  readonly options: readonly { readonly letter: string; readonly value: string }[]
  /** The values of each letter that was given, in order. */
  readonly letters: ReadonlyMap<string, readonly string[]>
  readonly operands: readonly string[]
  /** Unknown letters, and letters without their value. */
  readonly faults: readonly { readonly letter: string; readonly message: string }[]
}

/**
 * Parse a command line as GNU getopt does: letters may be combined, also with their values
 * (`-l/dev/x`), `--` ends the options, and options may follow operands.
 * @param letters of the options, each followed by `:` if it takes a value
 */
export function getopt(words: readonly string[], letters: string): Parsed {
  const options: { letter: string; value: string }[] = []
  const operands: string[] = []
  const faults: { letter: string; message: string }[] = []
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
      if (place < 0) {
        faults.push({ letter, message: `invalid option -- '${letter}'` })
        options.push({ letter: '?', value: '' })
        continue
      }
      if (letters[place + 1] !== ':') {
        options.push({ letter, value: '' })
        continue
      }
      const rest = word.slice(at + 1)
      const value = rest === '' ? words[++i] : rest
      if (value === undefined) faults.push({ letter, message: `option requires an argument -- '${letter}'` })
      options.push(value === undefined ? { letter: '?', value: '' } : { letter, value })
      break
    }
  }
  const values = new Map<string, string[]>()
  for (const { letter, value } of options) values.set(letter, [...(values.get(letter) ?? []), value])
  return { options, letters: values, operands, faults }
}
