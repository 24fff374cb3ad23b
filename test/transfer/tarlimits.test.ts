import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { type ByteSource, sourceOf } from '../../src/transfer/bytesource.ts'
import { buildPax, type PaxRecord } from '../../src/transfer/pax.ts'
import { put } from '../../src/transfer/put.ts'
import { readTar } from '../../src/transfer/tarread.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { xfskit, xfskitOk } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { makeImage } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'
import { oneFile } from './archive.ts'

const END = Buffer.alloc(1024)
const record = (key: string, value: string): PaxRecord => [key, Buffer.from(value, 'latin1')]
const extended = (records: readonly PaxRecord[], flag = 'x'): Buffer =>
  oneFile('pax', { flag, body: buildPax(records) })
const tiny = (count: number): Buffer => oneFile('pax', { flag: 'g', body: Buffer.alloc(count * 5, '5 a=\n') })

/** Bytes of an archive; counts the bytes that are requested. */
function counted(archive: Buffer): ByteSource & { readonly read: number } {
  const source = sourceOf([archive])
  let read = 0
  const count = (bytes: Uint8Array): Uint8Array => {
    read += bytes.length
    return bytes
  }
  return {
    take: (length) => count(source.take(length)),
    some: (most) => count(source.some(most)),
    get read() {
      return read
    },
  }
}

const read = (archive: Buffer): unknown[] => [...readTar(sourceOf([archive]))]

test('tar: a list of holes that is none is refused where that shows, not at the end of the file', () => {
  const sparse = extended([
    record('GNU.sparse.major', '1'),
    record('GNU.sparse.minor', '0'),
    record('GNU.sparse.realsize', '1000'),
  ])
  for (const [what, content] of [
    ['no newline', Buffer.alloc(2 ** 22, '1')],
    ['nothing but newlines', Buffer.concat([Buffer.from('1000000\n'), Buffer.alloc(2 ** 22, '\n')])],
    ['out of order', Buffer.from(`100000\n${'5\n1\n'.repeat(100_000)}`)],
  ] as const) {
    const source = counted(Buffer.concat([sparse, oneFile('f', { body: content }), END]))
    assert.throws(() => [...readTar(source)], /not a sound tar archive: (a|the) sparse map/, what)
    assert.ok(source.read <= sparse.length + 1024, `${what}: ${source.read} bytes were read`)
  }
})

test('tar: long lists of holes in all forms are the data that they name', () => {
  const COUNT = 30_000
  const pieces = Array.from({ length: COUNT }, (_, i) => [i * 8192 + (i % 7), 1 + (i % 3)] as const)
  const size = COUNT * 8192
  const total = pieces.reduce((sum, [, length]) => sum + length, 0)
  const content = Buffer.alloc(total, 'x')
  const list = Buffer.from(`${COUNT}\n${pieces.map(([offset, length]) => `${offset}\n${length}\n`).join('')}`)
  const inFront = Buffer.concat([list, Buffer.alloc((512 - (list.length % 512)) % 512), content])
  const head = record('GNU.sparse.size', `${size}`)
  const forms: readonly (readonly [string, readonly PaxRecord[], Buffer])[] = [
    ['0.0', [head, ...pieces.flatMap(([offset, length]) => [record('GNU.sparse.offset', `${offset}`), record('GNU.sparse.numbytes', `${length}`)])], content],
    ['0.1', [head, record('GNU.sparse.map', pieces.join())], content],
    ['1.0', [record('GNU.sparse.major', '1'), record('GNU.sparse.realsize', `${size}`)], inFront],
  ] // biome-ignore format: a table
  for (const [form, records, body] of forms) {
    const archive = Buffer.concat([extended(records), oneFile('f', { body }), END])
    for (const entry of readTar(sourceOf([archive]))) {
      const found = [...entry.content()].map(({ offset, bytes }) => [offset, bytes.length])
      assert.equal(entry.size, size, form)
      assert.deepEqual(found, pieces, form)
    }
  }
})

test('tar: the contents of headers have limits, which are reported', () => {
  const attributes = Array.from({ length: 65_537 }, (_, i) => record(`SCHILY.xattr.user.${i}`, ''))
  for (const [archive, message] of [
    [tiny(2 ** 20 + 1), /an extended header of more than 1048576 records/],
    [extended(attributes), /a file with more than 65536 attributes/],
    [extended([record('SCHILY.xattr.user.a', 'v'.repeat(70_000))], 'g'), /a global header with \d+ bytes/],
  ] as const)
    assert.throws(() => read(Buffer.concat([archive, oneFile('f'), END])), message)
  const fine = Buffer.concat([tiny(2 ** 18), extended(attributes.slice(1)), oneFile('f'), END])
  for (const { xattrs } of readTar(sourceOf([fine]))) assert.equal(xattrs.length, 65_536)
})

