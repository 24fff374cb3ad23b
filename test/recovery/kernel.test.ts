import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  closeSync,
  copyFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { overlay } from '../../src/device/overlay.ts'
import { deviceAfter, record } from '../../src/device/record.ts'
import { logState } from '../../src/log/ring.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { recover } from '../../src/recovery/recover.ts'
import { Volume } from '../../src/volume.ts'
import { writeImage } from '../support/crashimages.ts'
import { judge } from '../support/judge.ts'
import { differences, imageManifest } from '../support/manifest.ts'
import { makeImage, mountImage, newest, skip } from '../support/oracles.ts'
import { type Random, random } from '../support/random.ts'
import { withTempDir } from '../support/temp.ts'

/**
 * Logs that the kernel has left: recovered here, an image holds what it holds after the kernel's own
 * recovery, byte for byte of every file and attribute, and each inode by its number.
 */
const LONG = process.env['XFSKIT_LONG'] === '1'

/** How the kernel leaves the image. */
const ends = {
  /** Everything is in the log. */
  'shut down after a flush of the log': (root: string, image: string, copy: string) =>
    shutdown(root, image, copy, '-f'),
  /** As after a power cut: what was synced is in the log. */
  'shut down without it': (root: string, image: string, copy: string) => {
    writeFileSync(join(root, 'synced'), 'this is')
    execFileSync('sync', ['-f', root])
    writeFileSync(join(root, 'not synced'), 'this may be')
    shutdown(root, image, copy)
  },
  frozen: (root: string, image: string, copy: string) => {
    execFileSync(newest.io, ['-x', '-c', 'freeze', root])
    copyFileSync(image, copy)
    execFileSync(newest.io, ['-x', '-c', 'thaw', root])
  },
  'copied while it is mounted': (root: string, image: string, copy: string) => {
    execFileSync('sync', ['-f', root])
    copyFileSync(image, copy)
  },
} as const
type End = keyof typeof ends

function shutdown(root: string, _image: string, _copy: string, how = ''): void {
  execFileSync(newest.io, ['-x', '-c', `shutdown ${how}`, root], { stdio: ['ignore', 'ignore', 'pipe'] })
}

interface Formatted {
  readonly name: string
  readonly args: readonly string[]
  readonly quick?: readonly End[]
}

const formats: readonly Formatted[] = [
  { name: 'defaults', args: [], quick: Object.keys(ends) as End[] },
  { name: '1k blocks, 8k directory blocks', args: ['-b', 'size=1k', '-n', 'size=8k'], quick: ['shut down without it'] },
  { name: '64k blocks', args: ['-b', 'size=64k'], quick: ['copied while it is mounted'] },
  { name: 'no rmapbt', args: ['-m', 'rmapbt=0'] },
  { name: 'no reflink', args: ['-m', 'reflink=0'] },
  { name: 'no parent pointers, small counters', args: ['-n', 'parent=0', '-i', 'nrext64=0'] },
  { name: 'stripe-aligned log', args: ['-l', 'su=256k'], quick: ['shut down after a flush of the log'] },
  {
    name: 'little',
    args: ['-m', 'reflink=0,rmapbt=0,finobt=0,inobtcount=0,bigtime=0', '-i', 'nrext64=0,sparse=0,exchange=0'],
    quick: ['shut down without it'],
  },
  { name: '4k sectors, 1k inodes', args: ['-s', 'size=4096', '-i', 'size=1024'] },
]

