import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { main } from '../../src/cli/main.ts'
import { openFile } from '../../src/device/file.ts'
import { native } from '../../src/device/native.ts'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { Volume } from '../../src/volume.ts'
import { program, type Ran, xfskit, xfskitOk } from '../support/cli.ts'
import { withDiskCalls } from '../support/diskcalls.ts'
import { judge } from '../support/judge.ts'
import { crashImage, skip } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'

/**
 * The exit status and messages of a command are correct: for the image, and for the files that it
 * writes beside it.
 */

const folder = tempDir()
const at = (...names: string[]): string => join(folder, ...names)
const SIZE = 32 * 2 ** 20

mkfsFile(at('fresh'), { size: SIZE })
writeFileSync(at('small'), 'small\n')
writeFileSync(at('large'), Buffer.alloc(28 * 2 ** 20, 'x'))
mkdirSync(at('tree'))
writeFileSync(at('tree', 'first'), 'first\n')
writeFileSync(at('tree', 'large'), Buffer.alloc(28 * 2 ** 20, 'x'))
writeFileSync(at('pairs'), '/file\t/copy1\n/none\t/copy2\n')
writeFileSync(at('no pairs'), '/none\t/copy1\n/none\t/copy2\n')
writeFileSync(at('not a tar'), Buffer.alloc(2000, 'x'))
copyFileSync(at('fresh'), at('base'))
xfskitOk(['mkdir', at('base'), '/dir', '/full'])
xfskitOk(['write', at('base'), '/file'], { input: 'hello\n' })
xfskitOk(['write', at('base'), '/other'], { input: 'other\n' })
xfskitOk(['touch', at('base'), '/full/x', '/fixed'])
xfskitOk(['chattr', at('base'), '+i', '/fixed'])

function image(name = 'image'): string {
  copyFileSync(at('base'), at(name))
  return at(name)
}

/** `@` is replaced by the image. */
const commandLine = (words: string, path: string): string[] =>
  words
    .split(' ')
    .map((word) =>
      word === '@' ? path : word.startsWith('+') && word !== '+i' ? at(word.slice(1).replaceAll('_', ' ')) : word,
    )

/** As `xfskit`, but in this process if the command has no workers, which is much faster. */
async function ran(words: readonly string[]): Promise<Ran> {
  if (words[0] === 'put' || words[0] === 'mkfs') return xfskit(words)
  const { result, stdout, stderr } = await withDiskCalls('', {}, () => main(words, 'xfskit'))
  return { status: result, stdout, stderr }
}

async function ranOk(words: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await ran(words)
  assert.equal(status, 0, `${words.join(' ')}\n${stdout}${stderr}`)
  return stdout
}

const UNCHANGED = [
  'put @ +small /no/where',
  'put @ +none /',
  'put @ +large /large',
  'put @ +large /file',
  'put @ --tar +not_a_tar /',
  'mkdir @ /dir',
  'mkdir @ /no/where /file/below',
  'mknod @ /file p',
  'mknod @ /no/where c 1 3',
  'ln @ /none /new',
  'ln @ /dir /new',
  'ln @ /file /other',
  'ln -s @ target /file',
  'mv @ /none /new',
  'mv @ /dir /dir/below',
  'mv -T @ /dir /full',
  'mv @ /fixed /new',
  'rm @ /none',
  'rm @ /dir',
  'rm -d @ /full',
  'rm -r @ /',
  'rm @ /fixed',
  'touch @ /no/where',
  'touch @ /fixed',
  'truncate @ 1m /dir',
  'truncate @ 0 /fixed',
  'chmod @ 700 /none',
  'chmod @ 700 /fixed',
  'chown @ 1:1 /none /fixed',
  'chattr @ +i /none',
  'xattr set @ /file nothing.x y',
  'xattr set @ /none user.x y',
  'xattr set --replace @ /file user.x y',
  'xattr remove @ /file user.x',
  'write @ /no/where +small',
  'write @ /dir +small',
  'write @ /fixed +small',
  'write @ /file +large',
  'write @ /new +large',
  'write @ /new +none',
  'reflink @ /none /new',
  'reflink @ /dir /new',
  'reflink @ /file /new --src-offset 1',
  'reflink @ /file /fixed',
  'reflink @ --batch +no_pairs',
  'dedupe @ /file /other',
  'dedupe @ /file /none',
  'dedupe @ --batch +no_pairs',
  'unshare @ /none',
  'unshare @ /dir',
  'fsr @ /none',
  'io @ /none -c fsync',
  'mkfs @',
  'mkfs -f --from +tree @',
]

