import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { findPartition, partitions, partitionWindow } from '../../src/device/partition.ts'
import { XfsError } from '../../src/errors.ts'
import { crc32 } from '../../src/util/crc32.ts'
import { random } from '../support/random.ts'

const MIB = 2 ** 20
const code = (expected: string) => (error: unknown) => error instanceof XfsError && error.code === expected

/** A boot record at `sector`: entries of type, start, count. */
function writeMbr(device: Device, sector: number, entries: readonly (readonly [number, number, number])[]): void {
  const bytes = new Uint8Array(512)
  const view = new DataView(bytes.buffer)
  view.setUint16(510, 0xaa55, true)
  for (const [index, [type, start, count]] of entries.entries()) {
    view.setUint8(446 + 16 * index + 4, type)
    view.setUint32(446 + 16 * index + 8, start, true)
    view.setUint32(446 + 16 * index + 12, count, true)
  }
  device.write(bytes, sector * 512)
}

const LINUX_DATA = [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4]

/** A GPT with its header at `lba` and its entries at `entriesAt`. */
function writeGpt(device: Device, sectorSize: number, lba: number, entriesAt: number): void {
  writeMbr(device, 0, [[0xee, 1, 0xffffffff]])
  const entries = new Uint8Array(128 * 128)
  const entry = new DataView(entries.buffer)
  const parts = [
    [1, MIB, 20 * MIB, 'root'],
    [3, 21 * MIB, 10 * MIB, 'däta'],
  ] as const
  for (const [number, offset, size, name] of parts) {
    const at = (number - 1) * 128
    entries.set(LINUX_DATA, at)
    entry.setUint32(at + 32, offset / sectorSize, true)
    entry.setUint32(at + 40, (offset + size) / sectorSize - 1, true)
    for (const [index, char] of [...name].entries()) entry.setUint16(at + 56 + 2 * index, char.charCodeAt(0), true)
  }
  const header = new Uint8Array(512)
  const view = new DataView(header.buffer)
  header.set(Buffer.from('EFI PART'))
  view.setUint32(12, 92, true)
  view.setUint32(72, entriesAt, true)
  view.setUint32(80, 128, true)
  view.setUint32(84, 128, true)
  view.setUint32(88, crc32(entries), true)
  view.setUint32(16, crc32(header.subarray(0, 92)), true)
  device.write(header, lba * sectorSize)
  device.write(entries, entriesAt * sectorSize)
}

const gptExpected = [
  { number: 1, offset: MIB, size: 20 * MIB, type: '0fc63daf-8483-4772-8e79-3d69d8477de4', name: 'root' },
  { number: 3, offset: 21 * MIB, size: 10 * MIB, type: '0fc63daf-8483-4772-8e79-3d69d8477de4', name: 'däta' },
]

test('an image without a table has no partitions', () => {
  assert.deepEqual(partitions(memoryDevice(MIB)), [])
  assert.deepEqual(partitions(memoryDevice(100)), [])
  assert.throws(() => findPartition(memoryDevice(MIB), 1), code('INVAL'))
})

test('MBR: primary and logical partitions', () => {
  const device = memoryDevice(64 * MIB)
  writeMbr(device, 0, [
    [0x83, 2048, 4096],
    [0x05, 10_000, 60_000],
    [0, 0, 0],
    [0x07, 80_000, 1000],
  ])
  writeMbr(device, 10_000, [
    [0x83, 2048, 100],
    [0x05, 5000, 5000],
  ])
  writeMbr(device, 15_000, [[0x82, 10, 200]])
  const found = partitions(device).map(({ number, offset, size, type }) => [number, offset / 512, size / 512, type])
  assert.deepEqual(found, [
    [1, 2048, 4096, '83'],
    [4, 80_000, 1000, '07'],
    [5, 12_048, 100, '83'],
    [6, 15_010, 200, '82'],
  ])
  assert.equal(findPartition(device, 6).offset, 15_010 * 512)
  assert.throws(() => findPartition(device, 2), /no partition 2; the table has 1, 4, 5, 6/)
})

test('MBR: a loop of extended records ends', () => {
  const device = memoryDevice(MIB)
  writeMbr(device, 0, [[0x0f, 100, 1000]])
  writeMbr(device, 100, [
    [0x83, 1, 1],
    [0x05, 0, 100],
  ])
  assert.equal(partitions(device).length, 1)
})

test('MBR: a partition outside of the image', () => {
  const device = memoryDevice(MIB)
  writeMbr(device, 0, [[0x83, 2040, 100]])
  assert.throws(() => partitionWindow(device, findPartition(device, 1)), code('IO'))
})

for (const sectorSize of [512, 4096]) {
  test(`GPT: sectors of ${sectorSize}, and the copy where the first is damaged`, () => {
    const device = memoryDevice(64 * MIB)
    const last = device.size / sectorSize - 1
    writeGpt(device, sectorSize, 1, 2)
    writeGpt(device, sectorSize, last, last - 32)
    assert.deepEqual(partitions(device), gptExpected)
    device.write(new Uint8Array([1]), 2 * sectorSize + 40) // an entry of the first table
    assert.deepEqual(partitions(device), gptExpected)
    device.zero(sectorSize, 512)
    assert.deepEqual(partitions(device), gptExpected)
    device.zero(last * sectorSize, 512)
    assert.throws(() => partitions(device), code('CORRUPT'))
  })
}

test('random bytes give partitions or an XfsError', () => {
  const rng = random(3)
  for (let round = 0; round < 200; round++) {
    const device = memoryDevice(MIB)
    writeGpt(device, 512, 1, 2)
    if (rng.chance(0.5))
      writeMbr(device, 0, [
        [0x05, rng.int(3000), rng.int(2 ** 32)],
        [rng.int(256), rng.int(2 ** 32), rng.int(2 ** 32)],
      ])
    for (let i = 0; i < 20; i++) device.write(rng.bytes(1), rng.int(512 * 5))
    try {
      partitions(device)
    } catch (error) {
      assert.ok(error instanceof XfsError, String(error))
    }
  }
})
