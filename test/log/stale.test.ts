import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import type { Device } from '../../src/device/device.ts'
import { openFile } from '../../src/device/file.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { deviceAfter, record } from '../../src/device/record.ts'
import { BASIC_BLOCK } from '../../src/format/geometry.ts'
import { blockCycle } from '../../src/format/log.ts'
import { loggedCommits } from '../../src/log/checkpoint.ts'
import { type LogState, logState, openRing } from '../../src/log/ring.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile, mkdir } from '../../src/namespace/namespace.ts'
import { Volume } from '../../src/volume.ts'
import { xfskitOk } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { crashImage, makeImage, newest, skip, smallAllowed } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'

/**
 * Logs with blocks ahead of the head that are not of the previous cycle: other tools format them
 * so, and interrupted writers leave them.
 */

const stateOf = (device: Device): LogState => logState(Volume.open(device, { needsRepair: true }))

function stateOfImage(image: string): LogState {
  const device = openFile(image, 'r')
  try {
    return stateOf(device)
  } finally {
    device.close()
  }
}

const tool = (name: string): string => join(dirname(newest.db), name)
const run = (command: string, ...args: string[]): void =>
  void execFileSync(command, args, { env: { ...process.env, ...smallAllowed }, stdio: 'ignore' })

const formatters: Readonly<Record<string, (image: string, from: string) => void>> = {
  'xfs_db uuid generate': (image) => run(newest.db, '-x', '-c', 'uuid generate', image),
  'xfs_db uuid rewrite': (image) => run(newest.db, '-x', '-c', 'uuid rewrite', image),
  xfs_copy: (image, from) => run(tool('xfs_copy'), from, image),
  'xfs_repair -L of a dirty log': (image) => {
    if (skip.kernel === false) crashImage(image, (root) => writeFileSync(join(root, 'lost'), 'in the log'))
    run(newest.repair, '-L', image)
  },
  'db uuid generate': (image) => void xfskitOk(['db', '-x', image, '-c', 'uuid generate']),
  'db logformat': (image) => void xfskitOk(['db', '-x', image, '-c', 'logformat -c 5']),
}

for (const [name, format] of Object.entries(formatters)) {
  test(`after ${name} each change leaves a clean log`, { skip: skip.newest }, () => {
    withTempDir((folder) => {
      const [image, from, file] = ['image', 'from', 'file'].map((one) => join(folder, one)) as [string, string, string]
      makeImage(from, '300m')
      copyFileSync(from, image)
      format(image, from)
      writeFileSync(file, 'content')
      assert.equal(stateOfImage(image).clean, true)
      for (const args of [
        ['put', image, file, '/'],
        ['mkdir', image, '/d'],
        ['reflink', image, '/file', '/d/f'],
        ['rm', image, '/file'],
      ]) {
        xfskitOk(args)
        const { clean, fault } = stateOfImage(image)
        assert.deepEqual({ clean, fault }, { clean: true, fault: undefined }, args.join(' '))
      }
      judge(image, { kernel: true })
    })
  })
}

/** A log in which all records of a large change arrived except the first. */
function withoutFirstRecord(): Device {
  const base = memoryDevice(64 * 2 ** 20)
  mkfs(base, {})
  const copy = deviceAfter(base, [], 0)
  const volume = Volume.open(copy, { write: true, committer: loggedCommits })
  for (let i = 0; i < 40; i++) mkdir(volume, `/directory ${i}`, 0o755)
  volume.close()
  const { blocks, read } = openRing(Volume.open(copy))
  const { head } = stateOf(base)
  const { geometry } = Volume.open(base)
  const start = geometry.fsbToDaddr(geometry.sb.logstart) * BASIC_BLOCK
  const from = head.block + 66
  base.write(read(from, Math.min(blocks - from, 400)), start + from * BASIC_BLOCK)
  return base
}

test('what a stopped writer left ahead of the head is cleared before the first record, and nothing at open', () => {
  const base = withoutFirstRecord()
  const before = stateOf(base)
  assert.equal(before.clean, true)
  const recorder = record(deviceAfter(base, [], 0))
  const volume = Volume.open(recorder, { write: true, committer: loggedCommits })
  assert.deepEqual(recorder.events, [])
  createFile(volume, '/file', 0o644)
  volume.sync()
  for (let n = 0; n <= recorder.events.length; n++) {
    const { fault } = stateOf(deviceAfter(base, recorder.events, n))
    assert.equal(fault, undefined, `after ${n} events`)
  }
  const after = deviceAfter(base, recorder.events, recorder.events.length)
  const { clean, head } = stateOf(after)
  assert.equal(clean, true)
  const ahead = openRing(Volume.open(after)).read(head.block, 400)
  const view = new DataView(ahead.buffer)
  for (let i = 0; i < 400; i++) assert.equal(blockCycle(view, i * BASIC_BLOCK), head.cycle - 1, `block ${i} ahead`)
})