test('a command that fails with 1 or 3 has changed no byte of the image', { timeout: 120_000 }, async () => {
  const path = image()
  const before = readFileSync(path)
  const wrong: string[] = []
  for (const words of UNCHANGED) {
    const { status, stdout, stderr } = await ran(commandLine(words, path))
    const same = readFileSync(path).equals(before)
    if ((status === 1 || status === 3) && same && !/copied [1-9]|shared \d|deduped/.test(stdout)) continue
    wrong.push(`${words}: exit status ${status}, ${same ? 'unchanged' : 'changed'}\n${stdout}${stderr}`)
    image()
  }
  assert.deepEqual(wrong, [])
})

const PARTLY = [
  'put @ +small +none /dir',
  'put @ +tree /dir',
  'mkdir @ /new /dir',
  'rm @ /file /none',
  'mv @ /file /none /dir',
  'ln @ /file /none /dir',
  'touch @ /new /no/where',
  'chmod @ 700 /file /none',
  'chown @ 1:1 /file /fixed',
  'chattr @ +i /file /none',
  'truncate @ 0 /file /dir',
  'reflink @ --batch +pairs',
]

test('a command that has done a part ends with 4, and the image is sound', { timeout: 120_000 }, async () => {
  for (const words of PARTLY) {
    const path = image()
    const { status, stdout, stderr } = await ran(commandLine(words, path))
    assert.equal(status, 4, `${words}\n${stdout}${stderr}`)
    assert.ok(!readFileSync(path).equals(readFileSync(at('base'))), words)
    assert.equal((await ran(['check', path])).status, 0, words)
  }
  judge(at('image'))
})

