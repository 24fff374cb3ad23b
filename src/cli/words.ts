import { UsageError } from './command.ts'

/** The options that a command declares, as yargs keeps them. */
export interface Declared {
  readonly key: Readonly<Record<string, unknown>>
  readonly alias: Readonly<Record<string, readonly string[]>>
  readonly boolean: readonly string[]
  /** Those that may be given several times. */
  readonly array: readonly string[]
  /** Names of options whose value may be the next word. */
  readonly narg: Readonly<Record<string, unknown>>
}

interface Grammar {
  /** The command and its operands: `chmod <image> <mode> <paths..>`, `ls <image> [paths..]`. */
  readonly command: string
  readonly declared: Declared
  /** Operands that begin with `-`: a mode (`-x`). */
  readonly operand?: RegExp
  /** Options of the reference tool that the command does not support. */
  readonly unsupported?: readonly string[]
}

/**
 * Parse a command line as getopt_long does. Letters may be joined, and their values too. `--` ends
 * the options. Options may follow operands. A value is the rest of the word or the next word, even
 * if that begins with `-`.
 *
 * @param words  the words after the command's name
 * @returns the words for yargs, with ambiguous ones protected (see {@link restored}); or 'help'
 * @throws UsageError unknown option, missing value, missing or unexpected operand
 */
export function readWords(words: readonly string[], grammar: Grammar): string[] | 'help' {
  const options: GivenOption[] = []
  const operands: string[] = []
  const { operand } = grammar
  const reader = optionReader(grammar)
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string
    if (word === '--') {
      operands.push(...words.slice(i + 1))
      break
    }
    if (word === '-' || !word.startsWith('-') || operand?.test(word)) operands.push(word)
    else {
      const next = (): string | undefined => words[++i]
      for (const [name, text] of word.startsWith('--') ? reader.long(word, next) : reader.letters(word, next)) {
        if (name === 'help') return 'help'
        options.push([name, text])
      }
    }
  }
  countOperands(grammar.command, operands)
  // The last one counts.
  const counting = options.filter(
    ([name], i) => reader.isMany(name) || !options.slice(i + 1).some(([later]) => later === name),
  )
  return [grammar.command.replace(/ .*/, ''), ...operands.map(plain), ...counting.map(([, text]) => text)]
}

/** An option: its full name, and the word as typed. */
type GivenOption = readonly [name: string, word: string]

function optionReader({ command, declared, unsupported = [] }: Grammar) {
  const positional = new Set([...command.matchAll(/[<[]([^>\].]+)/g)].map((match) => match[1] as string))
  const aliases = Object.entries(declared.alias).map(([name, others]) => [name, ...others])
  const namesOf = (name: string): readonly string[] => aliases.find((names) => names.includes(name)) ?? [name]
  /** The longest of its names. */
  const full = (name: string): string => namesOf(name).reduce((a, b) => (b.length > a.length ? b : a))
  const isOneOf = (list: readonly string[], name: string): boolean => namesOf(name).some((each) => list.includes(each))
  const known = (name: string): boolean => isOneOf(Object.keys(declared.key), name) && !positional.has(name)
  const isFlag = (name: string): boolean => isOneOf(declared.boolean, name)
  const takesNext = (name: string): boolean => isOneOf(Object.keys(declared.narg), name)
  const unknown = (option: string): UsageError =>
    new UsageError(unsupported.includes(option) ? `${option} is not supported yet` : `unknown option ${option}`)
  const given = (name: string, value: string): GivenOption => [full(name), `--${full(name)}=${quoted(value)}`]

  function* long(word: string, next: () => string | undefined): Generator<GivenOption> {
    const [, option = '', value] = /^(--[^=]*)(?:=(.*))?$/s.exec(word) ?? []
    const name = option.slice(2)
    const negated = /^no-/.test(name) && !known(name)
    const base = negated ? name.slice(3) : name
    if (!known(base) || base.length < 2 || (negated && !isFlag(base))) throw unknown(option)
    if (isFlag(base)) {
      if (value !== undefined) throw new UsageError(`${option} takes no value`)
      yield [full(base), `--${negated ? 'no-' : ''}${full(base)}`]
    } else yield given(base, value ?? (takesNext(base) ? required(option, next()) : ''))
  }

  function* letters(word: string, next: () => string | undefined): Generator<GivenOption> {
    for (let at = 1; at < word.length; at++) {
      const letter = word[at] as string
      if (letter === 'h' && !known('h')) yield ['help', '']
      else if (!known(letter)) throw unknown(`-${letter}`)
      if (isFlag(letter)) {
        yield [full(letter), `--${full(letter)}`]
        continue
      }
      const rest = word.slice(at + 1)
      yield given(letter, rest !== '' ? rest : required(`-${letter}`, next()))
      return
    }
  }
  return { long, letters, isMany: (name: string): boolean => isOneOf(declared.array, name) }
}

function required(option: string, value: string | undefined): string {
  if (value === undefined) throw new UsageError(`${option} needs a value`)
  return value
}

function countOperands(command: string, operands: readonly string[]): void {
  const names = [...command.matchAll(/([<[])([^>\].]+)(\.\.)?[>\]]/g)].map(([, open, name, more]) => ({
    name: (name as string).toUpperCase(),
    required: open === '<',
    more: more !== undefined,
  }))
  const missing = names.find(({ required }, i) => required && i >= operands.length)
  if (missing) throw new UsageError(`missing operand: ${missing.name}`)
  if (operands.length > names.length && !names.at(-1)?.more)
    throw new UsageError(`unexpected operand: ${operands[names.length]}`)
}

/** yargs would take such operands for options, or remove their quotes. A prefix prevents that. */
const PROTECTION = '\ufdd0'

const plain = (operand: string): string => (/^[-'"\ufdd0]/.test(operand) ? PROTECTION + operand : operand)

/** yargs removes one level of quotes. */
const quoted = (value: string): string => (/^(['"]).*\1$/s.test(value) ? `"${value}"` : value)

/** The values that yargs returned, as they were typed. */
export function restored<T extends object>(parsed: T): T {
  const bare = (value: unknown): unknown =>
    typeof value === 'string' && value.startsWith(PROTECTION)
      ? value.slice(PROTECTION.length)
      : Array.isArray(value)
        ? value.map(bare)
        : value
  return Object.fromEntries(Object.entries(parsed).map(([key, value]) => [key, bare(value)])) as T
}
