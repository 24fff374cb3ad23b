import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DINODE_MAGIC, FORK_FORMATS } from '../../src/format/dinode.ts'
import { DIR_LEAF_OFFSET } from '../../src/format/dir.ts'
import { type Sample, sample, sampleNames } from '../format/sample.ts'
import { firstDifference, ours, theirs } from './support.ts'

/** Every inode in use, with the format of its data fork. */
function inodes({ geometry, bytes }: Sample): { ino: number; format: number; kind: number; forkoff: number }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const found = []
  for (let at = 0; at < bytes.length; at += geometry.inodesize) {
    if (view.getUint16(at) !== DINODE_MAGIC || view.getUint8(at + 4) !== 3 || view.getUint16(at + 2) === 0) continue
    const [agno, agbno] = [geometry.daddrToAgno(at / 512), geometry.daddrToAgbno(at / 512)]
    const ino = geometry.ino(agno, geometry.agbnoToAgino(agbno) + (at % geometry.blocksize) / geometry.inodesize)
    if (view.getUint32(at + 152) * 2 ** 32 + view.getUint32(at + 156) !== ino) continue
    found.push({
      ino,
      format: view.getUint8(at + 5),
      kind: view.getUint16(at + 2) & 0o170000,
      forkoff: view.getUint8(at + 82),
    })
  }
  return found
}

/**
 * Commands that visit everything: headers, trees from their roots, and inodes with the blocks of
 * their forks.
 */