test('tar: of names that are longer than any path no more is kept than shows that', () => {
  const long = Buffer.alloc(2 ** 20, 'n')
  for (const header of [
    oneFile('././@LongLink', { flag: 'L', body: long }),
    extended([['path', long]]),
    extended([['GNU.sparse.name', long]]),
  ])
    for (const { path } of readTar(sourceOf([Buffer.concat([header, oneFile('f'), END])])))
      assert.ok(path.length > 4096 && path.length <= 8192, `${path.length}`)
  for (const header of [oneFile('././@LongLink', { flag: 'K', body: long }), extended([['linkpath', long]])])
    for (const { target } of readTar(sourceOf([Buffer.concat([header, oneFile('f', { flag: '2' }), END])])))
      assert.ok(target && target.length > 4096 && target.length <= 8192, `${target?.length}`)
})

test('tar: what is kept of an entry does not keep the archive in memory', () => {
  const archive = Buffer.concat([
    oneFile('././@LongLink', { flag: 'L', body: Buffer.from('long name\0') }),
    extended([record('linkpath', 'target'), record('SCHILY.xattr.user.a', 'value')]),
    oneFile('f', { flag: '2' }),
    oneFile('g', { flag: '2', link: 'short' }),
    END,
  ])
  const kept: Uint8Array[] = []
  for (const { path, target, xattrs } of readTar(sourceOf([archive])))
    kept.push(path, target as Uint8Array, ...xattrs.map(({ value }) => value))
  assert.equal(kept.length, 5)
  for (const bytes of kept) assert.equal(bytes.buffer.byteLength, bytes.length)
})

test('tar: paths and targets longer than PATH_MAX are reported and skipped', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    const deep = (depth: number): string => `${'d/'.repeat(depth)}f`
    const archive = Buffer.concat([
      extended([record('path', deep(5000))]),
      oneFile('f'),
      extended([record('path', deep(1000))]),
      oneFile('f', { body: Buffer.from('deep') }),
      extended([record('linkpath', deep(5000))]),
      oneFile('link', { flag: '2' }),
      oneFile('after', { body: Buffer.from('fine') }),
      END,
    ])
    const { status, stderr } = xfskit(['put', image, '--tar', '-', '/'], { input: archive })
    assert.equal(status, 4)
    assert.match(stderr, /a path of more than 4096 bytes/)
    assert.match(stderr, /link: a link target of more than 4096 bytes/)
    assert.equal(xfskitOk(['cat', image, `/${deep(1000)}`, '/after']), 'deepfine')
    judge(image)
  })
})

test('tar: a file with many holes takes few transactions', () => {
  withTempDir((folder) => {
    const [image, path] = [join(folder, 'image'), join(folder, 'a.tar')]
    makeImage(image, '300m')
    const COUNT = 6000
    const map = Array.from({ length: COUNT }, (_, i) => `${i * 8192 + i},3`).join()
    const size = COUNT * 8200
    const records = [record('GNU.sparse.size', `${size}`), record('GNU.sparse.map', map)]
    writeFileSync(path, Buffer.concat([extended(records), oneFile('f', { body: Buffer.alloc(COUNT * 3, 'abc') }), END]))
    const volume = Volume.open(openFile(image, 'rw'), { write: true })
    const { committer } = volume
    const commit = committer.commit.bind(committer)
    let commits = 0
    committer.commit = (edited, items) => {
      commits++
      commit(edited, items)
    }
    const tar = openSync(path, 'r')
    finish(put(volume, [{ host: Buffer.from(path), tar, dir: Buffer.from('/'), name: undefined }]))
    closeSync(tar)
    volume.close()
    assert.ok(commits < COUNT / 10, `${commits} transactions`)
    xfskitOk(['get', image, '/f', join(folder, 'copy')])
    const content = readFileSync(join(folder, 'copy'))
    const expected = Buffer.alloc(size)
    for (let i = 0; i < COUNT; i++) expected.write('abc', i * 8193)
    assert.ok(content.equals(expected))
    judge(image)
  })
})
