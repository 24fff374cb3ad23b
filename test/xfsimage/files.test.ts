import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceAfter, memoryDevice, record } from '../../src/devices.ts'
import { openImage } from '../../src/image.ts'
import * as xfskit from '../../src/index.ts'
import { logState } from '../../src/log/ring.ts'

/**
 * The facade as a program uses it: everything through the public exports, on an image in memory;
 * each test ends with a check.
 */
const { mkfs, XfsImage, XfsError } = xfskit

function withImage(use: (image: xfskit.XfsImage) => void | Promise<void>): () => Promise<void> {
  return async () => {
    const device = memoryDevice(64 * 2 ** 20)
    await mkfs(device)
    const image = XfsImage.open(device, { write: true })
    await use(image)
    image.sync()
    assert.deepEqual(image.check().findings.list, [])
    image.close()
    const again = XfsImage.open(device)
    assert.deepEqual(again.check().findings.list, [], 'after it was closed and opened again')
  }
}

const code = (wanted: string) => (error: unknown) => error instanceof XfsError && error.code === wanted

test(
  'files and directories',
  withImage((image) => {
    assert.equal(image.mkdir('/a/b//c', { recursive: true }), '/a')
    assert.equal(image.mkdir('/a/b/c', { recursive: true }), undefined)
    assert.throws(() => image.mkdir('/a'), code('EXIST'))
    image.writeFile('/a/b/c/motd', 'welcome\n')
    image.appendFile('/a/b/c/motd', 'stranger\n')
    assert.equal(image.readFile('/a/b/c/motd', 'utf8'), 'welcome\nstranger\n')
    assert.equal(image.readFile('/a/b/c/motd', { encoding: 'utf8', offset: 8, length: 5 }), 'stran')
    image.writeFile('/a/b/c/motd', 'W', { flag: 'r+' })
    image.writeFile('/a/b/c/motd', '!', { flag: 'r+', offset: 6 })
    assert.equal(image.readFile('/a/b/c/motd', 'utf8'), 'Welcom!\nstranger\n')
    image.writeFile('/a/b/c/motd', 'short')
    assert.deepEqual(image.readFile('/a/b/c/motd'), new TextEncoder().encode('short'))
    assert.throws(() => image.writeFile('/a/b/c/motd', '', { flag: 'wx' }), code('EXIST'))
    assert.throws(() => image.writeFile('/none', '', { flag: 'r+' }), code('NOENT'))
    assert.throws(() => image.readFile('/a'), code('ISDIR'))
    image.symlink('b/c/motd', '/a/link')
    assert.equal(image.readlink('/a/link'), 'b/c/motd')
    assert.throws(() => image.readlink('/a'), code('INVAL'))
    image.link('/a/link', '/a/second')
    assert.equal(image.lstat('/a/second').isSymbolicLink(), true)
    assert.equal(image.stat('/a/second').size, 5)
    image.mknod('/null', 0o020666, { major: 1, minor: 3 })
    assert.equal(image.stat('/null').rdev, 0x103)
    assert.deepEqual(image.readdir('/a').sort(), ['b', 'link', 'second'])
    const types = image.readdir('/', { withFileTypes: true })
    assert.deepEqual(
      types.map((entry) => [entry.name, entry.isDirectory(), entry.isCharacterDevice()]),
      [
        ['a', true, false],
        ['null', false, true],
      ],
    )
    image.rename('/a/second', '/second')
    assert.throws(() => image.rename('/a/link', '/second', { existing: 'refuse' }), code('EXIST'))
    assert.equal(image.lstat('/second').isSymbolicLink(), true)
    assert.equal(image.exists('/second'), false, 'its target is relative')
    assert.equal(image.exists('/a/second'), false)
    image.truncate('/a/b/c/motd', 2)
    assert.equal(image.readFile('/a/b/c/motd', 'utf8'), 'sh')
    assert.throws(() => image.rmdir('/a'), code('NOTEMPTY'))
    assert.throws(() => image.rm('/a'), code('ISDIR'))
    image.rm('/a', { recursive: true })
    image.rm('/a', { force: true })
    assert.throws(() => image.rm('/a'), code('NOENT'))
    assert.deepEqual(image.readdir('/').sort(), ['null', 'second'])
  }),
)

test(
  'links that replace a file, and links that lead nowhere',
  withImage(async (image) => {
    image.writeFile('/old', 'old')
    image.writeFile('/new', 'new')
    assert.throws(() => image.link('/new', '/old'), code('EXIST'))
    assert.throws(() => image.link('/none', '/old', { existing: 'replace' }), code('NOENT'))
    assert.equal(image.readFile('/old', 'utf8'), 'old')
    image.link('/new', '/old', { existing: 'replace' })
    image.link('/new', '/old', { existing: 'replace' })
    assert.equal(image.readFile('/old', 'utf8'), 'new')
    assert.equal(image.stat('/new').nlink, 2)
    image.symlink('missing', '/old', { existing: 'replace' })
    assert.equal(image.readlink('/old'), 'missing')
    assert.equal(image.stat('/new').nlink, 1)
    image.mkdir('/d')
    assert.throws(() => image.symlink('x', '/d', { existing: 'replace' }), code('ISDIR'))
    image.symlink('../old', '/d/far')
    image.writeFile('/d/far', 'made')
    assert.equal(image.readlink('/old'), 'missing')
    assert.equal(image.readFile('/missing', 'utf8'), 'made')
    image.symlink('/d/clone', '/d/there')
    await image.reflink('/missing', '/d/there')
    assert.equal(image.readFile('/d/clone', 'utf8'), 'made')
    image.symlink('round', '/round')
    assert.throws(() => image.writeFile('/round', ''), code('LOOP'))
  }),
)

