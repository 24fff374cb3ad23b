import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, statSync, symlinkSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readFile } from '../../src/data/data.ts'
import { openFile as openDevice } from '../../src/device/file.ts'
import { ioSession, type OpenFlags, openFile } from '../../src/io/io.ts'
import { createFile, mkdir, symlink } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { Volume } from '../../src/volume.ts'
import { xfskit } from '../support/cli.ts'
import { checkFindings, makeImage, mountImage, newest, repairComplaints, skip } from '../support/oracles.ts'
import { type Random, random } from '../support/random.ts'
import { withTempDir } from '../support/temp.ts'
import { type Script, scripts } from './scripts.ts'

interface Ran {
  readonly out: string
  readonly error: string
  readonly status: number
}

/** Run the real xfs_io. */
function theirs(root: string, { options = [], files = [], commands }: Script): Ran {
  const args = [...options, ...commands.flatMap((command) => ['-c', command]), ...files]
  const { stdout, stderr, status } = spawnSync(newest.io, args, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 26 })
  return { out: stdout, error: stderr, status: status ?? -1 }
}

const FLAGS: Readonly<Record<string, keyof OpenFlags>> = {
  '-f': 'create',
  '-r': 'readOnly',
  '-a': 'append',
  '-t': 'truncate',
  '-L': 'noFollow',
}

function ours(volume: Volume, { options = [], files = [], commands }: Script): Ran {
  let out = ''
  let error = ''
  const session = ioSession({ volume, out: (text) => (out += text), error: (text) => (error += text) })
  const flags = Object.fromEntries(options.map((option) => [FLAGS[option], true])) as OpenFlags
  for (const file of files) if (!openFile(session, file, flags)) return { out, error, status: 1 }
  for (const command of commands) if (session.run(command, true)) break
  return { out, error, status: session.exitCode }
}

/** Remove times, places on the device, and values that only a mounted filesystem has. */
const neutral = ({ out, error, status }: Ran): Ran => ({
  out: out
    .replace(/; [\d.:]+( sec)? \(.*\)$/gm, '; TIME')
    .replace(/^(stat\.(?:[abcm]time.*?|dev_major|dev_minor|mnt_id)) = .*$/gm, '$1 = X')
    // Blocks that copy-on-write has reserved past the written ones.
    .replace(
      /^stat\.blocks = .*$([\s\S]*?)nextents = \d+$([\s\S]*?miniosz = 4096)$/gm,
      'stat.blocks = N$1nextents = N$2',
    )
    .replace(/^(stat\.ino|statfs\.f_(?:bavail|files|ffree)|counts\.(?:freedata|freeino|allocino)) = .*$/gm, '$1 = N')
    .replace(/^\d{3,}(:32)?$/gm, 'INODE$1'),
  error,
  status,
})

const FOLDER = ['d', 'd/sub']
const CONTENT = 'some bytes\n'

test('commands do and print what xfs_io does', { skip: skip.kernel || skip.newest }, () => {
  withTempDir((folder) => {
    const [image, twin] = [join(folder, 'image'), join(folder, 'twin')]
    makeImage(image, '300m')
    makeImage(twin, '300m')
    const volume = Volume.open(openDevice(image, 'rw'), { write: true })
    for (const path of FOLDER) mkdir(volume, path, 0o755)
    createFile(volume, 'd/file', 0o644)
    symlink(volume, 'a', 'sl')
    mountImage(twin, (root) => {
      for (const path of FOLDER) mkdirSync(join(root, path))
      writeFileSync(join(root, 'd/file'), '')
      symlinkSync('a', join(root, 'sl'))
      for (const script of scripts) {
        const expected = neutral(theirs(root, script))
        const found = neutral(ours(volume, script))
        assert.deepEqual(found, expected, JSON.stringify(script))
      }
      for (const file of ['a', 'b', 'c', 's', 's2', 'r', 'v', 'x', 'f', 'ap']) {
        const { size } = statSync(join(root, file))
        const mine = resolve(volume, file)
        assert.equal(mine.size, size, `size of ${file}`)
        if (size < 2 ** 28) assert.ok(readFileSync(join(root, file)).equals(readFile(mine)), `bytes of ${file}`)
      }
    })
    volume.close()
    assert.deepEqual(checkFindings(image), [])
    assert.equal(repairComplaints(image), undefined)
  })
})

