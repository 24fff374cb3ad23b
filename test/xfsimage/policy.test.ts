import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { XfsError, XfsImage } from '../../src/index.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { failing } from '../support/failing.ts'

/** What may be changed, after something failed. */

const code = (wanted: string) => (error: unknown) => error instanceof XfsError && error.code === wanted

function made(): Device {
  const device = memoryDevice(64 * 2 ** 20)
  mkfs(device)
  const image = XfsImage.open(device, { write: true })
  image.mkdir('/d')
  image.writeFile('/d/f', 'content')
  image.sync()
  return device
}

/** Blocks that are free, and not in bnobt: repair writes much. */
function damage(device: Device): void {
  const { blocksize } = XfsImage.open(device).geometry
  device.write(new Uint8Array(blocksize), blocksize)
}

test('after a repair that failed half-way the image can be read and repaired, not changed', () => {
  const device = made()
  const writes = countOf(device)
  let refused = 0
  for (let left = 0; left < writes; left++) {
    const layer = overlay(device)
    let broken: Device | undefined = layer
    const fragile = through(() => broken ?? layer, layer)
    const image = XfsImage.open(fragile, { write: true })
    damage(layer)
    broken = failing(layer, left, () => new XfsError('IO', 'no more writes'))
    assert.throws(() => image.repair(), code('IO'), `after ${left} writes`)
    broken = undefined
    if (image.needsRepair) {
      refused++
      assert.throws(() => image.mkdir('/e'), code('CORRUPT'), `after ${left} writes`)
      assert.throws(() => image.writeFile('/d/f', 'other'), code('CORRUPT'))
    }
    assert.equal(image.readFile('/d/f', 'utf8'), 'content')
    image.repair()
    assert.deepEqual(image.check().findings.list, [], `after ${left} writes`)
    image.mkdir('/e')
    image.close()
    assert.deepEqual(XfsImage.open(layer).check().findings.list, [])
  }
  assert.ok(refused > 0, `of ${writes} writes none left a mark`)
})

test('a device that was opened for reading is not opened for changes, but for a dry run', () => {
  const device = { ...made(), readOnly: true }
  assert.throws(() => XfsImage.open(device, { write: true }), code('ROFS'))
  const dry = XfsImage.open(device, { write: true, dryRun: true })
  dry.mkdir('/e')
  dry.sync()
  assert.ok([...dry.changes].length > 0)
})

/** The number of writes of a repair. */
function countOf(device: Device): number {
  const layer = overlay(device)
  let count = 0
  const image = XfsImage.open(
    through(
      () => ({
        ...layer,
        write(bytes, position) {
          count++
          layer.write(bytes, position)
        },
      }),
      layer,
    ),
    { write: true },
  )
  damage(layer)
  count = 0
  assert.equal(image.repair().changed, true)
  return count
}

/** A device whose writes go to another one, which may change. */
const through = (target: () => Device, { size }: Device): Device => ({
  size,
  readOnly: false,
  read: (into, position) => target().read(into, position),
  write: (bytes, position) => target().write(bytes, position),
  zero: (position, length) => target().zero(position, length),
  flush: () => target().flush(),
  close: () => target().close(),
})
