import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeFile } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { XfsError } from '../../src/errors.ts'
import { AG_SECTORS } from '../../src/format/ag.ts'
import { BASIC_BLOCK } from '../../src/format/geometry.ts'
import { Superblock } from '../../src/format/sb.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { stamp } from '../../src/format/verify/stamp.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import type { MkfsOptions } from '../../src/mkfs/options.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { repair } from '../../src/repair/repair.ts'
import { findRoots } from '../../src/roots/roots.ts'
import { Volume } from '../../src/volume.ts'
import { XfsImage } from '../../src/xfsimage/xfsimage.ts'
import { judge } from '../support/judge.ts'
import { tempDir } from '../support/temp.ts'

/** What is trusted first: a superblock by the vote of its copies, and an image that is not complete. */

const MIB = 2 ** 20
const CONTENT = new Uint8Array(20000).fill(7)

function filesystem(options: MkfsOptions = {}, size = 64 * MIB): Device {
  const device = memoryDevice(size)
  mkfs(device, { agcount: 4, label: 'roots', ...options })
  const volume = Volume.open(device, { write: true })
  const { ino } = createFile(volume, '/f', 0o644)
  writeFile(volume, ino, 0, CONTENT)
  volume.sync()
  return device
}

function bytesOf(device: Device): Uint8Array {
  const bytes = new Uint8Array(device.size)
  device.read(bytes, 0)
  return bytes
}

/** Change the primary superblock, with a correct checksum. */
function editSuperblock(device: Device, change: (view: DataView) => void): void {
  const { geometry } = Volume.open(device)
  const bytes = new Uint8Array(geometry.sectsize)
  device.read(bytes, 0)
  const view = new DataView(bytes.buffer)
  change(view)
  stamp(blockTypes.sb, view, { geometry, daddr: 0 })
  device.write(bytes, 0)
}

const set = (field: keyof Superblock, value: number) => (view: DataView) =>
  (Superblock.fields[field].set as (view: DataView, at: number, value: number) => void)(view, 0, value)

const { fields } = Superblock
const file = join(tempDir(), 'image')
function judged(device: Device): void {
  writeFileSync(file, bytesOf(device))
  judge(file)
}

/** Damages of the superblock, and what the filesystem cannot be opened with. */
const damages: Readonly<Record<string, (view: DataView) => void>> = {
  zeroed: (view) => new Uint8Array(view.buffer).fill(0),
  garbage: (view) => new Uint8Array(view.buffer).fill(0xa5),
  agcount: set('agcount', 9),
  blocksize: set('blocksize', 8192),
  'blocksize and blocklog': (view) => {
    set('blocksize', 8192)(view)
    set('blocklog', 13)(view)
  },
  agblocks: set('agblocks', 77),
  inopblog: set('inopblog', 5),
  logsectlog: set('logsectlog', 12),
  logstart: set('logstart', 3),
  dblocks: (view) => fields.dblocks.set(view, 0, fields.dblocks.get(view, 0) - 10),
  'dblocks beyond the image': (view) => {
    fields.dblocks.set(view, 0, fields.dblocks.get(view, 0) * 2)
    set('agcount', 8)(view)
  },
  imax_pct: set('imax_pct', 200),
  frextents: set('frextents', 5),
  rextslog: set('rextslog', 77),
  rootino: set('rootino', 131),
  spino_align: set('spino_align', 9),
  inprogress: set('inprogress', 1),
}

for (const [name, damage] of Object.entries(damages)) {
  test(`the primary superblock is restored from its copies: ${name}`, () => {
    const device = filesystem()
    const sound = findRoots(device).geometry.sb
    editSuperblock(device, damage)
    const result = repair(device)
    assert.deepEqual(result.declined, [])
    assert.ok(result.changed && result.before.findings.total > 0)
    const { sb } = Volume.open(device).geometry
    const own = name === 'zeroed' || name === 'garbage' ? {} : { fname: sound.fname }
    const { crc: _, lsn: __, fname: ___, inprogress: ____, ...expected } = sound
    const { crc: _1, lsn: _2, fname: _3, inprogress: _4, ...found } = sb
    assert.deepEqual({ ...found, ...(own.fname !== undefined && { fname: sb.fname }) }, { ...expected, ...own })
    judged(device)
    assert.deepEqual(XfsImage.open(device).readFile('/f'), CONTENT)
    assert.equal(repair(device).changed, false)
  })
}

test('an image is read with a copy, and not changed', () => {
  for (const options of [{ agcount: 2 }, { agcount: 7 }] as MkfsOptions[]) {
    const device = filesystem(options, 120 * MIB)
    device.zero(0, 512)
    const image = XfsImage.open(device)
    assert.deepEqual(image.readFile('/f'), CONTENT)
    assert.deepEqual(
      image.warnings.map(({ about }) => about),
      ['superblock'],
    )
    assert.throws(() => XfsImage.open(device, { write: true }), { code: 'INVAL' })
  }
})

