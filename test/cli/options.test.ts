import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { program, xfskit, xfskitOk } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { tempDir } from '../support/temp.ts'

const folder = tempDir()
const at = (...names: string[]): string => join(folder, ...names)

test('what is wrong with a command line is said in its own words', () => {
  const cases: readonly (readonly [words: readonly string[], message: string])[] = [
    [['info'], 'missing operand: IMAGE'],
    [['repair'], 'missing operand: IMAGE'],
    [['repair', '-V', 'a.img'], '-V is not supported yet'],
    [['repair', '-c', 'bigtime=1', 'a.img'], '-c is not supported yet'],
    [['repair', '-o', 'frob', 'a.img'], 'unknown option -o frob'],
    [['repair', '-o', 'noquota,bhash', 'a.img'], '-o bhash needs a value'],
    [['repair', '-o', 'ag_stride=x', '-o', 'noquota', 'a.img'], '-o ag_stride: not a number'],
    [['repair', '-oforce_geometry=1', 'a.img'], '-o force_geometry takes no value'],
    [['repair', '-n', '-e', 'a.img'], '--exit-status and --dry-run exclude each other'],
    [['info', '-a', 'a.img'], 'unknown option -a'],
    [['ls', '-la', 'a.img'], 'unknown option -a'],
    [['info', '--frob-nicate=5', 'a.img'], 'unknown option --frob-nicate'],
    [['info', '--image', 'a.img'], 'unknown option --image'],
    [['info', '--no-offset', 'a.img'], 'unknown option --no-offset'],
    [['fsr', '-v', 'a.img'], '-v is not supported yet'],
    [['find'], 'missing operand: IMAGE'],
    [['find', '--', 'a.img'], 'a.img: no such file'],
    [['ls', '--long=yes', 'a.img'], '--long takes no value'],
    [['ls', '--', 'a.img', '-l'], 'a.img: no such file'],
    [['chmod', 'a.img', '-x'], 'missing operand: PATHS'],
    [['info', 'a.img', 'b.img'], 'unexpected operand: b.img'],
    [['info', '--offset'], '--offset needs a value'],
    [['info', '--offset', '1', '--partition', '1', 'a.img'], '--offset and --partition exclude each other'],
    [['du', '--depth', 'x', 'a.img'], '--depth: not a number of 0 or more: x'],
    [['tree', '--depth', '-1', 'a.img'], ''],
    [['info', '--partition', 'root', 'a.img'], '--partition: not a number of 1 or more: root'],
    [['xattr', 'frob', 'a.img', '/'], 'action: frob: not one of '],
  ]
  for (const [words, message] of cases) {
    const { status, stdout, stderr } = xfskit([...words])
    // As with xfs_repair, which has no other status.
    assert.equal(status, words[0] === 'repair' ? 1 : 3, `${words.join(' ')}: ${stderr}`)
    assert.equal(stdout, '')
    assert.match(stderr, /^[^\n]+\n$/)
    assert.ok(stderr.includes(message), `${words.join(' ')}: ${stderr}`)
    assert.doesNotMatch(stderr, /non-option|Unknown arg|Invalid values|mutually|NaN|unexpected:/)
  }
})

test('-- ends options, modes and sizes may begin with -, quotes belong to names, global options may precede the command', () => {
  const image = at('words.img')
  mkfsFile(image, { size: 64 * 2 ** 20 })
  const odd = ['-n', '--help', '-10', '"q"', "'q'", '-', "-'"]
  mkdirSync(at('odd'))
  for (const name of odd) writeFileSync(at('odd', name), name)
  xfskitOk(['put', image, '--no-tar', '--', ...odd, '/'], { cwd: at('odd') })
  assert.equal(xfskitOk(['cat', image, '--', ...odd]), odd.join(''))
  assert.deepEqual(xfskitOk(['ls', '--', image, '/']).trimEnd().split('\n').sort(), [...odd].sort())
  xfskitOk(['chmod', image, '0755', '--', '-n'])
  xfskitOk(['chmod', image, '-x', '/-n'])
  xfskitOk(['chmod', image, '--', '-w', '/-n'])
  assert.match(xfskitOk(['ls', '-l', image, '/-n']), /^-r--r--r-- /m)
  xfskitOk(['truncate', image, '--', '-1', '/-10'])
  xfskitOk(['truncate', image, '-1', '/-10'])
  assert.equal(xfskitOk(['cat', image, '/-10']), '-')
  // The last value of an option counts, even with many operands.
  xfskitOk(['mkdir', '-m', '0700', '--mode=0711', image, '/d'])
  assert.match(xfskitOk(['ls', '-ld', image, '/d']), /^drwx--x--x /m)
  assert.equal(xfskitOk(['find', image, '/', '-name', '--help']), '/--help\n')
  assert.equal(JSON.parse(xfskitOk(['--no-color', '--json', 'info', image])).schema !== undefined, true)
  judge(image)
})

