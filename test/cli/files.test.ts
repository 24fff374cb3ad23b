import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { Superblock } from '../../src/format/sb.ts'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { Volume } from '../../src/volume.ts'
import { program, xfskit, xfskitOk, xfskitRecords } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { differences, hostManifest, imageManifest } from '../support/manifest.ts'
import { makeImage, mountImage, skip } from '../support/oracles.ts'
import { syscalls } from '../support/syscalls.ts'
import { tempDir, withTempDir } from '../support/temp.ts'

/** The same command lines for xfskit on an image, and for the kernel's tools on a mounted one. */
const steps: readonly (readonly [ours: readonly string[], theirs: string])[] = [
  [['mkdir', '-p', 'IMAGE', '/a/b/c', '/a/d'], 'mkdir -p a/b/c a/d'],
  [['mkdir', '-m', '1770', 'IMAGE', '/tmp'], 'mkdir -m 1770 tmp'],
  [['touch', 'IMAGE', '/a/one', '/a/two words', '/a/b/\\xff\\x01'], "touch a/one 'a/two words' $'a/b/\\xff\\x01'"],
  [['ln', 'IMAGE', '/a/one', '/a/b/hard'], 'ln a/one a/b/hard'],
  [['ln', '-s', 'IMAGE', '../one', '/a/b/soft'], 'ln -s ../one a/b/soft'],
  [['ln', '-sf', 'IMAGE', '/nowhere', '/a/b/soft'], 'ln -sfn /nowhere a/b/soft'],
  [['ln', 'IMAGE', '/a/one', '/a/two words', '/a/d'], "ln a/one 'a/two words' a/d"],
  [['truncate', 'IMAGE', '1m', '/a/one'], 'truncate -s 1M a/one'],
  [['truncate', 'IMAGE', '+5', '/a/one'], 'truncate -s +5 a/one'],
  [['chmod', 'IMAGE', 'u+x,g=,o+t', '/a/one', '/a/d'], 'chmod u+x,g=,o+t a/one a/d'],
  [['chmod', '-R', 'IMAGE', 'a=rX,u+w', '/a/b'], 'chmod -R a=rX,u+w a/b'],
  [['chmod', 'IMAGE', '6755', '/a/two words'], "chmod 6755 'a/two words'"],
  [['chown', 'IMAGE', '5:6', '/a/two words'], "chown 5:6 'a/two words'"],
  [['chown', '-R', 'IMAGE', ':77', '/a/b'], 'chown -R :77 a/b'],
  [['chown', '--no-dereference', 'IMAGE', '9', '/a/b/soft'], 'chown -h 9 a/b/soft'],
  [['mknod', 'IMAGE', '/a/null', 'c', '1', '3', '-m', '666'], 'mknod -m 666 a/null c 1 3'],
  [['mknod', 'IMAGE', '/a/pipe', 'p'], 'mkfifo -m 644 a/pipe'],
  [['mv', 'IMAGE', '/a/d', '/a/b/c', '/tmp'], 'mv a/d a/b/c tmp'],
  [['mv', 'IMAGE', '/a/null', '/a/zero'], 'mv a/null a/zero'],
  [['mv', 'IMAGE', '/tmp/c', '/c'], 'mv tmp/c c'],
  [['rm', '-r', 'IMAGE', '/tmp/d'], 'rm -r tmp/d'],
  [['rm', '-f', 'IMAGE', '/none', '/a/pipe'], 'rm -f none a/pipe'],
  [['rm', '-d', 'IMAGE', '/c'], 'rm -d c'],
  [['touch', '-d', '2001-02-03 04:05:06.123456789 +0100', 'IMAGE', '/', '/a', '/a/b', '/tmp', '/a/one', '/a/two words', '/a/b/\\xff\\x01'], "touch -d '2001-02-03 04:05:06.123456789 +0100' . a a/b tmp a/one 'a/two words' $'a/b/\\xff\\x01'"],
  [['touch', '--no-dereference', '-d', '@5.5', 'IMAGE', '/a/b/soft'], 'touch -h -d @5.5 a/b/soft'],
  [['touch', '-m', '-r', '/a', 'IMAGE', '/a/zero'], 'touch -m -r a a/zero'],
] // biome-ignore format: a table

