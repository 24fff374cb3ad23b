import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type DeviceEvent, deviceAfter, memoryDevice, openFile, record } from '../../src/devices.ts'
import type { BlockType } from '../../src/format/verify/blocktype.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { stamp } from '../../src/format/verify/stamp.ts'
import { openImage } from '../../src/image.ts'
import * as xfskit from '../../src/index.ts'
import { logState } from '../../src/log/ring.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { recover } from '../../src/recovery/recover.ts'
import { repair } from '../../src/repair/repair.ts'
import { crashImage, makeImage, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'

/**
 * Opening for changes with the public exports of the library: nothing is written over a log that
 * must be replayed.
 */

const { check, mkfs } = xfskit

const dirty = (way: RegExp) => (error: unknown) =>
  error instanceof xfskit.XfsError && error.code === 'DIRTYLOG' && way.test(error.message)

async function changed(): Promise<{ base: xfskit.Device; events: readonly DeviceEvent[] }> {
  const base = memoryDevice(64 * 2 ** 20)
  await mkfs(base)
  const recorder = record(deviceAfter(base, [], 0))
  const volume = openImage(recorder, { write: true })
  for (let i = 0; i < 20; i++) createFile(volume, `/file ${i}`, 0o644)
  volume.close()
  return { base, events: recorder.events }
}

test('the library has no way to open an image for changes but the one that looks at the log', () => {
  for (const name of ['Volume', 'openImage', 'withTransaction', 'reflink']) assert.ok(!(name in xfskit), name)
})

test('a change by the library uses the log: killed after any write, recovered, sound', async () => {
  const { base, events } = await changed()
  let refused = 0
  for (let n = 0; n <= events.length; n++) {
    const device = deviceAfter(base, events, n)
    const recorder = record(device)
    if (!logState(openImage(device)).clean) {
      assert.throws(() => openImage(recorder, { write: true }), dirty(/run xfskit recover/), `after ${n} events`)
      assert.equal(recorder.events.length, 0, 'and no byte was changed')
      refused++
    }
    assert.equal(recover(device).refused, undefined, `after ${n} events`)
    assert.deepEqual((await check(device)).findings.list, [], `after ${n} events`)
  }
  assert.ok(refused > 0, 'some of them left a dirty log')
})

test("a kernel's dirty log is refused, and no byte changed", { skip: skip.kernel }, () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    crashImage(image, (root) => {
      for (let i = 0; i < 50; i++) writeFileSync(join(root, `file ${i}`), 'x')
    })
    const before = readFileSync(image)
    const device = openFile(image, 'rw')
    assert.throws(() => openFile(image, 'rw'), /BUSY|lock|being changed/, 'open for changes, it is locked')
    assert.throws(() => openImage(device, { write: true }), dirty(/run xfskit recover/))
    device.close()
    assert.ok(readFileSync(image).equals(before))
    const reading = openImage(openFile(image, 'r'))
    assert.equal(logState(reading).clean, false)
    reading.close()
  })
})

test('metadata ahead of the log: refused for changes, and no byte changed', async () => {
  for (const [name, sector] of Object.entries({ sb: 0, agf: 1, agi: 2, agfl: 3 })) {
    const device = memoryDevice(64 * 2 ** 20)
    await mkfs(device)
    const { geometry } = openImage(device)
    const type = blockTypes[name as 'sb' | 'agf' | 'agi' | 'agfl'] as BlockType
    const agno = name === 'sb' ? 0 : 1
    const view = new DataView(new ArrayBuffer(geometry.sectsize))
    const daddr = geometry.agHeaderDaddr(agno, sector)
    device.read(new Uint8Array(view.buffer), daddr * 512)
    view.setUint32(type.lsnOffset as number, 7)
    stamp(type, view, { geometry, daddr })
    device.write(new Uint8Array(view.buffer), daddr * 512)
    const recorder = record(device)
    assert.throws(() => openImage(recorder, { write: true }), /LSN 7:0 is ahead of the log \(1:/, name)
    assert.equal(recorder.events.length, 0)
    // Repair formats the log three cycles later, and changes nothing else.
    const { plans, log, after } = repair(device)
    assert.deepEqual([plans, log, after.findings.list], [[], 10, []], name)
    assert.deepEqual((await check(device)).findings.list, [], name)
    openImage(device, { write: true })
  }
})
