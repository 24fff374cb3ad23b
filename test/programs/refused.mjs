// What would damage an image is refused, and changes nothing.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as xfskit from 'xfskit'
import { deviceAfter, memoryDevice, record } from 'xfskit/device'

const { check, mkfs, recover, XfsError, XfsImage } = xfskit
const SIZE = 64 * 2 ** 20
const code = (wanted) => (error) => error instanceof XfsError && error.code === wanted

// Another process: only one changes an image.
if (process.argv[2] === 'second') {
  assert.throws(() => XfsImage.open(process.argv[3], { write: true }), code('BUSY'))
  await assert.rejects(mkfs(process.argv[3], { existing: 'overwrite' }), code('BUSY'))
  await assert.rejects(xfskit.repair(process.argv[3]), code('BUSY'))
  process.exit(7)
}

// A dirty log is not written over; and changes are never made in place before the log has them:
// whatever write is the last, the image is recovered.
const base = memoryDevice(SIZE)
await mkfs(base)
const recorder = record(deviceAfter(base, [], 0))
const first = XfsImage.open(recorder, { write: true })
for (let i = 0; i < 10; i++) first.writeFile(`/file ${i}`, 'x')
await first.reflink('/file 0', '/shared')
first.unlink('/file 1')
first.close()
let dirty = 0
for (let n = 0; n <= recorder.events.length; n++) {
  const cut = record(deviceAfter(base, recorder.events, n))
  try {
    XfsImage.open(cut, { write: true }).close()
  } catch (error) {
    assert.ok(code('DIRTYLOG')(error) || /NEEDSREPAIR/.test(error.message), error.message)
    dirty += error.code === 'DIRTYLOG' ? 1 : 0
    assert.equal(cut.events.length, 0, 'nothing was written')
    await assert.rejects(mkfs(cut), code('EXIST'))
  }
  assert.equal((await recover(cut)).refused, undefined)
  assert.deepEqual((await check(cut)).findings.list, [], `after ${n} writes`)
}
assert.ok(dirty > 0)

// No way around: neither by an export nor by a path into the package.
for (const name of ['Volume', 'openImage', 'withTransaction', 'Transaction', 'reflink', 'dedupe', 'ioSession'])
  assert.ok(!(name in xfskit), name)
await assert.rejects(import('xfskit/dist/src/volume.js'), { code: 'ERR_PACKAGE_PATH_NOT_EXPORTED' })

// A number is not a file, and a removed file is not the one that has its number now.
const image = XfsImage.open(base, { write: true })
image.writeFile('/old', 'old')
const old = image.file('/old')
image.unlink('/old')
image.writeFile('/new', 'new')
assert.equal(image.stat('/new').ino, old.ino)
for (const file of [old, old.ino, { ino: old.ino, generation: 0 }, null, undefined]) {
  const wanted = code(file === old ? 'STALE' : 'INVAL')
  assert.throws(() => image.writeFile(file, 'other'), wanted)
  assert.throws(() => image.truncate(file), wanted)
  assert.throws(() => image.rm(file, { recursive: true }), file === old ? code('INVAL') : wanted)
  await assert.rejects(image.reflink(file, '/new'), wanted)
  await assert.rejects(image.reflink('/new', file), wanted)
  await assert.rejects(image.dedupe('/new', file), wanted)
  await assert.rejects(image.unshare(file), wanted)
}
assert.equal(image.readFile('/new', 'utf8'), 'new')

// Two writers.
assert.throws(() => XfsImage.open(base, { write: true }), code('BUSY'))
await assert.rejects(xfskit.repair(base), code('BUSY'))
image.close()
const folder = mkdtempSync(join(tmpdir(), 'xfskit-program-'))
const path = join(folder, 'disk.img')
await mkfs(path, { imageSize: SIZE })
const writer = XfsImage.open(path, { write: true })
assert.throws(() => XfsImage.open(path, { write: true }), code('BUSY'))
const second = spawnSync(process.execPath, [process.argv[1], 'second', path], { encoding: 'utf8' })
assert.equal(second.status, 7, second.stderr)
writer.writeFile('/f', 'x')
writer.close()
assert.deepEqual((await check(readFileSync(path))).findings.list, [])
rmSync(folder, { recursive: true })
console.log('done')