test(
  'pieces: from an offset, and of a length that does not fit',
  withImage(async (image) => {
    assert.equal(await image.writeFrom('/new', ['ab', 'c'], { offset: 5, length: 3 }), 3)
    await image.writeFrom('/new', ['X'], { flag: 'r+', offset: 6 })
    assert.equal(image.readFile('/new', 'utf8'), '\0\0\0\0\0aXc')
    image.writeFile('/second', 'x', { offset: 2 })
    assert.equal(image.readFile('/second', 'utf8'), '\0\0x')
    const length = 2 ** 30
    await assert.rejects(image.writeFrom('/large', ['x'], { length }), code('NOSPC'))
    await assert.rejects(image.writeFrom('/new', ['x'], { length, flag: 'a' }), code('NOSPC'))
    assert.equal(image.stat('/new').size, 8)
    assert.deepEqual(image.readdir('/').sort(), ['new', 'second'])
  }),
)

test(
  'a name that is not UTF-8 has its bytes',
  withImage((image) => {
    const name = Uint8Array.of(0x2f, 0xff, 0x61)
    image.writeFile(name, 'x')
    assert.deepEqual(image.readdir('/', { encoding: 'buffer' }), [name.subarray(1)])
    assert.equal(image.readFile(name, 'utf8'), 'x')
  }),
)

test(
  'permissions, owner, times, flags, attributes',
  withImage((image) => {
    image.writeFile('/f', 'x', { mode: 0o600 })
    image.chmod('/f', 0o4755)
    image.chown('/f', 1000, 7)
    image.chown('/f', -1, 100)
    image.chown('/f', -1, -1)
    image.utimes('/f', 1.5, new Date('2026-03-01T12:30:15.500Z'))
    const stat = image.stat('/f')
    assert.equal(stat.mode, 0o100755)
    assert.deepEqual([stat.uid, stat.gid, stat.nlink, stat.blksize], [1000, 100, 1, 4096])
    assert.deepEqual(stat.xfs.atime, { seconds: 1, nanoseconds: 500_000_000 })
    assert.equal(stat.mtime.toISOString(), '2026-03-01T12:30:15.500Z')
    image.xattr.set('/f', 'user.origin', 'here')
    assert.throws(() => image.xattr.set('/f', 'user.origin', '', { mode: 'create' }), code('EXIST'))
    assert.deepEqual(image.xattr.list('/f'), [{ name: 'user.origin', value: new TextEncoder().encode('here') }])
    image.xattr.remove('/f', 'user.origin')
    assert.throws(() => image.xattr.get('/f', 'user.origin'), code('NODATA'))
    image.chattr('/f', { set: 'i' })
    assert.throws(() => image.writeFile('/f', 'y'), code('PERM'))
    assert.deepEqual(image.stat('/f').xfs.flags, ['immutable', 'bigtime', 'nrext64'])
    image.chattr('/f', { clear: 'i' })
  }),
)

test(
  'a file that was removed is stale, also where its inode number is used again',
  withImage((image) => {
    image.writeFile('/f', 'x')
    const file = image.file('/f')
    image.rename('/f', '/g')
    assert.equal(image.readFile(file, 'utf8'), 'x')
    image.unlink('/g')
    assert.throws(() => image.readFile(file), code('STALE'))
    image.writeFile('/h', 'y')
    assert.equal(image.stat('/h').ino, file.ino)
    assert.throws(() => image.writeFile(file, 'z'), code('STALE'))
  }),
)

test(
  'share, dedupe and unshare',
  withImage(async (image) => {
    const bytes = new Uint8Array(3 * 2 ** 20).fill(7)
    image.writeFile('/a', bytes)
    image.writeFile('/b', bytes)
    assert.deepEqual(await image.reflink('/a', '/new'), { length: bytes.length, mapped: 1 })
    assert.equal((await image.dedupe('/a', '/b')).same, true)
    assert.ok([...image.extents('/a')].every(({ shared }) => shared))
    assert.deepEqual(
      [...image.shares('/new')].map(({ ino, length }) => [ino, length]),
      ['/a', '/b'].map((path) => [image.stat(path).ino, bytes.length]),
    )
    image.writeFile('/b', 'cut', { flag: 'r+', offset: 2 ** 20 })
    assert.equal(image.readFile('/a')[2 ** 20], 7)
    assert.equal((await image.unshare('/new')).cleared, true)
    assert.equal([...image.shares('/new')].length, 0)
    await assert.rejects(image.reflink('/', '/x'), code('ISDIR'))
    assert.equal(image.exists('/x'), false)
    assert.equal((await image.usage('/')).shared > 0, true)
  }),
)

