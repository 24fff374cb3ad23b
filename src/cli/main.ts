import { constants } from 'node:os'
import { basename } from 'node:path'
import type { Argv } from 'yargs'
import { XfsError } from '../errors.ts'
import { escapeText, unescapeBytes } from '../util/escape.ts'
import { commonOptions, programArguments, takeCommon, takeOption } from './arguments.ts'
import {
  CANNOT_RUN,
  CannotRun,
  ChangedInPart,
  type Command,
  type CommandEntry,
  type CommonArguments,
  exitStatus,
  Interrupted,
  OK,
  OutputClosed,
  PARTLY,
  type Session,
  type Status,
  UsageError,
} from './command.ts'
import { commands } from './commands.ts'
import { absolute } from './json.ts'
import { Output } from './output.ts'
import { stopSignal } from './signals.ts'
import { version } from './version.ts'
import { type Declared, readWords, restored } from './words.ts'

/**
 * The program: finds, loads and runs a command, and reports the result as messages and an exit
 * status.
 * @param called the name that the program was called by: a reference tool's name makes it that tool
 */
export async function main(
  argv: readonly string[] = process.argv.slice(2),
  called = process.argv[1] ?? '',
): Promise<number> {
  const args = commandFirst(programArguments(argv))
  const tool = commands.find((entry) => entry.tool !== undefined && entry.tool === basename(called))
  if (tool) return run(tool, args, basename(called))
  const [word, ...rest] = args
  if (word === undefined || commonOptions.has(word)) {
    process.stderr.write(overview())
    return CANNOT_RUN
  }
  if (word === '--version' || word === '-V') return print(`xfskit ${version}\n`)
  if ((word === 'help' || word === '--help' || word === '-h') && rest.length === 0) return print(overview())
  if (word === 'help') return main([...rest, '--help'], called)
  const entry = commands.find(({ name }) => name === word)
  if (entry) return run(entry, rest, `xfskit ${word}`)
  process.stderr.write(`xfskit: unknown command ${escapeText(word)}${suggestion(word)}; see xfskit --help\n`)
  return CANNOT_RUN
}

/** `--no-color info disk.img` is `info --no-color disk.img`. */
function commandFirst(args: readonly string[]): readonly string[] {
  const at = args.findIndex((word) => !commonOptions.has(word))
  return at < 0 ? args : [args[at] as string, ...args.slice(0, at), ...args.slice(at + 1)]
}

async function run(entry: CommandEntry, args: readonly string[], name: string): Promise<number> {
  const { common, rest: words } = takeCommon(args)
  const out = new Output({ form: common.json ? 'json' : common.csv ? 'csv' : 'text' })
  const session: Session = {
    out,
    get color() {
      return wantsColor(common)
    },
    commands,
  }
  let usageStatus = CANNOT_RUN
  try {
    // A reference tool's command line is parsed by its own command.
    const { value: traced, rest } =
      name === entry.tool ? { value: undefined, rest: words } : takeOption(words, '--trace')
    if (traced !== undefined) await (await import('./trace.ts')).printTrace(traced, out)
    const { default: command } = await entry.load()
    if (!('raw' in command)) usageStatus = command.usageStatus ?? CANNOT_RUN
    const status = 'raw' in command ? await command.raw(rest, session) : await runParsed(command, rest, session)
    out.flush()
    return signalStatus(stopSignal()) ?? status ?? OK
  } catch (error) {
    out.flush()
    return reportError(error, name, out, usageStatus)
  }
}

/**
 * Commands in the style of xfskit: `readWords` parses the command line, yargs converts values.
 */
async function runParsed(command: Command<unknown>, words: readonly string[], session: Session): Promise<Status> {
  const { default: yargs } = await import('yargs')
  const result: { status?: Status } = {}
  const planned = command.plan && (await import('./plan.ts')).takePlan(command, words)
  const declare = (parser: Argv): Argv => {
    const common = parser
      .option('json', { type: 'boolean', describe: 'print JSON' })
      .option('csv', { type: 'boolean', describe: 'print records as CSV' })
      .option('trace', {
        type: 'string',
        describe: 'trace changes on stderr; comma-separated list of space, rmap, refcount, bmap, reflink; or all',
      })
      .option('color', { type: 'boolean', describe: 'use colors on a terminal; --no-color: never' })
      .version(false)
      .help('help')
    return command.plan ? common.option('apply', APPLY) : common
  }
  const own = declare(yargs())
  command.builder(own as Argv<CommonArguments>)
  const declared = (own as unknown as { getOptions: () => Declared }).getOptions()
  const read = readWords(planned?.words ?? words, { ...command, declared })
  const parser = declare(yargs())
    .scriptName('xfskit')
    .locale('en')
    .parserConfiguration({ 'parse-positional-numbers': false })
    .command<CommonArguments>(
      command.command,
      command.describe,
      (builder) => {
        command.builder(builder as Argv<CommonArguments>)
      },
      async (parsed) => {
        const args = restored(parsed)
        result.status = await command.handler(planned?.argumentsOf(args, session.out) ?? args, session)
      },
    )
    .strict()
    .alias('help', Object.hasOwn(declared.key, 'h') ? [] : 'h')
    .wrap(outputIsTerminal() ? Math.min(110, process.stdout.columns) : 100)
    .exitProcess(false)
    .showHelpOnFail(false)
    .fail((message, error) => {
      // An error of `coerce` arrives as yargs' own error, with the message only.
      throw error && error.name !== 'YError' ? error : new UsageError(usageMessage(error?.message ?? message))
    }) as Argv
  if (read === 'help') {
    const name = command.command.replace(/ .*/, '')
    session.out.raw(`${await helpText(parser, [name, '--help'])}\n\n${examplesText(command.examples)}\n`)
  } else await parser.parseAsync(read)
  return result.status
}

