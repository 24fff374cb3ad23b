import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Device } from '../../src/device/device.ts'
import { openFile } from '../../src/device/file.ts'
import { overlay } from '../../src/device/overlay.ts'
import { Superblock } from '../../src/format/sb.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { recover } from '../../src/recovery/recover.ts'
import { Volume } from '../../src/volume.ts'
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