test('a dry run reports what would be done, and exits with 1 if a part would fail', async () => {
  const path = image()
  xfskitOk(['write', path, '/same'], { input: 'hello\n' })
  const before = readFileSync(path)
  for (const [words, text, expected] of [
    ['put @ +small /', /^would copy 1 file, 6 bytes$/m, 0],
    ['put @ +small +none /dir', /^would copy 1 file, 6 bytes; 1 could not be copied$/m, 1],
    ['reflink @ /file /new', /^would share 6 bytes in 1 extent$/m, 0],
    ['dedupe @ /file /same', /^would dedupe 6 bytes in 1 extent$/m, 0],
    ['reflink @ --batch +pairs', /^\/file\t\/copy1\twould share 6 bytes in 1 extent$/m, 1],
    ['unshare @ /file', /^would copy 0 blocks$/m, 0],
  ] as const) {
    const { status, stdout, stderr } = await ran([...commandLine(words, path), '--dry-run'])
    assert.equal(status, expected, `${words}\n${stdout}${stderr}`)
    assert.match(stdout, text)
    assert.doesNotMatch(stdout, /copied \d|^shared|^deduped|blocks? copied/m)
    const again = await ran([...commandLine(words.replace('+pairs', '+no_pairs'), path), '--dry-run', '--json'])
    const [document = '', record = ''] = again.stdout.split(/\n(?=\{)/)
    const { dryRun } = JSON.parse(words.includes('--batch') ? record : document)
    assert.equal(dryRun, true, words)
  }
  assert.ok(readFileSync(path).equals(before))
})

/** A folder that contains only the outputs. */
const outputs = at('outputs')
const names = (): string[] => readdirSync(outputs).sort()

test('--output: complete or not at all; an existing file stays if the command fails', async () => {
  rmSync(outputs, { recursive: true, force: true })
  mkdirSync(outputs)
  const path = image()
  const copy = join(outputs, 'copy.img')
  for (const existing of [false, true]) {
    if (existing) writeFileSync(copy, 'what was there', { mode: 0o640 })
    for (const words of [
      'mkdir @ /dir',
      'mkdir @ /no/where',
      'rm @ /none',
      'put @ +none /',
      'put @ +large /large',
      'put @ +large /file',
      'write @ /no/where +small',
    ]) {
      for (const letter of ['-o', '--output']) {
        const { status, stderr } = await ran([...commandLine(words, path), letter, copy])
        assert.ok(status === 1 || status === 3, `${words}: ${status}\n${stderr}`)
        assert.deepEqual(names(), existing ? ['copy.img'] : [], words)
        if (existing) assert.equal(readFileSync(copy, 'utf8'), 'what was there')
      }
    }
  }
  const mode = statSync(copy).mode
  symlinkSync('copy.img', join(outputs, 'link'))
  await ranOk(['mkdir', path, '/new', '-o', join(outputs, 'link')])
  assert.deepEqual(names(), ['copy.img', 'link'])
  assert.equal(statSync(copy).mode, mode)
  judge(copy)
  assert.equal(await ranOk(['ls', copy, '/']), (await ranOk(['ls', path, '/'])).replace('other', 'new\nother'))
  // Successful items of a list are in the output.
  assert.equal((await ran(['mkdir', path, '/part', '/dir', '-o', copy])).status, 4)
  assert.match(await ranOk(['ls', copy]), /^part$/m)
  for (const bad of [path, '/dev/null', join(outputs, 'no', 'where')])
    assert.equal((await ran(['mkdir', path, '/new', '-o', bad])).status, 3, bad)
  assert.ok(readFileSync(path).equals(readFileSync(at('base'))))
  assert.deepEqual(names(), ['copy.img', 'link'])
  for (const words of [
    ['repair', path],
    ['db', '-x', path, '-c', 'sb 0'],
    ['mkfs', '-f', path],
  ])
    assert.notEqual((await ran([...words, '-o', copy])).status, 0, words[0])
  assert.equal((await ran(['repair', path, '--output', copy])).status, 0)
})

test('an archive and a value are complete or do not exist', async () => {
  rmSync(outputs, { recursive: true, force: true })
  mkdirSync(outputs)
  const path = image()
  await ranOk(['xattr', 'set', path, '/file', 'user.x', 'value'])
  const archive = join(outputs, 'out.tar')
  assert.equal(xfskit(['get', path, '/none', archive]).status, 1)
  assert.deepEqual(names(), [])
  writeFileSync(archive, 'what was there')
  assert.equal(xfskit(['get', path, '/file', '/none', archive]).status, 1)
  assert.equal(readFileSync(archive, 'utf8'), 'what was there')
  xfskitOk(['get', path, '/', archive])
  assert.ok(statSync(archive).size > 1000)
  assert.equal((await ran(['xattr', 'get', path, '/file', 'user.none', '--file', join(outputs, 'value')])).status, 1)
  await ranOk(['xattr', 'get', path, '/file', 'user.x', '--file', join(outputs, 'value')])
  assert.equal(readFileSync(join(outputs, 'value'), 'utf8'), 'value')
  xfskitOk(['get', path, '/file', '/dev/null', '--tar'])
  assert.deepEqual(names(), ['out.tar', 'value'])
})

const mounts = skip.kernel || spawnSync('mount', ['--version']).status !== 0 ? 'needs root' : false

test('a full disk leaves nothing of an output', { skip: mounts }, () => {
  const path = image()
  const disk = at('disk')
  mkdirSync(disk)
  xfskitOk(['put', path, at('tree', 'first'), '/'])
  xfskitOk(['write', path, '/big'], { input: Buffer.alloc(10 * 2 ** 20, 'y') })
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', disk]).status, 0)
  try {
    writeFileSync(join(disk, 'old'), 'what was there')
    for (const words of [
      ['mkdir', path, '/new', '-o', join(disk, 'new')],
      ['mkdir', path, '/new', '-o', join(disk, 'old')],
      ['get', path, '/', join(disk, 'new.tar')],
      ['get', path, '/', '--tar', join(disk, 'old')],
    ]) {
      const { status, stderr } = xfskit(words)
      assert.equal(status, 1, `${words}\n${stderr}`)
      assert.match(stderr, /no space left/i)
      assert.deepEqual(readdirSync(disk), ['old'])
      assert.equal(readFileSync(join(disk, 'old'), 'utf8'), 'what was there')
    }
  } finally {
    spawnSync('umount', [disk])
  }
})

/** Start xfskit as a process, and wait until it has written into the folder of the outputs. */
async function begun(args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [program(), ...args], { stdio: ['pipe', 'ignore', 'pipe'] })
  while (names().length === 0 && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5))
  return child
}