const APPLY = {
  type: 'string',
  requiresArg: true,
  describe: 'do what --dry-run --json printed into this file (-: standard input), if nothing has changed since',
} as const

/** The error in a command line, in terms of what the user typed. @param message  of yargs */
function usageMessage(message: string): string {
  const exclusive = /^Arguments (\S+) and (\S+) are mutually exclusive$/.exec(message)
  if (exclusive) return `--${exclusive[1]} and --${exclusive[2]} exclude each other`
  const choice = /Argument: (\S+), Given: "(.*)", Choices: (.*)$/s.exec(message)
  if (choice) return `${choice[1]}: ${choice[2]}: not one of ${choice[3]?.replaceAll('"', '')}`
  return message
}

/** Example command lines with their explanations beside them, or below long ones. */
function examplesText(examples: Command<unknown>['examples']): string {
  const lines = examples.map(([line, what]) => [`  ${line.replace('$0', 'xfskit')}`, what] as const)
  const width = Math.min(EXAMPLE_WIDTH, Math.max(...lines.map(([line]) => line.length)))
  const texts = lines.map(([line, what]) =>
    what === '' ? line : line.length <= width ? `${line.padEnd(width)}  ${what}` : `${line}\n${' '.repeat(6)}${what}`,
  )
  return ['Examples:', ...texts].join('\n')
}

const EXAMPLE_WIDTH = 50

/** yargs returns its help to a callback only; otherwise it prints it. */
const helpText = (parser: Argv, words: readonly string[]): Promise<string> =>
  new Promise((resolve) => void parser.parseAsync([...words], {}, (_error, _parsed, output) => resolve(output)))

/** Report the error that ended a command. @returns the exit status */
function reportError(error: unknown, name: string, out: Output, usageStatus = CANNOT_RUN): number {
  if (error instanceof OutputClosed) return OK
  const status = error instanceof UsageError ? usageStatus : statusOfError(error)
  const known = [XfsError, UsageError, CannotRun, Interrupted].some((kind) => error instanceof kind)
  const message = error instanceof Error ? error.message : String(error)
  out.message(
    'error',
    name,
    known ? message : `internal error: ${message} (a bug in xfskit; XFSKIT_DEBUG=1 prints the stack)`,
    {
      status,
      code: error instanceof XfsError ? error.code : known ? (error as Error).name : 'Internal',
      ...(error instanceof XfsError &&
        error.where.path !== undefined && { path: absolute(unescapeBytes(error.where.path)) }),
      ...(error instanceof UsageError && { hint: `; see ${name} --help` }),
    },
  )
  if (!(error instanceof Interrupted) && process.env['XFSKIT_DEBUG'] === '1') out.error(`${stackOf(error)}\n`)
  return status
}

function statusOfError(error: unknown): number {
  if (error instanceof Interrupted) return signalStatus(error.signal) ?? CANNOT_RUN
  if (error instanceof ChangedInPart) return PARTLY
  return error instanceof XfsError ? exitStatus(error.code) : CANNOT_RUN
}

const stackOf = (error: unknown): string =>
  error instanceof Error
    ? (error.stack ?? error.message) + (error.cause === undefined ? '' : `\ncause: ${stackOf(error.cause)}`)
    : String(error)

/** The exit status that a shell reports for a process killed by a signal. */
const signalStatus = (signal: NodeJS.Signals | undefined): number | undefined =>
  signal === undefined ? undefined : 128 + (constants.signals[signal] ?? 0)

/** As git: suggest the most similar command. */
function suggestion(word: string): string {
  const near =
    commands.find(({ name }) => name.startsWith(word)) ??
    commands.find(({ name }) => name.includes(word) || word.includes(name))
  return near ? ` (${near.name}?)` : ''
}

/** Loaded on demand: node:tty loads streams and sockets, which is slow. */
const outputIsTerminal = (): boolean => process.getBuiltinModule('node:tty').isatty(1)

const wantsColor = (common: CommonArguments): boolean =>
  common.color ?? (!process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb' && outputIsTerminal())

function print(text: string): number {
  const out = new Output({ form: 'text' })
  try {
    out.raw(text)
    out.flush()
    return OK
  } catch (error) {
    return reportError(error, 'xfskit', out)
  }
}

/** Printed without loading a command or yargs, to keep start-up short. */
function overview(): string {
  const width = Math.max(...commands.map(({ name }) => name.length))
  return [
    'xfskit: format, fill, reflink, dedupe, inspect, check and repair XFS images, without mounting them',
    '',
    'usage: xfskit COMMAND [options] IMAGE ...      xfskit COMMAND --help for details',
    '',
    ...commands.map(({ name, describe }) => `  ${name.padEnd(width)}  ${describe}`),
    '',
    'Options of every command: --json, --no-color, --help. Exit status: 0 success; 1 failed, image unchanged, or',
    'inconsistencies found; 2 dirty log; 3 could not run; 4 failed after changing a part of the image.',
    'Commands named after reference tools keep the exit status of the tool.',
    '',
  ].join('\n')
}
