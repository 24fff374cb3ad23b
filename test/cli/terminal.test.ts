import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { createFile, openFile } from '../../src/device/file.ts'
import { XfsError } from '../../src/errors.ts'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { program, type Ran, xfskit, xfskitOk } from '../support/cli.ts'
import { tempDir } from '../support/temp.ts'

/**
 * Output to a terminal contains no control characters, and inputs that are not images are refused
 * without waiting for data.
 */

const HOSTILE = '\u001b[31m\u009b\u061c\u200b\u202e\u2066\ufeff\u{e0041}\u007f'
const folder = tempDir()
const image = join(folder, 'image')
const fifo = join(folder, `fifo${HOSTILE}`)
mkfsFile(image, { size: 64 * 2 ** 20 })
xfskitOk(['mkdir', image, `/dir${HOSTILE}`])
xfskitOk(['write', image, `/dir${HOSTILE}/=file${HOSTILE}`], { input: 'hello\n' })
const skipFifo = spawnSync('mkfifo', [fifo]).status === 0 ? false : 'no mkfifo here'

function assertHarmless({ stdout, stderr }: Ran, command: readonly string[]): void {
  for (const text of [stdout, stderr])
    assert.doesNotMatch(text.replaceAll(/\r?\n|\t/g, ''), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, command.join(' '))
}

/** `@` is replaced by the image, `%` by a file of it. */
const COMMANDS = [
  'info @', 'ls @ %', 'stat @ %', 'cat @ %', 'find @ %', 'du @ %', 'tree @ %', 'put @ % /', 'get @ % %', 'mkdir @ %', 'rm @ %', 'mv @ % %x',
  'ln @ % %x', 'chmod @ 600 %', 'chown @ 1 %', 'touch @ %', 'truncate @ -s 1 %', 'write @ %', 'xattr list @ %', 'mknod @ % p', 'lsattr @ %',
  'chattr @ +i %', 'fiemap @ %', 'reflink @ % %x', 'dedupe @ % %x', 'unshare @ %', 'fsr @ %', 'fsmap @', 'shares @ %', 'io -c stat @ %',
  'dump @ agf', 'db -c sb @', 'logprint @', 'check @', 'repair @', 'recover @', 'mkfs -f @',
] // biome-ignore format: a table

test('a fifo is refused as an image at once, by every command', { skip: skipFifo }, () => {
  for (const line of COMMANDS) {
    const words = line.split(' ').map((word) => (word === '@' ? fifo : word.replace('%', `/none${HOSTILE}`)))
    const ran = spawnSync(process.execPath, [program(), ...words], { encoding: 'utf8', input: '', timeout: 20_000 })
    assert.equal(ran.signal, null, line)
    assert.notEqual(ran.status, 0, line)
    assertHarmless(ran, words)
  }
})

test('neither a fifo nor a terminal or its like is opened as an image', { skip: skipFifo }, () => {
  for (const path of process.platform === 'linux' ? [fifo, '/dev/null', '/dev/zero', '/dev/tty'] : [fifo]) {
    if (!existsSync(path)) continue
    for (const open of [() => openFile(path, 'r'), () => openFile(path, 'rw'), () => createFile(path, 2 ** 20)])
      assert.throws(open, (error) => error instanceof XfsError && /not a file or block/.test(error.message))
  }
})

test('words of the command line and names of the image do nothing to a terminal', () => {
  const dir = `/dir${HOSTILE}`
  const commands = [
    [`nothing${HOSTILE}`], ['info', `/none${HOSTILE}`], ['ls', image, HOSTILE], ['cat', image, HOSTILE], ['ls', `--no${HOSTILE}`, image],
    ['ls', '-lR', image], ['ls', '--json', '-R', image], ['ls', '--csv', '-R', image], ['tree', image], ['find', image],
    ['du', '--csv', '-a', image], ['io', '-c', HOSTILE, image], ['db', '-c', HOSTILE, image], ['mkfs', '-d', HOSTILE, image],
    ['put', image, join(folder, HOSTILE), '/'], ['get', image, dir, join(folder, 'none', HOSTILE)], ['rm', image, dir],
  ] // biome-ignore format: a table
  for (const command of commands) assertHarmless(xfskit(command), command)
})

const skipFull = existsSync('/dev/full') ? false : 'no /dev/full here'

test('standard output that takes nothing is an error, not a bug', { skip: skipFull }, () => {
  const full = openSync('/dev/full', 'w')
  try {
    for (const words of [['info', image], ['--help'], ['ls', '--help'], ['ls', '-lR', image]]) {
      const { status, stderr } = spawnSync(process.execPath, [program(), ...words], {
        encoding: 'utf8',
        stdio: ['ignore', full, 'pipe'],
      })
      assert.equal(status, 3, words.join(' '))
      assert.match(stderr, /^xfskit[ a-z]*: cannot write standard output: .*no space left/i)
      assert.doesNotMatch(stderr, /bug of xfskit|\n.*\n/)
    }
  } finally {
    closeSync(full)
  }
})
