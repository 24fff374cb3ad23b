import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { records } from '../../src/btree/cursor.ts'
import { openTree } from '../../src/btree/roots.ts'
import { removeBlocksFrom } from '../../src/data/fallocate.ts'
import { writeFile, writeWithin } from '../../src/data/write.ts'
import { openFile } from '../../src/device/file.ts'
import { XfsError } from '../../src/errors.ts'
import type { Ino } from '../../src/format/geometry.ts'
import { Superblock } from '../../src/format/sb.ts'
import { allocatedInodes } from '../../src/inode/chunks.ts'
import { freeInode } from '../../src/inode/ialloc.ts'
import { openInode } from '../../src/inode/inode.ts'
import { addUnlinked, removeUnlinked, unlinkedInodes } from '../../src/inode/unlinked.ts'
import { unmapRange } from '../../src/mapping/bmap.ts'
import { extents } from '../../src/mapping/extents.ts'
import { freeForUsers } from '../../src/space/reserve.ts'
import { Transaction, withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { allocInode } from '../support/newinode.ts'
import { fill, makeImage, repairOutput, repairSays, scratch, skipKernel } from './support.ts'

const open = (image: string): Volume => Volume.open(openFile(image, 'rw'), { write: true })
const counters = (volume: Volume) => {
  const { icount, ifree, fdblocks } = Superblock.decode(volume.superblock().view)
  return { icount, ifree, fdblocks }
}
const all = (volume: Volume): number[] =>
  Array.from({ length: volume.geometry.agcount }, (_, agno) => [...allocatedInodes(volume, agno)]).flat()

/** Is the inode in use according to inobt? */
const isAllocated = (volume: Volume, ino: number): boolean =>
  [...allocatedInodes(volume, volume.geometry.inoAgno(ino))].includes(ino as Ino)

/** The messages of xfs_repair, except those about disconnected inodes. */
const complaints = (image: string): string[] =>
  repairOutput(image)
    .split('\n')
    .filter(
      (line) =>
        /bad|wrong|corrupt|mismatch|invalid|inconsist|unknown|missing|free space|would (?!have|move|be)|block.*claim|counted/i.test(
          line,
        ) && !/disconnected|lost\+found|nlinks|link count|No modify flag|sector size mismatch/i.test(line),
    )

for (const [name, args] of [
  ['newest defaults', []],
  ['1k blocks', ['-b', 'size=1k']],
  ['64k blocks', ['-b', 'size=64k']],
  ['2k inodes', ['-i', 'size=2048']],
  ['no finobt', ['-m', 'finobt=0,inobtcount=0,reflink=0,rmapbt=0']],
  ['no sparse inodes', ['-i', 'sparse=0']],
] as const) {
  test(`inodes come and go: ${name}`, (t) => {
    const image = join(scratch(t), 'a.img')
    makeImage(image, name === '64k blocks' ? '1g' : '320m', args)
    let volume = open(image)
    const { rootino } = volume.geometry.sb
    const before = { ...counters(volume), inodes: all(volume) }
    const made: number[] = []
    for (let i = 0; i < 700; i++) {
      made.push(
        withTransaction(volume, (tx) => {
          const inode = allocInode(tx, rootino, 0o100644, { uid: i })
          if (i % 7 === 0) writeWithin(tx, inode, 0, new Uint8Array(i * 10 + 1).fill(i))
          return inode.ino
        }),
      )
    }
    assert.equal(new Set(made).size, 700)
    const inUse = new Set(all(volume))
    for (const ino of made) assert.ok(inUse.has(ino))
    assert.deepEqual(all(volume).length, before.inodes.length + 700)
    volume.close()
    assert.deepEqual(complaints(image), [])
    volume = open(image)
    made.forEach((ino, i) => {
      const inode = openInode(volume, ino)
      assert.equal(inode.uid, i)
      assert.equal(inode.changeCount, i % 7 === 0 ? 2 : 1)
      removeBlocksFrom(volume, ino, 0)
      withTransaction(volume, (tx) => freeInode(tx, openInode(volume, ino, tx)))
      assert.ok(!isAllocated(volume, ino))
    })
    assert.deepEqual(all(volume), before.inodes)
    const { icount, ifree, fdblocks } = counters(volume)
    assert.equal(icount - ifree, before.icount - before.ifree)
    if (name !== '64k blocks') assert.deepEqual({ icount, ifree }, { icount: before.icount, ifree: before.ifree })
    if (name !== '64k blocks')
      assert.ok(before.fdblocks - fdblocks < 8, `${before.fdblocks} free blocks became ${fdblocks}`)
    volume.close()
    assert.equal(repairSays(image), '')
  })
}

test('a full filesystem: sparse chunks, then no inodes, and nothing is lost', (t) => {
  const image = join(scratch(t), 'a.img')
  makeImage(image, '320m')
  let volume = open(image)
  const { rootino } = volume.geometry.sb
  const { blocksize } = volume.geometry
  const before = counters(volume)
  const big = withTransaction(volume, (tx) => allocInode(tx, rootino, 0o100600).ino)
  writeFile(
    volume,
    big,
    0,
    (function* () {
      while (freeForUsers(volume) > 300) yield new Uint8Array(blocksize * 256)
    })(),
  )
  const full = counters(volume)
  assert.throws(
    () => writeFile(volume, big, 2 ** 42, new Uint8Array(2 ** 24)),
    (error: unknown) => error instanceof XfsError && error.code === 'NOSPC',
  )
  assert.deepEqual(counters(volume), full)
  // Gaps of four blocks in AG 1: space for sparse chunks, but not for full ones.
  const { geometry } = volume
  for (const rec of [...extents(openInode(volume, big), 'data')]) {
    if (geometry.agnoOf(rec.startblock) !== 1) continue
    const start = geometry.agbnoOf(rec.startblock)
    for (
      let agbno = Math.ceil(start / 16) * 16 + 4;
      agbno + 4 <= start + rec.blockcount && agbno < 16000;
      agbno += 16
    ) {
      withTransaction(volume, (tx) =>
        unmapRange(tx, openInode(volume, big, tx), 'data', rec.startoff + agbno - start, 4),
      )
    }
  }
  const made: number[] = []
  for (;;) {
    const state = counters(volume)
    try {
      made.push(withTransaction(volume, (tx) => allocInode(tx, rootino, 0o100600).ino))
    } catch (error) {
      assert.ok(error instanceof XfsError && error.code === 'NOSPC', String(error))
      assert.deepEqual(counters(volume), state)
      break
    }
    if (made.length > 20000) break
  }
  const sparse = Array.from({ length: volume.geometry.agcount }, (_, agno) => [
    ...records(openTree(volume, 'inobt', agno)),
  ])
    .flat()
    .filter((rec) => rec.holemask !== 0)
  assert.ok(sparse.length > 0, `${made.length} inodes, no sparse chunk`)
  volume.close()
  assert.deepEqual(complaints(image), [])
  volume = open(image)
  removeBlocksFrom(volume, big, 0)
  for (const ino of [...made, big]) withTransaction(volume, (tx) => freeInode(tx, openInode(volume, ino, tx)))
  const after = counters(volume)
  assert.deepEqual([after.icount, after.ifree], [before.icount, before.ifree])
  assert.ok(before.fdblocks - after.fdblocks < 16)
  volume.close()
  assert.equal(repairSays(image), '')
})

test('the unlinked lists of a group', (t) => {
  const image = join(scratch(t), 'a.img')
  makeImage(image, '320m')
  const volume = open(image)
  const made = Array.from({ length: 200 }, () =>
    withTransaction(volume, (tx) => {
      const inode = allocInode(tx, volume.geometry.sb.rootino, 0o100600, { nlink: 0 })
      addUnlinked(tx, inode)
      return inode.ino
    }),
  )
  assert.deepEqual(
    [...unlinkedInodes(volume, 0)].sort((a, b) => a - b),
    [...made].sort((a, b) => a - b),
  )
  for (const i of [0, 199, 100, ...made.keys()].filter((i, at, list) => list.indexOf(i) === at)) {
    withTransaction(volume, (tx) => {
      const inode = openInode(volume, made[i] as number, tx)
      removeUnlinked(tx, inode)
      freeInode(tx, inode)
    })
  }
  assert.deepEqual([...unlinkedInodes(volume, 0)], [])
  volume.close()
  assert.equal(repairSays(image), '')
})

test('a new file inherits from its directory', { skip: skipKernel }, (t) => {
  const image = join(scratch(t), 'a.img')
  makeImage(image, '320m')
  fill(
    image,
    `
    mkdir d; chgrp 77 d; chmod 2755 d
    $XFS_IO -c 'chproj 42' -c 'chattr +P' -c 'extsize 64k' -c 'cowextsize 128k' -c 'chattr +d' d
    echo x > d/theirs; mkdir d/sub; stat -c %i d d/theirs d/sub > inos
  `,
  )
  const volume = open(image)
  const find = [
    ...allocatedInodes(volume, 0),
    ...allocatedInodes(volume, 1),
    ...allocatedInodes(volume, 2),
    ...allocatedInodes(volume, 3),
  ]
  const heirs = find.map((ino) => openInode(volume, ino)).filter((inode) => inode.projid === 42)
  const parent = heirs.find((inode) => inode.isDirectory && inode.nlink === 3)
  const theirs = heirs.find((inode) => inode.isRegular)
  const sub = heirs.find((inode) => inode.isDirectory && inode.nlink === 2)
  assert.ok(parent && theirs && sub)
  const facts = (inode: typeof parent) => [
    inode.mode,
    inode.gid,
    inode.projid,
    inode.flags,
    inode.flags2,
    inode.extsize,
    inode.cowextsize,
    inode.version,
  ]
  const tx = new Transaction(volume)
  assert.deepEqual(facts(allocInode(tx, parent.ino, 0o100644)), facts(theirs))
  assert.deepEqual(facts(allocInode(tx, parent.ino, 0o40755)), facts(sub))
  tx.cancel()
  volume.close()
  assert.equal(repairSays(image), '')
})
