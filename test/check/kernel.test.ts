import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { repair } from '../../src/repair/repair.ts'
import {
  checkFindings,
  crashImage,
  distribution,
  makeImage,
  mountImage,
  newest,
  skip,
  type Xfsprogs,
} from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'

/**
 * Images that mkfs.xfs made and the kernel filled are sound. A check must find nothing in them, and
 * a repair may at most clear reflink flags that are not needed any more. This is the most important
 * test of a check: it must not report false problems.
 */
interface Kind {
  readonly name: string
  readonly size: string
  readonly options: readonly string[]
  readonly tools: Xfsprogs
  readonly reflink?: false
}

const kinds: readonly Kind[] = [
  { name: 'newest, as it comes', size: '320m', options: [], tools: newest },
  { name: '6.1, as it comes', size: '320m', options: [], tools: distribution },
  { name: 'blocks of 1 KiB', size: '320m', options: ['-b', 'size=1024'], tools: newest },
  { name: 'blocks of 64 KiB', size: '640m', options: ['-b', 'size=65536'], tools: distribution },
  {
    name: 'neither rmapbt nor reflink',
    size: '320m',
    options: ['-m', 'reflink=0,rmapbt=0'],
    tools: newest,
    reflink: false,
  },
  {
    name: 'rmapbt without reflink',
    size: '320m',
    options: ['-m', 'reflink=0,rmapbt=1'],
    tools: distribution,
    reflink: false,
  },
  { name: 'reflink without rmapbt or finobt', size: '320m', options: ['-m', 'rmapbt=0,finobt=0'], tools: distribution },
  {
    name: 'no sparse inodes, inodes of 1 KiB',
    size: '320m',
    options: ['-i', 'sparse=0,size=1024'],
    tools: distribution,
  },
  { name: 'directory blocks of 16 KiB', size: '320m', options: ['-n', 'size=16384', '-b', 'size=1024'], tools: newest },
  { name: 'sectors of 4 KiB, 9 groups', size: '640m', options: ['-s', 'size=4096', '-d', 'agcount=9'], tools: newest },
]

for (const kind of kinds) {
  test(`nothing is found in an image of the kernel: ${kind.name}`, {
    skip: skip.kernel || skip.newest || skip.distribution,
  }, () => {
    withTempDir((folder) => {
      const image = join(folder, 'image')
      makeImage(image, kind.size, kind.options, kind.tools)
      assert.deepEqual(checkFindings(image), [], 'as mkfs made it')
      mountImage(image, (mount) => fill(mount, kind.reflink !== false))
      assert.deepEqual(checkFindings(image), [], 'filled')
      mountImage(image, (mount) => thinOut(mount, kind.reflink !== false))
      assert.deepEqual(checkFindings(image), [], 'changed and thinned out')
      const { status, stderr } = spawnSync(newest.repair, ['-f', image], { encoding: 'utf8' })
      assert.equal(status, 0, stderr)
      assert.deepEqual(checkFindings(image), [], 'rebuilt by xfs_repair')
      const device = openFile(image, 'rw')
      const { plans, after } = repair(device)
      device.close()
      assert.deepEqual(
        plans.flatMap((plan) => plan.ags),
        [],
      )
      assert.equal(after.findings.total, 0)
    })
  })
}

test('nothing is found in an image with a history: growth, a crash and its recovery', {
  skip: skip.kernel || skip.newest,
}, () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '320m')
    mountImage(image, (mount) => fill(mount, true))
    assert.deepEqual(checkFindings(image), [], 'filled')
    truncateSync(image, 700 * 2 ** 20)
    mountImage(image, (mount) => {
      const { status, stderr } = spawnSync(join(dirname(newest.mkfs), 'xfs_growfs'), [mount], { encoding: 'utf8' })
      assert.equal(status, 0, stderr)
      mkdirSync(join(mount, 'more'))
      fill(join(mount, 'more'), false)
    })
    assert.deepEqual(checkFindings(image), [], 'grown')
    crashImage(image, (mount) => {
      thinOut(mount, true)
      // Files that are unlinked and still open, and CoW staging blocks, at a power failure.
      const open = openSync(join(mount, 'plain'), 'r+')
      unlinkSync(join(mount, 'plain'))
      io(join(mount, 'sparse copy 2'), 'cowextsize 1m', 'pwrite -q 0 4k')
      closeSync(open)
    })
    mountImage(image, () => {})
    assert.deepEqual(checkFindings(image), [], 'recovered')
  })
})

