import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { memoryDevice } from '../../src/devices.ts'
import { check, mkfs, recover, repair, XfsError, XfsImage } from '../../src/index.ts'
import { open as openPromises } from '../../src/promises.ts'
import { tempDir } from '../support/temp.ts'

/**
 * Every argument and every option of every method, with values of each wrong type: the result is
 * a success or an XfsError, never an error from inside of the library.
 */
const wrong: readonly unknown[] = [
  null,
  5,
  5n,
  Number.NaN,
  -1,
  '',
  'x',
  true,
  Symbol('x'),
  [],
  {},
  () => 1,
  new Date(0),
  new Map(),
]

const folder = tempDir()
// A wrong value may be the name of a file of the host.
process.chdir(folder)
const all = { signal: new AbortController().signal, onProgress: () => {} }

/** Arguments that are right, of each method that has any; the last one may be options. */
const methods: Readonly<Record<string, readonly unknown[]>> = {
  appendFile: ['/file', 'x', { mode: 0o644 }],
  chattr: ['/file', { set: ['nodump'], clear: ['sync'], projid: 5, extsize: 4096, cowextsize: 4096 }],
  chmod: ['/file', 0o644],
  chown: ['/file', 1, 1],
  chunks: ['/file', { offset: 0, length: 5 }],
  createReadStream: ['/file', { start: 0, end: 5, highWaterMark: 5, encoding: 'utf8', signal: all.signal }],
  createWriteStream: ['/new', { flags: 'w', start: 0, mode: 0o644, highWaterMark: 5, signal: all.signal }],
  dedupe: ['/file', '/twin', { srcOffset: 0, dstOffset: 0, length: 5, ...all }],
  defragment: ['/file', { shared: 'skip', ...all }],
  exists: ['/file'],
  extents: ['/file', { fork: 'data' }],
  fallocate: ['/file', 'allocate', 0, 5, { keepSize: true }],
  file: ['/file', { follow: true }],
  find: ['/', [], { minDepth: 0, maxDepth: 5, onError: () => {} }],
  get: ['/file', join(folder, 'got'), { tar: true, gzip: true, owner: true, xattrs: true, devices: true, onProblem: () => {}, ...all }],
  io: [{ print: () => {}, warn: () => {}, readHost: () => new Uint8Array(0), program: 'x', result: () => {} }],
  lchown: ['/file', 1, 1],
  link: ['/file', '/hard', { existing: 'replace' }],
  lstat: ['/file'],
  lutimes: ['/file', 0, 0],
  mkdir: ['/dir', { mode: 0o755, recursive: true }],
  mknod: ['/fifo', 0o010644, { major: 1, minor: 1 }],
  ownerCounts: [{ agno: 0 }],
  ownerOf: [{ agno: 0, agbno: 0 }],
  owners: [{ agno: 0, paths: true }],
  pathOf: [128, { encoding: 'utf8' }],
  pathsOf: [[128], { encoding: 'utf8' }],
  put: [
    join(folder, 'source'), '/',
    { tar: false, owner: { uid: 1, gid: 1 }, mode: 0o644, rules: [], xattrs: true, sparse: true, oneFileSystem: true, atime: 0, onProblem: () => {}, ...all },
  ],
  readFile: ['/file', { offset: 0, length: 5, encoding: 'utf8' }],
  readdir: ['/', { encoding: 'utf8', withFileTypes: true }],
  readlink: ['/soft', { encoding: 'utf8' }],
  reflink: ['/file', '/clone', { srcOffset: 0, dstOffset: 0, length: 0, ...all }],
  removeTree: ['/tree', { onRemove: () => {}, ...all }],
  rename: ['/file', '/renamed', { existing: 'replace' }],
  repair: [{ partial: true }],
  report: ['name'],
  rm: ['/file', { recursive: true, force: true }],
  rmdir: ['/tree'],
  shares: ['/file', { paths: true }],
  stat: ['/file'],
  symlink: ['target', '/soft2', { existing: 'replace' }],
  truncate: ['/file', 5],
  unlink: ['/file'],
  unshare: ['/file', { offset: 0, length: 5, keepSize: true, ...all }],
  usage: ['/', { onError: () => {}, ...all }],
  utimes: ['/file', 0, 0],
  walk: ['/', { maxDepth: 5, sorted: true, follow: true, onError: () => {} }],
  writeFile: ['/file', 'x', { mode: 0o644, flag: 'w', offset: 0 }],
  writeFrom: ['/file', ['x'], { mode: 0o644, flag: 'w', offset: 0, length: 5, signal: all.signal }],
  'xattr.get': ['/file', 'user.x', { follow: true }],
  'xattr.list': ['/file', { follow: true, encoding: 'utf8' }],
  'xattr.remove': ['/file', 'user.x', { follow: true }],
  'xattr.set': ['/file', 'user.x', 'v', { mode: 'any', follow: true }],
} // biome-ignore format: a table

/** Without arguments, or with a callback of the caller in place of options. */
const withoutArguments = ['check', 'close', 'fingerprint', 'now', 'recover', 'statfs', 'sync', 'dump']

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype

/** The right arguments with one of them, or a property of one of them, replaced. */
function* variants(right: readonly unknown[]): Generator<{ args: unknown[]; what: string }> {
  for (const [i, arg] of right.entries()) {
    for (const value of wrong) {
      yield { args: right.with(i, value), what: `argument ${i + 1} = ${shown(value)}` }
      if (!isPlain(arg)) continue
      for (const name of Object.keys(arg))
        yield { args: right.with(i, { ...arg, [name]: value }), what: `${name} = ${shown(value)}` }
    }
  }
}

const shown = (value: unknown): string =>
  typeof value === 'object' && value !== null ? Object.prototype.toString.call(value) : String(value)

/** The result, and what comes of it: a promise, a generator, a stream. */
async function settled(result: unknown): Promise<void> {
  const value = await result
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Map) return
  if ('pipe' in value || 'end' in value) {
    const stream = value as NodeJS.WritableStream & { destroy(): void }
    await new Promise<void>((resolve, reject) => {
      stream.on('error', reject)
      stream.on('close', resolve)
      stream.on('finish', resolve)
      if ('resume' in stream) (stream as unknown as NodeJS.ReadableStream).resume()
      else stream.end()
    })
  } else if (Symbol.iterator in value) for (const _ of value as Iterable<unknown>);
}

async function base(): Promise<Uint8Array> {
  const device = memoryDevice(64 * 2 ** 20)
  await mkfs(device)
  {
    using image = XfsImage.open(device, { write: true })
    for (const name of ['/file', '/twin']) image.writeFile(name, 'hello world')
    image.mkdir('/tree')
    image.symlink('file', '/soft')
    image.xattr.set('/file', 'user.x', 'v')
  }
  const bytes = new Uint8Array(64 * 2 ** 20)
  device.read(bytes, 0)
  return bytes
}

for (const [name, right] of Object.entries(methods))
  test(`${name} with wrong values`, async () => {
    const bytes = await base()
    const found: string[] = []
    let image = XfsImage.open(bytes, { write: true })
    for (const { args, what } of variants(right)) {
      const holder = name.startsWith('xattr.') ? image.xattr : image
      const method = (holder as unknown as Record<string, (...args: unknown[]) => unknown>)[name.replace('xattr.', '')]
      assert.ok(method, name)
      try {
        await settled(method.apply(holder, args))
        const found = ['/file', '/twin', '/tree', '/soft'].every((path) => image.exists(path))
        if (!found || name === 'repair') {
          image.close()
          image = XfsImage.open(bytes, { write: true })
        }
      } catch (error) {
        if (!(error instanceof XfsError))
          found.push(`${what}: ${(error as Error)?.stack?.split('\n').slice(0, 3).join(' ')}`)
      }
    }
    image.close()
    assert.deepEqual(found, [])
  })

test('every method is here', () => {
  const names: string[] = []
  for (let at = XfsImage.prototype as object; at !== Object.prototype; at = Object.getPrototypeOf(at))
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at)))
      if (typeof value === 'function' && name !== 'constructor') names.push(name)
  const hidden = new Set([
    'inode',
    'change',
    'changeForNow',
    'changeLong',
    'readLong',
    'below',
    'idle',
    'requireNoWriter',
    'requireIdle',
    'regular',
    'found',
    'openWriter',
    'useWriter',
    'closeWriter',
  ])
  const missing = new Set(
    names.filter((name) => !(name in methods) && !withoutArguments.includes(name) && !hidden.has(name)),
  )
  assert.deepEqual([...missing], [])
})

const isXfsError = (error: unknown): boolean => error instanceof XfsError && error.code === 'INVAL'

test('functions for whole images refuse wrong options', async () => {
  const device = memoryDevice(64 * 2 ** 20)
  await mkfs(device)
  const functions: Record<string, (options: never) => Promise<unknown>> = {
    mkfs: (options) => mkfs(device, options),
    check: (options) => check(device, options),
    recover: (options) => recover(device, options),
    repair: (options) => repair(device, options),
    open: async (options) => XfsImage.open(device, options),
    promises: (options) => openPromises(new Uint8Array(5), options),
  }
  for (const [name, call] of Object.entries(functions))
    for (const options of [null, 5, 'x', [], Symbol('x')])
      await assert.rejects(() => call(options as never), isXfsError, `${name}: ${String(options)}`)
  for (const option of [{ signal: 5 }, { onWarning: 5 }])
    await assert.rejects(() => check(device, option as never), isXfsError)
  for (const option of [{ onWarning: () => {} }, { time: () => 1 }, { time: Symbol('x') }])
    await assert.rejects(
      () => openPromises(new Uint8Array(5), option as never),
      new RegExp(`${Object.keys(option)[0]}: a (function|symbol) cannot be sent`),
    )
})

test('calls of the promise form refuse wrong options', async () => {
  await using fs = await openPromises(await base(), { write: true })
  const invalid = { code: 'EINVAL' }
  for (const options of [null, { signal: 5 }, { onProgress: 5 }, { keepSize: 'x' }])
    await assert.rejects(() => fs.unshare('/file', options as never), invalid, JSON.stringify(options))
  await assert.rejects(() => fs.chown('/file', 5n as never, 0), invalid)
  await assert.rejects(() => fs.getxattr('/file', 'user.x', { follow: 5 } as never), invalid)
})
