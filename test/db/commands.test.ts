import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { commandsOf } from '../../src/db/commands.ts'
import { openImage } from '../../src/db/image.ts'
import { DbSession } from '../../src/db/session.ts'
import { openFile } from '../../src/device/file.ts'
import { escapeBytes } from '../../src/util/escape.ts'
import { sample, sampleNames } from '../format/sample.ts'
import { mountImage, repairComplaints, skip } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'
import { firstDifference, onDevice, ours, theirs } from './support.ts'

/** The other commands of db, compared with xfs_db. */

const summaries = [
  'version', 'label', 'uuid', 'info', 'freesp', 'freesp -s', 'freesp -d -a 1', 'freesp -c -e 100', 'freesp -m 10', 'freesp -x', 'freesp -b -e 3', 'freesp -A 8 -d -a 0',
  'freesp 3', 'fsmap', 'fsmap 100 200', 'fsmap 4097', 'fsmap x', 'fsmap 99999999', 'fsmap 5 x', 'hash abc def', 'hash -d abc', 'frag', 'frag -v', 'frag -d', 'frag -z',
  'frag -f', 'frag -a -l', 'timelimit', 'timelimit --classic --pretty', 'timelimit --compact', 'timelimit --pretty', 'timelimit --bigtime', 'agresv', 'agresv 1', 'label x',
  'uuid nil', 'version attr2', 'version extflg', 'dump_iunlinked -q', 'dump_iunlinked -a 1', 'dump_iunlinked -a 0 -b 3', 'timelimit -x', 'sb', 'print',
] // biome-ignore format: a list
const conversions = [
  'sb 0', 'convert ino 128 daddr', 'agf 1', 'convert agbno 5 daddr', 'convert agbno 5 fsblock', 'convert agno 3 fsblock 5 daddr', 'convert foo 1 bar', 'convert ino 128 ino',
  'convert ino 128 agno 1 daddr', 'convert ino x daddr', 'convert ino 128 foo 1 daddr', 'convert a b c d', 'convert byte 65536 ino', 'convert daddr 12345 bboff 3 byte',
  'convert fsblock 77 blkoff 12 inooff', 'convert ino 137 inoidx', 'convert ino 137 inooff 7 byte', 'convert agino 128 ino', 'convert agno 2 agbno 7 inoidx 3 ino',
  'convert fsb 32790 agno', 'convert fsb 32790 agbno', 'convert ino 262277 agino', 'convert byte 99999999999 fsb', 'convert', 'convert ino 5',
] // biome-ignore format: a list

for (const name of sampleNames) {
  test(`summaries, maps and conversions are those of xfs_db (${name})`, () => {
    const of = sample(name)
    // The output of `info` contains the name of the image.
    const plain = (text: string): string => text.replace(/^meta-data=\S+ +/m, 'meta-data=')
    for (const list of [summaries, conversions]) {
      const commands = list.flatMap((command) => [`echo ${command}`, command])
      assert.equal(firstDifference(plain(ours(of.path, commands).out), plain(theirs(of.path, commands).out)), undefined)
    }
  })
}

test('directories by their names', () => {
  const of = sample('default')
  const commands = [
    'ls', 'ls -i', 'path d1', 'path /node', 'inode', 'ls -i', 'path ../d1', 'inode', 'path d1', 'path /nosuch', 'path /shortlink/x', 'path /d1/a', 'inode', 'ls', 'path a',
    'path //d1//a/', 'path /', 'ls', 'ls /blk', 'ls /leaf /node', 'ls /d1/a', 'ls /nosuch', 'ls -i /d1 /blk', 'inode', 'parent /d1/a', 'path /d1/a', 'ls -z',
  ].slice(0, -1) // biome-ignore format: a list
  const list = commands.flatMap((command) => [`echo ${command}`, command])
  const [mine, other] = [ours(of.path, list), theirs(of.path, list)]
  // Not every version prints the generation of a parent.
  const plain = (text: string): string => text.replaceAll(/^\/d1\/a:\n(\d+ .*\n)*/gm, '/d1/a:\n')
  assert.equal(firstDifference(plain(mine.out), plain(other.out)), undefined)
  assert.equal(mine.exitCode, 1)
  assert.equal(other.exitCode, 1)
  // xfs_db prints inodes in the order of a hash table.
  const lines = (text: string): string => text.split('\n').sort().join('\n')
  const real = theirs(of.path, ['blockget -n', 'ncheck']).out
  const escaped = real.split('\n').map((line) => escapeBytes(Buffer.from(line, 'latin1')))
  assert.equal(firstDifference(lines(ours(of.path, ['ncheck']).out), lines(escaped.join('\n'))), undefined)
})

