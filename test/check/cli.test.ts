import assert from 'node:assert/strict'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { type Problem, problems } from '../../src/check/problems.ts'
import { xfskit } from '../support/cli.ts'
import { crashImage, makeImage, skip } from '../support/oracles.ts'
import { repoRoot, withTempDir } from '../support/temp.ts'

/** The commands check and repair: output and exit status. */

const unpack = (folder: string, name: string): string => {
  const image = join(folder, `${name}.img`)
  writeFileSync(image, gunzipSync(readFileSync(join(repoRoot(), 'fixtures', name, 'image.gz'))))
  return image
}

test('check of a sound image, and of a damaged one', () => {
  withTempDir((folder) => {
    assert.equal(xfskit(['check', unpack(folder, 'clean')]).status, 0)
    const image = unpack(folder, 'refcountbt.high')
    const bytes = readFileSync(image)
    const { status, stdout, stderr } = xfskit(['check', image])
    assert.equal(status, 1)
    assert.equal(stderr, '')
    assert.match(
      stdout,
      /^AG 0: refcountbt counts 9 owners of blocks \d+\+\d+, expected only \d {2}\[refcountbt\.high\]\n1 finding\n$/,
    )
    const json = JSON.parse(xfskit(['check', '--json', image]).stdout)
    assert.equal(json.schema, 'xfskit.check')
    assert.equal(json.findings[0].id, 'refcountbt.high')
    assert.equal(json.findings[0].fix, 'rebuild')
    assert.ok(readFileSync(image).equals(bytes), 'nothing was changed')
  })
})

test('harmless findings are reported, and are not inconsistencies', () => {
  withTempDir((folder) => {
    const { status, stdout } = xfskit(['check', unpack(folder, 'cow.leftover')])
    assert.equal(status, 0)
    assert.match(stdout, /cow\.leftover, harmless/)
  })
})

test('what cannot be checked has status 3 and one line of words', () => {
  withTempDir((folder) => {
    const short = unpack(folder, 'clean')
    truncateSync(short, 2 ** 8)
    for (const image of [short, join(folder, 'none'), join(repoRoot(), 'package.json')]) {
      const { status, stdout, stderr } = xfskit(['check', image])
      assert.equal(status, 3, image)
      assert.equal(stdout, '')
      assert.match(stderr, /^xfskit check: [^\n]+\n$/)
    }
  })
})

test('repair: dry run, repair, and nothing left', () => {
  withTempDir((folder) => {
    const image = unpack(folder, 'rmapbt.missing')
    const bytes = readFileSync(image)
    const dry = xfskit(['repair', '-n', image])
    assert.equal(dry.status, 1)
    assert.match(dry.stdout, /would rebuild AG 0 rmapbt/)
    assert.ok(readFileSync(image).equals(bytes), 'a dry run writes nothing')
    const done = xfskit(['repair', '-e', image])
    assert.equal(done.status, 4)
    assert.match(done.stdout, /^rebuild AG 0 rmapbt: \d+ records, \d+ blocks$/m)
    assert.doesNotMatch(done.stdout, /build AG \d+ (bnobt|refcountbt|inobt)/, 'only what is wrong')
    for (const args of [
      ['check', image],
      ['repair', '-n', image],
      ['repair', '-e', image],
    ])
      assert.equal(xfskit(args).status, 0, args.join(' '))
  })
})

test('repair reports what it cannot repair', () => {
  withTempDir((folder) => {
    const image = unpack(folder, 'image.unreadable')
    const bytes = readFileSync(image)
    const { status, stdout } = xfskit(['repair', image])
    assert.equal(status, 1)
    assert.match(stdout, /image\.unreadable/)
    assert.ok(readFileSync(image).equals(bytes), 'and leaves the image alone')
  })
})

test('a dirty log is not ignored', { skip: skip.kernel || skip.newest }, () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '320m')
    crashImage(image, (mount) => writeFileSync(join(mount, 'file'), 'x'))
    const { status, stderr } = xfskit(['check', image])
    assert.equal(status, 2)
    assert.match(stderr, /the log is dirty/)
  })
})

test('problems are described by their ids', () => {
  const list = xfskit(['check', '--list-problems'])
  assert.equal(list.status, 0)
  const lines = list.stdout.trimEnd().split('\n')
  assert.deepEqual(
    lines.map((line) => line.split(' ')[0]),
    Object.keys(problems),
  )
  for (const [id, problem] of Object.entries(problems)) {
    const { fix }: Problem = problem
    const line = lines.find((one) => one.startsWith(`${id} `)) as string
    assert.match(line, new RegExp(`^${id} +(error|note) +${fix ?? '-'} +(nothing|name|attribute|extent|file) `))
  }
  const one = xfskit(['check', '--explain', 'refcountbt.high'])
  assert.match(
    one.stdout,
    /^refcountbt\.high\n {2}message: {2}AG <agno>: .*\n {2}severity: error.*\n {2}repair: {3}rebuild: /,
  )
  const cannot = xfskit(['check', '--explain', 'image.unreadable'])
  assert.match(cannot.stdout, / {2}repair: {3}none\n$/)
  assert.match(xfskit(['check', '--explain', 'none']).stderr, /no problem has the id none/)
  for (const words of [
    ['check'],
    ['check', '--explain', 'agf.crc', 'disk.img'],
    ['check', '--explain', 'agf.crc', '--list-problems'],
  ])
    assert.equal(xfskit(words).status, 3, words.join(' '))
})
