import assert from 'node:assert/strict'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { replaceEntry } from '../../src/dir/dir.ts'
import { openInode } from '../../src/inode/inode.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { xfskit, xfskitOk } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { tempDir } from '../support/temp.ts'

const folder = tempDir()
const sound = join(folder, 'sound')
xfskitOk(['mkfs', '--size', '300m', sound])
xfskitOk(['mkdir', '-p', sound, '/home/user', '/work/dir', '/work/z'])
xfskitOk(['touch', sound, '/home/user/file', '/work/a', '/work/b', '/work/z/file'])

/** An image in which the entry /work/dir may refer to another directory. */
function image(leadsTo: string | undefined): string {
  const path = join(folder, 'image')
  copyFileSync(sound, path)
  if (leadsTo === undefined) return path
  const volume = Volume.open(openFile(path, 'rw'), { write: true })
  const { ino } = resolve(volume, leadsTo)
  withTransaction(volume, (tx) => {
    const dir = openInode(volume, resolve(volume, '/work').ino, tx)
    replaceEntry(tx, dir, Buffer.from('dir'), ino, 2)
  })
  volume.close()
  return path
}

for (const leadsTo of ['/work', '/', '/home', '/work/z']) {
  test(`rm -r: an entry for the directory ${leadsTo}, which is elsewhere: nothing is removed`, () => {
    const path = image(leadsTo)
    const everything = xfskit(['ls', '-lR', path, '/home', '/work/a', '/work/b', '/work/z'])
    const { status, stderr } = xfskit(['rm', '-rf', path, '/work'])
    assert.match(stderr, /directory \d+ is in two places/)
    assert.equal(status, 1)
    assert.deepEqual(xfskit(['ls', '-lR', path, '/home', '/work/a', '/work/b', '/work/z']), everything)
    assert.equal(everything.status, 0)
  })
}

test('rm -r: a tree', () => {
  const path = image(undefined)
  xfskitOk(['rm', '-r', path, '/work'])
  assert.equal(xfskitOk(['ls', path]), 'home\n')
  judge(path)
})
