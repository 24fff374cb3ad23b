import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { tempDir } from '../support/temp.ts'

/**
 * Benchmarks compared with the reference tools. Only ratios within one run count, because the speed
 * of machines differs, and that of one machine changes with time. Runs alternate, and the median is
 * taken. If GNU time is installed, processor time and peak memory are reported too.
 */
export interface Run {
  /** Elapsed milliseconds. */
  readonly ms: number
  /** Milliseconds of processor time, user and system. */
  readonly cpuMs?: number
  /** Peak memory, KiB. */
  readonly peak?: number
}

export interface Comparison extends Runs {
  readonly name: string
  /** The ratio to achieve. */
  readonly aim?: number
  readonly note?: string
}

/** One side of a comparison: medians. */
export interface Side {
  readonly ms: number
  readonly cpuMs?: number
  readonly peak?: number
}

export interface Measured {
  readonly name: string
  readonly ours: Side
  readonly theirs: Side
  readonly ratio: number
  readonly cpuRatio?: number
  readonly aim?: number
  readonly note?: string
}

/** A benchmark; undefined if something that it needs is missing. */
export type Benchmark = () => Comparison | undefined

export interface Program {
  readonly command: string
  readonly args: readonly string[]
  /** Exit statuses that mean success; default 0. */
  readonly statuses?: readonly number[]
}

const TIME = '/usr/bin/time'
let record: string | undefined

/** The file to which GNU time writes its results, if it is installed. */
function timeRecord(): string | undefined {
  if (record === undefined) {
    const gnu = existsSync(TIME) && spawnSync(TIME, ['--version'], { encoding: 'utf8' }).stdout.includes('GNU')
    record = gnu ? join(tempDir(), 'time') : ''
  }
  return record === '' ? undefined : record
}

/**
 * Run a program to its end and discard its output. @throws if its exit status does not mean success
 */
export function timed({ command, args, statuses = [0] }: Program): Run {
  const file = timeRecord()
  const words = file === undefined ? [command, ...args] : [TIME, '-q', '-f', '%U %S %M', '-o', file, command, ...args]
  const start = performance.now()
  const run = spawnSync(words[0] as string, words.slice(1), {
    stdio: ['ignore', 'ignore', 'pipe'],
    maxBuffer: 2 ** 28,
  })
  const ms = performance.now() - start
  if (run.error) throw run.error
  if (!statuses.includes(run.status ?? -1))
    throw new Error(`${command} ${args.join(' ')}: exit status ${run.status}\n${run.stderr}`)
  if (file === undefined) return { ms }
  const [user, system, peak] = readFileSync(file, 'utf8').trim().split(' ').map(Number) as [number, number, number]
  rmSync(file)
  return { ms, cpuMs: Math.round((user + system) * 1000), peak }
}

/** Several programs in a row as one run. */
export function timedAll(programs: readonly Program[]): Run {
  const runs = programs.map(timed)
  const sum = (of: (run: Run) => number | undefined): number | undefined =>
    runs.reduce<number | undefined>((all, run) => add(all, of(run)), 0)
  const cpuMs = sum(({ cpuMs }) => cpuMs)
  const peaks = runs.map(({ peak }) => peak)
  return {
    ms: sum(({ ms }) => ms) as number,
    ...(cpuMs !== undefined && { cpuMs }),
    ...(peaks.every((peak) => peak !== undefined) && { peak: Math.max(...peaks) }),
  }
}

const add = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? undefined : a + b

/** All runs of each side. */
export interface Runs {
  readonly ours: readonly Run[]
  readonly theirs: readonly Run[]
}

/** Run both sides alternately, `rounds` times. */
export function alternate(rounds: number, ours: () => Run, theirs: () => Run): Runs {
  const result = { ours: [] as Run[], theirs: [] as Run[] }
  for (let round = 0; round < rounds; round++) {
    result.ours.push(ours())
    result.theirs.push(theirs())
  }
  return result
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2
}

function side(runs: readonly Run[]): Side {
  const of = (pick: (run: Run) => number | undefined): number | undefined => {
    const values = runs.map(pick)
    return values.every((value) => value !== undefined) ? median(values) : undefined
  }
  const cpuMs = of((run) => run.cpuMs)
  const peak = of((run) => run.peak)
  return {
    ms: Number(median(runs.map(({ ms }) => ms)).toFixed(1)),
    ...(cpuMs !== undefined && { cpuMs }),
    ...(peak !== undefined && { peak }),
  }
}

export function measured({ name, ours: ourRuns, theirs: theirRuns, aim, note }: Comparison): Measured {
  const ours = side(ourRuns)
  const theirs = side(theirRuns)
  return {
    name,
    ours,
    theirs,
    ratio: ours.ms / theirs.ms,
    ...(ours.cpuMs !== undefined && theirs.cpuMs !== undefined && { cpuRatio: ours.cpuMs / theirs.cpuMs }),
    ...(aim !== undefined && { aim }),
    ...(note !== undefined && { note }),
  }
}