const LONG = process.env['XFSKIT_LONG'] === '1'
const SEQUENCES = LONG ? 60 : 4
const COMMANDS = 25
const FILES = ['a', 'b', 'c', 'd', 'e']
const B = 4096

/** A command with aligned and unaligned offsets and lengths, in holes, at EOF and past it. */
function drawCommand(r: Random): string {
  const block = (): number => r.int(40) * B
  const at = (): number =>
    r.int(5) < 3 ? block() : r.chance(0.5) ? block() + r.int(B) : r.pick([0, 1, B - 1, B, 60 * B, 100 * B])
  const length = (): number => r.pick([0, 1, B, 2 * B, (1 + r.int(9)) * B, 1 + r.int(8 * B), 50 * B])
  const file = r.pick(FILES)
  return r.pick([
    `pwrite -S ${r.int(256)} ${at()} ${length()}`, `pwrite -S ${r.int(256)} ${at()} ${length()}`, `pread -v ${at()} 64`, `truncate ${at()}`,
    `falloc ${at()} ${length()}`, `falloc -k ${at()} ${length()}`, `fpunch ${at()} ${length()}`, `fzero ${at()} ${length()}`,
    `fzero -k ${at()} ${length()}`, `fcollapse ${at()} ${length()}`, `fcollapse ${block()} ${B}`, `finsert ${at()} ${length()}`,
    `reflink ${file}`, `reflink ${file} ${at()} ${at()} ${length()}`, `reflink ${file} ${block()} ${block()} ${length()}`,
    `dedupe ${file} ${at()} ${at()} ${length()}`, `dedupe ${file} ${block()} ${block()} ${length()}`, `funshare ${at()} ${length()}`,
    `copy_range ${file}`, `copy_range -s ${at()} -d ${at()} -l ${length()} ${file}`, 'stat', 'lsattr', `cowextsize ${r.pick([0, B, 4 * B])}`, 'cowextsize',
  ]) // biome-ignore format: a list
}

/** The output of `fiemap -v` without places, with equal runs merged. */
function layout({ out }: Ran): string {
  const runs: { start: number; end: number; flags: number }[] = []
  for (const [, from, to, place, flags] of out.matchAll(/\[(\d+)\.\.(\d+)\]: +(\S+) +\d+(?: +0x(\w+))?$/gm)) {
    const [start, end] = [Number(from), Number(to) + 1]
    const kind = Number.parseInt(flags ?? '0', 16) & 0x2800
    const last = runs.at(-1)
    if (place === 'hole') continue
    if (last && last.end === start && last.flags === kind) last.end = end
    else runs.push({ start, end, flags: kind })
  }
  return runs.map(({ start, end, flags }) => `${start}..${end} ${flags}`).join(', ')
}

/**
 * The kernel also delays clearing the reflink flag while a file has dirty pages. Direct I/O of
 * files with the flag is block by block.
 */
const looser = (ran: Ran): Ran => {
  const { out, ...rest } = neutral(ran)
  return { out: out.replace(/^(stat\.blocks|fsxattr\.nextents|dioattr\.m..iosz) = .*$/gm, '$1 = N'), ...rest }
}

