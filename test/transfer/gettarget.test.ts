import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { openInode } from '../../src/inode/inode.ts'
import { createIn } from '../../src/namespace/namespace.ts'
import { checkHostName } from '../../src/transfer/names.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { program, xfskit, xfskitOk } from '../support/cli.ts'
import { tempDir } from '../support/temp.ts'

/**
 * The effects of `get`, and of other commands that write to the host, on existing files at the
 * given path.
 */
const folder = tempDir()
const at = (...names: string[]): string => join(folder, ...names)
const image = at('image')
const HOLE = 3 * 2 ** 20
xfskitOk(['mkfs', '--size', '300m', image])
xfskitOk(['mkdir', image, '/t', '/t/dir'])
xfskitOk(['write', image, '/t/file'], { input: 'new' })
xfskitOk(['chmod', image, '640', '/t/file'])
xfskitOk(['write', image, '/t/dir/deeper'], { input: 'new' })
xfskitOk(['ln', '-s', image, 'file', '/t/link'])
xfskitOk(['mknod', image, '/t/dir/fifo', 'p'])
xfskitOk(['write', image, '/hole'], { input: 'end' })
xfskitOk(['truncate', image, String(HOLE), '/hole'])

const asRoot = process.getuid?.() === 0
const skipRoot = asRoot ? false : 'needs root'
const skipLinux = process.platform === 'linux' ? false : 'for Linux'
const mkfifo = (path: string): void => assert.equal(spawnSync('mkfifo', [path]).status, 0)
const names = (path: string): string[] => readdirSync(path).sort()

/** An empty folder. */
function fresh(name: string): string {
  rmSync(at(name), { recursive: true, force: true })
  mkdirSync(at(name))
  return at(name)
}

test('get: a device that is named is written to, and stays as it is', { skip: skipRoot || skipLinux }, () => {
  const dir = fresh('devices')
  const node = join(dir, 'null')
  assert.equal(spawnSync('mknod', ['-m', '666', node, 'c', '1', '3']).status, 0)
  const before = lstatSync(node)
  symlinkSync('null', join(dir, 'link'))
  xfskitOk(['get', image, '/t/file', node])
  xfskitOk(['get', image, '/hole', join(dir, 'link')])
  xfskitOk(['get', '--tar', image, '/t', node])
  const after = lstatSync(node)
  assert.ok(after.isCharacterDevice())
  assert.deepEqual([after.ino, after.mode, after.uid, after.rdev], [before.ino, before.mode, before.uid, before.rdev])
  // Neither a link nor a directory replaces it, nor a file from a tree.
  for (const source of ['/t/link', '/t']) assert.equal(xfskit(['get', image, source, node]).status, 1)
  xfskitOk(['mkdir', image, '/devices'])
  xfskitOk(['write', image, '/devices/null'], { input: 'x' })
  const { status, stderr } = xfskit(['get', image, '/devices/null', dir])
  assert.equal(status, 1)
  assert.match(stderr, /null: a device, fifo or socket exists, which is not replaced/)
  assert.equal(lstatSync(node).ino, before.ino)
  assert.deepEqual(names(dir), ['link', 'null'])
})

test('get: a fifo that is named gets the bytes, holes as zeros', { skip: skipLinux }, async () => {
  const dir = fresh('fifos')
  const fifo = join(dir, 'fifo')
  mkfifo(fifo)
  for (const [source, length] of [
    ['/t/file', 3],
    ['/hole', HOLE],
  ] as const) {
    const get = spawn(process.execPath, [program(), 'get', image, source, fifo])
    const ended = new Promise((resolve) => get.once('exit', resolve))
    const read = spawnSync('cat', [fifo], { maxBuffer: 2 ** 24 })
    assert.equal(await ended, 0)
    assert.equal(read.stdout.length, length)
    assert.equal(read.stdout.subarray(0, 3).toString(), source === '/hole' ? 'end' : 'new')
  }
  assert.ok(lstatSync(fifo).isFIFO())
})

for (const args of [
  ['/t/file', 'fifo'],
  ['--tar', '/t', 'fifo'],
]) {
  test(`get ${args.join(' ')}: Ctrl-C ends the wait for a reader`, { skip: skipLinux }, async () => {
    const dir = fresh('waiting')
    mkfifo(join(dir, 'fifo'))
    // Until the work begins, Node itself ends by the signal. That takes longer on a busy machine.
    let ended: unknown = 'SIGINT'
    for (let wait = 1500; ended === 'SIGINT' && wait < 50_000; wait *= 2) {
      const get = spawn(process.execPath, [program(), 'get', image, ...args], { cwd: dir })
      const end = new Promise((resolve) => get.once('exit', (code, signal) => resolve(code ?? signal)))
      await new Promise((resolve) => setTimeout(resolve, wait))
      assert.equal(get.exitCode, null)
      get.kill('SIGINT')
      ended = await end
    }
    assert.equal(ended, 130)
    assert.deepEqual(names(dir), ['fifo'])
  })
}

