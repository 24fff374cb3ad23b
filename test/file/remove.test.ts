import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeFile } from '../../src/data/write.ts'
import { openFile } from '../../src/device/file.ts'
import { Superblock } from '../../src/format/sb.ts'
import { forkBytes, openInode, updateInode } from '../../src/inode/inode.ts'
import { allocateRange } from '../../src/mapping/bmap.ts'
import { addAttrFork } from '../../src/mapping/fork.ts'
import { dropInode, finishRemoval } from '../../src/namespace/remove.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { allocInode } from '../support/newinode.ts'
import { makeImage, repairSays, scratch } from './support.ts'

for (const block of ['1k', '4k']) {
  test(`inodes that have lost their last link go with all they have: ${block} blocks`, (t) => {
    const image = join(scratch(t), 'a.img')
    makeImage(image, '320m', ['-b', `size=${block}`])
    const volume = Volume.open(openFile(image, 'rw'), { write: true })
    const { rootino } = volume.geometry.sb
    const { blocksize } = volume.geometry
    const counters = () => {
      const { icount, ifree, fdblocks } = Superblock.decode(volume.superblock().view)
      return [icount, ifree, fdblocks]
    }
    const before = counters()
    const inos: number[] = []
    for (const [extents, attrs] of [
      [0, 0],
      [5, 0],
      [200, 3],
      [250, 20],
      [256, 0],
      [3000, 0],
      [3000, 300],
    ] as const) {
      const ino = withTransaction(volume, (tx) => allocInode(tx, rootino, 0o100600, { nlink: 0 }).ino)
      inos.push(ino)
      for (let i = 0; i < extents; i++) writeFile(volume, ino, i * 2 * blocksize, new Uint8Array(10).fill(1))
      withTransaction(volume, (tx) => {
        const inode = openInode(volume, ino, tx)
        addAttrFork(tx, inode)
        for (let i = 0; i < attrs; i++) allocateRange(tx, inode, 'attr', i * 2, 1)
      })
    }
    const link = withTransaction(volume, (tx) => {
      const inode = allocInode(tx, rootino, 0o120777, { nlink: 0 })
      forkBytes(inode, 'data').set([1, 2, 3])
      updateInode(tx, inode, { size: 3 })
      inode.view.setInt8(inode.at + 5, 1)
      return inode.ino
    })
    for (const ino of [link, ...inos]) {
      const more = withTransaction(volume, (tx) => dropInode(tx, openInode(volume, ino, tx)))
      if (more) finishRemoval(volume, ino)
    }
    assert.deepEqual(counters(), before)
    volume.close()
    assert.equal(repairSays(image), '')
  })
}
