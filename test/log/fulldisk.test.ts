import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import { writeFile } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { XfsError } from '../../src/errors.ts'
import { loggedCommits } from '../../src/log/checkpoint.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile, mkdir, unlink } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { walkTree } from '../../src/namespace/tree.ts'
import { recoverLog } from '../../src/recovery/recover.ts'
import { Volume } from '../../src/volume.ts'
import { failing } from '../support/failing.ts'

/**
 * The host's disk is full, or fails, at any write. Nothing is written after a commit that could not
 * be completed. When there is space again, replaying the log gives the image before a commit or
 * after it.
 */
const SIZE = 64 * 2 ** 20
const PAGE = 4096
const full = (): Error => new XfsError('NOSPC', "cannot write image: no space left on the host's disk")

function formatted(): Device {
  const device = memoryDevice(SIZE)
  mkfs(device, { blocksize: 1024 })
  return device
}

/**
 * Three commits, each on the device before the next. Throws if the device does.
 * @param before  called before the volume is closed, with the error of the work
 */
function work(device: Device, before: (error: unknown) => void = () => {}): void {
  const volume = Volume.open(device, { write: true, committer: loggedCommits })
  try {
    for (let i = 0; i < 3; i++) {
      const { ino } = createFile(volume, `/file${i}`, 0o644)
      writeFile(volume, ino, 0, new Uint8Array(200_000).fill(i + 1))
      mkdir(volume, `/folder${i}`, 0o755)
      for (let j = 0; j < 40; j++) createFile(volume, `/folder${i}/an empty file, number ${j}`, 0o644)
      if (i > 0) unlink(volume, `/file${i - 1}`)
      volume.committer.sync()
    }
  } catch (error) {
    before(error)
    volume.close()
    throw error
  }
  volume.close()
}

/**
 * Writes to empty pages fail after `count` of them were filled: a sparse image on a disk that
 * becomes full.
 */
function growing(base: Device, sparse: Device, count: number): Device {
  const filled = new Set<number>()
  const zeros = Buffer.alloc(PAGE)
  const isHole = (page: number): boolean => {
    const bytes = new Uint8Array(PAGE)
    sparse.read(bytes, page * PAGE)
    return zeros.equals(bytes)
  }
  return {
    ...base,
    size: base.size,
    write(bytes, position) {
      for (let page = Math.floor(position / PAGE); page * PAGE < position + bytes.length; page++) {
        if (filled.has(page) || !isHole(page)) continue
        if (filled.size >= count) throw full()
        filled.add(page)
      }
      base.write(bytes, position)
    },
  }
}

const names = (device: Device): string[] =>
  [...walkTree(resolve(Volume.open(device), '/'))]
    .map(({ path }) => Buffer.from(path).toString())
    .filter(Boolean)
    .sort()
const findings = (device: Device): string[] =>
  check(device, Volume.open(device).geometry).findings.list.map((finding) => `${finding.id}: ${describe(finding)}`)

for (const [what, limited] of Object.entries({
  'every write fails from the Nth on': (base: Device, _: Device, n: number) => failing(base, n, full),
  'the image cannot grow from the Nth page on': growing,
})) {
  test(`${what}: after a replay the image is sound`, () => {
    const start = formatted()
    const seen = new Set<number>()
    let writes = 0
    for (let n = 0, step = 1; ; n += step) {
      const device = overlay(start)
      let failed: unknown
      const limit = limited(device, start, n)
      let after = -1
      const watched: Device = {
        ...limit,
        size: limit.size,
        write(bytes, position) {
          if (after >= 0) after++
          try {
            limit.write(bytes, position)
          } catch (error) {
            after = Math.max(after, 0)
            throw error
          }
        },
      }
      try {
        // The content of a file could not be written; earlier commits may be on the disk.
        work(watched, (error) => {
          if (error instanceof XfsError && error.code === 'NOSPC') after = -1
        })
      } catch (error) {
        failed = error
      }
      if (!failed) {
        writes = n
        break
      }
      assert.ok(failed instanceof XfsError, String(failed))
      if (failed.code === 'IO') {
        assert.match(failed.message, /is lost|run xfskit recover/)
        assert.equal(after, 0, 'writes after the one that failed')
      }
      recoverLog(device)
      assert.deepEqual(findings(device), [], `${n}: ${failed.message}`)
      const found = names(device)
      seen.add(found.length)
      if (n > 40) step = 7
    }
    assert.ok(writes > 50, `${writes}`)
    assert.ok(seen.size > 2, [...seen].join())
  })
}

test('on a full disk a change fails before a byte of the image has changed', () => {
  const start = formatted()
  const device = overlay(start)
  const volume = Volume.open(growing(device, start, 0), { write: true, committer: loggedCommits })
  assert.throws(() => createFile(volume, '/file', 0o644), {
    code: 'NOSPC',
    message: /no space left on the host's disk/,
  })
  volume.close()
  const [a, b] = [new Uint8Array(SIZE), new Uint8Array(SIZE)]
  start.read(a, 0)
  device.read(b, 0)
  assert.ok(Buffer.from(a.buffer).equals(Buffer.from(b.buffer)))
})