test('repair takes the options of xfs_repair; none of them names an output', () => {
  const image = at('repair.img')
  mkfsFile(image, { size: 64 * 2 ** 20 })
  xfskitOk(['db', '-x', '-c', 'agf 1', '-c', 'write -d freeblks 7', image])
  xfskitOk(['repair', '-P', '-v', '-m', '2048', '-t10', '-o', 'force_geometry', '-o', 'bhash=512,noquota', '-f', image])
  judge(image)
  assert.ok(!existsSync('force_geometry'))
})

test('-h is what the tool of that name means by it, else help', () => {
  const image = at('human.img')
  mkfsFile(image, { size: 64 * 2 ** 20 })
  writeFileSync(at('large'), Buffer.alloc(3 * 2 ** 20, 1))
  xfskitOk(['put', image, at('large'), '/'])
  assert.match(xfskitOk(['ls', '-lh', image, '/large']), / 3\.0M /)
  assert.match(xfskitOk(['du', '-h', image, '/large']), / 3\.0M /)
  for (const words of [
    ['ls', '--help'],
    ['info', '-h'],
    ['cat', image, '-h'],
  ])
    assert.match(xfskitOk(words), /Examples:/)
})

test('an archive that cannot be unpacked or written is refused by its compression; - is standard input and output', () => {
  const image = at('disk.img')
  mkfsFile(image, { size: 64 * 2 ** 20 })
  mkdirSync(at('tree'))
  writeFileSync(at('tree', 'file'), 'content')
  xfskitOk(['put', image, at('tree'), '/'])
  const before = xfskitOk(['ls', image, '/'])
  const archives: readonly (readonly [name: string, head: readonly number[], command: string])[] = [
    ['a.tar.zst', [0x28, 0xb5, 0x2f, 0xfd, 0], 'zstd'],
    ['a.tar.xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a], 'xz'],
    ['a.txz', [0xfd, 0x37, 0x7a, 0x58, 0x5a], 'xz'],
    ['a.tar.bz2', [0x42, 0x5a, 0x68, 0x39, 0x31], 'bzip2'],
    ['a.tar.lz4', [0x04, 0x22, 0x4d, 0x18, 0x64], 'lz4'],
  ]
  for (const [name, head, command] of archives) {
    writeFileSync(at(name), Buffer.from(head))
    const put = xfskit(['put', image, at(name), '/'])
    assert.notEqual(put.status, 0, name)
    assert.ok(put.stderr.includes(`compressed with ${command}`), put.stderr)
    const get = xfskit(['get', image, '/tree', at(`out.${name}`)])
    assert.equal(get.status, 3, name)
    assert.ok(get.stderr.includes(`compression with ${command} is not supported`), get.stderr)
    assert.ok(!existsSync(at(`out.${name}`)), name)
  }
  assert.equal(xfskitOk(['ls', image, '/']), before)
  // Files next to an archive may have names that begin with its name.
  writeFileSync(at('a.tar.sha256'), 'sum')
  xfskitOk(['put', image, at('a.tar.sha256'), '/sum'])
  assert.equal(xfskitOk(['cat', image, '/sum']), 'sum')
  const archive = spawnSync(process.execPath, [program(), 'get', image, '/tree', '-'], { cwd: folder })
  assert.equal(archive.status, 0, String(archive.stderr))
  assert.equal(archive.stdout.toString('latin1', 257, 262), 'ustar')
  assert.ok(!existsSync(at('-')))
  xfskitOk(['mkdir', image, '/in'])
  const put = spawnSync(process.execPath, [program(), 'put', image, '-', '/in'], { cwd: folder, input: archive.stdout })
  assert.equal(put.status, 0, String(put.stderr))
  assert.equal(xfskitOk(['cat', image, '/in/tree/file']), 'content')
  judge(image)
})
