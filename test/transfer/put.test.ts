import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { program, xfskit, xfskitOk, xfskitRecords } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { differences, hostManifest } from '../support/manifest.ts'
import { makeImage, mountImage, newest } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'
import { acl, calls, makeTree, manifestOf, skipCopies } from './support.ts'

const formats: readonly (readonly [name: string, args: readonly string[]])[] = [
  ['newest defaults', []],
  ['1k blocks', ['-b', 'size=1k']],
  [
    'little',
    ['-m', 'reflink=0,rmapbt=0,finobt=0,inobtcount=0', '-i', 'nrext64=0,sparse=0,exchange=0', '-n', 'parent=0'],
  ],
  ['64k blocks, 1k inodes, 16k directory blocks', ['-b', 'size=16k', '-i', 'size=1024', '-n', 'size=64k']],
]

for (const [name, args] of formats) {
  test(`put: a tree of everything: ${name}`, { skip: skipCopies }, () => {
    withTempDir((folder) => {
      const tree = join(folder, 'tree')
      const image = join(folder, 'image')
      makeTree(tree)
      makeImage(image, '512m', args)
      xfskitOk(['put', image, `${tree}/.`, '/'])
      const source = hostManifest(tree, calls())
      assert.equal(differences(manifestOf(image), source), '')
      judge(image)
      assert.equal(
        differences(
          mountImage(image, (root) => hostManifest(root, calls())),
          source,
        ),
        '',
      )
      // Holes stay holes, and the 5 MiB of the large file have few extents.
      const blocks = JSON.parse(xfskitOk(['stat', image, '/hole', '--json'])) as { blocks: number }
      assert.equal(blocks.blocks, 0)
      assert.equal(xfskitRecords(['fiemap', image, '/large']).length, 1)
    })
  })
}

test('put: attributes as large as XFS has them', { skip: skipCopies }, () => {
  withTempDir((folder) => {
    const [source, image] = [join(folder, 'source'), join(folder, 'image')]
    makeImage(source, '512m')
    makeImage(image, '512m')
    mountImage(source, (root) => {
      makeTree(join(root, 'tree'), { largeAttributes: true })
      xfskitOk(['put', image, join(root, 'tree'), '/'])
      assert.equal(differences(manifestOf(image, '/tree'), hostManifest(join(root, 'tree'), calls())), '')
    })
    judge(image)
  })
})

test('put: names as cp has them; over what exists', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    const at = (...names: string[]): string => join(folder, ...names)
    mkdirSync(at('dir', 'below'), { recursive: true })
    writeFileSync(at('dir', 'a'), 'first')
    writeFileSync(at('dir', 'below', 'b'), 'b')
    xfskitOk(['put', image, at('dir'), '/copy'])
    xfskitOk(['put', image, at('dir'), '/copy'])
    xfskitOk(['put', image, at('dir', 'a'), '/copy/renamed'])
    assert.equal(
      xfskitOk(['find', image, '/']),
      [
        '/',
        '/copy',
        '/copy/a',
        '/copy/below',
        '/copy/below/b',
        '/copy/dir',
        '/copy/dir/a',
        '/copy/dir/below',
        '/copy/dir/below/b',
        '/copy/renamed',
        '',
      ].join('\n'),
    )
    // Merged: new files are added, old ones are replaced (their other names keep the old content),
    // and others stay.
    xfskitOk(['ln', image, '/copy/a', '/old'])
    writeFileSync(at('dir', 'a'), 'second')
    writeFileSync(at('dir', 'c'), 'c')
    chmodSync(at('dir', 'below'), 0o700)
    xfskitOk(['put', image, `${at('dir')}/.`, '/copy'])
    assert.equal(xfskitOk(['cat', image, '/copy/a', '/old', '/copy/c', '/copy/renamed']), 'secondfirstcfirst')
    assert.match(xfskitOk(['ls', '-ld', image, '/copy/below']), /drwx------/)
    // A directory and a file do not replace each other; the rest is copied.
    rmSync(at('dir', 'a'))
    mkdirSync(at('dir', 'a'))
    rmSync(at('dir', 'below'), { recursive: true })
    symlinkSync('x', at('dir', 'below'))
    writeFileSync(at('dir', 'd'), 'd')
    const { status, stderr, stdout } = xfskit(['put', image, `${at('dir')}/.`, '/copy'])
    assert.equal(status, 4)
    assert.match(stderr, /\/a: a file of that name exists/)
    assert.match(stderr, /\/below: a directory of that name exists/)
    assert.match(stdout, /2 could not be copied/)
    assert.equal(xfskitOk(['cat', image, '/copy/d', '/copy/a']), 'dsecond')
    judge(image, { kernel: true })
  })
})

