import { readFileSync } from 'node:fs'
import type { Argv } from 'yargs'
import { type Bytes, exact, MAX_FILE_SIZE } from '../util/bytes.ts'
import { escapeBytes, unescapeBytes } from '../util/escape.ts'
import { type Parsed, getopt as parse } from '../util/getopt.ts'
import { parseInteger, parseSize as sizeOf, type Units } from '../util/numbers.ts'
import type { Fingerprint } from '../xfsimage/fingerprint.ts'
import type { HostPath } from '../xfsimage/host.ts'
import { type CommonArguments, UsageError } from './command.ts'

/**
 * A size in bytes in the syntax of mkfs.xfs: a number (decimal, 0x or 0) with the suffix s, b, k,
 * m, g, t, p or e; up to 2^63 − 1.
 * @throws UsageError
 */
export function parseBytes(text: string, { block = 4096, sector = 512 }: Units = {}): Bytes {
  const value = sizeOf(text.trim(), { block, sector }) ?? -1n
  const given = parseInteger(text.trim())
  if (value < 0n) throw new UsageError(`not a size: ${text} (a number, with s, b, k, m, g, t, p or e)`)
  // The C library clamps a number that is too large to the maximum.
  if (value > MAX_FILE_SIZE || (given && given.value > MAX_FILE_SIZE)) throw new UsageError(`too large: ${text}`)
  return exact(value)
}

/** The same for offsets and sizes on a device, up to 2^53. @throws UsageError */
export function parseSize(text: string, units: Units = {}): number {
  const size = parseBytes(text, units)
  if (typeof size === 'bigint') throw new UsageError(`too large: ${text}`)
  return size
}

/** An integer of at least `least`. @throws UsageError */
export function parseCount(text: string, what: string, least = 0): number {
  const value = /^(0x[0-9a-f]+|[0-9]+)$/i.test(text.trim()) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value) || value < least)
    throw new UsageError(`${what}: not a number of ${least} or more: ${text}`)
  return value
}

/** The same for `coerce` of an option that may be absent. */
export const optionalCount =
  (what: string, least = 0) =>
  (text: string | undefined): number | undefined =>
    text === undefined ? undefined : parseCount(text, what, least)

/** The place of the filesystem in the image, and the destination of changes. */
export interface ImageArguments {
  readonly offset?: number
  readonly partition?: number
  /** Replay a dirty log: for reading in memory (default), for changes on the image (not default). */
  readonly replay?: boolean
  readonly dryRun?: boolean
  readonly output?: string
  /** Seconds to wait for another xfskit that changes the image. */
  readonly wait?: number
  /** Called with the state of the image before it is changed; for plans. */
  readonly onState?: (state: Fingerprint) => void
}

/** `--offset` and `--partition`, for every command that opens an image. */
const placeOptions = <T extends CommonArguments>(yargs: Argv<T>): Argv<T & ImageArguments> =>
  yargs
    .option('offset', {
      type: 'string',
      describe: 'byte offset of the filesystem in the image',
      requiresArg: true,
      coerce: optionalSize,
    })
    .option('partition', {
      type: 'string',
      describe: 'partition that holds the filesystem (GPT or MBR)',
      requiresArg: true,
      coerce: optionalCount('--partition', 1),
    })
    .conflicts('offset', 'partition') as unknown as Argv<T & ImageArguments>

/** The same with `--no-replay`, for every command that reads an image. */
export const imageOptions = <T extends CommonArguments>(yargs: Argv<T>): Argv<T & ImageArguments> =>
  placeOptions(yargs).option('replay', {
    type: 'boolean',
    describe: 'read through a replay of a dirty log (default); --no-replay: what is on disk',
  }) as unknown as Argv<T & ImageArguments>

/**
 * The same with `--dry-run`, `--output` and `--wait`, for every command that changes an image.
 * @param short  -o means --output, unless a reference tool has another -o
 */
export const changeOptions = <T extends CommonArguments>(
  yargs: Argv<T>,
  { short = true }: { readonly short?: boolean } = {},
): Argv<T & ImageArguments> =>
  placeOptions(yargs)
    .option('replay', { type: 'boolean', describe: 'replay a dirty log first, as recover does' })
    .option('dry-run', { type: 'boolean', describe: 'print what would change, without changing the image' })
    .option('output', {
      ...(short ? { alias: 'o' } : {}),
      type: 'string',
      describe: 'change a sparse copy, which gets this name on success',
      requiresArg: true,
    })
    .option('wait', {
      type: 'string',
      describe: 'wait for another xfskit that changes the image; --wait=SECONDS: with a timeout',
      coerce: parseWait,
    })
    .conflicts('dry-run', 'output') as unknown as Argv<T & ImageArguments>

/** Seconds to wait. @param text  of `--wait=TEXT`; without TEXT wait for ever */
function parseWait(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  return text === '' ? Number.POSITIVE_INFINITY : parseCount(text, '--wait')
}

/** `--wait` has a value only after `=`: the next word is another argument. */
const waitWord = (word: string): string => (word === '--wait' ? '--wait=' : word)

/** Remove `--wait` and `--wait=SECONDS` from a command line that is parsed letter by letter. */
export function takeWait(argv: readonly string[]): { place: Pick<ImageArguments, 'wait'>; rest: string[] } {
  const end = argv.indexOf('--')
  const { value, rest } = takeOption(
    argv.map((word, i) => (end >= 0 && i > end ? word : waitWord(word))),
    '--wait',
  )
  const wait = parseWait(value)
  return { place: wait === undefined ? {} : { wait }, rest }
}

