import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import { ACL_TAGS, aclToProgram } from '../../src/attr/acl.ts'
import { openFile } from '../../src/device/file.ts'
import { FILE_TYPES } from '../../src/format/dinode.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { Volume } from '../../src/volume.ts'
import { differences, hostManifest, imageManifest } from '../support/manifest.ts'
import { checkFindings, distribution, makeImage, mountImage, newest, skip } from '../support/oracles.ts'
import { syscalls } from '../support/syscalls.ts'
import { withTempDir } from '../support/temp.ts'
import type { Twin } from './twin.ts'
import { kernelTwin } from './twin-kernel.ts'

/**
 * Images with many combinations of features, made by mkfs.xfs and filled by the kernel with every
 * kind of metadata. Line by line, we must read what the kernel shows of the mounted image.
 */
interface Combination {
  readonly name: string
  readonly args: readonly string[]
  readonly size?: string
  readonly old?: true
  /** Without XFSKIT_LONG=1 only these are tested. */
  readonly quick?: true
  /** A kernel may be built without it. */
  readonly optional?: true
}

const combinations: readonly Combination[] = [
  { name: 'newest defaults', args: [], quick: true },
  { name: '1k blocks', args: ['-b', 'size=1k'], quick: true },
  { name: '2k blocks', args: ['-b', 'size=2k'] },
  { name: '8k blocks', args: ['-b', 'size=8k'] },
  { name: '16k blocks', args: ['-b', 'size=16k'], quick: true },
  { name: '32k blocks, 2k inodes', args: ['-b', 'size=32k', '-i', 'size=2048'] },
  { name: '64k blocks', args: ['-b', 'size=64k'], size: '1g' },
  { name: '1k inodes', args: ['-i', 'size=1024'] },
  { name: '2k inodes', args: ['-i', 'size=2048'] },
  { name: '4k sectors', args: ['-s', 'size=4096'] },
  { name: '8k directory blocks', args: ['-n', 'size=8k'] },
  { name: '64k directory blocks', args: ['-n', 'size=64k'] },
  { name: '1k blocks, 64k directory blocks', args: ['-b', 'size=1k', '-n', 'size=64k'], quick: true },
  { name: 'no parent pointers', args: ['-n', 'parent=0'] },
  { name: 'small extent counters', args: ['-i', 'nrext64=0'] },
  { name: 'old times', args: ['-m', 'bigtime=0'] },
  { name: 'no reflink', args: ['-m', 'reflink=0'] },
  { name: 'no rmapbt', args: ['-m', 'rmapbt=0'] },
  { name: 'no finobt', args: ['-m', 'finobt=0,inobtcount=0'] },
  { name: 'no sparse inodes', args: ['-i', 'sparse=0'] },
  { name: 'little', args: ['-m', 'reflink=0,rmapbt=0,finobt=0,inobtcount=0,bigtime=0', '-i', 'nrext64=0,sparse=0,exchange=0', '-n', 'parent=0'], quick: true },
  { name: 'upper and lower case alike', args: ['-n', 'version=ci'], optional: true },
  { name: 'many groups', args: ['-d', 'agcount=16'] },
  { name: '6.1 defaults', args: [], old: true },
  { name: '6.1, 1k blocks, rmapbt', args: ['-b', 'size=1k', '-m', 'rmapbt=1'], old: true },
  { name: '6.1, 64k blocks, 1k inodes, 4k sectors', args: ['-b', 'size=64k', '-i', 'size=1024', '-s', 'size=4096'], size: '1g', old: true },
  { name: '6.1, V4', args: ['-m', 'crc=0,reflink=0,finobt=0'], old: true, optional: true },
  { name: '6.1, V4, 1k blocks, 256 byte inodes', args: ['-m', 'crc=0,reflink=0,finobt=0', '-b', 'size=1k', '-i', 'size=256', '-n', 'size=8k'], old: true, optional: true },
] // biome-ignore format: a table

const long = process.env['XFSKIT_LONG'] === '1'
const calls = syscalls()

for (const { name, args, size = '512m', old, optional } of combinations.filter(({ quick }) => long || quick)) {
  const reason = skip.kernel || (old ? skip.distribution : skip.newest) || (calls ? false : 'koffi is not installed')
  test(`a manifest of what the kernel made: ${name}`, { skip: reason }, (t) => {
    assert.ok(calls)
    withTempDir((folder) => {
      const image = join(folder, 'image')
      makeImage(image, size, args, old ? distribution : newest)
      try {
        mountImage(image, (root) => fill(kernelTwin(root, calls)))
      } catch (error) {
        if (!optional || !/mount: |wrong fs type|unknown filesystem/.test((error as Error).message)) throw error
        t.skip('the kernel does not mount it')
        return
      }
      const theirs = mountImage(image, (root) => hostManifest(root, calls, { exact: true }), { options: 'ro,noatime' })
      const volume = Volume.open(openFile(image, 'r'))
      const ours = imageManifest(rootDirectory(volume), { exact: true })
      const isV5 = volume.features.version === 5
      volume.close()
      assert.equal(differences(ours, theirs), '')
      assert.ok(theirs.length > 3500, `${theirs.length} lines`)
      if (isV5) assert.deepEqual(checkFindings(image).slice(0, 10), [])
    })
  })
}

