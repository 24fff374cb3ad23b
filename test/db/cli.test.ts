import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { memoryDevice } from '../../src/device/memory.ts'
import { loggedCommits } from '../../src/log/checkpoint.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { Volume } from '../../src/volume.ts'
import { program, xfskit } from '../support/cli.ts'
import { writeImage } from '../support/crashimages.ts'
import { crashImage, makeImage, skip } from '../support/oracles.ts'
import { random } from '../support/random.ts'
import { referenceImage } from '../support/reference.ts'
import { tempDir } from '../support/temp.ts'
import { theirRun } from './support.ts'

/** The command line of db, compared with that of xfs_db. */

const UUID = '6b8f1d22-3c44-4e55-8f66-778899aabbcc'
const folder = tempDir()
const image = join(folder, 'image')
const at = (name: string): string => join(folder, name)
let made = false
function fresh(): string {
  if (!made) makeImage(image, '64m', ['-L', 'tested', '-m', `uuid=${UUID}`])
  made = true
  return image
}

test('options in every order and form', () => {
  fresh()
  const forms: readonly (readonly string[])[] = [
    ['-c', 'sb 0', '-c', 'print fname agcount', image], ['-r', image, '-c', 'sb 0', '-c', 'print fname agcount'], ['-csb 0', '-cprint fname agcount', '-r', image],
    [image, '-rc', 'sb', '-c', 'p fname agcount'], ['-f', '-i', '-x', '-p', 'other', '-c', 'sb', '-c', 'p fname agcount', '--', image], ['-F', '-l/dev/null', '-c', 'sb', '-c', 'p fname agcount', image],
  ] // biome-ignore format: a list
  for (const args of forms) {
    const { status, stdout, stderr } = xfskit(['db', ...args])
    assert.equal(stdout, theirRun(['-r', '-c', 'sb', '-c', 'p fname agcount', image]).out, args.join(' '))
    assert.equal(status, 0)
    assert.equal(stderr, '')
  }
})

test('commands from standard input and from a file', () => {
  fresh()
  writeFileSync(at('script'), 'agf 1\nprint \\\nseqno\n')
  for (const input of [
    'sb 0\nprint agcount\n',
    'sb 0\np agcount\n',
    '\n\n  sb   0 \n\tp\tagcount\nquit\nsb 1\np\n',
    `source ${at('script')}\n`,
    'q\np\n',
    '',
  ]) {
    const real = theirRun(['-r', image], input)
    const mine = xfskit(['db', '-r', image], { input })
    assert.equal(mine.stdout, real.out, input)
    assert.equal(mine.status, real.exitCode)
  }
})

test('exit status and words when it cannot begin', () => {
  fresh()
  writeFileSync(at('noise'), random(3).bytes(2 ** 20))
  writeFileSync(at('empty'), '')
  for (const args of [
    [],
    [image, image],
    ['-z', image],
    ['-c', 'sb', at('none')],
    ['-c', 'sb', at('noise')],
    ['-c', 'sb', at('empty')],
    ['-c'],
    ['-F', '-c', 'sb', at('noise')],
  ]) {
    const { status, stdout, stderr } = xfskit(['db', ...args])
    assert.equal(status, 1, args.join(' '))
    assert.equal(stdout, '')
    assert.notEqual(stderr, '')
    assert.doesNotMatch(stderr, /unexpected:|\n\s+at /)
  }
  assert.match(
    xfskit(['db', at('noise')]).stderr,
    /is not a valid XFS filesystem \(unexpected SB magic number 0x[0-9a-f]{8}\)\nUse -F to force a read attempt\.\n/,
  )
  assert.match(xfskit(['db', '-V']).stdout, /version \d/)
  assert.match(xfskit(['db', '--help']).stdout, /Example/)
})

test('called xfs_db, it is xfs_db', () => {
  fresh()
  symlinkSync(program(), at('xfs_db'))
  const run = (...args: string[]) => spawnSync(process.execPath, [at('xfs_db'), ...args], { encoding: 'utf8' })
  assert.equal(
    run('-r', '-c', 'sb', '-c', 'print', image).stdout,
    theirRun(['-r', '-c', 'sb', '-c', 'print', image]).out,
  )
  assert.equal(run('--help').status, 1)
  assert.match(run('-V').stdout, /^xfs_db version /)
})

