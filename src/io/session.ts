import { assert, XfsError } from '../errors.ts'
import { type Inode, openInode } from '../inode/inode.ts'
import type { Bytes } from '../util/bytes.ts'
import { getopt, type Parsed } from '../util/getopt.ts'
import type { Volume } from '../volume.ts'
import { CallError, errorText } from './errno.ts'
import { parseBytes, sizeText, timeText } from './numbers.ts'

/**
 * A session of xfs_io on an image: a table of open files, one of them current, and commands for it.
 *
 *   "pwrite -S 7 0 64k" ─▶ words ─▶ command, by its name or short name
 *     ─▶ run for each open file, or once ─▶ output, errors, exit status
 *
 * Arguments, output, messages and the exit status are those of xfs_io. The files are those of the
 * image, by their paths in it. A file descriptor is an inode number and the flags with which it was
 * opened. Calls that the kernel refuses because of these flags are refused here (EBADF), others by
 * the layers below.
 *
 * Source: xfsprogs, io/*.c, for the output; the text of `help` is our own.
 */
export interface OpenFlags {
  readonly append?: boolean
  readonly create?: boolean
  readonly direct?: boolean
  readonly readOnly?: boolean
  readonly sync?: boolean
  readonly truncate?: boolean
  readonly nonBlock?: boolean
  readonly realtime?: boolean
  readonly path?: boolean
  readonly noFollow?: boolean
}

export interface OpenFile {
  /** The name as given. */
  readonly name: string
  readonly ino: number
  readonly flags: OpenFlags
  /** False for a directory: it is opened for reading. */
  readonly writable: boolean
}

export interface IoSessionOptions {
  readonly volume: Volume
  readonly out: (text: string) => void
  readonly error: (text: string) => void
  /** Reads a file of the host, for `pwrite -i`. @throws Error with the message of the host */
  readonly readHost?: (path: string) => Uint8Array
  readonly program?: string
  /** Takes results as records; without it they are lines of text, for `out`. */
  readonly result?: (record: IoRecord) => void
  /** The time in seconds, for measuring durations. */
  readonly clock?: () => number
}

/** A result of a command: its kind, the file, and its values. */
export type IoRecord = Readonly<Record<string, unknown>> & { readonly kind: string }

// biome-ignore lint/suspicious/noConfusingVoidType: most commands return nothing
type Answer = boolean | void

export interface IoCommand {
  readonly name: string
  readonly alias?: string
  /** The arguments, as `help` shows them between name and description. */
  readonly args?: string
  readonly describe: string
  readonly help?: string
  readonly least: number
  /** Maximum number of arguments; undefined for no maximum. */
  readonly most?: number
  /** Runs without an open file. */
  readonly anywhere?: boolean
  /** Runs once, not for each open file. */
  readonly once?: boolean
  /** Changes nothing. */
  readonly readOnly?: boolean
  /** @returns true to end the session */
  run(session: IoSession, argv: readonly string[]): Answer
}

/** What an option with this value changes in `into`. @returns false after a message */
// biome-ignore lint/suspicious/noConfusingVoidType: most options return nothing
type TakeOption<T> = (into: T, value: string, session: IoSession) => boolean | void

/** The options of a command by their letters; `:` follows the letter of an option with a value. */
export type OptionRows<T> = Readonly<Record<string, TakeOption<T>>>

/** The state of a session. Output and errors go to callbacks. */
export class IoSession {
  readonly volume: Volume
  readonly program: string
  readonly files: OpenFile[] = []
  current: OpenFile | undefined
  exitCode = 0
  /**
   * The device has failed. This is reported at the end, even if xfs_io would exit with 0 after a
   * failed command.
   */
  deviceFailed = false
  /** `fiemap -n` also applies to later commands. */
  fiemapLimit: number | undefined
  readonly readHost: (path: string) => Uint8Array
  readonly clock: () => number
  readonly #commands: readonly IoCommand[]
  readonly #out: (text: string) => void
  readonly #error: (text: string) => void
  readonly #result: ((record: IoRecord) => void) | undefined

  constructor(options: IoSessionOptions, commands: readonly IoCommand[]) {
    this.volume = options.volume
    this.program = options.program ?? 'xfs_io'
    this.readHost =
      options.readHost ??
      (() => {
        throw new CallError('NOENT')
      })
    this.clock = options.clock ?? (() => performance.now() / 1000)
    this.#commands = commands
    this.#out = options.out
    this.#error = options.error
    this.#result = options.result
  }

  get commands(): readonly IoCommand[] {
    return this.#commands
  }

  print(text: string): void {
    this.#out(text)
  }

