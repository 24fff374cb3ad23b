import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { lstatSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parentPointers } from '../../src/attr/parent.ts'
import { openFile } from '../../src/device/file.ts'
import { entries } from '../../src/dir/dir.ts'
import { XfsError } from '../../src/errors.ts'
import { FILE_TYPES } from '../../src/format/dinode.ts'
import { deviceNumber, type Inode, openInode, updateInode } from '../../src/inode/inode.ts'
import { createFile, link, mkdir, mknod, rename, rmdir, symlink, unlink } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { readSymlink } from '../../src/symlink.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { type Random, random } from '../support/random.ts'
import { key, randomName } from './names.ts'
import { makeImage, mounted, repairSays, scratch, skipKernel, skipTools } from './support.ts'

/** The same operations, by us on one image and by the kernel on its twin. */

type Operation = readonly [kind: string, ...paths: Uint8Array[]]

const ERRNOS: Readonly<Record<string, number>> = {
  PERM: 1, NOENT: 2, EXIST: 17, XDEV: 18, NOTDIR: 20, ISDIR: 21, INVAL: 22, NOSPC: 28, NAMETOOLONG: 36, NOTEMPTY: 39, LOOP: 40,
} // biome-ignore format: a table

const PERL = `
use Fcntl; use POSIX ();
umask 0;
while (<STDIN>) {
  chomp; my ($op, @a) = split / /; @a = map { pack("H*", $_) } @a; my $r; $! = 0;
  if ($op eq 'create') { $r = sysopen(my $f, $a[0], O_CREAT | O_EXCL | O_WRONLY, 0640) }
  elsif ($op eq 'mkdir') { $r = mkdir($a[0], 0751) }
  elsif ($op eq 'symlink') { $r = symlink($a[0], $a[1]) }
  elsif ($op eq 'fifo') { $r = POSIX::mkfifo($a[0], 0600) }
  elsif ($op eq 'char') { $r = syscall(133, $a[0], 020660, (240 << 8) | 7) == 0 }
  elsif ($op eq 'link') { $r = link($a[0], $a[1]) }
  elsif ($op eq 'unlink') { $r = POSIX::unlink($a[0]) }
  elsif ($op eq 'rmdir') { $r = rmdir($a[0]) }
  elsif ($op eq 'rename') { $r = rename($a[0], $a[1]) }
  elsif ($op eq 'exchange') { $r = syscall(316, -100, $a[0], -100, $a[1], 2) == 0 }
  elsif ($op eq 'noreplace') { $r = syscall(316, -100, $a[0], -100, $a[1], 1) == 0 }
  else { die $op }
  print $r ? 0 : 0 + $!, "\\n";
}`

/** Apply operations with the kernel; returns the errno of each. */
function kernelApply(top: string, operations: readonly Operation[]): number[] {
  const input = operations
    .map(([kind, ...paths]) => [kind, ...paths.map((path) => Buffer.from(path).toString('hex'))].join(' '))
    .join('\n')
  const { stdout, stderr, status } = spawnSync('perl', ['-e', PERL], {
    cwd: top,
    input: `${input}\n`,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  })
  assert.equal(status, 0, stderr)
  return stdout.trim().split('\n').map(Number)
}

function ourApply(volume: Volume, [kind, a, b]: Operation): number {
  try {
    const one = a as Uint8Array
    const two = b as Uint8Array
    switch (kind) {
      case 'create': createFile(volume, one, 0o640); break
      case 'mkdir': mkdir(volume, one, 0o751); break
      case 'symlink': symlink(volume, one, two); break
      case 'fifo': mknod(volume, one, FILE_TYPES.fifo | 0o600); break
      case 'char': mknod(volume, one, FILE_TYPES.chr | 0o660, { device: { major: 240, minor: 7 } }); break
      case 'link': link(volume, resolve(volume, one, { follow: false }).ino, two); break
      case 'unlink': unlink(volume, one); break
      case 'rmdir': rmdir(volume, one); break
      case 'rename': rename(volume, one, two); break
      case 'exchange': rename(volume, one, two, { existing: 'exchange' }); break
      case 'noreplace': rename(volume, one, two, { existing: 'refuse' }); break
      default: throw new Error(kind)
    } // biome-ignore format: a table
    return 0
  } catch (error) {
    if (!(error instanceof XfsError) || ERRNOS[error.code] === undefined) throw error
    return ERRNOS[error.code] as number
  }
}

type Manifest = Map<string, string>

