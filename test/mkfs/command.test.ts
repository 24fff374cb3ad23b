import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import command from '../../src/cli/commands/mkfs.ts'
import { Output } from '../../src/cli/output.ts'
import { readFile } from '../../src/data/data.ts'
import { openFile } from '../../src/device/file.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { Volume } from '../../src/volume.ts'
import { xfskitOk } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { newest, repairComplaints, skip } from '../support/oracles.ts'
import { reference } from '../support/reference.ts'
import { tempDir, withTempDir } from '../support/temp.ts'
import { UUID } from './compare.ts'

interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

async function run(args: readonly string[], form: 'text' | 'json' = 'text'): Promise<Ran> {
  let stdout = ''
  let stderr = ''
  const sink = (text: string): void => {
    stdout += text
  }
  const errorSink = (text: string): void => {
    stderr += text
  }
  const out = new Output({ form, sink, errorSink })
  const status = (await command.raw(args, { out, color: false, commands: [] })) ?? 0
  out.flush()
  return { status, stdout, stderr }
}

test('the report of mkfs.xfs, also with -N; nothing with -q', async () => {
  const image = join(tempDir(), 'image')
  const theirs = reference(skip.newest === false, 'report of 1g', () =>
    execFileSync(newest.mkfs, ['-N', '-d', `file,name=${image},size=1g`], { encoding: 'utf8' }).replaceAll(
      image,
      'IMAGE',
    ),
  ).replaceAll('IMAGE', image)
  rmSync(image, { force: true }) // mkfs.xfs leaves an empty file
  const planned = await run(['-N', '--size', '1g', image])
  assert.deepEqual(planned, { status: 0, stdout: theirs, stderr: '' })
  assert.equal(existsSync(image), false)
  assert.equal((await run(['-Nq', '--size=1g', image])).stdout, theirs)
  assert.deepEqual(await run(['-q', '--size', '1g', image]), { status: 0, stdout: '', stderr: '' })
  assert.equal(statSync(image).size, 2 ** 30)
  assert.equal((await run(['-f', '-K', image])).stdout, theirs)
  assert.equal(repairComplaints(image), undefined)
})

test('options in all their spellings', async () => {
  const image = join(tempDir(), 'image')
  const { status, stdout, stderr } = await run([
    '-b', 'size=2k', '-m', `uuid=${UUID},reflink=0`, '-m', 'rmapbt=0', '-nparent=0', '-i', 'nrext64=0,exchange=0', '-d',
    'agcount=3,size=64m', image, '-Lname', '--',
  ]) // biome-ignore format: one command line
  assert.deepEqual([status, stderr], [0, ''])
  assert.match(stdout, /agcount=3, agsize=10923 blks/)
  assert.match(stdout, /finobt=1, sparse=1, rmapbt=0\n.*reflink=0 .*nrext64=0\n.*exchange=0 .*\n.*bsize=2048/)
  const bytes = readFileSync(image)
  assert.equal(bytes.subarray(32, 48).toString('hex'), UUID.replaceAll('-', ''))
  assert.equal(bytes.subarray(108, 112).toString(), 'name')
})

