import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { XfsError } from '../../src/errors.ts'
import { sourceOf } from '../../src/transfer/bytesource.ts'
import { buildPax, parsePax, parsePaxTime, paxTime } from '../../src/transfer/pax.ts'
import { readTar } from '../../src/transfer/tarread.ts'
import { add } from '../../src/util/bytes.ts'
import { program, xfskit, xfskitOk } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { differences, hostManifest } from '../support/manifest.ts'
import { makeImage, mountImage, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'
import { oneFile } from './archive.ts'
import { calls, makeTree, manifestOf, skipCopies } from './support.ts'

const isGnuTar = /GNU tar/.test(spawnSync('tar', ['--version'], { encoding: 'utf8' }).stdout ?? '')
const skipTar = skipCopies || (isGnuTar ? false : 'tar is not GNU tar')

const tar = (...args: string[]): void => {
  const { status, stderr } = spawnSync('tar', args, { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
}

const WITH_ALL = ['--xattrs', '--acls', '--xattrs-include=*', '--numeric-owner']

for (const [name, args] of [
  ['pax', ['--format=posix']],
  ['pax, holes', ['--format=posix', '--sparse']],
  ['pax, holes 0.1', ['--format=posix', '--sparse', '--sparse-version=0.1']],
  ['pax, holes 0.0', ['--format=posix', '--sparse', '--sparse-version=0.0']],
  ['gzip', ['--format=posix', '--sparse', '-z']],
] as const) {
  test(`tar: what GNU tar wrote: ${name}`, { skip: skipTar }, () => {
    withTempDir((folder) => {
      const [tree, image] = [join(folder, 'tree'), join(folder, 'image')]
      const archive = join(folder, args.at(-1) === '-z' ? 'archive.tgz' : 'archive.tar')
      makeTree(tree, { sockets: false })
      // Eight gigabytes of zeros, unless holes are kept.
      if (!args.some((word) => word === '--sparse')) execFileSync('truncate', ['-s', '1M', join(tree, 'hole')])
      tar('-C', tree, ...WITH_ALL, ...args, '-cf', archive, '.')
      makeImage(image, '512m')
      xfskitOk(['put', image, archive, '/'])
      assert.equal(differences(manifestOf(image), hostManifest(tree, calls())), '')
      judge(image)
    })
  })
}

test('tar: the old formats of GNU tar', { skip: skipTar }, () => {
  withTempDir((folder) => {
    const [tree, image] = [join(folder, 'tree'), join(folder, 'image')]
    makeTree(tree, { sockets: false })
    tar('-C', tree, '--format=gnu', '--sparse', '--numeric-owner', '-cf', join(folder, 'archive.tar'), '.')
    makeImage(image, '512m')
    xfskitOk(['put', image, '--tar', '-', '/'], { input: readFileSync(join(folder, 'archive.tar')) })
    // Except for fractions of seconds and attributes, everything is there.
    const plain = (lines: readonly string[]): string[] =>
      lines.map((line) =>
        line.replace(/mtime (-?\d+)/, '').replace(/ "(user|trusted|security|system)\.[^ ]*( [^ ]*)*$/, ''),
      )
    assert.equal(differences(plain(manifestOf(image)), plain(hostManifest(tree, calls()))), '')
    judge(image)
  })
})

test('tar: GNU tar reads what we write, and so do we', { skip: skipTar }, () => {
  withTempDir((folder) => {
    const [tree, image] = [join(folder, 'tree'), join(folder, 'image')]
    makeTree(tree, { sockets: false })
    makeImage(image, '512m')
    xfskitOk(['put', image, `${tree}/.`, '/'])
    const source = hostManifest(tree, calls())
    for (const archive of ['a.tar', 'a.tar.gz']) xfskitOk(['get', image, '/', join(folder, archive)])
    assert.ok(gunzipSync(readFileSync(join(folder, 'a.tar.gz'))).equals(readFileSync(join(folder, 'a.tar'))))
    assert.ok(readFileSync(join(folder, 'a.tar')).length < 2 ** 24, 'holes are not written')
    mkdirSync(join(folder, 'unpacked'))
    tar('-C', join(folder, 'unpacked'), ...WITH_ALL, '-xpf', join(folder, 'a.tar'))
    assert.equal(differences(hostManifest(join(folder, 'unpacked'), calls()), source), '')
    const second = join(folder, 'second')
    makeImage(second, '512m', ['-b', 'size=1k'])
    xfskitOk(['put', second, join(folder, 'a.tar.gz'), '/'])
    assert.equal(differences(manifestOf(second), source), '')
    judge(second)
    assert.equal(
      differences(
        mountImage(second, (root) => hostManifest(root, calls())),
        source,
      ),
      '',
    )
    assert.ok(xfskitOk(['get', image, '--tar', '/few', '-']).includes('few/6'))
  })
})

test('tar: over what exists, names twice, directories that are not listed, links', {
  skip: skip.newest || skipTar,
}, () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    const at = (...names: string[]): string => join(folder, 'tree', ...names)
    mkdirSync(at('d', 'e'), { recursive: true })
    for (const name of ['a', 'd/b', 'd/e/c']) writeFileSync(at(name), `old ${name}`)
    const archive = join(folder, 'x.tar')
    tar('-C', at(), '-cf', archive, 'a', 'd/e/c')
    writeFileSync(at('a'), 'new a')
    tar('-C', at(), '-rf', archive, 'a', 'd')
    execFileSync('ln', [at('a'), at('z')])
    tar('-C', at(), '-rf', archive, 'a', 'z')
    tar('-C', at(), '--transform=s,^z$,first/z,', '--transform=s,^d/b$,/absolute/b,', '-rPf', archive, 'z', 'd/b')
    xfskitOk(['put', image, archive, '/'])
    assert.equal(
      xfskitOk(['cat', image, '/a', '/z', '/d/b', '/d/e/c', '/absolute/b']),
      'new anew aold d/bold d/e/cold d/b',
    )
    assert.match(xfskitOk(['ls', '-l', image, '/z']), /-rw-r--r--\s+[23]/)
    judge(image, { kernel: true })
  })
})

test('tar: hostile archives stay inside, and broken ones are refused', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    xfskitOk(['mkdir', image, '/in', '/out'])
    xfskitOk(['write', image, '/out/victim'], { input: 'mine' })
    const evil = Buffer.concat([
      oneFile('../out/victim', { body: Buffer.from('evil') }),
      oneFile('x/../../out/victim', { body: Buffer.from('evil') }),
      oneFile('link', { flag: '2', link: '/out' }),
      oneFile('link/victim', { body: Buffer.from('evil') }),
      oneFile('hard', { flag: '1', link: '../out/victim' }),
      oneFile('hard2', { flag: '1', link: '/nothing' }),
      oneFile('dots/./in', { body: Buffer.from('fine') }),
      oneFile('good', { body: Buffer.from('good') }),
      Buffer.alloc(1024),
    ])
    const { status, stderr } = xfskit(['put', image, '--tar', '-', '/in'], { input: evil })
    assert.equal(status, 4)
    for (const name of ['../out/victim', 'x/../../out/victim', 'link/victim', 'hard', 'hard2'])
      assert.ok(stderr.includes(`xfskit put: ${name}: `), `${name}\n${stderr}`)
    assert.equal(xfskitOk(['cat', image, '/out/victim', '/in/good', '/in/dots/in']), 'minegoodfine')
    assert.equal(xfskitOk(['find', image, '/out']), '/out\n/out/victim\n')
    const broken: readonly (readonly [what: string, bytes: Buffer])[] = [
      ['cut in a header', oneFile('a').subarray(0, 300)],
      ['cut in a file', oneFile('a', { size: 10_000, body: Buffer.alloc(512) })],
      ['a wrong checksum', Buffer.concat([oneFile('a'), Buffer.alloc(512, 1)])],
      [
        'a bad extended header',
        Buffer.concat([oneFile('x', { flag: 'x', body: Buffer.from('99999 a=b\n') }), oneFile('a')]),
      ],
      ['a huge extended header', oneFile('x', { flag: 'x', size: 2 ** 32 })],
      ['no archive', Buffer.from('hello world, this is no archive at all'.repeat(100))],
      [
        'cut gzip',
        gzipSync(Buffer.concat([oneFile('a', { body: Buffer.alloc(100_000, 7) }), Buffer.alloc(1024)])).subarray(
          0,
          100,
        ),
      ],
    ]
    for (const [what, bytes] of broken) {
      const run = xfskit(['put', image, '--tar', '-', '/in'], { input: bytes })
      assert.ok(run.status === 1 || run.status === 3, `${what}: ${run.status}\n${run.stdout}${run.stderr}`)
      assert.match(run.stderr, /not a sound tar archive|invalid extended header|cannot decompress/, what)
    }
    judge(image)
  })
})

