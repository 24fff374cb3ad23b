import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { records } from '../../src/btree/cursor.ts'
import { openTree } from '../../src/btree/roots.ts'
import { readFile } from '../../src/data/data.ts'
import { falloc, fpunch, truncate } from '../../src/data/fallocate.ts'
import { writeFile, writeWithin } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { openFile } from '../../src/device/file.ts'
import { XfsError } from '../../src/errors.ts'
import { DIFLAGS2 } from '../../src/format/dinode.ts'
import { Superblock } from '../../src/format/sb.ts'
import { freeInode } from '../../src/inode/ialloc.ts'
import { openInode, updateInode } from '../../src/inode/inode.ts'
import { extents } from '../../src/mapping/extents.ts'
import { sharedBlocks } from '../../src/mapping/runs.ts'
import { freeForUsers } from '../../src/space/reserve.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { allocInode } from '../support/newinode.ts'
import { random } from '../support/random.ts'
import { fill, makeImage, manifest, repairSays, scratch } from './support.ts'
import type { Twin } from './twin.ts'

const prepare = 'head -c 400001 /dev/urandom > a; cp --reflink=always a b; cp --reflink=always a c; echo x > d'

function ours(twin: Twin): void {
  for (const name of ['a', 'b', 'c', 'd']) twin.create(name, 0o644)
  twin.write('a', 0, random(1).bytes(400_001))
  for (const name of ['b', 'c']) twin.clone('a', name, { srcOffset: 0, dstOffset: 0, length: 0 })
  twin.write('d', 0, Buffer.from('x\n'))
}

function inosOf(image: string): Map<string, number> {
  return new Map(manifest(image).map((file) => [file.path.slice(1), file.ino]))
}
const shared = (volume: Volume, ino: number): number => {
  const inode = openInode(volume, ino)
  return [...extents(inode, 'data')].reduce((sum, extent) => sum + sharedBlocks(inode, extent), 0)
}
const staging = (volume: Volume): number =>
  Array.from(
    { length: volume.geometry.agcount },
    (_, agno) => [...records(openTree(volume, 'refcountbt', agno))].filter((rec) => rec.cowflag === 1).length,
  ).reduce((a, b) => a + b)

test('a write into shared blocks changes one file only', (t) => {
  const image = join(scratch(t), 'a.img')
  makeImage(image, '320m')
  fill(image, prepare, ours)
  const inos = inosOf(image)
  const [a, b, c] = ['a', 'b', 'c'].map((name) => inos.get(name) as number) as [number, number, number]
  const volume = Volume.open(openFile(image, 'rw'), { write: true })
  const old = readFile(openInode(volume, a))
  assert.equal(shared(volume, b), 98)
  writeFile(volume, b, 10_000, new Uint8Array(5_000).fill(1))
  const expected = old.slice()
  expected.fill(1, 10_000, 15_000)
  assert.deepEqual([shared(volume, a), shared(volume, b), shared(volume, c)], [98, 96, 98])
  fpunch(volume, b, 50_000, 10_000)
  expected.fill(0, 50_000, 60_000)
  truncate(volume, b, 300_000)
  writeFile(volume, b, 350_000, new Uint8Array(10).fill(2))
  const grown = new Uint8Array(350_010)
  grown.set(expected.subarray(0, 300_000))
  grown.fill(2, 350_000)
  assert.ok(Buffer.from(readFile(openInode(volume, b))).equals(grown))
  assert.ok(Buffer.from(readFile(openInode(volume, a))).equals(old))
  assert.ok(Buffer.from(readFile(openInode(volume, c))).equals(old))
  assert.equal(staging(volume), 0)
  truncate(volume, a, 0)
  assert.equal(openInode(volume, a).reflink, false)
  volume.close()
  assert.equal(repairSays(image), '')
  const files = new Map(manifest(image).map((file) => [file.path.slice(1), file]))
  assert.equal(files.get('b')?.size, 350_010n)
})

test('the hint for copy on write decides how much is reserved, not what is mapped', (t) => {
  const image = join(scratch(t), 'a.img')
  makeImage(image, '320m')
  fill(image, prepare, ours)
  const b = inosOf(image).get('b') as number
  const volume = Volume.open(openFile(image, 'rw'), { write: true })
  withTransaction(volume, (tx) => {
    const inode = openInode(volume, b, tx)
    updateInode(tx, inode, { flags2: inode.flags2 | DIFLAGS2.cowextsize, cowextsize: 16 })
  })
  const free = freeForUsers(volume)
  writeFile(volume, b, 20 * 4096, new Uint8Array(4096).fill(1))
  writeFile(volume, b, 97 * 4096, new Uint8Array(100).fill(1))
  assert.equal(freeForUsers(volume), free - 2)
  assert.equal(shared(volume, b), 96)
  assert.equal(staging(volume), 0)
  volume.close()
  assert.equal(repairSays(image), '')
})

