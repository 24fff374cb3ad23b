import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { writeFile } from '../../src/data/write.ts'
import { openFile } from '../../src/device/file.ts'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { reflink as share } from '../../src/reflink/reflink.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { program } from '../support/cli.ts'
import { mountImage, newest, skip } from '../support/oracles.ts'
import { random } from '../support/random.ts'
import { repoRoot, withTempDir } from '../support/temp.ts'
import { alternate, type Benchmark, median, type Program, type Run, type Runs, timed } from './harness.ts'

/**
 * Sharing compared with the kernel: the same clones, dedupes and copies on an image, and with one
 * xfs_io on a mounted twin of it. Each round uses files of its own. Our side includes starting and
 * ending the process. On both sides the changes are durable at the end.
 */
const ROUNDS = 3
const BLOCK = 4096
const CLONES = 20_000
const EXTENTS = 20_000
const PIECES = 5_000
const COMPARED = 512 * 2 ** 20
const RANDOM_STEPS = 10_000

const xfskit = (...args: string[]): Program => ({ command: process.execPath, args: [program(), ...args] })

/** xfs_io in the mounted twin, with a script. */
const xfsIo = (root: string, file: string, script: string): Program => ({
  command: 'sh',
  args: ['-c', 'cd "$1" && exec "$2" -f "$3" <"$4" >/dev/null', 'sh', root, newest.io, file, script],
})

interface Twins {
  readonly folder: string
  readonly image: string
  readonly root: string
  /** A file of the host with these lines. */
  list(name: string, lines: Iterable<string>): string
}

/** The image after `fill`, and a mounted twin of it. */
function withTwins<T>(fill: (volume: Volume) => void, use: (twins: Twins) => T): T | undefined {
  if (skip.newest || skip.kernel) return undefined
  return withTempDir((folder) => {
    const [image, twin] = [join(folder, 'image'), join(folder, 'twin')]
    mkfsFile(image, { imageSize: 4 * 2 ** 30 })
    const volume = Volume.open(openFile(image, 'rw'), { write: true })
    fill(volume)
    volume.close()
    copyFileSync(image, twin)
    const list = (name: string, lines: Iterable<string>): string => {
      const path = join(folder, name)
      writeFileSync(path, `${[...lines].join('\n')}\n`)
      return path
    }
    return mountImage(twin, (root) => use({ folder, image, root, list }))
  })
}

const fileOf = (volume: Volume, path: string, bytes?: Uint8Array): number => {
  const { ino } = createFile(volume, path, 0o644)
  if (bytes) writeFile(volume, ino, 0, bytes)
  return ino
}

/** `count` blocks with a hole after each. */
function inPieces(volume: Volume, path: string, count: number): number {
  const ino = fileOf(volume, path)
  for (let i = 0; i < count; i++) writeFile(volume, ino, i * 2 * BLOCK, new Uint8Array(BLOCK).fill(i))
  return ino
}

const counting = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

const oneBlock: Benchmark = () =>
  withTwins(
    (volume) => {
      fileOf(volume, '/a', new Uint8Array(BLOCK).fill(1))
      for (const round of counting(ROUNDS)) fileOf(volume, `/b${round}`)
    },
    ({ image, root, list }) => {
      const [ours, theirs] = [names('b'), names('b')]
      const pairs = (dst: string) => counting(CLONES).map((i) => `/a\t/${dst}\t0\t${i * BLOCK}\t${BLOCK}`)
      const script = list('script', [...counting(CLONES).map((i) => `reflink -q a 0 ${i * BLOCK} ${BLOCK}`), 'fsync'])
      const runs = alternate(
        ROUNDS,
        () => timed(xfskit('reflink', image, '--batch', list('pairs', pairs(ours())))),
        () => timed(xfsIo(root, theirs(), script)),
      )
      const note = rates(runs, (seconds) => `${count(CLONES / seconds)} clones/s`)
      return { name: `${CLONES} clones of one block, one process / FICLONERANGE`, ...runs, aim: 2, note }
    },
  )

/** Work per second of both sides. */
const rates = ({ ours, theirs }: Runs, text: (seconds: number) => string): string =>
  [ours, theirs].map((runs) => text(median(runs.map(({ ms }) => ms)) / 1000)).join(' / ')

const count = (value: number): string => Math.round(value).toLocaleString('en')

/** A new name for each call: b0, b1 … */
function names(prefix: string): () => string {
  let count = 0
  return () => `${prefix}${count++}`
}

