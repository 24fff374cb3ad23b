import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { loggedCommits } from '../../src/log/checkpoint.ts'
import { type OpenOptions, Volume } from '../../src/volume.ts'
import { judge } from '../support/judge.ts'
import { makeImage, mountImage, skip } from '../support/oracles.ts'
import { random } from '../support/random.ts'
import { syscalls } from '../support/syscalls.ts'
import { withTempDir } from '../support/temp.ts'
import { escaped } from './twin.ts'
import { kernelTwin } from './twin-kernel.ts'
import { ourTwin } from './twin-ours.ts'
import { newWorld, nextStep } from './twin-steps.ts'

/**
 * The reverse twin run: a random sequence of operations through xfskit on one image and through the
 * kernel on the other. Every operation must have the same result, including errors. After each
 * batch both trees must be equal in everything that a program can see, and our image must be sound.
 */
const LONG = process.env['XFSKIT_LONG'] === '1'
const STEPS = Number(process.env['XFSKIT_STEPS'] ?? (LONG ? 2000 : 150))
const BATCH = Number(process.env['XFSKIT_BATCH'] ?? 50)
const SEED = Number(process.env['XFSKIT_SEED'] ?? 20)
const ONLY = process.env['XFSKIT_ONLY']

interface Config {
  readonly name: string
  readonly args: readonly string[]
  readonly block?: number
  readonly quick?: boolean
  readonly committer?: OpenOptions['committer']
}

const noParent = ['-n', 'parent=0']
const configs: readonly Config[] = [
  { name: 'defaults', args: [], quick: true, committer: loggedCommits },
  {
    name: '1k blocks, no parent, no rmapbt',
    args: ['-b', 'size=1k', '-m', 'rmapbt=0', ...noParent],
    block: 1024,
    quick: true,
  },
  { name: '1k blocks', args: ['-b', 'size=1k'], block: 1024, committer: loggedCommits },
  { name: '16k blocks', args: ['-b', 'size=16k'], block: 16384 },
  { name: '16k blocks, no parent, no nrext64', args: ['-b', 'size=16k', '-i', 'nrext64=0', ...noParent], block: 16384 },
  { name: 'no parent', args: noParent },
  { name: 'no rmapbt', args: ['-m', 'rmapbt=0'] },
  { name: 'no reflink', args: ['-m', 'reflink=0'] },
  { name: 'no finobt', args: ['-m', 'finobt=0'] },
  { name: 'no nrext64', args: ['-i', 'nrext64=0'] },
  {
    name: 'nothing new',
    args: ['-m', 'rmapbt=0,reflink=0,finobt=0,inobtcount=0,bigtime=0', '-i', 'nrext64=0,exchange=0', ...noParent],
  },
  {
    name: '1k blocks, 8k directory blocks',
    args: ['-b', 'size=1k', '-n', 'size=8k'],
    block: 1024,
  },
  { name: '2k inodes', args: ['-i', 'size=2048'] },
]

/**
 * Mount options with which the kernel does not preallocate past EOF of a growing file. With blocks
 * smaller than a page it does not below 64 KiB.
 */
const mountOptions = (block: number): string => (block < 4096 ? 'noatime' : `noatime,allocsize=${block}`)

const calls = syscalls()
const cannot = skip.kernel || skip.newest || (calls ? false : 'koffi is not installed')

