import assert from 'node:assert/strict'
import { closeSync, openSync, writeSync } from 'node:fs'
import { test } from 'node:test'
import { charsText, parseChars } from '../../src/db/layout/items.ts'
import { type DbType, dbTypes, itemsOf, printLines } from '../../src/db/types.ts'
import { DiskDquot, Dqblk } from '../../src/format/dquot.ts'
import { SymlinkHdr } from '../../src/format/symlink.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { verify } from '../../src/format/verify/verify.ts'
import { copyOf, type Found, metadata, type Sample, sample, sampleNames } from '../format/sample.ts'
import { dbTypeOf, located } from '../support/fields.ts'
import { theirRun } from './support.ts'

interface Case {
  readonly title: string
  readonly commands: readonly string[]
  readonly type: DbType
  readonly view: DataView
}

/**
 * Some blocks of each type, and the inodes of the first blocks, with the commands that show them in
 * xfs_db.
 */
function cases(of: Sample): Case[] {
  const { geometry } = of
  const counts = new Map<string, number>()
  const list: Case[] = []
  for (const found of metadata(of)) {
    const view = copyOf(of, found)
    if (verify(found.type, view, { geometry, daddr: found.daddr })) continue
    const count = (counts.get(found.type.name) ?? 0) + 1
    counts.set(found.type.name, count)
    if (count > (found.type === blockTypes.inodes ? 12 : 8)) continue
    if (found.type === blockTypes.inodes) list.push(...inodes(of, found, view))
    else list.push(...block(of, found, view))
  }
  return list
}

function block({ geometry }: Sample, { type, daddr }: Found, view: DataView): Case[] {
  const agno = geometry.daddrToAgno(daddr)
  const header = ['sb', 'agf', 'agi', 'agfl'].includes(type.name)
  // If a symlink block is selected by number, xfs_db uses a shorter length.
  if (type === blockTypes.symlink) {
    const owner = SymlinkHdr.fields.owner.get(view, 0)
    return [
      {
        title: `symlink ${daddr}`,
        commands: [`inode ${owner}`, 'dblock 0'],
        type: dbTypes.get('symlink') as DbType,
        view,
      },
    ]
  }
  const where = header ? [`${type.name} ${agno}`] : [`fsblock ${geometry.fsbno(agno, geometry.daddrToAgbno(daddr))}`]
  const names =
    type === blockTypes.daNode
      ? [
          ...(view.byteLength === geometry.dirblocksize ? ['dir3'] : []),
          ...(view.byteLength === geometry.blocksize ? ['attr3'] : []),
        ]
      : [(dbTypeOf(type) as DbType).name]
  return names.map((name) => ({
    title: `${name} ${daddr}`,
    commands: header ? where : [...where, `type ${name}`],
    type: dbTypes.get(name) as DbType,
    view,
  }))
}

function inodes({ geometry }: Sample, { daddr }: Found, view: DataView): Case[] {
  const agno = geometry.daddrToAgno(daddr)
  const first = geometry.agbnoToAgino(geometry.daddrToAgbno(daddr))
  return Array.from({ length: geometry.inopblock }, (_, i) => {
    const ino = geometry.ino(agno, first + i)
    const bytes = new DataView(view.buffer, i * geometry.inodesize, geometry.inodesize)
    return { title: `inode ${ino}`, commands: [`inode ${ino}`], type: dbTypes.get('inode') as DbType, view: bytes }
  })
}

/** The output of xfs_db for each case. */
function ask(path: string, list: readonly Case[]): Map<string, string[]> {
  const args = list.flatMap(({ title, commands }) =>
    [`echo ==${title}`, ...commands, 'print'].flatMap((command) => ['-c', command]),
  )
  const { out } = theirRun(['-r', ...args, path])
  const parts = out.split(/^==/m).slice(1)
  return new Map(
    parts.map((part) => {
      const [title = '', ...lines] = part.replace(/\n$/, '').split('\n')
      return [title.trim(), lines]
    }),
  )
}

for (const name of sampleNames) {
  test(`every block prints as in xfs_db (${name})`, () => {
    const of = sample(name)
    const list = cases(of)
    const oracle = ask(of.path, list)
    let lines = 0
    for (const { title, type, view } of list) {
      const ours = [...printLines(type, view, of.geometry)]
      const theirs = oracle.get(title) ?? []
      lines += theirs.length
      const differs = ours.findIndex((line, i) => line !== theirs[i])
      if (differs >= 0) assert.equal(ours[differs], theirs[differs], title)
      assert.equal(ours.length, theirs.length, title)
    }
    assert.ok(list.length > 100 && lines > 5000, `${list.length} blocks, ${lines} lines`)
  })
}

test('a field is found by its path, and writing its text changes nothing', () => {
  const of = sample('default')
  for (const { type, view } of cases(of).slice(0, 60)) {
    const before = new Uint8Array(view.buffer.slice(0))
    for (const { path, field, at } of located(itemsOf(type, view, of.geometry))) {
      const text = field.text(view, at)
      if (!field.parse || field.kind === 'time' || text === '' || /^\d{17,}$/.test(text) || /^\d+ \(/.test(text))
        continue
      field.set(view, at, field.parse(text))
      assert.deepEqual(new Uint8Array(view.buffer), before, `${type.name} ${path} ${text}`)
    }
  }
  const root = new DataView(of.bytes.buffer, 0, 512)
  const fields = [...located(itemsOf(dbTypes.get('sb') as DbType, root, of.geometry))]
  const found = fields.find(({ path }) => path === 'agcount')
  assert.equal(found?.field.get(root, found.at), of.geometry.agcount)
})

test('quota records print as in xfs_db', () => {
  const of = sample('plain')
  const type = dbTypes.get('dqblk') as DbType
  const records: Partial<DiskDquot>[] = [
    { type: 1, id: 1000, blk_hardlimit: 77, blk_softlimit: 2 ** 40, bcount: 5, btimer: 423456789, bwarns: 3 },
    { type: 0x82, id: 7, ino_hardlimit: 9, icount: 8, itimer: 423456789, rtbtimer: 1, rtbwarns: 1 },
    { type: 4, id: 0, btimer: 604800, itimer: 604800 },
  ]
  // The last block of the image is free.
  const place = of.bytes.length - 4096
  for (const record of records) {
    const bytes = new Uint8Array(512)
    const view = new DataView(bytes.buffer, 0, Dqblk.size)
    DiskDquot.encode(view, 0, { magic: 0x4451, version: 1, ...record })
    Dqblk.encode(view, 0, { uuid: of.geometry.sb.uuid, lsn: { cycle: 1, block: 2 } })
    const fd = openSync(of.path, 'r+')
    writeSync(fd, bytes, 0, 512, place)
    closeSync(fd)
    const one = { title: 'quota', commands: [`daddr ${place / 512}`, 'type dqblk'], type, view }
    // The checksum depends on the length that xfs_db uses for the record.
    const plain = (lines: readonly string[]): string[] => lines.map((line) => line.replace(/ \((correct|bad)\)$/, ''))
    assert.deepEqual(plain([...printLines(type, view, of.geometry)]), plain(ask(of.path, [one]).get('quota') ?? []))
  }
})

test('characters print and parse', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
  assert.deepEqual(parseChars(charsText(bytes), 256), bytes)
  assert.deepEqual(parseChars('#00ff', 2), Uint8Array.of(0, 255))
  assert.deepEqual(parseChars('"ab"', 4), Uint8Array.of(97, 98, 0, 0))
  assert.throws(() => parseChars('abc', 2))
})
