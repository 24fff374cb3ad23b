import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import { readFile } from '../../src/data/data.ts'
import { writeFile } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { deviceAfter, record } from '../../src/device/record.ts'
import { openInode } from '../../src/inode/inode.ts'
import { addUnlinked } from '../../src/inode/unlinked.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { recover } from '../../src/recovery/recover.ts'
import { repair } from '../../src/repair/repair.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { judge } from '../support/judge.ts'
import { allocInode } from '../support/newinode.ts'
import { withTempDir } from '../support/temp.ts'
import { edit, inodePlace } from './victims.ts'

/**
 * Unlinked inodes on the lists of an AG with a clean log: only a repair or a recovery frees them.
 */

const MIB = 2 ** 20
const INODES = 70

/** A sound image, except for unlinked inodes with data. */
function withUnlinked(): Device {
  const device = memoryDevice(48 * MIB)
  mkfs(device, { agcount: 2 })
  const volume = Volume.open(device, { write: true })
  writeFile(volume, createFile(volume, '/kept', 0o644).ino, 0, new Uint8Array(20000).fill(7))
  for (let i = 0; i < INODES; i++) {
    const ino = withTransaction(volume, (tx) => {
      const inode = allocInode(tx, volume.geometry.sb.rootino, 0o100600, { nlink: 0 })
      addUnlinked(tx, inode)
      return inode.ino
    })
    if (i % 10 === 0) writeFile(volume, ino, 0, new Uint8Array(10000 + i).fill(i))
  }
  volume.sync()
  return overlay(device)
}

const findings = (device: Device): string[] => check(device, Volume.open(device).geometry).findings.list.map(describe)

test('unlinked inodes on a clean log are freed by repair, after what else is wrong was repaired', () => {
  const device = withUnlinked()
  assert.ok(findings(device).length > 0)
  const dry = repair(overlay(device), { dryRun: true })
  assert.deepEqual([dry.leftovers?.inodes, dry.changed], [INODES, false])
  // Also a wrong counter in the AGF.
  const { geometry } = Volume.open(device)
  edit(device, { position: geometry.agHeaderDaddr(1, 1) * 512, length: geometry.sectsize, crc: 216 }, (view) =>
    view.setUint32(52, view.getUint32(52) + 1),
  )
  const { changed, leftovers, plans, after } = repair(device)
  assert.deepEqual([changed, leftovers?.inodes, plans.length > 0], [true, INODES, true])
  assert.deepEqual(after.findings.list, [])
  assert.deepEqual(findings(device), [])
  assert.equal(repair(device).changed, false)
  withTempDir((folder) => {
    const image = join(folder, 'image')
    const bytes = new Uint8Array(device.size)
    device.read(bytes, 0)
    writeFileSync(image, bytes)
    judge(image)
  })
})

test('a repair that is stopped while it frees unlinked inodes is finished by the next', () => {
  const base = withUnlinked()
  const recorder = record(overlay(base))
  repair(recorder)
  const { events } = recorder
  for (let cut = 0; cut <= events.length; cut += Math.max(1, events.length >> 3)) {
    const device = deviceAfter(base, events, cut)
    recover(device)
    repair(device)
    assert.deepEqual(findings(device), [], `after ${cut} of ${events.length} writes and flushes`)
  }
})

test('an inode on an AGI unlinked list with a directory entry is not freed', () => {
  const device = memoryDevice(48 * MIB)
  mkfs(device, { agcount: 2 })
  const volume = Volume.open(device, { write: true })
  const inode = createFile(volume, '/kept', 0o644)
  writeFile(volume, inode.ino, 0, new Uint8Array(20000).fill(7))
  withTransaction(volume, (tx) => addUnlinked(tx, allocInode(tx, volume.geometry.sb.rootino, 0o100600, { nlink: 0 })))
  volume.sync()
  const { geometry } = volume
  // Its link count is lost, and the head of a list points to it.
  const agino = geometry.inoAgino(inode.ino)
  const target = overlay(device)
  edit(target, inodePlace(geometry, inode.ino), (view) => view.setUint32(16, 0))
  edit(target, { position: geometry.agHeaderDaddr(0, 2) * 512, length: geometry.sectsize, crc: 312 }, (view) =>
    view.setUint32(40 + 4 * (agino % 64), agino),
  )
  const { changed, leftovers, after } = repair(target, { partial: true })
  assert.deepEqual([changed, leftovers, after.facts.isWrong], [true, { inodes: 1, cowBlocks: 0 }, false])
  const kept = openInode(Volume.open(target), inode.ino)
  assert.deepEqual([kept.nlink, readFile(kept)], [1, new Uint8Array(20000).fill(7)])
})
