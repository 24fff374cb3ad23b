import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { program } from '../support/cli.ts'
import { tempDir } from '../support/temp.ts'
import { alternate, type Benchmark, timed } from './harness.ts'

const node = process.execPath
const ROUNDS = 15

const help: Benchmark = () => ({
  name: 'xfskit --help / node -e 0',
  ...alternate(
    ROUNDS,
    () => timed(node, [program(), '--help']),
    () => timed(node, ['-e', '0']),
  ),
  aim: 1.4,
})

/** Beside start-up, not beside mkfs.xfs: what making the filesystem adds. */
const mkfs =
  (size: string): Benchmark =>
  () => {
    const image = join(tempDir(), 'image')
    const make = (): number => {
      rmSync(image, { force: true })
      return timed(node, [program(), 'mkfs', '-q', '--size', size, image])
    }
    const runs = alternate(ROUNDS, make, () => timed(node, [program(), '--help']))
    rmSync(image, { force: true })
    const added = runs.ours.map((ms, i) => ms - (runs.theirs[i] as number)).sort((a, b) => a - b)[ROUNDS >> 1] as number
    return { name: `xfskit mkfs ${size} / xfskit --help`, ...runs, note: `${added.toFixed(0)} ms on top (aim: 30)` }
  }

export const startup: readonly Benchmark[] = [help, mkfs('1g'), mkfs('10t')]
