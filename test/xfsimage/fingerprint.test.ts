import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, readFileSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { memoryDevice } from '../../src/device/memory.ts'
import { type Fingerprint, mkfs, requireSame, XfsError, XfsImage } from '../../src/index.ts'
import { judge } from '../support/judge.ts'
import { mountImage, skip } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'

/** The state of an image shows whether it was changed, and a change may depend on it. */
const SIZE = 64 * 2 ** 20
const stale = (why: RegExp) => (error: unknown) =>
  error instanceof XfsError && error.code === 'STALE' && why.test(error.message)

test('every change moves the head of the log; reading changes nothing', async () => {
  const device = memoryDevice(SIZE)
  await mkfs(device)
  const image = XfsImage.open(device, { write: true })
  const states = [image.fingerprint()]
  for (const change of [
    () => image.mkdir('/a'),
    () => image.writeFile('/a/b', 'text'),
    () => image.chmod('/a', 0o700),
    () => image.rm('/a', { recursive: true }),
  ]) {
    change()
    states.push(image.fingerprint())
  }
  assert.equal(new Set(states.map(({ log }) => log)).size, states.length)
  assert.deepEqual(image.check().findings.list, [])
  image.close()
  const last = XfsImage.open(device)
  last.readdir('/')
  const { log, ...rest } = last.fingerprint()
  assert.deepEqual(rest, { uuid: rest.uuid, size: SIZE, superblock: rest.superblock, groups: rest.groups })
  assert.deepEqual(last.fingerprint(), { log, ...rest })
})

test('bytes written below the log are seen in the headers and roots of AGs', async () => {
  const device = memoryDevice(SIZE)
  await mkfs(device)
  const before = XfsImage.open(device).fingerprint()
  const { sectsize, blocksize, sb } = XfsImage.open(device).geometry
  const places = {
    superblock: [100],
    groups: [
      sectsize + 60,
      3 * sectsize + 40,
      sb.agblocks * blocksize + 2 * sectsize + 16,
      3 * sb.agblocks * blocksize + 8,
    ],
  }
  for (const [name, offsets] of Object.entries(places)) {
    for (const offset of offsets) {
      const byte = new Uint8Array(1)
      device.read(byte, offset)
      const changed = Uint8Array.of((byte[0] as number) ^ 1)
      device.write(changed, offset)
      const now = XfsImage.open(device).fingerprint()
      assert.notEqual(now[name as keyof Fingerprint], before[name as keyof Fingerprint], `byte ${offset}`)
      assert.throws(() => requireSame(before, now), stale(/the image was changed: .*the checksum of/))
      device.write(byte, offset)
    }
  }
  requireSame(before, XfsImage.open(device).fingerprint())
})

test('a change that expects a state is refused in any other, and writes nothing', async () => {
  const folder = tempDir()
  const path = join(folder, 'image')
  const copy = join(folder, 'copy')
  await mkfs(path, { size: SIZE })
  await XfsImage.edit(path, {}, (image) => image.writeFile('/a', 'text'))
  let state: Fingerprint | undefined
  const onState = (found: Fingerprint): void => {
    state = found
  }
  await XfsImage.edit(path, { dryRun: true, onState }, (image) => image.unlink('/a'))
  const expected = state as unknown as Fingerprint
  assert.match(expected.modified ?? '', /^\d+$/)
  const expects = { onState: (found: Fingerprint) => requireSame(expected, found) }
  copyFileSync(path, copy)
  const other = readFileSync(copy)
  await assert.rejects(
    XfsImage.edit(copy, expects, (image) => image.unlink('/a')),
    stale(/modification time/),
  )
  assert.ok(readFileSync(copy).equals(other))
  // Also for a copy that would be made.
  await assert.rejects(
    XfsImage.edit(copy, { ...expects, output: join(folder, 'output') }, (image) => image.unlink('/a')),
    stale(/modification time/),
  )
  assert.throws(() => statSync(join(folder, 'output')))
  await XfsImage.edit(path, expects, (image) => image.unlink('/a'))
  const was = readFileSync(path)
  await assert.rejects(
    XfsImage.edit(path, expects, (image) => image.mkdir('/b')),
    stale(/the head of the log/),
  )
  assert.ok(readFileSync(path).equals(was))
  judge(path)
})

test('a change by the kernel is seen without the time of the file', { skip: skip.kernel }, async () => {
  const path = join(tempDir(), 'image')
  await mkfs(path, { size: SIZE })
  utimesSync(path, 1_600_000_000, 1_600_000_000)
  const state = async (): Promise<Fingerprint> => {
    const found: Fingerprint[] = []
    await XfsImage.edit(path, { dryRun: true, onState: (now) => found.push(now) }, () => {})
    return found[0] as Fingerprint
  }
  const before = await state()
  mountImage(path, (mounted) => mkdirSync(join(mounted, 'new')))
  utimesSync(path, 1_600_000_000, 1_600_000_000)
  const after = await state()
  assert.equal(after.modified, before.modified)
  assert.throws(() => requireSame(before, after), stale(/the head of the log/))
})

test('removeTree reports what it has removed', async () => {
  const device = memoryDevice(SIZE)
  await mkfs(device)
  const image = XfsImage.open(device, { write: true })
  image.mkdir('/top/below/deep', { recursive: true })
  image.writeFile('/top/file', '')
  const removed: string[] = []
  const count = await image.removeTree('/top', { onRemove: (path) => removed.push(Buffer.from(path).toString()) })
  assert.equal(count, removed.length)
  assert.equal(removed.at(-1), '', 'the top, last')
  assert.deepEqual(removed.sort(), ['', 'below', 'below/deep', 'file'])
  assert.deepEqual(image.check().findings.list, [])
})
