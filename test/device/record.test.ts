import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { deviceAfter, record } from '../../src/device/record.ts'
import { failing } from '../support/failing.ts'

test('the device after n of the recorded events', () => {
  const before = memoryDevice(100, Buffer.alloc(100, 1))
  const recorder = record(overlay(before))
  const scratch = Buffer.alloc(10, 2)
  recorder.write(scratch, 0)
  scratch.fill(9) // the record keeps its own copy
  recorder.flush()
  recorder.zero(5, 10)
  recorder.write(Buffer.alloc(1, 3), 99)
  assert.deepEqual(
    recorder.events.map((event) => event.kind),
    ['write', 'flush', 'zero', 'write'],
  )
  const states = [0, 1, 2, 3, 4].map((count) => {
    const bytes = Buffer.alloc(100)
    deviceAfter(before, recorder.events, count).read(bytes, 0)
    return [bytes[0], bytes[5], bytes[12], bytes[99]].join(' ')
  })
  assert.deepEqual(states, ['1 1 1 1', '2 2 1 1', '2 2 1 1', '2 0 0 1', '2 0 0 3'])
})

test('an overlay lists its changes', () => {
  const device = overlay(memoryDevice(100_000))
  device.write(Buffer.alloc(10), 50)
  device.write(Buffer.alloc(10), 60)
  device.zero(40_000, 50_000)
  assert.deepEqual(
    [...device.changed()],
    [
      { start: 50, length: 20 },
      { start: 40_000, length: 50_000 },
    ],
  )
})

test('a failing device fails from the given write on', () => {
  const base = memoryDevice(10)
  const device = failing(base, 1, () => new Error('full'))
  device.write(Buffer.from([1]), 0)
  assert.throws(() => device.write(Buffer.from([2]), 1), /full/)
  assert.throws(() => device.zero(0, 1), /full/)
  const read = Buffer.alloc(2)
  device.read(read, 0)
  assert.deepEqual([...read], [1, 0])
})