function tour(of: Sample): string[] {
  const { geometry } = of
  const list: string[] = []
  const trees = [
    'bnoroot',
    'cntroot',
    ...(geometry.features.has('rmapbt') ? ['rmaproot'] : []),
    ...(geometry.features.has('reflink') ? ['refcntroot'] : []),
  ]
  for (let agno = 0; agno < geometry.agcount; agno++) {
    list.push(
      `sb ${agno}`,
      'print',
      `agf ${agno}`,
      'print',
      `agfl ${agno}`,
      'print',
      'print bno[3] bno[2-5]',
      `agi ${agno}`,
      'print',
      'print unlinked[0-3]',
    )
    for (const root of trees) {
      list.push(
        `agf ${agno}`,
        `addr ${root}`,
        'addr',
        'print',
        'print recs[1]',
        'print keys[1] ptrs[1]',
        'addr ptrs[1]',
        'addr',
        'print',
        'addr rightsib',
        'addr',
        'print recs',
      )
    }
    for (const root of ['root', ...(geometry.features.has('finobt') ? ['free_root'] : [])]) {
      list.push(`agi ${agno}`, `addr ${root}`, 'print', 'print recs[1-2].startino', 'addr recs[1].startino', 'addr')
    }
  }
  const counts = new Map<string, number>()
  for (const { ino, format, kind, forkoff } of inodes(of)) {
    const key = `${format} ${kind} ${forkoff}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
    if ((counts.get(key) ?? 0) > 2) continue
    list.push(`inode ${ino}`, 'print', 'print core', 'print v3 u3', 'print core.flags core.atime.sec', 'addr', 'inode')
    if (format === FORK_FORMATS.local)
      list.push('print u3.sfdir3.list[0-1].name', 'print u3.sfdir3.hdr', 'addr u3.sfdir3.list[0].inumber.i4', 'addr')
    if (format !== FORK_FORMATS.extents && format !== FORK_FORMATS.btree) continue
    list.push(
      'bmap',
      'print u3.bmx[0]',
      'print u3.bmx[0-1].startblock',
      'print u3.bmbt.keys[1] u3.bmbt.ptrs',
      'addr u3.bmx[0].startblock',
      'addr',
      `inode ${ino}`,
    )
    list.push('addr u3.bmbt.ptrs[1]', 'addr', 'print numrecs recs[1]', `inode ${ino}`)
    if (kind === 0o100000) list.push('dblock 0', 'addr', 'dblock 77777')
    if (kind === 0o120000) list.push('dblock 0', 'addr', 'print')
    if (kind !== 0o040000) continue
    for (const block of [
      0,
      geometry.dirblocks,
      DIR_LEAF_OFFSET / geometry.blocksize,
      (2 * DIR_LEAF_OFFSET) / geometry.blocksize,
    ]) {
      list.push(
        `inode ${ino}`,
        `dblock ${block}`,
        'addr',
        'print',
        'print bhdr dhdr',
        'print bu[0-2].inumber',
        'addr bu[1].inumber',
        'addr',
      )
    }
    list.push(
      `inode ${ino}`,
      `dblock ${DIR_LEAF_OFFSET / geometry.blocksize}`,
      'addr nbtree[0].before',
      'addr',
      'print lhdr',
      'addr lhdr.info.hdr.forw',
      'addr',
    )
  }
  return list
}

for (const name of sampleNames) {
  test(`a tour of an image reads as in xfs_db (${name})`, () => {
    const of = sample(name)
    const commands = tour(of).flatMap((command) => [`echo ${command}`, command])
    const [mine, real] = [ours(of.path, commands), theirs(of.path, commands)]
    assert.ok(mine.out.length > 100_000)
    assert.equal(firstDifference(mine.out, real.out), undefined)
    assert.equal(mine.exitCode, real.exitCode)
  })
}

test('attribute blocks are reached and read as in xfs_db', () => {
  const of = sample('default')
  const commands = inodes(of)
    .filter(({ forkoff }) => forkoff > 0)
    .flatMap(({ ino }) => [
      `inode ${ino}`, 'print a', 'bmap -a', 'inode', 'ablock 0', 'addr', 'print', 'print hdr', 'print entries', 'print entries[0] nvlist[0].name',
      'addr btree[1].before', 'addr', 'print hdr.count', 'addr hdr.info.hdr.forw', 'addr', 'print hdr.info',
    ]) // biome-ignore format: a list
    .slice(0, 4000)
  // xfs_db uses the current block instead of the inode to find the attribute fork, and sometimes
  // reports another reason.
  const plain = (text: string): string => text.replaceAll('no attribute data for file', 'file attr block is unmapped')
  assert.equal(firstDifference(plain(ours(of.path, commands).out), plain(theirs(of.path, commands).out)), undefined)
})

test('errors have the messages of xfs_db', () => {
  const of = sample('default')
  const commands = [
    'print', 'addr', 'addr x', 'type', 'type agf', 'inode', 'stack', 'ring', 'back', 'forward', 'bmap', 'crc', 'daddr', 'fsblock',
    'foo', 'agf 1 2', 'dblock', 'push foo', 'push print', 'pop', 'pop', 'sb 99', 'agf x', 'agi -', 'sb 0x1', 'sb 01', 'type', 'type foo', 'print nosuch',
    'print magicnum nosuch', 'print magicnum[1]', 'print magicnum.x', 'print MAGIC', 'print magicnum]', 'print magicnum[', 'print magicnum[1', 'print 7',
    'print .', 'print magicnum.', 'addr magicnum', 'addr nosuch', 'inode 128', 'print core.nosuch', 'print core.mode.x', 'print u3.sfdir3.list[99]',
    'print u3.sfdir3.list[2-99]', 'print u3.bmx', 'print a.bmx', 'addr core', 'addr core.size', 'addr v3.inumber', 'inode x', 'inode 99999999999',
    'fsblock 99999999', 'fsblock x', 'daddr x', 'daddr 9999999999', 'dblock x', 'dblock 5', 'ablock 5', 'write a 1', 'fuzz a ones', 'crc -i', 'crc -v -r',
    'crc -z', 'ring 99', 'ring 0', 'crc -v', 'help nosuch', 'agfl', 'print bno[500]', 'print bno[1-500]', 'agi 0', 'addr newino', 'inode', 'addr dirino',
    'addr next_unlinked', 'sb 0', 'addr uquotino', 'addr rtstart', 'daddr 20', 'crc', 'addr x', 'print x', 'daddr', 'fsblock', 'type text', 'print', 'push', 'push agf 1',
    'stack', 'pop', 'stack', 'type log', 'print', 'quit', 'print',
  ].flatMap((command) => [`echo ${command}`, command]) // biome-ignore format: a list
  assert.equal(firstDifference(ours(of.path, commands).out, theirs(of.path, commands).out), undefined)
})

test('the ring of places is that of xfs_db', () => {
  const of = sample('default')
  const places = Array.from({ length: 25 }, (_, i) => `fsblock ${i + 7}`)
  const moves = ['back', 'back', 'forward', 'agf 1', 'ring 3', 'sb 1', 'back', 'ring 19', 'forward', 'forward']
  const commands = ['sb', 'agf', ...places, 'ring', ...moves.flatMap((move) => [move, 'addr', 'ring'])]
  assert.equal(firstDifference(ours(of.path, commands).out, theirs(of.path, commands).out), undefined)
})

test('print for programs', () => {
  const of = sample('default')
  const { out } = ours(
    of.path,
    ['agf 1', 'print', 'print freeblks crc', 'agfl 0', 'print bno[0-1]', 'inode 128', 'print', 'daddr 1', 'print'],
    { json: true },
  )
  const [agf, two, agfl, inode, raw] = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(agf.schema, 'xfskit.db.print')
  assert.equal(agf.type, 'agf')
  assert.equal(agf.fields.seqno, 1)
  assert.deepEqual(Object.keys(two.fields), ['freeblks', 'crc'])
  assert.equal(agfl.fields.bno.length, 2)
  assert.equal(inode.fields.core.magic, 0x494e)
  assert.equal(inode.fields.v3.inumber, 128)
  assert.equal(inode.fields.u3.sfdir3.list[0].name, 'd1')
  assert.equal(raw.bytes.slice(0, 8), '58414746')
})