const wholeFile: Benchmark = () =>
  withTwins(
    (volume) => void inPieces(volume, '/many', EXTENTS),
    ({ image, root, list }) => {
      const [ours, theirs] = [names('copy'), names('copy')]
      const script = list('script', ['reflink -q many', 'fsync'])
      const runs = alternate(
        ROUNDS,
        () => timed(xfskit('reflink', image, '/many', `/${ours()}`)),
        () => timed(xfsIo(root, theirs(), script)),
      )
      const note = rates(runs, (seconds) => `${count(EXTENTS / seconds)} extents/s`)
      return { name: `clone of a file of ${EXTENTS} extents / FICLONE`, ...runs, aim: 2, note }
    },
  )

const sameBlocks: Benchmark = () =>
  withTwins(
    (volume) => {
      const content = new Uint8Array(PIECES * BLOCK)
      for (const i of counting(PIECES)) content.fill(i, i * BLOCK, (i + 1) * BLOCK)
      for (const path of ['/a', ...counting(ROUNDS).map((round) => `/b${round}`)]) fileOf(volume, path, content)
    },
    ({ image, root, list }) => {
      // Not in order, so that neighbours are not merged at once.
      const offsets = counting(PIECES).map((i) => ((i * 7) % PIECES) * BLOCK)
      const [ours, theirs] = [names('b'), names('b')]
      const pairs = (dst: string) => offsets.map((at) => `/a\t/${dst}\t${at}\t${at}\t${BLOCK}`)
      const script = list('script', [...offsets.map((at) => `dedupe -q a ${at} ${at} ${BLOCK}`), 'fsync'])
      const runs = alternate(
        ROUNDS,
        () => timed(xfskit('dedupe', image, '--batch', list('pairs', pairs(ours())))),
        () => timed(xfsIo(root, theirs(), script)),
      )
      const note = rates(runs, (seconds) => `${count(PIECES / seconds)} dedupes/s`)
      return { name: `${PIECES} dedupes of a block, one process / FIDEDUPERANGE`, ...runs, aim: 2, note }
    },
  )

/** A file of COMPARED bytes, in few extents. */
function large(volume: Volume, path: string): number {
  const content = function* () {
    for (let i = 0; i < COMPARED / 2 ** 20; i++) yield new Uint8Array(2 ** 20).fill(i)
  }
  const ino = fileOf(volume, path)
  writeFile(volume, ino, 0, content(), { length: COMPARED })
  return ino
}

const comparing: Benchmark = () =>
  withTwins(
    (volume) => {
      for (const path of ['/a', '/b']) large(volume, path)
      // The last byte differs: each time everything is compared, and nothing is shared.
      writeFile(volume, resolve(volume, '/b').ino, COMPARED - 1, Uint8Array.of(0))
    },
    ({ image, root, list }) => {
      const script = list('script', [`dedupe -q a 0 0 ${COMPARED}`])
      const command = { ...xfskit('dedupe', image, '/a', '/b', '--length', String(COMPARED)), statuses: [1] }
      const runs = alternate(
        ROUNDS,
        () => timed(command),
        () => timed(xfsIo(root, 'b', script)),
      )
      const note = rates(runs, (seconds) => `${(COMPARED / 1e9 / seconds).toFixed(1)} GB/s`)
      return { name: `comparing ${COMPARED / 2 ** 20} MiB / FIDEDUPERANGE`, ...runs, aim: 2, note }
    },
  )

/** A file that shares all its blocks with `source`. */
const copyOf = (volume: Volume, source: number, path: string): number => {
  const copy = fileOf(volume, path)
  finish(share(volume, source, copy, { srcOffset: 0, dstOffset: 0, length: 0 }))
  return copy
}

/**
 * Unshare files of `length` bytes, one per round, that are copies of the file that `make` creates.
 */
const copying =
  (what: string, length: number, bytes: number, make: (volume: Volume) => number): Benchmark =>
  () =>
    withTwins(
      (volume) => {
        const source = make(volume)
        for (const round of counting(ROUNDS)) copyOf(volume, source, `/copy${round}`)
      },
      ({ image, root, list }) => {
        const [ours, theirs] = [names('copy'), names('copy')]
        const script = list('script', [`funshare 0 ${length}`, 'fsync'])
        const runs = alternate(
          ROUNDS,
          () => timed(xfskit('unshare', image, `/${ours()}`)),
          () => timed(xfsIo(root, theirs(), script)),
        )
        const note = rates(runs, (seconds) => `${(bytes / 1e6 / seconds).toFixed(0)} MB/s`)
        return { name: `unshare of ${what} / funshare`, ...runs, aim: 2, note }
      },
    )