test('commands do what those of the host do on a mounted image', {
  skip: skip.kernel || (syscalls() ? false : 'koffi is not installed'),
}, () => {
  withTempDir((folder) => {
    const [ours, theirs] = [join(folder, 'ours'), join(folder, 'theirs')]
    for (const image of [ours, theirs]) makeImage(image, '300m')
    for (const [words] of steps)
      assert.equal(xfskitOk(words.map((word) => (word === 'IMAGE' ? ours : word))), '', words.join(' '))
    judge(ours, { kernel: true })
    const expected = mountImage(theirs, (root) => {
      execFileSync('bash', ['-euc', steps.map(([, line]) => line).join('\n')], {
        cwd: root,
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      const calls = syscalls()
      return calls ? hostManifest(root, calls) : []
    })
    const volume = Volume.open(openFile(ours, 'r'))
    assert.equal(differences(imageManifest(rootDirectory(volume)), expected), '')
    volume.close()
  })
})

test('refused paths are reported, others are done, and the status shows it', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    xfskitOk(['mkdir', image, '/d'])
    const refused = (args: readonly string[], message: RegExp, status = 1): void => {
      const run = xfskit(args)
      assert.equal(run.status, status, `${args.join(' ')}: ${run.stdout}${run.stderr}`)
      assert.match(run.stderr, message)
    }
    refused(['mkdir', image, '/d', '/e', '/no/where'], /\/d: .*exists[\s\S]*\/no\/where: .*no such file/, 4)
    xfskitOk(['ls', '-d', image, '/e'])
    refused(['rm', image, '/d'], /directory/)
    refused(['rm', '-r', image, '/'], /root/)
    refused(['mv', image, '/d', '/d/below'], /into itself/)
    refused(['mv', image, '/d', '/e', '/new'], /not a directory/)
    refused(['ln', image, '/d', '/hard'], /directory/)
    refused(['chmod', image, '999', '/d'], /not a mode/, 3)
    refused(['chown', image, 'root', '/d'], /not an owner/, 3)
    refused(['touch', '-d', 'yesterday', image, '/d'], /not a time/, 3)
    refused(['mknod', image, '/x', 'c'], /major/, 3)
    refused(['truncate', image, '1m', '/d'], /directory/)
    refused(['xattr', 'get', image, '/d', 'user.none'], /no attribute/)
    refused(['xattr', 'set', image, '/d', 'nothing.x', 'y'], /its name must begin with user\./)
    refused(['chattr', image, '+q', '/d'], /not an option or flags: \+q/, 3)
    refused(['mkdir', image], /missing operand: PATHS/, 3)
    xfskitOk(['chattr', image, '+i', '/d'])
    refused(['touch', image, '/d/x'], /immutable/)
    refused(['chmod', image, '700', '/d'], /immutable/)
    xfskitOk(['chattr', image, '-i', '/d'])
    const { done, failed } = JSON.parse(xfskit(['mkdir', '--json', image, '/f', '/d']).stdout) as {
      done: object[]
      failed: { path: string; code: string }[]
    }
    assert.deepEqual([done, failed.map(({ path, code }) => [path, code])], [[{ path: '/f' }], [['/d', 'EXIST']]])
    xfskitOk(['touch', image, '/f/a', '/f/b', '/f/c'])
    xfskitOk(['chattr', image, '+i', '/f/a', '/f/c'])
    refused(['chmod', '-R', image, '700', '/f'], /^xfskit chmod: \/f\/a: .*immutable.*\n.*\/f\/c: .*immutable/, 4)
    assert.match(xfskitOk(['ls', '-l', image, '/f']), /-rw-r--r-- .* a\n-rwx------ .* b\n-rw-r--r-- .* c\n/)
    // The old file stays if the new one cannot be linked.
    refused(['ln', '-f', image, '/none', '/f/b'], /no such file/)
    refused(['ln', '-f', image, '/d', '/f/b'], /directory/)
    xfskitOk(['ln', '-f', image, '/f/b', '/f/b'])
    xfskitOk(['ls', image, '/f/b'])
    // A link that leads nowhere is followed when a file is created.
    xfskitOk(['ln', '-s', image, 'made', '/f/link'])
    xfskitOk(['touch', image, '/f/link'])
    assert.match(xfskitOk(['ls', '-l', image, '/f']), /^l.* link -> made\n-rw-r--r-- .* made$/m)
    judge(image)
  })
})

