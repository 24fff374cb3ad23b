import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import { writeFile } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { openFile } from '../../src/device/file.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { deviceAfter, record } from '../../src/device/record.ts'
import { Agf } from '../../src/format/ag.ts'
import { Superblock, setNeedsRepair } from '../../src/format/sb.ts'
import type { BlockType } from '../../src/format/verify/blocktype.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { stamp } from '../../src/format/verify/stamp.ts'
import { addUnlinked } from '../../src/inode/unlinked.ts'
import { loggedCommits } from '../../src/log/checkpoint.ts'
import { logState } from '../../src/log/ring.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { recover } from '../../src/recovery/recover.ts'
import { allocExtent } from '../../src/space/alloc.ts'
import { allocCowExtent } from '../../src/space/refcount.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { edit } from '../repair/victims.ts'
import { type Ran, xfskit } from '../support/cli.ts'
import { baseImage, writeImage } from '../support/crashimages.ts'
import { judge } from '../support/judge.ts'
import { allocInode } from '../support/newinode.ts'
import { deviceAfterCut, drawCut } from '../support/powercut.ts'
import { random } from '../support/random.ts'
import { recordCommands } from '../support/recording.ts'
import { tempDir, withTempDir } from '../support/temp.ts'

/** `xfskit recover` as a user runs it: one process; its exit status and the image are compared. */

const MIB = 2 ** 20
const CUTS = process.env['XFSKIT_LONG'] === '1' ? 100 : 8

/** Run `recover` on the image in a file. */
function recovered(device: Device, look: (ran: Ran, image: string) => void): void {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    writeImage(device, image)
    look(xfskit(['recover', image]), image)
  })
}

const bytesOf = (device: Device): Buffer => {
  const bytes = Buffer.alloc(device.size)
  device.read(bytes, 0)
  return bytes
}

const findings = (device: Device): string[] => check(device, Volume.open(device).geometry).findings.list.map(describe)

function formatted(): { device: Device; volume: Volume } {
  const device = memoryDevice(48 * MIB)
  mkfs(device, { agcount: 2 })
  return { device, volume: Volume.open(device, { write: true, committer: loggedCommits }) }
}

function zeroLog(device: Device): void {
  const { geometry } = Volume.open(device)
  const { logstart, logblocks } = geometry.sb
  device.zero(geometry.fsbToDaddr(logstart as never) * 512, logblocks * geometry.blocksize)
}

test('metadata ahead of a log of zeros: exit status 2, a message to run repair, and no byte changed', () => {
  for (const where of ['AGF', 'bnobt']) {
    const { device, volume } = formatted()
    createFile(volume, '/file', 0o644)
    volume.close()
    zeroLog(device)
    // As the kernel stamps its blocks: with an LSN of the log at that time.
    const { geometry } = volume
    const root = geometry.daddr(1, Agf.fields.bnoroot.get(volume.agf(1).view, 0))
    if (where === 'AGF') setLsn(device, blockTypes.agf, geometry.agHeaderDaddr(1, 1), geometry.sectsize)
    else setLsn(device, blockTypes.bnobt, root, geometry.blocksize)
    const before = bytesOf(device)
    recovered(device, ({ status, stdout }, image) => {
      assert.equal(status, 2, where + stdout)
      assert.match(stdout, /^not recovered: .*LSN 7:0 is ahead of the log \(1:0\).*; run xfskit repair\n$/)
      assert.ok(readFileSync(image).equals(before), where)
      const repaired = xfskit(['repair', image])
      assert.equal(repaired.status, 0, repaired.stdout + repaired.stderr)
      assert.equal(xfskit(['recover', image]).stdout, 'the log is clean\n', where)
      judge(image)
    })
  }
})

function setLsn(device: Device, type: BlockType, daddr: number, length: number): void {
  const { geometry } = Volume.open(device)
  const view = new DataView(new ArrayBuffer(length))
  device.read(new Uint8Array(view.buffer), daddr * 512)
  view.setUint32(type.lsnOffset as number, 7)
  stamp(type, view, { geometry, daddr })
  device.write(new Uint8Array(view.buffer), daddr * 512)
}

