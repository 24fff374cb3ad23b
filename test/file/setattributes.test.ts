import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type AttributeChanges, flagLetters, setAttributes, setAttributesIn } from '../../src/attr/setattr.ts'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import { writeFile } from '../../src/data/write.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { XfsError } from '../../src/errors.ts'
import { fixedClock } from '../../src/format/time.ts'
import { openInode } from '../../src/inode/inode.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile, mkdir, mknod, symlink } from '../../src/namespace/namespace.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'

/** Every flag and some hints for every type of file: what is refused changes nothing. */

const BLOCK = 4096
const HINT = 16 * BLOCK

test('flags and hints: a change is made as it was asked for, or refused; the inode stays sound', () => {
  const device = memoryDevice(64 * 2 ** 20)
  mkfs(device, { blocksize: BLOCK, features: {}, autofsck: 'none' })
  const open = (): Volume => Volume.open(device, { write: true, now: fixedClock(1_700_000_000, 0) })
  let volume = open()
  const inodes = {
    empty: createFile(volume, '/empty', 0o644),
    hinted: createFile(volume, '/hinted', 0o644),
    written: createFile(volume, '/written', 0o644),
    directory: mkdir(volume, '/directory', 0o755),
    heir: mkdir(volume, '/heir', 0o755),
    fifo: mknod(volume, '/fifo', 0o010644),
    link: symlink(volume, 'target', '/link'),
  }
  for (const ino of [inodes.hinted.ino, inodes.heir.ino])
    setAttributes(volume, ino, { extsize: HINT, cowextsize: HINT })
  writeFile(volume, inodes.written.ino, 0, new Uint8Array(BLOCK))
  const changes: AttributeChanges[] = [
    ...flagLetters.flatMap(([letter]) => [{ set: letter }, { clear: letter }]),
    ...[0, BLOCK, HINT, BLOCK + 1, -BLOCK, 2 ** 40].flatMap((bytes) => [{ extsize: bytes }, { cowextsize: bytes }]),
    ...[0, 2 ** 32 - 2, 2 ** 32 - 1, -1].flatMap((id) => [{ projid: id }, { uid: id }, { gid: id }]),
    { set: 'z' },
    { set: 'd', extsize: HINT },
  ]
  const facts = (ino: number): unknown => {
    const { flags, flags2, extsize, cowextsize, projid, uid, gid } = openInode(volume, ino)
    return { flags, flags2, extsize, cowextsize, projid, uid, gid }
  }
  let refused = 0
  for (const [kind, { ino }] of Object.entries(inodes)) {
    for (const change of changes) {
      const what = `${kind} ${JSON.stringify(change)}`
      const before = facts(ino)
      try {
        setAttributes(volume, ino, change)
        const now = openInode(volume, ino)
        for (const [letter, word, bit] of flagLetters) {
          if (change.set?.includes(letter)) assert.ok((now[word] & bit) !== 0, what)
          if (change.clear?.includes(letter)) assert.ok((now[word] & bit) === 0, what)
        }
        for (const name of ['extsize', 'cowextsize'] as const)
          if (change[name] !== undefined) assert.equal(now[name] * BLOCK, change[name], what)
        for (const name of ['projid', 'uid', 'gid'] as const)
          if (change[name] !== undefined) assert.equal(now[name], change[name], what)
        volume.close()
        volume = open()
        assert.deepEqual(check(device, volume.geometry).findings.list.map(describe), [], what)
      } catch (error) {
        if (!(error instanceof XfsError)) throw error
        assert.ok(error.code === 'INVAL' || error.code === 'PERM', `${what}: ${error.message}`)
        assert.deepEqual(facts(ino), before, what)
        refused++
      }
      // The state before, for the next one.
      if (change.set !== undefined && change.set !== 'z')
        withTransaction(volume, (tx) => setAttributesIn(tx, openInode(volume, ino, tx), { clear: 'iasAdtPnfSx' }))
    }
  }
  assert.ok(refused > 50)
  volume.close()
})
