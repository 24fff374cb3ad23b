import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readFile } from '../../src/data/data.ts'
import { writeFile } from '../../src/data/write.ts'
import { openFile } from '../../src/device/file.ts'
import { extentCount, openInode } from '../../src/inode/inode.ts'
import { loggedCommits } from '../../src/log/checkpoint.ts'
import { createFile, unlink } from '../../src/namespace/namespace.ts'
import { reflink } from '../../src/reflink/reflink.ts'
import { refcountHistogram, usage } from '../../src/reflink/sharing.ts'
import { unshare } from '../../src/reflink/unshare.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { judge } from '../support/judge.ts'
import { withTempDir } from '../support/temp.ts'
import { newImage } from './images.ts'

/** The largest amount of sharing: a hundredth of it without XFSKIT_LONG=1. */
const LONG = process.env['XFSKIT_LONG'] === '1'
const CLONES = LONG ? 1_000_000 : 10_000
const EXTENTS = LONG ? 300_000 : 3_000
const BLOCK = 4096
const MEMORY = 2 ** 30

const openLogged = (image: string): Volume =>
  Volume.open(openFile(image, 'rw'), { write: true, committer: loggedCommits })

const assertMemory = (): void => {
  const { rss } = process.memoryUsage()
  assert.ok(rss < MEMORY, `${Math.round(rss / 2 ** 20)} MiB`)
}

test(`one block cloned ${CLONES} times`, () => {
  withTempDir((folder) => {
    const image = newImage(folder, 'image', '4g')
    let volume = openLogged(image)
    const a = createFile(volume, '/a', 0o644).ino
    writeFile(volume, a, 0, new Uint8Array(BLOCK).fill(7))
    const b = createFile(volume, '/b', 0o644).ino
    for (let i = 0; i < CLONES; i++) {
      finish(reflink(volume, a, b, { srcOffset: 0, dstOffset: i * BLOCK, length: BLOCK }))
    }
    assert.equal(extentCount(openInode(volume, b), 'data'), CLONES)
    const group = volume.geometry.inoAgno(a)
    assert.deepEqual([...refcountHistogram(volume, group).blocks], [[CLONES + 1, 1]])
    assertMemory()
    volume.close()
    judge(image)
    volume = openLogged(image)
    assert.equal(readFile(openInode(volume, b), (CLONES - 1) * BLOCK, 1)[0], 7)
    unlink(volume, '/b')
    assert.deepEqual(usage(openInode(volume, a)), { referenced: 1, shared: 0, exclusive: 1 })
    assertMemory()
    volume.close()
    judge(image)
  })
})

test(`a file of ${EXTENTS} extents cloned, half of it overwritten, unshared, deleted`, () => {
  withTempDir((folder) => {
    const image = newImage(folder, 'image', '8g')
    let volume = openLogged(image)
    const a = createFile(volume, '/a', 0o644).ino
    for (let i = 0; i < EXTENTS; i++) writeFile(volume, a, i * 2 * BLOCK, new Uint8Array(BLOCK).fill(i))
    const b = createFile(volume, '/b', 0o644).ino
    finish(reflink(volume, a, b, { srcOffset: 0, dstOffset: 0, length: 0 }))
    assert.deepEqual(usage(openInode(volume, b)), { referenced: EXTENTS, shared: EXTENTS, exclusive: 0 })
    for (let i = 0; i < EXTENTS; i += 2) writeFile(volume, b, i * 2 * BLOCK, new Uint8Array(BLOCK).fill(i + 1))
    assert.deepEqual(usage(openInode(volume, b)), { referenced: EXTENTS, shared: EXTENTS / 2, exclusive: EXTENTS / 2 })
    assertMemory()
    volume.close()
    judge(image)
    volume = openLogged(image)
    const { copied, cleared } = finish(unshare(volume, b, { offset: 0, length: (2 * EXTENTS - 1) * BLOCK }))
    assert.deepEqual([copied, cleared], [EXTENTS / 2, true])
    for (const i of [0, 1, EXTENTS - 2, EXTENTS - 1]) {
      assert.equal(readFile(openInode(volume, b), i * 2 * BLOCK, 1)[0], (i % 2 === 0 ? i + 1 : i) & 0xff)
      assert.equal(readFile(openInode(volume, a), i * 2 * BLOCK, 1)[0], i & 0xff)
    }
    unlink(volume, '/a')
    assertMemory()
    volume.close()
    judge(image)
    volume = openLogged(image)
    unlink(volume, '/b')
    volume.close()
    judge(image)
  })
})
