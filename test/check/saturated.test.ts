import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Cursor, records } from '../../src/btree/cursor.ts'
import { openTree } from '../../src/btree/roots.ts'
import { refcountbt } from '../../src/btree/trees/refcountbt.ts'
import { check } from '../../src/check/check.ts'
import { readFile } from '../../src/data/data.ts'
import { writeFile } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { MAX_REFCOUNT, type RefcountRec } from '../../src/format/btrecs.ts'
import { openInode } from '../../src/inode/inode.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile, unlink } from '../../src/namespace/namespace.ts'
import { reflink } from '../../src/reflink/reflink.ts'
import { unshare } from '../../src/reflink/unshare.ts'
import { repair } from '../../src/repair/repair.ts'
import { changeTree } from '../../src/space/trees.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { damage, placesIn, type Verb, type Victim } from '../repair/victims.ts'
import { judge, readEverything } from '../support/judge.ts'
import { mountImage, repairComplaints, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'

/** A saturated reference count never changes, and its blocks are never freed. */

const MIB = 2 ** 20
const LENGTH = 64 * 4096
const data = Uint8Array.from({ length: LENGTH }, (_, i) => (i * 7) & 0xff)

interface Found extends RefcountRec {
  readonly agno: number
}

function refcounts(device: Device): Found[] {
  const volume = Volume.open(device, { needsRepair: true })
  const found: Found[] = []
  for (let agno = 0; agno < volume.geometry.agcount; agno++)
    for (const record of records(openTree(volume, 'refcountbt', agno))) found.push({ agno, ...record })
  return found
}

/** Files /a and /b share their blocks, with a count of one below the maximum. */
function makeShared(rmapbt: boolean): { device: Device; volume: Volume; a: number; b: number } {
  const device = memoryDevice(48 * MIB)
  mkfs(device, { agcount: 2, features: { rmapbt } })
  const volume = Volume.open(device, { write: true })
  const a = createFile(volume, '/a', 0o644).ino
  const b = createFile(volume, '/b', 0o644).ino
  writeFile(volume, a, 0, data)
  share(volume, a, b)
  volume.sync()
  const [{ agno, ...record }] = refcounts(device) as [Found]
  withTransaction(volume, (tx) => {
    const cursor = new Cursor(changeTree(tx, 'refcountbt', agno))
    cursor.lookup(refcountbt.lowKey(record), 'eq')
    cursor.update({ ...record, refcount: MAX_REFCOUNT - 1 })
  })
  return { device, volume, a, b }
}

const share = (volume: Volume, from: number, to: number): unknown =>
  finish(reflink(volume, from, to, { srcOffset: 0, dstOffset: 0, length: 0 }))

const findings = (device: Device): string[] =>
  check(device, Volume.open(device).geometry).findings.list.map(({ id }) => id)

function withImage<T>(device: Device, use: (image: string) => T): T {
  return withTempDir((folder) => {
    const bytes = new Uint8Array(device.size)
    device.read(bytes, 0)
    writeFileSync(join(folder, 'image'), bytes)
    return use(join(folder, 'image'))
  })
}

for (const rmapbt of [true, false]) {
  test(`changes of files leave a saturated count, and its blocks in use: rmapbt ${rmapbt}`, () => {
    const { device, volume, a, b } = makeShared(rmapbt)
    const c = createFile(volume, '/c', 0o644).ino
    share(volume, a, c)
    volume.sync()
    const saturated = refcounts(device)
    assert.deepEqual(
      saturated.map(({ refcount }) => refcount),
      [MAX_REFCOUNT],
    )
    const steps: (() => unknown)[] = [
      () => share(volume, a, createFile(volume, '/d', 0o644).ino),
      () => writeFile(volume, b, 4096, new Uint8Array(3 * 4096).fill(9)),
      () => finish(unshare(volume, c, { offset: 0, length: LENGTH })),
      () => unlink(volume, '/b'),
      () => unlink(volume, '/d'),
      () => unlink(volume, '/a'),
      () => unlink(volume, '/c'),
    ]
    for (const [i, step] of steps.entries()) {
      step()
      volume.sync()
      assert.deepEqual(refcounts(device), saturated, `step ${i}`)
      assert.deepEqual(findings(device), ['refcountbt.saturated'], `step ${i}`)
    }
    assert.equal(repair(device).changed, false)
    withImage(device, (image) => {
      if (skip.newest === false) assert.equal(repairComplaints(image), undefined)
      if (skip.kernel === false) mountImage(image, readEverything)
    })
  })
}

test('a repair of what else is wrong keeps saturated counts, and their blocks in use', () => {
  for (const rmapbt of [true, false]) {
    const { device, volume, a } = makeShared(rmapbt)
    share(volume, a, createFile(volume, '/c', 0o644).ino)
    writeFile(volume, a, 0, data.subarray(0, 5 * 4096))
    for (const path of ['/b', '/c']) unlink(volume, path)
    const kept = createFile(volume, '/kept', 0o644).ino
    writeFile(volume, kept, 0, data)
    share(volume, kept, createFile(volume, '/copy', 0o644).ino)
    volume.close()
    const { geometry } = Volume.open(device)
    const victim: Victim = { device, geometry, files: new Map(), owned: [], unlinked: new Set() }
    const saturated = refcounts(device)
    const agno = saturated.find(({ refcount }) => refcount === MAX_REFCOUNT)?.agno as number
    const cases: [string, Verb][] = [
      [`agf ${agno}.freeblks`, 'plus 1'],
      ['bnobt block.recs[0].blockcount', 'plus 1'],
      ['cntbt block.numrecs', 'zero'],
      ['refcountbt block.recs[1].refcount', 'plus 1'],
      ...(rmapbt ? ([['rmapbt block.recs[0].owner', 'plus 1']] as [string, Verb][]) : []),
    ]
    for (const [what, verb] of cases) {
      const places = placesIn(victim).filter((one) => one.what === what)
      assert.ok(places.length > 0, what)
      for (const place of places) {
        const copy = overlay(device)
        assert.ok(damage(copy, place, verb, true))
        const { before, after, changed } = repair(copy)
        assert.ok(changed && before.findings.total > 1, what)
        assert.deepEqual(
          after.findings.list.map(({ id }) => id),
          ['refcountbt.saturated'],
          what,
        )
        assert.deepEqual(refcounts(copy), saturated, what)
        assert.deepEqual(readFile(openInode(Volume.open(copy), kept)), data, what)
      }
    }
  }
})

test('a saturated count of blocks that bnobt lists as free, or of metadata, is wrong', () => {
  const { device, volume } = makeShared(true)
  volume.close()
  const { ags } = check(device, Volume.open(device).geometry)
  const [{ agno, ...record }] = refcounts(device) as [Found]
  const free = ags[agno]?.blocks.free
  for (const [startblock, id] of [
    [free?.start[0] as number, 'refcountbt.free'],
    [0, 'refcountbt.metadata'],
  ] as const) {
    const copy = overlay(device)
    const damaged = Volume.open(copy, { write: true })
    withTransaction(damaged, (tx) => {
      const cursor = new Cursor(changeTree(tx, 'refcountbt', agno))
      cursor.lookup(refcountbt.lowKey(record), 'eq')
      cursor.update({ ...record, refcount: 2 })
      const added = { ...record, startblock, blockcount: 1, refcount: MAX_REFCOUNT }
      cursor.lookup(refcountbt.lowKey(added), 'ge')
      cursor.insert(added)
    })
    damaged.close()
    assert.deepEqual(findings(copy), [id])
    repair(copy)
    assert.deepEqual(findings(copy), [])
    withImage(copy, judge)
  }
})
