import { readFileSync } from 'node:fs'
import { XfsError } from '../errors.ts'
import { type Inode, openInode } from '../inode/inode.ts'
import { resolve } from '../namespace/resolve.ts'
import type { RangeRequest } from '../reflink/range.ts'
import type { Bytes } from '../util/bytes.ts'
import { escapeText } from '../util/escape.ts'
import type { Steps } from '../util/progress.ts'
import type { Volume } from '../volume.ts'
import { changeOptions, hostPath, type ImageArguments, imagePath, parseBytes } from './arguments.ts'
import { type Command, FAILED, Interrupted, OK, UsageError } from './command.ts'
import { withVolume } from './image.ts'
import { jsonLine, type Output } from './output.ts'
import { drive } from './progress.ts'

/**
 * The common part of reflink and dedupe: two files and a range, from the command line or a list.
 */
interface PairRequest extends Omit<RangeRequest, 'length'> {
  readonly src: string
  readonly dst: string
  /** Default: the complete file. */
  readonly length?: Bytes
}

interface PairResult {
  readonly ok: boolean
  readonly text: string
  /** The text for a dry run. */
  readonly wouldText: string
  readonly [fact: string]: string | number | bigint | boolean
}

interface PairCommand {
  readonly name: string
  readonly describe: string
  readonly examples: Command<unknown>['examples']
  readonly lengthHelp: string
  run(volume: Volume, request: PairRequest, find: Find): Steps<PairResult>
}

/** The inode of a path; a batch resolves each path once. @throws XfsError as `resolve` */
export type Find = (path: string) => Inode

export interface PairArguments extends ImageArguments {
  readonly image: string
  readonly src?: string
  readonly dst?: string
  readonly srcOffset: Bytes
  readonly dstOffset: Bytes
  readonly length?: Bytes
  readonly batch?: string
}

/**
 * A command for pairs of files. In a batch (`--batch FILE`, `-` for standard input) each line is
 * one pair: up to five columns separated by tabs (src, dst, srcOffset, dstOffset, length), or a
 * JSON object with these names. Each pair gives one result line; a failed pair does not stop the
 * others. An invalid line is refused before the first pair.
 */
export function batchCommand(pair: PairCommand): Command<PairArguments> {
  return {
    command: `${pair.name} <image> [src] [dst]`,
    describe: pair.describe,
    examples: pair.examples,
    builder: (yargs) =>
      changeOptions(yargs)
        .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
        .positional('src', { type: 'string', describe: 'source file' })
        .positional('dst', { type: 'string', describe: 'destination file' })
        .option('src-offset', {
          type: 'string',
          default: '0',
          coerce: parseBytes,
          requiresArg: true,
          describe: 'start of the source range in bytes',
        })
        .option('dst-offset', {
          type: 'string',
          default: '0',
          coerce: parseBytes,
          requiresArg: true,
          describe: 'start of the destination range in bytes',
        })
        .option('length', {
          type: 'string',
          coerce: parseBytes,
          requiresArg: true,
          describe: pair.lengthHelp,
        })
        .option('batch', {
          type: 'string',
          requiresArg: true,
          describe: 'a list of pairs, one per line (TSV or JSON); - for standard input',
        }) as never,
    handler: async (args, session) => {
      const { out } = session
      const requests = args.batch === undefined ? undefined : readBatch(args.batch)
      const single = requests ? undefined : singleRequest(pair.name, args)
      const dryRun = args.dryRun === true
      const results: PairResult[] = []
      const print = (): void => {
        if (!requests) printSingle(out, pair.name, results[0] as PairResult, dryRun)
        else for (const [i, result] of results.entries()) printPair(out, requests[i] as PairRequest, result, dryRun)
      }
      let status: number
      try {
        status = await withVolume(session, args.image, 'write', args, async (volume) => {
          if (single) results.push(await drive(pair.run(volume, single, finder(volume))))
          else await drive(runBatch(volume, pair, requests ?? [], results))
          return results.every(({ ok }) => ok) ? OK : FAILED
        })
      } catch (error) {
        // A signal keeps the pairs that are done, unless the change goes to a copy.
        if (error instanceof Interrupted && requests && args.output === undefined) print()
        throw error
      }
      print()
      return status
    },
  }
}

