import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setAttr } from '../../src/attr/attr.ts'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { openImage } from '../../src/image.ts'
import type { ForkName } from '../../src/inode/inode.ts'
import { openInode } from '../../src/inode/inode.ts'
import { mapExtent } from '../../src/mapping/bmap.ts'
import { findExtent } from '../../src/mapping/extents.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile, mkdir } from '../../src/namespace/namespace.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'

/** Directories and attributes whose block maps name the same blocks over and over. */

const NAMES = 10
const REPEATS = 2000

interface Shape {
  readonly fork?: ForkName
  /** Blocks of a directory block. */
  readonly dirblocks?: number
  /** Blocks of each mapping, all of them from the first block of the fork on. */
  readonly length?: number
}

/**
 * A directory with names and attributes, one fork of which maps its first block `REPEATS` times
 * more.
 */
function repeatedMaps({ fork = 'data', dirblocks = 1, length = 1 }: Shape): Device {
  const device = memoryDevice(256 * 2 ** 20)
  mkfs(device, { dirblocksize: dirblocks * 4096, features: { rmapbt: false, reflink: false } })
  const volume = Volume.open(device, { write: true })
  const { ino } = mkdir(volume, '/d', 0o755)
  for (let i = 0; i < NAMES; i++) createFile(volume, `/d/a name that takes some room ${i}`, 0o644)
  withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    setAttr(tx, inode, { space: 0, name: Buffer.from('n') }, new Uint8Array(2000))
    const { startblock } = findExtent(inode, fork, 0, tx) ?? assert.fail('no blocks')
    for (let i = 0; i < REPEATS; i++)
      mapExtent(tx, inode, fork, { extentflag: 0, startoff: 16 + i * length, startblock, blockcount: length })
  })
  volume.sync()
  return device
}

/** Bytes that are read. */
function counted(device: Device): { device: Device; bytes: () => number } {
  let bytes = 0
  const read: Device['read'] = (into, position) => {
    bytes += into.length
    return device.read(into, position)
  }
  return { device: Object.assign(Object.create(device) as Device, { read }), bytes: () => bytes }
}

const shapes: { name: string; shape: Shape; id: 'dir.block' | 'attr.block' }[] = [
  { name: 'a directory block', shape: {}, id: 'dir.block' },
  { name: 'a long range from a directory block on', shape: { length: 5000 }, id: 'dir.block' },
  { name: 'a directory block of several blocks', shape: { dirblocks: 4, length: 4 }, id: 'dir.block' },
  { name: 'a leaf of attributes', shape: { fork: 'attr' }, id: 'attr.block' },
]

for (const { name, shape, id } of shapes) {
  test(`${name} is mapped many times: read once, and each time a finding`, () => {
    const { device, bytes } = counted(repeatedMaps(shape))
    const { findings } = check(device, openImage(device).geometry)
    const told = findings.list.map(describe).join('\n')
    assert.ok(findings.has('inode.crosslinked'), told)
    assert.equal(findings.count(id), REPEATS, told)
    assert.match(told, /its blocks are also mapped at file block \d+/)
    // Its entries are not counted again for each mapping.
    assert.ok(!findings.has('inode.nlink') && !findings.has('dir.name'), told)
    assert.ok(bytes() < 64 * 2 ** 20, `${bytes()} bytes were read`)
  })
}
