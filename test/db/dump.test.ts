import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type DumpOptions, dump } from '../../src/db/dump.ts'
import { openFile } from '../../src/device/file.ts'
import { FORK_FORMATS } from '../../src/format/dinode.ts'
import { type TreeName, treeNames } from '../../src/format/trees.ts'
import { openInode } from '../../src/inode/inode.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { Volume } from '../../src/volume.ts'
import { sample, sampleNames } from '../format/sample.ts'
import { program, recordsOf, xfskit } from '../support/cli.ts'
import { tempDir } from '../support/temp.ts'
import { ours, theirs } from './support.ts'

type Row = Record<string, number | string | null>

/** The rows of a dump, in JSON. */
function rows(path: string, tree: TreeName, options: Partial<DumpOptions> = {}): { rows: Row[]; faults: string[] } {
  const device = openFile(path, 'r')
  const faults: string[] = []
  let text = ''
  dump(Volume.open(device), tree, {
    form: 'json',
    emit: (bytes) => {
      text += Buffer.from(bytes).toString('latin1')
    },
    fault: (message) => faults.push(message),
    ...options,
  })
  device.close()
  return {
    rows: text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Row),
    faults,
  }
}

/** The records that btdump of xfs_db prints, in the order of its columns. */
function records(path: string, commands: readonly string[]): (readonly string[])[] {
  const { out } = theirs(path, commands)
  return [...out.matchAll(/^\d+:\[(.*)\] ?$/gm)].map(([, row]) => (row as string).split(','))
}

const roots: Readonly<Record<Exclude<TreeName, 'bmbt'>, readonly [header: string, root: string]>> = {
  bnobt: ['agf', 'bnoroot'],
  cntbt: ['agf', 'cntroot'],
  inobt: ['agi', 'root'],
  finobt: ['agi', 'free_root'],
  rmapbt: ['agf', 'rmaproot'],
  refcountbt: ['agf', 'refcntroot'],
}
const columns: Readonly<Record<TreeName, readonly string[]>> = {
  bnobt: ['startblock', 'blockcount'],
  cntbt: ['startblock', 'blockcount'],
  inobt: ['startino', 'holemask', 'count', 'freecount', 'free'],
  finobt: ['startino', 'holemask', 'count', 'freecount', 'free'],
  rmapbt: ['startblock', 'blockcount', 'owner', 'offset', 'extentflag', 'attrfork', 'bmbtblock'],
  refcountbt: ['startblock', 'blockcount', 'refcount', 'cowflag'],
  bmbt: ['startoff', 'startblock', 'blockcount', 'extentflag'],
}
const cells = (row: Row, tree: TreeName): string[] =>
  columns[tree].map((name) => String(row[name]).replace(/^0x0$/, '0'))

for (const name of sampleNames) {
  test(`every tree is dumped as xfs_db dumps it (${name})`, () => {
    const { path, geometry } = sample(name)
    for (const [tree, [header, root]] of Object.entries(roots) as [Exclude<TreeName, 'bmbt'>, [string, string]][]) {
      const feature = { finobt: 'finobt', rmapbt: 'rmapbt', refcountbt: 'reflink' }[tree as 'finobt'] as
        | 'finobt'
        | undefined
      if (feature && !geometry.features.has(feature)) {
        assert.throws(() => rows(path, tree), /the filesystem has no/)
        continue
      }
      const all = rows(path, tree)
      assert.deepEqual(all.faults, [])
      for (let agno = 0; agno < geometry.agcount; agno++) {
        const expected = records(path, [`${header} ${agno}`, `addr ${root}`, 'btdump'])
        const found = all.rows.filter((row) => row['agno'] === agno)
        assert.deepEqual(
          found.map((row) => cells(row, tree)),
          expected,
          `${tree} ${agno}`,
        )
        assert.deepEqual(rows(path, tree, { agno }).rows, found)
        for (const row of found)
          if (tree === 'inobt') assert.equal(row['ino'], geometry.ino(agno, row['startino'] as number))
      }
    }
  })

  test(`the extents of files are dumped as xfs_db dumps them (${name})`, () => {
    const { path, geometry } = sample(name)
    const volume = Volume.open(openFile(path, 'r'))
    const all = rows(path, 'bmbt')
    assert.deepEqual(all.faults, [])
    for (const file of ['/frag', '/unwritten', '/node', '/longlink', '/attrs/node']) {
      for (const fork of ['data', 'attr'] as const) {
        const { ino, view, at } = resolve(volume, file, { follow: false })
        const format = view.getUint8(at + (fork === 'data' ? 5 : 83))
        const [field, flag] = fork === 'data' ? ['u3.bmx', 'btdump'] : ['a.bmx', 'btdump -a']
        const commands =
          format === FORK_FORMATS.btree ? [flag] : format === FORK_FORMATS.extents ? [`print ${field}`] : []
        const found = rows(path, 'bmbt', { ino, fork }).rows
        assert.deepEqual(
          found.map((row) => cells(row, 'bmbt')),
          records(path, [`inode ${ino}`, ...commands]),
          `${file} ${fork}`,
        )
        if (fork === 'data')
          assert.deepEqual(
            all.rows.filter((row) => row['ino'] === ino),
            found,
          )
        for (const { startblock, agno, agbno } of found)
          assert.equal(startblock, geometry.fsbno(agno as number, agbno as number))
      }
    }
    assert.equal(openInode(volume, geometry.sb.rootino).ino, geometry.sb.rootino)
    volume.close()
  })
}

