import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { readFile } from '../../src/data/data.ts'
import { writeFile } from '../../src/data/write.ts'
import { openFile } from '../../src/device/file.ts'
import { XfsError } from '../../src/errors.ts'
import { BmdrBlock } from '../../src/format/btblock.ts'
import { DIFLAGS2 } from '../../src/format/dinode.ts'
import {
  extentCount,
  forkFormat,
  forkSize,
  forkStart,
  openInode,
  setExtentCount,
  updateInode,
} from '../../src/inode/inode.ts'
import { mapExtent, unmapRange } from '../../src/mapping/bmap.ts'
import { extents } from '../../src/mapping/extents.ts'
import { addAttrFork, defaultForkoff, forkoffFor, setForkoff } from '../../src/mapping/fork.ts'
import { maxExtents, reserveExtents } from '../../src/mapping/maprecords.ts'
import { Transaction, withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { fill, makeImage, manifest, repairSays, scratch } from './support.ts'

const open = (image: string): Volume => Volume.open(openFile(image, 'rw'), { write: true })

for (const [block, inode] of [
  ['1k', 512],
  ['4k', 512],
  ['4k', 2048],
] as const) {
  test(`an attribute fork is created, moved and removed: ${block} blocks, inodes of ${inode}`, (t) => {
    const image = join(scratch(t), 'a.img')
    makeImage(image, '320m', ['-b', `size=${block}`, '-i', `size=${inode}`, '-n', 'parent=0', '-m', 'rmapbt=1'])
    fill(image, 'for i in 0 1 2 3 4 5; do head -c 10 /dev/urandom > $i; done', (twin) => {
      for (const name of ['0', '1', '2', '3', '4', '5']) {
        twin.create(name, 0o644)
        twin.write(name, 0, Buffer.from('0123456789'))
      }
    })
    const inos = new Map(manifest(image).map((file) => [file.path.slice(1), file.ino]))
    let volume = open(image)
    const { blocksize } = volume.geometry
    // None, few, the maximum, too many with an attribute fork, a tree, a higher tree.
    const most = Math.floor((inode - 176) / 16)
    const counts = [0, 3, Math.floor(most / 2), most, most + 10, 3000]
    const contents = new Map<number, Uint8Array>()
    for (const [i, count] of counts.entries()) {
      const ino = inos.get(String(i)) as number
      // If security labels are enabled, the kernel creates one at once.
      withTransaction(volume, (tx) => setForkoff(tx, openInode(volume, ino, tx), 0))
      for (let n = 1; n < count; n++) writeFile(volume, ino, n * 2 * blocksize, new Uint8Array(100).fill(n))
      if (count === 0) withTransaction(volume, (tx) => unmapRange(tx, openInode(volume, ino, tx), 'data', 0, 1))
      assert.equal(extentCount(openInode(volume, ino), 'data'), count)
      assert.equal(forkFormat(openInode(volume, ino), 'data'), count > most ? 3 : 2)
      contents.set(ino, readFile(openInode(volume, ino)))
    }
    const check = (): void => {
      for (const [ino, bytes] of contents) {
        const file = openInode(volume, ino)
        assert.ok(Buffer.from(bytes).equals(readFile(file)))
        assert.equal([...extents(file, 'data')].length, extentCount(file, 'data'))
      }
      volume.close()
      assert.equal(repairSays(image), '')
      volume = open(image)
    }
    check()
    withTransaction(volume, (tx) => {
      for (const ino of contents.keys()) addAttrFork(tx, openInode(volume, ino, tx))
    })
    for (const ino of contents.keys())
      assert.equal(openInode(volume, ino).forkoff, defaultForkoff(openInode(volume, ino)))
    check()
    // Attributes need more space: the data fork shrinks as far as possible.
    for (const ino of contents.keys()) {
      const offset = forkoffFor(openInode(volume, ino), inode - 176 - 13 * 8)
      if (offset > 0) withTransaction(volume, (tx) => setForkoff(tx, openInode(volume, ino, tx), offset))
    }
    for (const ino of contents.keys()) withTransaction(volume, (tx) => setForkoff(tx, openInode(volume, ino, tx), 7))
    check()
    for (const ino of contents.keys()) {
      const file = openInode(volume, ino)
      assert.equal(forkSize(file, 'data'), 56)
      if (forkFormat(file, 'data') === 3)
        assert.ok(BmdrBlock.fields.numrecs.get(file.view, forkStart(file, 'data')) <= 3)
    }
    withTransaction(volume, (tx) => {
      for (const ino of contents.keys()) setForkoff(tx, openInode(volume, ino, tx), 0)
    })
    for (const [i, count] of counts.entries())
      assert.equal(
        forkFormat(openInode(volume, inos.get(String(i)) as number), 'data'),
        count > most ? 3 : 2,
        `${count} extents`,
      )
    check()
    volume.close()
  })
}

test('large extent counters come when they are needed', (t) => {
  const image = join(scratch(t), 'a.img')
  makeImage(image, '320m', ['-n', 'parent=0'])
  fill(image, 'echo x > a', (twin) => {
    twin.create('a', 0o644)
    twin.write('a', 0, Buffer.from('x\n'))
  })
  const ino = manifest(image)[0]?.ino as number
  const volume = open(image)
  withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    updateInode(tx, inode, { flags2: inode.flags2 & ~DIFLAGS2.nrext64 })
    setExtentCount(tx, inode, 'data', 1)
    setExtentCount(tx, inode, 'attr', 0)
    inode.view.setBigUint64(inode.at + 24, 0n)
  })
  assert.equal(extentCount(openInode(volume, ino), 'data'), 1)
  const tx = new Transaction(volume)
  const inode = openInode(volume, ino, tx)
  reserveExtents(tx, inode, 'data', maxExtents('data', false) - 1)
  assert.equal(inode.nrext64, false)
  reserveExtents(tx, inode, 'data', maxExtents('data', false))
  assert.equal(inode.nrext64, true)
  assert.deepEqual([extentCount(inode, 'data'), extentCount(inode, 'attr')], [1, 0])
  assert.throws(
    () => reserveExtents(tx, inode, 'data', 2 ** 48),
    (error: unknown) => error instanceof XfsError && error.code === 'FBIG',
  )
  tx.commit()
  volume.close()
  assert.equal(repairSays(image), '')
})