test('get: a link that is named is followed; one without a target is refused', () => {
  const dir = fresh('links')
  writeFileSync(join(dir, 'real'), 'old')
  symlinkSync('real', join(dir, 'link'))
  symlinkSync('none', join(dir, 'dangling'))
  xfskitOk(['get', image, '/t/file', join(dir, 'link')])
  assert.equal(readlinkSync(join(dir, 'link')), 'real')
  assert.equal(readFileSync(join(dir, 'real'), 'utf8'), 'new')
  assert.equal(statSync(join(dir, 'real')).mode & 0o777, 0o640)
  for (const args of [
    ['get', image, '/t/file'],
    ['get', image, '/t'],
    ['get', '--tar', image, '/t'],
    ['mkfs', '--size', '300m'],
    ['touch', image, '/new', '--output'],
  ]) {
    assert.notEqual(xfskit([...args, join(dir, 'dangling')]).status, 0, args.join(' '))
    assert.equal(readlinkSync(join(dir, 'dangling')), 'none')
  }
  assert.deepEqual(names(dir), ['dangling', 'link', 'real'])
})

test('get: nothing is written where a source is not there, or two would be one file', () => {
  const dir = fresh('sources')
  assert.equal(xfskit(['get', image, '/t/file', '/none', dir]).status, 1)
  const { status, stderr } = xfskit(['get', image, '/t/file', '/t/../t/file', dir])
  assert.equal(status, 3)
  assert.match(stderr, /two of the files would be copied to .*sources\/file;/)
  assert.deepEqual(names(dir), [])
})

test('get --tar -: ends quietly when its reader does; a full device is reported', { skip: skipLinux }, () => {
  const run = (words: string) => spawnSync('bash', ['-c', `node "$0" get "$1" ${words}`, program(), image])
  const closed = run('/hole --tar - | true; exit $PIPESTATUS')
  assert.deepEqual([closed.status, closed.stderr.toString()], [0, ''])
  for (const [words, status] of [
    ['/t --tar - >/dev/full', 3],
    ['/t --tar /dev/full', 1],
  ] as const) {
    const full = run(words)
    assert.equal(full.status, status)
    assert.match(full.stderr.toString(), /^xfskit get: cannot write (standard output|\/dev\/full): .*no space left/)
  }
})

test('get: what is there stays where the new file cannot be read', () => {
  const broken = at('broken')
  copyFileSync(image, broken)
  xfskitOk(['db', '-x', broken, '-c', 'path /t/file', '-c', 'write u3.bmx[0].startblock 0'])
  const dir = fresh('stays')
  for (const target of [join(dir, 'file'), dir]) {
    writeFileSync(join(dir, 'file'), 'old')
    linkSync(join(dir, 'file'), join(dir, 'second'))
    assert.equal(xfskit(['get', broken, '/t/file', target]).status, 1)
    assert.equal(readFileSync(join(dir, 'file'), 'utf8'), 'old')
    assert.equal(statSync(join(dir, 'file')).nlink, 2)
    assert.deepEqual(names(dir), ['file', 'second'])
    rmSync(join(dir, 'second'))
  }
})

test('get: below the target files, links and fifos are replaced, directories and devices are not', () => {
  const dir = fresh('below')
  writeFileSync(at('outside'), 'mine')
  symlinkSync('../outside', join(dir, 'file'))
  writeFileSync(join(dir, 'link'), 'old')
  mkdirSync(join(dir, 'dir', 'deeper'), { recursive: true })
  const { status, stderr } = xfskit(['get', image, '/t/.', dir])
  assert.equal(status, 4)
  assert.match(stderr, /dir\/deeper: a directory exists, which a file does not replace/)
  assert.equal(readFileSync(at('outside'), 'utf8'), 'mine')
  assert.ok(lstatSync(join(dir, 'file')).isFile())
  assert.equal(readlinkSync(join(dir, 'link')), 'file')
  assert.deepEqual(names(dir), ['dir', 'file', 'link'])
  rmSync(join(dir, 'dir', 'deeper'), { recursive: true })
  xfskitOk(['get', image, '/t/.', dir])
  xfskitOk(['get', image, '/t/.', dir])
  assert.equal(readFileSync(join(dir, 'dir', 'deeper'), 'utf8'), 'new')
  // A file in place of a directory.
  const second = fresh('second')
  writeFileSync(join(second, 'dir'), 'mine')
  assert.equal(xfskit(['get', image, '/t/.', second]).status, 4)
  assert.equal(readFileSync(join(second, 'dir'), 'utf8'), 'mine')
})