test('special owners have names', () => {
  const { path } = sample('default')
  const found = rows(path, 'rmapbt').rows
  const names = new Map(found.map((row) => [row['owner'], row['ownerName']]))
  assert.equal(names.get(-3), 'fs')
  assert.equal(names.get(-5), 'ag')
  assert.equal(names.get(-7), 'inodes')
  assert.equal([...names].find(([owner]) => Number(owner) > 0)?.[1], null)
  const text = xfskit(['dump', path, 'rmapbt', '--agno', '0']).stdout.split('\n')
  assert.match(
    text[0] as string,
    /^agno {2}startblock {2}blockcount +owner +offset {2}extentflag {2}attrfork {2}bmbtblock$/,
  )
  assert.match(text[1] as string, /^ {3}0 +0 +1 +fs +0 +0 +0 +0$/)
  assert.equal(new Set(text.filter(Boolean).map((line) => line.length)).size, 1)
})

test('the three forms hold the same', () => {
  const { path } = sample('default')
  for (const tree of treeNames) {
    const json = xfskit(['dump', path, tree, '--json'])
    assert.equal(json.status, 0)
    assert.equal(json.stderr, '')
    assert.equal(JSON.parse(json.stdout.split('\n')[0] as string).schema, `xfskit.dump.${tree}`)
    const objects = recordsOf<Row>(json.stdout)
    assert.deepEqual(objects, rows(path, tree).rows)
    const [head, ...csv] = xfskit(['dump', path, tree, '--csv']).stdout.trim().split('\r\n') as [string, ...string[]]
    assert.deepEqual(head.split(','), Object.keys(objects[0] as Row))
    assert.deepEqual(
      csv.map((line) => line.split(',')),
      objects.map((row) => Object.values(row).map((value) => String(value ?? ''))),
    )
    const text = xfskit(['dump', path, tree]).stdout.trimEnd().split('\n')
    assert.equal(text.length, objects.length + 1)
  }
})

test('a damaged tree: readable records are dumped, and faults are reported', () => {
  const { path, geometry } = sample('default')
  const image = join(tempDir(), 'image')
  const damage: Readonly<Record<string, readonly string[]>> = {
    'a record out of order': ['write -d recs[3].startblock 1'],
    'a wrong checksum': ['write -c recs[3].blockcount 7'],
    'a wrong level': ['write -d level 1'],
    'too many records': ['write -d numrecs 60000'],
    'a wrong sibling': ['write -d rightsib 9'],
    'another magic number': ['write -d magic 1'],
    nothing: [],
  }
  for (const [title, commands] of Object.entries(damage)) {
    copyFileSync(path, image)
    ours(image, ['agf 0', 'addr rmaproot', 'addr ptrs[3]', ...commands], { expert: true })
    const { status, stdout, stderr } = xfskit(['dump', image, 'rmapbt'])
    assert.equal(status, title === 'nothing' ? 0 : 1, title)
    assert.equal(stderr === '', title === 'nothing', title)
    assert.doesNotMatch(stderr, /unexpected|\n\s+at /)
    assert.ok(stdout.split('\n').length > 500, title)
  }
  for (const [title, commands] of Object.entries({
    'a root that does not exist': ['agf 1', 'write -d rmaproot 0x7fffffff'],
    'a height that cannot be': ['agf 1', 'write -d rmaplevel 99'],
    'no AGF': ['agf 1', 'write -c magicnum 0'],
    'a loop': ['agf 0', 'addr rmaproot', 'write -d ptrs[2] 5'],
    'a pointer outside': ['agf 0', 'addr rmaproot', 'write -d ptrs[2] 0xfffffffe'],
  })) {
    copyFileSync(path, image)
    ours(image, commands, { expert: true })
    const before = readFileSync(image)
    const { status, stdout, stderr } = xfskit(['dump', image, 'rmapbt', '--json'])
    assert.equal(status, 1, title)
    for (const line of stderr.trimEnd().split('\n')) {
      const { schema, level, command } = JSON.parse(line)
      assert.deepEqual([schema, level, command], ['xfskit.message', 'error', 'dump'], title)
    }
    assert.ok(stdout.includes(`{"agno":${geometry.agcount - 1},`), title)
    assert.equal(Buffer.compare(readFileSync(image), before), 0)
  }
  rmSync(image)
})

test('usage, missing groups, inodes and trees', () => {
  const { path } = sample('plain')
  for (const [args, expected, message] of [
    [['rmapbt'], 1, /the filesystem has no rmapbt/],
    [['bnobt', '--agno', '77'], 1, /AG 77 does not exist: there are 4/],
    [['bmbt', '--ino', '1'], 1, /inode number 1 is out of range/],
    [['bnobt', '--ino', '64'], 3, /bnobt is a btree of AGs/],
    [['nonsense'], 3, /tree: nonsense: not one of bnobt/],
    [['bnobt', '--agno', 'x'], 3, /not a number/],
    [['bmbt', '--ino', '64', '--agno', '1'], 3, /--agno and --ino exclude each other/],
  ] as const) {
    // biome-ignore format: a table
    const { status, stdout, stderr } = xfskit(['dump', path, ...args])
    assert.equal(status, expected, args.join(' '))
    assert.equal(stdout, '')
    assert.match(stderr, message)
  }
})

test('a reader that closes the pipe', () => {
  const { path } = sample('default')
  const { status, stdout, stderr } = spawnSync(
    'bash',
    ['-c', `set -o pipefail; '${process.execPath}' '${program()}' dump '${path}' rmapbt | head -1`],
    {
      encoding: 'utf8',
    },
  )
  assert.equal(status, 0)
  assert.equal(stderr, '')
  assert.equal(stdout.split('\n').length, 2)
})