test('random commands have the output and results of xfs_io', { skip: skip.kernel || skip.newest }, () => {
  withTempDir((folder) => {
    const [image, twin] = [join(folder, 'image'), join(folder, 'twin')]
    makeImage(image, '300m')
    makeImage(twin, '300m')
    const volume = Volume.open(openDevice(image, 'rw'), { write: true })
    mountImage(
      twin,
      (root) => {
        const r = random(11)
        const both = (script: Script): void =>
          assert.deepEqual(looser(ours(volume, script)), looser(theirs(root, script)), JSON.stringify(script))
        for (const file of FILES) both({ options: ['-f'], files: [file], commands: ['truncate 0'] })
        for (let i = 0; i < SEQUENCES; i++) {
          // Data that is not written back yet has no blocks.
          const commands = Array.from({ length: COMMANDS }, () => ['fsync', drawCommand(r)]).flat()
          both({ files: [r.pick(FILES)], commands })
          theirs(root, { files: ['.'], commands: ['syncfs'] })
          for (const file of FILES) {
            const look = { options: ['-r'], files: [file], commands: ['fiemap -v'] }
            const what = `${file} after ${commands.join('; ')}`
            assert.equal(layout(ours(volume, look)), layout(theirs(root, look)), what)
            assert.ok(readFileSync(join(root, file)).equals(readFile(resolve(volume, file))), what)
          }
        }
      },
      { options: 'allocsize=4k' },
    )
    volume.close()
    assert.deepEqual(checkFindings(image), [])
    assert.equal(repairComplaints(image), undefined)
  })
})

const MAPS = [
  'bmap', 'bmap -v', 'bmap -vv', 'bmap -p', 'bmap -vp', 'bmap -vvp', 'bmap -l', 'bmap -e', 'bmap -ev', 'bmap -n 2', 'bmap -a', 'bmap -av', 'bmap -c', 'bmap -elpv',
  'fiemap', 'fiemap -v', 'fiemap -l', 'fiemap -a', 'fiemap -av', 'fiemap 8k', 'fiemap -v 8k 8k', 'fiemap 5000 3000', 'fiemap -v 100m', 'stat', 'stat -v', 'lsattr',
  'seek -a -r 0', 'pread -v 0 64', 'inode', 'fiemap 9223372036854771712 10', 'fiemap 0 9223372036854771712', 'pread -v 9223372036854775800 7', 'fiemap -n 1', 'fiemap -v',
] // biome-ignore format: a list
const OF_ALL = ['fsmap', 'fsmap -v', 'fsmap -m', 'fsmap -d 0 100', 'fsmap -d 50 60', 'fsmap -d 1000', 'fsmap -l', 'fsmap -r', 'fsmap 0', 'fsmap -m -v', 'statfs -g'] // biome-ignore format: a list

/** Files of all kinds, created by the kernel. */
function fill(root: string): string[] {
  const io = (file: string, ...commands: string[]): void =>
    void theirs(root, { options: ['-f'], files: [file], commands })
  mkdirSync(join(root, 'dir'))
  for (let i = 0; i < 40; i++) writeFileSync(join(root, 'dir', `name ${i}`), CONTENT)
  io('empty')
  io('hole', 'truncate 1m')
  io('data', 'pwrite 0 100k')
  io('mixed', 'truncate 1m', 'pwrite 8k 4k', 'falloc 64k 64k', 'falloc -k 2m 64k')
  io('shared', 'pwrite 0 64k')
  io('clone', 'reflink shared 0 16k 64k', 'pwrite 24k 4k', 'pwrite 40k 4k')
  io('clone2', 'reflink clone')
  io('hint', 'extsize 64k', 'pwrite 0 1')
  io('many', ...Array.from({ length: 60 }, (_, i) => `pwrite ${i * 8192} 4k`))
  io('manyshared', 'reflink many')
  io('max', 'pwrite 9223372036854771712 4095')
  io('far', 'pwrite -S 1 9223372036854775806 1', 'pwrite 4611686018427387904 4k')
  io('farclone', 'reflink max')
  // More records than xfs_io prints with one set of column widths.
  const scattered = openSync(join(root, 'scattered'), 'w')
  for (let i = 0; i < 1500; i++) writeSync(scattered, CONTENT, i * 16384)
  closeSync(scattered)
  spawnSync('setfattr', ['-n', 'user.long', '-v', 'x'.repeat(3000), join(root, 'data')])
  theirs(root, { files: ['.'], commands: ['syncfs'] })
  return [
    'empty',
    'hole',
    'data',
    'mixed',
    'shared',
    'clone',
    'clone2',
    'hint',
    'many',
    'manyshared',
    'max',
    'far',
    'farclone',
    'scattered',
    'dir',
  ]
}