test('Ctrl-C and SIGTERM: no output, no temporary file, no lock', {
  skip: process.platform === 'win32' ? 'no signals' : false,
}, async () => {
  rmSync(outputs, { recursive: true, force: true })
  mkdirSync(outputs)
  const path = image()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // It waits for its input, after it copied the image.
    const child = await begun(['write', path, '/new', '-o', join(outputs, 'copy')])
    child.kill(signal)
    const [status] = await once(child, 'close')
    assert.equal(status, signal === 'SIGINT' ? 130 : 143)
    assert.deepEqual(names(), [])
  }
  const changing = spawn(process.execPath, [program(), 'write', path, '/new'], { stdio: ['pipe', 'ignore', 'ignore'] })
  while (!existsSync(at('.image.xfskit-lock'))) await new Promise((resolve) => setTimeout(resolve, 5))
  await new Promise((resolve) => setTimeout(resolve, 300))
  changing.kill('SIGTERM')
  await once(changing, 'close')
  assert.ok(!existsSync(at('.image.xfskit-lock')))
})

test('a reader warns once that the image is being changed, and not of an interrupted change', async () => {
  const path = image('read')
  const holder = openFile(path, 'rw')
  const told = xfskit(['ls', path])
  assert.equal(told.status, 0)
  assert.match(told.stderr, new RegExp(`^xfskit: warning: .*process ${process.pid}.*\n$`))
  holder.close()
  assert.equal(xfskit(['ls', path]).stderr, '')
  const writer = spawn(process.execPath, [program(), 'write', path, '/new'], { stdio: ['pipe', 'ignore', 'inherit'] })
  while (!existsSync(at('.read.xfskit-lock'))) await new Promise((resolve) => setTimeout(resolve, 5))
  for (let i = 0; i < 10; i++) writer.stdin.write(Buffer.alloc(2 ** 20, 'z'))
  const beside = xfskit(['ls', path])
  assert.match(beside.stderr, new RegExp(`^xfskit: warning: .*process ${writer.pid}.*\n$`))
  assert.doesNotMatch(beside.stderr, /interrupted/)
  writer.stdin.end()
  await once(writer, 'close')
  judge(path)
})

test('--wait: twelve writers at once all succeed; without it one reports the first', {
  timeout: 120_000,
}, async () => {
  const path = image('waited')
  const holder = openFile(path, 'rw')
  assert.equal(xfskit(['mkdir', path, '/x']).status, 1)
  const began = Date.now()
  const { status, stderr } = xfskit(['mkdir', path, '/x', '--wait=1'])
  assert.equal(status, 1)
  assert.match(stderr, new RegExp(`process ${process.pid}`))
  assert.ok(Date.now() - began >= 1000)
  const args = (i: number): string[] =>
    [
      ['mkdir', '--wait', path, `/made${i}`],
      ['io', '--wait', '-f', path, `/made${i}`, '-c', 'pwrite -q 0 4k'],
      ['put', path, at('small'), `/made${i}`, '--wait=100'],
    ][i % 3] as string[]
  const children = Array.from({ length: 12 }, (_, i) =>
    spawn(process.execPath, [program(), ...args(i)], { stdio: ['ignore', 'ignore', 'inherit'] }),
  )
  const ends = children.map(async (child) => (await once(child, 'close'))[0])
  setTimeout(() => holder.close(), 500)
  assert.deepEqual(
    await Promise.all(ends),
    children.map(() => 0),
  )
  const made = xfskitOk(['ls', path])
    .split('\n')
    .filter((name) => name.startsWith('made'))
  assert.equal(made.length, 12)
  judge(path)
  assert.equal(xfskit(['ls', '--wait', path]).status, 3)
})

