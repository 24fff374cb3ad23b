import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { memoryDevice, overlay } from '../../src/devices.ts'
import { check, mkfs, recover, repair, XfsError, XfsImage } from '../../src/index.ts'
import { judge } from '../support/judge.ts'
import { tempDir } from '../support/temp.ts'

/** The facade with files of the host: streams, put, get, mkfs, and images that cannot be opened. */

const code = (wanted: string) => (error: unknown) => error instanceof XfsError && error.code === wanted

const SIZE = 64 * 2 ** 20

/** A new image file; it is judged after `use`. */
function withImage(use: (image: XfsImage, folder: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const folder = tempDir()
    const path = join(folder, 'disk.img')
    await mkfs(path, { imageSize: SIZE })
    const image = XfsImage.open(path, { write: true })
    try {
      await use(image, folder)
    } finally {
      image.close()
    }
    judge(path)
  }
}

function tree(folder: string): string {
  const top = join(folder, 'tree')
  mkdirSync(join(top, 'etc'), { recursive: true })
  writeFileSync(join(top, 'etc', 'motd'), 'welcome\n')
  writeFileSync(join(top, 'run.sh'), '#!/bin/sh\n')
  symlinkSync('etc/motd', join(top, 'link'))
  return top
}

const pattern = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 0xff)

test(
  'streams: ranges, holes, new files that appear complete',
  withImage(async (image) => {
    const bytes = pattern(3_000_001)
    await pipeline(
      Readable.from([bytes.subarray(0, 1_500_000), bytes.subarray(1_500_000)]),
      image.createWriteStream('/f'),
    )
    assert.deepEqual(image.readFile('/f'), bytes)
    const back = async (options = {}) => Buffer.concat(await image.createReadStream('/f', options).toArray())
    assert.ok((await back()).equals(bytes))
    assert.ok((await back({ start: 5, end: 5 })).equals(bytes.subarray(5, 6)))
    assert.ok(
      (await back({ start: 100_000, end: 400_000, highWaterMark: 1000 })).equals(bytes.subarray(100_000, 400_001)),
    )
    assert.equal((await back({ start: 4_000_000 })).length, 0)
    image.truncate('/f', 3_100_000)
    assert.ok((await back({ start: 3_000_001 })).equals(Buffer.alloc(99_999)))

    await pipeline(Readable.from(['more']), image.createWriteStream('/f', { flags: 'a' }))
    assert.equal(image.readFile('/f', { encoding: 'utf8', offset: 3_100_000 }), 'more')
    await pipeline(Readable.from(['XY']), image.createWriteStream('/f', { flags: 'r+', start: 1 }))
    assert.equal(image.readFile('/f', { encoding: 'utf8', offset: 1, length: 2 }), 'XY')
    await pipeline(Readable.from(['short']), image.createWriteStream('/f'))
    assert.equal(image.readFile('/f', 'utf8'), 'short')
    await assert.rejects(pipeline(Readable.from(['x']), image.createWriteStream('/f', { flags: 'wx' })), code('EXIST'))
    await assert.rejects(pipeline(Readable.from(['x']), image.createWriteStream('/no/where')), code('NOENT'))
    await assert.rejects(image.createReadStream('/').toArray(), code('ISDIR'))
    assert.throws(() => image.createReadStream('/none'), code('NOENT'))
  }),
)

test(
  'a new file whose stream fails or is stopped leaves nothing',
  withImage(async (image) => {
    const failing = async function* () {
      yield pattern(2_000_000)
      assert.deepEqual(image.readdir('/'), [], 'it has no name yet')
      throw new Error('no more')
    }
    await assert.rejects(pipeline(failing, image.createWriteStream('/f')), /no more/)
    await assert.rejects(image.writeFrom('/f', failing()), /no more/)
    const controller = new AbortController()
    const endless = async function* () {
      for (let i = 0; ; i++) {
        if (i === 3) controller.abort(new Error('enough'))
        yield pattern(100_000)
      }
    }
    await assert.rejects(image.writeFrom('/f', endless(), { signal: controller.signal }), /enough/)
    const full = Array.from({ length: 80 }, () => pattern(2 ** 20))
    await assert.rejects(image.writeFrom('/f', full), code('NOSPC'))
    assert.deepEqual(image.readdir('/'), [])
    assert.deepEqual(image.check().findings.list, [])
  }),
)