/** A device whose n-th write from now on fails, once. */
function faulty(device: Device): Device & { failAt: number } {
  const self = {
    failAt: 0,
    size: device.size,
    readOnly: device.readOnly,
    read: (into: Uint8Array, position: number) => device.read(into, position),
    write(bytes: Uint8Array, position: number) {
      if (self.failAt > 0 && --self.failAt === 0) throw new XfsError('IO', 'the device fails')
      device.write(bytes, position)
    },
    zero: (position: number, length: number) => device.zero(position, length),
    flush: () => device.flush(),
    close: () => device.close(),
  }
  return self
}

test('a device that fails while shared blocks are copied: the file is as it was, nothing stays reserved', (t) => {
  const image = join(scratch(t), 'a.img')
  makeImage(image, '320m')
  fill(image, prepare, ours)
  const b = inosOf(image).get('b') as number
  const device = faulty(openFile(image, 'rw'))
  const volume = Volume.open(device, { write: true })
  const old = readFile(openInode(volume, b))
  const { fdblocks } = Superblock.decode(volume.superblock().view)
  device.failAt = 1
  assert.throws(
    () => writeFile(volume, b, 4096, new Uint8Array(100_000).fill(1)),
    (error: unknown) => error instanceof XfsError && error.code === 'IO',
  )
  assert.equal(staging(volume), 0)
  assert.equal(Superblock.decode(volume.superblock().view).fdblocks, fdblocks)
  assert.ok(Buffer.from(readFile(openInode(volume, b))).equals(old))
  volume.close()
  assert.equal(repairSays(image), '')
})

for (const block of ['1k', '4k']) {
  test(`no space: a transaction that runs out is undone to the byte: ${block} blocks`, (t) => {
    const image = join(scratch(t), 'a.img')
    makeImage(image, '320m', ['-b', `size=${block}`])
    fill(
      image,
      `${prepare}; head -c 1m /dev/zero > e; { for i in $(seq 0 2 200); do echo "fpunch $((i * 4096)) 4096"; done; } | $XFS_IO e`,
      (twin) => {
        ours(twin)
        twin.create('e', 0o644)
        twin.write('e', 0, new Uint8Array(2 ** 20))
        for (let i = 0; i <= 200; i += 2) twin.allocate('e', 'punch', i * 4096, 4096)
      },
    )
    const inos = inosOf(image)
    const [b, d, e] = ['b', 'd', 'e'].map((name) => inos.get(name) as number) as [number, number, number]
    const volume = Volume.open(openFile(image, 'rw'), { write: true })
    const { blocksize } = volume.geometry
    falloc(volume, d, 0, (freeForUsers(volume) - 40) * blocksize, { keepSize: true })
    const state = () =>
      JSON.stringify([
        Superblock.decode(volume.superblock().view),
        ...Array.from({ length: volume.geometry.agcount }, (_, agno) => [
          Buffer.from(volume.agf(agno).bytes).toString('hex'),
          [...records(openTree(volume, 'bnobt', agno))],
          [...records(openTree(volume, 'rmapbt', agno))],
          [...records(openTree(volume, 'refcountbt', agno))],
          [...records(openTree(volume, 'inobt', agno))],
        ]),
        [b, d, e].map((ino) => [
          Buffer.from(openInode(volume, ino).buf.bytes).toString('hex'),
          [...extents(openInode(volume, ino), 'data')],
        ]),
      ])
    const before = state()
    const noSpace = (error: unknown): boolean => error instanceof XfsError && error.code === 'NOSPC'
    // Refused before anything changes.
    assert.throws(() => writeFile(volume, b, 0, new Uint8Array(100 * blocksize)), noSpace)
    assert.throws(() => writeFile(volume, e, 0, new Uint8Array(2 ** 20)), noSpace)
    assert.throws(() => falloc(volume, e, 0, 2 ** 20), noSpace)
    assert.equal(state(), before)
    // In the middle of a transaction, after everything that can change has changed.
    const huge = (function* () {
      for (;;) yield new Uint8Array(blocksize * 64)
    })()
    assert.throws(
      () =>
        withTransaction(volume, (tx) => {
          const made = allocInode(tx, volume.geometry.sb.rootino, 0o100600)
          freeInode(tx, made)
          writeWithin(tx, openInode(volume, e, tx), 0, huge)
        }),
      noSpace,
    )
    assert.equal(state(), before)
    writeFile(volume, e, 4096, new Uint8Array(4096).fill(9))
    volume.close()
    assert.equal(repairSays(image), '')
  })
}
