import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openFile } from '../../src/device/file.ts'
import { changedBy } from '../../src/device/lock.ts'
import { besideFile } from '../../src/device/lockfile.ts'
import { native } from '../../src/device/native.ts'
import { thisProcess } from '../../src/device/process.ts'
import { XfsError } from '../../src/errors.ts'
import { tempDir } from '../support/temp.ts'

const folder = tempDir()
const linux = process.platform === 'linux'
const root = process.getuid?.() === 0
const needsNative = native() ? false : 'needs the native call'
const needsRoot = linux && root && native() ? false : 'needs root on Linux, and the native call'
const deviceModule = JSON.stringify(fileURLToPath(new URL('../../src/device/file.js', import.meta.url)))

/** Hides koffi, as if it was not installed. */
const withoutKoffi = join(folder, 'without-koffi.cjs')
writeFileSync(
  withoutKoffi,
  `const { Module } = require('node:module')
   const load = Module._load
   Module._load = (name, ...rest) => { if (name === 'koffi') throw new Error('not installed'); return load(name, ...rest) }`,
)

/** A folder of its own with an image in it. */
function image(name: string): { path: string; lock: string } {
  const dir = join(folder, name)
  mkdirSync(dir)
  writeFileSync(join(dir, 'disk.img'), Buffer.alloc(4096))
  return { path: join(dir, 'disk.img'), lock: join(dir, '.disk.img.xfskit-lock') }
}

interface As {
  readonly koffi?: boolean
  readonly uid?: number
  /** A command that runs the rest of the command line. */
  readonly within?: readonly string[]
}

function nodeWith(script: string, args: readonly string[], { koffi = true, uid, within = [] }: As): ChildProcess {
  const [command = '', ...words] = [
    ...within,
    process.execPath,
    ...(koffi ? [] : ['--require', withoutKoffi]),
    '--input-type=module',
    '-e',
    `const { openFile } = await import(${deviceModule}); ${uid === undefined ? '' : `process.setuid(${uid});`} ${script}`,
    ...args,
  ]
  return spawn(command, words, { stdio: ['ignore', 'pipe', 'inherit'] })
}

const HOLD = `openFile(process.argv[1], 'rw'); console.log('held'); setInterval(() => {}, 1000)`
const TRY = `try { openFile(process.argv[1], 'rw').close(); console.log('opened') } catch (error) { console.log(error.code, error.message) }`

/** A process that holds the image open for changes until it is killed. */
async function holder(path: string, as: As = {}): Promise<ChildProcess> {
  const child = nodeWith(HOLD, [path], as)
  const [said] = await once(child.stdout as NodeJS.ReadableStream, 'data')
  assert.equal(String(said), 'held\n')
  return child
}