test('no extent joins another that does not continue it', (t) => {
  const image = join(scratch(t), 'a.img')
  makeImage(image, '64g', ['-n', 'parent=0'])
  fill(image, 'echo x > a', (twin) => {
    twin.create('a', 0o644)
    twin.write('a', 0, Buffer.from('x\n'))
  })
  const ino = manifest(image)[0]?.ino as number
  const volume = open(image)
  const tx = new Transaction(volume)
  const inode = openInode(volume, ino, tx)
  const [first] = extents(inode, 'data')
  assert.ok(first)
  const block = first.startblock + 1000
  const map = (startoff: number, startblock: number, blockcount: number, extentflag = 0): void =>
    mapExtent(tx, inode, 'data', { startoff, startblock, blockcount, extentflag })
  const list = (): number[][] =>
    [...extents(inode, 'data', 1)].map((rec) => [rec.startoff, rec.startblock - block, rec.blockcount, rec.extentflag])
  map(10, block, 5)
  map(20, block + 10, 5)
  map(15, block + 6, 5) // not the same blocks
  assert.deepEqual(list(), [
    [10, 0, 5, 0],
    [15, 6, 5, 0],
    [20, 10, 5, 0],
  ])
  map(25, block + 15, 5, 1) // not the same state
  assert.deepEqual(list().at(-1), [25, 15, 5, 1])
  map(40, block + 20, 5)
  map(50, block + 30, 5)
  map(45, block + 25, 5) // between two extents, contiguous with both
  assert.deepEqual(list().at(-1), [40, 20, 15, 0])
  map(100, block + 100, 2 ** 21 - 3)
  map(2 ** 21 + 97, block + 2 ** 21 + 97, 5) // longer than a record
  assert.equal(list().at(-1)?.[2], 5)
  tx.cancel()
  assert.deepEqual([...extents(openInode(volume, ino), 'data')], [first])
  volume.close()
  assert.equal(repairSays(image), '')
})