test(
  'other changes and streams go on beside a stream; long changes make it wait',
  withImage(async (image) => {
    image.mkdir('/d')
    for (let i = 0; i < 1000; i++) image.writeFile(`/d/${i}`, 'x')
    const slow = (text: string) =>
      (async function* () {
        for (let i = 0; i < 50; i++) {
          image.writeFile(`/beside ${text}`, String(i))
          yield `${text}${i},`
          await new Promise((resolve) => setImmediate(resolve))
        }
      })()
    const both = Promise.all([image.writeFrom('/a', slow('a')), image.writeFrom('/b', slow('b'))])
    await new Promise((resolve) => setImmediate(resolve))
    assert.throws(() => image.repair(), code('BUSY'))
    const [a, b] = await both
    assert.equal(a, b)
    assert.equal(image.readFile('/a', 'utf8').split(',')[49], 'a49')
    const [removed, length] = await Promise.all([image.removeTree('/d'), image.writeFrom('/c', ['x'.repeat(10)])])
    assert.deepEqual([removed, length], [1001, 10])
  }),
)

test('a file that is being written when the image is closed is removed', async () => {
  const path = join(tempDir(), 'disk.img')
  await mkfs(path, { imageSize: SIZE })
  const image = XfsImage.open(path, { write: true })
  const stream = image.createWriteStream('/f')
  await new Promise<void>((resolve, reject) =>
    stream.write(pattern(3_000_000), (error) => (error ? reject(error) : resolve())),
  )
  image.close()
  await assert.rejects(new Promise((_, reject) => stream.on('error', reject).end()), code('INVAL'))
  judge(path)
  assert.deepEqual(XfsImage.open(path).readdir('/'), [])
})

test(
  'put: destinations as for cp, owners and permissions, progress, a signal',
  withImage(async (image, folder) => {
    const top = tree(folder)
    assert.equal((await image.put(`${top}/.`, '/')).files, 4)
    assert.deepEqual(image.readdir('/').sort(), ['etc', 'link', 'run.sh'])
    await image.put(top, '/copy')
    await image.put([top, pathToFileURL(join(top, 'run.sh'))], '/copy')
    await image.put({ path: Buffer.from(join(top, 'run.sh')) }, '/copy/new')
    assert.deepEqual(image.readdir('/copy').sort(), ['etc', 'link', 'new', 'run.sh', 'tree'])
    await assert.rejects(image.put([top, join(top, 'link')], '/new'), code('NOTDIR'))
    await assert.rejects(image.put(`${top}/.`, '/new'), code('NOTDIR'))
    await assert.rejects(image.put('..', '/'), code('INVAL'))

    let steps = 0
    await image.put(top, '/owned', {
      owner: { uid: 7, gid: 8 },
      mode: (permissions, isDirectory) => (isDirectory ? 0o700 : permissions & 0o444),
      rules: [{ pattern: '*.sh', uid: 9, mode: 0o755 }],
      atime: new Date(86_400_000),
      onProgress: () => steps++,
    })
    assert.ok(steps > 0)
    const owned = (path: string) => {
      const { uid, gid, mode, atimeMs } = image.stat(path)
      return [uid, gid, mode & 0o7777, atimeMs]
    }
    assert.deepEqual(owned('/owned/etc'), [7, 8, 0o700, 86_400_000])
    assert.deepEqual(owned('/owned/etc/motd'), [7, 8, 0o444, 86_400_000])
    assert.deepEqual(owned('/owned/run.sh'), [9, 8, 0o755, 86_400_000])

    const problems: string[] = []
    const result = await image.put(join(folder, 'none'), '/', { onProblem: ({ message }) => problems.push(message) })
    assert.equal(result.problemCount, 1)
    assert.deepEqual(
      problems,
      result.problems.map(({ message }) => message),
    )
    await assert.rejects(image.put(top, '/late', { signal: AbortSignal.abort(new Error('stop')) }), /stop/)
    assert.equal(image.exists('/late'), false)
  }),
)

