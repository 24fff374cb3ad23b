import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import { writeFile } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { AG_SECTORS, Agf } from '../../src/format/ag.ts'
import { featureBits } from '../../src/format/features.ts'
import { BASIC_BLOCK } from '../../src/format/geometry.ts'
import { Superblock } from '../../src/format/sb.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import type { MkfsOptions } from '../../src/mkfs/options.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { repair } from '../../src/repair/repair.ts'
import { Volume } from '../../src/volume.ts'
import { edit, inodePlace } from './victims.ts'

/**
 * What is uncertain is known AG by AG: one inode that cannot be read does not stop the repair of
 * what the trees of an AG prove.
 */

const AGS = 3

/** A file whose inode cannot be read any more, and the AG of the inode and of its blocks. */
function withBadInode(options: MkfsOptions = {}): { device: Device; home: number } {
  const device = memoryDevice(AGS * 16 * 2 ** 20)
  mkfs(device, { agcount: AGS, ...options })
  const volume = Volume.open(device, { write: true })
  const { ino } = createFile(volume, '/f', 0o644)
  writeFile(volume, ino, 0, new Uint8Array(20000).fill(7))
  volume.sync()
  const { geometry } = volume
  const { position, length } = inodePlace(geometry, ino)
  device.write(new Uint8Array(length), position)
  return { device, home: geometry.inoAgno(ino) }
}

const agfPlace = (device: Device, agno: number) => {
  const { geometry } = Volume.open(device)
  return {
    position: geometry.agHeaderDaddr(agno, AG_SECTORS.agf) * BASIC_BLOCK,
    length: geometry.sectsize,
    crc: Agf.fields.crc.offset,
  }
}

function freeblksOf(device: Device, agno: number): number {
  const { position, length } = agfPlace(device, agno)
  const bytes = new Uint8Array(length)
  device.read(bytes, position)
  return Agf.fields.freeblks.get(new DataView(bytes.buffer), 0)
}

function raiseFreeblks(device: Device): void {
  for (let agno = 0; agno < AGS; agno++) {
    const { freeblks } = Agf.fields
    edit(device, agfPlace(device, agno), (view) => freeblks.set(view, 0, freeblks.get(view, 0) + 1))
  }
}

const agnos = Array.from({ length: AGS }, (_, agno) => agno)

test('an inode that cannot be read: with rmapbt, all AGs are repaired; without it, those that have none of its blocks', () => {
  for (const rmapbt of [true, false]) {
    const { device, home } = withBadInode({ features: { rmapbt } })
    const right = agnos.map((agno) => freeblksOf(device, agno))
    const only = check(device, Volume.open(device).geometry).findings.list.map(describe)
    raiseFreeblks(device)
    const { after, changed, declined } = repair(device, { partial: true, keepUnreadable: true })
    assert.ok(changed && declined.length > 0)
    for (const agno of agnos) {
      const left = agno === home && !rmapbt ? 1 : 0
      assert.equal(freeblksOf(device, agno), (right[agno] as number) + left, `AG ${agno}`)
    }
    assert.equal(
      declined.some(({ id, place }) => id === 'space.uncertain' && place.agno === home),
      !rmapbt,
    )
    assert.deepEqual(after.findings.list.map(describe), only)
    assert.deepEqual(check(device, Volume.open(device).geometry).findings.list.map(describe), only)
    assert.equal(repair(device, { partial: true, keepUnreadable: true }).changed, false)
  }
})

test('NEEDSREPAIR stays where something was not repaired', () => {
  const { device } = withBadInode()
  raiseFreeblks(device)
  const { geometry } = Volume.open(device)
  const { features_incompat: words, crc } = Superblock.fields
  edit(device, { position: 0, length: geometry.sectsize, crc: crc.offset }, (view) =>
    words.set(view, 0, words.get(view, 0) | featureBits.needsrepair.bit),
  )
  const { after, changed } = repair(device, { partial: true, keepUnreadable: true })
  assert.ok(changed)
  assert.ok(after.facts.isWrong && after.findings.has('sb.needsrepair'))
})

test('it stops the whole repair where only what is sound in the end may be written', () => {
  const { device } = withBadInode()
  raiseFreeblks(device)
  assert.equal(repair(device, { keepUnreadable: true }).changed, false)
})