test('a file that does not fit is refused before the first byte', () => {
  withTempDir((folder) => {
    const [image, big] = [join(folder, 'image'), join(folder, 'big')]
    makeImage(image, '300m')
    xfskitOk(['io', '-f', image, '/a', '-c', 'pwrite -q 0 4m'])
    xfskitOk(['reflink', image, '/a', '/b'])
    const free = Number(/f_bavail = (\d+)/.exec(xfskitOk(['io', image, '/', '-c', 'statfs -s']))?.[1])
    xfskitOk(['io', '-f', image, '/full', '-c', `falloc 0 ${(free - 600) * 4096}`])
    writeFileSync(big, Buffer.alloc(4 * 2 ** 20, 'x'))
    const before = xfskitOk(['cat', image, '/b'])
    for (const words of [[big], []]) {
      const { status, stderr } = spawnSync(process.execPath, [program(), 'write', image, '/b', ...words], {
        stdio: [openSync(big, 'r'), 'pipe', 'pipe'],
        encoding: 'utf8',
      })
      assert.equal(status, 1)
      assert.match(stderr, /no space: 1024 blocks are needed/)
      assert.ok(xfskitOk(['cat', image, '/b']) === before)
    }
    judge(image)
  })
})

function manifest(image: string): string[] {
  const volume = Volume.open(openFile(image, 'r'))
  try {
    return imageManifest(rootDirectory(volume))
  } finally {
    volume.close()
  }
}

test('write: of a new file that does not fit nothing is left', () => {
  withTempDir((folder) => {
    const [image, big] = [join(folder, 'image'), join(folder, 'big')]
    mkfsFile(image, { size: 300 * 2 ** 20 })
    xfskitOk(['mkdir', image, '/dir'])
    xfskitOk(['io', '-f', image, '/full', '-c', 'falloc 0 190m'])
    const before = manifest(image)
    writeFileSync(big, Buffer.alloc(64 * 2 ** 20, 'x'))
    // From a pipe the length is not known before.
    const piped = (words: readonly string[]) =>
      spawnSync('sh', ['-c', 'cat "$0" | "$@"', big, process.execPath, program(), ...words], { encoding: 'utf8' })
    for (const refused of [
      xfskit(['write', image, '/new', big]),
      piped(['write', image, '/dir/new', '--truncate']),
      piped(['write', image, '/dir/new', '--append']),
    ]) {
      assert.equal(refused.status, 1)
      assert.match(refused.stderr, /no space/)
      assert.deepEqual(manifest(image), before)
    }
    xfskitOk(['write', image, '/dir/new'], { input: 'it fits' })
    assert.equal(xfskitOk(['cat', image, '/dir/new']), 'it fits')
    judge(image)
  })
})