  /** Give a result: as a record, or as lines of text. */
  result(kind: string, values: Readonly<Record<string, unknown>>, text: string): void {
    if (this.#result) this.#result({ kind, ...(this.current && { file: this.current.name }), ...values })
    else this.#out(`${text}\n`)
  }

  /** Print a line that explains results, such as the heads of columns: not beside records. */
  caption(text: string): void {
    if (!this.#result) this.#out(`${text}\n`)
  }

  complain(text: string): void {
    this.#error(text)
  }

  /** Report a command that failed. */
  fail(text: string): void {
    this.#error(text)
    this.exitCode = 1
  }

  find(name: string): IoCommand | undefined {
    return this.#commands.find((command) => command.name === name || command.alias === name)
  }

  /**
   * Run one line.
   * @param iterate  for each open file (commands given with -c)
   * @returns true to end the session
   */
  run(line: string, iterate: boolean): boolean {
    const argv = line.split(' ').filter((word) => word !== '')
    const [name] = argv
    if (name === undefined) return false
    const command = this.find(name)
    if (!command) {
      this.complain(`command "${name}" not found\n`)
      return false
    }
    if (!iterate || command.once) return this.#runOne(command, argv)
    for (let i = 0; i < this.files.length; i++) {
      this.current = this.files[i]
      if (this.#runOne(command, argv)) return true
    }
    return false
  }

  #runOne(command: IoCommand, argv: readonly string[]): boolean {
    if (this.current === undefined && !command.anywhere) {
      this.complain("no files are open, try 'help open'\n")
      return false
    }
    const count = argv.length - 1
    const { least, most } = command
    if (count < least || (most !== undefined && count > most)) {
      const expected =
        most === undefined
          ? `at least ${least} arguments`
          : least === most
            ? `${least} arguments`
            : `between ${least} and ${most} arguments`
      this.complain(`bad argument count ${count} to ${argv[0]}, expected ${expected}\n`)
      return false
    }
    return command.run(this, argv) === true
  }

  /** The open file. */
  get file(): OpenFile {
    assert(this.current, 'no file is open')
    return this.current
  }

  /** The inode of the open file. */
  inode(file: OpenFile = this.file): Inode {
    return openInode(this.volume, file.ino)
  }

  /** The inode of the open file, for changing it. @throws CallError */
  writable(file: OpenFile = this.file): Inode {
    if (!this.volume.writable) throw new CallError('ROFS')
    if (!file.writable) throw new CallError('BADF')
    return this.inode(file)
  }

  /** Options of a command; messages of getopt go to standard error. */
  options(argv: readonly string[], letters: string): Parsed {
    const parsed = getopt(argv.slice(1), letters)
    for (const { message } of parsed.faults) this.complain(`${argv[0]}: ${message}\n`)
    return parsed
  }

  /**
   * Take the options of a command into `into`, in order.
   * @returns the operands; undefined after a message about an option
   */
  take<T>(command: IoCommand, argv: readonly string[], rows: OptionRows<T>, into: T): readonly string[] | undefined {
    const { options, operands } = this.options(argv, Object.keys(rows).join(''))
    for (const { letter, value } of options) {
      const row = rows[letter] ?? rows[`${letter}:`]
      if (!row) this.usage(command)
      if (!row || row(into, value, this) === false) return undefined
    }
    return operands
  }

  /** Print a message about an argument. @returns false */
  refuse(message: string): false {
    this.print(`${message}\n`)
    this.exitCode = 1
    return false
  }

  usage(command: IoCommand, failed = true): void {
    if (failed) this.exitCode = 1
    this.print(`${command.name} ${command.args ?? '(null)'} -- ${command.describe}\n`)
  }

  bytes(text: string): Bytes {
    const { blocksize, sectsize } = this.volume.geometry
    return parseBytes(text, { block: blocksize, sector: sectsize })
  }

  /** A size, or undefined after a message. @param what  such as `offset argument` */
  number(text: string, what: string): Bytes | undefined {
    const value = this.bytes(text)
    if (value >= 0) return value
    this.refuse(`non-numeric ${what} -- ${text}`)
    return undefined
  }

  /** Do it, or print the C library's message after `label`. @returns whether it was done */
  attempt(label: string, action: () => void): boolean {
    const message = this.failure(action)
    if (message === undefined) return true
    this.fail(`${label}: ${message}\n`)
    return false
  }

  /** Do it, or return the C library's message. Bugs are thrown. */
  failure(action: () => void): string | undefined {
    try {
      action()
      return undefined
    } catch (error) {
      const message = errorText(error)
      if (message === undefined) throw error
      if (error instanceof XfsError && error.code === 'IO') this.deviceFailed = true
      return message
    }
  }

  /** Print how much was done in how much time. */
  report(
    verb: string,
    start: number,
    work: { offset: Bytes; count: Bytes; total: Bytes; ops: number },
    condensed: boolean,
  ): void {
    const { offset, count, total, ops } = work
    const seconds = Math.max(this.clock() - start, 1e-6)
    const values = { what: verb, offset, bytes: total, requested: count, calls: ops, seconds }
    if (condensed) {
      const fields = [
        total,
        ops,
        timeText(seconds, true),
        (Number(total) / seconds).toFixed(3),
        (ops / seconds).toFixed(3),
      ]
      this.result('done', values, fields.join(','))
      return
    }
    const rate = `${sizeText(Number(total) / seconds)}/sec and ${(ops / seconds).toFixed(4)} ops/sec`
    const done = `${verb} ${total}/${count} bytes at offset ${offset}`
    this.result('done', values, `${done}\n${sizeText(Number(total))}, ${ops} ops; ${timeText(seconds)} (${rate})`)
  }
}

/**
 * The flags with which a file was opened: `non-sync,non-direct,read-write`.
 * @param all  include the flags that only `print` shows
 */
export function flagsText(flags: OpenFlags, all = false): string {
  return [
    flags.sync ? 'sync' : 'non-sync',
    flags.direct ? 'direct' : 'non-direct',
    flags.readOnly ? 'read-only' : 'read-write',
    flags.realtime ? 'real-time' : '',
    flags.append ? 'append-only' : '',
    flags.nonBlock ? 'non-block' : '',
    all && flags.path ? 'path' : '',
    all && flags.noFollow ? 'nofollow' : '',
  ]
    .filter(Boolean)
    .join(',')
}

/** The code of a call's error; undefined for other errors. */
export const codeOf = (error: unknown): string | undefined =>
  error instanceof XfsError || error instanceof CallError ? error.code : undefined