test('refusals: exit status 1, one clear message, the image untouched', async () => {
  const folder = tempDir()
  const image = join(folder, 'image')
  const content = Buffer.alloc(20 * 2 ** 20, 7)
  writeFileSync(image, content)
  const cases: readonly (readonly [args: readonly string[], message: RegExp])[] = [
    [[join(folder, 'none')], /none: No such file or directory/],
    [['-p', 'proto', image], /-p is not supported/],
    [['-r', 'size=1g', image], /-r is not supported/],
    [['-c', 'options=x', image], /-c is not supported/],
    [['-d', 'su=64k,sw=4', image], /-d su is not supported/],
    [['-l', 'logdev=/dev/x', image], /-l logdev is not supported/],
    [['-m', 'crc=0', image], /-m crc=0/],
    [['-m', 'metadir=1', image], /-m metadir=1 is not supported/],
    [['-m', 'uquota', image], /-m uquota is not supported/],
    [['-n', 'version=ci', image], /-n version=ci is not supported/],
    [['-m', 'nonsense=1', image], /unknown option -m nonsense=1/],
    [['-m', 'toString=1', image], /unknown option -m toString=1/],
    [['--from', join(folder, 'none'), image], /none: ENOENT/],
    [['--from', image, image], /--from .*image: not a directory/],
    [['-z', image], /invalid option -- 'z'/],
    [['-b', 'size=64k', image], /filesystem is too small/],
    [['-d', 'size=1m', image], /Invalid value 1m for -d size option. Value is too small./],
    [['--size', '1m', image], /too small, minimum 4096 blocks/],
    [['--size', '1q', image], /Invalid value 1q for --size option/],
    [['-L', 'a label that is too long', image], /Invalid value a label that is too long for -L option/],
    [[image, 'other'], /extra arguments/],
    [['-d', `name=${image}`, image], /-d name option respecified/],
    [['-d', 'file', image], /if -d file then/],
    [[], /No data device name specified\nusage: /],
  ]
  for (const [args, message] of cases) {
    const { status, stdout, stderr } = await run(args)
    assert.deepEqual([status, stdout], [1, ''], args.join(' '))
    assert.match(stderr, message)
  }
  assert.equal(readFileSync(image).equals(content), true)
})

test('an image that holds something needs -f', async () => {
  const image = join(tempDir(), 'image')
  await run(['-q', '--size', '20m', image])
  const before = readFileSync(image)
  for (const args of [[image], ['--size', '30m', image], ['-N', image]]) {
    const { status, stderr } = await run(args)
    assert.equal(status, 1)
    assert.equal(
      stderr,
      `xfskit mkfs: ${image} appears to contain an existing filesystem (xfs).\nxfskit mkfs: Use the -f option to force overwrite.\n`,
    )
  }
  assert.equal(readFileSync(image).equals(before), true)
  assert.equal((await run(['-f', '-q', '--size', '30m', image])).status, 0)
  assert.equal(statSync(image).size, 30 * 2 ** 20)
})

test('into a part of an image', async () => {
  const image = join(tempDir(), 'image')
  const size = 40 * 2 ** 20
  writeFileSync(image, Buffer.alloc(size, 7))
  const { status } = await run(['-q', '--offset', '1m', '--size', '32m', image])
  assert.equal(status, 0)
  const bytes = readFileSync(image)
  assert.equal(bytes.length, size)
  assert.equal(bytes.subarray(2 ** 20, 2 ** 20 + 4).toString(), 'XFSB')
  assert.equal(
    bytes.subarray(0, 2 ** 20).every((byte) => byte === 7),
    true,
  )
  assert.equal((await run(['--offset', '1m', '--size', '32m', image])).status, 1)
})

test('--from: filled from a directory, or from a tar archive', async () => {
  const folder = tempDir()
  const [tree, archive] = [join(folder, 'tree'), join(folder, 'tree.tar')]
  mkdirSync(join(tree, 'deep'), { recursive: true })
  writeFileSync(join(tree, 'deep', 'file'), 'content')
  execFileSync('tar', ['-cf', archive, '-C', tree, '.'])
  for (const [i, from] of [tree, archive].entries()) {
    const image = join(folder, `image${i}`)
    const { status, stdout, stderr } = await run(['--size', '32m', '--from', from, image])
    assert.deepEqual([status, stderr], [0, ''])
    assert.match(stdout, /^meta-data=.*\ncopied \d files?, 7 bytes\n$/s)
    judge(image)
    const volume = Volume.open(openFile(image, 'r'))
    const inode = resolve(volume, '/deep/file')
    assert.equal(Buffer.from(readFile(inode, 0, 7)).toString(), 'content')
    volume.close()
  }
  const plan = join(folder, 'plan')
  assert.equal((await run(['-N', '--size', '32m', '--from', tree, plan])).status, 0)
  assert.equal(existsSync(plan), false)
  const part = join(folder, 'part')
  writeFileSync(part, Buffer.alloc(40 * 2 ** 20, 7))
  const { stdout } = await run(['-q', '--offset', '1m', '--size', '32m', '--from', tree, part], 'json')
  assert.equal((JSON.parse(stdout) as { filled: { bytes: number } }).filled.bytes, 7)
  assert.equal((await run(['-q', '--size', '20m', '--from', tree, join(folder, 'quiet')])).stdout, '')
})

