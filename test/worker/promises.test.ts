import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import * as host from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { mkfs } from '../../src/index.ts'
import { open, Stats, XfsError, type XfsPromises } from '../../src/promises.ts'
import { judge } from '../support/judge.ts'
import { tempDir } from '../support/temp.ts'

/** The promise form: what Node's own `fs/promises` does in a folder, it does in an image. */

async function withImage(use: (fs: XfsPromises, path: string) => Promise<void>): Promise<void> {
  const path = join(tempDir(), 'disk.img')
  await mkfs(path, { imageSize: 64 * 2 ** 20 })
  const fs = await open(path, { write: true })
  try {
    await use(fs, path)
  } finally {
    await fs.close()
  }
  judge(path)
}

/** What a call does, without the folder in it: its result, or its error. */
async function outcome(root: string, call: () => Promise<unknown>): Promise<unknown> {
  try {
    return shown(root, await call())
  } catch (error) {
    const { code, syscall, path, dest, message, name } = error as NodeJS.ErrnoException & { dest?: string }
    return shown(root, { name, code, syscall, path, dest, message })
  }
}

function shown(root: string, value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll(root, '').replace(/tmp-.{6}/, 'tmp-')
  if (Array.isArray(value)) return value.map((one) => shown(root, one)).sort(byText)
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('hex')}`
  if (typeof value !== 'object' || value === null) return value
  if ('isFile' in value) {
    const entry = value as Stats & { name?: unknown; parentPath?: string }
    const types = ['isFile', 'isDirectory', 'isSymbolicLink', 'isFIFO', 'isSocket'] as const
    const type = types.filter((is) => entry[is]())
    // A directory's size and blocks are not the same everywhere.
    const size = entry.isDirectory() ? undefined : entry.size
    const { name, mode, nlink, uid, gid, mtimeMs, mtime, atimeMs } = entry
    if (name !== undefined) return { type, name: shown(root, name), parentPath: shown(root, entry.parentPath ?? '') }
    return { type, mode, nlink, uid, gid, size, times: [mtimeMs, mtime, atimeMs].map((time) => time && typeof time) }
  }
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, shown(root, one)]))
}

const byText = (a: unknown, b: unknown): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)

/** Calls, one after the other, on paths below `at`. */
const calls: Record<string, (fs: typeof host, at: (path: string) => string) => Promise<unknown>> = {
  mkdir: (fs, at) => fs.mkdir(at('/d')),
  'mkdir again': (fs, at) => fs.mkdir(at('/d')),
  'mkdir nowhere': (fs, at) => fs.mkdir(at('/no/d')),
  'mkdir recursive': (fs, at) => fs.mkdir(at('/d/e/f'), { recursive: true }),
  'mkdir recursive again': (fs, at) => fs.mkdir(at('/d/e/f'), { recursive: true }),
  'mkdir mode': (fs, at) => fs.mkdir(at('/private'), { mode: 0o700 }),
  'mkdir mode as text': (fs, at) => fs.mkdir(at('/private2'), '700'),
  writeFile: (fs, at) => fs.writeFile(at('/d/text'), 'häßlich\n'),
  'writeFile bytes': (fs, at) => fs.writeFile(at('/d/bytes'), Uint8Array.of(1, 2, 255)),
  'writeFile hex': (fs, at) => fs.writeFile(at('/d/hex'), 'c0ffee', 'hex'),
  'writeFile mode': (fs, at) => fs.writeFile(at('/d/mode'), 'x', { mode: 0o600 }),
  'writeFile iterable': (fs, at) => fs.writeFile(at('/d/iterable'), Readable.from(['a', 'bc'])),
  'writeFile wx': (fs, at) => fs.writeFile(at('/d/text'), 'x', { flag: 'wx' }),
  'writeFile r+ nowhere': (fs, at) => fs.writeFile(at('/none'), 'x', { flag: 'r+' }),
  'writeFile to a directory': (fs, at) => fs.writeFile(at('/d'), 'x'),
  'writeFile below a file': (fs, at) => fs.writeFile(at('/d/text/x'), 'x'),
  'writeFile nothing': (fs, at) => fs.writeFile(at('/d/empty'), ''),
  appendFile: (fs, at) => fs.appendFile(at('/d/text'), 'more'),
  'appendFile new': (fs, at) => fs.appendFile(at('/d/appended'), 'more'),
  readFile: (fs, at) => fs.readFile(at('/d/text')),
  'readFile utf8': (fs, at) => fs.readFile(at('/d/text'), 'utf8'),
  'readFile base64': (fs, at) => fs.readFile(at('/d/bytes'), { encoding: 'base64' }),
  'readFile empty': (fs, at) => fs.readFile(at('/d/empty')),
  'readFile none': (fs, at) => fs.readFile(at('/none')),
  'readFile below a file': (fs, at) => fs.readFile(at('/d/text/x')),
  chmod: (fs, at) => fs.chmod(at('/d/text'), 0o640),
  'chmod as text': (fs, at) => fs.chmod(at('/d/hex'), '4755'),
  'chmod none': (fs, at) => fs.chmod(at('/none'), 0o640),
  utimes: (fs, at) => fs.utimes(at('/d/text'), 1.5, new Date(86_400_500)),
  'utimes none': (fs, at) => fs.utimes(at('/none'), 1, 2),
  stat: (fs, at) => fs.stat(at('/d/text')),
  'stat directory': (fs, at) => fs.stat(at('/d/e')),
  'stat none': (fs, at) => fs.stat(at('/none')),
  access: (fs, at) => fs.access(at('/d/text')),
  'access none': (fs, at) => fs.access(at('/none')),
  symlink: (fs, at) => fs.symlink('text', at('/d/link')),
  'symlink absolute': (fs, at) => fs.symlink(at('/d'), at('/d/e/up')),
  'symlink broken': (fs, at) => fs.symlink('nowhere', at('/d/broken')),
  'symlink loop': (fs, at) => fs.symlink('loop', at('/loop')),
  'symlink again': (fs, at) => fs.symlink('text', at('/d/link')),
  readlink: (fs, at) => fs.readlink(at('/d/link')),
  'readlink buffer': (fs, at) => fs.readlink(at('/d/link'), { encoding: 'buffer' }),
  'readlink of a file': (fs, at) => fs.readlink(at('/d/text')),
  lstat: (fs, at) => fs.lstat(at('/d/link')),
  lutimes: (fs, at) => fs.lutimes(at('/d/link'), 1, 2),
  'stat broken': (fs, at) => fs.stat(at('/d/broken')),
  'stat loop': (fs, at) => fs.stat(at('/loop')),
  realpath: (fs, at) => fs.realpath(at('/d/e/up/e/../link')),
  'realpath none': (fs, at) => fs.realpath(at('/d/broken')),
  'realpath loop': (fs, at) => fs.realpath(at('/loop')),
  link: (fs, at) => fs.link(at('/d/text'), at('/d/second')),
  'link again': (fs, at) => fs.link(at('/d/text'), at('/d/second')),
  'link none': (fs, at) => fs.link(at('/none'), at('/d/third')),
  copyFile: (fs, at) => fs.copyFile(at('/d/hex'), at('/d/copy')),
  'copyFile over': (fs, at) => fs.copyFile(at('/d/text'), at('/d/mode')),
  'copyFile empty': (fs, at) => fs.copyFile(at('/d/empty'), at('/d/empty2')),
  'copyFile excl': (fs, at) => fs.copyFile(at('/d/text'), at('/d/copy'), host.constants.COPYFILE_EXCL),
  'copyFile none': (fs, at) => fs.copyFile(at('/none'), at('/d/copy')),
  'stat copy': (fs, at) => fs.stat(at('/d/copy')),
  'stat copied over': (fs, at) => fs.stat(at('/d/mode')),
  truncate: (fs, at) => fs.truncate(at('/d/bytes'), 2),
  'truncate longer': (fs, at) => fs.truncate(at('/d/hex'), 6),
  'readFile truncated': (fs, at) => fs.readFile(at('/d/hex')),
  rename: (fs, at) => fs.rename(at('/d/bytes'), at('/d/renamed')),
  'rename none': (fs, at) => fs.rename(at('/none'), at('/d/x')),
  'rename into itself': (fs, at) => fs.rename(at('/d'), at('/d/e/x')),
  readdir: (fs, at) => fs.readdir(at('/d')),
  'readdir of a file': (fs, at) => fs.readdir(at('/d/text')),
  'readdir none': (fs, at) => fs.readdir(at('/none')),
  'readdir buffer': (fs, at) => fs.readdir(at('/d'), 'buffer'),
  'readdir types': (fs, at) => fs.readdir(at('/d'), { withFileTypes: true }),
  // Node would follow it, as far as paths may be long.
  'unlink of a link to a directory': (fs, at) => fs.unlink(at('/d/e/up')),
  'readdir recursive': (fs, at) => fs.readdir(at('/'), { recursive: true }),
  'readdir recursive types': (fs, at) => fs.readdir(at('/d'), { recursive: true, withFileTypes: true }),
  mkdtemp: (fs, at) => fs.mkdtemp(at('/tmp-')),
  unlink: (fs, at) => fs.unlink(at('/d/second')),
  'unlink none': (fs, at) => fs.unlink(at('/d/second')),
  'rmdir not empty': (fs, at) => fs.rmdir(at('/d')),
  rmdir: (fs, at) => fs.rmdir(at('/d/e/f')),
  'rmdir of a file': (fs, at) => fs.rmdir(at('/d/text')),
  rm: (fs, at) => fs.rm(at('/d/copy')),
  'rm none': (fs, at) => fs.rm(at('/none')),
  'rm none with force': (fs, at) => fs.rm(at('/none'), { force: true }),
  'rm none with force, recursive': (fs, at) => fs.rm(at('/none'), { force: true, recursive: true }),
  'rm recursive': (fs, at) => fs.rm(at('/d'), { recursive: true }),
  'readdir at the end': (fs, at) => fs.readdir(at('/')),
}

test('each call does what it does in node:fs/promises', async () => {
  const folder = await host.realpath(tempDir())
  process.umask(0o022)
  await withImage(async (fs) => {
    const differing: unknown[] = []
    for (const [name, call] of Object.entries(calls)) {
      const expected = await outcome(folder, () => call(host, (path) => folder + path))
      const found = await outcome('/never', () => call(fs as never, (path) => path))
      try {
        assert.deepEqual(found, expected, name)
      } catch {
        differing.push({ name, found, expected })
      }
    }
    assert.deepEqual(differing.slice(0, 3), [])
  })
})

test('open files', () =>
  withImage(async (fs) => {
    const file = await fs.open('/f', 'w+', 0o640)
    assert.deepEqual(await file.write('hello '), { bytesWritten: 6, buffer: 'hello ' })
    const bytes = Buffer.from('the world!')
    assert.deepEqual(await file.write(bytes, 4, 5), { bytesWritten: 5, buffer: bytes })
    await file.write('H', 0)
    await file.write(Uint8Array.of(0x21), { position: 11 })
    assert.equal((await file.stat()).size, 12)
    const { bytesRead, buffer } = await file.read({ buffer: Buffer.alloc(20), position: 0 })
    assert.equal(Buffer.from(buffer.buffer, buffer.byteOffset, bytesRead).toString(), 'Hello world!')
    const into = new Uint8Array(8).fill(0x2e)
    assert.equal((await file.read(into, 2, 5, 6)).bytesRead, 5)
    assert.equal(Buffer.from(into).toString(), '..world.')
    assert.equal((await file.read(into, 0, 8, 100)).bytesRead, 0)
    await file.truncate(5)
    await file.chmod(0o600)
    await file.utimes(1, 2)
    await file.sync()
    await fs.rename('/f', '/g')
    assert.equal((await file.stat()).mode, 0o100600, 'it is the file, whatever its name is')
    await file.close()
    await assert.rejects(file.stat(), { code: 'EBADF' })
    await file.close()

    const again = await fs.open('/g')
    assert.equal(await again.readFile('utf8'), 'Hello')
    assert.equal(await again.readFile('utf8'), '', 'from where the last call ended')
    await assert.rejects(again.write('x'), { code: 'EPERM' })
    await again[Symbol.asyncDispose]()
    const appending = await fs.open('/g', 'a')
    await appending.write('!', 0)
    await appending.appendFile('?')
    await assert.rejects(appending.read(into), { code: 'EPERM' })
    await appending.close()
    assert.equal(await fs.readFile('/g', 'utf8'), 'Hello!?')
    await assert.rejects(fs.open('/g', 'wx'), { code: 'EEXIST', syscall: 'open', path: '/g' })
    await assert.rejects(fs.open('/none', 'r+'), {
      code: 'ENOENT',
      message: "ENOENT: no such file or directory, open '/none'",
    })
    const truncated = await fs.open('/g', host.constants.O_RDWR | host.constants.O_TRUNC)
    assert.equal((await truncated.stat({ bigint: true })).size as unknown, 0n)
    await truncated.close()
    const gone = await fs.open('/g', 'r+')
    await fs.unlink('/g')
    await assert.rejects(gone.stat(), { code: 'ESTALE' })
    await gone.close()
  }))

test('a directory entry by entry; statfs; bigint; URLs and bytes as paths', () =>
  withImage(async (fs) => {
    await fs.mkdir('/d')
    for (const name of ['a', 'b']) await fs.writeFile(`/d/${name}`, name)
    const names: string[] = []
    for await (const entry of await fs.opendir('/d')) names.push(`${entry.name} ${entry.isFile()}`)
    assert.deepEqual(names.sort(), ['a true', 'b true'])
    const dir = await fs.opendir('/d')
    assert.equal(dir.path, '/d')
    await dir.read()
    await dir.read()
    assert.equal(await dir.read(), null)
    await dir.close()
    const { type, bsize, blocks, bfree } = await fs.statfs('/')
    assert.deepEqual([type, bsize], [0x58465342, 4096])
    assert.ok(bfree < blocks && bfree > blocks / 2)
    assert.equal(typeof (await fs.statfs('/', { bigint: true })).bfree, 'bigint')
    const exact = await fs.stat('/d/a', { bigint: true })
    assert.equal(exact.size, 1n)
    assert.equal(exact.mtimeNs / 1_000_000n, exact.mtimeMs)
    assert.ok(exact.isFile() && exact.mtime instanceof Date)
    assert.equal(await fs.readFile(new URL('file:///d/a'), 'utf8'), 'a')
    assert.equal(await fs.readFile(Buffer.from('/d/b'), 'utf8'), 'b')
    assert.ok((await fs.stat('/d')) instanceof Stats)
  }))

test('calls keep their order, and are done before close', () =>
  withImage(async (fs, path) => {
    const results = await Promise.all([
      fs.writeFile('/f', '1'),
      fs.readFile('/f', 'utf8'),
      fs.appendFile('/f', '2'),
      fs.readFile('/f', 'utf8'),
      fs.rename('/f', '/g'),
      fs.readFile('/g', 'utf8'),
      fs.readFile('/f').catch(({ code }) => code),
    ])
    assert.deepEqual(results, [undefined, '1', undefined, '12', undefined, '12', 'ENOENT'])
    const last = fs.writeFile('/last', 'x')
    const closed = fs.close()
    await assert.rejects(fs.readFile('/last'), /closed/)
    await Promise.all([last, closed])
    const again = await open(pathToFileURL(path))
    assert.equal(await again.readFile('/last', 'utf8'), 'x')
    assert.equal(again.writable, false)
    await assert.rejects(again.writeFile('/f', 'x'), { code: 'EROFS', syscall: 'open' })
    await assert.rejects(again.access('/last', host.constants.W_OK), { code: 'EROFS' })
    await again.close()
  }))

test('what only XFS has: sharing, attributes, put and get, check', () =>
  withImage(async (fs, path) => {
    assert.equal(fs.promises, fs)
    assert.equal(Object.getOwnPropertyDescriptor(fs, 'promises')?.value, fs, 'a plain property, for tools that look so')
    await fs.writeFile('/a', Buffer.alloc(100_000, 'x'))
    await fs.copyFile('/a', '/b')
    assert.ok(
      (await fs.extents('/a')).every(({ shared }) => shared),
      'copyFile shares',
    )
    await fs.reflink('/a', '/c')
    assert.equal((await fs.shares('/a')).length, 2)
    await fs.setxattr('/a', 'user.origin', 'here')
    assert.equal(Buffer.from(await fs.getxattr('/a', 'user.origin')).toString(), 'here')
    await assert.rejects(fs.getxattr('/a', 'user.none'), { code: 'ENODATA' })
    let steps = 0
    const problems: string[] = []
    const result = await fs.put([join(path, '..', 'none')], '/', {
      onProgress: () => steps++,
      onProblem: ({ message }) => problems.push(message),
    })
    assert.equal(result.problemCount, 1)
    assert.equal(problems.length, 1)
    await fs.get('/a', `${path}.a`)
    assert.equal(readFileSync(`${path}.a`).length, 100_000)
    await host.mkdir(`${path}.d`)
    await host.writeFile(`${path}.d/file`, 'x')
    await fs.put(`${path}.d`, '/d', { onProgress: () => steps++ })
    assert.ok(steps > 0)
    await assert.rejects(fs.put(`${path}.a`, '/e', { mode: () => 0 }), { code: 'EINVAL' })
    assert.deepEqual((await fs.check()).findings, [])
    assert.equal((await fs.repair()).changed, false)
    assert.equal((await fs.recover()).refused, undefined)
  }))

test('a signal stops a call', () =>
  withImage(async (fs, path) => {
    await fs.writeFile('/f', Buffer.alloc(100_000))
    const stopped = AbortSignal.abort(new Error('enough'))
    await assert.rejects(fs.readFile('/f', { signal: stopped }), { name: 'AbortError', code: 'ABORT_ERR' })
    await assert.rejects(fs.writeFile('/g', 'x', { signal: stopped }), { name: 'AbortError', code: 'ABORT_ERR' })
    await assert.rejects(fs.access('/g'), { code: 'ENOENT' })
    await fs.mkdir('/d')
    for (let i = 0; i < 3000; i++) void fs.writeFile(`/d/${i}`, '')
    const controller = new AbortController()
    const copy = fs.get('/d', `${path}.d`, {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('stop')),
    })
    await assert.rejects(copy, /stop/)
    assert.ok((await host.readdir(`${path}.d`)).length < 3000)
  }))

test('errors have the form of those of Node, and the XfsError as their cause', () =>
  withImage(async (fs) => {
    const error = await fs.link('/a', '/b').catch((error: NodeJS.ErrnoException & { dest?: string }) => error)
    assert.ok(error instanceof Error)
    const { code, errno, syscall, path, dest, message } = error
    assert.deepEqual(
      { code, errno, syscall, path, dest, message },
      {
        code: 'ENOENT',
        errno: -2,
        syscall: 'link',
        path: '/a',
        dest: '/b',
        message: "ENOENT: no such file or directory, link '/a' -> '/b'",
      },
    )
    assert.ok(error.cause instanceof XfsError && error.cause.code === 'NOENT')
    await assert.rejects((fs.readFile as (path?: unknown) => Promise<unknown>)(), { code: 'EINVAL' })
    await assert.rejects((fs.rm as (path?: unknown, options?: object) => Promise<unknown>)(131, { recursive: true }), {
      code: 'EINVAL',
    })
  }))

test('an image that cannot be opened; the second writer; bytes', async () => {
  const path = join(tempDir(), 'disk.img')
  await assert.rejects(open(path), (error) => error instanceof XfsError && error.code === 'NOENT')
  await mkfs(path, { imageSize: 64 * 2 ** 20 })
  const first = await open(path, { write: true })
  await assert.rejects(open(path, { write: true }), (error) => error instanceof XfsError && error.code === 'BUSY')
  await first.close()
  const bytes = await open(new Uint8Array(readFileSync(path)), { write: true })
  await bytes.writeFile('/f', 'x')
  assert.equal(await bytes.readFile('/f', 'utf8'), 'x')
  await bytes.close()
})

test('where the worker fails, everything that waits for it is rejected', async (t) => {
  const workers = new Set<Worker>()
  const { postMessage } = Worker.prototype
  t.mock.method(Worker.prototype, 'postMessage', function (this: Worker, message: unknown) {
    workers.add(this)
    return postMessage.call(this, message)
  })
  const path = join(tempDir(), 'disk.img')
  await mkfs(path, { imageSize: 64 * 2 ** 20 })
  const fs = await open(path)
  const calls = Array.from({ length: 50 }, () => fs.check())
  for (const worker of workers) void worker.terminate()
  const results = await Promise.allSettled(calls)
  assert.equal(results.at(-1)?.status, 'rejected')
  await assert.rejects(fs.readdir('/'), { code: 'EIO' })
  await assert.rejects(fs.close(), /the worker of the image ended/)
})

test('a program that does not close its image ends, and the image is closed', () => {
  const path = join(tempDir(), 'disk.img')
  const source = (name: string) => JSON.stringify(new URL(`../../src/${name}.js`, import.meta.url))
  const program = `
    import { mkfs } from ${source('index')}
    import { open } from ${source('promises')}
    await mkfs(${JSON.stringify(path)}, { imageSize: 64 * 2 ** 20 })
    const fs = await open(${JSON.stringify(path)}, { write: true })
    await fs.writeFile('/f', 'x')`
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  judge(path)
})

test('the flags of writeFile do what they do in a folder', () =>
  withImage(async (fs) => {
    const { O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND } = fs.constants
    const folder = tempDir()
    const flags = [
      'w', 'w+', 'a', 'a+', 'as', 'as+', 'r+', 'rs+', 'r', 'wx', 'ax+', O_WRONLY, O_WRONLY | O_CREAT, O_RDWR | O_CREAT,
      O_WRONLY | O_TRUNC, O_WRONLY | O_CREAT | O_TRUNC, O_WRONLY | O_APPEND, O_WRONLY | O_APPEND | O_CREAT,
    ] // biome-ignore format: a list
    const written = async (on: typeof host, path: string, flag: string | number): Promise<string> => {
      await on.writeFile(path, 'XY', { flag }).catch(() => {})
      return await on.readFile(path, 'utf8').catch(() => 'no file')
    }
    for (const flag of flags) {
      for (const before of ['hello world', undefined]) {
        const at = join(folder, 'file')
        for (const [on, path] of [
          [host, at],
          [fs as unknown as typeof host, '/file'],
        ] as const) {
          await on.rm(path, { force: true })
          if (before !== undefined) await on.writeFile(path, before)
        }
        const wanted = await written(host, at, flag)
        assert.equal(await written(fs as unknown as typeof host, '/file', flag), wanted, `flag ${flag} on ${before}`)
      }
    }
  }))

test('arguments that cannot be used are errors, and write nothing', () =>
  withImage(async (fs) => {
    await fs.writeFile('/file', 'content')
    const wrong = { code: 'ERR_OUT_OF_RANGE' }
    const file = await fs.open('/file', 'r+')
    for (const [offset, length] of [
      [5, 100],
      [-1, 1],
      [0, 4],
      [1.5, 1],
      [4, 0],
    ] as const) {
      await assert.rejects(file.write(Buffer.from('abc'), offset, length), wrong)
      await assert.rejects(file.read(Buffer.alloc(3), offset, length), wrong)
    }
    await file.close()
    await assert.rejects(fs.writeFile('/file', null as never), { code: 'ERR_INVALID_ARG_TYPE' })
    await assert.rejects(fs.stat(Symbol('path') as never), { code: 'EINVAL' })
    await assert.rejects(fs.chmod('/file', 'rw'), { code: 'EINVAL' })
    assert.equal(await fs.readFile('/file', 'utf8'), 'content')
  }))
