import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dump } from '../../src/db/dump.ts'
import { NotXfs, openImage } from '../../src/db/image.ts'
import { type DbType, dbTypes, itemsOf } from '../../src/db/types.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { XfsError } from '../../src/errors.ts'
import { treeNames } from '../../src/format/trees.ts'
import { Volume } from '../../src/volume.ts'
import { sample } from '../format/sample.ts'
import { located } from '../support/fields.ts'
import { random } from '../support/random.ts'
import { onDevice } from './support.ts'

/** One field is damaged at a time: every command returns, with a result. */

let base: Device | undefined
function image(): Device {
  const { bytes } = sample('default')
  if (!base) {
    base = memoryDevice(bytes.length)
    base.write(bytes, 0)
  }
  return overlay(base)
}

/** The damaged places: the commands that go there. */
const places: Readonly<Record<string, readonly string[]>> = {
  sb: ['sb 0'],
  agf: ['agf 0'],
  agi: ['agi 0'],
  agfl: ['agfl 0'],
  'root of bnobt': ['agf 0', 'addr bnoroot'],
  'root of rmapbt': ['agf 0', 'addr rmaproot'],
  'leaf of rmapbt': ['agf 0', 'addr rmaproot', 'addr ptrs[1]'],
  'root of refcountbt': ['agf 0', 'addr refcntroot'],
  'root of inobt': ['agi 0', 'addr root'],
  'root directory': ['inode 128'],
  'file with a bmbt': ['path /frag'],
  'leaf of a bmbt': ['path /frag', 'addr u3.bmbt.ptrs[1]'],
  'block directory': ['path /blk', 'dblock 0'],
  'leaf directory': ['path /leaf', 'dblock 8388608'],
  'node directory': ['path /node', 'dblock 8388608'],
  'free index': ['path /node', 'dblock 16777216'],
  'attribute node': ['path /attrs/node', 'ablock 0'],
  'attribute leaf': ['path /attrs/leaf', 'ablock 0'],
  'symbolic link': ['path /longlink', 'dblock 0'],
}

/** Commands that follow the values of the damaged place. */
const looks = [
  'print', 'addr', 'crc', 'stack', 'ring', 'push', 'type data', 'print', 'type text', 'pop', 'btdump', 'bmap', 'bmap -a', 'bmap 5 5', 'dblock 0', 'print', 'pop',
  'agf 0', 'print', 'addr bnoroot', 'print', 'addr ptrs[1]', 'print', 'addr recs[1].startblock', 'agf 0', 'addr rmaproot', 'btdump -i', 'agf 0', 'addr refcntroot', 'btdump',
  'agi 0', 'addr root', 'btdump -i', 'addr recs[1].startino', 'print', 'agfl 0', 'print', 'addr bno[1]', 'agi 0', 'addr newino', 'print', 'inode 128', 'print', 'bmap',
  'addr u3.sfdir3.list[0].inumber.i4', 'print', 'path /frag', 'print', 'bmap', 'dblock 7', 'ablock 0', 'btdump -i', 'addr u3.bmbt.ptrs[1]', 'print', 'addr rightsib', 'print',
  'path /node', 'dblock 8388608', 'print', 'addr nbtree[0].before', 'print', 'addr lhdr.info.hdr.forw', 'btdump', 'path /attrs/node', 'ablock 0', 'btdump -i',
  'addr btree[1].before', 'print', 'sb 0', 'print', 'addr rootino', 'addr logstart', 'version', 'label', 'uuid', 'info', 'agresv', 'convert agno 1 agbno 5 fsb',
] // biome-ignore format: a list
const follows = [
  'ls /',
  'ls /blk /leaf /node',
  'ncheck',
  'frag',
  'freesp -d',
  'fsmap',
  'dump_iunlinked',
  'parent /d1/a',
  'timelimit',
]