for (const { name, args, block = 4096, quick, committer } of configs) {
  if (ONLY ? !name.startsWith(ONLY) : !LONG && !quick) continue
  test(`random changes on twins: ${name}`, { skip: cannot }, (t) => {
    if (!calls) return
    process.umask(0)
    withTempDir((folder) => {
      const keep = process.env['XFSKIT_KEEP']
      const [image, twin] = [join(keep ?? folder, 'image'), join(keep ?? folder, 'twin')]
      makeImage(image, '400m', args)
      makeImage(twin, '400m', args)
      const open = (): Volume =>
        Volume.open(openFile(image, 'rw'), { write: true, ...(committer ? { committer } : {}) })
      const r = random(SEED)
      const off = (feature: string): boolean => args.some((arg) => arg.includes(`${feature}=0`))
      const world = newWorld({
        blocksize: block,
        reflink: !off('reflink'),
        bigtime: !off('bigtime'),
        growLimit: block < 4096 ? 60 * 1024 : Number.POSITIVE_INFINITY,
      })
      const most = off('parent') ? 0 : SHORTFORM
      const log: string[] = []
      const results = new Map<string, number>()
      const started = Date.now()
      mountImage(
        twin,
        (root) => {
          const kernel = kernelTwin(root, calls)
          for (let step = 0; step < STEPS; step += BATCH) {
            const volume = open()
            const ours = ourTwin(volume)
            for (let i = 0; i < BATCH; i++) {
              const next = nextStep(r, world)
              const theirs = next.run(kernel)
              log.push(`${escaped(next.text)}: ${theirs}`)
              assert.equal(next.run(ours), theirs, `step ${step + i}: ${next.text}`)
              if (theirs.startsWith('ok')) next.done?.()
              results.set(theirs, (results.get(theirs) ?? 0) + 1)
            }
            const manifest = ours.manifest()
            volume.close()
            same(manifest, kernel.manifest(), most, `after step ${step + BATCH}`, log)
            judge(image)
          }
        },
        { options: mountOptions(block) },
      )
      const counts = [...results]
        .filter(([result]) => /^(ok|E|same|differs)/.test(result))
        .map(([result, count]) => `${result} ${count}`)
      t.diagnostic(
        `${STEPS} steps, seed ${SEED}, ${((Date.now() - started) / 1000).toFixed(1)} s: ${counts.slice(0, 20).join(', ')}`,
      )
      compareAcross(image, twin, calls, most)
    })
  })
}

const DIRECTORY_SIZE = /^(\S+) (d .*?)size=(\d+)/

/** The maximum size of a shortform directory. */
const SHORTFORM = 2047

/**
 * The size of a directory with blocks depends on the places of names and on when blocks are freed.
 * Without parent pointers the kernel's security modules determine whether a new directory has an
 * attribute fork. So such sizes are not compared.
 */
function withoutSizes(a: readonly string[], b: readonly string[], most: number): [string[], string[]] {
  const large = new Set<string>()
  for (const line of [...a, ...b]) {
    const [, path = '', , size] = DIRECTORY_SIZE.exec(line) ?? []
    if (Number(size) > most) large.add(path)
  }
  const cut = (line: string): string =>
    large.has(DIRECTORY_SIZE.exec(line)?.[1] ?? ' ') ? line.replace(DIRECTORY_SIZE, '$1 $2') : line
  return [a.map(cut), b.map(cut)]
}

/** The kernel reads our image, and we read the kernel's. */
function compareAcross(image: string, twin: string, system: NonNullable<typeof calls>, most: number): void {
  const read = (path: string): string[] => {
    const volume = Volume.open(openFile(path, 'r'))
    try {
      return ourTwin(volume).manifest()
    } finally {
      volume.close()
    }
  }
  const theirs = read(twin)
  same(
    mountImage(image, (root) => kernelTwin(root, system).manifest(), { options: 'noatime' }),
    theirs,
    most,
    'read the other way',
    [],
  )
}

/**
 * Assert equal lines; the message contains the lines that differ, and the steps with their names.
 */
function same(
  left: readonly string[],
  right: readonly string[],
  most: number,
  when: string,
  log: readonly string[],
): void {
  const [ours, theirs] = withoutSizes(left, right, most)
  const [a, b] = [new Set(ours), new Set(theirs)]
  const extra = ours.filter((line) => !b.has(line))
  const missing = theirs.filter((line) => !a.has(line))
  if (extra.length + missing.length === 0) return
  const shown = [
    ...extra.slice(0, 10).map((line) => `ours   ${line}`),
    ...missing.slice(0, 10).map((line) => `kernel ${line}`),
  ]
  const names = new Set([...extra, ...missing].slice(0, 20).map((line) => line.split(' ')[0]?.split('/').at(-1) ?? ''))
  const steps = log.flatMap((text, i) =>
    [...names].some((name) => name !== '' && text.includes(name)) ? [`${i}: ${text}`] : [],
  )
  assert.fail(
    `${when}: ${extra.length} lines more, ${missing.length} less\n${shown.join('\n')}\n${steps.slice(-60).join('\n')}`,
  )
}
