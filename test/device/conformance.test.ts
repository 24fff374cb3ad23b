import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { Device } from '../../src/device/device.ts'
import { createFile, openFile } from '../../src/device/file.ts'
import { holdBack } from '../../src/device/holdback.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { record } from '../../src/device/record.ts'
import { window } from '../../src/device/window.ts'
import { XfsError } from '../../src/errors.ts'
import { random } from '../support/random.ts'
import { tempDir } from '../support/temp.ts'

const SIZE = 300_000
const content = random(1).bytes(SIZE)
const folder = tempDir()
const file = (name: string, size = SIZE): Device => createFile(join(folder, name), size)
const filled = (device: Device, at = 0): Device => {
  device.write(content, at)
  return device
}
const reopened = (): Device => {
  filled(file('reopened')).close()
  return openFile(join(folder, 'reopened'), 'rw')
}

/** Every device, empty or with `content`. */
const devices: Record<string, { empty: () => Device; full: () => Device }> = {
  memory: { empty: () => memoryDevice(SIZE), full: () => memoryDevice(SIZE, content) },
  file: { empty: () => file('empty'), full: reopened },
  'new file': { empty: () => file('new'), full: () => filled(file('new')) },
  'window of memory': {
    empty: () => window(memoryDevice(SIZE + 2000), 1000, SIZE),
    full: () => window(filled(memoryDevice(SIZE + 2000), 1000), 1000, SIZE),
  },
  'window of a file': {
    empty: () => window(file('w', SIZE + 512), 512),
    full: () => window(filled(file('w', SIZE + 512), 512), 512),
  },
  'overlay of memory': { empty: () => overlay(memoryDevice(SIZE)), full: () => overlay(memoryDevice(SIZE, content)) },
  'overlay of an overlay of a file': {
    empty: () => overlay(overlay(file('o'))),
    full: () => overlay(overlay(reopened())),
  },
  'first sector held back': {
    empty: () => holdBack(memoryDevice(SIZE)),
    full: () => holdBack(memoryDevice(SIZE, content)),
  },
  record: { empty: () => record(memoryDevice(SIZE)), full: () => record(memoryDevice(SIZE, content)) },
}

const readAll = (device: Device): Buffer => {
  const all = Buffer.alloc(device.size)
  device.read(all, 0)
  return all
}

for (const [name, make] of Object.entries(devices)) {
  describe(`device: ${name}`, () => {
    test('starts with zeros, or with what was there', () => {
      for (const [kind, expected] of [
        ['empty', Buffer.alloc(SIZE)],
        ['full', Buffer.from(content)],
      ] as const) {
        const device = make[kind]()
        assert.equal(device.size, SIZE)
        assert.equal(device.readOnly, false)
        assert.ok(readAll(device).equals(expected))
        device.close()
      }
    })

    test('random writes, zeros and reads equal a plain array', () => {
      for (const kind of ['empty', 'full'] as const) {
        const device = make[kind]()
        const model = kind === 'full' ? Buffer.from(content) : Buffer.alloc(SIZE)
        const rng = random(7)
        for (let step = 0; step < 400; step++) {
          const at = rng.int(SIZE + 1)
          const length = rng.int(Math.min(rng.pick([10, 600, 5000, 70_000]), SIZE - at) + 1)
          if (rng.chance(0.5)) {
            const bytes = rng.bytes(Math.min(length, 6000))
            device.write(bytes, at)
            model.set(bytes, at)
          } else if (rng.chance(0.4)) {
            device.zero(at, length)
            model.fill(0, at, at + length)
          } else {
            const got = Buffer.alloc(length, 0xee)
            device.read(got, at)
            assert.ok(got.equals(model.subarray(at, at + length)), `read of ${length} at ${at}, step ${step}`)
          }
        }
        device.flush()
        assert.ok(readAll(device).equals(model))
        device.close()
      }
    })

    test('write-behind is complete after settling', () => {
      const device = make.full()
      const { behind } = device
      if (behind) {
        const model = Buffer.from(content)
        const shared = new Uint8Array(new SharedArrayBuffer(SIZE))
        const rng = random(8)
        for (let round = 0; round < 20; round++) {
          shared.set(rng.bytes(6000), 0)
          for (let at = rng.int(SIZE); at < SIZE; at += 6000 + rng.int(SIZE / 3)) {
            const bytes = shared.subarray(0, Math.min(rng.int(6000), SIZE - at))
            behind.write(bytes, at)
            model.set(bytes, at)
          }
          behind.settle()
          assert.ok(readAll(device).equals(model))
        }
        assert.throws(() => behind.write(shared.subarray(0, 16), SIZE - 15), XfsError)
        behind.settle()
        device.flush()
        assert.ok(readAll(device).equals(model))
      }
      device.close()
    })

    test('refuses what is not on the device, and changes nothing', () => {
      const device = make.full()
      const io = (error: unknown): boolean => error instanceof XfsError && error.code === 'IO'
      const sixteen = Buffer.alloc(16)
      for (const at of [SIZE - 15, SIZE, -1, 2 ** 52, 0.5, Number.NaN]) {
        assert.throws(() => device.read(sixteen, at), io, `read at ${at}`)
        assert.throws(() => device.write(sixteen, at), io, `write at ${at}`)
        assert.throws(() => device.zero(at, 16), io, `zero at ${at}`)
      }
      device.read(Buffer.alloc(0), SIZE)
      assert.ok(readAll(device).equals(content))
      device.close()
    })
  })
}
