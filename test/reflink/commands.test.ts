import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { program, recordsOf, xfskit, xfskitOk } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { tempDir, withTempDir } from '../support/temp.ts'
import { newImage } from './images.ts'

const SIZE = 20480

/**
 * An image with /a and /b of the same content, /c of another, /short, and a name with a tab and a
 * byte that is not UTF-8.
 */
function withImage(use: (image: string, folder: string) => void): void {
  withTempDir((folder) => {
    const image = newImage(folder, 'image')
    const file = (path: string, seed: number, size = SIZE): void =>
      void xfskitOk(['io', '-f', image, path, '-c', `pwrite -q -S ${seed} 0 ${size}`])
    for (const [path, seed] of [['/a', 1], ['/b', 1], ['/c', 2], ['/t\\x09\\xff', 1]] as const) file(path, seed) // biome-ignore format: a list
    file('/short', 1, 5)
    xfskitOk(['mkdir', image, '/d'])
    use(image, folder)
    judge(image, { kernel: true })
  })
}

test('offsets up to the largest file; what is no size is refused in words', () => {
  withImage((image) => {
    const far = 2n ** 63n - 8192n
    xfskitOk(['reflink', image, '/a', '/far', '--dst-offset', String(far), '--length', '4k'])
    assert.match(xfskitOk(['ls', '-l', image, '/far']), new RegExp(` ${far + 4096n} `))
    assert.equal(xfskit(['reflink', image, '/a', '/far', '--dst-offset', String(far), '--length', '8k']).status, 1)
    xfskitOk(['rm', image, '/far'])
    const { status, stderr } = xfskit(['reflink', image, '/a', '/far', '--length', 'much'])
    assert.equal(status, 3)
    assert.match(stderr, /^xfskit reflink: not a size: much .*; see xfskit reflink --help\n$/)
  })
})

const lines = (text: string): string[] => text.split('\n').slice(0, -1)

test('a refused clone makes no file', () => {
  withImage((image) => {
    const before = xfskitOk(['ls', '-R', image])
    for (const range of [
      ['--length', '100'],
      ['--src-offset', '1'],
      ['--src-offset', '1g'],
      ['--dst-offset', '5'],
    ]) {
      assert.equal(xfskit(['reflink', image, '/a', '/new', ...range]).status, 1, range.join(' '))
    }
    assert.equal(xfskit(['reflink', image, '/d', '/new']).status, 1)
    assert.equal(xfskit(['reflink', image, '/a', '/nodir/new']).status, 1)
    assert.equal(xfskitOk(['ls', '-R', image]), before)
  })
})

test('reflink --batch: a result a line, and a pair that fails stops no other', () => {
  withImage((image, folder) => {
    const list = join(folder, 'pairs')
    writeFileSync(
      list,
      [
        '/a\t/1', '', '# a remark', '/nosuch\t/2', '/a\t/3\t100\t0\t4k', '/d\t/4', '/t\\x09\\xff\t/new\\x09tab', '/a\t/5\t4k\t8k\t4k\r',
        '{"src":"/a","dst":"/new\\ttoo","length":"4k"}', '{"src":"/a","dst":"/6","srcOffset":4096,"dstOffset":0,"length":8192}',
      ].join('\n'),
    ) // biome-ignore format: a line a line
    const { status, stdout, stderr } = xfskit(['reflink', image, '--batch', list])
    assert.deepEqual([status, stderr], [4, ''])
    assert.deepEqual(lines(stdout), [
      '/a\t/1\tshared 20480 bytes in 1 extent',
      '/nosuch\t/2\tNOENT: /nosuch: no such file or directory',
      '/a\t/3\tINVAL: source offset 100 is not a multiple of the block size (4096)',
      '/d\t/4\tISDIR: the source is a directory',
      '/t\\x09\\xff\t/new\\x09tab\tshared 20480 bytes in 1 extent',
      '/a\t/5\tshared 4096 bytes in 1 extent',
      '/a\t/new\\x09too\tshared 4096 bytes in 1 extent',
      '/a\t/6\tshared 8192 bytes in 1 extent',
    ])
    assert.deepEqual(lines(xfskitOk(['ls', image])), [
      '1', '5', '6', 'a', 'b', 'c', 'd', 'new\\x09tab', 'new\\x09too', 'short', 't\\x09\\xff',
    ]) // biome-ignore format: a list
    // Names are escaped everywhere in the form in which they can be given.
    assert.match(xfskitOk(['ls', '-l', image]), / new\\x09tab\n/)
    assert.match(xfskitOk(['shares', image, '/new\\x09tab']), / \/t\\x09\\xff\n/)
    assert.match(xfskit(['cat', image, '/no\\x09\\xff']).stderr, /: \/no\\x09\\xff: no such file/)
  })
})

