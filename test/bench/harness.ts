import { spawnSync } from 'node:child_process'

/**
 * Benchmarks beside the reference tools. Only ratios of one run count: machines differ, and so does the same machine from one minute to the next. Runs alternate, and
 * the median is taken.
 */
export interface Comparison {
  readonly name: string
  /** Milliseconds that each side took, all runs. */
  readonly ours: readonly number[]
  readonly theirs: readonly number[]
  /** The ratio that is aimed at. */
  readonly aim?: number
  readonly note?: string
}

export interface Measured {
  readonly name: string
  readonly oursMs: number
  readonly theirsMs: number
  readonly ratio: number
  readonly aim?: number
  readonly note?: string
}

/** A benchmark: nothing where what it needs is not here. */
export type Benchmark = () => Comparison | undefined

/** Run a program to its end; milliseconds. @throws where its exit status is not among `statuses` */
export function timed(
  command: string,
  args: readonly string[],
  { statuses = [0], env = {} }: { statuses?: readonly number[]; env?: Readonly<Record<string, string>> } = {},
): number {
  const start = performance.now()
  const run = spawnSync(command, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...env },
    maxBuffer: 2 ** 28,
  })
  const took = performance.now() - start
  if (run.error) throw run.error
  if (!statuses.includes(run.status ?? -1))
    throw new Error(`${command} ${args.join(' ')}: exit status ${run.status}\n${run.stderr}`)
  return took
}

/** Both sides in turns, `rounds` times, after one round that does not count. */
export function alternate(
  rounds: number,
  ours: () => number,
  theirs: () => number,
): { ours: number[]; theirs: number[] } {
  ours()
  theirs()
  const result = { ours: [] as number[], theirs: [] as number[] }
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

export function measured({ name, ours, theirs, aim, note }: Comparison): Measured {
  const oursMs = median(ours)
  const theirsMs = median(theirs)
  return {
    name,
    oursMs,
    theirsMs,
    ratio: oursMs / theirsMs,
    ...(aim === undefined ? {} : { aim }),
    ...(note === undefined ? {} : { note }),
  }
}
