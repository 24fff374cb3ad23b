import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { commands } from '../../src/cli/commands.ts'
import { version } from '../../src/cli/version.ts'
import { program, xfskit, xfskitOk } from '../support/cli.ts'
import { crashImage, makeImage, newest, skip } from '../support/oracles.ts'
import { random } from '../support/random.ts'
import { reference, referenceImage } from '../support/reference.ts'
import { repoRoot, tempDir } from '../support/temp.ts'

const folder = tempDir()
const at = (name: string): string => join(folder, name)

test('the version is that of package.json', () => {
  assert.equal(version, JSON.parse(readFileSync(join(repoRoot(), 'package.json'), 'utf8')).version)
  assert.equal(xfskitOk(['--version']), `xfskit ${version}\n`)
})

test('help names every command; every command has help with an example', () => {
  const help = xfskitOk(['--help'])
  for (const { name, describe } of commands) {
    assert.ok(help.includes(`  ${name} `) && help.includes(describe), name)
    const own = xfskit([name, '--help'])
    assert.equal(own.status, 0, `${name} --help: ${own.stderr}`)
    assert.match(own.stdout, /example/i, `${name} --help has no example`)
  }
})

test('usage errors: exit status 3, one line, no stack', () => {
  for (const args of [
    ['nonsense'],
    ['info'],
    ['info', '--frobnicate', 'a', 'b'],
    ['info', '--offset', 'x', 'a'],
    ['info', '--partition', '1', '--offset', '2', 'a'],
  ]) {
    const { status, stdout, stderr } = xfskit(args)
    assert.equal(status, 3, args.join(' '))
    assert.equal(stdout, '')
    assert.match(stderr, /^xfskit[^\n]*: [^\n]+\n$/)
  }
  const { status, stderr } = xfskit([])
  assert.equal(status, 3)
  assert.match(stderr, /usage: xfskit/)
  assert.match(xfskit(['inf']).stderr, /info\?/)
})

test('what is no image: exit status 3, a message with the name, image untouched', () => {
  const noise = Buffer.from(random(1).bytes(100_000))
  const swapped = Buffer.alloc(65536)
  swapped.writeUInt32LE(0x58465342, 0)
  const files: Record<string, [Uint8Array, RegExp]> = {
    empty: [new Uint8Array(0), /not an XFS image/],
    short: [new Uint8Array(100), /not an XFS image/],
    noise: [noise, /not an XFS image/],
    zeros: [new Uint8Array(2 ** 20), /not an XFS image/],
    swapped: [swapped, /byte order/],
  }
  for (const [name, [bytes, expected]] of Object.entries(files)) {
    writeFileSync(at(name), bytes)
    const { status, stdout, stderr } = xfskit(['info', at(name)])
    assert.equal(status, 3, name)
    assert.equal(stdout, '')
    assert.match(stderr, expected)
    assert.ok(stderr.includes(at(name)))
    assert.doesNotMatch(stderr, /\n\s+at /)
    assert.deepEqual(readFileSync(at(name)), Buffer.from(bytes))
  }
  for (const missing of [at('none'), folder]) assert.equal(xfskit(['info', missing]).status, 3)
  assert.match(xfskit(['info', at('empty')], { env: { XFSKIT_DEBUG: '1' } }).stderr, /\n\s+at /)
})

test('info prints what xfs_info prints', () => {
  const cases: readonly (readonly string[])[] = [
    [], ['-m', 'crc=0', '-n', 'version=ci'], ['-d', 'su=64k,sw=2', '-l', 'su=32k'], ['-s', 'size=4096'], ['-b', 'size=1024'],
    ['-n', 'size=64k'], ['-m', 'metadir=1'], ['-i', 'size=1024', '-m', 'rmapbt=0,reflink=0,bigtime=0,inobtcount=0'],
  ] // biome-ignore format: a list
  for (const [i, args] of cases.entries()) {
    const make = (): void => makeImage(at('image'), '300m', args)
    referenceImage(`info-${i}`, at('image'), make, skip.newest === false)
    const theirs = reference(skip.newest === false, `info ${args.join(' ')}`, () =>
      spawnSync(newest.db, ['-r', '-c', 'info', at('image')], { encoding: 'utf8' }).stdout.replaceAll(
        at('image'),
        'IMAGE',
      ),
    )
    assert.equal(xfskitOk(['info', at('image')]).replaceAll(at('image'), 'IMAGE'), theirs, args.join(' '))
  }
})

test('called by the name of a reference tool, it is that tool', () => {
  makeImage(at('image'), '300m')
  symlinkSync(program(), at('xfs_info'))
  const run = spawnSync(process.execPath, [at('xfs_info'), at('image')], { encoding: 'utf8' })
  assert.equal(run.stdout, xfskitOk(['info', at('image')]))
})