test(
  'tar: to and from files and streams',
  withImage(async (image, folder) => {
    const top = tree(folder)
    await image.put(top, '/tree')
    const archive = join(folder, 'a.tgz')
    await image.get('/tree', archive, { gzip: true })
    await assert.rejects(image.put(archive, '/none', { tar: true }), code('NOTDIR'))
    image.mkdir('/one')
    await image.put(archive, '/one', { tar: true })
    image.mkdir('/two')
    const through = new PassThrough()
    const collected = through.toArray()
    await image.get(['/tree/.', '/tree/etc'], through)
    await image.put(Readable.from(await collected), '/two')
    image.mkdir('/three')
    const web = new TransformStream<Uint8Array, Uint8Array>()
    await Promise.all([
      image.get('/tree/.', web.writable),
      collect(web.readable).then((all) => writeFileSync(archive, all)),
    ])
    await image.put(archive, '/three', { tar: true })
    for (const at of ['/one/tree', '/two', '/three']) {
      assert.equal(image.readFile(`${at}/etc/motd`, 'utf8'), 'welcome\n', at)
      assert.equal(image.readlink(`${at}/link`), 'etc/motd', at)
    }
    await assert.rejects(image.get('/none', archive, { tar: true }), code('NOENT'))
    const broken = new Writable({ write: (_chunk, _encoding, done) => done(new Error('disk full')) })
    await assert.rejects(image.get('/', broken), /disk full/)
    const stuck = new Writable({ write() {} })
    const controller = new AbortController()
    setTimeout(() => controller.abort(new Error('too slow')), 50)
    image.writeFile('/large', pattern(4_000_000))
    await assert.rejects(image.get('/', stuck, { signal: controller.signal }), /too slow/)
    await assert.rejects(image.put(Readable.from(['no archive'.repeat(1000)]), '/two'), code('INVAL'))
    const stopped = join(folder, 'stopped.tar')
    const after = { signal: AbortSignal.abort(new Error('stop')) }
    await assert.rejects(image.get('/', stopped, { tar: true, ...after }), /stop/)
    assert.deepEqual(readdirSync(folder).sort(), ['.disk.img.xfskit-lock', 'a.tgz', 'disk.img', 'tree'])
  }),
)

async function collect(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = []
  for await (const bytes of stream) all.push(bytes)
  return Buffer.concat(all)
}

test(
  'get: destinations as for cp; changes are refused meanwhile',
  withImage(async (image, folder) => {
    await image.put(tree(folder), '/tree')
    const out = join(folder, 'out')
    const running = image.get('/tree', out)
    assert.throws(() => image.writeFile('/f', 'x'), code('BUSY'))
    assert.equal((await running).problemCount, 0)
    assert.equal(readFileSync(join(out, 'etc', 'motd'), 'utf8'), 'welcome\n')
    await image.get(['/tree/etc', '/tree/run.sh'], out)
    await image.get('/tree/etc', pathToFileURL(out))
    assert.deepEqual(readdirSync(out).sort(), ['etc', 'link', 'run.sh'])
    await assert.rejects(image.get(['/tree/etc/motd', '/tree/etc/motd'], out), code('EXIST'))
    await assert.rejects(image.get(['/tree', '/tree/etc'], join(folder, 'none')), code('NOTDIR'))
    await assert.rejects(image.get('/none', out), code('NOENT'))
  }),
)