function kernelManifest(top: string): Manifest {
  const found: Manifest = new Map()
  const walk = (directory: Buffer, prefix: string): void => {
    for (const name of readdirSync(directory, { encoding: 'buffer' })) {
      const path = Buffer.concat([directory, Buffer.from('/'), name])
      const text = `${prefix}/${name.toString('latin1')}`
      const stat = lstatSync(path)
      const extra = stat.isSymbolicLink()
        ? readlinkSync(path, { encoding: 'buffer' }).toString('latin1')
        : stat.isCharacterDevice()
          ? `${stat.rdev >> 8}:${stat.rdev & 255}`
          : ''
      found.set(text, `${stat.mode.toString(8)} ${stat.nlink} ${stat.uid}:${stat.gid} ${extra}`)
      if (stat.isDirectory()) walk(path, text)
    }
  }
  walk(Buffer.from(top), '')
  return found
}

function ourManifest(volume: Volume): Manifest {
  const found: Manifest = new Map()
  const walk = (dir: Inode, prefix: string): void => {
    for (const { name, ino } of [...entries(dir)]) {
      const inode = openInode(volume, ino)
      const text = `${prefix}/${key(name)}`
      const device = inode.type === FILE_TYPES.chr ? deviceNumber(inode) : undefined
      const extra = inode.isSymlink ? key(readSymlink(inode)) : device ? `${device.major}:${device.minor}` : ''
      found.set(text, `${inode.mode.toString(8)} ${inode.nlink} ${inode.uid}:${inode.gid} ${extra}`)
      if (volume.features.has('parent')) checkPointers(inode, dir, name)
      if (inode.isDirectory) walk(inode, text)
    }
  }
  walk(resolve(volume, '/'), '')
  return found
}

function checkPointers(inode: Inode, dir: Inode, name: Uint8Array): void {
  const pointers = [...parentPointers(inode)]
  assert.equal(pointers.length, inode.isDirectory ? 1 : inode.nlink)
  assert.ok(pointers.some((one) => one.ino === dir.ino && one.gen === dir.generation && key(one.name) === key(name)))
}

/** Directories and files that exist after the operations so far. */
function choose(rand: Random, paths: readonly string[], names: readonly Uint8Array[]): Operation {
  const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1')
  const dirs = ['.', ...paths.filter((path) => path.endsWith('/')).map((path) => path.slice(0, -1))]
  const any = (): Uint8Array => (paths.length === 0 ? bytes('none') : bytes(rand.pick(paths).replace(/\/$/, '')))
  const fresh = (): Uint8Array => {
    const dir = bytes(rand.pick(dirs))
    return rand.chance(0.15) ? any() : Buffer.concat([dir, Buffer.from('/'), rand.pick(names)])
  }
  const roll = rand.int(100)
  if (roll < 22) return ['create', fresh()]
  if (roll < 32) return ['mkdir', fresh()]
  if (roll < 40) return ['symlink', randomName(rand, 255).map((byte) => (byte === 0x2f ? 0x61 : byte)), fresh()]
  if (roll < 43) return ['fifo', fresh()]
  if (roll < 46) return ['char', fresh()]
  if (roll < 56) return ['link', any(), fresh()]
  if (roll < 68) return ['unlink', any()]
  if (roll < 73) return ['rmdir', any()]
  if (roll < 90) return ['rename', any(), rand.chance(0.4) ? any() : fresh()]
  if (roll < 97) return ['exchange', any(), any()]
  return ['noreplace', any(), fresh()]
}

/** Paths of a manifest, with a slash after directories. */
const pathsOf = (manifest: Manifest): string[] =>
  [...manifest]
    .map(([path, text]) => path.slice(1) + (text.startsWith('4') ? '/' : ''))
    .filter((path) => path.split('/').length < 7)

const variants: { name: string; args: string[]; steps: number; size?: string }[] = [
  { name: 'newest defaults', args: [], steps: 1000 },
  { name: '1k blocks, old counters', args: ['-b', 'size=1k', '-i', 'nrext64=0'], steps: 800 },
  { name: 'no parent pointers', args: ['-n', 'parent=0'], steps: 500 },
  {
    name: '16k blocks, no rmapbt, reflink, finobt',
    args: ['-b', 'size=16k', '-m', 'rmapbt=0,reflink=0,finobt=0'],
    steps: 400,
  },
  { name: 'inode numbers of 8 bytes', args: ['-l', 'size=64m'], steps: 400, size: '4100g' },
]