test('copies at a place that no usual number of AGs gives are found by a scan', () => {
  const device = memoryDevice(100 * MIB)
  mkfs(device, { agsize: 17 * MIB })
  const { agcount } = Volume.open(device).geometry
  device.zero(0, 512)
  assert.equal(findRoots(device).geometry.agcount, agcount)
})

test('the majority of the copies wins', () => {
  const device = filesystem({ agcount: 4 })
  const { geometry } = Volume.open(device)
  const copy = geometry.agHeaderDaddr(1, AG_SECTORS.sb) * BASIC_BLOCK
  const bytes = new Uint8Array(geometry.sectsize)
  device.read(bytes, copy)
  const view = new DataView(bytes.buffer)
  fields.dblocks.set(view, 0, fields.dblocks.get(view, 0) - 1)
  stamp(blockTypes.sb, view, { geometry, daddr: copy / BASIC_BLOCK })
  device.write(bytes, copy)
  device.zero(0, 512)
  const { geometry: found, restored } = findRoots(device)
  assert.equal(found.sb.dblocks, geometry.sb.dblocks)
  assert.deepEqual([restored?.votes, restored?.copies], [2, 3])
  repair(device)
  judged(device)
})

test('many superblocks of many geometries do not make the search long', () => {
  const device = filesystem({ agcount: 4 })
  const { geometry } = Volume.open(device)
  const bytes = new Uint8Array(geometry.sectsize)
  device.read(bytes, geometry.agHeaderDaddr(1, AG_SECTORS.sb) * BASIC_BLOCK)
  const view = new DataView(bytes.buffer)
  const agBytes = geometry.agblocks * geometry.blocksize
  for (let agcount = 2 ** 20, at = agBytes; at < device.size; at += agBytes / 64, agcount++) {
    fields.agcount.set(view, 0, agcount)
    fields.dblocks.set(view, 0, agcount * geometry.agblocks)
    stamp(blockTypes.sb, view, { geometry, daddr: at / BASIC_BLOCK })
    device.write(bytes, at)
  }
  device.zero(0, 512)
  const start = Date.now()
  try {
    findRoots(device)
  } catch (error) {
    assert.ok(error instanceof XfsError)
  }
  assert.ok(Date.now() - start < 10_000)
})

/** A device on which ranges cannot be read until they are written. */
function withBadSectors(base: Device, bad: Map<number, number>): Device {
  const overlaps = (position: number, length: number) =>
    [...bad].filter(([start, size]) => start < position + length && position < start + size)
  return {
    ...base,
    read(into, position) {
      if (overlaps(position, into.length).length > 0) throw new XfsError('IO', 'input/output error')
      base.read(into, position)
    },
    write(bytes, position) {
      for (const [start, size] of overlaps(position, bytes.length))
        if (position <= start && start + size <= position + bytes.length) bad.delete(start)
      base.write(bytes, position)
    },
  }
}

test('sectors that cannot be read: what follows from the rest is written anew', () => {
  const base = filesystem()
  const { geometry } = Volume.open(base)
  const agf = geometry.agHeaderDaddr(2, AG_SECTORS.agf) * BASIC_BLOCK
  const bad = new Map([[agf, 512]])
  const device = withBadSectors(base, bad)
  const { before, declined, changed } = repair(device)
  assert.deepEqual(
    before.findings.list.filter(({ id }) => id === 'image.unreadable').map(({ facts }) => facts),
    [{ start: agf, len: 512, reason: 'input/output error' }],
  )
  assert.deepEqual([declined, changed, bad.size], [[], true, 0])
  judged(base)
})

test('sectors that cannot be read: nothing is written if inodes are lost', () => {
  const base = filesystem()
  const { geometry } = Volume.open(base)
  const root = geometry.daddr(0, geometry.aginoAgbno(geometry.inoAgino(geometry.sb.rootino))) * BASIC_BLOCK
  const before = bytesOf(base)
  const { declined, changed } = repair(withBadSectors(base, new Map([[root, 512]])))
  assert.match(declined[0]?.reason ?? '', /^bytes \d+\+512 cannot be read/)
  assert.deepEqual([changed, Buffer.compare(bytesOf(base), before)], [false, 0])
})

test('a truncated image is read as far as it goes, and not repaired', () => {
  const device = memoryDevice(33 * MIB, bytesOf(filesystem()).subarray(0, 33 * MIB))
  const image = XfsImage.open(device, { log: 'ignore' })
  assert.deepEqual(image.readFile('/f'), CONTENT)
  assert.deepEqual(image.warnings[0]?.about, 'truncated')
  assert.throws(() => XfsImage.open(device, { write: true }), { code: 'IO' })
  const { declined, changed } = repair(device)
  assert.ok(declined.length > 0 && !changed)
})
