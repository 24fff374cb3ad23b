import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Device } from '../../src/device/device.ts'
import { openFile } from '../../src/device/file.ts'
import { overlay } from '../../src/device/overlay.ts'
import { deviceAfter, record } from '../../src/device/record.ts'
import { Superblock } from '../../src/format/sb.ts'
import { continueLog } from '../../src/log/checkpoint.ts'
import { logState } from '../../src/log/ring.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { finishIntents } from '../../src/recovery/intents.ts'
import { recover } from '../../src/recovery/recover.ts'
import { type CommitterMaker, Volume } from '../../src/volume.ts'
import { writeImage } from '../support/crashimages.ts'
import { judge } from '../support/judge.ts'
import { differences, imageManifest } from '../support/manifest.ts'
import { mountImage, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'
import { cases, intentImage } from './intentcases.ts'

/** Intents without done items: finished by us, and by the kernel. */

interface Outcome {
  readonly manifest: readonly string[]
  readonly counters: Readonly<Record<string, number>>
}

function outcome(device: Device): Outcome {
  const volume = Volume.open(device)
  const { fdblocks, icount, ifree, features_log_incompat } = Superblock.decode(volume.superblock().view)
  const manifest = imageManifest(resolve(volume, '/'), { exact: true })
  return { manifest, counters: { fdblocks, icount, ifree, features_log_incompat } }
}

for (const name of Object.keys(cases)) {
  test(`${name}: as the kernel finishes it`, () => {
    withTempDir((folder) => {
      const { device } = intentImage(name)
      const ours = join(folder, 'ours')
      const copy = overlay(device)
      assert.equal(recover(copy).refused, undefined)
      const result = outcome(copy)
      writeImage(copy, ours)
      judge(ours, { kernel: true })
      if (skip.kernel !== false) return
      const theirs = join(folder, 'theirs')
      writeImage(device, theirs)
      mountImage(theirs, () => undefined)
      judge(theirs)
      const file = openFile(theirs, 'r')
      const expected = outcome(file)
      file.close()
      // Where an attribute is put into the inode, the kernel changes the time.
      const lines = ({ manifest }: Outcome): string[] =>
        manifest.map((line) => (name.startsWith('ATTRI') ? line.replace(/ ctime \d+/, '') : line))
      assert.equal(differences(lines(result), lines(expected)), '')
      assert.deepEqual(result.counters, expected.counters)
    })
  })
}

test('killed after any write: recovered by another run, and by the kernel', () => {
  for (const name of ['RUI unmap, and EFI', 'CUI decrease: blocks are freed', 'XMI: only written blocks']) {
    const { device } = intentImage(name)
    const recorder = record(overlay(device))
    assert.equal(recover(recorder).refused, undefined)
    const { events } = recorder
    assert.ok(events.length > 10)
    const expected = outcome(recorder)
    for (let n = 0; n <= events.length; n++) {
      const killed = deviceAfter(device, events, n)
      if (n === events.length >> 1 && skip.kernel === false) {
        withTempDir((folder) => {
          const image = join(folder, 'image')
          writeImage(killed, image)
          mountImage(image, () => undefined)
          judge(image)
        })
      }
      assert.equal(recover(killed).refused, undefined, `${name}: ${n}`)
      assert.deepEqual(outcome(killed), expected, `${name}: ${n}`)
    }
  }
})

test('more work than fits into one transaction: the rest is a new intent, killed after any write', () => {
  const { device, intents } = intentImage('XMI: only written blocks')
  const { tail } = logState(Volume.open(device))
  const run = (target: Device): number => {
    const state = logState(Volume.open(target))
    const { commits } = continueLog(state, tail)
    let transactions = 0
    const committer: CommitterMaker = (parts) => {
      const inner = commits(parts)
      return {
        // One step fills half of it.
        capacity: 28_000,
        makeRoom: (changed, items) => inner.makeRoom(changed, items),
        commit(changed, items) {
          transactions++
          inner.commit(changed, items)
          inner.sync()
        },
        sync: () => inner.sync(),
        finish: () => inner.finish(),
      }
    }
    finishIntents(Volume.open(target, { write: true, committer }), intents)
    return transactions
  }
  const recorder = record(overlay(device))
  assert.ok(run(recorder) > 2)
  const { events } = recorder
  const whole = overlay(device)
  recover(whole)
  const expected = outcome(whole)
  for (let n = 0; n <= events.length; n++) {
    const killed = deviceAfter(device, events, n)
    assert.equal(recover(killed).refused, undefined, `${n}`)
    assert.deepEqual(outcome(killed), expected, `${n}`)
  }
})