test('writing: -x, a copy, a dry run; NEEDSREPAIR and a dirty log do not matter', () => {
  fresh()
  const before = readFileSync(image)
  const write = ['-x', '-c', 'sb 0', '-c', 'write fname "new"']
  assert.equal(xfskit(['db', '-r', ...write, image]).stdout, 'xfs_db started in read only mode, writing disabled\n')
  assert.match(xfskit(['db', '-c', 'sb 0', '-c', 'write fname "new"', image]).stdout, /command write not found/)
  assert.match(xfskit(['db', ...write, '--dry-run', image]).stdout, /fname = "new/)
  assert.equal(Buffer.compare(readFileSync(image), before), 0)
  assert.match(xfskit(['db', ...write, '--output', at('copy'), image]).stdout, /fname = "new/)
  assert.equal(Buffer.compare(readFileSync(image), before), 0)
  const labels = ['-r', '-c', 'label', at('copy')]
  assert.equal(xfskit(['db', ...labels]).stdout, theirRun(labels).out)
  const crashed = (): void => {
    copyFileSync(image, at('dirty'))
    crashImage(at('dirty'), (mounted) => mkdirSync(join(mounted, 'x')))
  }
  referenceImage('dirty', at('dirty'), crashed, skip.kernel === false)
  const refused = (): string => xfskit(['db', '-x', '-c', 'uuid generate', '-c', 'logformat', at('dirty')]).stdout
  assert.match(refused(), /^(xfs_db: )?(the log is dirty: run xfskit recover\n){2}$/)
  const { stdout: word } = xfskit(['db', '-c', 'sb', '-c', 'p features_incompat', at('dirty')])
  const bits = Number(word.replace('features_incompat = ', ''))
  assert.equal(xfskit(['db', '-x', '-c', 'sb', '-c', `write features_incompat ${bits | 16}`, at('dirty')]).status, 0)
  assert.match(refused(), /the log is dirty: run xfskit recover/)
  const { status, stdout, stderr } = xfskit([
    'db',
    '-x',
    '-c',
    'version',
    '-c',
    'agf 0',
    '-c',
    'write -d freeblks 7',
    '-c',
    'label x',
    at('dirty'),
  ])
  assert.equal(status, 0)
  assert.match(stdout, /NEEDSREPAIR/)
  assert.match(stdout, /freeblks = 7\nxfs_db: filesystem needs xfs_repair\n$/)
  assert.equal(stderr, '')
})

test('an image in use is refused for writing, and read all the same', { skip: skip.kernel }, () => {
  fresh()
  const loop = spawnSync('losetup', ['-f', '--show', image], { encoding: 'utf8' }).stdout.trim()
  try {
    const { status, stderr } = xfskit(['db', '-x', '-c', 'sb', '-c', 'p', image])
    assert.equal(status, 1)
    assert.match(stderr, /loop/)
    assert.equal(xfskit(['db', '-x', '-r', '-c', 'sb', '-c', 'p agcount', image]).status, 0)
  } finally {
    spawnSync('losetup', ['-d', loop])
  }
})

test('a truncated image, and one in a partition', () => {
  fresh()
  copyFileSync(image, at('cut'))
  truncateSync(at('cut'), 20 * 2 ** 20)
  const cut = xfskit([
    'db',
    '-c',
    'sb 0',
    '-c',
    'p agcount',
    '-c',
    'agf 3',
    '-c',
    'p',
    '-c',
    'freesp',
    '-c',
    'agf 0',
    '-c',
    'p seqno',
    at('cut'),
  ])
  assert.equal(cut.status, 0)
  assert.match(cut.stdout, /read error: .*\nno current type\n {3}from +to .*\n[^a-z]+seqno = 0\n$/)
  assert.match(cut.stderr, /the image ends at 20971520/)
  writeFileSync(at('disk'), Buffer.concat([Buffer.alloc(2 ** 20), readFileSync(image)]))
  const own = xfskit(['db', '-c', 'agf 1', '-c', 'p', image]).stdout
  assert.equal(xfskit(['db', '--offset', '1m', '-c', 'agf 1', '-c', 'p', at('disk')]).stdout, own)
})

test('JSON, and a reader that closes the pipe', () => {
  fresh()
  const lines = xfskit(['db', '--json', '-c', 'sb', '-c', 'p', '-c', 'agf', '-c', 'p seqno', image])
    .stdout.trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(lines[0].fields.fname.slice(0, 6), 'tested')
  assert.deepEqual(lines[1].fields, { seqno: 0 })
  const commands = Array.from({ length: 300 }, () => ['-c', 'sb', '-c', 'p']).flat()
  const words = commands.map((word) => `'${word}'`).join(' ')
  const { status, stderr } = spawnSync(
    'bash',
    ['-c', `set -o pipefail; '${process.execPath}' '${program()}' db ${words} '${image}' | head -1`],
    { encoding: 'utf8' },
  )
  assert.equal(stderr, '')
  assert.equal(status, 0)
})

test("xfskit's own dirty log is for recover, not for a mount", () => {
  const device = memoryDevice(32 * 2 ** 20)
  mkfs(device, {})
  const volume = Volume.open(device, { write: true, committer: loggedCommits })
  createFile(volume, '/file', 0o644)
  volume.committer.sync() // The log is not closed.
  writeImage(device, at('unclosed'))
  for (const command of ['uuid generate', 'logformat'])
    assert.equal(xfskit(['db', '-x', '-c', command, at('unclosed')]).stdout, 'the log is dirty: run xfskit recover\n')
  assert.equal(xfskit(['recover', at('unclosed')]).status, 0)
  assert.match(xfskit(['db', '-x', '-c', 'uuid generate', at('unclosed')]).stdout, /new UUID/)
})