const io = (file: string, ...commands: readonly string[]): void => {
  execFileSync(newest.io, ['-f', ...commands.flatMap((command) => ['-c', command]), file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}
const block = 'b'.repeat(4096)

/** Files of all kinds and sizes, in directories of all formats. */
function fill(mount: string, reflink: boolean): void {
  const at = (...names: readonly string[]): string => join(mount, ...names)
  mkdirSync(at('a', 'deep', 'er'), { recursive: true })
  for (let i = 0; i < 150; i++) writeFileSync(at('a', `small${i}`), block.repeat(i % 4).slice(i % 100))
  mkdirSync(at('many'))
  for (let i = 0; i < 1500; i++) writeFileSync(at('many', `an entry with a longer name ${i}${'x'.repeat(i % 90)}`), '')
  const sparse = openSync(at('sparse'), 'w')
  for (let i = 0; i < 500; i++) writeSync(sparse, block, i * 65536 * 2)
  ftruncateSync(sparse, 500 * 65536 * 2 + 12345)
  closeSync(sparse)
  io(at('prealloc'), 'falloc 0 4m', 'pwrite -q 128k 64k', 'pwrite -q 1m 640k', 'fpunch 1200k 64k', 'falloc -k 4m 1m')
  writeFileSync(at('plain'), block.repeat(300))
  for (let i = 0; i < 12; i++) linkSync(at('plain'), at(`link${i}`))
  symlinkSync('plain', at('short link'))
  symlinkSync('y'.repeat(900), at('long link'))
  execFileSync('mkfifo', [at('fifo')])
  execFileSync('mknod', [at('null'), 'c', '1', '3'])
  writeFileSync(Buffer.concat([Buffer.from(`${mount}/`), Buffer.from([0xff, 0xfe, 1, 0x80])]), 'not UTF-8')
  for (let i = 1; i < 8; i++) {
    for (let k = 0; k < i; k++)
      spawnSync('setfattr', [
        '-n',
        `user.a${k}`,
        '-v',
        'v'.repeat([3, 60, 400, 3000][k % 4] as number),
        at('a', `small${i}`),
      ])
  }
  if (reflink) shareBlocks(at)
}

function shareBlocks(at: (...names: readonly string[]) => string): void {
  for (const name of ['plain', 'sparse', 'prealloc']) {
    for (let i = 0; i < 3; i++) execFileSync('cp', ['--reflink=always', at(name), at(`${name} copy ${i}`)])
  }
  const copy = openSync(at('plain copy 0'), 'r+')
  for (let i = 0; i < 300; i += 3) writeSync(copy, 'changed', i * 4096 + 5)
  closeSync(copy)
  io(at('sparse copy 1'), 'cowextsize 256k', 'pwrite -q 0 64k')
  io(at('self'), 'pwrite -q 0 512k', `reflink ${at('self')} 0 1m 512k`, `reflink ${at('self')} 64k 2m 128k`)
}

function thinOut(mount: string, reflink: boolean): void {
  const names = readdirSync(join(mount, 'many')).sort()
  for (let i = 0; i < names.length; i += 3) unlinkSync(join(mount, 'many', names[i] as string))
  for (let i = 0; i < 150; i += 2) unlinkSync(join(mount, 'a', `small${i}`))
  for (let i = 0; i < 60; i++) io(join(mount, 'plain'), `fpunch ${i * 20}k 4k`)
  renameSync(join(mount, 'a', 'deep', 'er'), join(mount, 'moved'))
  appendFileSync(join(mount, 'sparse'), block)
  if (!reflink) return
  unlinkSync(join(mount, 'plain copy 1'))
  execFileSync('truncate', ['-s', '300K', join(mount, 'plain copy 2')])
  io(join(mount, 'self'), 'funshare 1m 128k')
}
