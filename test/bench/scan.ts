import { execFileSync } from 'node:child_process'
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { program } from '../support/cli.ts'
import { newest, skip } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'
import { alternate, type Benchmark, type Program, timed, timedAll } from './harness.ts'
import { GROUPS, makeSharedImage } from './images.ts'

/** Images with a million extents: dump compared with btdump of xfs_db, check with xfs_repair -n. */
const EXTENTS = 1_000_000
const ROUNDS = 3
const xfskit = (...args: string[]): Program => ({ command: process.execPath, args: [program(), ...args] })

let made: string | undefined

/** Created once per run. */
function image(): string {
  if (made === undefined) {
    made = join(tempDir(), 'shared')
    makeSharedImage(made, EXTENTS)
  }
  return made
}

const dump: Benchmark = () => {
  if (skip.newest) return undefined
  const groups = Array.from({ length: GROUPS }, (_, agno) => agno)
  const btdumps = groups.flatMap((agno) =>
    ['refcntroot', 'rmaproot'].flatMap((root) => ['-c', `agf ${agno}`, '-c', `addr ${root}`, '-c', 'btdump']),
  )
  const runs = alternate(
    1,
    () => timedAll(['refcountbt', 'rmapbt'].map((tree) => xfskit('dump', image(), tree))),
    () => timed({ command: newest.db, args: ['-r', ...btdumps, image()] }),
  )
  return { name: 'xfskit dump refcountbt, rmapbt / xfs_db btdump: 1M records each', ...runs, aim: 0.1 }
}

const checkOn = (place: string, path: string, aim: number): ReturnType<Benchmark> => {
  const runs = alternate(
    ROUNDS,
    () => timed(xfskit('check', path)),
    () => timed({ command: newest.repair, args: ['-n', '-f', path] }),
  )
  return { name: `xfskit check / xfs_repair -n: 1M extents, ${place}`, ...runs, aim }
}

const checkOnDisk: Benchmark = () => (skip.newest ? undefined : checkOn('on disk', image(), 0.5))

/** xfs_repair opens images O_DIRECT, which is slow on a disk. */
const checkOnTmpfs: Benchmark = () => {
  const memory = '/dev/shm'
  try {
    accessSync(memory, constants.W_OK)
  } catch {
    return undefined
  }
  if (skip.newest) return undefined
  const folder = mkdtempSync(join(memory, 'xfskit-bench-'))
  try {
    const copy = join(folder, 'image')
    execFileSync('cp', ['--sparse=always', image(), copy])
    return checkOn('on tmpfs', copy, 1)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export const scan: readonly Benchmark[] = [dump, checkOnDisk, checkOnTmpfs]