test('put: a directory that is immutable is reported, and the rest is copied', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    const tree = join(folder, 'tree')
    for (const name of ['fixed', 'other']) {
      mkdirSync(join(tree, name), { recursive: true, mode: 0o700 })
      writeFileSync(join(tree, name, 'a'), name)
      xfskitOk(['mkdir', image, `/${name}`])
    }
    xfskitOk(['chattr', image, '+i', '/fixed'])
    const before = xfskitOk(['stat', image, '/fixed', '--json'])
    const { status, stderr } = xfskit(['put', image, `${tree}/.`, '/'])
    assert.equal(status, 4)
    assert.match(stderr, /\/fixed: inode \d+ is immutable or append-only/)
    assert.match(stderr, /\/fixed\/a: directory \d+ is immutable/)
    assert.equal(xfskitOk(['stat', image, '/fixed', '--json']), before)
    assert.equal(xfskitOk(['cat', image, '/other/a']), 'other')
    assert.match(xfskitOk(['ls', '-ld', image, '/other']), /drwx------/)
    judge(image)
  })
})

test('put: owners and modes for people who are not root', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    const at = (...names: string[]): string => join(folder, 'tree', ...names)
    mkdirSync(at('bin'), { recursive: true })
    mkdirSync(at('home', 'me'), { recursive: true })
    for (const name of ['bin/su', 'bin/ls', 'home/me/.profile', 'notes.txt'])
      writeFileSync(at(name), name, { mode: 0o600 })
    chmodSync(at('bin/ls'), 0o700)
    writeFileSync(
      join(folder, 'map'),
      '# who owns what\n/bin/*  0:0  0755\n/bin/su  -  4755\n/home/me/**  1000:1000  -\n/home/me  1000:1000 700\n*.txt  :50  u=r,go=\n',
    )
    xfskitOk([
      'put',
      image,
      `${join(folder, 'tree')}/.`,
      '/',
      '--owner',
      '1:2',
      '--mode',
      'u=rwX,go=rX',
      '--map',
      join(folder, 'map'),
    ])
    const lines = xfskitOk(['ls', '-lR', image, '/'])
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.split(/\s+/))
    const shown = Object.fromEntries(lines.map((words) => [words.at(-1), `${words[0]} ${words[2]}:${words[3]}`]))
    assert.deepEqual(shown, {
      '/bin': 'drwxr-xr-x 1:2', '/bin/ls': '-rwxr-xr-x 0:0', '/bin/su': '-rwsr-xr-x 0:0', '/home': 'drwxr-xr-x 1:2', '/home/me': 'drwx------ 1000:1000',
      '/home/me/.profile': '-rw-r--r-- 1000:1000', '/notes.txt': '-r-------- 1:50',
    }) // biome-ignore format: a table
    for (const bad of [
      ['--owner', 'root'],
      ['--mode', '9'],
      ['--map', join(folder, 'none')],
    ])
      assert.equal(xfskit(['put', image, at('notes.txt'), '/', ...bad]).status, 3)
  })
})

test('put: no space: files that fit are complete, others are reported, the image is sound', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    const at = (...names: string[]): string => join(folder, 'tree', ...names)
    mkdirSync(at('small'), { recursive: true })
    for (let i = 0; i < 60; i++) writeFileSync(at(`file${i}`), randomBytes(2 ** 22))
    for (let i = 0; i < 3000; i++) writeFileSync(at('small', `${i}`), randomBytes(9000))
    const { status, stdout, stderr } = xfskit(['put', image, join(folder, 'tree'), '/'])
    assert.equal(status, 4, stdout + stderr)
    assert.match(stderr, /no space/)
    judge(image)
    const list = xfskitRecords<{ path: string; size: number }>(['find', image, '/', '-type', 'f'])
    assert.ok(list.length > 30)
    for (const { path, size } of list) assert.equal(size, statSync(join(folder, path)).size, path)
    const found = list.map(({ path }) => path)
    for (const path of [found[0], found.at(-1)] as string[]) {
      xfskitOk(['get', image, path, join(folder, 'back')])
      assert.ok(readFileSync(join(folder, 'back')).equals(readFileSync(join(folder, path))))
    }
  })
})