test('get: several names of one file; the second is made where the first could not be', () => {
  const linked = at('linked')
  copyFileSync(image, linked)
  xfskitOk(['ln', linked, '/t/file', '/t/other'])
  const dir = fresh('names')
  mkdirSync(join(dir, 'file'))
  assert.equal(xfskit(['get', linked, '/t/.', dir]).status, 4)
  assert.equal(readFileSync(join(dir, 'other'), 'utf8'), 'new')
  rmSync(join(dir, 'file'), { recursive: true })
  for (let i = 0; i < 2; i++) {
    xfskitOk(['get', linked, '/t/.', dir])
    assert.equal(statSync(join(dir, 'file')).ino, statSync(join(dir, 'other')).ino)
    assert.deepEqual(names(dir), ['dir', 'file', 'link', 'other'])
  }
})

test('get: a folder that cannot be written, a name that is too long', { skip: skipLinux }, () => {
  const dir = fresh('readonly')
  writeFileSync(join(dir, 'file'), 'old')
  if (asRoot) assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'xfskit-test', dir]).status, 0)
  else chmodSync(dir, 0o555)
  try {
    const refused = xfskit(['get', image, '/t/file', join(dir, 'new')])
    assert.equal(refused.status, 1)
    assert.match(refused.stderr, /read-only|permission denied/i)
    const tree = xfskit(['get', image, '/t', join(dir, 'new')])
    assert.equal(tree.status, 1)
    assert.match(tree.stdout, /copied 0 files/)
  } finally {
    if (asRoot) spawnSync('umount', [dir])
    else chmodSync(dir, 0o755)
  }
  const long = xfskit(['get', image, '/t/file', join(dir, 'n'.repeat(300))])
  assert.equal(long.status, 3)
  assert.match(long.stderr, /n: the name is too long\n$/)
})

test('get: on a full disk the files that fit are copied, the others are reported: status 4', {
  skip: skipRoot || skipLinux,
}, () => {
  const dir = fresh('full')
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'xfskit-test', dir]).status, 0)
  try {
    const large = at('large')
    copyFileSync(image, large)
    xfskitOk(['write', large, '/t/b'], { input: Buffer.alloc(2 ** 21, 1) })
    const { status, stderr } = xfskit(['get', large, '/t', join(dir, 't')])
    assert.equal(status, 4)
    assert.match(stderr, /t\/b: no space left on the host's disk/)
    assert.deepEqual(names(join(dir, 't')), ['dir', 'file', 'link'])
    assert.equal(statSync(join(dir, 't')).mode & 0o777, 0o755)
    writeFileSync(join(dir, 'b'), 'old')
    for (const target of [join(dir, 'b'), dir]) {
      assert.equal(xfskit(['get', large, '/t/b', target]).status, 1)
      assert.equal(readFileSync(join(dir, 'b'), 'utf8'), 'old')
    }
    assert.deepEqual(names(dir), ['b', 't'])
  } finally {
    spawnSync('umount', [dir])
  }
})

test('paths of the host that cannot be are answered in a line', { skip: skipLinux }, () => {
  const dir = fresh('paths')
  symlinkSync('loop', join(dir, 'loop'))
  for (const path of [join(image, 'x'), join(dir, 'loop'), join(dir, 'n'.repeat(300))])
    for (const args of [
      ['touch', image, '/new', '--output', path],
      ['get', '--tar', image, '/t', path],
      ['demo', path],
    ]) {
      const { status, stderr } = xfskit(args)
      assert.ok(status === 1 || status === 3, args.join(' '))
      assert.doesNotMatch(stderr, /unexpected/)
    }
  assert.deepEqual(names(dir), ['loop'])
})

/** As after `npm install --omit=optional`. */
const hide = `
const Module = require('node:module')
const resolve = Module._resolveFilename
Module._resolveFilename = function (name, ...rest) {
  if (name !== 'koffi') return resolve.call(this, name, ...rest)
  throw Object.assign(new Error('Cannot find module ' + name), { code: 'MODULE_NOT_FOUND' })
}
`

