import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type WriteBehind, writeBehind } from '../../src/device/behind.ts'
import { copyFile, createFile, openFile } from '../../src/device/file.ts'
import { native } from '../../src/device/native.ts'
import { XfsError } from '../../src/errors.ts'
import { makeImage, mountImage, skip } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'

const folder = tempDir()
const lockFile = (name: string): string => join(folder, `.${name}.xfskit-lock`)
const code = (expected: string) => (error: unknown) => error instanceof XfsError && error.code === expected

/** A process that holds `path` open for changes until it is killed. */
async function holder(path: string): Promise<ReturnType<typeof spawn>> {
  const device = fileURLToPath(new URL('../../src/device/file.js', import.meta.url))
  const script = `const { openFile } = await import(${JSON.stringify(device)}); openFile(process.argv[1], 'rw'); console.log('held'); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}

test('a new file is all hole, and zeroing it writes nothing', () => {
  const path = join(folder, 'hole')
  const device = createFile(path, 2 ** 40)
  device.zero(0, 2 ** 40)
  device.write(Buffer.from('x'), 2 ** 39)
  device.zero(2 ** 38, 2 ** 39)
  const read = Buffer.alloc(8)
  device.read(read, 2 ** 39)
  assert.deepEqual(read, Buffer.alloc(8))
  device.close()
  assert.ok(statSync(path).blocks <= 64, `${statSync(path).blocks} sectors in use`)
})

test('writes beyond 4 GiB land where they should', () => {
  const path = join(folder, 'large')
  const device = createFile(path, 2 ** 34)
  device.write(Buffer.from('beyond'), 2 ** 33 + 5)
  device.close()
  const again = openFile(path, 'r')
  const read = Buffer.alloc(8)
  again.read(read, 2 ** 33 + 4)
  assert.equal(read.toString('latin1'), '\0beyond\0')
  assert.equal(again.readOnly, true)
  assert.throws(() => again.write(read, 0), code('IO'))
  again.close()
})

test('reports files that cannot be opened', () => {
  mkdirSync(join(folder, 'dir'))
  assert.throws(() => openFile(join(folder, 'none'), 'r'), code('NOENT'))
  assert.throws(() => openFile(join(folder, 'dir'), 'r'), code('IO'))
  assert.throws(() => openFile(join(folder, 'dir'), 'rw'), code('IO'))
  writeFileSync(join(folder, 'there'), 'x')
  assert.throws(() => createFile(join(folder, 'there'), 10, { exclusive: true }), code('EXIST'))
  assert.equal(readFileSync(join(folder, 'there'), 'latin1'), 'x')
  assert.throws(() => createFile(join(folder, 'none', 'a'), 10), code('NOENT'))
})

test('a file that becomes shorter while open is an error, not an endless loop', () => {
  const path = join(folder, 'shrinks')
  const device = createFile(path, 10_000)
  truncateSync(path, 5_000)
  assert.throws(() => device.read(Buffer.alloc(10_000), 0), code('IO'))
  device.close()
})

test('one writer an image, under any of its names', () => {
  const path = join(folder, 'locked')
  const device = createFile(path, 1000)
  symlinkSync(path, join(folder, 'symlink'))
  linkSync(path, join(folder, 'hardlink'))
  for (const name of ['locked', 'symlink', ...(native() ? ['hardlink'] : [])]) {
    assert.throws(() => openFile(join(folder, name), 'rw'), code('BUSY'))
    openFile(join(folder, name), 'r').close()
  }
  assert.throws(() => createFile(path, 10), code('BUSY'))
  assert.equal(statSync(path).size, 1000)
  device.close()
  openFile(path, 'rw').close()
})

test('another process that changes the image keeps us out; once killed it does not', async () => {
  const path = join(folder, 'shared')
  createFile(path, 1000).close()
  const child = await holder(path)
  assert.throws(() => openFile(path, 'rw'), new RegExp(`process ${child.pid}`))
  openFile(path, 'r').close()
  child.kill('SIGKILL')
  await once(child, 'exit')
  const device = openFile(path, 'rw')
  assert.equal(JSON.parse(readFileSync(lockFile('shared'), 'utf8')).pid, process.pid)
  device.close()
})

test('a lock ends with its process', async () => {
  const path = join(folder, 'ends')
  createFile(path, 1000).close()
  const device = fileURLToPath(new URL('../../src/device/file.js', import.meta.url))
  const script = `const { openFile } = await import(${JSON.stringify(device)}); openFile(process.argv[1], 'rw'); process.exit(3)`
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', script, path])
  assert.equal(run.status, 3, String(run.stderr))
  assert.ok(!existsSync(lockFile('ends')))
})

const root = process.getuid?.() === 0 && spawnSync('losetup', ['-f']).status === 0
test('what backs a loop device is not opened for changing', {
  skip: root ? false : 'needs root and loop devices',
}, () => {
  const path = join(folder, 'loop')
  createFile(path, 2 ** 20).close()
  const loop = execFileSync('losetup', ['-f', '--show', path], { encoding: 'latin1' }).trim()
  try {
    assert.throws(() => openFile(path, 'rw'), new RegExp(`attached to ${loop}`))
    openFile(path, 'r').close()
    const device = openFile(loop, 'rw')
    assert.equal(device.size, 2 ** 20)
    device.write(Buffer.from('through the device'), 4096)
    device.flush()
    device.close()
    assert.equal(readFileSync(path).subarray(4096, 4114).toString(), 'through the device')
  } finally {
    execFileSync('losetup', ['-d', loop])
  }
})

test('a full disk is an error of the device', { skip: skip.kernel }, () => {
  const small = join(folder, 'small')
  mkdirSync(small)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'xfskit-test', small])
  try {
    const device = createFile(join(small, 'image'), 2 ** 20)
    try {
      assert.throws(() => device.write(Buffer.alloc(2 ** 18, 1), 0), code('IO'))
    } finally {
      device.close()
    }
  } finally {
    execFileSync('umount', [small])
  }
})

test('a mounted block device is not opened for changing', { skip: skip.kernel }, () => {
  const path = join(folder, 'mounted')
  makeImage(path, '300m')
  mountImage(path, (mounted) => {
    const loop = execFileSync('findmnt', ['-n', '-o', 'SOURCE', mounted], { encoding: 'latin1' }).trim()
    assert.throws(() => openFile(loop, 'rw'), code('BUSY'))
    assert.throws(() => openFile(path, 'rw'), new RegExp(`attached to ${loop}, mounted at ${mounted}`))
    openFile(loop, 'r').close()
  })
})

test('a copy is equal, sparse, and does not disturb an image in use', () => {
  const from = join(folder, 'from')
  const to = join(folder, 'to')
  for (const size of [5_000_001, 2 ** 31]) {
    const device = createFile(from, size)
    device.write(Buffer.from('here'), 3_000_000)
    device.write(Buffer.from('end'), size - 3)
    device.close()
    writeFileSync(to, 'old content')
    copyFile(from, to)
    assert.equal(statSync(to).size, size)
    assert.ok(statSync(to).blocks <= 2100)
    const copy = openFile(to, 'r')
    for (const [text, at] of [
      ['here', 3_000_000],
      ['end', size - 3],
    ] as const) {
      const read = Buffer.alloc(text.length)
      copy.read(read, at)
      assert.equal(read.toString(), text)
    }
    copy.close()
  }
})

test('an error of write-behind is reported once, by the wait for it', {
  skip: process.platform !== 'linux' && 'no /dev/full',
}, () => {
  const fd = openSync('/dev/full', 'r+')
  const writer = writeBehind(fd) as WriteBehind
  const bytes = new Uint8Array(new SharedArrayBuffer(4096))
  for (let i = 0; i < 3; i++) writer.write(bytes, 0)
  assert.throws(() => writer.settle(), { code: 'ENOSPC' })
  writer.settle()
  writer.close()
  closeSync(fd)
})