const bytes = (length: number): Uint8Array => randomBytes(length)
const none = { major: 0, minor: 0 }

/** Create every kind of metadata with the kernel. Missing features are skipped. */
function fill(twin: Twin): void {
  regularFiles(twin)
  fragmented(twin)
  directories(twin)
  specialFiles(twin)
  attributes(twin)
  attempt(() => sharing(twin))
  flagsAndHints(twin)
}

function attempt(action: () => void): void {
  try {
    action()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EOPNOTSUPP' && code !== 'ENOTSUP' && code !== 'EINVAL' && code !== 'EEXIST') throw error
  }
}

function file(twin: Twin, path: string, content: Uint8Array, offset = 0): void {
  twin.create(path, 0o644)
  if (content.length > 0) twin.write(path, offset, content)
}

function regularFiles(twin: Twin): void {
  file(twin, 'empty', new Uint8Array(0))
  file(twin, 'small', bytes(5))
  file(twin, 'big', bytes(3_000_001))
  twin.chown('big', 4_000_000_000, 3_000_000)
  twin.chmod('big', 0o6755)
  for (let i = 0; i < 70; i++) twin.link('big', `big-${i}`)
  file(twin, 'hole', bytes(70_000), 123_456_789)
  twin.truncate('hole', 1_000_000_000)
  file(twin, 'unwritten', bytes(100_000), 300_000)
  twin.allocate('unwritten', 'alloc', 0, 2 ** 20)
  twin.allocate('unwritten', 'allocKeep', 2 ** 21, 2 ** 20)
  file(twin, 'far', bytes(10), 2 ** 44)
  file(twin, 'sticky', bytes(100))
  twin.chmod('sticky', 0o1000)
  const times: readonly (readonly [string, bigint, bigint])[] = [
    ['old', -1_882_000_000_123_456_789n, -2_147_483_648_000_000_000n],
    ['epoch', 0n, -1n],
    ['late', 2_147_483_647_999_999_999n, 4_102_444_800_500_000_001n],
    ['last', 16_299_260_424_000_000_000n, 16_299_260_423_999_999_999n],
  ]
  for (const [path, atime, mtime] of times) {
    file(twin, path, bytes(1))
    twin.setTimes(path, atime, mtime)
  }
}

/** Create enough extents for a bmbt of several levels. */
function fragmented(twin: Twin): void {
  const step = 2 ** 16
  file(twin, 'fragments', bytes(4 * 2 ** 20))
  twin.truncate('fragments', 2 ** 33)
  for (let i = 0; i < 1500; i++) twin.write('fragments', (2 * i + 100) * step, bytes(1))
  file(twin, 'slices', bytes(2 ** 22))
  for (let i = 0; i < 30; i++) twin.allocate('slices', 'punch', i * 2 * step, step)
}

function directories(twin: Twin): void {
  const names = (dir: string, count: number, name: (i: number) => string): void => {
    twin.mkdir(dir, 0o755)
    for (let i = 0; i < count; i++) twin.create(`${dir}/${name(i)}`, 0o600)
  }
  names('none', 0, String)
  names('few', 3, (i) => `n${i}`)
  names('some', 25, (i) => `name-${i}`)
  names('leaf', 300, (i) => `a longer name, number ${i}`)
  names('node', 6000, (i) => `${'long '.repeat(10)}${i}`)
  for (let i = 100; i < 4000; i++) if (i % 7 > 1) twin.unlink(`node/${'long '.repeat(10)}${i}`)
  names('odd', 1, () => '\u00ff\u00fe\u0001 not UTF-8 \n')
  twin.create(`odd/${'\u00e9'.repeat(255)}`, 0o600)
  twin.create('odd/ ', 0o600)
  twin.create('odd/Upper', 0o600)
  attempt(() => twin.create('odd/UPPER', 0o600))
  let deep = 'deep'
  for (let i = 0; i < 30; i++) {
    twin.mkdir(deep, 0o700)
    deep += `/d${i}`
  }
  twin.mkdir('setgid', 0o755)
  twin.chown('setgid', 5, 6)
  twin.chmod('setgid', 0o2775)
  twin.mkdir('setgid/below', 0o755)
  for (let i = 0; i < 200; i++) twin.mkdir(`few/sub${i}`, 0o700)
}

