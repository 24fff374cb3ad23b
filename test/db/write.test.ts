import assert from 'node:assert/strict'
import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { sample } from '../format/sample.ts'
import { skip } from '../support/oracles.ts'
import { fileDigest, reference } from '../support/reference.ts'
import { tempDir } from '../support/temp.ts'
import { firstDifference, onDevice, ours, theirs } from './support.ts'

/** Run the same commands with both, each on a copy. Outputs and images must be the same. */
function compare(commands: readonly string[]): void {
  const { path } = sample('default')
  const folder = tempDir()
  const [a, b] = [join(folder, 'a'), join(folder, 'b')]
  for (const copy of [a, b]) copyFileSync(path, copy)
  const list = commands.flatMap((command) => [`echo ${command}`, command])
  assert.equal(
    firstDifference(ours(a, list, { expert: true }).out, theirs(b, list, { expert: true, readOnly: false }).out),
    undefined,
  )
  assert.equal(
    fileDigest(a),
    reference(skip.newest === false, `image ${commands}`, () => fileDigest(b)),
  )
  for (const copy of [a, b]) rmSync(copy)
}

const cases: Readonly<Record<string, readonly string[]>> = {
  'fields of an inode': [
    'inode 131', 'write core.atime.sec 5', 'print core.atime', 'write core.atime.nsec 7', 'print core.atime v3.crc', 'write core.uid 0x10',
    'write core.uid -1', 'write -- core.uid -1', 'write core.uid 99999999999', 'write core.uid "ab"', 'write core.uid #0102', 'write core.mode 0100644',
    'write v3.uuid 00112233-4455-6677-8899-aabbccddeeff', 'write core.reflink 1', 'write v3.reflink 1', 'write core.immutable 2', 'write core.immutable 1',
    'write core.size -- -5', 'write v3.crc 0x12345678', 'write -c v3.crc 0x12345678', 'print v3.crc', 'write -d core.uid 1', 'print v3.crc', 'write',
    'write core.uid', 'write nosuch 3', 'write core.uid zzz', 'write -c -d core.uid 1', 'write -z a b', 'write core.gid 7 -d', 'write core.flags 0x10',
    'write next_unlinked 0xffffffff', 'write core..x 1', 'write CORE 1', 'inode 131', 'print core v3',
  ],
  'an AGF, sound and not': [
    'agf 0', 'write freeblks 1', 'print freeblks crc', 'write -c freeblks 2', 'print freeblks', 'write -d magicnum 3', 'print magicnum crc',
    'write freeblks 77', 'print freeblks crc', 'crc', 'crc -v', 'crc -i', 'crc -r', 'write -d magicnum 0x58414746', 'crc -r', 'write bnolevel 77',
    'print bnolevel', 'agf 1', 'write -d uuid 00112233-4455-6677-8899-aabbccddeeff', 'write -d lsn 0x700000005', 'write -d seqno 9', 'crc -i', 'crc -v',
  ],
  'records and pointers of trees': [
    'agf 0', 'addr rmaproot', 'write -d recs[1].owner -- -3', 'write -d recs[2].offset 0x1fffff', 'write -d recs[2].extentflag 1', 'print recs[1-2]',
    'write -d recs[3].startblock 0x80000001', 'write -d numrecs 3', 'write -d level 1', 'print', 'agf 0', 'addr refcntroot', 'write -d recs[1].cowflag 1',
    'write -d recs[1].startblock 0x7fffffff', 'write -d recs[1].refcount 0', 'print recs[1]', 'agi 0', 'addr root', 'write -d recs[1].free 0x1234567890abcdef',
    'write -d recs[1].holemask 0xff00', 'print recs[1]',
  ],
  'fields of 54 and 64 bits, all of them set': [
    'agf 0', 'addr rmaproot', 'write -d recs[2].offset 0x3fffffffffffff', 'write -d recs[3].offset 0x20000000000001', 'write -d recs[1].owner 0x7fffffffffffffff', 'print recs[1-3]',
    'inode 131', 'write core.size 0x7fffffffffffffff', 'print core.size', 'write core.size 9007199254740993', 'print core.size',
    'write -d u3.bmx[0].startoff 0x3fffffffffffff', 'write -d u3.bmx[0].startblock 0xfffffffffffff', 'print u3.bmx', 'write -d u3.bmx[0].startoff 0x20000000000001', 'print u3.bmx',
  ],
  'counts that are null': [
    'agf 1', 'write -d length -1', 'print length', 'agi 1', 'write -d length -1', 'write -d count -1', 'write -d freecount -1', 'print length count freecount',
    'sb 1', 'write -d rextsize -1', 'write -d agcount -1', 'print rextsize agcount', 'write -d agblocks -1',
  ],
  'slots of an AGFL': ['agfl 0', 'write bno[3] 5', 'print bno[1-4]', 'write -d bno[1] 0', 'print bno[1-2]', 'write -d bno[200] 1', 'write -d bno[2] 0xffffffff', 'print'],
  'bytes of a block': [
    'fsblock 20', 'write fill 0xab', 'print', 'write lshift 3', 'write rshift 2 10 100', 'write lrot 2', 'write rrot 5', 'print', 'write fill 7 16 16', 'print',
    'write fo 1', 'write fill', 'write', 'write lshift 1 2 3 4 5', 'write -d fill 1', 'daddr 1', 'print', 'type agf', 'addr', 'print magicnum',
  ],
  'a superblock': [
    'sb 0', 'write fname "hello\\000"', 'write fname #6669736800', 'write nosuch 1', 'write icount 5', 'write uuid 00112233-4455-6677-8899-aabbccddeeff',
    'write -d agcount 7', 'print agcount', 'write -d rootino 77', 'sb 1', 'crc -i', 'crc', 'write -c blocklog 9',
  ],
  'verbs of fuzz': [
    'sb 2', 'fuzz -d agcount add', 'fuzz -d agcount sub', 'fuzz', 'fuzz -c blocksize ones', 'fuzz -d magicnum zeroes', 'fuzz -d uuid firstbit', 'fuzz -d uuid lastbit',
    'fuzz -d uuid middlebit', 'fuzz -d uuid add', 'fuzz -d uuid foo', 'fuzz foo ones', 'fuzz -d fname ones', 'fuzz -d sectlog add', 'fuzz -d lsn sub',
    'inode 131', 'fuzz -d core.immutable firstbit', 'fuzz -d core.immutable add', 'fuzz -d v3.bigtime ones', 'fuzz -d core.mode middlebit', 'fsblock 3', 'fuzz x ones',
  ],
} // biome-ignore format: lists

