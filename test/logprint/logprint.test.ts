import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { Volume } from '../../src/volume.ts'
import type { LogPrintOptions } from '../../src/xfsimage/logprint.ts'
import { crashImage, makeImage, newest, skip } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'
import { optionSets, sameText } from './compare.ts'
import { imageWith, items } from './items.ts'

/** Our text is that of xfs_logprint. */

const folder = tempDir()

/** The first byte of the log. */
function logStart(image: string): number {
  const volume = Volume.open(openFile(image, 'r'))
  const start = volume.geometry.fsbToDaddr(volume.geometry.sb.logstart) * 512
  volume.close()
  return start
}

test('items of every type in one transaction', { skip: skip.newest }, async () => {
  const image = imageWith(join(folder, 'all'), [items])
  for (const [args, options] of optionSets) await sameText(image, args, options)
})

test('each item in its own transaction', { skip: skip.newest }, async () => {
  const image = imageWith(
    join(folder, 'one'),
    items.map((item) => [item]),
  )
  for (const [args, options] of optionSets) await sameText(image, args, options)
  // A log of ours needs its last transaction only: begin at the first.
  const all = { view: 'transactions', start: 2, buffers: true, inodes: true, quota: true, data: true } as const
  await sameText(image, '-t -s 2 -b -i -q -o', all)
})

/** Fill, share, rename and remove, in `rounds` transactions. */
function work(mount: string, rounds: number): void {
  for (let round = 0; round < rounds; round++) {
    const dir = join(mount, `dir${round}`)
    mkdirSync(dir)
    for (let i = 0; i < 20; i++) writeFileSync(join(dir, `file${i}`), Buffer.alloc(3000 * (i % 4), i))
    execFileSync('sync', ['-f', mount])
    if (round % 3 === 0) rmSync(dir, { recursive: true })
  }
}

interface Dirty {
  readonly name: string
  readonly size: string
  readonly args: readonly string[]
  readonly rounds: number
}

const images: readonly Dirty[] = [
  { name: 'usual', size: '300m', args: [], rounds: 3 },
  { name: 'parent pointers', size: '300m', args: ['-n', 'parent=1', '-m', 'rmapbt=1'], rounds: 3 },
  { name: 'wrapped', size: '128m', args: ['-b', 'size=1024', '-l', 'size=5m'], rounds: 130 },
  { name: 'striped', size: '128m', args: ['-l', 'size=16m,su=256k', '-m', 'reflink=0'], rounds: 90 },
]

for (const { name, size, args, rounds } of images) {
  test(`a log of the kernel: ${name}`, { skip: skip.kernel || skip.newest }, async () => {
    const image = join(folder, 'kernel')
    makeImage(image, size, args)
    crashImage(image, (mount) => work(mount, rounds))
    for (const [options, ours] of optionSets) await sameText(image, options, ours, name)
    if (name !== 'usual' && name !== 'parent pointers') {
      const ends = execFileSync(newest.logprint, ['-d', '-n', image], { encoding: 'utf8' }).match(/New Cycle/g)
      assert.equal(ends?.length, 2, 'the log wraps')
    }
    rmSync(image)
  })
}

test('a clean log, a log of zeros, and a changed UUID', { skip: skip.newest }, async () => {
  const image = join(folder, 'clean')
  makeImage(image, '300m')
  for (const [args, options] of optionSets) await sameText(image, args, options, 'clean')
  const file = openSync(image, 'r+')
  const kept = Buffer.alloc(2 ** 20)
  const start = logStart(image)
  readSync(file, kept, 0, kept.length, start)
  writeSync(file, Buffer.alloc(kept.length), 0, kept.length, start)
  for (const [args, options] of optionSets) await sameText(image, args, options, 'zeros')
  writeSync(file, kept, 0, kept.length, start)
  closeSync(file)
  execFileSync(newest.db, ['-x', '-c', 'uuid generate', image], { stdio: 'ignore' })
  for (const [args, options] of optionSets) await sameText(image, args, options, 'changed UUID')
})

/** Fields of the second record and of its first operations that are damaged: name, offset, value. */
const damage: readonly (readonly [string, number, number])[] = [
  ['magic number', 0, 0],
  ['cycle', 4, 7],
  ['version', 8, 0],
  ['version', 8, 9],
  ['length', 12, 0],
  ['LSN', 16, 0xffffffff],
  ['tail', 28, 3],
  ['checksum', 32, 1],
  ['operations', 40, 0],
  ['operations', 40, 5],
  ['byte order', 300, 0],
  ['byte order', 300, 9],
  ['UUID', 304, 0],
  ['size', 320, 0x8001],
  ['cycle of a block', 512, 0],
  ['client', 520, 0],
  ['flags', 532, 0x69400000],
  ['transaction header', 536, 0],
  ['type of an item', 564, 0x99120100],
  ['size of an item', 564, 0x3c120000],
]

test('damaged records and operations', { skip: skip.newest }, async () => {
  const image = imageWith(join(folder, 'damaged'), [items])
  const record = logStart(image) + 2 * 512
  for (const [name, offset, value] of damage) {
    const file = openSync(image, 'r+')
    const [kept, word] = [Buffer.alloc(4), Buffer.alloc(4)]
    word.writeUInt32BE(value)
    readSync(file, kept, 0, 4, record + offset)
    writeSync(file, word, 0, 4, record + offset)
    for (const [args, options] of damagedViews) await sameText(image, args, options, `${name} ${value}`)
    writeSync(file, kept, 0, 4, record + offset)
    closeSync(file)
  }
})

const damagedViews: readonly (readonly [string, LogPrintOptions])[] = [
  ['', {}],
  ['-c', { keepGoing: true }],
  ['-t', { view: 'transactions' }],
  ['-d', { view: 'blocks' }],
]