/** Changes of all kinds of metadata, some of them synced in between. */
function change(root: string, { int, pick, bytes }: Random, steps: number, part: string): void {
  const files: string[] = []
  const folders = [root]
  let next = 0
  const name = (): string => join(pick(folders), `${'a name '.repeat(int(8))}${part}${next++}`)
  const create = (): void => {
    const path = name()
    writeFileSync(path, bytes(int(40_000)))
    files.push(path)
  }
  const attribute = (): void => {
    const value = 'v'.repeat(pick([1, 60, 2000]))
    execFileSync('setfattr', ['-n', `user.${'n'.repeat(int(30))}${int(40)}`, '-v', value, pick(files)])
  }
  const clone = (): void => {
    const path = name()
    execFileSync('cp', ['--reflink=auto', pick(files), path])
    files.push(path)
  }
  const remove = (): void => {
    const [path] = files.splice(int(files.length), 1)
    if (path !== undefined) rmSync(path)
  }
  const kinds: (() => void)[] = [
    create,
    create,
    create,
    clone,
    remove,
    attribute,
    () => appendFileSync(pick(files), bytes(int(30_000))),
    () => {
      const folder = name()
      mkdirSync(folder)
      if (folders.length < 6) folders.push(folder)
    },
    () => symlinkSync('x'.repeat(pick([5, 100, 900])), name()),
    () => {
      const [i, path] = [int(files.length), name()]
      renameSync(files[i] as string, path)
      files[i] = path
    },
    () => {
      const path = name()
      linkSync(pick(files), path)
      files.push(path)
    },
    () =>
      execFileSync(newest.io, ['-c', `fpunch ${4096 * int(5)} 8k`, '-c', `falloc ${4096 * int(20)} 64k`, pick(files)]),
  ]
  for (let i = 0; i < 5; i++) create()
  for (let i = 0; i < steps; i++) {
    if (files.length < 5) create()
    else pick(kinds)()
    if (int(40) === 0) execFileSync('sync', ['-f', root])
  }
}

/** An image with a dirty log; a file that is still open was unlinked. */
function dirtyImage(image: string, copy: string, args: readonly string[], end: End, seed: number): void {
  makeImage(image, '320m', args)
  const steps = LONG ? 1500 : 120
  const crash = (root: string): void => {
    const r = random(seed)
    change(root, r, steps, 'a')
    const path = join(root, 'unlinked')
    const fd = openSync(path, 'w')
    try {
      writeSync(fd, r.bytes(300_000))
      execFileSync('sync', ['-f', root])
      unlinkSync(path)
      change(root, r, steps >> 2, 'b')
      ends[end](root, image, copy)
    } finally {
      closeSync(fd)
    }
  }
  mountImage(image, crash, { anyComplaint: true })
}

const manifest = (image: string): string[] => {
  const volume = Volume.open(openFile(image, 'r'))
  try {
    return imageManifest(rootDirectory(volume), { exact: true })
  } finally {
    volume.close()
  }
}

for (const [seed, { name, args, quick = [] }] of formats.entries()) {
  for (const end of LONG ? (Object.keys(ends) as End[]) : quick) {
    test(`recovered as by the kernel: ${name}, ${end}`, { skip: skip.kernel || skip.newest }, () => {
      withTempDir((folder) => {
        const [image, copy, theirs] = ['image', 'copy', 'theirs'].map((file) => join(folder, file)) as [
          string,
          string,
          string,
        ]
        dirtyImage(image, copy, args, end, seed)
        const dirty = end === 'frozen' || end === 'copied while it is mounted' ? copy : image
        cpSync(dirty, theirs)
        mountImage(theirs, () => {})
        const device = openFile(dirty, 'rw')
        assert.equal(logState(Volume.open(device)).clean, false)
        const { refused, transactions, inodes } = recover(device)
        device.close()
        assert.equal(refused, undefined)
        assert.ok(transactions > 0)
        assert.equal(inodes, 1)
        assert.equal(differences(manifest(dirty), manifest(theirs)), '')
        judge(dirty, { kernel: true })
      })
    })
  }
}

test('recovery of a log of the kernel, killed after any write: run again, it ends', {
  skip: skip.kernel || skip.newest,
}, () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    dirtyImage(image, '', ['-b', 'size=1k'], 'shut down after a flush of the log', 77)
    const recorder = record(overlay(openFile(image, 'r')))
    assert.equal(recover(recorder).refused, undefined)
    const { events } = recorder
    const base = openFile(image, 'r')
    const step = LONG ? 1 : Math.ceil(events.length / 12)
    let expected: string[] | undefined
    for (let n = 0; n <= events.length; n += step) {
      const device = deviceAfter(base, events, n)
      assert.equal(recover(device).refused, undefined, `after ${n} of ${events.length} events`)
      const found = imageManifest(rootDirectory(Volume.open(device)), { exact: true })
      expected ??= found
      assert.equal(differences(found, expected), '', `after ${n} of ${events.length} events`)
      if (n % (step * 6) === 0) {
        const file = join(folder, `after ${n}`)
        writeImage(device, file)
        judge(file)
      }
    }
    base.close()
  })
})