test('--json, --help, -V', async () => {
  const image = join(tempDir(), 'image')
  const { stdout } = await run(['--size', '20m', '-m', `uuid=${UUID}`, image], 'json')
  const parsed = JSON.parse(stdout) as { schema: string; superblock: { uuid: string; dblocks: number } }
  assert.deepEqual([parsed.schema, parsed.superblock.uuid, parsed.superblock.dblocks], ['xfskit.mkfs', UUID, 5120])
  assert.match((await run(['--help'])).stdout, /^usage: xfskit mkfs .*reflink=0\|1/s)
  assert.match((await run(['-V'])).stdout, /^xfskit mkfs version \d/)
})

test('--from twice with SOURCE_DATE_EPOCH: the same bytes, and the latest time that can be', () => {
  withTempDir((folder) => {
    const tree = join(folder, 'tree')
    mkdirSync(join(tree, 'dir'), { recursive: true })
    for (let i = 0; i < 300; i++) writeFileSync(join(tree, 'dir', `file ${i}`), `${i}`)
    writeFileSync(join(tree, 'large'), Buffer.alloc(2 ** 21, 7))
    const env = { SOURCE_DATE_EPOCH: '1700000000', DETERMINISTIC_SEED: '1' }
    const uuid = 'uuid=00112233-4455-6677-8899-aabbccddeeff'
    const made = ['a', 'b'].map((name, i) => {
      const image = join(folder, name)
      utimesSync(join(tree, 'large'), 1_600_000_000 + i, 1_600_000_000)
      xfskitOk(['mkfs', '-q', '--size', '64m', '-m', uuid, '--from', tree, image], { env })
      xfskitOk(['put', image, join(tree, 'large'), '/again'], { env })
      xfskitOk(['touch', '-d', '@99999999999999', image, '/large'], { env })
      return image
    })
    const [a, b] = made as [string, string]
    assert.ok(readFileSync(a).equals(readFileSync(b)))
    const { ctime, crtime, atime } = JSON.parse(xfskitOk(['stat', '--json', a, '/again']))
    for (const time of [ctime, crtime, atime]) assert.match(time, /^2023-11-14T22:13:20\./)
    // The last second of the kernel, 16299260424.
    assert.match(xfskitOk(['stat', '--json', a, '/large']), /"mtime": "2486-07-02T20:20:24/)
    judge(a)
  })
})

test('--from: what does not fit leaves nothing, and what is there stays', async () => {
  const folder = tempDir()
  const tree = join(folder, 'tree')
  mkdirSync(tree)
  writeFileSync(join(tree, 'small'), 'fits')
  writeFileSync(join(tree, 'large'), Buffer.alloc(40 * 2 ** 20, 1))
  const image = join(folder, 'image')
  const refused = await run(['--size', '32m', '--from', tree, image])
  assert.equal(refused.status, 1)
  assert.match(refused.stderr, /large: no space.*\n.*not all files fit: no filesystem was created/s)
  assert.deepEqual(readdirSync(folder).sort(), ['tree'])
  assert.match((await run(['--from', tree, image])).stderr, /image does not exist: --size sets its size/)
  writeFileSync(image, 'something else')
  assert.equal((await run(['-f', '--size', '32m', '--from', tree, image])).status, 1)
  assert.equal(readFileSync(image, 'utf8'), 'something else')
  assert.equal((await run(['-f', '--size', '128m', '--from', tree, image])).status, 0)
  assert.equal(statSync(image).size, 128 * 2 ** 20)
  judge(image)
  assert.deepEqual(readdirSync(folder).sort(), ['image', 'tree'])
})