function singleRequest(name: string, { src, dst, srcOffset, dstOffset, length }: PairArguments): PairRequest {
  if (src === undefined || dst === undefined) throw new UsageError(`${name} needs SRC and DST, or --batch`)
  return { src, dst, srcOffset, dstOffset, ...(length !== undefined && { length }) }
}

function printSingle(out: Output, name: string, { text, wouldText, ...facts }: PairResult, dryRun: boolean): void {
  out.document(name, { ...facts, ...(dryRun && { dryRun }) }, () => (dryRun ? wouldText : text))
}

function printPair(
  out: Output,
  request: PairRequest,
  { text, wouldText, ...facts }: PairResult,
  dryRun: boolean,
): void {
  if (out.json) out.raw(`${jsonLine({ ...request, ...facts, ...(dryRun && { dryRun }) })}\n`)
  else out.raw(`${[request.src, request.dst, dryRun ? wouldText : text].map(escapeText).join('\t')}\n`)
}

function* runBatch(
  volume: Volume,
  pair: PairCommand,
  requests: readonly PairRequest[],
  results: PairResult[],
): Steps<void> {
  const find = finder(volume)
  for (const [i, request] of requests.entries()) {
    results.push(yield* runOne(volume, pair, request, find))
    yield { what: 'pairs', done: i + 1, total: requests.length }
  }
}

/** Resolved paths stay valid: no pair removes or renames an existing file. */
function finder(volume: Volume): Find {
  const known = new Map<string, number>()
  return (path) => {
    const ino = known.get(path)
    if (ino !== undefined) return openInode(volume, ino)
    const inode = resolve(volume, imagePath(path))
    known.set(path, inode.ino)
    return inode
  }
}

function* runOne(volume: Volume, pair: PairCommand, request: PairRequest, find: Find): Steps<PairResult> {
  try {
    return yield* pair.run(volume, request, find)
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    const text = `${error.code}: ${error.message}`
    return { ok: false, error: error.code, message: error.message, text, wouldText: text }
  }
}

function readBatch(path: string): PairRequest[] {
  let text: string
  try {
    text = readFileSync(path === '-' ? 0 : hostPath(path), 'utf8')
  } catch (error) {
    throw new UsageError(`cannot read ${path}: ${(error as Error).message}`)
  }
  return text.split('\n').flatMap((line, i) => {
    if (line.trim() === '' || line.startsWith('#')) return []
    try {
      return [line.trimStart().startsWith('{') ? fromJson(line) : fromTsv(line)]
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      throw new UsageError(`line ${i + 1}: ${error.message}`)
    }
  })
}

function fromTsv(line: string): PairRequest {
  const [src, dst, srcOffset = '0', dstOffset = '0', length] = line.replace(/\r$/, '').split('\t')
  if (!src || !dst) throw new UsageError('expected src and dst with a tab between')
  const range = { srcOffset: parseBytes(srcOffset), dstOffset: parseBytes(dstOffset) }
  return { src, dst, ...range, ...(length !== undefined && { length: parseBytes(length) }) }
}

function fromJson(line: string): PairRequest {
  let value: Record<string, unknown>
  try {
    value = JSON.parse(line)
  } catch {
    throw new UsageError('not a JSON object')
  }
  const { src, dst } = value
  if (typeof src !== 'string' || typeof dst !== 'string') throw new UsageError('src and dst must be strings')
  const size = (name: string): Bytes => {
    const given = value[name] ?? 0
    if (typeof given === 'number' && !Number.isSafeInteger(given))
      throw new UsageError(`${name}: a number above 2^53 must be a string`)
    return parseBytes(String(given))
  }
  const range = { srcOffset: size('srcOffset'), dstOffset: size('dstOffset') }
  return { src, dst, ...range, ...(value['length'] !== undefined && { length: size('length') }) }
}
