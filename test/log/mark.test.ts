import assert from 'node:assert/strict'
import { test } from 'node:test'
import { writeFile } from '../../src/data/write.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { record } from '../../src/device/record.ts'
import { Superblock } from '../../src/format/sb.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { Volume } from '../../src/volume.ts'

test('NEEDSREPAIR is written alone, without the counters of the change: commits in place', () => {
  const device = memoryDevice(64 * 2 ** 20)
  mkfs(device, {})
  const superblock = (bytes: Uint8Array): Superblock =>
    Superblock.decode(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  const before = new Uint8Array(512)
  device.read(before, 0)
  const recorder = record(device)
  const volume = Volume.open(recorder, { write: true })
  writeFile(volume, createFile(volume, '/file', 0o644).ino, 0, new Uint8Array(100_000))
  volume.sync()
  const writes = recorder.events.flatMap((event) =>
    event.kind === 'write' && event.position === 0 ? [event.bytes] : [],
  )
  assert.equal(writes.length, 3, 'the mark, the superblock in its place, and without the mark')
  const [marked, changed, unmarked] = writes.map(superblock) as [Superblock, Superblock, Superblock]
  const { features_incompat, crc } = marked
  assert.notEqual(features_incompat, superblock(before).features_incompat)
  assert.deepEqual({ ...superblock(before), features_incompat, crc }, marked)
  assert.equal(changed.features_incompat, features_incompat)
  assert.notEqual(changed.fdblocks, marked.fdblocks)
  assert.equal(unmarked.features_incompat, superblock(before).features_incompat)
  assert.equal(unmarked.fdblocks, changed.fdblocks)
})