test('write, xattr, chattr, lsattr', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    xfskitOk(['write', image, '/f'], { input: 'hello world' })
    writeFileSync(join(folder, 'there'), 'THERE')
    xfskitOk(['write', image, '/f', join(folder, 'there'), '--offset', '6'])
    xfskitOk(['write', '-a', image, '/f', '-'], { input: '!' })
    assert.equal(xfskitOk(['cat', image, '/f']), 'hello THERE!')
    xfskitOk(['write', '-t', '--offset', '5', image, '/f'], { input: '.' })
    assert.equal(xfskitOk(['cat', image, '/f']), 'hello.')
    xfskitOk(['xattr', 'set', image, '/f', 'user.text', 'a\\x00b'])
    xfskitOk(['xattr', 'set', '--hex', image, '/f', 'trusted.hex', 'ff00'])
    xfskitOk(['xattr', 'set', '--file', join(folder, 'there'), image, '/f', 'security.file'])
    xfskitOk(['xattr', 'set', image, '/f', 'system.posix_acl_access', 'u::rw,u:1000:r,g::r,m::rw,o::-'])
    assert.equal(xfskitOk(['xattr', 'get', image, '/f', 'user.text']), 'a\\x00b\n')
    assert.equal(xfskitOk(['xattr', 'get', '--hex', image, '/f', 'trusted.hex']), 'ff00\n')
    assert.equal(
      xfskitOk(['xattr', 'get', image, '/f', 'system.posix_acl_access']),
      'user::rw-,user:1000:r--,group::r--,mask::rw-,other::---\n',
    )
    assert.match(xfskitOk(['ls', '-l', image, '/f']), /^-rw-rw----/m)
    assert.equal(xfskit(['xattr', 'set', '--create', image, '/f', 'user.text', 'x']).status, 1)
    assert.equal(xfskit(['xattr', 'set', '--replace', image, '/f', 'user.new', 'x']).status, 1)
    xfskitOk(['xattr', 'remove', image, '/f', 'user.text'])
    const names = xfskitRecords<{ name: string }>(['xattr', 'list', image, '/f']).map(({ name }) => name)
    assert.deepEqual(names.sort(), ['security.file', 'system.posix_acl_access', 'trusted.hex'])
    xfskitOk(['mkdir', image, '/p'])
    xfskitOk(['chattr', image, '+Pd', '--projid', '42', '--extsize', '64k', '/p'])
    xfskitOk(['touch', image, '/p/heir'])
    const rows = xfskitRecords(['lsattr', '-R', image, '/p'])
    assert.deepEqual(rows, [
      {
        path: '/p', flags: ['no-dump', 'proj-inherit', 'extsz-inherit', 'bigtime', 'nrext64'], letters: 'dPE',
        projid: 42, extsize: 65536, cowextsize: 0,
      },
      {
        path: '/p/heir', flags: ['no-dump', 'extsize', 'bigtime', 'nrext64'], letters: 'de',
        projid: 42, extsize: 65536, cowextsize: 0,
      },
    ]) // biome-ignore format: a row an object
    assert.match(xfskitOk(['lsattr', '-R', image, '/p']), /^------d-P--E---- .* \/p\n------d---e----- .* \/p\/heir$/m)
    judge(image, { kernel: true })
  })
})

test('find and tree', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    xfskitOk(['mkdir', '-p', image, '/d/sub', '/d/empty', '/z'])
    for (const [path, size] of [
      ['/d/a.txt', 10],
      ['/d/b.c', 5000],
      ['/d/sub/c.txt', 0],
    ] as const) {
      xfskitOk(['touch', image, path])
      xfskitOk(['truncate', image, String(size), path])
    }
    xfskitOk(['ln', '-s', image, 'a.txt', '/d/link'])
    xfskitOk(['chown', image, '7', '/d/b.c'])
    xfskitOk(['chmod', image, '4755', '/d/b.c'])
    xfskitOk(['touch', '-d', '2001-01-01', image, '/d/a.txt'])
    xfskitOk(['touch', '-d', '2002-01-01', image, '/d/b.c'])
    xfskitOk(['xattr', 'set', image, '/d/sub', 'user.mark', 'x'])
    const found = (...tests: string[]): string =>
      xfskitOk(['find', image, '/d', ...tests])
        .trim()
        .split('\n')
        .join(' ')
    assert.equal(found(), '/d /d/a.txt /d/b.c /d/empty /d/link /d/sub /d/sub/c.txt')
    assert.equal(found('-name', '*.txt'), '/d/a.txt /d/sub/c.txt')
    assert.equal(found('-name', 'd'), '/d')
    assert.equal(found('-iname', '[AB].*', '!', '-name', '*.c'), '/d/a.txt')
    assert.equal(found('-path', '*sub*'), '/d/sub /d/sub/c.txt')
    assert.equal(found('-type', 'l,d', '-mindepth', '1'), '/d/empty /d/link /d/sub')
    assert.equal(found('-type', 'f', '-size', '+4k'), '/d/b.c')
    assert.equal(found('-size', '-11c', '-type', 'f'), '/d/a.txt /d/sub/c.txt')
    assert.equal(found('-empty', '-type', 'd'), '/d/empty')
    assert.equal(found('-uid', '7'), '/d/b.c')
    assert.equal(found('-perm', '-4000'), '/d/b.c')
    assert.equal(found('-newer', '/d/a.txt', '-name', '?.*'), '/d/b.c /d/sub/c.txt')
    assert.equal(found('-not', '-newermt', '2001-06-01'), '/d/a.txt')
    assert.equal(found('-mtime', '+1000', '-type', 'f'), '/d/a.txt /d/b.c')
    assert.equal(found('-xattr', 'user.*'), '/d/sub')
    assert.equal(found('-maxdepth', '0'), '/d')
    assert.equal(xfskitOk(['find', image, '/d/sub', '/z', '-print0']), '/d/sub\0/d/sub/c.txt\0/z\0')
    assert.match(xfskitOk(['find', image, '/d/b.c', '-ls']), /-rwsr-xr-x\s+1\s+7\s+0\s+5000\s+2002-01-01 00:00:00/)
    assert.equal(xfskit(['find', image, '-foo']).status, 3)
    assert.equal(xfskit(['find', image, '/none']).status, 1)
    assert.equal(
      xfskitOk(['tree', image]),
      '/\n├── d\n│   ├── a.txt\n│   ├── b.c\n│   ├── empty\n│   ├── link -> a.txt\n│   └── sub\n│       └── c.txt\n└── z\n',
    )
    assert.equal(xfskitOk(['tree', '--depth', '1', '-s', image, '/d']).split('\n').length, 7)
  })
})