/**
 * Remove `--offset`, `--partition`, `--replay` and `--no-replay` from a command line that is parsed
 * letter by letter.
 */
export function takePart(argv: readonly string[]): {
  place: Pick<ImageArguments, 'offset' | 'partition' | 'replay'>
  rest: string[]
} {
  const replay = argv.findLast((word) => word === '--replay' || word === '--no-replay')
  const offset = takeOption(
    argv.filter((word) => word !== '--replay' && word !== '--no-replay'),
    '--offset',
  )
  const partition = takeOption(offset.rest, '--partition')
  return {
    place: {
      ...(replay !== undefined && { replay: replay === '--replay' }),
      ...(offset.value !== undefined && { offset: parseSize(offset.value) }),
      ...(partition.value !== undefined && { partition: parseCount(partition.value, '--partition', 1) }),
    },
    rest: partition.rest,
  }
}

/** The same with `--dry-run`, `--output` and `--wait`, as `changeOptions` declares them. */
export function takePlace(argv: readonly string[]): { place: ImageArguments; rest: string[] } {
  const part = takePart(argv)
  const wait = takeWait(part.rest)
  const output = takeOption(wait.rest, '--output')
  return {
    place: {
      ...part.place,
      ...wait.place,
      ...(output.value !== undefined && { output: output.value }),
      ...(output.rest.includes('--dry-run') && { dryRun: true }),
    },
    rest: output.rest.filter((word) => word !== '--dry-run'),
  }
}

/** For `coerce` of an option that may be absent. */
export const optionalSize = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : parseSize(text)

/** The same for an offset or length in a file. */
export const optionalBytes = (text: string | undefined): Bytes | undefined =>
  text === undefined ? undefined : parseBytes(text)

/** Arguments that were not UTF-8, as bytes, by the text that represents them. */
const rawArguments = new Map<string, Buffer>()

/**
 * The program's arguments. Node replaces bytes that are not UTF-8. On Linux the original bytes are
 * known, and become `\xHH`.
 */
export function programArguments(argv: readonly string[]): string[] {
  if (!argv.some((argument) => argument.includes('\ufffd'))) return [...argv]
  let raw: Buffer
  try {
    raw = readFileSync('/proc/self/cmdline')
  } catch {
    return [...argv]
  }
  const all: Buffer[] = []
  for (let start = 0; start < raw.length; ) {
    const end = raw.indexOf(0, start)
    all.push(raw.subarray(start, end < 0 ? raw.length : end))
    start = end < 0 ? raw.length : end + 1
  }
  const own = all.slice(all.length - argv.length)
  return argv.map((argument, i) => {
    const bytes = own[i]
    if (!argument.includes('\ufffd') || !bytes || bytes.toString('utf8') !== argument) return argument
    const text = escapeBytes(bytes)
    rawArguments.set(text, bytes)
    return text
  })
}

/** The bytes of an argument that is not UTF-8. */
export const rawArgument = (text: string): Buffer | undefined => rawArguments.get(text)

/** An argument that is not UTF-8, from a plan. */
export const addRawArgument = (text: string, bytes: Buffer): void => {
  rawArguments.set(text, bytes)
}

/** A path on the host, from an argument. */
export const hostPath = (argument: string): HostPath => rawArguments.get(argument) ?? argument

/** The bytes of a path or a name inside of the image, from an argument: UTF-8, or `\xHH`. */
export const imagePath = (argument: string): Uint8Array => unescapeBytes(argument)

/** The command line syntax of the reference tools. @throws UsageError */
export function getopt(argv: readonly string[], letters: string): Parsed {
  const parsed = parse(argv, letters)
  if (parsed.faults[0]) throw new UsageError(parsed.faults[0].message)
  return parsed
}

/** Options of every command, which may also precede its name. */
export const commonOptions: ReadonlyMap<string, CommonArguments> = new Map<string, CommonArguments>([
  ['--json', { json: true }],
  ['--csv', { csv: true }],
  ['--color', { color: true }],
  ['--no-color', { color: false }],
])

/** Remove these options from a command line that is parsed letter by letter. */
export function takeCommon(argv: readonly string[]): { common: CommonArguments; rest: string[] } {
  const end = argv.indexOf('--')
  const isCommon = (word: string, i: number): boolean => (end < 0 || i < end) && commonOptions.has(word)
  const common = Object.assign({}, ...argv.filter(isCommon).map((word) => commonOptions.get(word)))
  return { common, rest: argv.filter((word, i) => !isCommon(word, i)) }
}

/**
 * Remove a long option with a value (`--size 1g`, `--size=1g`) from such a command line. Its last
 * value counts.
 */
export function takeOption(argv: readonly string[], name: string): { value?: string; rest: string[] } {
  const rest: string[] = []
  let value: string | undefined
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] as string
    if (argument === '--') return { ...(value === undefined ? {} : { value }), rest: [...rest, ...argv.slice(i)] }
    if (argument.startsWith(`${name}=`)) value = argument.slice(name.length + 1)
    else if (argument === name) {
      value = argv[++i]
      if (value === undefined) throw new UsageError(`${name} needs a value`)
    } else rest.push(argument)
  }
  return { ...(value === undefined ? {} : { value }), rest }
}