test('dedupe --batch --json from standard input', () => {
  withImage((image) => {
    const input = [
      { src: '/a', dst: '/b', length: 8192 },
      { src: '/a', dst: '/c' },
      { src: '/a', dst: '/short' },
      { src: '/a', dst: '/short', length: 5 },
      { src: '/a', dst: '/b' },
    ]
    const text = input.map((pair) => `${JSON.stringify(pair)}\n`).join('')
    const dry = xfskit(['dedupe', image, '--batch', '-', '--json', '--dry-run'], { input: text })
    const { status, stdout } = xfskit(['dedupe', image, '--batch', '-', '--json'], { input: text })
    assert.equal(dry.stdout.replaceAll(',"dryRun":true', ''), stdout)
    assert.equal(dry.status, 1)
    assert.equal(status, 4)
    const pair = { srcOffset: 0, dstOffset: 0 }
    const [src, dst] = ['/a', '/b']
    assert.deepEqual(recordsOf(stdout), [
      { src, dst, ...pair, length: 8192, ok: true, same: true, bytes: 8192, mapped: 1 },
      { src, dst: '/c', ...pair, ok: false, same: false, bytes: 0, mapped: 0 },
      {
          src, dst: '/short', ...pair, ok: false, code: 'INVAL', message: 'destination range 0+20480 ends past its end of file (5)',
        }, // biome-ignore format: one object
      { src, dst: '/short', ...pair, length: 5, ok: true, same: true, bytes: 5, mapped: 0 },
      { src, dst, ...pair, ok: true, same: true, bytes: 20480, mapped: 1 },
    ])
  })
})

test('a batch stops between two pairs when it is asked to', async () => {
  const folder = tempDir()
  const image = newImage(folder, 'image')
  xfskitOk(['io', '-f', image, '/a', '-c', 'pwrite -q 0 4k'])
  const list = join(folder, 'list')
  const pairs = 200_000
  writeFileSync(list, Array.from({ length: pairs }, (_, i) => `/a\t/b\t0\t${2 * i}b\t4k\n`).join(''))
  const child = spawn(process.execPath, [program(), 'reflink', image, '--batch', list])
  let results = 0
  child.stdout.on('data', (bytes: Buffer) => {
    results += bytes.toString().split('\n').length - 1
  })
  while (!existsSync(join(folder, '.image.xfskit-lock'))) await new Promise((resolve) => setTimeout(resolve, 10))
  await new Promise((resolve) => setTimeout(resolve, 2000))
  child.kill('SIGINT')
  const [status] = await once(child, 'close')
  assert.equal(status, 130)
  assert.ok(results > 0 && results < pairs, `${results} results`)
  const done = Number(/ (\d+) extents/.exec(xfskitOk(['stat', image, '/b']))?.[1])
  // The pair during which it stopped may be done without a result line.
  assert.ok(done === results || done === results + 1, `${done} pairs done, ${results} results`)
  judge(image)
})

test('a list with a line that is no pair is refused before the first', () => {
  withImage((image) => {
    const before = xfskitOk(['ls', image])
    for (const [line, message] of [
      ['only', 'line 2: expected src and dst'],
      ['/a\t/x\tmuch', 'line 2: not a size: much'],
      ['{"src":1}', 'line 2: src and dst must be strings'],
      ['{', 'line 2: not a JSON object'],
      ['{"src":"/a","dst":"/b","length":"-1"}', 'line 2: not a size: -1'],
    ] as const) {
      const { status, stderr } = xfskit(['reflink', image, '--batch', '-'], { input: `/a\t/new\n${line}\n` })
      assert.equal(status, 3, line)
      assert.ok(stderr.includes(message), stderr)
    }
    assert.equal(xfskitOk(['reflink', image, '--batch', '-'], { input: '\n# nothing\n' }), '')
    assert.equal(xfskit(['reflink', image, '--batch', '/nosuch/list']).status, 3)
    assert.equal(xfskitOk(['ls', image]), before)
  })
})
