import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { closeSync, ftruncateSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { program, xfskit } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { skip } from '../support/oracles.ts'
import { recordCommands } from '../support/recording.ts'
import { tempDir } from '../support/temp.ts'

/**
 * `mkfs --from`, interrupted at any point: it leaves no image, and nothing that looks like a
 * filesystem on a device or in a part of one.
 */

const MIB = 2 ** 20
/** Bytes of an archive that are written at once. */
const PIECE = 2 ** 15
const folder = tempDir()
const tree = join(folder, 'tree')
mkdirSync(join(tree, 'deep'), { recursive: true })
writeFileSync(join(tree, 'large'), Buffer.alloc(3 * MIB, 7))
for (let i = 0; i < 50; i++) writeFileSync(join(tree, 'deep', `${i}`), `${i}`)
const much = join(folder, 'much')
mkdirSync(much)
writeFileSync(join(much, 'file'), Buffer.alloc(40 * MIB, 1))

const sized = (name: string, size: number): string => {
  const path = join(folder, name)
  const fd = openSync(path, 'w')
  ftruncateSync(fd, size)
  closeSync(fd)
  return path
}

/** It has a primary superblock: only that counts for the kernel. A disk that fails keeps old copies. */
const hasPrimary = (image: string): boolean => readFileSync(image).subarray(0, 4).toString('latin1') === 'XFSB'
const isXfs = (image: string): boolean => xfskit(['info', image]).status === 0

test('in place: a disk that fails at any write leaves no filesystem, nor the one that was there', async () => {
  const image = sized('failing', 32 * MIB)
  const make = ['mkfs', '-f', '-q', '--offset', '0', '--size', '32m', '--from', tree, image]
  const { events, status } = await recordCommands(image, [make], { trees: false })
  assert.equal(status, 0)
  judge(image)
  const writes = events.filter(({ kind }) => kind === 'write').length
  for (const share of [0.05, 0.3, 0.6, 0.9, 1]) {
    let left = Math.ceil(writes * share)
    const failed = await recordCommands(image, [make], {
      trees: false,
      beforeWrite(length) {
        if (--left > 0) return length
        throw Object.assign(new Error('EIO: write'), { code: 'EIO', errno: -5, syscall: 'write' })
      },
    })
    assert.equal(failed.status, 4, failed.stderr)
    assert.equal(hasPrimary(image), false, `after ${share} of ${writes} writes`)
    assert.match(xfskit(['info', image]).stderr, /superblock|not an XFS/, `after ${share} of ${writes} writes`)
  }
  // Nothing must be overwritten.
  assert.equal(xfskit(make.filter((word) => word !== '-f')).status, 0)
  judge(image)
})

test('on a block device: what does not fit leaves no filesystem', { skip: skip.kernel }, () => {
  const file = sized('loop', 32 * MIB)
  const loop = execFileSync('losetup', ['-f', '--show', file], { encoding: 'latin1' }).trim()
  try {
    assert.equal(xfskit(['mkfs', '-q', loop]).status, 0)
    const { status, stderr } = xfskit(['mkfs', '-f', '--from', much, loop])
    assert.equal(status, 4)
    assert.match(stderr, /file: no space.*\n.*not all files fit: no filesystem was created/s)
    assert.equal(isXfs(loop), false)
    assert.notEqual(spawnSync('blkid', ['-p', loop]).status, 0, 'and blkid sees none')
    assert.equal(xfskit(['mkfs', '-q', '--from', tree, loop]).status, 0)
  } finally {
    execFileSync('losetup', ['-d', loop])
  }
  judge(file, { kernel: true })
})

test('interrupted, it reports the result: no image, or no filesystem', {
  skip: process.platform === 'win32' ? 'no SIGINT to send' : false,
}, async () => {
  const images = join(folder, 'images')
  mkdirSync(images)
  const image = join(images, 'image')
  const part = sized('part', 32 * MIB)
  const tar = execFileSync('tar', ['-cf', '-', '-C', tree, '.'], { maxBuffer: 2 ** 25 })
  for (const [args, left] of [
    [['--size', '32m', image], 'no image was created'],
    [['--offset', '0', part], 'no filesystem was created'],
  ] as const) {
    // The archive arrives slowly, as over a network.
    const child = spawn(process.execPath, [program(), 'mkfs', '-q', '--from', '-', ...args])
    let stderr = ''
    child.stderr.on('data', (text) => {
      stderr += text
    })
    child.stdin.on('error', () => {})
    let sent = 0
    const feed = setInterval(() => {
      child.stdin.write(tar.subarray(sent, sent + PIECE))
      sent += PIECE
    }, 10)
    const target = args.at(-1) as string
    while (!isBegun(target, images)) await new Promise((resolve) => setTimeout(resolve, 20))
    child.kill('SIGINT')
    const status = await new Promise((resolve) => child.once('close', resolve))
    clearInterval(feed)
    assert.equal(status, 130)
    assert.ok(stderr.endsWith(`xfskit mkfs: stopped by SIGINT; ${left}\n`), stderr)
  }
  assert.deepEqual(readdirSync(images), [])
  assert.equal(isXfs(part), false)
})

/** The filesystem was created, and is being filled. */
function isBegun(target: string, images: string): boolean {
  if (!target.startsWith(images))
    return readFileSync(target)
      .subarray(4096)
      .some((byte) => byte !== 0)
  const name = readdirSync(images).find((entry) => !entry.endsWith('-lock'))
  return name !== undefined && readFileSync(join(images, name)).subarray(0, 4).toString() === 'XFSB'
}