test('du: what removing frees is what becomes free', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    xfskitOk(['mkdir', image, '/t', '/t/sub', '/o'])
    writeFileSync(join(folder, 'big'), Buffer.alloc(2 ** 20, 'x'))
    xfskitOk(['put', image, join(folder, 'big'), '/t'])
    xfskitOk(['put', image, join(folder, 'big'), '/t/sub/alone'])
    for (const copy of ['/t/sub/two', '/t/three', '/o/four']) xfskitOk(['reflink', image, '/t/big', copy])
    xfskitOk(['reflink', image, '/t/sub/alone', '/t/sub/five', '--length', '512k'])
    xfskitOk(['ln', image, '/t/sub/alone', '/t/again'])
    xfskitOk(['write', image, '/t/three', '--offset', '100k'], { input: 'y' })
    const free = (): number => {
      const volume = Volume.open(openFile(image, 'r'))
      try {
        return Superblock.fields.fdblocks.get(volume.superblock().view, 0) * volume.geometry.blocksize
      } finally {
        volume.close()
      }
    }
    const du = (...paths: string[]): Record<string, number>[] =>
      xfskitRecords<Record<string, number>>(['du', image, ...paths])
    const [whole, sub] = du('/t', '/t/sub')
    assert.ok(whole && sub)
    const MB = 2 ** 20
    assert.deepEqual(
      [whole['referenced'], whole['shared'], whole['exclusive']],
      [4.5 * MB, 4 * MB - 4096, 0.5 * MB + 4096],
    )
    // The blocks of /o/four stay in use, and those in /t/sub that other files share. The file with
    // a name outside stays.
    const before = free()
    xfskitOk(['rm', '-r', image, '/t/sub'])
    assert.equal(free() - before, sub['freed'])
    const [rest] = du('/t')
    const then = free()
    xfskitOk(['rm', '-r', image, '/t'])
    assert.equal(free() - then, rest?.['freed'])
    judge(image)
  })
})