test('put: stopped by a signal, the image is sound', async () => {
  await withTempDirAsync(async (folder) => {
    const image = join(folder, 'image')
    makeImage(image, '2g')
    mkdirSync(join(folder, 'tree'))
    for (let i = 0; i < 40; i++) writeFileSync(join(folder, 'tree', `${i}`), randomBytes(2 ** 24))
    const child = spawn(process.execPath, [program(), 'put', image, join(folder, 'tree'), '/'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let message = ''
    child.stderr.on('data', (bytes) => {
      message += bytes
    })
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
    // Not before it holds signals, that is after it has begun to write.
    const before = statSync(image).blocks
    while (child.exitCode === null && statSync(image).blocks < before + 100_000)
      await new Promise((resolve) => setTimeout(resolve, 5))
    child.kill('SIGINT')
    assert.equal(await ended, 130)
    assert.match(message, /stopped by SIGINT; the image is sound/)
    judge(image)
    for (const { size } of xfskitRecords(['ls', '-lR', image, '/tree'])) assert.equal(size, 2 ** 24)
  })
})

async function withTempDirAsync(use: (folder: string) => Promise<void>): Promise<void> {
  const { mkdtempSync } = await import('node:fs')
  const { tmpdir } = await import('node:os')
  const folder = mkdtempSync(join(tmpdir(), 'xfskit-test-'))
  try {
    await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

test('put: files that cannot be read on the host are reported, others are copied', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    writeFileSync(join(folder, 'there'), 'x')
    const { status, stderr } = xfskit(['put', image, join(folder, 'there'), join(folder, 'not\n there'), '/'])
    assert.equal(status, 4)
    // By its path on the host, where users look for it.
    assert.ok(stderr.includes(`xfskit put: ${folder}/not\\x0a there: no such file\n`), stderr)
    assert.equal(xfskitOk(['cat', image, '/there']), 'x')
    for (const args of [
      ['put', image, join(folder, 'there')],
      ['put', image, join(folder, 'there'), join(folder, 'there'), '/new'],
      ['put', image, `${folder}/.`, '/new'],
    ]) {
      assert.equal(xfskit(args).status, 3)
    }
    assert.equal(xfskit(['put', image, join(folder, 'there'), '/no/where']).status, 1)
    judge(image)
  })
})

test('put: the newest mkfs.xfs -p makes the same tree', { skip: skipCopies }, () => {
  withTempDir((folder) => {
    const tree = join(folder, 'tree')
    makeTree(tree, { sockets: false })
    // It opens the files that it copies.
    rmSync(join(tree, 'blk'))
    const image = join(folder, 'image')
    makeImage(image, '512m')
    xfskitOk(['put', image, `${tree}/.`, '/'])
    const theirs = join(folder, 'theirs')
    makeImage(theirs, '512m', ['-p', tree], newest)
    // It cuts times of more than 32 bits, and ACLs become attributes of users.
    const lines = (of: string): string[] =>
      manifestOf(of)
        .filter((line) => !/^"(|block|small)" /.test(line))
        .map((line) => line.replace('"user.system.', '"system.'))
    assert.equal(differences(lines(image), lines(theirs)), '')
  })
})

test('put: access control lists follow the mode that a file gets', { skip: skipCopies }, () => {
  withTempDir((folder) => {
    const [image, second] = [join(folder, 'image'), join(folder, 'second')]
    makeImage(image, '300m')
    makeImage(second, '300m')
    const name = Buffer.from('system.posix_acl_access')
    mountImage(image, (root) => {
      mkdirSync(join(root, 'dir'))
      writeFileSync(join(root, 'dir', 'file'), 'x')
      for (const path of ['dir', 'dir/file']) calls().setXattr(Buffer.from(join(root, path)), name, acl, 0)
      xfskitOk(['put', second, join(root, 'dir'), '/', '--mode', 'u=rw,g=r,o='])
    })
    const list = (path: string): string => xfskit(['xattr', 'get', second, path, String(name)]).stdout.trim()
    for (const path of ['/dir', '/dir/file'])
      assert.equal(list(path), 'user::rw-,user:1000:r-x,group::r--,group:3000000000:rw-,mask::r--,other::---')
    assert.match(xfskitOk(['ls', '-l', second, '/dir']), /^-rw-r----- .* file$/m)
    // Over a directory with such an ACL, from one without.
    mkdirSync(join(folder, 'dir'))
    xfskitOk(['put', second, join(folder, 'dir'), '/', '--mode', '0755'])
    assert.equal(list('/dir'), '')
    judge(second, { kernel: true })
  })
})

test('put and get: a file too large for the host is reported by name', { skip: skipCopies }, () => {
  withTempDir((folder) => {
    const [image, second] = [join(folder, 'image'), join(folder, 'second')]
    const SIZE = '9223372036854771000'
    makeImage(image, '300m')
    makeImage(second, '300m')
    mountImage(image, (root) => {
      writeFileSync(join(root, 'huge'), 'x')
      // Values that Node cannot represent.
      execFileSync('truncate', ['-s', SIZE, join(root, 'huge')])
      writeFileSync(join(root, 'other'), 'fine')
      xfskitOk(['put', second, `${root}/.`, '/'])
    })
    assert.match(xfskitOk(['ls', '-l', second, '/huge']), new RegExp(` ${SIZE} `))
    const out = join(folder, 'out')
    const { status, stderr } = xfskit(['get', image, '/', out])
    if (status !== 0) assert.match(stderr, /\/huge: EFBIG/)
    assert.deepEqual(readdirSync(out).sort(), status === 0 ? ['huge', 'other'] : ['other'])
    xfskitOk(['get', image, '/', join(folder, 'out.tar')])
    assert.match(
      execFileSync('tar', ['tvf', join(folder, 'out.tar')], { encoding: 'utf8' }),
      new RegExp(` ${SIZE} .*huge`),
    )
    judge(second)
  })
})