test(
  'another change during a long one is refused; a signal stops it between two steps',
  withImage(async (image) => {
    image.mkdir('/d')
    for (let i = 0; i < 2000; i++) image.writeFile(`/d/${i}`, '')
    const controller = new AbortController()
    let steps = 0
    const removal = image.removeTree('/d', {
      signal: controller.signal,
      onProgress: () => {
        steps++
        assert.throws(() => image.unlink('/d/1999'), code('BUSY'))
        if (steps === 3) controller.abort(new Error('enough'))
      },
    })
    await assert.rejects(removal, /enough/)
    const left = image.readdir('/d').length
    assert.ok(left > 0 && left < 2000, `${left} are left`)
    assert.equal(await image.removeTree('/d'), left + 1)
  }),
)

test('without write nothing can be changed; a dry run writes nothing and lists what it would', async () => {
  const device = memoryDevice(64 * 2 ** 20)
  await mkfs(device)
  const recorder = record(device)
  const reading = XfsImage.open(recorder)
  assert.throws(() => reading.writeFile('/f', 'x'), code('ROFS'))
  assert.throws(() => reading.repair(), code('ROFS'))
  const dry = XfsImage.open(recorder, { write: true, dryRun: true })
  dry.writeFile('/f', 'x')
  dry.sync()
  assert.equal(dry.readFile('/f', 'utf8'), 'x')
  assert.ok([...dry.changes].length > 0)
  assert.equal(recorder.events.length, 0)
})

test('a full image: a new file leaves nothing, an existing one is unchanged', async () => {
  const device = memoryDevice(64 * 2 ** 20)
  await mkfs(device)
  const image = XfsImage.open(device, { write: true })
  image.writeFile('/old', 'old')
  const large = new Uint8Array(80 * 2 ** 20)
  assert.throws(() => image.writeFile('/new', large), code('NOSPC'))
  assert.throws(() => image.writeFile('/old', large), code('NOSPC'))
  assert.deepEqual(image.readdir('/'), ['old'])
  assert.equal(image.readFile('/old', 'utf8'), 'old')
  assert.deepEqual(image.check().findings.list, [])
})

test('a dirty log is refused, recovered or ignored, as asked', async () => {
  const base = memoryDevice(64 * 2 ** 20)
  await mkfs(base)
  const recorder = record(deviceAfter(base, [], 0))
  const image = XfsImage.open(recorder, { write: true })
  for (let i = 0; i < 20; i++) image.writeFile(`/file ${i}`, 'x')
  image.close()
  const count = recorder.events.length
  const cut = Array.from({ length: count }, (_, n) => n).find(
    (n) => !logState(openImage(deviceAfter(base, recorder.events, n))).clean,
  )
  const dirty = record(deviceAfter(base, recorder.events, cut as number))
  assert.throws(() => XfsImage.open(dirty), code('DIRTYLOG'))
  assert.throws(() => XfsImage.open(dirty, { write: true }), code('DIRTYLOG'))
  assert.throws(() => XfsImage.open(dirty, { write: true, log: 'ignore' }), code('INVAL'))
  assert.equal(XfsImage.open(dirty, { log: 'ignore' }).incomplete?.code, 'DIRTYLOG')
  assert.deepEqual(XfsImage.open(dirty, { log: 'recover' }).check().findings.list, [])
  assert.equal(dirty.events.length, 0, 'nothing was written')
  const recovered = XfsImage.open(dirty, { write: true, log: 'recover' })
  assert.deepEqual(recovered.check().findings.list, [])
  assert.ok(dirty.events.length > 0)
  recovered.close()
})

test('opened by `using`, an image is closed at the end of the block', async () => {
  const device = memoryDevice(64 * 2 ** 20)
  await mkfs(device)
  const image = XfsImage.open(device, { write: true })
  image.writeFile('/f', 'x')
  image[Symbol.dispose]()
  assert.throws(() => image.readFile('/f'), code('INVAL'))
  assert.equal(XfsImage.open(device).readFile('/f', 'utf8'), 'x')
})

test(
  'a stream of a known length that does not fit leaves the content of an existing file',
  withImage(async (image) => {
    image.writeFile('/file', 'content')
    const piece = new Uint8Array(2 ** 20)
    const stream = Array<Uint8Array>(80).fill(piece)
    await assert.rejects(image.writeFrom('/file', stream, { length: 80 * piece.length }), code('NOSPC'))
    assert.equal(image.readFile('/file', 'utf8'), 'content')
    assert.equal(await image.writeFrom('/file', ['new'], { length: 3 }), 3)
    assert.equal(image.readFile('/file', 'utf8'), 'new')
  }),
)

test(
  'a check waits for the end of a stream: a new file has no name until then',
  withImage(async (image) => {
    async function* pieces() {
      yield 'first'
      assert.throws(() => image.check(), code('BUSY'))
      yield 'second'
    }
    await image.writeFrom('/file', pieces())
    assert.deepEqual(image.check().findings.list, [])
  }),
)