test('looking at files: several paths, links, names of any bytes, what is not there', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    const odd = '/d/\\xff\\x1b[31m'
    xfskitOk(['mkdir', image, '/d'])
    xfskitOk(['write', image, odd], { input: 'odd' })
    xfskitOk(['write', image, '/d/a'], { input: 'hello' })
    xfskitOk(['ln', '-s', image, 'd', '/dir'])
    xfskitOk(['ln', '-s', image, 'nowhere', '/dangling'])
    assert.equal(xfskitOk(['ls', image, '/dir']), 'a\n\\xff\\x1b[31m\n')
    assert.match(xfskitOk(['ls', '-l', image, '/dir']), /^lrwxrwxrwx .* \/dir -> d$/m)
    assert.equal(xfskitOk(['ls', image, '/dangling', '/d']), '/dangling\n/d/a\n/d/\\xff\\x1b[31m\n')
    assert.match(xfskitOk(['ls', '-l', image, '/d']), /^-rw-r--r-- .* \\xff\\x1b\[31m$/m)
    assert.deepEqual(bytesOf(['find', image, '/d', '-print0']), Buffer.from('/d\0/d/a\0/d/\xff\x1b[31m\0', 'latin1'))
    for (const [words, line] of [
      [['stat', image, '/none', odd, '/d/a'], /^size {4}5 bytes/m],
      [['cat', image, '/none', odd, '/d/a'], /^oddhello$/],
      [['du', image, '/none', '/d'], / 3 {2}\/d$/m],
      [['lsattr', image, '/none', '/d/a'], /\/d\/a$/m],
    ] as const) {
      const { status, stdout, stderr } = xfskit(words)
      assert.equal(status, 1, words.join(' '))
      assert.match(stdout, line)
      assert.equal(stderr, `xfskit ${words[0]}: /none: no such file or directory\n`)
    }
    assert.deepEqual(xfskitRecords(['cat', image, '/d/a']), [
      { path: '/d/a', offset: 0, length: 5, base64: 'aGVsbG8=' },
    ])
    const value = randomBytes(65_536)
    writeFileSync(join(folder, 'value'), value)
    xfskitOk(['xattr', 'set', image, '/d', 'user.v', '--file', join(folder, 'value')])
    xfskitOk(['xattr', 'get', image, '/d', 'user.v', '--file', join(folder, 'back')])
    assert.deepEqual(readFileSync(join(folder, 'back')), value)
    assert.deepEqual(bytesOf(['xattr', 'get', image, '/d', 'user.v', '--file', '-']), value)
    judge(image)
  })
})

const bytesOf = (words: readonly string[]): Buffer =>
  execFileSync(process.execPath, [program(), ...words], { maxBuffer: 2 ** 24 })

/** Start a command, interrupt it as Ctrl-C does as soon as `begun`, and return its output. */
async function interrupted(
  words: readonly string[],
  begun: () => boolean,
): Promise<{ status: number | null; stderr: string }> {
  const child = spawn(process.execPath, [program(), ...words], { stdio: ['pipe', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.on('data', (bytes) => {
    stderr += bytes
  })
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  while (child.exitCode === null && !begun()) await new Promise((resolve) => setTimeout(resolve, 20))
  child.kill('SIGINT')
  return { status: await ended, stderr }
}

/** Is the image locked? */
function isLocked(image: string): boolean {
  try {
    openFile(image, 'rw').close()
    return false
  } catch {
    return true
  }
}

test('stopped by a signal, also while it waits for input: the image is sound, no half file is left', async () => {
  const folder = tempDir()
  const image = join(folder, 'image')
  makeImage(image, '300m')
  mkdirSync(join(folder, 'tree'))
  for (let dir = 0; dir < 60; dir++) {
    mkdirSync(join(folder, 'tree', `${dir}`))
    for (let i = 0; i < 200; i++) writeFileSync(join(folder, 'tree', `${dir}`, `${i}`), 'x'.repeat(5000))
  }
  xfskitOk(['put', image, join(folder, 'tree'), '/'])
  const dirs = Array.from({ length: 60 }, (_, i) => `/tree/${i}`)
  const out = join(folder, 'out')
  for (const [words, begun] of [
    [['write', image, '/waits'], () => isLocked(image)],
    [['get', image, '/tree', out], () => existsSync(out)],
    [['rm', '-r', image, ...dirs], () => isLocked(image)],
  ] as const) {
    const { status, stderr } = await interrupted(words, begun)
    assert.equal(status, 130, `${words[0]}: ${stderr}`)
    assert.match(stderr, /stopped by SIGINT; the image is sound/)
  }
  judge(image)
  assert.notEqual(xfskitOk(['ls', image, '/tree']), '')
  for (const name of readdirSync(out, { recursive: true, encoding: 'utf8' })) {
    const stat = statSync(join(out, name))
    if (stat.isFile()) assert.equal(stat.size, 5000)
  }
})

test('a script that comes slowly', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    const slowly = `{ sleep 1; echo 'pwrite -q 0 5'; sleep 0.2; echo 'pread -q 0 5'; } | "$0" "$1" io -f "$2" /x`
    const { status, stderr } = spawnSync('sh', ['-c', slowly, process.execPath, program(), image], { encoding: 'utf8' })
    assert.equal(status, 0, stderr)
    assert.equal(xfskitOk(['cat', image, '/x']), '\xcd'.repeat(5).replaceAll('\xcd', '\ufffd'))
  })
})