test('btdump is that of xfs_db', () => {
  for (const name of sampleNames) {
    const { path, geometry } = sample(name)
    const trees = [
      'agf bnoroot',
      'agf cntroot',
      'agi root',
      ...(geometry.features.has('rmapbt') ? ['agf rmaproot'] : []),
      ...(geometry.features.has('finobt') ? ['agi free_root'] : []),
    ]
    const commands = trees.flatMap((tree) => {
      const [header, root] = tree.split(' ') as [string, string]
      return [`${header} 0`, `addr ${root}`, 'btdump', 'btdump -i', 'addr', 'stack']
    })
    commands.push(
      'btdump -a',
      'btdump x',
      'btdump -z',
      'sb 0',
      'btdump',
      'path /frag',
      'btdump',
      'btdump -i',
      'btdump -a',
      'path /attrs/node',
      'btdump -a',
      'ablock 0',
      'btdump -i',
    )
    const list = commands.flatMap((command) => [`echo ${command}`, command])
    assert.equal(firstDifference(ours(path, list).out, theirs(path, list).out), undefined, name)
  }
})

test('every command of xfs_db that is known here takes the same words', () => {
  const { path } = sample('default')
  const device = openFile(path, 'r')
  const { geometry } = openImage(device, { force: false })
  const nothing = (): undefined => undefined
  const options = {
    device,
    geometry,
    program: 'x',
    image: 'x',
    expert: true,
    readOnly: false,
    json: false,
    print: nothing,
    warn: nothing,
    lines: nothing,
  }
  const usage = (line: string): string => line.replace(/ -- .*/, '').trim()
  const real = new Set(theirs(path, ['help'], { expert: true }).out.split('\n').map(usage))
  const names = new Set([...real].map((line) => line.split(' ')[0]))
  for (const { name, usage: words } of commandsOf(new DbSession(options))) {
    if (name === 'describe') continue // xfs_db does not have it
    assert.ok(names.has(name), name)
    if (!['fsmap', 'ring', 'parent', 'ls'].includes(name))
      assert.ok(real.has(`${name} ${words ?? ''}`.trim()), `${name} ${words}`)
  }
  device.close()
  const { out } = ours(path, ['help', 'help write', 'help nosuch'], { expert: true })
  assert.match(out, /\nwrite .*-c\|-d/)
  assert.match(out, /-d writes/)
  assert.match(out, /command nosuch not found\n$/)
})

test('label and UUID: xfs_repair and the kernel agree', () => {
  const image = join(tempDir(), 'image')
  copyFileSync(sample('default').path, image)
  const id = '00112233-4455-6677-8899-aabbccddeeff'
  const steps: readonly (readonly [string, RegExp])[] = [
    ['label backup', /new label = "backup"/], ['label', /label = "backup"/], ['label abcdefghijklmnop', /truncating label length from 16 to 12/],
    ['label --', /new label = ""/], [`uuid ${id}`, new RegExp(`new UUID = ${id}`)], ['uuid', new RegExp(`UUID = ${id}`)], ['uuid generate', /new UUID/],
    ['uuid rewrite', /old UUID = (\S+)[\s\S]*new UUID = \1/], ['uuid restore', /new UUID = (\S+)/], ['uuid nonsense', /invalid UUID/], ['logformat -c 9', /cycle 9/], ['logformat', /cycle 10/],
  ] // biome-ignore format: a table
  for (const [command, expected] of steps) {
    assert.match(ours(image, [command], { expert: true }).out, expected)
    assert.equal(repairComplaints(image), undefined, command)
    if (skip.kernel === false && /uuid|log/.test(command))
      assert.doesNotThrow(() => mountImage(image, (folder) => spawnSync('touch', [join(folder, 'touched')])), command)
  }
  assert.match(
    ours(image, [`uuid ${id}`, 'version', 'uuid restore', 'version'], { expert: true }).out,
    /META_UUID[\s\S]*BIGTIME,NREXT64,EXCHANGE,PARENT\n$/,
  )
  assert.equal(theirs(image, ['uuid']).out, ours(image, ['uuid']).out)
  rmSync(image)
})

test('blocktrash: the same seed, the same damage', () => {
  const { path } = sample('default')
  const damage = (words: string): string => {
    const image = join(tempDir(), 'image')
    copyFileSync(path, image)
    const { out } = ours(image, ['agf 1', `blocktrash ${words}`, 'type data', 'print'], { expert: true })
    rmSync(image)
    return out
  }
  assert.equal(damage('-z -s 7 -3'), damage('-z -s 7 -3'))
  assert.notEqual(damage('-z -s 7'), damage('-z -s 8'))
  assert.match(damage('-z -s 7 -o 64 -x 8 -y 8 -1'), /8 bits starting 8:0 set[\s\S]*000: 58414746 00000001 ff000001/)
  assert.match(damage(''), /must run blockget first/)
})

test('commands that are not there are refused by name', () => {
  const device = openFile(sample('default').path, 'r')
  const { out } = onDevice(device, ['metadump x', 'write a 1', 'nosuch'])
  assert.equal(out, 'command metadump not found\ncommand write not found\ncommand nosuch not found\n')
  device.close()
})
