import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import { fpunch } from '../../src/data/fallocate.ts'
import type { Device } from '../../src/device/device.ts'
import { openFile } from '../../src/device/file.ts'
import { overlay } from '../../src/device/overlay.ts'
import { type DeviceEvent, record } from '../../src/device/record.ts'
import { loggedCommits } from '../../src/log/checkpoint.ts'
import { recover } from '../../src/recovery/recover.ts'
import { dedupe } from '../../src/reflink/dedupe.ts'
import { fsr } from '../../src/reflink/fsr.ts'
import { unshare } from '../../src/reflink/unshare.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { withTempDir } from '../support/temp.ts'
import { type Files, filesOf, newImage, openVolume } from './images.ts'

/**
 * The process is killed at every write to the device; earlier writes are in the image. The image is
 * sound, or has NEEDSREPAIR and a repair makes it sound. Every block of every file has its old or
 * its new content.
 */
const PATHS = ['a', 'b', 'c', 'd']

/** Fragmented and shared files, large enough for trees of several blocks at 1 KiB. */
function prepare(files: Files): void {
  const { volume } = files
  const { blocksize } = volume.geometry
  files.fill('a', 0, 260)
  for (let i = 0; i < 260; i += 3) fpunch(volume, files.ino('a'), i * blocksize, blocksize)
  files.fill('b', 0, 200, 3)
  for (let i = 0; i < 200; i += 4) fpunch(volume, files.ino('b'), i * blocksize, blocksize)
  files.clone('a', 'c')
  for (let i = 0; i < 250; i += 10) files.fill('c', i, 1, 100)
  files.fill('d', 0, 30, 3)
}

const operations: Readonly<Record<string, (files: Files) => void>> = {
  'clone a fragmented file over another': (files) => files.clone('a', 'b'),
  'clone into a new range': (files) => files.clone('c', 'd', { dstOffset: 40 * files.volume.geometry.blocksize }),
  dedupe: (files) =>
    void finish(
      dedupe(files.volume, files.ino('b'), files.ino('d'), {
        srcOffset: 0,
        dstOffset: 0,
        length: 30 * files.volume.geometry.blocksize,
      }),
    ),
  'write into shared blocks': (files) => files.fill('c', 30, 120, 77),
  unshare: (files) =>
    void finish(unshare(files.volume, files.ino('c'), { offset: 0, length: 260 * files.volume.geometry.blocksize })),
  fsr: (files) => void finish(fsr(files.volume, files.ino('a'), { shared: 'keep' })),
}

/** The content of every file, block by block. */
const contents = (files: Files): Map<string, Buffer> => new Map(PATHS.map((path) => [path, files.read(path)]))

function apply(device: Device, event: DeviceEvent): void {
  if (event.kind === 'write') device.write(event.bytes, event.position)
  else if (event.kind === 'zero') device.zero(event.position, event.length)
}

/** Does every block have one of its valid contents? */
function assertContents(
  found: Map<string, Buffer>,
  before: Map<string, Buffer>,
  after: Map<string, Buffer>,
  blocksize: number,
): void {
  for (const path of PATHS) {
    const [now, old, next] = [found, before, after].map((files) => files.get(path) as Buffer) as [
      Buffer,
      Buffer,
      Buffer,
    ]
    assert.ok(now.length === old.length || now.length <= next.length, `${path} has ${now.length} bytes`)
    for (let at = 0; at < now.length; at += blocksize) {
      const block = now.subarray(at, at + blocksize)
      const zero = block.every((byte) => byte === 0)
      const ok =
        block.equals(old.subarray(at, at + block.length)) ||
        block.equals(next.subarray(at, at + block.length)) ||
        (zero && at >= old.length)
      assert.ok(ok, `${path}: block ${at / blocksize} is neither old nor new`)
    }
  }
}

for (const [name, operation] of Object.entries(operations)) {
  test(`killed at every write: ${name}`, () => {
    withTempDir((folder) => {
      const image = newImage(folder, 'image', '300m', ['-b', 'size=1024'])
      const first = openVolume(image)
      prepare(filesOf(first))
      first.close()
      const recorder = record(overlay(openFile(image, 'r')))
      const volume = Volume.open(recorder, { write: true, committer: loggedCommits })
      const files = filesOf(volume)
      const before = contents(files)
      operation(files)
      const after = contents(files)
      volume.sync()
      const { events } = recorder
      recorder.close()
      const progress = overlay(openFile(image, 'r'))
      for (let n = 0; n <= events.length; n++) {
        if (n > 0) apply(progress, events[n - 1] as DeviceEvent)
        const crashed = overlay(progress)
        assert.equal(recover(crashed).refused, undefined, `after write ${n}`)
        const survivor = Volume.open(crashed)
        const findings = check(crashed, survivor.geometry).findings.list
        assert.deepEqual(
          findings.slice(0, 10).map((finding) => `${finding.id}: ${describe(finding)}`),
          [],
          `after write ${n} of ${events.length}`,
        )
        assertContents(contents(filesOf(survivor)), before, after, survivor.geometry.blocksize)
      }
    })
  })
}
