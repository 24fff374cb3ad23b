import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { readFile } from '../../src/data/data.ts'
import { writeFile } from '../../src/data/write.ts'
import { openFile } from '../../src/device/file.ts'
import { extentCount, forkFormat, openInode, updateInode } from '../../src/inode/inode.ts'
import { unmapRange } from '../../src/mapping/bmap.ts'
import { extents } from '../../src/mapping/extents.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { random as seeded } from '../support/random.ts'
import { fill, makeImage, manifest, repairSays, scratch, tools } from './support.ts'
import { outcome, type Twin } from './twin.ts'

/** A repeatable sequence of numbers in [0, 1). */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

const pattern = (length: number, next: () => number): Uint8Array => {
  const bytes = new Uint8Array(length)
  const words = new Uint32Array(bytes.buffer, 0, length >> 2)
  for (let i = 0; i < words.length; i++) words[i] = next() * 2 ** 32
  return bytes
}

const variants: { name: string; size: string; args: string[]; old?: true }[] = [
  { name: 'newest defaults', size: '320m', args: [] },
  { name: '1k blocks', size: '320m', args: ['-b', 'size=1k'] },
  { name: '64k blocks', size: '1g', args: ['-b', 'size=64k'] },
  { name: 'no rmapbt, no reflink', size: '320m', args: ['-m', 'rmapbt=0,reflink=0'] },
  {
    name: 'old counters and times, no finobt, no sparse inodes',
    size: '320m',
    args: ['-i', 'nrext64=0,sparse=0', '-m', 'bigtime=0,finobt=0,inobtcount=0,rmapbt=0,reflink=0'],
  },
  { name: '6.1 defaults', size: '320m', args: [], old: true },
]

const prepare = `
for f in a b c d; do echo $f > $f; done
head -c 3m /dev/urandom > e; cp --reflink=auto e f; cp --reflink=auto e g
$XFS_IO -f -c 'falloc 0 3m' h
`

function ours(twin: Twin): void {
  for (const name of ['a', 'b', 'c', 'd']) {
    twin.create(name, 0o644)
    twin.write(name, 0, Buffer.from(`${name}\n`))
  }
  const bytes = seeded(5).bytes(3 * 2 ** 20)
  for (const name of ['e', 'f', 'g', 'h']) twin.create(name, 0o644)
  twin.write('e', 0, bytes)
  for (const name of ['f', 'g'])
    if (outcome(() => twin.clone('e', name, { srcOffset: 0, dstOffset: 0, length: 0 })) !== 'ok')
      twin.write(name, 0, bytes)
  twin.allocate('h', 'alloc', 0, 3 * 2 ** 20)
}

for (const { name, size, args, old } of variants) {
  test(`random writes and cuts in files of the kernel: ${name}`, (t) => {
    const image = join(scratch(t), 'a.img')
    makeImage(image, size, args, old ? tools.oldMkfs : tools.mkfs)
    fill(image, prepare, ours)
    const files = manifest(image)
    const next = random(7)
    let volume = Volume.open(openFile(image, 'rw'), { write: true })
    const { blocksize } = volume.geometry
    const models = files
      .filter((file) => file.hash)
      .map(({ path, ino }) => ({ path, ino, bytes: readFile(openInode(volume, ino)) }))
    for (let step = 0; step < 300; step++) {
      const model = models[Math.floor(next() * models.length)]
      assert.ok(model)
      if (next() < 0.7) {
        const offset = Math.floor(next() * 4_000_000)
        const length = Math.floor(next() ** 4 * 300_000) + 1
        const bytes = pattern(length, next)
        assert.equal(writeFile(volume, model.ino, offset, bytes), length)
        if (offset + length > model.bytes.length) {
          const longer = new Uint8Array(offset + length)
          longer.set(model.bytes)
          model.bytes = longer
        }
        model.bytes.set(bytes, offset)
      } else {
        const startoff = Math.floor((next() * 4_000_000) / blocksize)
        const count = Math.floor(next() ** 4 * 100) + 1
        withTransaction(volume, (tx) =>
          assert.equal(unmapRange(tx, openInode(volume, model.ino, tx), 'data', startoff, count), 0),
        )
        model.bytes.fill(0, startoff * blocksize, (startoff + count) * blocksize)
      }
      if (step % 50 === 49) {
        volume.close()
        assert.equal(repairSays(image), '', `step ${step}`)
        volume = Volume.open(openFile(image, 'rw'), { write: true })
        for (const { ino, bytes, path } of models)
          assert.ok(Buffer.from(bytes).equals(readFile(openInode(volume, ino))), `step ${step}: ${path}`)
      }
    }
    const lists = new Map(models.map(({ path, ino }) => [path, [...extents(openInode(volume, ino), 'data')].length]))
    volume.close()
    for (const file of manifest(image)) {
      const model = models.find(({ path }) => path === file.path)
      if (!model) continue
      assert.equal(file.size, BigInt(model.bytes.length))
      assert.equal(file.hash, sha(model.bytes), file.path)
      assert.ok(lists.has(file.path))
    }
    assert.equal(repairSays(image), '')
  })
}

import { sha256 as sha } from './support.ts'

for (const block of ['1k', '4k']) {
  test(`a file of many extents grows into a tree and shrinks out of it: ${block} blocks`, (t) => {
    const image = join(scratch(t), 'a.img')
    makeImage(image, '320m', ['-b', `size=${block}`])
    fill(image, 'echo x > f', (twin) => {
      twin.create('f', 0o644)
      twin.write('f', 0, Buffer.from('x\n'))
    })
    const ino = manifest(image).find((file) => file.path === '/f')?.ino
    assert.ok(ino)
    let volume = Volume.open(openFile(image, 'rw'), { write: true })
    const { blocksize } = volume.geometry
    const count = 6000
    const data = pattern(blocksize, random(3))
    for (let i = 0; i < count; i++) writeFile(volume, ino, ((i * 2 * 2357) % (count * 2)) * blocksize, data)
    let inode = openInode(volume, ino)
    assert.equal(extentCount(inode, 'data'), count)
    assert.equal(forkFormat(inode, 'data'), 3)
    volume.close()
    assert.equal(repairSays(image), '')
    volume = Volume.open(openFile(image, 'rw'), { write: true })
    let left = 0
    for (let more = true; more; ) {
      withTransaction(volume, (tx) => {
        const inode = openInode(volume, ino, tx)
        left = unmapRange(tx, inode, 'data', 20, 2 ** 40, { maxExtents: 500 })
        more = left > 0
        updateInode(tx, inode, { size: (left + 20) * blocksize })
      })
    }
    inode = openInode(volume, ino)
    assert.equal(extentCount(inode, 'data'), 10)
    assert.equal(forkFormat(inode, 'data'), 2)
    assert.equal(inode.nblocks, 10)
    volume.close()
    assert.equal(repairSays(image), '')
  })
}