test('get: without the native calls each fifo and each attribute that is missing is named: status 4', () => {
  const own = at('own')
  copyFileSync(image, own)
  xfskitOk(['xattr', 'set', own, '/t/file', 'user.one', 'x'])
  xfskitOk(['xattr', 'set', own, '/t/file', 'trusted.two', 'x'])
  writeFileSync(at('hide.cjs'), hide)
  const env = { NODE_OPTIONS: `--require=${at('hide.cjs')}` }
  const { status, stderr } = xfskit(['get', own, '/t', at('bare')], { env })
  assert.equal(status, 4)
  assert.match(stderr, /bare\/dir\/fifo: a fifo cannot be created here/)
  assert.match(stderr, /bare\/file: (user\.one, trusted\.two|trusted\.two, user\.one) not copied: /)
  assert.equal(readFileSync(at('bare', 'file'), 'utf8'), 'new')
  assert.equal(xfskit(['get', '--no-xattrs', own, '/t/file', at('plain')], { env }).status, 0)
  const archive = xfskit(['get', own, '/t', at('own.tar')], { env })
  assert.equal(archive.status, 0, archive.stderr)
})

test('get: the properties of the filesystem are not attributes of a tree', () => {
  const own = at('properties')
  copyFileSync(image, own)
  xfskitOk(['xattr', 'set', own, '/', 'trusted.xfs:autofsck', 'check'])
  xfskitOk(['get', own, '/', at('properties.tar')])
  assert.doesNotMatch(readFileSync(at('properties.tar'), 'latin1'), /autofsck/)
})

test('trees deeper than a path can be: deeper files are reported, and memory is bounded', { skip: skipLinux }, () => {
  const deep = at('deep')
  copyFileSync(image, deep)
  const volume = Volume.open(openFile(deep, 'rw'), { write: true })
  const LEVELS = 8000
  let { rootino: ino } = volume.geometry.sb
  for (let level = 0; level < LEVELS; ) {
    withTransaction(volume, (tx) => {
      for (let i = 0; i < 40; i++, level++)
        ino = createIn(tx, openInode(volume, ino, tx), Buffer.from('a longer name'), 0o40755).ino
    })
  }
  volume.close()
  const archive = at('deep.tar')
  const copied = xfskit(['get', deep, '/', archive])
  assert.equal(copied.status, 4)
  assert.match(copied.stderr, /a path of 4101 bytes; at most 4096 can be used/)
  const tree = xfskit(['get', deep, '/', at('deep.out')])
  assert.equal(tree.status, 4)
  assert.match(tree.stderr, /name too long/)
  // 8000 paths of 56,000 bytes on average are 450 MB.
  for (const args of [
    ['find', deep, '-empty'],
    ['fsr', deep],
  ]) {
    const timed = spawnSync('node', ['-e', MEASURE, program(), ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const peak = Number(timed.stderr.trim().split('\n').at(-1))
    assert.equal(timed.status, 0, timed.stderr.slice(0, 300))
    assert.ok(peak > 0 && peak < 300, `${args.join(' ')}: ${peak} MB`)
  }
  assert.ok(existsSync(archive))
})

/** Run a program; the last line on standard error is its peak memory, in MB. */
const MEASURE = `
const { spawnSync } = require('node:child_process')
const { readFileSync } = require('node:fs')
const code = "process.on('exit', () => console.error(process.resourceUsage().maxRSS >> 10))"
const path = require('node:path').join(require('node:os').tmpdir(), 'xfskit-measure-' + process.pid + '.cjs')
require('node:fs').writeFileSync(path, code)
const { status } = spawnSync(process.execPath, ['--require', path, ...process.argv.slice(1)], { stdio: 'inherit' })
require('node:fs').unlinkSync(path)
process.exitCode = status
`

test('names that Windows takes for something else are refused there', () => {
  const refused = [
    'con',
    'NUL.txt',
    'com1',
    'lpt9.tar.gz',
    'aux .c',
    'a:stream',
    '..\\x',
    'a\\b',
    'dot.',
    'blank ',
    'a?',
  ]
  for (const name of refused)
    assert.throws(() => checkHostName(Buffer.from(name), 'win32'), /invalid file name on Windows/, name)
  for (const name of ['console', 'nul1', 'com', 'a.con', 'ü', '.profile', ...refused])
    assert.doesNotThrow(() => checkHostName(Buffer.from(name), refused.includes(name) ? 'linux' : 'win32'), name)
})