function specialFiles(twin: Twin): void {
  twin.symlink('small', 'link')
  twin.symlink('x'.repeat(300), 'long link')
  twin.symlink(`${'\u00ff'.repeat(100)}/${'y'.repeat(900)}`, 'longest link')
  twin.mknod('chr', FILE_TYPES.chr | 0o640, { major: 240, minor: 70_000 })
  twin.mknod('blk', FILE_TYPES.blk | 0o660, { major: 8, minor: 255 })
  twin.mknod('fifo', FILE_TYPES.fifo | 0o622, none)
  twin.mknod('sock', FILE_TYPES.sock | 0o777, none)
  twin.link('chr', 'chr too')
}

function attributes(twin: Twin): void {
  const path = 'attributes'
  file(twin, path, bytes(10))
  twin.setXattr(path, 'user.small', bytes(3), 'any')
  twin.setXattr(path, 'user.empty', new Uint8Array(0), 'any')
  twin.setXattr(path, 'trusted.t', bytes(30), 'any')
  twin.setXattr(path, 'security.capability', Buffer.from('0100000200000000000000000000000000000000', 'hex'), 'any')
  for (const [i, length] of [254, 255, 256, 800, 3000, 20_000, 65_535, 65_536].entries()) {
    file(twin, `value-${length}`, bytes(i))
    twin.setXattr(`value-${length}`, 'user.value', bytes(length), 'any')
    twin.setXattr(`value-${length}`, `user.${'n'.repeat(240 + i)}`, bytes(7), 'any')
  }
  for (const [name, count] of [
    ['ten', 10],
    ['hundred', 100],
    ['thousand', 1500],
  ] as const) {
    file(twin, name, bytes(100))
    for (let i = 0; i < count; i++) twin.setXattr(name, `user.attribute number ${i}`, bytes(i % 60), 'any')
    for (let i = 5; i < count; i += 3) twin.removeXattr(name, `user.attribute number ${i}`)
  }
  twin.mkdir('dir with attributes', 0o755)
  for (let i = 0; i < 40; i++) twin.setXattr('dir with attributes', `trusted.${i}`, bytes(40), 'any')
  for (let i = 0; i < 40; i++) twin.create(`dir with attributes/${i}`, 0o600)
  twin.setXattr('link', 'trusted.link', bytes(20), 'any')
  twin.setXattr('long link', 'trusted.link', bytes(2000), 'any')
  twin.setXattr('fifo', 'trusted.fifo', bytes(20), 'any')
  const acl = aclToProgram([
    { tag: ACL_TAGS.userObj, id: -1, perm: 7 }, { tag: ACL_TAGS.user, id: 1000, perm: 5 }, { tag: ACL_TAGS.user, id: 4_000_000_000, perm: 1 },
    { tag: ACL_TAGS.groupObj, id: -1, perm: 5 }, { tag: ACL_TAGS.group, id: 7, perm: 6 }, { tag: ACL_TAGS.mask, id: -1, perm: 6 },
    { tag: ACL_TAGS.other, id: -1, perm: 4 },
  ]) // biome-ignore format: a table
  twin.setXattr(path, 'system.posix_acl_access', acl, 'any')
  twin.mkdir('acl', 0o755)
  twin.setXattr('acl', 'system.posix_acl_default', acl, 'any')
  twin.create('acl/heir', 0o666)
  twin.mkdir('acl/heiress', 0o777)
  twin.chmod('acl/heir', 0o604)
}

function sharing(twin: Twin): void {
  file(twin, 'original', bytes(2 ** 20 + 17))
  for (const path of ['clone', 'clone of a part', 'clone, then changed']) twin.create(path, 0o644)
  twin.clone('original', 'clone', { srcOffset: 0, dstOffset: 0, length: 0 })
  twin.clone('original', 'clone of a part', { srcOffset: 2 ** 18, dstOffset: 2 ** 20, length: 2 ** 18 })
  twin.clone('original', 'clone, then changed', { srcOffset: 0, dstOffset: 0, length: 0 })
  twin.write('clone, then changed', 2 ** 19, bytes(10))
  twin.unlink('clone')
}

function flagsAndHints(twin: Twin): void {
  twin.mkdir('project', 0o755)
  twin.attributes('project', { projid: 0x12345678, set: 'PE', extsize: 2 ** 16 })
  twin.create('project/heir', 0o644)
  twin.write('project/heir', 100_000, bytes(10))
  twin.create('hint', 0o644)
  twin.attributes('hint', { extsize: 2 ** 17, set: 'e' })
  twin.write('hint', 5, bytes(5))
  twin.create('cow hint', 0o644)
  attempt(() => twin.attributes('cow hint', { cowextsize: 2 ** 17, set: 'C' }))
  for (const letter of 'sAdfiaS') {
    twin.create(`flag ${letter}`, 0o644)
    attempt(() => twin.attributes(`flag ${letter}`, { set: letter }))
  }
}