test('tar: other compressions are refused by name; a pipe that gives a byte at first', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    for (const [magic, name] of [
      [[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], 'xz'],
      [[0x42, 0x5a, 0x68, 0x39], 'bzip2'],
      [[0x28, 0xb5, 0x2f, 0xfd], 'zstd'],
    ] as const) {
      const { status, stderr } = xfskit(['put', image, '--tar', '-', '/'], {
        input: Buffer.concat([Buffer.from(magic), Buffer.alloc(2000)]),
      })
      assert.equal(status, 1)
      assert.match(stderr, new RegExp(`compressed with ${name}: use ${name} -dc`))
    }
    const archive = join(folder, 'archive')
    writeFileSync(archive, gzipSync(Buffer.concat([oneFile('a', { body: Buffer.from('fine') }), Buffer.alloc(1024)])))
    const slowly = `{ head -c 1 "$3"; sleep 0.3; tail -c +2 "$3"; } | "$0" "$1" put "$2" --tar - /`
    execFileSync('sh', ['-c', slowly, process.execPath, program(), image, archive])
    assert.equal(xfskitOk(['cat', image, '/a']), 'fine')
  })
})

test('tar: reading random damage ends with an XfsError or not at all', () => {
  const archive = Buffer.concat([
    oneFile('x', { flag: 'x', body: buildPax([['path', Buffer.from('p')], ['GNU.sparse.major', Buffer.from('1')], ['GNU.sparse.minor', Buffer.from('0')], ['GNU.sparse.realsize', Buffer.from('1000')]]) }),
    oneFile('f', { body: Buffer.concat([Buffer.from('1\n0\n5\n'), Buffer.alloc(506), Buffer.from('hello')]) }),
    oneFile('l', { flag: 'L', body: Buffer.from('long name\0') }), oneFile('g'), Buffer.alloc(1024),
  ]) // biome-ignore format: a table
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { maxLength: 20 }),
      fc.nat(archive.length),
      fc.integer({ min: 1, max: 3000 }),
      (changes, cut, piece) => {
        const bytes = Buffer.from(archive)
        for (const [at, value] of changes) bytes[at] = value
        const whole = bytes.subarray(0, changes.length === 0 ? undefined : Math.max(1, cut))
        const pieces = Array.from({ length: Math.ceil(whole.length / piece) }, (_, i) =>
          whole.subarray(i * piece, (i + 1) * piece),
        )
        try {
          for (const entry of readTar(sourceOf(pieces)))
            for (const { bytes: content, offset } of entry.content())
              assert.ok(add(offset, content.length) <= entry.size)
        } catch (error) {
          if (!(error instanceof XfsError)) throw error
        }
      },
    ),
    { numRuns: 2000 },
  )
})

test('pax: records and times', () => {
  const record = fc.tuple(
    fc.string({ unit: fc.constantFrom('a', 'B', '.', '7'), minLength: 1, maxLength: 100 }),
    fc.uint8Array({ maxLength: 200 }),
  )
  fc.assert(
    fc.property(fc.array(record), (records) => {
      assert.deepEqual(
        [...parsePax(buildPax(records))].map(([key, value]) => [key, [...value]]),
        records.map(([key, value]) => [key, [...value]]),
      )
    }),
  )
  fc.assert(
    fc.property(
      fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
      fc.integer({ min: 0, max: 999_999_999 }),
      (seconds, nanoseconds) => {
        assert.deepEqual(parsePaxTime(Buffer.from(paxTime({ seconds, nanoseconds }))), { seconds, nanoseconds })
      },
    ),
  )
  assert.equal(paxTime({ seconds: -2, nanoseconds: 500_000_000 }), '-1.5')
  for (const bad of ['x', '5 a=b\n', '6 a=b\nx', '7 ab\n', '0 a=b\n', '06 a=b\n'])
    assert.throws(() => [...parsePax(Buffer.from(bad))], XfsError)
})
