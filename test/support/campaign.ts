import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Device } from '../../src/device/device.ts'
import { copyDevice, openFile } from '../../src/device/file.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { baseImage, makeHostFiles, writeImage } from './crashimages.ts'
import { type Recording, type RecordOptions, recordCommands } from './recording.ts'
import { tempDir } from './temp.ts'
import { type Workload, wordsOf } from './workloads.ts'

/**
 * Many cases of each workload. A case is identified by the seed, its workload and its number, and
 * can be run alone: XFSKIT_CRASH_CASE="put: a tree#17". With XFSKIT_CRASH_RESULTS=FOLDER results
 * are written there at once, and existing ones are not computed again.
 */
export const LONG = process.env['XFSKIT_LONG'] === '1'
export const SEED = Number(process.env['XFSKIT_CRASH_SEED'] ?? 1)
const only = process.env['XFSKIT_CRASH_CASE']
const results = process.env['XFSKIT_CRASH_RESULTS']

/** A different seed for each case. */
export function caseSeed(workload: string, index: number): number {
  let hash = 0x811c9dc5
  for (const char of `${SEED}:${workload}#${index}`) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193) >>> 0
  return hash
}

/** The outcome of a case: the fault, if any, and the events. */
export interface Outcome {
  readonly wrong: string | undefined
  readonly what: string
}

/** Run `count` cases of a workload. @returns the faults, with their cases */
export async function runCases(
  kind: string,
  workload: string,
  count: number,
  run: (index: number) => Outcome | Promise<Outcome>,
): Promise<string[]> {
  const file = results && join(results, `${kind}-${SEED}.tsv`)
  const done = new Map<string, string>()
  if (file && existsSync(file)) {
    for (const line of readFileSync(file, 'utf8').split('\n')) {
      const [name, index, verdict] = line.split('\t')
      if (name === workload) done.set(index as string, verdict as string)
    }
  }
  const wrong: string[] = []
  for (let index = 0; index < count; index++) {
    if (only !== undefined && only !== `${workload}#${index}`) continue
    const known = only === undefined ? done.get(String(index)) : undefined
    const label = `seed ${SEED}, case ${workload}#${index}`
    if (known !== undefined) {
      if (known !== 'ok') wrong.push(`${label}: ${known}`)
      continue
    }
    const start = Date.now()
    const outcome = await run(index)
    if (outcome.wrong !== undefined) wrong.push(`${label}: ${outcome.what}: ${outcome.wrong}`)
    if (file) {
      mkdirSync(results, { recursive: true })
      const fields = [workload, index, outcome.wrong ?? 'ok', outcome.what, `${Date.now() - start} ms`]
      appendFileSync(file, `${fields.map((field) => String(field).replace(/[\t\n]/g, ' ')).join('\t')}\n`)
    }
  }
  return wrong
}

let host: string | undefined

/** The folder from which commands copy. */
export function hostFiles(): string {
  if (host !== undefined) return host
  host = join(tempDir(), 'host')
  mkdirSync(host)
  makeHostFiles(host, LONG)
  return host
}

export interface Prepared {
  /** In memory, before the command. */
  readonly before: Device
  /** A file of the host with the same content. */
  readonly image: string
  readonly lines: readonly string[][]
}

let prepared = 0

/** The image before the command of `workload`. */
export async function prepare(workload: Workload): Promise<Prepared> {
  const folder = tempDir()
  const image = join(folder, `image${prepared++}`)
  const words = (lines: Workload['commands']): string[][] => lines.map((line) => wordsOf(line, image, hostFiles()))
  const lines = words(workload.commands)
  if (workload.makes) {
    const before = memoryDevice(64 * 2 ** 20)
    writeImage(before, image)
    return { before, image, lines }
  }
  const base = baseImage(workload.image, folder)
  writeImage(base, image)
  if (!workload.prepare) return { before: base, image, lines }
  const { status, stderr } = await recordCommands(image, words(workload.prepare))
  if (status !== 0) throw new Error(`${workload.name}: prepared with exit status ${status}: ${stderr}`)
  const file = openFile(image, 'r')
  const before = memoryDevice(file.size)
  copyDevice(file, before)
  file.close()
  return { before, image, lines }
}

/** Prepare, record, and remove the image. @throws if the command fails */
export async function recordWorkload(
  workload: Workload,
  options: RecordOptions = {},
): Promise<{ before: Device; recording: Recording }> {
  const { before, image, lines } = await prepare(workload)
  const recording = await recordCommands(image, lines, options)
  rmSync(image)
  if (recording.status !== 0)
    throw new Error(`${workload.name}: exit status ${recording.status}\n${recording.stdout}${recording.stderr}`)
  return { before, recording }
}

/** In nanoseconds; files created from now on are not older. */
export const now = (): bigint => BigInt(Date.now()) * 1_000_000n
