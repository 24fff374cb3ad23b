import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { XfsError } from '../../src/errors.ts'
import { BASIC_BLOCK } from '../../src/format/geometry.ts'
import { logState } from '../../src/log/ring.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { Volume } from '../../src/volume.ts'
import { check, repair } from '../../src/xfsimage/repairs.ts'
import { XfsImage } from '../../src/xfsimage/xfsimage.ts'
import { xfskit } from '../support/cli.ts'
import { failing } from '../support/failing.ts'
import { judge } from '../support/judge.ts'
import { tempDir } from '../support/temp.ts'

/** `repair -L`: a log that cannot be replayed, or is not to be, is discarded. */

const folder = tempDir()

function filesystem(): Device {
  const device = memoryDevice(64 * 2 ** 20)
  mkfs(device, { agcount: 4 })
  const image = XfsImage.open(device, { write: true })
  image.writeFile('/kept', 'content')
  image.close()
  return device
}

function save(device: Device): string {
  const bytes = new Uint8Array(device.size)
  device.read(bytes, 0)
  const file = join(folder, 'image')
  writeFileSync(file, bytes)
  return file
}

/** States with a dirty log: a change was killed after each of its writes. */
function* dirtyStates(base: Device): Generator<Device> {
  for (let writes = 0; ; writes += 2) {
    const copy = overlay(base)
    try {
      const image = XfsImage.open(
        failing(copy, writes, () => new XfsError('IO', 'killed')),
        { write: true },
      )
      image.mkdir('/d')
      image.writeFile('/d/lost', 'x'.repeat(10000))
      image.close()
      return
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
    }
    if (!logState(Volume.open(copy, { needsRepair: true })).clean) yield copy
  }
}

test('a dirty log is discarded, and what is inconsistent without it is repaired', async () => {
  let count = 0
  for (const device of dirtyStates(filesystem())) {
    const { discarded, recovered, after, declined } = await repair(device, { discardLog: true })
    assert.equal(recovered, undefined)
    assert.ok(discarded && discarded.cycle > 3 && discarded.transactions !== undefined)
    assert.deepEqual([after.findings.list, declined], [[], []])
    assert.equal(XfsImage.open(device).readFile('/kept', 'utf8'), 'content')
    judge(save(device))
    count++
  }
  assert.ok(count > 1)
})

test('a log that cannot be read is discarded', async () => {
  const device = filesystem()
  const { geometry } = Volume.open(device)
  const start = geometry.fsbToDaddr(geometry.sb.logstart) * BASIC_BLOCK
  device.write(new Uint8Array(2 ** 16).fill(0xa7), start)
  await assert.rejects(check(device), { code: 'DIRTYLOG', message: /xfskit repair -L discards it/ })
  await assert.rejects(repair(device))
  const file = save(device)
  const { status, stderr } = xfskit(['repair', '-L', file])
  assert.equal(status, 0)
  assert.match(stderr, /the log was discarded: it cannot be read to its end\n$/)
  judge(file)
})

test('a clean log stays', async () => {
  const device = filesystem()
  const { discarded, changed } = await repair(device, { discardLog: true })
  assert.deepEqual([discarded, changed], [undefined, false])
})
