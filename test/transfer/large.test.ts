import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { ftruncateSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readFile } from '../../src/data/data.ts'
import { writeFile } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { deviceAfter } from '../../src/device/record.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { recover } from '../../src/recovery/recover.ts'
import { Volume } from '../../src/volume.ts'
import { xfskit, xfskitOk } from '../support/cli.ts'
import { writeImage } from '../support/crashimages.ts'
import { judge } from '../support/judge.ts'
import { random } from '../support/random.ts'
import { recordCommands } from '../support/recording.ts'
import { tempDir, withTempDir } from '../support/temp.ts'

/**
 * A large file is on the image completely, with its name, or not at all. The file that it replaces
 * stays until then.
 */

const MIB = 2 ** 20
const OLD = random(4).bytes(3 * MIB)

/** A filesystem with `/file`, and about 30 MiB free. */
function formatted(): Device {
  const device = memoryDevice(48 * MIB)
  mkfs(device, { agcount: 2 })
  const volume = Volume.open(device, { write: true })
  writeFile(volume, createFile(volume, '/file', 0o644).ino, 0, OLD)
  volume.sync()
  return device
}

test('put: a large file that does not fit changes nothing', () => {
  withTempDir((folder) => {
    const [image, host] = [join(folder, 'image'), join(folder, 'file')]
    writeImage(formatted(), image)
    writeFileSync(host, Buffer.alloc(50 * MIB, 'x'))
    const before = readFileSync(image)
    for (const target of ['/', '/new']) {
      const { status, stderr } = xfskit(['put', image, host, target])
      assert.equal(status, 1, stderr)
      assert.match(stderr, /no space/)
      assert.ok(readFileSync(image).equals(before), target)
    }
  })
})

test('put: a large file of an archive that does not fit is reported once, and others are copied', () => {
  withTempDir((folder) => {
    const [image, archive] = [join(folder, 'image'), join(folder, 'all.tar')]
    writeImage(formatted(), image)
    writeFileSync(join(folder, 'file'), Buffer.alloc(50 * MIB, 'x'))
    writeFileSync(join(folder, 'small'), 'small')
    execFileSync('tar', ['cf', archive, '-C', folder, 'file', 'small'])
    const { status, stdout, stderr } = xfskit(['put', image, '--tar', archive, '/'])
    assert.equal(status, 4, stderr)
    assert.match(stdout, /^copied 1 file, 5 bytes; 1 could not be copied$/m)
    assert.match(stderr, /^.*: no space: .*\n$/)
    assert.equal(xfskitOk(['cat', image, '/small']), 'small')
    xfskitOk(['get', image, '/file', join(folder, 'back')])
    assert.ok(readFileSync(join(folder, 'back')).equals(OLD))
  })
})

test('put: nothing stays of a file with holes that turns out not to fit', () => {
  withTempDir((folder) => {
    const [image, host] = [join(folder, 'image'), join(folder, 'file')]
    writeImage(formatted(), image)
    const fd = openSync(host, 'w')
    for (let at = 0; at < 50; at++) writeSync(fd, Buffer.alloc(MIB, 'x'), 0, MIB, at * MIB)
    ftruncateSync(fd, 60 * MIB)
    const names = xfskitOk(['find', image, '/'])
    for (const target of ['/', '/new']) {
      const { status, stderr } = xfskit(['put', image, host, target])
      assert.equal(status, 4, stderr)
      assert.match(stderr, /no space/)
    }
    assert.equal(xfskitOk(['find', image, '/']), names)
    xfskitOk(['get', image, '/file', join(folder, 'back')])
    assert.ok(readFileSync(join(folder, 'back')).equals(OLD))
    judge(image)
  })
})

test('put: a large file over another, cut off anywhere: the old one or the new one', async () => {
  const folder = tempDir()
  const [image, host] = [join(folder, 'image'), join(folder, 'file')]
  const before = formatted()
  const fresh = random(5).bytes(10 * MIB)
  writeImage(before, image)
  writeFileSync(host, fresh)
  const { events, status } = await recordCommands(image, [['put', image, host, '/']], { syncEvery: 1, trees: false })
  assert.equal(status, 0)
  let [old, unlinked] = [0, 0]
  const CUTS = 12
  for (let i = 0; i <= CUTS; i++) {
    const device = deviceAfter(before, events, Math.floor((events.length * i) / CUTS))
    const { refused, inodes } = recover(device)
    assert.equal(refused, undefined)
    unlinked += inodes
    const found = readFile(resolve(Volume.open(device), '/file'))
    const isOld = Buffer.compare(found, OLD) === 0
    assert.ok(isOld || Buffer.compare(found, fresh) === 0, `after ${i} of ${CUTS}: ${found.length} bytes`)
    if (isOld) old++
  }
  assert.ok(old > CUTS / 4 && old <= CUTS && unlinked > 0, `${old} old, ${unlinked} unlinked`)
})
