import type { Argv } from 'yargs'
import type { Output } from './output.ts'

/** Options of every command. */
export interface CommonArguments {
  readonly json?: boolean
  readonly csv?: boolean
  readonly color?: boolean
}

/** The context of a command's handler. */
export interface Session {
  readonly out: Output
  /** Standard output is a terminal and colors are on: see `paint`. */
  readonly color: boolean
  /** The table of commands. */
  readonly commands: readonly CommandEntry[]
}

/** The exit status; nothing means 0. */
// biome-ignore lint/suspicious/noConfusingVoidType: a handler may return nothing
export type Status = number | void

/**
 * A command: parse the command line, make one library call, pass the result on. The handler's
 * answer is the exit status (nothing: 0). A handler that throws an XfsError ends with its status;
 * see `exitStatus`.
 */
export interface Command<Arguments> {
  /** Positional words as yargs writes them: `info <image>`. */
  readonly command: string
  readonly describe: string
  /** Operands that begin with `-`, as a mode (`-x`). */
  readonly operand?: RegExp
  /** Options of the reference tool that this command refuses as not supported. */
  readonly unsupported?: readonly string[]
  /**
   * With `--dry-run --json` it prints a plan, which `--apply` carries out. The answer is what it
   * reads besides the image.
   */
  readonly plan?: (args: CommonArguments & Arguments) => PlanSources
  /** Exit status for an invalid command line (default: 3): that of the reference tool. */
  readonly usageStatus?: number
  /** Command lines that work, for --help. */
  readonly examples: readonly (readonly [line: string, what: string])[]
  /** Declares positional words and options. Returns the given yargs. */
  readonly builder: (yargs: Argv<CommonArguments>) => unknown
  readonly handler: (args: CommonArguments & Arguments, session: Session) => Status | Promise<Status>
}

/**
 * A command that parses its own command line, letter by letter as the reference tool (mkfs.xfs,
 * xfs_db, xfs_repair). The options of every command (`--json`, `--no-color`) are removed before.
 */
export interface RawCommand {
  readonly raw: (argv: readonly string[], session: Session) => Status | Promise<Status>
}

/** What a command reads besides the image. */
export interface PlanSources {
  /** Files and trees. */
  readonly paths?: readonly string[]
  /** Files that are known by their content: archives, lists. */
  readonly contents?: readonly string[]
  readonly oneFileSystem?: boolean
}

/** A row of the table of commands: known without loading the command. */
export interface CommandEntry {
  readonly name: string
  readonly describe: string
  // biome-ignore lint/suspicious/noExplicitAny: one table for commands with any arguments
  readonly load: () => Promise<{ default: Command<any> | RawCommand }>
  /** The program runs this command when called by this name. */
  readonly tool?: string
}

export * from './status.ts'