for (const { name, args, steps, size = '320m' } of variants) {
  test(`namespace operations compared with the kernel: ${name}`, { skip: skipKernel || skipTools }, (t) => {
    const folder = scratch(t)
    const ours = join(folder, 'ours.img')
    const twin = join(folder, 'twin.img')
    for (const image of [ours, twin]) makeImage(image, size, args)
    const volume = Volume.open(openFile(ours, 'rw'), { write: true })
    const rand = random(steps)
    const names = Array.from({ length: 30 }, () => randomName(rand))
    let manifest: Manifest = new Map()
    const total = process.env['XFSKIT_LONG'] === '1' ? 5000 : steps
    for (let done = 0; done < total; ) {
      const batch: Operation[] = []
      const codes: number[] = []
      let paths = pathsOf(manifest)
      while (batch.length < 50) {
        if (batch.length % 10 === 9) paths = pathsOf(ourManifest(volume))
        const operation = choose(rand, paths, names)
        batch.push(operation)
        codes.push(ourApply(volume, operation))
      }
      const theirs = mounted(twin, (top) => {
        const result = kernelApply(top, batch)
        return { result, manifest: kernelManifest(top) }
      })
      for (const [i, operation] of batch.entries()) {
        // XFS returns EEXIST if a directory that is not empty would be replaced; others return
        // ENOTEMPTY.
        const code = codes[i] === 39 && theirs.result[i] === 17 ? 17 : codes[i]
        assert.equal(
          code,
          theirs.result[i],
          `${operation[0]} ${operation
            .slice(1)
            .map((path) => JSON.stringify(key(path as Uint8Array)))
            .join(' ')}`,
        )
      }
      manifest = ourManifest(volume)
      assert.deepEqual(new Map([...manifest].sort()), new Map([...theirs.manifest].sort()))
      volume.sync()
      assert.equal(repairSays(ours), '', `after ${done + batch.length} steps`)
      done += batch.length
    }
    if (size === '4100g') assert.ok([...entries(resolve(volume, '/'))].some((entry) => entry.ino >= 2 ** 32))
    volume.close()
    mounted(
      ours,
      (top) => assert.deepEqual(new Map([...kernelManifest(top)].sort()), new Map([...manifest].sort())),
      'loop,ro',
    )
  })
}

test('flags forbid changes of names', (t) => {
  const image = join(scratch(t), 'a.img')
  makeImage(image, '320m')
  const volume = Volume.open(openFile(image, 'rw'), { write: true })
  const flag = (path: string, flags: number, more: object = {}): void =>
    withTransaction(volume, (tx) =>
      updateInode(tx, resolve(volume, path, { follow: true, reader: tx }), { flags, ...more }),
    )
  mkdir(volume, 'd', 0o755)
  mkdir(volume, 'e', 0o755)
  createFile(volume, 'd/f', 0o644)
  createFile(volume, 'e/g', 0o644)
  const immutable = 1 << 3
  const append = 1 << 4
  flag('d', immutable)
  for (const action of [
    () => createFile(volume, 'd/x', 0),
    () => unlink(volume, 'd/f'),
    () => rename(volume, 'd/f', 'e/f'),
    () => rename(volume, 'e/g', 'd/g'),
  ]) {
    assert.throws(action, { code: 'PERM' })
  }
  flag('d', append)
  createFile(volume, 'd/x', 0o644)
  assert.throws(() => unlink(volume, 'd/f'), { code: 'PERM' })
  flag('d', 0)
  flag('d/f', immutable)
  const { ino } = resolve(volume, 'd/f')
  for (const action of [
    () => unlink(volume, 'd/f'),
    () => rename(volume, 'd/f', 'e/f'),
    () => link(volume, ino, 'e/f'),
  ]) {
    assert.throws(action, { code: 'PERM' })
  }
  flag('d/f', 0)
  // A project ID is inherited, and files with another one are refused.
  flag('e', 1 << 9, { projid: 42 })
  assert.equal(createFile(volume, 'e/h', 0o644).projid, 42)
  assert.equal(mkdir(volume, 'e/sub', 0o755).projid, 42)
  assert.throws(() => rename(volume, 'd/f', 'e/f'), { code: 'XDEV' })
  assert.throws(() => link(volume, ino, 'e/f'), { code: 'XDEV' })
  rename(volume, 'e/h', 'd/h')
  // The group is inherited from a directory with setgid.
  withTransaction(volume, (tx) =>
    updateInode(tx, resolve(volume, 'd', { follow: true, reader: tx }), { mode: 0o42775, gid: 100 }),
  )
  assert.equal(createFile(volume, 'd/grouped', 0o644).gid, 100)
  assert.equal(mkdir(volume, 'd/sub', 0o755).mode, 0o42755)
  for (const name of ['', '.', '..', 'a'.repeat(256)])
    assert.throws(() => createFile(volume, `d/${name}`, 0o644), { name: 'XfsError' })
  assert.throws(() => rename(volume, 'd', 'd/sub/inside'), { code: 'INVAL' })
  volume.sync()
  assert.equal(repairSays(image), '')
  volume.close()
})

