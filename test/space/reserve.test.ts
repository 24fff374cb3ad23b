import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { XfsError } from '../../src/errors.ts'
import { Agf } from '../../src/format/ag.ts'
import { Superblock } from '../../src/format/sb.ts'
import { allocExtent } from '../../src/space/alloc.ts'
import { takeFree } from '../../src/space/freespace.ts'
import { refcountUpdate } from '../../src/space/refcount.ts'
import { agMaxLevels, freeForUsers, isCritical, reservations } from '../../src/space/reserve.ts'
import { rmapUpdate } from '../../src/space/rmap.ts'
import { mapBlocks, rmapRec } from '../../src/space/rmaprecs.ts'
import { Transaction, withTransaction } from '../../src/tx/transaction.ts'
import type { Volume } from '../../src/volume.ts'
import { skip as oracle } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'
import { audit } from './audit.ts'
import { content, makeImage, open } from './images.ts'

const noMount = oracle.kernel

/** statfs of the mounted filesystem. */
function statfsOf(image: Uint8Array): { bavail: number } {
  const folder = tempDir()
  const file = join(folder, 'image')
  const mount = join(folder, 'mount')
  writeFileSync(file, image)
  mkdirSync(mount)
  execFileSync('mount', ['-o', 'loop', file, mount], { stdio: 'pipe' })
  try {
    return statfsSync(mount)
  } finally {
    execFileSync('umount', [mount])
  }
}

test('free blocks for users are what the kernel shows', { skip: noMount }, () => {
  for (const options of [
    [],
    ['-b', 'size=1024'],
    ['-m', 'rmapbt=0'],
    ['-m', 'reflink=0'],
    ['-m', 'finobt=0'],
    ['-m', 'inobtcount=0'],
  ]) {
    const image = makeImage(64, ...options)
    assert.equal(freeForUsers(open(image).volume), statfsOf(image).bavail, options.join(' '))
  }
})

test('the reservations of a group', () => {
  const { volume } = open(makeImage(64))
  assert.deepEqual(reservations(volume, 0).metadata.used, 2)
  assert.deepEqual(agMaxLevels(volume.geometry).alloc >= 2, true)
  const { freeblks } = Agf.fields
  const free = Array.from({ length: volume.geometry.agcount }, (_, agno) => freeblks.get(volume.agf(agno).view, 0))
  assert.ok(freeForUsers(volume) > 0)
  assert.ok(freeForUsers(volume) < free.reduce((sum, blocks) => sum + blocks, 0))
})

/** Allocate blocks, including reservations, until AG 0 has `leave` free ones. */
function drain(volume: Volume, leave: number): void {
  withTransaction(volume, (tx) => {
    let free = Agf.fields.freeblks.get(volume.agf(0, tx).view, 0)
    while (free > leave) {
      const run = takeFree(tx, 0, { minLength: 1, maxLength: free - leave, alignment: 1 })
      assert.ok(run)
      mapBlocks(tx, 0, rmapRec(run.agbno, run.length, { owner: 128, offset: run.agbno }))
      const sb = tx.edit(volume.superblock(tx))
      Superblock.fields.fdblocks.set(sb, 0, Superblock.fields.fdblocks.get(sb, 0) - run.length)
      free = Agf.fields.freeblks.get(volume.agf(0, tx).view, 0)
    }
  })
}

test('a group that is nearly full is critical; users get nothing of what is reserved', () => {
  const { volume } = open(makeImage(64, '-d', 'agcount=1'))
  assert.equal(isCritical(volume, 0), false)
  const { metadata, rmapbt } = reservations(volume, 0)
  const asked = metadata.asked + rmapbt.asked
  drain(volume, asked - 20)
  audit(volume)
  const isNoSpace = (error: unknown): boolean => error instanceof XfsError && error.code === 'NOSPC'
  assert.throws(() => withTransaction(volume, (tx) => allocExtent(tx, { minLength: 1, maxLength: 1 })), isNoSpace)
  assert.equal(isCritical(volume, 0), false)
  // The trees may still grow.
  const tx = new Transaction(volume)
  for (let i = 0; i < 10; i++) allocExtent(tx, { minLength: 1, maxLength: 1, reserve: 'metadata' })
  tx.cancel()
  drain(volume, metadata.asked)
  assert.equal(isCritical(volume, 0), true)
})

for (const [name, options] of [
  ['with rmapbt', []],
  ['without rmapbt', ['-m', 'rmapbt=0,reflink=1']],
] as const) {
  test(`with any number of free blocks an operation succeeds or changes nothing, ${name}`, () => {
    const full = open(makeImage(16, '-b', 'size=1024', '-d', 'agcount=1', ...options))
    const field = withTransaction(full.volume, (tx) =>
      allocExtent(tx, { minLength: 3000, maxLength: 3000, owner: { owner: 128 } }),
    )
    // Below this the refcountbt gets no blocks. Around it the operation fails at different points.
    const { rmapbt } = reservations(full.volume, 0)
    const edge = rmapbt.asked - rmapbt.used
    drain(full.volume, edge + 200)
    full.volume.sync()
    const image = content(full.device)
    let failures = 0
    let successes = 0
    for (const leave of [0, 1, 2, 3, 5, 9, ...Array.from({ length: 40 }, (_, i) => edge + 5 * i)]) {
      const { device, volume } = open(image)
      drain(volume, leave)
      volume.sync()
      const before = content(device)
      const tx = new Transaction(volume)
      try {
        for (let b = 0; b < 3000; b += 2) {
          const fsbno = field.fsbno + b
          tx.defer(refcountUpdate, { op: 'increase', fsbno, blockcount: 1 })
          tx.defer(rmapUpdate, { op: 'map', owner: 130, fork: 'data', startoff: 7 * b, fsbno, blockcount: 1 })
        }
        tx.commit()
        successes++
        audit(volume)
      } catch (error) {
        assert.ok(error instanceof XfsError && error.code === 'NOSPC', String(error))
        tx.cancel()
        failures++
        volume.sync()
        assert.ok(Buffer.from(content(device)).equals(before), `with ${leave} blocks left`)
      }
    }
    assert.ok(failures > 5 && successes > 2, `${failures} failures, ${successes} successes`)
  })
}