/** Random commands of xfs_io on six files: writes, clones, dedupes, holes, copies, shifts. */
function randomCommands(count: number): string[] {
  const r = random(42)
  const files = ['a', 'b', 'c', 'd', 'e', 'f']
  const command = (): string => {
    const [at, to, length] = [r.int(48) * BLOCK, r.int(48) * BLOCK, (1 + r.int(12)) * BLOCK]
    return r.pick([
      `pwrite -q -S ${r.int(4)} ${at + r.int(BLOCK)} ${length}`,
      `pwrite -q -S ${r.int(4)} ${at} ${length}`,
      `reflink -q ${r.pick(files)} ${at} ${to} ${length}`,
      `reflink -q ${r.pick(files)}`,
      `dedupe -q ${r.pick(files)} ${at} ${to} ${length}`,
      `dedupe -q ${r.pick(files)} ${at} ${at} ${length}`,
      `fpunch ${at} ${length}`,
      `funshare ${at} ${length}`,
      `truncate ${96 * BLOCK + r.int(BLOCK)}`,
      `falloc ${at} ${length}`,
      `fzero ${at} ${length}`,
      `fcollapse ${at} ${length}`,
      `finsert ${at} ${length}`,
    ])
  }
  const opened = files.slice(1).map((file) => `open ${file}`)
  return [...opened, ...counting(count).flatMap(() => [`file ${r.int(files.length)}`, command()]), 'syncfs']
}

const randomly: Benchmark = () =>
  withTwins(
    (volume) => {
      for (const file of ['a', 'b', 'c', 'd', 'e', 'f']) fileOf(volume, `/${file}`)
    },
    ({ image, root, list }) => {
      const script = list('script', randomCommands(RANDOM_STEPS))
      const ours: Program = {
        command: 'sh',
        args: [
          '-c',
          'exec "$1" "$2" io "$3" a <"$4" >/dev/null 2>&1',
          'sh',
          process.execPath,
          program(),
          image,
          script,
        ],
        statuses: [0, 1, 4],
      }
      const runs = alternate(
        ROUNDS,
        () => timed(ours),
        () => timed({ ...xfsIo(root, 'a', script), statuses: [0, 1] }),
      )
      const note = rates(runs, (seconds) => `${count(RANDOM_STEPS / seconds)} operations/s`)
      return { name: `${RANDOM_STEPS} random operations, one process / xfs_io`, ...runs, aim: 2, note }
    },
  )

const COMPILED = fileURLToPath(new URL('../../src', import.meta.url))
const TRACE_ROUNDS = 7

/**
 * The compiled program without bundling, in a folder of its own; `change` is applied to each of its
 * files.
 */
function programOf(folder: string, change: (source: string) => string): string {
  cpSync(COMPILED, join(folder, 'src'), { recursive: true, filter: (path) => !/\.(d\.ts|map)$/.test(path) })
  for (const file of readdirSync(join(folder, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.js')) continue
    const path = join(folder, 'src', file)
    writeFileSync(path, change(readFileSync(path, 'utf8')))
  }
  symlinkSync(join(repoRoot(), 'node_modules'), join(folder, 'node_modules'))
  const manifest = { type: 'module', imports: { '#native': './src/util/native.js' } }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  const main = join(folder, 'main.mjs')
  writeFileSync(main, "const { main } = await import('./src/cli/main.js')\nprocess.exitCode = await main()\n")
  return main
}

/** The cost of trace points without a subscriber: the same program without them for comparison. */
const untraced: Benchmark = () =>
  withTempDir((folder) => {
    const image = join(folder, 'image')
    mkfsFile(image, { imageSize: 2 ** 30 })
    const volume = Volume.open(openFile(image, 'rw'), { write: true })
    fileOf(volume, '/a', new Uint8Array(BLOCK).fill(1))
    volume.close()
    const next = names('b')
    const clones = (main: string) => (): Run => {
      const dst = next()
      const pairs = counting(CLONES).map((i) => `/a\t/${dst}\t0\t${i * BLOCK}\t${BLOCK}\n`)
      writeFileSync(join(folder, 'pairs'), pairs.join(''))
      return timed({ command: process.execPath, args: [main, 'reflink', image, '--batch', join(folder, 'pairs')] })
    }
    const make = (name: string, change: (source: string) => string): (() => Run) => {
      mkdirSync(join(folder, name))
      return clones(programOf(join(folder, name), change))
    }
    const runs = alternate(
      TRACE_ROUNDS,
      make('with', (source) => source),
      make('without', (source) => source.replace(/\btrace\.\w+\.hasSubscribers\b/g, 'false')),
    )
    return { name: `${CLONES} clones with trace points / without`, ...runs, note: 'see the CPU ratio' }
  })

export const reflink: readonly Benchmark[] = [
  oneBlock,
  wholeFile,
  sameBlocks,
  comparing,
  copying(`${PIECES} extents of a block`, (2 * PIECES - 1) * BLOCK, PIECES * BLOCK, (volume) =>
    inPieces(volume, '/many', PIECES),
  ),
  copying(`${COMPARED / 2 ** 20} MiB`, COMPARED, COMPARED, (volume) => large(volume, '/large')),
  randomly,
  untraced,
]