/** The message of another process that opens the image for changes. */
async function opened(path: string, as: As = {}): Promise<string> {
  const child = nodeWith(TRY, [path], as)
  let said = ''
  child.stdout?.on('data', (part) => {
    said += part
  })
  await once(child, 'close')
  return said.trimEnd()
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

const others = (path: string): string[] => readdirSync(join(path, '..')).filter((name) => name !== 'disk.img')

test('the lock file is next to the image itself, names the process, and is removed at the end', () => {
  const { path, lock } = image('plain')
  symlinkSync(path, join(folder, 'link'))
  const device = openFile(join(folder, 'link'), 'rw')
  assert.deepEqual(JSON.parse(readFileSync(lock, 'utf8')), { ...thisProcess(), flock: native() !== undefined })
  assert.match(changedBy(path) ?? '', new RegExp(`process ${process.pid}`))
  assert.deepEqual(others(path), ['.disk.img.xfskit-lock'])
  device.close()
  assert.deepEqual(others(path), [])
  assert.equal(changedBy(path), undefined)
})

test('a name as long as names can be', () => {
  for (const name of ['x'.repeat(255), 'é'.repeat(127)]) {
    const path = join(folder, name)
    writeFileSync(path, 'x')
    const device = openFile(path, 'rw')
    const beside = besideFile(Buffer.from(path), '.xfskit-lock')
    assert.ok(existsSync(beside))
    assert.ok(!beside.toString('utf8').includes('\ufffd'))
    device.close()
    assert.ok(!existsSync(beside))
  }
})

test('another file with the name of the lock: refused, unchanged, with the command that removes it', () => {
  const { path, lock } = image("it's in the way")
  const victim = join(folder, 'victim')
  writeFileSync(victim, 'precious')
  const cases: Readonly<Record<string, () => void>> = {
    'symbolic link': () => symlinkSync(victim, lock),
    'dangling symbolic link': () => symlinkSync(join(folder, 'not there'), lock),
    directory: () => {
      mkdirSync(lock)
      writeFileSync(join(lock, 'file'), 'x')
    },
    garbage: () => writeFileSync(lock, 'not a lock\n'),
    'half of one': () => writeFileSync(lock, `{"host":"${hostname()}","pid":1}\n`),
    null: () => writeFileSync(lock, 'null\n'),
    'a negative process': () => writeFileSync(lock, `${JSON.stringify({ ...thisProcess(), pid: -1, flock: false })}\n`),
    'very long': () => writeFileSync(lock, Buffer.alloc(2 ** 20, 0x20)),
    fifo: () => linux && execFileSync('mkfifo', [lock]),
  }
  for (const [what, make] of Object.entries(cases)) {
    make()
    const command = `rm ${what === 'directory' ? '-r ' : ''}-- '${lock.replaceAll("'", "'\\''")}'`
    if (what !== 'fifo' || linux)
      assert.throws(
        () => openFile(path, 'rw'),
        (error: Error) =>
          error instanceof XfsError && error.code === 'BUSY' && (!linux || error.message.endsWith(command)),
        what,
      )
    if (linux) spawnSync('sh', ['-c', command])
    else rmSync(lock, { recursive: true, force: true })
    assert.deepEqual(others(path), [], what)
    openFile(path, 'rw').close()
  }
  assert.equal(readFileSync(victim, 'utf8'), 'precious')
  assert.ok(!existsSync(join(folder, 'not there')))
})

test('a process of unknown state does not count as ended', () => {
  const { path, lock } = image('elsewhere')
  const ended = { ...thisProcess(), pid: 2 ** 22 + 1, flock: false }
  const cases = {
    'another host': { ...ended, host: 'elsewhere' },
    'another start of the system': { ...ended, boot: 'before' },
    'another namespace': { ...ended, namespace: 'pid:[1]' },
    'no start of the system known': { ...ended, boot: '' },
    'no start of the process known': { ...ended, start: '' },
    'another host, with flock': { ...ended, host: 'elsewhere', flock: true },
    alive: { ...thisProcess(), flock: false },
  }
  for (const [what, holder] of Object.entries(cases)) {
    writeFileSync(lock, `${JSON.stringify(holder)}\n`)
    assert.throws(() => openFile(path, 'rw'), /BUSY|changed by|locked by/, what)
    assert.deepEqual(JSON.parse(readFileSync(lock, 'utf8')), holder, what)
    assert.ok(changedBy(path) !== undefined, what)
  }
  if (!linux) return
  for (const holder of [ended, { ...thisProcess(), start: '1', flock: false }]) {
    writeFileSync(lock, `${JSON.stringify(holder)}\n`)
    assert.equal(changedBy(path), undefined)
    openFile(path, 'rw').close()
    assert.deepEqual(others(path), [])
  }
})

test('with and without the native call: each sees the other, and takes over from one that was killed', {
  skip: needsNative,
}, async () => {
  await Promise.all([true, false].flatMap((koffi) => [true, false].map((other) => takenOver(koffi, other))))
})

async function takenOver(koffi: boolean, other: boolean): Promise<void> {
  const { path } = image(`mixed ${koffi} ${other}`)
  const child = await holder(path, { koffi })
  assert.match(await opened(path, { koffi: other }), new RegExp(`^BUSY .*process ${child.pid}`))
  await kill(child)
  assert.equal(await opened(path, { koffi: other }), 'opened')
  assert.deepEqual(others(path), [])
}

test('a lock file that a user removed does not let a second one in, where both have flock', {
  skip: needsNative,
}, async () => {
  const { path, lock } = image('removed')
  const child = await holder(path)
  unlinkSync(lock)
  // One after the other: without the native call a lock file exists for a moment.
  for (const koffi of [true, false])
    assert.match(await opened(path, { koffi }), new RegExp(`^BUSY .*locked by another process, ${child.pid}`))
  assert.match(changedBy(path) ?? '', /locked by another process/)
  await kill(child)
})

test('a folder that takes no lock file: flock alone, which all see; without it nothing is changed', {
  skip: needsRoot,
}, async () => {
  const { path, lock } = image('unwritable')
  const dir = join(path, '..')
  chmodSync(folder, 0o755)
  chmodSync(dir, 0o755)
  chmodSync(path, 0o666)
  const uid = 65534
  assert.match(await opened(path, { uid, koffi: false }), /^IO .*cannot be locked/)
  assert.equal(await opened(path, { uid }), 'opened')
  const child = await holder(path, { uid })
  assert.ok(!existsSync(lock))
  for (const koffi of [true, false]) assert.match(await opened(path, { koffi }), new RegExp(`^BUSY .*${child.pid}`))
  await kill(child)
  const ours = await holder(path, { koffi: false })
  assert.match(await opened(path, { uid }), new RegExp(`^BUSY .*process ${ours.pid}`))
  await kill(ours)
  // The lock file stays, because that user cannot remove it.
  assert.equal(await opened(path, { uid }), 'opened')
  assert.match(await opened(path, { uid, koffi: false }), /^BUSY .*rm -- /)
  assert.equal(await opened(path), 'opened')
  assert.deepEqual(others(path), [])
})

test('many at once, each killed in the end while it holds the lock: never two of them', {
  skip: linux ? false : 'whether a process has ended is known on Linux',
}, async () => {
  const { path } = image('many')
  const inside = join(folder, 'inside')
  const script = `
    const { openSync, closeSync, unlinkSync } = await import('node:fs')
    for (let done = 0; done < 8; ) {
      let device
      try {
        device = openFile(process.argv[1], 'rw')
      } catch (error) {
        if (error.code !== 'BUSY' || !error.passes) { console.log(error.message); process.exit(1) }
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Math.random() * 3)
        continue
      }
      try {
        closeSync(openSync(process.argv[2], 'wx'))
      } catch {
        console.log('two at once')
        process.exit(1)
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
      unlinkSync(process.argv[2])
      if (++done === 8) process.kill(process.pid, 'SIGKILL')
      device.close()
    }`
  const children = Array.from({ length: 8 }, (_, i) => nodeWith(script, [path, inside], { koffi: i % 3 === 0 }))
  const said: string[] = []
  const ends = children.map(async (child) => {
    child.stdout?.on('data', (part) => said.push(String(part)))
    const [, signal] = await once(child, 'close')
    return signal
  })
  assert.deepEqual(
    await Promise.all(ends),
    children.map(() => 'SIGKILL'),
    said.join(''),
  )
  openFile(path, 'rw').close()
  assert.deepEqual(others(path), [])
})

const namespaces = needsRoot || spawnSync('unshare', ['-m', 'true']).status !== 0 ? 'needs root and namespaces' : false

test('another container: with a /tmp of its own, and with process numbers of its own', {
  skip: namespaces,
}, async () => {
  mkdirSync(join(folder, 'tmp'))
  const ownTmp = ['unshare', '-m', 'sh', '-c', `mount -t tmpfs tmpfs ${join(folder, 'tmp')} && exec "$@"`, 'sh']
  const ownPids = ['unshare', '-m', '--fork', '--pid', '--kill-child', '--mount-proc']
  await Promise.all(
    [ownTmp, ownPids].flatMap((within, i) =>
      [true, false].map(async (koffi) => {
        const { path, lock } = image(`container ${i} ${koffi}`)
        const child = await holder(path, { within, koffi })
        const told = await Promise.all([{ koffi }, { koffi: !koffi }, { within, koffi }].map((as) => opened(path, as)))
        for (const text of told) assert.match(text, /^BUSY /)
        await kill(child)
        // Without flock it is unknown whether a process of another namespace has ended.
        if (within === ownPids && !koffi) {
          assert.match(await opened(path), /^BUSY .*rm -- /)
          unlinkSync(lock)
        }
        await until(async () => (await opened(path, { koffi })) === 'opened')
        assert.deepEqual(others(path), [])
      }),
    ),
  )
})

/** Wait for a condition that soon becomes true. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 100 && !(await condition()); i++) await new Promise((resolve) => setTimeout(resolve, 10))
}

test('a device that is mounted in another namespace, or claimed by a second one', {
  skip: namespaces || (spawnSync('losetup', ['-f']).status === 0 ? false : 'needs loop devices'),
}, async () => {
  const { path } = image('device')
  writeFileSync(path, Buffer.alloc(2 ** 20))
  const loop = execFileSync('losetup', ['-f', '--show', path], { encoding: 'latin1' }).trim()
  try {
    const device = openFile(loop, 'rw')
    for (const koffi of [true, false]) assert.match(await opened(loop, { koffi }), /^BUSY /)
    device.close()
    assert.equal(await opened(loop), 'opened')
    if (spawnSync('mkfs.ext2', ['-q', loop]).status !== 0) return
    const mounted = spawn('unshare', [
      '-m',
      'sh',
      '-c',
      `mount -t ext2 ${loop} ${folder} && echo ready && exec sleep 60`,
    ])
    await once(mounted.stdout, 'data')
    assert.match(await opened(loop), /^BUSY .*in use by the system/)
    await kill(mounted)
  } finally {
    await until(() => spawnSync('losetup', ['-d', loop]).status === 0)
  }
})