/** The times of every file below, as text by path. */
function kernelTimes(top: string): Map<string, readonly string[]> {
  const found = new Map<string, readonly string[]>()
  const walk = (directory: string, prefix: string): void => {
    const times = (path: string): readonly string[] => {
      const stat = lstatSync(path, { bigint: true })
      return [`mtime ${stat.mtimeNs}`, `ctime ${stat.ctimeNs}`]
    }
    if (prefix === '') found.set('/', times(directory))
    for (const name of readdirSync(directory)) {
      found.set(`${prefix}/${name}`, times(join(directory, name)))
      if (lstatSync(join(directory, name)).isDirectory()) walk(join(directory, name), `${prefix}/${name}`)
    }
  }
  walk(top, '')
  return found
}

function ourTimes(volume: Volume): Map<string, readonly string[]> {
  const found = new Map<string, readonly string[]>()
  const times = (inode: Inode): readonly string[] => [
    `mtime ${JSON.stringify(inode.mtime)}`,
    `ctime ${JSON.stringify(inode.ctime)}`,
  ]
  const walk = (dir: Inode, prefix: string): void => {
    for (const { name, ino } of [...entries(dir)]) {
      const inode = openInode(volume, ino)
      found.set(`${prefix}/${key(name)}`, times(inode))
      if (inode.isDirectory) walk(inode, `${prefix}/${key(name)}`)
    }
  }
  const root = resolve(volume, '/')
  found.set('/', times(root))
  walk(root, '')
  return found
}

/** New files, and files with another time. */
const changedTimes = (before: Map<string, readonly string[]>, after: Map<string, readonly string[]>): string[] => {
  const known = new Set([...before.values()].flat())
  return [...after]
    .flatMap(([path, times]) => times.filter((time) => !known.has(time)).map((time) => `${path} ${time.slice(0, 5)}`))
    .sort()
}

test('times change where the kernel changes them', { skip: skipKernel || skipTools }, (t) => {
  const folder = scratch(t)
  const script = `
mkdir a | mkdir b | create a/f | create b/g | link a/f b/h | unlink b/h | symlink x a/s | fifo b/p | rename a/f a/f2 | rename a/f2 b/f | rename b/f b/g
mkdir a/d | rename a/d b/d | mkdir a/e | mkdir a/e2 | rename a/e a/e2 | rename a/e2 b/d | create a/x | create a/y | create b/z | exchange a/x a/y
exchange a/x b/z | mkdir a/m | exchange a/m b/z | mkdir a/n | mkdir b/o | exchange a/n b/o | link a/x b/x2 | rename a/x a/y | rmdir a/n | unlink b/x2 | noreplace a/y a/w`
  const operations = script
    .split(/[|\n]/)
    .map((line) => line.trim())
    .filter(Boolean)
    .map((line) => {
      const [kind, ...paths] = line.split(' ')
      return [kind as string, ...paths.map((path) => Buffer.from(path))] as const
    })
  for (const parent of [1, 0]) {
    const ours = join(folder, `ours${parent}.img`)
    const twin = join(folder, `twin${parent}.img`)
    for (const image of [ours, twin]) makeImage(image, '320m', ['-n', `parent=${parent}`])
    const expected = mounted(twin, (top) =>
      operations.map((operation) => {
        const before = kernelTimes(top)
        spawnSync('sleep', ['0.02'])
        assert.deepEqual(kernelApply(top, [operation]), [0], operation.join(' '))
        return changedTimes(before, kernelTimes(top))
      }),
    )
    let seconds = 2_000_000_000
    const volume = Volume.open(openFile(ours, 'rw'), { write: true, now: () => ({ seconds, nanoseconds: 7 }) })
    for (const [i, operation] of operations.entries()) {
      const before = ourTimes(volume)
      seconds++
      assert.equal(ourApply(volume, operation), 0, operation.join(' '))
      assert.deepEqual(
        changedTimes(before, ourTimes(volume)),
        expected[i],
        `${operation.join(' ')} with parent=${parent}`,
      )
    }
    volume.close()
  }
})
