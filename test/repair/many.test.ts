import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check } from '../../src/check/check.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { AG_SECTORS, Agi } from '../../src/format/ag.ts'
import { BASIC_BLOCK } from '../../src/format/geometry.ts'
import { Superblock } from '../../src/format/sb.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { repair } from '../../src/repair/repair.ts'
import { Volume } from '../../src/volume.ts'

/**
 * Repair plans from facts, which are complete. Findings are bounded, and here more AGs are wrong
 * than findings are kept.
 */

const AGS = 1000
const AG_SIZE = 16 * 2 ** 20

/** Overwrite a part of a header sector in every AG except the first, without a new checksum. */
function overwrite(device: Device, sector: number, offset: number, bytes: Uint8Array): void {
  const { geometry } = Volume.open(device)
  for (let agno = 1; agno < geometry.agcount; agno++)
    device.write(bytes, geometry.agHeaderDaddr(agno, sector) * BASIC_BLOCK + offset)
}

test('999 secondary superblocks have their label overwritten, 999 AGIs an unlinked list: one plan repairs them all', () => {
  const device = memoryDevice(AGS * AG_SIZE)
  mkfs(device, { agcount: AGS })
  overwrite(device, AG_SECTORS.sb, Superblock.fields.fname.offset, Buffer.from('overwrite'))
  overwrite(device, AG_SECTORS.agi, Agi.fields.unlinked.offset, Buffer.from([0, 0, 0, 64]))
  const { before, plans, after, declined } = repair(device)
  assert.ok(before.findings.total >= 3 * (AGS - 1) && before.findings.list.length < AGS - 1, 'findings are bounded')
  assert.deepEqual(declined, [])
  assert.equal(after.findings.total, 0)
  assert.equal(plans.length, 1)
  assert.equal(check(device, Volume.open(device).geometry).findings.total, 0)
})
