import assert from 'node:assert/strict'
import fs, { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { withImage } from '../../src/cli/open.ts'
import { Output } from '../../src/cli/output.ts'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { xfskit, xfskitOk } from '../support/cli.ts'
import { tempDir } from '../support/temp.ts'

const folder = tempDir()
const at = (name: string): string => join(folder, name)
const MIB = 2 ** 20

mkfsFile(at('xfs'), { size: 64 * MIB })
const filesystem = readFileSync(at('xfs'))

/** A disk with an MBR: partitions of 64 MiB from 1 MiB on, with or without XFS. */
function disk(name: string, holding: readonly boolean[]): string {
  const path = at(name)
  const mbr = Buffer.alloc(512)
  mbr.writeUInt16LE(0xaa55, 510)
  const fd = openSync(path, 'w')
  for (const [i, xfs] of holding.entries()) {
    const start = (1 + 64 * i) * MIB
    mbr[446 + 16 * i + 4] = 0x83
    mbr.writeUInt32LE(start / 512, 446 + 16 * i + 8)
    mbr.writeUInt32LE((64 * MIB) / 512, 446 + 16 * i + 12)
    if (xfs) writeSync(fd, filesystem, 0, filesystem.length, start)
  }
  writeSync(fd, mbr, 0, 512, 0)
  closeSync(fd)
  truncateSync(path, (2 + 64 * holding.length) * MIB)
  return path
}

test('the partition table is read once', async () => {
  const path = disk('counted', [true, false])
  const { readSync } = fs
  let tables = 0
  fs.readSync = ((fd: number, ...rest: [Uint8Array, number, number, number]) => {
    const [, , length, position] = rest
    if (position === 0 && length === 512) tables++
    return readSync(fd, ...rest)
  }) as typeof readSync
  syncBuiltinESMExports()
  try {
    const out = new Output({ form: 'text', sink: () => {}, errorSink: () => {} })
    const size = await withImage({ out }, path, 'read', {}, ({ geometry }) => geometry.sb.dblocks * geometry.blocksize)
    assert.deepEqual([size, tables], [64 * MIB, 1])
  } finally {
    fs.readSync = readSync
    syncBuiltinESMExports()
  }
})

test('the only partition with XFS is taken, and said; of several one has to be named', () => {
  const one = disk('one', [false, true])
  const { status, stdout, stderr } = xfskit(['ls', one])
  assert.deepEqual([status, stdout], [0, ''])
  assert.match(stderr, /^xfskit: .*one: partition 2, the only one that holds XFS\n$/)
  writeFileSync(at('file'), 'content')
  xfskitOk(['put', one, at('file'), '/'])
  xfskitOk(['chmod', '-o', at('copy'), one, '0600', '/file'])
  assert.equal(xfskitOk(['cat', '--partition', '2', one, '/file']), 'content')
  assert.match(xfskitOk(['ls', '-l', '--partition', '2', at('copy'), '/file']), /^-rw------- /m)
  for (const words of [
    ['check', one],
    ['repair', '-n', one],
    ['db', '-c', 'sb 0', one],
  ])
    xfskitOk(words)
  // A partitioned disk must not be overwritten.
  const mkfs = xfskit(['mkfs', one])
  assert.equal(mkfs.status, 1)
  assert.match(mkfs.stderr, /partition table/)
  const two = xfskit(['ls', disk('two', [true, true])])
  assert.equal(two.status, 3)
  assert.match(two.stderr, /partitions 1, 2 contain XFS: use --partition N to select one/)
  assert.match(xfskit(['ls', disk('none', [false])]).stderr, /no partition contains XFS/)
})

test('a file that is empty, short, or zeros; a filesystem at another place; a damaged primary superblock', () => {
  const of = (bytes: Uint8Array): string => {
    writeFileSync(at('what'), bytes)
    const { status, stderr } = xfskit(['info', at('what')])
    assert.equal(status, 3)
    assert.match(stderr, /^[^\n]+\n$/)
    return stderr
  }
  assert.match(of(Buffer.alloc(0)), /not an XFS image: it is empty/)
  assert.match(of(Buffer.alloc(100)), /not an XFS image: it has only 100 bytes/)
  assert.match(of(Buffer.alloc(MIB)), /not an XFS image: it contains only zeros/)
  const damaged = Buffer.from(filesystem)
  damaged.fill(0, 0, 512)
  writeFileSync(at('what'), damaged)
  const info = xfskit(['info', at('what')])
  assert.equal(info.status, 0)
  assert.match(
    info.stderr,
    /^[^\n]*: the primary superblock is damaged \(.*\): that of AG 1 is used, as 3 of 3 copies agree\n$/,
  )
  const mkdir = xfskit(['mkdir', at('what'), '/d'])
  assert.equal(mkdir.status, 3)
  assert.match(
    mkdir.stderr,
    /secondary superblock found at byte 16777216: the primary superblock is damaged; run xfskit repair/,
  )
  const shifted = Buffer.concat([Buffer.alloc(3 * 512, 1), filesystem])
  assert.match(of(shifted), /an XFS superblock was found 1536 bytes later \(use --offset\)/)
  assert.match(xfskit(['info', '--offset', '512', at('what')]).stderr, /was found 1024 bytes later/)
  xfskitOk(['info', '--offset', '1536', at('what')])
})