const STACK = /\n\s+at |undefined|NaN|\[object/

for (const [name, way] of Object.entries(places)) {
  test(`damage of every field, and every command after it: ${name}`, () => {
    const { geometry } = sample('default')
    const { out } = onDevice(image(), [...way, 'addr'])
    const [, offset, length] = /byte offset (\d+), length (\d+)/.exec(out) as unknown as [string, string, string]
    const type = dbTypes.get(/type (\S+)/.exec(out)?.[1] as string) as DbType
    const bytes = new Uint8Array(Number(length))
    image().read(bytes, Number(offset))
    const paths = [...located(itemsOf(type, new DataView(bytes.buffer), geometry))].map(({ path }) => path)
    const step = Math.max(1, Math.floor(paths.length / (process.env['XFSKIT_LONG'] ? 1000 : 12)))
    const verbs = ['ones', 'zeroes', 'middlebit']
    paths
      .filter((_, i) => i < 14 || i % step === 0)
      .forEach((path, i) => {
        const device = image()
        const commands = [
          ...way,
          `fuzz -${i % 2 ? 'c' : 'd'} ${path} ${verbs[i % 3]}`,
          ...looks,
          ...(i % 4 === 0 ? follows : []),
        ]
        const result = onDevice(device, commands, { expert: true, json: i % 5 === 0 })
        assert.ok(result.out.length > 100, path)
        assert.doesNotMatch(result.out.replaceAll(/"(u3|a)":"undefined"/g, ''), STACK, `${name} ${path}`)
        assert.doesNotMatch(result.warnings, STACK)
        if (i % 3 === 0) dumpAll(device)
      })
  })
}

/** Dump every tree of a device that may not have a valid filesystem. */
function dumpAll(device: Device): void {
  let volume: Volume
  try {
    volume = Volume.open(device)
  } catch (error) {
    assert.ok(error instanceof XfsError)
    return
  }
  for (const tree of treeNames) {
    try {
      dump(volume, tree, {
        form: 'text',
        emit: () => undefined,
        fault: (message) => assert.doesNotMatch(message, STACK),
      })
    } catch (error) {
      assert.ok(error instanceof XfsError, String(error))
    }
  }
}

test('blocks full of noise, under every type', () => {
  const { bytes } = sample('default')
  const noise = random(5)
  for (let round = 0; round < 12; round++) {
    const device = image()
    const block = noise.bytes(4096)
    // Half of the cases have a valid magic number.
    if (round % 2) block.set(bytes.subarray(512 * (round % 4), 512 * (round % 4) + 12))
    device.write(block, 4096 * 20)
    const types = [...dbTypes.keys()].flatMap((type) => [
      'fsblock 20',
      `type ${type}`,
      'print',
      'crc -v',
      'addr ptrs[1]',
      'btdump',
      'btdump -a',
      'bmap',
      'dblock 3',
      'ablock 1',
    ])
    const result = onDevice(device, types, { expert: true })
    assert.doesNotMatch(result.out, STACK)
  }
})

test('a damaged superblock: what can be used is, else a copy', () => {
  const { geometry } = sample('default')
  const damaged = (field: string, value: string): Device => {
    const device = image()
    onDevice(device, ['sb 0', `write -d ${field} ${value}`], { expert: true })
    return device
  }
  for (const [field, value] of [
    ['agcount', '99'],
    ['agcount', '0'],
    ['dblocks', '7'],
    ['blocksize', '3'],
    ['sectlog', '77'],
    ['agblocks', '0'],
    ['inopblock', '0'],
  ]) {
    const opened = openImage(damaged(field as string, value as string), { force: false })
    assert.equal(opened.geometry.agcount, geometry.agcount, field)
    assert.equal(opened.geometry.blocksize, geometry.blocksize, field)
    assert.equal(opened.exitCode, 1)
    assert.match(opened.complaints.join(), /superblock/)
  }
  for (const [field, value] of [
    ['imax_pct', '200'],
    ['logstart', '5'],
    ['rootino', '3'],
    ['shared_vn', '9'],
    ['features_incompat', '0xffffffff'],
  ]) {
    const opened = openImage(damaged(field as string, value as string), { force: false })
    assert.deepEqual(opened.complaints, [], field)
    assert.equal(opened.geometry.agblocks, geometry.agblocks)
  }
  const none = damaged('magicnum', '0')
  assert.throws(() => openImage(none, { force: false }), NotXfs)
  assert.equal(openImage(none, { force: true }).geometry.agcount, geometry.agcount)
  const empty = memoryDevice(2 ** 24)
  assert.throws(() => openImage(empty, { force: true }), XfsError)
  assert.throws(() => openImage(memoryDevice(100), { force: true }), XfsError)
})