test('shims makes the links, completion knows the commands', () => {
  const made = xfskitOk(['shims', at('tools')])
    .trim()
    .split('\n')
  const tools = commands.flatMap(({ tool }) => (tool === undefined ? [] : [join(at('tools'), tool)]))
  assert.deepEqual(made, tools)
  for (const link of tools) assert.ok(existsSync(link))
  xfskitOk(['shims', at('tools')])
  rmSync(tools[0] as string)
  writeFileSync(tools[0] as string, 'the tool itself')
  const again = xfskit(['shims', at('tools')])
  assert.equal(again.status, 4)
  assert.match(again.stderr, /^xfskit shims: .*: exists, and is not a link\n$/)
  assert.equal(readFileSync(tools[0] as string, 'utf8'), 'the tool itself')
  const script = xfskitOk(['completion'])
  const answer = `${script}\nCOMP_WORDS=(xfskit inf); COMP_CWORD=1; _xfskit; echo "\${COMPREPLY[@]}"`
  const bash = spawnSync('bash', ['-c', answer], { encoding: 'utf8' })
  if (bash.error === undefined) assert.equal(bash.stdout, 'info\n')
})

test('JSON is one document with a schema', () => {
  makeImage(at('image'), '300m')
  const document = JSON.parse(xfskitOk(['info', '--json', at('image')]))
  assert.equal(document.schema, 'xfskit.info')
  assert.equal(document.superblock.dblocks, 76800)
  assert.ok(document.features.includes('reflink'))
})

test('a truncated image, a damaged superblock', () => {
  makeImage(at('image'), '300m')
  copyFileSync(at('image'), at('cut'))
  truncateSync(at('cut'), 2 ** 28)
  const cut = xfskit(['info', at('cut')])
  assert.equal(cut.status, 0)
  assert.match(cut.stderr, /^[^\n]*the image is truncated: bytes 268435456\+46137344 are missing\n$/)
  const change = xfskit(['mkdir', at('cut'), '/d'])
  assert.equal(change.status, 3)
  assert.match(change.stderr, /truncated/)
  const bytes = readFileSync(at('image')).subarray(0, 2 ** 20)
  bytes.writeUInt32BE(0xffffffff, 88) // agcount
  writeFileSync(at('damaged'), bytes)
  const damaged = xfskit(['info', at('damaged')])
  assert.equal(damaged.status, 3)
  assert.doesNotMatch(damaged.stderr, /unexpected/)
})

test('the filesystem at an offset', () => {
  makeImage(at('image'), '300m')
  const disk = Buffer.alloc(2 ** 20)
  writeFileSync(at('disk'), Buffer.concat([disk, readFileSync(at('image'))]))
  const own = xfskitOk(['info', at('image')])
    .split('\n')
    .slice(1)
  for (const offset of ['1m', '1048576', '2048s']) {
    assert.deepEqual(
      xfskitOk(['info', '--offset', offset, at('disk')])
        .split('\n')
        .slice(1),
      own,
    )
  }
  assert.equal(xfskit(['info', '--offset', '512', at('disk')]).status, 3)
  assert.equal(xfskit(['info', '--offset', '1t', at('disk')]).status, 3)
  assert.match(xfskit(['info', '--partition', '1', at('disk')]).stderr, /no partition table/)
})

test('a dirty log: readers see the state after its replay, and are warned', () => {
  makeImage(at('image'), '300m')
  assert.equal(xfskit(['info', at('image')]).stderr, '')
  const crash = (): void => crashImage(at('image'), (mounted) => mkdirSync(join(mounted, 'folder')))
  referenceImage('dirty', at('image'), crash, skip.kernel === false)
  const { status, stderr } = xfskit(['info', at('image')])
  assert.equal(status, 0)
  assert.match(stderr, /the log is dirty: showing the state after its replay\n$/)
})

test('an image whose name is not UTF-8', { skip: process.platform === 'linux' ? false : 'Linux only' }, () => {
  makeImage(at('image'), '300m')
  const script = `cp --sparse=always '${at('image')}' "$(printf '${folder}/n\\xff')"; exec '${process.execPath}' '${program()}' info "$(printf '${folder}/n\\xff')"`
  const run = spawnSync('bash', ['-c', script], { encoding: 'utf8' })
  assert.equal(run.status, 0, run.stderr)
  assert.match(run.stdout, /\/n\\xff +isize=512/)
  assert.ok(existsSync(Buffer.concat([Buffer.from(`${folder}/n`), Buffer.from([0xff])])))
})
