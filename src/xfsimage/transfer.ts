import type { CopyProblem } from '../transfer/copyproblems.ts'
import { type OwnerRule, OwnerRules, pathPattern } from '../transfer/ownerrules.ts'
import type { PutOptions as Settings } from '../transfer/put.ts'
import type { PutName } from '../transfer/putlog.ts'
import { bytesOf, idOf, iterableOf, modeOf, requireObject } from './arguments.ts'
import type { ByteStream, HostTarget } from './host.ts'
import type { LongOptions } from './run.ts'
import { type TimeLike, timestampOf } from './stats.ts'

export { withoutNative } from '../device/native.ts'
export type { CopyProblem } from '../transfer/copyproblems.ts'
export { DestinationError } from '../transfer/places.ts'
export type { TransferResult } from '../transfer/put.ts'
export type { PutName } from '../transfer/putlog.ts'

/**
 * A file or tree of the host; or an archive: one that arrives over time, or one that is open at a
 * descriptor, from which it is read on, and which stays open.
 */
export type PutFrom = HostTarget | ByteStream | { readonly fd: number }

export interface PutOptions extends LongOptions {
  /** The owner of everything (default: as on the host). */
  readonly owner?: { readonly uid?: number; readonly gid?: number }
  /** Permissions of everything, or a function of those on the host. */
  readonly mode?: number | ((permissions: number, isDirectory: boolean) => number)
  /**
   * Owners and permissions of files that match a pattern (`*.sh`, `/etc/**`); later rules override.
   */
  readonly rules?: readonly PutRule[]
  /** Extended attributes and access control lists too (default: true). */
  readonly xattrs?: boolean
  /** Make holes of blocks of zeros. */
  readonly sparse?: boolean
  /** Do not descend into other filesystems of the host. */
  readonly oneFileSystem?: boolean
  /** Access time of every file (default: that of the file). */
  readonly atime?: TimeLike
  /** Called for each file that cannot be copied, when that happens. */
  readonly onProblem?: (problem: CopyProblem) => void
  /** Called at the end for each name that was created, replaced or merged. */
  readonly onPut?: (name: PutName) => void
}

export interface PutRule {
  readonly pattern: string
  readonly uid?: number
  readonly gid?: number
  readonly mode?: number | ((permissions: number, isDirectory: boolean) => number)
}

export interface GetOptions extends LongOptions {
  /** Write a tar archive. */
  readonly tar?: boolean
  /** Write a compressed tar archive. */
  readonly gzip?: boolean
  /** Copy owners and set-ID bits (default: for root); an archive always has them. */
  readonly owner?: boolean
  /** Extended attributes and access control lists too (default: true). */
  readonly xattrs?: boolean
  /**
   * Copy device nodes (default: report them as problems); an archive has them unless this is false.
   */
  readonly devices?: boolean
  /** Called for each file that cannot be copied, when that happens. */
  readonly onProblem?: (problem: CopyProblem) => void
}

const always = (mode: number) => (): number => mode

/** What `put` of the room below takes. */
export function settingsOf({ owner, mode, rules = [], atime, signal, onProgress, ...options }: PutOptions): Settings {
  if (owner !== undefined) requireObject('owner', owner)
  const ruleOf = ({ mode, ...rule }: Omit<PutRule, 'pattern'>): OwnerRule => {
    for (const name of ['uid', 'gid'] as const) if (rule[name] !== undefined) idOf(name, rule[name])
    return {
      ...rule,
      ...(mode !== undefined && { mode: typeof mode === 'function' ? mode : always(modeOf(mode)) }),
    }
  }
  for (const rule of iterableOf('rules', rules)) {
    requireObject('rules', rule)
    bytesOf(rule.pattern)
  }
  return {
    ...options,
    ...(atime !== undefined && { atime: timestampOf(atime) }),
    mapping: new OwnerRules([
      ...(owner === undefined && mode === undefined ? [] : [ruleOf({ ...owner, ...(mode !== undefined && { mode }) })]),
      ...Array.from(rules, ({ pattern, ...rule }) => ({ ...ruleOf(rule), pattern: pathPattern(pattern) })),
    ]),
  }
}
