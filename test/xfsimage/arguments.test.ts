import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryDevice } from '../../src/devices.ts'
import { mkfs, XfsError, XfsImage } from '../../src/index.ts'

/** Wrong arguments, as of a program without types: refused with XfsError, and nothing changes. */

type Wrong = never

async function withImage(use: (image: XfsImage) => void | Promise<void>): Promise<void> {
  const device = memoryDevice(64 * 2 ** 20)
  await mkfs(device)
  using image = XfsImage.open(device, { write: true })
  image.writeFile('/file', 'hello world')
  image.writeFile('/other', 'other')
  image.sync()
  await use(image)
  image.sync()
  assert.deepEqual(image.check().findings.list, [])
}

const inval = (error: unknown): boolean => error instanceof XfsError && error.code === 'INVAL'

test('wrong arguments of changes are refused, and change nothing', () =>
  withImage(async (image) => {
    const before = image.fingerprint()
    const calls: [string, () => unknown][] = [
      ...['a+', 'w+', 'as', 'x', '', 'r', null, 5, Symbol('flag')].map((flag): [string, () => unknown] => [
        `flag ${String(flag)}`,
        () => image.writeFile('/file', 'X', { flag: flag as Wrong }),
      ]),
      ...[undefined, null, 5, 5n, {}, [], [1], new ArrayBuffer(2), Symbol('data')].map(
        (data): [string, () => unknown] => [`data ${String(data)}`, () => image.writeFile('/file', data as Wrong)],
      ),
      ...[Number.NaN, -1, 1.5, '755', null, undefined, 2 ** 40, 1n].map((mode): [string, () => unknown] => [
        `mode ${mode}`,
        () => image.chmod('/file', mode as Wrong),
      ]),
      ['mode of a directory', () => image.mkdir('/dir', { mode: Number.NaN })],
      ['mode of a file', () => image.writeFile('/new', '', { mode: 'rw' as Wrong })],
      ...[1.5, '0', null, true, [], Symbol('id')].map((uid): [string, () => unknown] => [
        `uid ${String(uid)}`,
        () => image.chown('/file', uid as Wrong, 0),
      ]),
      ...[Number.NaN, Number.POSITIVE_INFINITY, 'x', null, undefined, {}, new Date(Number.NaN)].map(
        (time): [string, () => unknown] => [`time ${String(time)}`, () => image.utimes('/file', 0, time as Wrong)],
      ),
      ...[1.5, -1, Number.NaN, '0', null].map((offset): [string, () => unknown] => [
        `offset ${offset}`,
        () => image.writeFile('/file', 'X', { flag: 'r+', offset: offset as Wrong }),
      ]),
      ['fallocate', () => image.fallocate('/file', 'toString' as Wrong, 0, 1)],
      ['rename', () => image.rename('/file', '/other', { existing: 'refused' as Wrong })],
      ['link', () => image.link('/file', '/other', { existing: 'exchange' as Wrong })],
      ['symlink', () => image.symlink('x', '/other', { existing: true as Wrong })],
      ['target', () => image.symlink(5 as Wrong, '/new')],
      ['xattr mode', () => image.xattr.set('/file', 'user.x', 'v', { mode: 'replce' as Wrong })],
      ['xattr value', () => image.xattr.set('/file', 'user.x', 5 as Wrong)],
      ['size', () => image.truncate('/file', Symbol('size') as Wrong)],
      ['dedupe', () => image.dedupe('/file', '/other', { srcOffset: Number.NaN })],
      ['unshare', () => image.unshare('/file', { offset: 1.5 })],
      ['reflink', () => image.reflink('/file', '/other', { length: null as Wrong })],
      ['writeFrom', () => image.writeFrom('/file', [], { flag: 'a+' as Wrong })],
    ]
    for (const [name, call] of calls) await assert.rejects(async () => call(), inval, name)
    assert.equal(image.readFile('/file', 'utf8'), 'hello world')
    assert.deepEqual(image.fingerprint(), before)
  }))

test('wrong ranges of reading are refused', () =>
  withImage((image) => {
    for (const value of [Number.NaN, 1.5, -1, '1', null, {}]) {
      assert.throws(() => image.readFile('/file', { offset: value as Wrong }), inval)
      assert.throws(() => image.readFile('/file', { length: value as Wrong }), inval)
      assert.throws(() => image.chunks('/file', { offset: value as Wrong }), inval)
    }
  }))

test('any view of memory is written as its bytes', () =>
  withImage((image) => {
    const words = Uint16Array.of(0xffff, 1000, 2000, 0xffff).subarray(1, 3)
    image.writeFile('/words', words as Wrong)
    assert.deepEqual(image.readFile('/words'), new Uint8Array(words.buffer, 2, 4))
    image.writeFile('/words', new DataView(words.buffer, 1, 3) as Wrong)
    assert.deepEqual(image.readFile('/words'), new Uint8Array(words.buffer, 1, 3))
  }))

test('what is not an image, and options that do not exist, are refused', async () => {
  for (const target of [null, undefined, 5, {}, [], Symbol('image'), () => {}, new URL('http://localhost/x')]) {
    assert.throws(() => XfsImage.open(target as Wrong), inval)
    await assert.rejects(mkfs(target as Wrong, { imageSize: 3e8 }), inval)
  }
  const device = memoryDevice(64 * 2 ** 20)
  await mkfs(device)
  assert.throws(() => XfsImage.open(device, { log: 'ignored' as Wrong }), inval)
  assert.throws(() => XfsImage.open(device, { write: true, time: 'now' as Wrong }), inval)
})
