import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { check } from '../../src/check/check.ts'
import { deviceAfter, record } from '../../src/device/record.ts'
import { XfsError } from '../../src/errors.ts'
import { ShortBlock } from '../../src/format/btblock.ts'
import { Superblock } from '../../src/format/sb.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { stampInode } from '../../src/format/verify/stamp.ts'
import { repair } from '../../src/repair/repair.ts'
import { Volume } from '../../src/volume.ts'
import { repoRoot } from '../support/temp.ts'
import { bytesDevice, Image } from './image.ts'

/**
 * For any bytes the result is findings or an XfsError, in bounded time. A repair that is killed is
 * completed by the next one.
 */

const load = (name: string): Buffer => gunzipSync(readFileSync(join(repoRoot(), 'fixtures', name, 'image.gz')))
const long = process.env['XFSKIT_LONG'] === '1'

/** The same pseudo-random numbers each time. */
function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return (state >>> 8) % below
  }
}

const failure = (bytes: Uint8Array): XfsError => {
  try {
    const device = bytesDevice(bytes)
    check(device, Volume.open(device).geometry)
  } catch (error) {
    assert.ok(error instanceof XfsError, String(error))
    return error
  }
  throw new Error('it was checked')
}

test('what is no image is refused with words', () => {
  assert.match(failure(new Uint8Array(100)).message, /not an XFS image/)
  assert.match(failure(new Uint8Array(2 ** 20)).message, /not an XFS image/)
  assert.match(failure(load('clean').subarray(0, 2 ** 20)).message, /truncated/)
  const swapped = Uint8Array.from(load('clean').subarray(0, 2 ** 20))
  for (let at = 0; at < 512; at += 4) swapped.subarray(at, at + 4).reverse()
  assert.match(failure(swapped).message, /byte order/)
  const crazy = Uint8Array.from(load('clean'))
  new DataView(crazy.buffer).setUint32(88, 0xffffffff) // agcount
  assert.equal(failure(crazy).code, 'CORRUPT')
})

/** The places of metadata of every kind. */
interface Targets {
  readonly blocks: readonly (readonly [type: keyof typeof blockTypes, agno: number, agbno: number])[]
  readonly derived: number
  readonly inodes: readonly number[]
}

function targetsOf(image: Image): Targets {
  const { ags, observation } = image.check()
  const blocks: [keyof typeof blockTypes, number, number][] = []
  for (const { ag } of ags) {
    for (const tree of Object.values(ag.trees))
      for (const agbno of tree?.blocks ?? []) blocks.push([tree?.name ?? 'bnobt', ag.agno, agbno])
    for (const name of ['agf', 'agi', 'agfl'] as const) blocks.push([name, ag.agno, -1])
  }
  const derived = blocks.length
  const { inodes } = observation
  const { maps } = inodes
  const { geometry } = image
  for (let row = 0; row < maps.length; row++) {
    const fsbno = maps.fsbno.get(row)
    blocks.push([maps.fork.get(row) === 0 ? 'dir3' : 'da', geometry.agnoOf(fsbno), geometry.agbnoOf(fsbno)])
  }
  for (const { ag } of ags) {
    const { owner, start } = ag.metadata
    for (let row = 0; row < ag.metadata.length; row++)
      if (owner.get(row) >= 0) blocks.push(['bmbt', ag.agno, start.get(row)])
  }
  const numbers: number[] = []
  for (let slot = 0; slot < inodes.slots; slot++) if (inodes.mode.get(slot) !== 0) numbers.push(inodes.ino(slot))
  return { blocks, derived, inodes: numbers }
}

function scribble(view: DataView, size: number, next: (below: number) => number): void {
  for (let left = 1 + next(3); left > 0; left--) {
    const at = next(3) === 0 ? next(Math.min(64, size)) : next(size)
    view.setUint8(at, [0, 0xff, view.getUint8(at) ^ (1 << next(8)), next(256)][next(4)] as number)
  }
}

function damageBlock(
  image: Image,
  [type, agno, agbno]: Targets['blocks'][number],
  next: (below: number) => number,
): void {
  const header = type === 'agf' || type === 'agi' || type === 'agfl'
  const view = header ? image.header(agno, type) : image.block(agno, agbno)
  scribble(view, header ? (type === 'agfl' ? 100 : 344) : view.byteLength, next)
  if (next(5) === 0) return // the checksum says so
  if (header) image.stampHeader(agno, type)
  else image.stampBlock(blockTypes[type], agno, agbno)
}

test('random damage of derived structures is always repaired', () => {
  const sound = load('clean')
  const targets = targetsOf(new Image(Uint8Array.from(sound)))
  const next = random(2024)
  for (let round = 0; round < (long ? 1000 : 40); round++) {
    const image = new Image(Uint8Array.from(sound))
    for (let left = 1 + next(3); left > 0; left--)
      damageBlock(image, targets.blocks[next(targets.derived)] as Targets['blocks'][number], next)
    const { after } = repair(image.device)
    assert.deepEqual(after.findings.list, [], `round ${round}`)
  }
})

test('an LSN in a block with a bad checksum is ignored: the block is rebuilt', () => {
  const image = new Image(load('clean'))
  const leaf = targetsOf(image).blocks.find(([type]) => type === 'rmapbt') ?? assert.fail('no rmapbt')
  image.block(leaf[1], leaf[2]).setUint32(ShortBlock.fields.lsn.offset, 0x9c000009)
  image.header(0, 'sb').setUint32(Superblock.fields.lsn.offset, 0x9c000009)
  const { before, after, declined, log } = repair(image.device)
  assert.ok(before.findings.has('btree.crc') && before.findings.has('sb.crc'))
  assert.deepEqual(after.findings.list, [])
  assert.deepEqual({ declined, log }, { declined: [], log: undefined })
})

test('random damage of anything gives findings or an XfsError', () => {
  const sound = load('clean')
  const targets = targetsOf(new Image(Uint8Array.from(sound)))
  const next = random(7)
  for (let round = 0; round < (long ? 2000 : 60); round++) {
    const image = new Image(Uint8Array.from(sound))
    for (let left = 1 + next(3); left > 0; left--) {
      if (next(3) > 0)
        damageBlock(image, targets.blocks[next(targets.blocks.length)] as Targets['blocks'][number], next)
      else {
        const view = image.inode(targets.inodes[next(targets.inodes.length)] as number)
        scribble(view, view.byteLength, next)
        if (next(5) > 0) stampInode(view, 0, image.geometry)
      }
    }
    const began = performance.now()
    try {
      repair(image.device)
    } catch (error) {
      assert.ok(error instanceof XfsError, `round ${round}: ${error instanceof Error ? error.stack : error}`)
    }
    assert.ok(performance.now() - began < 30000, `round ${round} takes for ever`)
  }
})

test('a repair that is killed at any write is finished by the next one', () => {
  for (const name of ['btree.header', 'agf.magic', 'refcountbt.high', 'inobt.missing', 'cow.leftover']) {
    const damaged = load(name)
    const recorder = record(bytesDevice(Uint8Array.from(damaged)))
    repair(recorder)
    const { events } = recorder
    const step = long ? 1 : Math.max(1, Math.floor(events.length / 12))
    for (let count = 0; count <= events.length; count += step) {
      const device = deviceAfter(bytesDevice(damaged), events, count)
      const { after } = repair(device)
      assert.deepEqual(after.findings.list, [], `${name}: killed after ${count} of ${events.length}`)
    }
  }
})
