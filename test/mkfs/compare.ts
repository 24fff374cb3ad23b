import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { openFile } from '../../src/device/file.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { record } from '../../src/device/record.ts'
import { window } from '../../src/device/window.ts'
import { type MkfsResult, mkfs } from '../../src/mkfs/mkfs.ts'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { environmentOptions, type MkfsOptions, type OptionTexts, parseOptions } from '../../src/mkfs/options.ts'
import { newest, skip, smallAllowed } from '../support/oracles.ts'
import { digestOf, recording, reference } from '../support/reference.ts'
import { withTempDir } from '../support/temp.ts'

/** Our mkfs compared with the reference. */

export const UUID = '6b8f1d22-3c44-4e55-8f66-778899aabbcc'
const environment = { ...smallAllowed, SOURCE_DATE_EPOCH: '1700000000', DETERMINISTIC_SEED: '1' }

/** Options as on the command line: `-m reflink=0 -L label`. */
export function optionTexts(line: string): OptionTexts {
  const texts: Record<string, string[]> = {}
  for (const [, letter, value] of line.matchAll(/-(\w) (\S+)/g) as Iterable<[string, string, string]>) {
    texts[letter] = [...(texts[letter] ?? []), value]
  }
  const { L: label, ...rest } = texts
  return { ...rest, ...(label && { label: label[0] as string }) }
}

const words = (line: string): string[] => line.split(' ').filter(Boolean)

/**
 * The report of mkfs.xfs for a filesystem that it would make, or the first line of its error
 * message.
 */
export function theirReport(size: string, line: string): string {
  const args = ['-N', ...words(line), '-m', `uuid=${UUID}`, '-d', `file,name=IMAGE,size=${size}`]
  const env = { ...process.env, ...environment }
  return reference(skip.newest === false, `${size} ${line}`, () => {
    // It leaves an empty file.
    const { status, stdout, stderr } = withTempDir((cwd) =>
      spawnSync(newest.mkfs, args, { cwd, env, encoding: 'utf8' }),
    )
    return status === 0 ? stdout : (stderr.split('\n')[0] as string)
  })
}

function oursOptions(size: string, line: string): MkfsOptions {
  const texts = optionTexts(line)
  const options = parseOptions({
    ...texts,
    m: [...(texts.m ?? []), `uuid=${UUID}`],
    d: [...(texts.d ?? []), `size=${size}`],
  })
  return { ...environmentOptions(environment), ...options }
}

function ours(path: string, size: string, line: string, action: 'format' | 'plan'): MkfsResult {
  return mkfsFile(path, { ...oursOptions(size, line), action, existing: 'overwrite' })
}

/** The same with ours. */
export function ourReport(size: string, line: string): string {
  try {
    const { notes, report } = ours('IMAGE', size, line, 'plan')
    return notes.map((note) => `${note}\n`).join('') + report
  } catch (error) {
    return (error as Error).message.split('\n')[0] as string
  }
}

/**
 * The first difference between the images of both, or undefined. If mkfs.xfs is missing, the
 * recorded digest of its image is compared with that of ours, made in memory.
 */
export function difference(size: string, line: string): string | undefined {
  return skip.newest === false
    ? withTempDir((folder) => differenceIn(folder, size, line))
    : ourDigest(size, line) === reference(false, `image ${size} ${line}`, () => '')
      ? undefined
      : 'another digest than that of the image which mkfs.xfs made'
}

function differenceIn(folder: string, size: string, line: string): string | undefined {
  const [theirImage, ourImage] = [join(folder, 'theirs'), join(folder, 'ours')]
  execFileSync(
    newest.mkfs,
    [...words(line), '-q', '-m', `uuid=${UUID}`, '-d', `file,name=${theirImage},size=${size}`],
    {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  if (recording)
    reference(true, `image ${size} ${line}`, () => {
      const device = openFile(theirImage, 'r')
      const digest = digestOf(device, dataRanges(theirImage))
      device.close()
      return digest
    })
  ours(ourImage, size, line, 'format')
  return compareFiles(theirImage, ourImage)
}

/** The digest of our image, made in memory. */
function ourDigest(size: string, line: string): string {
  const options = oursOptions(size, line)
  const device = record(memoryDevice(options.size as number))
  const { geometry } = mkfs(device, options)
  const ranges = device.events.flatMap((event) =>
    event.kind === 'write' ? [{ start: event.position, end: event.position + event.bytes.length }] : [],
  )
  // The file gets the size of the filesystem, which may be smaller than the given size.
  const bytes = geometry.sb.dblocks * geometry.blocksize
  return digestOf(
    window(device, 0, bytes),
    ranges.sort((a, b) => a.start - b.start),
  )
}

interface Range {
  readonly start: number
  readonly end: number
}

/** The ranges of a file with data; the rest are holes. Node cannot query them. */
export function dataRanges(path: string): Range[] {
  const text = execFileSync(newest.io, ['-r', '-c', 'seek -a -r 0', path], { encoding: 'utf8', maxBuffer: 2 ** 28 })
  const marks = [...text.matchAll(/^(DATA|HOLE)\t(\d+|EOF)$/gm)]
  const size = statSync(path).size
  return marks.flatMap(([, kind, at], i) => {
    const next = marks[i + 1]?.[2]
    return kind === 'DATA'
      ? [{ start: Number(at), end: next === undefined || next === 'EOF' ? size : Number(next) }]
      : []
  })
}

/** The first difference of two sparse files, in all ranges with data in either. */
export function compareFiles(one: string, other: string): string | undefined {
  const sizes = [statSync(one).size, statSync(other).size]
  if (sizes[0] !== sizes[1]) return `${sizes[0]} and ${sizes[1]} bytes`
  const files = [openSync(one, 'r'), openSync(other, 'r')] as const
  const pieces = [Buffer.alloc(2 ** 20), Buffer.alloc(2 ** 20)] as const
  try {
    for (const { start, end } of [...dataRanges(one), ...dataRanges(other)]) {
      for (let at = start; at < end; at += 2 ** 20) {
        const parts = pieces.map((piece, i) => {
          const part = piece.subarray(0, Math.min(piece.length, end - at))
          readSync(files[i as 0 | 1], part, 0, part.length, at)
          return part
        })
        const [a, b] = parts as [Buffer, Buffer]
        if (a.equals(b)) continue
        const first = a.findIndex((byte, i) => byte !== b[i])
        const hex = (part: Buffer): string => part.subarray(first & ~3, (first & ~3) + 16).toString('hex')
        return `byte ${at + first}: ${hex(a)} and ${hex(b)}`
      }
    }
    return undefined
  } finally {
    closeSync(files[0])
    closeSync(files[1])
  }
}
