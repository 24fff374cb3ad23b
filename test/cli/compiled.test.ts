import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { repoRoot, tempDir } from '../support/temp.ts'

const posix = process.getuid !== undefined

/** An installation with a program of one line, and a cache folder of its own. */
function installation() {
  const folder = tempDir()
  cpSync(join(repoRoot(), 'bin'), join(folder, 'bin'), { recursive: true })
  mkdirSync(join(folder, 'dist'))
  const program = join(folder, 'dist', 'xfskit.cjs')
  const home = join(folder, 'home')
  mkdirSync(home, { mode: 0o700 })

  // Reports for each script whether V8 used its compiled code.
  const spy = join(folder, 'spy.cjs')
  writeFileSync(
    spy,
    `const vm = require('node:vm')
    vm.Script = class extends vm.Script {
      constructor(source, options) {
        super(source, options)
        if (String(options.filename).endsWith('xfskit.cjs')) console.log(options.cachedData ? !this.cachedDataRejected : false)
      }
    }`,
  )
  const says = (word: string) =>
    writeFileSync(program, `exports.main = async () => { console.log(${JSON.stringify(word)}); return 5 }\n`)
  says('one')

  /** The output of the program, and whether its compiled code was used. */
  const run = (env: NodeJS.ProcessEnv = {}) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--require', spy, join(folder, 'bin', 'xfskit.js')],
      {
        encoding: 'utf8',
        env: { ...process.env, XDG_CACHE_HOME: join(home, 'cache'), ...env },
      },
    )
    assert.deepEqual({ status, stderr }, { status: 5, stderr: '' })
    const [taken, said] = stdout.split('\n')
    return { said, taken: taken === 'true' }
  }
  const cache = join(home, 'cache', 'xfskit')
  const file = () => {
    const names = readdirSync(cache)
    assert.equal(names.length, 1, names.join(' '))
    return join(cache, names[0] as string)
  }
  return { home, says, run, cache, file }
}

test('the first run leaves the compiled program in a folder of the user, the next ones take it', () => {
  const { run, cache, file } = installation()
  assert.deepEqual(run(), { said: 'one', taken: false })
  if (posix) {
    assert.equal(statSync(cache).mode & 0o777, 0o700)
    assert.equal(statSync(file()).mode & 0o777, 0o600)
  }
  const { mtimeMs, ino } = statSync(file())
  assert.deepEqual(run(), { said: 'one', taken: true })
  assert.deepEqual(run(), { said: 'one', taken: true })
  assert.deepEqual({ mtimeMs, ino }, { mtimeMs: statSync(file()).mtimeMs, ino: statSync(file()).ino })
  assert.equal(run({ NODE_DISABLE_COMPILE_CACHE: '1' }).taken, false)
})

test('a program of the same length is not taken for the one that was compiled; it replaces it', () => {
  const { says, run, file } = installation()
  run()
  says('two')
  assert.deepEqual(run(), { said: 'two', taken: false })
  assert.deepEqual(run(), { said: 'two', taken: true })
  file()
})

test('a damaged file of the cache is not taken, and replaced', () => {
  const { run, file } = installation()
  run()
  const whole = readFileSync(file())
  const damages = {
    empty: () => truncateSync(file(), 0),
    'header cut': () => truncateSync(file(), 5),
    'header only': () => truncateSync(file(), 8),
    'cut by one byte': () => truncateSync(file(), whole.length - 1),
    zeros: () => writeFileSync(file(), Buffer.alloc(whole.length)),
  }
  for (const [name, damage] of Object.entries(damages)) {
    damage()
    assert.deepEqual(run(), { said: 'one', taken: false }, name)
    assert.deepEqual(run(), { said: 'one', taken: true }, name)
  }
  for (const at of [0, 7, 8, 20, 40, whole.length >> 1, whole.length - 1]) {
    const bytes = Buffer.from(whole)
    bytes.writeUInt8(bytes.readUInt8(at) ^ 0x40, at)
    writeFileSync(file(), bytes)
    assert.deepEqual(run(), { said: 'one', taken: false }, `byte ${at}`)
  }
})

test('without a folder to write to the program runs all the same', () => {
  const { home, run } = installation()
  writeFileSync(join(home, 'file'), '')
  const places = [join(home, 'file'), join(home, 'file', 'below')]
  if (process.platform === 'linux') places.push('/proc/none', '/dev/null')
  for (const place of places) {
    assert.deepEqual(run({ XDG_CACHE_HOME: place }), { said: 'one', taken: false }, place)
  }
})

test('what others can write is not taken', { skip: posix ? false : 'modes are of POSIX systems' }, () => {
  const { home, run, cache, file } = installation()
  run()
  const untaken = (why: string) => assert.deepEqual(run(), { said: 'one', taken: false }, why)
  const taken = () => assert.deepEqual(run(), { said: 'one', taken: true })

  for (const mode of [0o720, 0o702, 0o777]) {
    chmodSync(cache, mode)
    untaken(`folder ${mode.toString(8)}`)
  }
  chmodSync(cache, 0o700)
  taken()
  chmodSync(file(), 0o622)
  untaken('file for all to write')
  taken() // it was replaced

  const elsewhere = join(home, 'elsewhere')
  renameSync(cache, elsewhere)
  symlinkSync(elsewhere, cache)
  untaken('a link in the place of the folder')
})

const root = process.getuid?.() === 0
test("no file of another user is taken, none is made in another user's home", {
  skip: root ? false : 'needs root',
}, () => {
  const { home, run, cache, file } = installation()
  run()
  chownSync(file(), 12345, 12345)
  assert.equal(run().taken, false, 'file')
  chownSync(cache, 12345, 12345)
  assert.equal(run().taken, false, 'folder')

  const theirs = join(home, 'theirs')
  mkdirSync(theirs)
  chownSync(theirs, 12345, 12345)
  assert.equal(run({ XDG_CACHE_HOME: join(theirs, '.cache') }).taken, false)
  assert(!existsSync(join(theirs, '.cache')))
})
