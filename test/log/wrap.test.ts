import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { deviceAfter, record } from '../../src/device/record.ts'
import { LogWriter } from '../../src/log/records.ts'
import { logState } from '../../src/log/ring.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { Volume } from '../../src/volume.ts'

/**
 * A log that was never written to its end ends in zeros. The kernel then only accepts it if it
 * begins with cycle 1. So no power cut may leave the start of the second cycle without the end of
 * the first.
 */
test('a power cut while the log wraps: with any single write since the last flush on disk, the log can be read', () => {
  const base = memoryDevice(24 * 2 ** 20)
  mkfs(base, { agcount: 1 })
  const { geometry, features } = Volume.open(base)
  const start = geometry.fsbToDaddr(geometry.sb.logstart as never) * 512
  const recorder = record(overlay(base))
  const writer = new LogWriter(recorder, geometry, logState({ device: base, geometry, features }))
  const block = new Uint8Array(4096).fill(7)
  const size = geometry.sb.logblocks * geometry.blocksize
  const { events } = recorder
  // Past the end of the log in large transactions, with several records being written at once.
  const around = (): boolean => events.some((event, i) => i > 2 && event.kind === 'write' && event.position === start)
  while (!around())
    writer.transaction(
      1000,
      Array.from({ length: Math.floor(size / 3 / 4300) }, () => block),
    )
  let [alone, atStart] = [0, 0]
  for (let from = 0; from < events.length; ) {
    const flush = events.findIndex((event, i) => i >= from && event.kind === 'flush')
    const to = flush < 0 ? events.length : flush
    const before = deviceAfter(base, events, from)
    for (const event of events.slice(from, to)) {
      if (event.kind !== 'write') continue
      const device = overlay(before)
      device.write(event.bytes, event.position)
      const { fault } = logState({ device, geometry, features })
      assert.equal(fault, undefined, `write at ${event.position - start} of ${size}`)
      alone++
      if (event.position === start) atStart++
    }
    from = to + 1
  }
  assert.ok(alone > 40 && atStart > 0, `${alone} writes, ${atStart} at the start`)
})
