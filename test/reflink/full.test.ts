import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { falloc } from '../../src/data/fallocate.ts'
import { openFile } from '../../src/device/file.ts'
import { XfsError } from '../../src/errors.ts'
import { extentCount, openInode, setExtentCount, updateInode } from '../../src/inode/inode.ts'
import { maxExtents } from '../../src/mapping/maprecords.ts'
import { mkdir, unlink } from '../../src/namespace/namespace.ts'
import { freeForUsers, isCritical } from '../../src/space/reserve.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { judge } from '../support/judge.ts'
import { makeImage, mountImage, newest, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'
import type { FileSystem } from './filesystem.ts'
import { filesOf, newImage, openVolume } from './images.ts'
import { kernelFileSystem } from './kernelfs.ts'
import { ourFileSystem } from './ourfs.ts'

const B = 4096
const PIECES = 60

/** A fragmented file, shared once, and then no space left for users. */
function prepare(fs: FileSystem, free: () => number): void {
  for (let i = 0; i < PIECES; i++) fs.pwrite('a', i * 2 * B, B, i)
  fs.clone('a', 'b', 0, 0, 0)
  fs.truncate('c', 0)
  fs.truncate('d', 0)
  fs.fallocKeep('full', 0, (free() - 20) * B)
}

/** Sharing needs no space for data; copying does. */
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

/** Fill everything, with space for block maps in another AG than that of `src`. */
function fillGroups(image: string): void {
  const volume = openVolume(image)
  const files = filesOf(volume)
  for (let i = 0; i < 4; i++) mkdir(volume, `d${i}`, 0o755)
  files.fill('src', 0, 1)
  for (const path of ['d2/hold', 'd2/dst', 'full']) files.write(path, 0, new Uint8Array(0))
  falloc(volume, files.ino('d2/hold'), 0, 4096 * B)
  for (let at = 0, step = freeForUsers(volume); step > 0; ) {
    try {
      falloc(volume, files.ino('full'), at * B, step * B)
      at += step
    } catch {
      step = Math.floor(step / 2)
    }
  }
  unlink(volume, 'd2/hold')
  volume.close()
}

test('a group with too little left for its trees shares no more, from the same clone on as with the kernel', {
  skip: skip.kernel || skip.newest,
}, () => {
  withTempDir((folder) => {
    const [image, twin] = [newImage(folder, 'image'), join(folder, 'twin')]
    fillGroups(image)
    copyFileSync(image, twin)
    const most = 40_000
    const input = Array.from({ length: most }, (_, i) => `reflink -q src 0 ${2 * i * B} ${B}\n`).join('')
    const lastKernel = mountImage(twin, (root) => {
      const { stderr } = spawnSync(newest.io, ['d2/dst'], { cwd: root, input, encoding: 'utf8', maxBuffer: 2 ** 26 })
      return most - stderr.split('XFS_IOC_CLONE_RANGE: No space left on device').length + 1
    })
    const volume = openVolume(image)
    const files = filesOf(volume)
    let count = 0
    assert.throws(
      () => {
        for (; count < most; count++) files.clone('src', 'd2/dst', { dstOffset: 2 * count * B, length: B })
      },
      (error: unknown) => error instanceof XfsError && error.code === 'NOSPC' && error.where.agno === 0,
    )
    assert.equal(count, lastKernel)
    assert.ok(isCritical(volume, 0))
    volume.close()
    judge(image)
  })
})

test('a fork that has all the extents it can have: a clone into it is refused, and changes nothing', () => {
  withTempDir((folder) => {
    const image = newImage(folder, 'image', '3t', ['-i', 'nrext64=0', '-b', 'size=1024', '-l', 'size=64m'])
    const volume = openVolume(image)
    const files = filesOf(volume)
    files.fill('src', 0, 4)
    for (let i = 0; i < 100; i++) files.fill('dst', 2 * i, 1)
    const ino = files.ino('dst')
    const most = maxExtents('data', false)
    const pretend = (count: number, nblocks: number): void =>
      withTransaction(volume, (tx) => {
        const inode = openInode(volume, ino, tx)
        setExtentCount(tx, inode, 'data', count)
        updateInode(tx, inode, { nblocks })
      })
    const [count, { nblocks }] = [files.extents('dst'), openInode(volume, ino)]
    const clone = (): void => files.clone('src', 'dst', { length: 4 * 1024 })
    pretend(most - 1, most)
    assert.throws(clone, (error: unknown) => error instanceof XfsError && error.code === 'FBIG')
    assert.equal(openInode(volume, files.ino('src')).reflink, false)
    assert.equal(extentCount(openInode(volume, ino), 'data'), most - 1)
    pretend(count, nblocks)
    clone()
    volume.close()
    judge(image)
  })
})
