import { createHash } from 'node:crypto'
import { closeSync, lstatSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs'
import { XfsError } from '../errors.ts'
import { type Fingerprint, requireSame } from '../xfsimage/fingerprint.ts'
import type { HostPath } from '../xfsimage/host.ts'
import { type FileStamp, stampOf } from '../xfsimage/host.ts'
import { addRawArgument, hostPath, type ImageArguments, rawArgument, takeOption, takeWait } from './arguments.ts'
import { CannotRun, type Command, type CommonArguments, UsageError } from './command.ts'
import { named } from './json.ts'
import type { Output } from './output.ts'
import { version } from './version.ts'

/**
 * A plan: what a dry run did, to be done later. It is the command line of the dry run with the
 * states of all that it has read. The same command on the same state does the same, so carrying out
 * the plan is running the command, after the states were compared with the image locked.
 *
 *   --dry-run --json   fingerprint ─▶ work in memory ─▶ document with `plan`
 *   --apply PLAN       lock ─▶ compare fingerprints ─▶ work
 */
export interface Plan {
  readonly program: string
  readonly command: string
  /** Of the dry run, as they were typed. */
  readonly arguments: readonly string[]
  /** In base64, those that are not UTF-8. */
  readonly argumentsBase64?: Readonly<Record<string, string>>
  readonly image: Fingerprint
  /** Files of the host that the command reads. */
  readonly sources: readonly Source[]
}

/**
 * A file of the host. What is read as one piece (an archive, a list) is known by its content, and
 * may be another file by then; a tree by what stat(2) says of each file.
 */
type Source = { readonly path: string; readonly pathBase64?: string } & (FileStamp | ContentStamp)

interface ContentStamp {
  readonly size: string
  readonly sha256: string
}

const PROGRAM = `xfskit ${version}`

interface Planned {
  readonly words: readonly string[]
  argumentsOf<Arguments extends CommonArguments>(args: Arguments, out: Output): Arguments
}

/**
 * Take `--apply PLAN` from a command line. With it the words are those of the plan.
 * @throws XfsError INVAL (not a plan of this command and version), UsageError, CannotRun
 */
export function takePlan(command: Command<never>, words: readonly string[]): Planned {
  const name = command.command.replace(/ .*/, '')
  const { value: file, rest } = takeOption(words, '--apply')
  if (file === undefined)
    return { words, argumentsOf: (args, out) => recorded(command as Command<unknown>, name, words, args, out) }
  const { place, rest: others } = takeWait(rest)
  const { value: output, rest: operands } = takeOption(others, '--output')
  if (operands.length > 0)
    throw new UsageError(`with --apply all but --output and --wait is in the plan: ${operands[0]}`)
  const plan = readPlan(file, name)
  return {
    words: plan.arguments,
    argumentsOf: (args) => ({
      ...args,
      dryRun: false,
      ...place,
      ...(output !== undefined && { output }),
      onState: (image: Fingerprint) => {
        requireSame(plan.image, image)
        requireSameSources(plan.sources, sourcesOf(command as Command<unknown>, args) ?? [])
      },
    }),
  }
}

/** The arguments of a dry run that prints a plan. */
function recorded<Arguments extends CommonArguments & ImageArguments>(
  command: Command<unknown>,
  name: string,
  words: readonly string[],
  args: Arguments,
  out: Output,
): Arguments {
  if (args.dryRun !== true || !out.json) return args
  const sources = sourcesOf(command, args)
  // Standard input cannot be read again.
  if (!sources) return args
  const raw = words.flatMap((word) => {
    const bytes = rawArgument(word)
    return bytes ? [[word, bytes.toString('base64')] as const] : []
  })
  const plan = {
    program: PROGRAM,
    command: name,
    arguments: words,
    ...(raw.length > 0 && { argumentsBase64: Object.fromEntries(raw) }),
  }
  return { ...args, onState: (image: Fingerprint) => out.attachPlan({ ...plan, image, sources } satisfies Plan) }
}

/** @returns undefined if standard input is among them */
function sourcesOf(command: Command<unknown>, args: CommonArguments): Source[] | undefined {
  const { paths = [], contents = [], oneFileSystem = false } = command.plan?.(args) ?? {}
  if (paths.includes('-') || contents.includes('-')) return undefined
  return [
    ...paths.flatMap((path) => Array.from(stamps(hostPath(path), oneFileSystem))),
    ...contents.flatMap((path) => tried(() => contentStamp(hostPath(path))) ?? []),
  ]
}

const SLASH = Buffer.from('/')
const PIECE = 2 ** 20

/** Size and checksum of a file. @throws Error of the host */
function contentStamp(path: HostPath): Source {
  const hash = createHash('sha256')
  const piece = Buffer.alloc(PIECE)
  const fd = openSync(path, 'r')
  try {
    let size = 0
    for (let count = readSync(fd, piece); count > 0; count = readSync(fd, piece)) {
      hash.update(piece.subarray(0, count))
      size += count
    }
    const name = named('path', Buffer.from(path)) as { path: string }
    return { ...name, size: `${size}`, sha256: hash.digest('hex') }
  } finally {
    closeSync(fd)
  }
}

/**
 * A file, or a tree. A link that was given has also the stamp of its target. What cannot be read
 * has no stamp: the command reports it, or finds that it is there now.
 */
function* stamps(top: HostPath, oneFileSystem: boolean): Generator<Source> {
  const start = Buffer.from(top)
  let device: bigint | undefined
  const left = [start]
  for (let path = left.pop(); path; path = left.pop()) {
    const stats = tried(() => lstatSync(path, { bigint: true }))
    device ??= stats?.dev
    if (!stats || (oneFileSystem && stats.dev !== device)) continue
    const name = named('path', path) as { path: string }
    yield { ...name, ...stampOf(stats) }
    const target = stats.isSymbolicLink() && path === start && tried(() => statSync(path, { bigint: true }))
    if (target) yield { ...name, ...stampOf(target) }
    if (!stats.isDirectory()) continue
    const names = tried(() => readdirSync(path, { encoding: 'buffer' })) ?? []
    for (const name of names.sort(Buffer.compare).reverse()) left.push(Buffer.concat([path, SLASH, name]))
  }
}

/** @returns undefined if the host refuses it */
function tried<T>(call: () => T): T | undefined {
  try {
    return call()
  } catch {
    return undefined
  }
}

/** @throws XfsError STALE */
function requireSameSources(expected: readonly Source[], found: readonly Source[]): void {
  for (let i = 0; i < Math.max(expected.length, found.length); i++) {
    const before = expected[i]
    const now = found[i]
    const same = before && now && Object.entries(now).every(([key, value]) => before[key as keyof Source] === value)
    if (!same) throw new XfsError('STALE', `${now?.path ?? before?.path} was changed since the plan was made`)
  }
}

/** @throws XfsError INVAL, CannotRun */
function readPlan(file: string, command: string): Plan {
  let text: string
  try {
    text = readFileSync(file === '-' ? 0 : hostPath(file), 'utf8')
  } catch (error) {
    throw new CannotRun(`cannot read ${file}: ${(error as Error).message}`)
  }
  const plan = planIn(text)
  if (!plan) throw new XfsError('INVAL', `${file} has no plan: it is not the output of --dry-run --json`)
  if (plan.program !== PROGRAM) throw new XfsError('INVAL', `${file}: a plan of ${plan.program}, this is ${PROGRAM}`)
  if (plan.command !== command) throw new XfsError('INVAL', `${file}: a plan of ${plan.command}, not of ${command}`)
  for (const [word, base64] of Object.entries(plan.argumentsBase64 ?? {}))
    addRawArgument(word, Buffer.from(String(base64), 'base64'))
  return plan
}

/** The plan in a document, or in the first line of a stream. */
function planIn(text: string): Plan | undefined {
  for (const json of [text, text.slice(0, text.indexOf('\n'))]) {
    try {
      const plan: Plan | undefined = JSON.parse(json)?.plan
      return isPlan(plan) ? plan : undefined
    } catch {
      // The other form.
    }
  }
  return undefined
}

const isPlan = (plan: Plan | undefined): plan is Plan =>
  typeof plan?.program === 'string' &&
  typeof plan.command === 'string' &&
  Array.isArray(plan.arguments) &&
  plan.arguments.every((word) => typeof word === 'string') &&
  typeof plan.image?.uuid === 'string' &&
  Array.isArray(plan.sources) &&
  plan.sources.every((source) => typeof source?.path === 'string')
