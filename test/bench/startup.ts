import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { program } from '../support/cli.ts'
import { tempDir } from '../support/temp.ts'
import { alternate, type Benchmark, median, type Program, timed } from './harness.ts'

/** Start-up time of every command. */
const ROUNDS = 15
const node = (...args: string[]): Program => ({ command: process.execPath, args })
const helpOnly = (): Program => node(program(), '--help')

const help: Benchmark = () => ({
  name: 'xfskit --help / node -e 0',
  ...alternate(
    ROUNDS,
    () => timed(helpOnly()),
    () => timed(node('-e', '0')),
  ),
  aim: 1.4,
})

/** Compared with start-up, not with mkfs.xfs: the additional time for making the filesystem. */
const mkfs =
  (size: string): Benchmark =>
  () => {
    const image = join(tempDir(), 'image')
    const make = node(program(), 'mkfs', '-q', '--size', size, image)
    const fresh = (): void => rmSync(image, { force: true })
    const runs = alternate(
      ROUNDS,
      () => {
        fresh()
        return timed(make)
      },
      () => timed(helpOnly()),
    )
    fresh()
    const added = median(runs.ours.map(({ ms }, i) => ms - (runs.theirs[i]?.ms ?? 0)))
    return { name: `xfskit mkfs ${size} / xfskit --help`, ...runs, note: `${added.toFixed(0)} ms on top (aim: 30)` }
  }

export const startup: readonly Benchmark[] = [help, mkfs('1g'), mkfs('10t')]