test('a log of zeros on a filesystem that nothing was written to: clean', () => {
  const device = memoryDevice(48 * MIB)
  mkfs(device, { agcount: 2 })
  zeroLog(device)
  const before = bytesOf(device)
  recovered(device, ({ status, stdout }, image) => {
    assert.deepEqual([status, stdout], [0, 'the log is clean\n'])
    assert.ok(readFileSync(image).equals(before))
  })
})

test('rm of a file of 3,000 extents, cut anywhere: recovered in one run', async () => {
  const folder = tempDir()
  const before = baseImage('fragmented', folder)
  const image = join(folder, 'image')
  writeImage(before, image)
  const { events, status } = await recordCommands(image, [['rm', image, '/fragments']], { syncEvery: 1, trees: false })
  assert.equal(status, 0)
  let unlinked = 0
  for (let i = 0; i < CUTS; i++) {
    const device = deviceAfterCut(before, events, drawCut(events, random(i)))
    const { refused, inodes } = recover(device)
    assert.equal(refused, undefined, `cut ${i}`)
    assert.deepEqual(findings(device), [], `cut ${i}`)
    unlinked += inodes
  }
  assert.ok(unlinked >= CUTS / 4, `${unlinked} cuts in the middle`)
  recovered(deviceAfter(before, events, events.length >> 1), ({ status, stdout, stderr }, file) => {
    assert.deepEqual([status, stderr], [0, ''], stdout)
    assert.match(stdout, /\n1 unlinked inode freed\n/)
    judge(file)
  })
})

test('a damaged image with a dirty log: replayed, exit status 2, and NEEDSREPAIR stays until it is repaired', () => {
  const base = memoryDevice(48 * MIB)
  mkfs(base, { agcount: 2 })
  edit(base, { position: 0, length: 512, crc: Superblock.fields.crc.offset }, (view) => setNeedsRepair(view, true))
  const recorder = record(overlay(base))
  const volume = Volume.open(recorder, { write: true, needsRepair: true, committer: loggedCommits })
  createFile(volume, '/file', 0o644)
  volume.committer.sync() // The changes are in the log and in their places; the log is not closed.
  const { events } = recorder
  const marked = deviceAfter(base, events, events.length)
  const { geometry } = volume
  // A counter of the AG that is not in the log.
  edit(marked, { position: geometry.agHeaderDaddr(1, 1) * 512, length: geometry.sectsize, crc: 216 }, (view) =>
    view.setUint32(52, view.getUint32(52) + 1),
  )
  assert.equal(stateOf(marked), 'dirty, marked')
  recovered(marked, ({ status, stdout }, image) => {
    assert.equal(status, 2)
    assert.match(stdout, /^not recovered further: a check finds: AG 1: .*; run xfskit repair$/m)
    const device = openFile(image, 'r')
    assert.equal(stateOf(device), 'clean, marked')
    device.close()
    assert.equal(xfskit(['repair', image]).status, 0)
    judge(image)
    assert.equal(xfskit(['recover', image]).stdout, 'the log is clean\n')
  })
})

function stateOf(device: Device): string {
  const volume = Volume.open(device, { needsRepair: true })
  return `${logState(volume).clean ? 'clean' : 'dirty'}, ${volume.features.has('needsrepair') ? 'marked' : 'not marked'}`
}

test('leftovers on an image whose log is clean are freed', () => {
  const { device, volume } = formatted()
  writeFile(volume, createFile(volume, '/kept', 0o644).ino, 0, new Uint8Array(20000).fill(7))
  const ino = withTransaction(volume, (tx) => {
    const inode = allocInode(tx, volume.geometry.sb.rootino, 0o100600, { nlink: 0 })
    addUnlinked(tx, inode)
    const { fsbno } = allocExtent(tx, { minLength: 10, maxLength: 10 })
    allocCowExtent(tx, fsbno, 10)
    return inode.ino
  })
  writeFile(volume, ino, 0, new Uint8Array(30000).fill(1))
  volume.close()
  assert.equal(stateOf(device), 'clean, not marked')
  recovered(device, ({ status, stdout }, image) => {
    assert.equal(status, 0)
    assert.equal(stdout, '1 unlinked inode freed\n10 CoW staging blocks freed\n')
    judge(image, { kernel: true })
  })
})
