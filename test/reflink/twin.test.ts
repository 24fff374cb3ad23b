import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { Volume } from '../../src/volume.ts'
import { checkFindings, makeImage, mountImage, repairComplaints, skip } from '../support/oracles.ts'
import { type Random, random } from '../support/random.ts'
import { withTempDir } from '../support/temp.ts'
import type { FileSystem } from './filesystem.ts'
import { kernelFileSystem } from './kernelfs.ts'
import { ourFileSystem } from './ourfs.ts'
import { refcountsAlongFiles } from './refcounts.ts'

/**
 * Random sharing on twin images: the same operations through xfskit on one image and through the
 * kernel on the other. Contents, sizes and maps (with the shared flag) must always be equal,
 * regardless of the physical layout.
 */
const LONG = process.env['XFSKIT_LONG'] === '1'
const STEPS = LONG ? 10_000 : 300
const BATCH = LONG ? 500 : 100
const FILES = ['a', 'b', 'c', 'd', 'e', 'f']
const BLOCKS = 48

/**
 * Mount option: no preallocation past EOF of a growing file. With small blocks the files stay below
 * the size from which the kernel preallocates anyway.
 */
const NO_SPECULATION = { options: 'allocsize=4k' }

type Operation = (fs: FileSystem) => string

/** A random operation whose result does not depend on the places of blocks. */
function draw(r: Random, block: number): { text: string; run: Operation } {
  const file = r.pick(FILES)
  const other = r.pick(FILES)
  const at = r.int(BLOCKS) * block
  const to = r.int(BLOCKS) * block
  const length = (1 + r.int(12)) * block
  const odd = r.int(block)
  const byte = r.int(4)
  const kinds: readonly (readonly [string, Operation])[] = [
    [
      `pwrite ${file} ${at + odd} ${length - odd} ${byte}`,
      (fs) => done(fs.pwrite(file, at + odd, Math.max(1, length - odd), byte)),
    ],
    [`pwrite ${file} ${at} ${length} ${byte}`, (fs) => done(fs.pwrite(file, at, length, byte))],
    [`clone ${file} ${other} ${at} ${to} ${length}`, (fs) => fs.clone(file, other, at, to, length)],
    [`clone ${file} ${other} ${at} ${to} ${length}`, (fs) => fs.clone(file, other, at, to, length)],
    [`clone ${file} ${other} whole`, (fs) => fs.clone(file, other, 0, 0, 0)],
    [`dedupe ${file} ${other} ${at} ${to} ${length}`, (fs) => fs.dedupe(file, other, at, to, length)],
    [`dedupe ${file} ${other} ${at} ${at} ${length}`, (fs) => fs.dedupe(file, other, at, at, length)],
    [`punch ${file} ${at} ${length}`, (fs) => done(fs.punch(file, at, length))],
    [`unshare ${file} ${at} ${length}`, (fs) => fs.unshare(file, at, length)],
    [`truncate ${file} ${at + odd}`, (fs) => done(fs.truncate(file, at + odd))],
    [`falloc ${file} ${at} ${length}`, (fs) => done(fs.falloc(file, at, length))],
    [`zero ${file} ${at + odd} ${length}`, (fs) => done(fs.zero(file, at + odd, length))],
    [`collapse ${file} ${at} ${length}`, (fs) => fs.collapse(file, at, length)],
    [`insert ${file} ${at} ${length}`, (fs) => (fs.size(file) < BLOCKS * block ? fs.insert(file, at, length) : 'no')],
    [`unlink ${file}`, (fs) => remake(fs, file)],
  ]
  const [text, run] = r.pick(kinds)
  return { text, run }
}

const done = (_: unknown): string => 'ok'

/** Replace a file with an empty one. */
function remake(fs: FileSystem, file: string): string {
  fs.unlink(file)
  fs.truncate(file, 0)
  return 'ok'
}

/** Short enough for the message of a failed test. */
function digest(bytes: Uint8Array): string {
  const hash = createHash('sha256').update(bytes).digest('hex')
  return `${bytes.length} bytes, ${hash.slice(0, 16)}`
}

const picture = (fs: FileSystem) =>
  Object.fromEntries(
    FILES.map((file) => [file, { size: fs.size(file), map: fs.map(file), content: digest(fs.content(file)) }]),
  )

for (const { name, args, block } of [
  { name: '4k blocks', args: [], block: 4096 },
  { name: '1k blocks', args: ['-b', 'size=1024'], block: 1024 },
  { name: '1k blocks without rmapbt', args: ['-b', 'size=1024', '-m', 'rmapbt=0'], block: 1024 },
  { name: '4k blocks without rmapbt', args: ['-m', 'rmapbt=0'], block: 4096 },
]) {
  test(`random sharing on twins: ${name}`, { skip: skip.kernel || skip.newest }, () => {
    withTempDir((folder) => {
      const [image, twin] = [join(folder, 'image'), join(folder, 'twin')]
      makeImage(image, '300m', args)
      makeImage(twin, '300m', args)
      mountImage(
        twin,
        (root) => {
          const kernel = kernelFileSystem(root, block < 4096)
          const r = random(42)
          for (const file of FILES) kernel.truncate(file, 0)
          let volume = Volume.open(openFile(image, 'rw'), { write: true })
          const first = ourFileSystem(volume, '')
          for (const file of FILES) first.truncate(file, 0)
          const log: string[] = []
          for (let step = 0; step < STEPS; step += BATCH) {
            const fs = ourFileSystem(volume, '')
            for (let i = 0; i < BATCH; i++) {
              const { text, run } = draw(r, block)
              log.push(text)
              assert.equal(run(fs), run(kernel), `step ${step + i}: ${text}`)
            }
            assert.deepEqual(
              picture(fs),
              picture(kernel),
              `after step ${step + BATCH}: ${log.slice(-BATCH).join('; ')}`,
            )
            volume.close()
            assert.deepEqual(checkFindings(image).slice(0, 20), [], `after step ${step + BATCH}`)
            assert.equal(repairComplaints(image), undefined, `after step ${step + BATCH}`)
            volume = Volume.open(openFile(image, 'rw'), { write: true })
          }
          volume.close()
        },
        block === 4096 ? NO_SPECULATION : {},
      )
      assert.deepEqual(refcountsAlongFiles(image), refcountsAlongFiles(twin))
      mountImage(image, (root) => {
        const volume = Volume.open(openFile(image, 'r'))
        assert.deepEqual(picture(kernelFileSystem(root)), picture(ourFileSystem(volume, '')), 'the kernel reads ours')
        volume.close()
      })
    })
  })
}