test('a dirty log: what reads sees it replayed, or says that it is not; nothing is written', {
  skip: skip.kernel,
}, async () => {
  const path = at('dirty')
  mkfsFile(path, { size: 300 * 2 ** 20 })
  crashImage(path, (mounted) => {
    mkdirSync(join(mounted, 'folder'))
    writeFileSync(join(mounted, 'folder', 'file'), 'in the log')
    execFileSync('sync', ['-f', mounted])
  })
  const before = readFileSync(path)
  rmSync(outputs, { recursive: true, force: true })
  mkdirSync(outputs)
  const replayed = /^xfskit: warning: [^\n]*: the log is dirty: showing the state after its replay\n$/
  for (const words of [
    ['ls', path, '/folder'],
    ['tree', path],
    ['find', path],
    ['du', path, '/folder/file'],
    ['stat', path, '/folder/file'],
    ['lsattr', path, '/folder'],
    ['fiemap', path, '/folder/file'],
  ]) {
    const { status, stdout, stderr } = xfskit(words)
    assert.deepEqual([status, replayed.test(stderr)], [0, true], `${words[0]}: ${stderr}`)
    if (words[0] !== 'fiemap') assert.match(stdout, /f/, words[0])
    const onDisk = xfskit([words[0] as string, '--no-replay', ...words.slice(1)])
    assert.notEqual(onDisk.status, 0, words[0])
    assert.match(onDisk.stderr, /showing the state on disk without the log/, words[0])
  }
  for (const words of [['info'], ['fsmap'], ['dump', 'bnobt'], ['shares', '--histogram']])
    assert.match(xfskit([words[0] as string, path, ...words.slice(1)]).stderr, replayed, words[0])
  assert.equal(xfskit(['cat', path, '/folder/file']).stdout, 'in the log')
  assert.equal(xfskit(['get', path, '/folder/file', join(outputs, 'copy')]).status, 0)
  assert.equal(readFileSync(join(outputs, 'copy'), 'utf8'), 'in the log')
  const checked = xfskit(['check', path])
  assert.deepEqual([checked.status, checked.stdout], [2, 'no inconsistencies\n'])
  assert.match(checked.stderr, /the log is dirty: .*; run xfskit recover\n$/)
  assert.equal(JSON.parse(xfskit(['check', '--json', path]).stdout).dirty, true)
  const refused = xfskit(['mkdir', path, '/x'])
  assert.equal(refused.status, 2)
  assert.match(refused.stderr, /the log is dirty: run xfskit recover/)
  assert.ok(readFileSync(path).equals(before))

  const copy = at('replayed')
  copyFileSync(path, copy)
  assert.equal(xfskit(['mkdir', '--replay', copy, '/x']).status, 0)
  assert.equal(xfskit(['ls', copy]).stdout, 'folder\nx\n')
  judge(copy, { kernel: true })

  // A log that cannot be read: readers show what is on disk, and do not end with 0.
  const { geometry } = Volume.open(openFile(path, 'r'))
  const log = geometry.fsbToDaddr(geometry.sb.logstart) * 512
  before.fill(0xa5, log, log + 64 * 512)
  writeFileSync(path, before)
  rmSync(outputs, { recursive: true, force: true })
  mkdirSync(outputs)
  for (const words of [
    ['get', path, '/', join(outputs, 'copy')],
    ['get', path, '/', join(outputs, 'copy.tar')],
  ]) {
    const { status, stderr } = xfskit(words)
    assert.equal(status, 2, stderr)
    assert.match(stderr, /the log cannot be read/)
    assert.deepEqual(names(), [])
  }
  for (const words of [['ls'], ['tree'], ['info'], ['find'], ['du', '/'], ['stat', '/'], ['fsmap'], ['check']])
    assert.equal((await ran([words[0] as string, path, ...words.slice(1)])).status, 2, words[0])
})

test('hard links and symbolic links of an image are one image', {
  skip: native() ? false : 'needs the native call',
}, () => {
  const path = image('named')
  linkSync(path, at('hard'))
  symlinkSync(path, at('soft'))
  const holder = openFile(at('soft'), 'rw')
  for (const name of ['named', 'hard', 'soft']) assert.equal(xfskit(['mkdir', at(name), '/x']).status, 1, name)
  holder.close()
  xfskitOk(['mkdir', at('hard'), '/x'])
})
