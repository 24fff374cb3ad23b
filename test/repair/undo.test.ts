import assert from 'node:assert/strict'
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { XfsError } from '../../src/errors.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { Volume } from '../../src/volume.ts'
import { repair } from '../../src/xfsimage/repairs.ts'
import { undo } from '../../src/xfsimage/undo.ts'
import { xfskit, xfskitOk } from '../support/cli.ts'
import { failing } from '../support/failing.ts'
import { judge } from '../support/judge.ts'
import { repoRoot, tempDir } from '../support/temp.ts'

/** Undo files: written before the first change, refused if the image was changed, safe to interrupt. */

const folder = tempDir()
let count = 0
const newPath = (): string => join(folder, `${++count}.undo`)
const fixture = (name: string): Buffer => gunzipSync(readFileSync(join(repoRoot(), 'fixtures', name, 'image.gz')))
const deviceOf = (bytes: Uint8Array): Device => memoryDevice(bytes.length, bytes)

function bytesOf(device: Device): Buffer {
  const bytes = Buffer.alloc(device.size)
  device.read(bytes, 0)
  return bytes
}

/** Count the writes of `work`. */
async function writesOf(device: Device, work: (device: Device) => Promise<unknown>): Promise<number> {
  let writes = 0
  await work({
    ...device,
    write(bytes, position) {
      writes++
      device.write(bytes, position)
    },
  })
  return writes
}

const KILLED = new XfsError('IO', 'killed')
const kill = (device: Device, after: number): Device => failing(device, after, () => KILLED)

for (const name of ['sb.invalid', 'rmapbt.missing', 'agf.magic', 'sb.lsn', 'inode.extent']) {
  test(`a repair is undone: ${name}`, async () => {
    const damaged = fixture(name)
    const device = deviceOf(damaged)
    const path = newPath()
    const { changed } = await repair(device, { undo: path })
    assert.equal(changed, true)
    const repaired = bytesOf(device)
    const file = join(folder, 'image')
    writeFileSync(file, repaired)
    judge(file)
    const plain = deviceOf(damaged)
    await repair(plain)
    assert.ok(repaired.equals(bytesOf(plain)), 'an undo file does not change what a repair does')
    const { bytes } = await undo(device, path)
    assert.ok(bytes > 0)
    assert.ok(bytesOf(device).equals(damaged))
    await undo(device, path)
    assert.ok(bytesOf(device).equals(damaged), 'it may be repeated')
  })
}

test('a repair and its undoing may be killed at every write', async () => {
  const damaged = fixture('agf.magic')
  const path = newPath()
  const complete = deviceOf(damaged)
  await repair(complete, { undo: path })
  const repaired = bytesOf(complete)
  const writes = await writesOf(deviceOf(damaged), (device) => repair(device, { undo: newPath() }))
  assert.ok(writes > 2)
  for (let n = 0; n < writes; n++) {
    const device = deviceOf(damaged)
    const own = newPath()
    await assert.rejects(repair(kill(device, n), { undo: own }))
    const half = bytesOf(device)
    await undo(device, own)
    assert.ok(bytesOf(device).equals(damaged), `killed at write ${n}, then undone`)
    const again = deviceOf(half)
    await repair(again, { undo: newPath() })
    await undo(device, own)
    const file = join(folder, 'image')
    writeFileSync(file, bytesOf(again))
    judge(file)
  }
  const undoing = await writesOf(deviceOf(repaired), (device) => undo(device, path))
  for (let n = 0; n < undoing; n++) {
    const device = deviceOf(repaired)
    await assert.rejects(undo(kill(device, n), path))
    await undo(device, path)
    assert.ok(bytesOf(device).equals(damaged), `undoing killed at write ${n}`)
  }
})

test('an image that was changed since, or another one, is refused', async () => {
  const device = deviceOf(fixture('agf.magic'))
  const path = newPath()
  await repair(device, { undo: path })
  const volume = Volume.open(device, { write: true })
  createFile(volume, '/new', 0o644)
  volume.sync()
  const changed = bytesOf(device)
  await assert.rejects(undo(device, path), { code: 'STALE', message: /changed since: the sector at byte/ })
  assert.ok(bytesOf(device).equals(changed))
  await assert.rejects(undo(memoryDevice(2 ** 20), path), { code: 'STALE' })
})

test('the file: not replaced, absent if nothing is written, checked', async () => {
  const path = newPath()
  await repair(deviceOf(fixture('clean')), { undo: path })
  assert.equal(existsSync(path), false)
  await repair(deviceOf(fixture('agf.magic')), { undo: path })
  await assert.rejects(repair(deviceOf(fixture('agf.magic')), { undo: path }), { code: 'EXIST' })
  const bytes = readFileSync(path)
  for (const wrong of [bytes.subarray(0, bytes.length - 1), Buffer.from('something'), Buffer.alloc(0)]) {
    const file = newPath()
    writeFileSync(file, wrong)
    await assert.rejects(undo(deviceOf(fixture('agf.magic')), file), { code: 'CORRUPT' })
  }
})

test('the commands', () => {
  const image = join(folder, 'disk.img')
  const before = fixture('agf.magic')
  writeFileSync(image, before)
  const path = newPath()
  xfskitOk(['repair', '--undo', path, image])
  assert.equal(xfskit(['check', image]).status, 0)
  const copy = join(folder, 'copy.img')
  copyFileSync(image, copy)
  assert.match(xfskitOk(['undo', image, path]), /^\d+ bytes written back\n$/)
  assert.ok(readFileSync(image).equals(before))
  xfskitOk(['mkdir', copy, '/d'])
  const { status, stderr } = xfskit(['undo', copy, path])
  assert.notEqual(status, 0)
  assert.match(stderr, /changed since/)
})
