import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { symlinkSync, truncateSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { program, xfskit } from '../support/cli.ts'
import { mountImage, newest, skip } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'

const folder = tempDir()
const image = join(folder, 'disk.img')

const deviceAt = (mounted: string): string =>
  execFileSync('findmnt', ['-n', '-o', 'SOURCE', mounted], { encoding: 'utf8' }).trim()

test('what cannot be said of a mounted filesystem is not said', { skip: skip.kernel }, () => {
  mkfsFile(image, { size: 64 * 2 ** 20 })
  mountImage(image, (mounted) => {
    for (const path of [deviceAt(mounted), image]) {
      const check = xfskit(['check', path])
      assert.equal(check.status, 3, check.stdout)
      assert.match(check.stderr, /contains a mounted and writable filesystem/)
      const repair = xfskit(['repair', '-n', path])
      assert.equal(repair.status, 1, repair.stdout)
      assert.match(repair.stderr, /contains a mounted and writable filesystem/)
      for (const letters of [[], ['-x'], ['-F']]) {
        const db = xfskit(['db', ...letters, '-c', 'sb 0', '-c', 'p agcount', path])
        assert.equal(db.status, 1, db.stdout)
        assert.match(db.stderr, /^xfs_db: .* contains a mounted filesystem/)
      }
      for (const letters of ['-r', '-i', '-f'])
        assert.equal(xfskit(['db', letters, '-c', 'sb 0', '-c', 'p agcount', path]).stdout, 'agcount = 4\n')
    }
  })
  mountImage(
    image,
    (mounted) => {
      const device = deviceAt(mounted)
      assert.equal(xfskit(['check', device]).status, 0)
      assert.equal(xfskit(['repair', '-n', device]).status, 0)
      assert.equal(xfskit(['db', '-c', 'sb 0', device]).status, 1)
    },
    { options: 'ro' },
  )
})

test("info of a mounted filesystem prints the kernel's values, also after it has grown", { skip: skip.kernel }, () => {
  const image = join(folder, 'grown.img')
  mkfsFile(image, { size: 64 * 2 ** 20 })
  truncateSync(image, 96 * 2 ** 20)
  mountImage(image, (mounted) => {
    const device = deviceAt(mounted)
    execFileSync(join(dirname(newest.repair), 'xfs_growfs'), [mounted], { stdio: 'ignore' })
    const expected = execFileSync(join(dirname(newest.repair), 'xfs_info'), [mounted], { encoding: 'utf8' })
    assert.match(expected, /agcount=6,/)
    for (const path of [mounted, `${mounted}/.`, device, image]) {
      const { status, stdout, stderr } = xfskit(['info', path])
      assert.deepEqual([status, stdout, stderr], [0, expected, ''])
    }
    const { from, features, superblock } = JSON.parse(xfskit(['info', '--json', mounted]).stdout)
    assert.equal(from, 'kernel')
    assert.equal(superblock.dblocks, (96 * 2 ** 20) / 4096)
    assert.ok(features.includes('reflink'))
  })
})

test('a script of db fails where a command of it is not there; under the name of xfs_db as that', () => {
  const image = join(folder, 'script.img')
  mkfsFile(image, { size: 64 * 2 ** 20 })
  for (const words of ['frob', 'sb 0 1', 'push frob', 'help frob'])
    assert.equal(xfskit(['db', '-c', words, '-c', 'sb 0', image]).status, 1, words)
  assert.equal(xfskit(['db', image], { input: 'frob\nsb 0\n' }).status, 1)
  assert.equal(xfskit(['db', '-c', 'sb 0', '-c', 'p agcount', image]).status, 0)
  const link = join(folder, 'xfs_db')
  symlinkSync(program(), link)
  assert.equal(spawnSync(process.execPath, [link, '-c', 'frob', image]).status, 0)
})
