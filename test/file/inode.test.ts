import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { XfsError } from '../../src/errors.ts'
import { FILE_TYPES } from '../../src/format/dinode.ts'
import { decodeTime, encodeTime, fixedClock } from '../../src/format/time.ts'
import { deviceNumber, inodeAt, openInode, touchInode, updateInode } from '../../src/inode/inode.ts'
import { Transaction, withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { fill, makeImage, manifest, repairSays, scratch } from './support.ts'

test('both forms of a timestamp hold what they are given, as far as they reach', () => {
  for (const bigtime of [true, false]) {
    for (const seconds of [-(2 ** 31), -1, 0, 1, 1_700_000_000, 2 ** 31 - 2]) {
      for (const nanoseconds of [0, 1, 999_999_999]) {
        assert.deepEqual(decodeTime(encodeTime({ seconds, nanoseconds }, bigtime), bigtime), { seconds, nanoseconds })
      }
    }
  }
  const late = { seconds: 16_299_260_424, nanoseconds: 0 }
  assert.deepEqual(decodeTime(encodeTime({ seconds: 10_000_000_000, nanoseconds: 5 }, true), true), {
    seconds: 10_000_000_000,
    nanoseconds: 5,
  })
  assert.deepEqual(decodeTime(encodeTime({ seconds: 2 ** 50, nanoseconds: 5 }, true), true), late)
  assert.deepEqual(decodeTime(encodeTime({ seconds: 2 ** 40, nanoseconds: 5 }, false), false), {
    seconds: 2 ** 31 - 1,
    nanoseconds: 0,
  })
  assert.deepEqual(decodeTime(encodeTime({ seconds: -(2 ** 40), nanoseconds: 5 }, true), true), {
    seconds: -(2 ** 31),
    nanoseconds: 0,
  })
})

for (const [name, args] of [
  ['bigtime', []],
  ['old times', ['-m', 'bigtime=0', '-i', 'nrext64=0']],
] as const) {
  test(`what is set in an inode, the kernel sees: ${name}`, (t) => {
    const image = join(scratch(t), 'a.img')
    makeImage(image, '320m', args)
    fill(image, 'echo x > a; mknod b b 8 77', (twin) => {
      twin.create('a', 0o644)
      twin.write('a', 0, Buffer.from('x\n'))
      twin.mknod('b', FILE_TYPES.blk | 0o644, { major: 8, minor: 77 })
    })
    const [a, b] = ['/a', '/b'].map((path) => manifest(image).find((file) => file.path === path)?.ino as number) as [
      number,
      number,
    ]
    const volume = Volume.open(openFile(image, 'rw'), { write: true, now: fixedClock(1_234_567_890, 123_456_789) })
    const before = openInode(volume, a).changeCount
    const mtime = { seconds: name === 'bigtime' ? 5_000_000_000 : 2_000_000_000, nanoseconds: 1 }
    withTransaction(volume, (tx) => {
      const inode = openInode(volume, a, tx)
      updateInode(tx, inode, {
        mode: 0o104711,
        uid: 2 ** 32 - 2,
        gid: 70_000,
        projid: 2 ** 31 + 5,
        mtime,
        atime: { seconds: -5, nanoseconds: 999_999_999 },
      })
      touchInode(tx, inode, { ctime: true })
    })
    const inode = openInode(volume, a)
    assert.equal(inode.changeCount, before + 1)
    assert.equal(inode.projid, 2 ** 31 + 5)
    assert.deepEqual(deviceNumber(openInode(volume, b)), { major: 8, minor: 77 })
    volume.close()
    assert.equal(repairSays(image), '')
    const seen = manifest(image).find((file) => file.ino === a)
    assert.deepEqual(
      [seen?.mode, seen?.uid, seen?.gid, seen?.mtime, seen?.atime, seen?.ctime],
      [
        0o104711,
        2 ** 32 - 2,
        70_000,
        BigInt(mtime.seconds) * 1_000_000_000n + 1n,
        -4_000_000_001n,
        1_234_567_890_123_456_789n,
      ],
    )
  })
}

test('numbers that are no inode', (t) => {
  const image = join(scratch(t), 'a.img')
  makeImage(image, '320m')
  const volume = Volume.open(openFile(image, 'r'))
  const refused = (ino: number, code: string): void =>
    assert.throws(
      () => openInode(volume, ino),
      (error: unknown) => error instanceof XfsError && error.code === code,
      `${ino}`,
    )
  for (const ino of [-1, 0, 1, 1.5, Number.NaN, 2 ** 53, 2 ** 40]) refused(ino, 'INVAL')
  const { rootino } = volume.geometry.sb
  refused(rootino + 10, 'NOENT') // in the root's chunk, free
  refused(rootino + 1000, 'CORRUPT') // not an inode block
  assert.equal(inodeAt(volume, rootino + 10).mode, 0)
  volume.close()
})

test('a handle stays right when its block leaves the cache, and when a transaction is undone', (t) => {
  const image = join(scratch(t), 'a.img')
  makeImage(image, '320m')
  fill(image, 'echo x > a', (twin) => {
    twin.create('a', 0o644)
    twin.write('a', 0, Buffer.from('x\n'))
  })
  const ino = manifest(image)[0]?.ino as number
  const volume = Volume.open(openFile(image, 'rw'), { write: true })
  const inode = openInode(volume, ino)
  const { mode } = inode
  const tx = new Transaction(volume)
  updateInode(tx, inode, { mode: 0o100000 })
  assert.equal(openInode(volume, ino).mode, 0o100000)
  tx.cancel()
  assert.equal(inode.mode, mode)
  volume.cache.drop(inode.daddr)
  withTransaction(volume, (tx) => updateInode(tx, openInode(volume, ino, tx), { mode: 0o100123 }))
  assert.equal(inode.mode, 0o100123)
  volume.close()
  assert.equal(repairSays(image), '')
})