test('mkfs: an image file, complete or not at all', async () => {
  const folder = tempDir()
  const path = join(folder, 'disk.img')
  const top = tree(folder)
  await assert.rejects(mkfs(path), code('NOENT'))
  await assert.rejects(mkfs(path, { from: top }), code('NOENT'))
  await assert.rejects(mkfs(path, { imageSize: SIZE, from: join(folder, 'none') }), code('NOENT'))
  writeFileSync(join(top, 'large'), pattern(1000))
  const full = pattern(80 * 2 ** 20)
  writeFileSync(join(folder, 'large'), full)
  await assert.rejects(mkfs(path, { imageSize: SIZE, from: folder }), code('NOSPC'))
  assert.equal(existsSync(path), false)
  const time = new Date('2026-03-01T00:00:00Z')
  const planned = await mkfs(path, { imageSize: SIZE, action: 'plan', label: 'built' })
  assert.equal(existsSync(path), false)
  const made = await mkfs(path, {
    imageSize: SIZE, label: 'built', time, from: pathToFileURL(top), owner: { uid: 0, gid: 0 },
  }) // biome-ignore format: one line
  assert.equal(made.report, planned.report)
  assert.deepEqual([made.filled?.files, made.filled?.problemCount], [5, 0])
  judge(path)
  const image = XfsImage.open(path)
  assert.equal(image.readFile('/etc/motd', 'utf8'), 'welcome\n')
  assert.equal(image.stat('/').ctimeMs, time.getTime())
  await image.get('/', join(folder, 'all.tar'), { tar: true })
  const before = readFileSync(path)
  await assert.rejects(mkfs(path, { from: top }), code('EXIST'))
  const stop = { signal: AbortSignal.abort(new Error('stop')) }
  await assert.rejects(mkfs(path, { from: top, existing: 'overwrite', ...stop }), /stop/)
  assert.ok(readFileSync(path).equals(before))
  await mkfs(path, { from: join(folder, 'all.tar'), existing: 'overwrite' })
  judge(path)
  assert.equal(XfsImage.open(path).readFile('/etc/motd', 'utf8'), 'welcome\n')

  const busy = XfsImage.open(path, { write: true })
  await assert.rejects(mkfs(path, { existing: 'overwrite' }), code('BUSY'))
  await assert.rejects(mkfs(path, { existing: 'overwrite', from: top }), code('BUSY'))
  assert.throws(() => XfsImage.open(path, { write: true }), code('BUSY'))
  busy.close()
})

test('mkfs on a device: what is there is refused, and one that is not filled has no filesystem', async () => {
  const folder = tempDir()
  const top = tree(folder)
  const device = memoryDevice(SIZE)
  await mkfs(device, { from: top })
  const image = XfsImage.open(device, { write: true })
  assert.equal(image.readFile('/etc/motd', 'utf8'), 'welcome\n')
  assert.deepEqual(image.check().findings.list, [])
  await assert.rejects(mkfs(device, { existing: 'overwrite' }), code('BUSY'))
  await assert.rejects(repair(device), code('BUSY'))
  assert.throws(() => XfsImage.open(device, { write: true }), code('BUSY'), 'two writers')
  image.close()
  await assert.rejects(mkfs(device), code('EXIST'))
  writeFileSync(join(top, 'large'), pattern(80 * 2 ** 20))
  await assert.rejects(mkfs(device, { existing: 'overwrite', from: top }), code('NOSPC'))
  assert.throws(() => XfsImage.open(device), code('INVAL'))

  const path = join(folder, 'part.img')
  writeFileSync(path, Buffer.alloc(2 * SIZE))
  await mkfs(path, { offset: SIZE, size: SIZE / 2 })
  using part = XfsImage.open(path, { offset: SIZE })
  assert.deepEqual(part.check().findings.list, [])
  assert.equal(part.geometry.sb.dblocks * part.geometry.blocksize, SIZE / 2)
})

test('check, recover and repair of images that cannot be opened', async () => {
  const path = join(tempDir(), 'disk.img')
  await mkfs(path, { imageSize: SIZE })
  assert.deepEqual((await check(path)).findings.list, [])
  // A bit of AG 1's free space count.
  const bytes = readFileSync(path)
  const { agblocks, blocksize, sectsize } = XfsImage.open(path).geometry
  const at = agblocks * blocksize + sectsize + 55
  bytes[at] = (bytes[at] as number) ^ 1
  writeFileSync(path, bytes)
  const found = (await check(path)).findings.list.map(({ id }) => id)
  assert.ok(found.length > 0)
  assert.deepEqual(
    (await check(readFileSync(path))).findings.list.map(({ id }) => id),
    found,
  )
  const planned = await repair(path, { dryRun: true })
  assert.equal(planned.changed, false)
  assert.ok(readFileSync(path).equals(bytes))
  assert.match((await recover(path, { dryRun: true })).refused ?? '', /checksum/)
  assert.equal((await repair(path)).changed, true)
  judge(path)
  await assert.rejects(check(join(path, 'none')), code('IO'))
  await assert.rejects(check(`${path}.none`), code('NOENT'))
  await assert.rejects(check(overlay(memoryDevice(SIZE))), code('INVAL'))
})
