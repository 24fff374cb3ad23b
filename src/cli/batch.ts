import { readFileSync } from 'node:fs'
import { XfsError } from '../errors.ts'
import type { Bytes } from '../util/bytes.ts'
import { escapeText } from '../util/escape.ts'
import type { FileRef } from '../xfsimage/file.ts'
import type { LongOptions } from '../xfsimage/run.ts'
import type { XfsImage } from '../xfsimage/xfsimage.ts'
import { changeOptions, hostPath, type ImageArguments, imagePath, parseBytes } from './arguments.ts'
import { type Command, FAILED, Interrupted, OK, UsageError } from './command.ts'
import { absolute, named } from './json.ts'
import { withImage } from './open.ts'
import type { Output, Row } from './output.ts'
import { pause, withProgress } from './progress.ts'

/** A range of two files. */
interface PairRange {
  readonly srcOffset: Bytes
  readonly dstOffset: Bytes
  /** Default: to the end of the source. */
  readonly length?: Bytes
}

/**
 * The common part of reflink and dedupe: two files and a range, from the command line or a list.
 */
interface PairRequest extends PairRange {
  readonly src: string
  readonly dst: string
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
  run(image: XfsImage, src: FileRef, dst: FileRef, range: PairRange & LongOptions): Promise<PairResult>
}

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
    plan: ({ batch }) => ({ contents: batch === undefined ? [] : [batch] }),
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
        if (single) printSingle(out, pair.name, single, results[0] as PairResult, dryRun)
        else printBatch(out, pair.name, requests ?? [], results, dryRun)
      }
      let status: number
      try {
        status = await withImage(session, args.image, 'write', args, async (image) => {
          await withProgress((options) =>
            single
              ? runPair(image, pair, single, finder(image), options).then((result) => void results.push(result))
              : runBatch(image, pair, requests ?? [], results, options),
          )
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

function printSingle(out: Output, name: string, request: PairRequest, result: PairResult, dryRun: boolean): void {
  out.document(name, jsonOf(request, result, dryRun), () => (dryRun ? result.wouldText : result.text))
}

const COLUMNS = ['src', 'dst', 'srcOffset', 'dstOffset', 'length', 'ok', 'bytes', 'mapped', 'code', 'message'].map(
  (name) => ({ name }),
)

function printBatch(
  out: Output,
  name: string,
  requests: readonly PairRequest[],
  results: readonly PairResult[],
  dryRun: boolean,
): void {
  const pairs = results.map((result, i) => ({ request: requests[i] as PairRequest, result }))
  if (out.form !== 'text') {
    const rows = pairs.map(({ request, result }) => jsonOf(request, result, dryRun))
    out.records(`${name}.batch`, COLUMNS, rows)
  } else
    for (const { request, result } of pairs)
      out.raw(`${[request.src, request.dst, dryRun ? result.wouldText : result.text].map(escapeText).join('\t')}\n`)
}

function jsonOf({ src, dst, ...range }: PairRequest, result: PairResult, dryRun: boolean): Row {
  const { text: _text, wouldText: _wouldText, ...facts } = result
  const path = (name: string, text: string) => named(name, absolute(imagePath(text)))
  return { ...path('src', src), ...path('dst', dst), ...range, ...facts, ...(dryRun && { dryRun }) }
}

async function runBatch(
  image: XfsImage,
  pair: PairCommand,
  requests: readonly PairRequest[],
  results: PairResult[],
  { onProgress, ...options }: LongOptions,
): Promise<void> {
  const find = finder(image)
  for (const [i, request] of requests.entries()) {
    results.push(await runOne(image, pair, request, find, options))
    onProgress?.({ what: 'pairs', done: i + 1, total: requests.length })
    await pause()
  }
}

/** The file of a path, or the path itself if there is none. @throws XfsError as `XfsImage.file` */
type Find = (path: string) => FileRef

/**
 * A batch resolves each path once. Resolved paths stay valid: no pair removes or renames an
 * existing file.
 */
function finder(image: XfsImage): Find {
  const known = new Map<string, FileRef>()
  return (path) => {
    const found = known.get(path)
    if (found !== undefined) return found
    const bytes = imagePath(path)
    try {
      const file = image.file(bytes)
      known.set(path, file)
      return file
    } catch (error) {
      if (error instanceof XfsError && error.code === 'NOENT') return bytes
      throw error
    }
  }
}

const runPair = (
  image: XfsImage,
  pair: PairCommand,
  { src, dst, ...range }: PairRequest,
  find: Find,
  options: LongOptions,
): Promise<PairResult> => pair.run(image, find(src), find(dst), { ...range, ...options })

async function runOne(...pair: Parameters<typeof runPair>): Promise<PairResult> {
  try {
    return await runPair(...pair)
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    const { code, message } = error
    const text = `${code}: ${message}`
    return { ok: false, code, message, text, wouldText: text }
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