for (const { name, args } of [
  { name: 'default', args: [] },
  { name: '1k blocks', args: ['-b', 'size=1024'] },
  { name: 'stripes', args: ['-d', 'sunit=64,swidth=256'] },
  { name: 'without rmapbt', args: ['-m', 'rmapbt=0'] },
]) {
  test(`maps are those that xfs_io prints: ${name}`, { skip: skip.kernel || skip.newest }, () => {
    withTempDir((folder) => {
      const image = join(folder, 'image')
      makeImage(image, '300m', args)
      const files = mountImage(image, fill)
      const whole = { options: ['-r'], files: ['.'], commands: OF_ALL }
      const each = files.map((file) => ({ options: ['-r'], files: [file], commands: MAPS }))
      const expected = mountImage(image, (root) => [whole, ...each].map((script) => theirs(root, script)), {
        options: 'ro',
      })
      const volume = Volume.open(openDevice(image, 'r'))
      for (const [i, script] of [whole, ...each].entries()) {
        const { out, error, status } = ours(volume, script)
        const wanted = expected[i] as Ran
        assert.deepEqual(
          { out: timeless(out).split('\n'), error, status },
          { out: timeless(wanted.out).split('\n'), error: wanted.error, status: wanted.status },
          String(script.files),
        )
      }
      volume.close()
    })
  })
}

/** Remove rates and the number of the loop device. */
const timeless = (text: string): string =>
  text
    .replace(/; [\d.:]+( sec)? \(.*\)$/gm, '; TIME')
    .replace(/^(\s*\d+: )7:\d+/gm, '$10:0')
    .replace(/^(\d+),7,\d+,/gm, '$1,0,0,')

test('xfskit io: options, scripts on standard input, exit status', { skip: skip.newest }, () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    const host = join(folder, 'host')
    makeImage(image, '300m')
    writeFileSync(host, CONTENT)
    const made = xfskit(['io', '-f', image, '/a', '-c', `pwrite -i ${host} 0 11`, '-c', 'pread -v 0 11'])
    assert.equal(made.stderr, '')
    assert.match(
      made.stdout,
      /^wrote 11\/11 bytes at offset 0\n[\s\S]*\n00000000: {2}73 6f 6d 65 20 62 79 74 65 73 0a {2}some\.bytes\.\n/,
    )
    const script = xfskit(['io', image], { input: 'open -f /b\nreflink /a\nstat\nnosuch\nclose\nquit\nstat\n' })
    assert.match(script.stdout, /stat\.size = 11\n/)
    assert.equal(script.stderr, 'command "nosuch" not found\n')
    assert.equal(script.status, 0)
    assert.equal(xfskit(['io', image, '/nosuch', '-c', 'stat']).status, 1)
    assert.equal(xfskit(['io', '-r', image, '/a', '-c', 'pwrite 0 1']).stderr, 'pwrite: Bad file descriptor\n')
    assert.equal(xfskit(['io']).status, 3)
    assert.match(xfskit(['io', '--dry-run', image, '/a', '-c', 'truncate 0']).stdout, /would write/)
    assert.match(xfskit(['io', image, '/a', '-c', 'stat']).stdout, /stat\.size = 11\n/)
    assert.equal(repairComplaints(image), undefined)
  })
})