for (const [title, commands] of Object.entries(cases)) {
  test(`writing as xfs_db does: ${title}`, () => compare(commands))
}

test('the random verbs change only their field', () => {
  const { bytes } = sample('default')
  const device = memoryDevice(bytes.length)
  device.write(bytes, 0)
  onDevice(device, ['agf 1', 'fuzz -c lsn random', 'fsblock 5', 'write random 100 20'], { expert: true })
  const after = new Uint8Array(bytes.length)
  device.read(after, 0)
  const agf = sample('default').geometry.agHeaderDaddr(1, 1) * 512
  const places = [
    { start: agf + 208, end: agf + 216 },
    { start: 5 * 4096 + 100, end: 5 * 4096 + 120 },
  ]
  for (const { start, end } of places) {
    assert.notDeepEqual(after.slice(start, end), bytes.slice(start, end))
    after.set(bytes.subarray(start, end), start)
  }
  assert.equal(Buffer.compare(after, bytes), 0)
})

test('nothing is written without -x, or with -r', () => {
  const { path, bytes } = sample('default')
  for (const run of [{}, { expert: true, readOnly: true }]) {
    const { out } = ours(
      path,
      ['sb 0', 'write fname "x"', 'crc -i', 'crc -r', 'fuzz fname ones', 'label x', 'uuid nil', 'print fname'],
      run,
    )
    assert.match(out, /not found|read only mode/)
  }
  const now = new Uint8Array(bytes.length)
  const device = openFile(path, 'r')
  device.read(now, 0)
  device.close()
  assert.equal(Buffer.compare(now, bytes), 0)
})
