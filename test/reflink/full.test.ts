import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { freeForUsers, isCritical } from '../../src/space/reserve.ts'
import { Volume } from '../../src/volume.ts'
import { judge } from '../support/judge.ts'
import { makeImage, mountImage, newest, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'
import type { FileSystem } from './filesystem.ts'
import { kernelFileSystem } from './kernelfs.ts'
import { ourFileSystem } from './ourfs.ts'

const B = 4096
const PIECES = 60

/** A file in pieces, shared once, and then nothing left for users. */
function prepare(fs: FileSystem, free: () => number): void {
  for (let i = 0; i < PIECES; i++) fs.pwrite('a', i * 2 * B, B, i)
  fs.clone('a', 'b', 0, 0, 0)
  fs.truncate('c', 0)
  fs.truncate('d', 0)
  fs.fallocKeep('full', 0, (free() - 20) * B)
}

/** Sharing needs no room for data; copying does. */
const steps: readonly (readonly [what: string, expected: string, step: (fs: FileSystem) => string])[] = [
  ['a clone of shared blocks', 'ok', (fs) => fs.clone('a', 'c', 0, 0, 0)],
  ['a clone of a part', 'ok', (fs) => fs.clone('a', 'd', 8 * B, 0, 20 * B)],
  ['a dedupe', `SAME ${10 * B}`, (fs) => fs.dedupe('a', 'b', 0, 0, 10 * B)],
  ['unshare', 'ENOSPC', (fs) => fs.unshare('b', 0, PIECES * 2 * B)],
  ['the same after a file is gone', 'ok', (fs) => { fs.unlink('full'); return fs.unshare('b', 0, (PIECES * 2 - 1) * B) }],
] // biome-ignore format: a step a row

test('on a full filesystem blocks can be shared, and not copied', { skip: skip.kernel || skip.newest }, () => {
  withTempDir((folder) => {
    const [image, twin] = [join(folder, 'image'), join(folder, 'twin')]
    makeImage(image, '300m')
    makeImage(twin, '300m')
    const volume = Volume.open(openFile(image, 'rw'), { write: true })
    const ours = ourFileSystem(volume, '')
    prepare(ours, () => freeForUsers(volume))
    assert.equal(isCritical(volume, 0), false)
    const found = steps.map(([, , step]) => step(ours))
    const content = ours.content('a')
    assert.ok(content.equals(ours.content('c')))
    volume.close()
    judge(image)
    assert.deepEqual(
      found,
      steps.map(([, expected]) => expected),
    )
    mountImage(twin, (root) => {
      const kernel = kernelFileSystem(root)
      const statfs = (): number =>
        Number(
          /f_bavail = (\d+)/.exec(
            spawnSync(newest.io, ['-c', 'syncfs', '-c', 'statfs -s', root], { encoding: 'utf8' }).stdout,
          )?.[1],
        )
      prepare(kernel, statfs)
      assert.deepEqual(
        steps.map(([what, , step]) => `${what}: ${step(kernel)}`),
        steps.map(([what, expected]) => `${what}: ${expected}`),
      )
      assert.ok(kernel.content('c').equals(content))
    })
  })
})
