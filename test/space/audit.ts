import assert from 'node:assert/strict'
import { agRoot } from '../../src/btree/roots.ts'
import { treeOps } from '../../src/btree/treeops.ts'
import { Agf, Agfl, Agi } from '../../src/format/ag.ts'
import { ShortBlock } from '../../src/format/btblock.ts'
import { type AllocRec, OWNERS, type RefcountRec, type RmapRec } from '../../src/format/btrecs.ts'
import { Superblock } from '../../src/format/sb.ts'
import { type AgTreeName, treesOf } from '../../src/format/trees.ts'
import { agflSlots, maxRecords } from '../../src/format/treesizes.ts'
import { agflNeed } from '../../src/space/agfl.ts'
import type { Volume } from '../../src/volume.ts'
import { allRecords } from './images.ts'

/** Audit the space of the AGs by brute force. */

const FREE = 1
const USED = 2

/** Blocks of one tree. */
export function treeBlocks(volume: Volume, name: AgTreeName, agno: number): number[] {
  const { ptr, levels } = agRoot(volume, name, agno).get()
  let level = [ptr]
  const all = [ptr]
  const ops = treeOps[name]
  const ptrs = volume.geometry.shortHeader + maxRecords(volume.geometry, name, 1) * ops.keyStride
  for (let height = levels; height > 1; height--) {
    level = level.flatMap((agbno) => {
      const { view } = volume.block(ops.type, agno, agbno)
      assert.equal(ShortBlock.fields.level.get(view, 0), height - 1)
      return Array.from({ length: ShortBlock.fields.numrecs.get(view, 0) }, (_, i) => view.getUint32(ptrs + 4 * i))
    })
    all.push(...level)
  }
  return all
}

const owns = (rec: RmapRec, agbno: number): boolean =>
  rec.startblock <= agbno && agbno < rec.startblock + rec.blockcount

/** Audit one AG. @returns one byte per block: free or used */
function auditGroup(volume: Volume, agno: number): Uint8Array {
  const length = volume.geometry.agLength(agno)
  const state = new Uint8Array(length)
  const agf = Agf.decode(volume.agf(agno).view)
  const bno = allRecords<AllocRec>(volume, 'bnobt', agno)
  const cnt = allRecords<AllocRec>(volume, 'cntbt', agno)
  let end = -1
  let sum = 0
  for (const { startblock, blockcount } of bno) {
    assert.ok(startblock > end, `AG ${agno}: free runs touch at ${startblock}`)
    end = startblock + blockcount
    assert.ok(end <= length)
    state.fill(FREE, startblock, end)
    sum += blockcount
  }
  assert.deepEqual(
    cnt,
    [...bno].sort((a, b) => a.blockcount - b.blockcount || a.startblock - b.startblock),
    `AG ${agno}: cntbt is bnobt`,
  )
  assert.equal(agf.freeblks, sum, `AG ${agno}: freeblks`)
  assert.equal(agf.longest, cnt.at(-1)?.blockcount ?? 0, `AG ${agno}: longest`)
  const blocks = new Map(treesOf(volume).map((name) => [name, treeBlocks(volume, name, agno)]))
  const count = (name: AgTreeName): number => blocks.get(name)?.length ?? 0
  const rmap = volume.features.has('rmapbt')
  assert.equal(
    agf.btreeblks,
    count('bnobt') + count('cntbt') + count('rmapbt') - (rmap ? 3 : 2),
    `AG ${agno}: btreeblks`,
  )
  assert.equal(agf.rmapblocks, count('rmapbt'), `AG ${agno}: rmapblocks`)
  assert.equal(agf.refcntblocks, count('refcountbt'), `AG ${agno}: refcntblocks`)
  if (volume.features.has('inobtcount')) {
    const agi = Agi.decode(volume.agi(agno).view)
    assert.equal(agi.iblocks, count('inobt'))
    assert.equal(agi.fblocks, count('finobt'))
  }
  const slots = agflSlots(volume.geometry)
  const agfl = Array.from({ length: agf.flcount }, (_, i) =>
    volume.agfl(agno).view.getUint32(Agfl.size + 4 * ((agf.flfirst + i) % slots)),
  )
  assert.equal((agf.flfirst + agf.flcount + slots - 1) % slots, agf.fllast)
  const groupOwned = [
    ...agfl,
    ...(blocks.get('bnobt') as number[]),
    ...(blocks.get('cntbt') as number[]),
    ...(blocks.get('rmapbt') ?? []),
  ]
  assert.equal(new Set(groupOwned).size, groupOwned.length, `AG ${agno}: a block twice in AGFL and trees`)
  for (const agbno of [...blocks.values(), agfl].flat())
    assert.notEqual(state[agbno], FREE, `AG ${agno}: block ${agbno} is free and in use`)
  if (!rmap) return state
  const rmaps = allRecords<RmapRec>(volume, 'rmapbt', agno)
  for (const rec of rmaps) {
    for (let b = rec.startblock; b < rec.startblock + rec.blockcount; b++) {
      assert.notEqual(state[b], FREE, `AG ${agno}: block ${b} is free and belongs to ${rec.owner}`)
      state[b] = USED
    }
  }
  const special = (owner: number): number[] =>
    rmaps
      .filter((rec) => rec.owner === owner)
      .flatMap(blocksOf)
      .sort((a, b) => a - b)
  assert.deepEqual(
    special(OWNERS.ag),
    groupOwned.sort((a, b) => a - b),
    `AG ${agno}: OWN_AG`,
  )
  assert.deepEqual(
    special(OWNERS.refc),
    (blocks.get('refcountbt') ?? []).sort((a, b) => a - b),
    `AG ${agno}: OWN_REFC`,
  )
  assert.deepEqual(
    special(OWNERS.inobt),
    [...(blocks.get('inobt') as number[]), ...(blocks.get('finobt') ?? [])].sort((a, b) => a - b),
    `AG ${agno}: OWN_INOBT`,
  )
  assert.equal(state.indexOf(0), -1, `AG ${agno}: a block neither free nor owned`)
  assert.ok(rmaps.some((rec) => owns(rec, 0)))
  return state
}

const blocksOf = (rec: { startblock: number; blockcount: number }): number[] =>
  Array.from({ length: rec.blockcount }, (_, i) => rec.startblock + i)

/**
 * Audit all AGs and the superblock's count of free blocks. @returns for each AG one byte per block:
 * 1 if it is free
 */
export function audit(volume: Volume): Uint8Array[] {
  let fdblocks = 0
  const states: Uint8Array[] = []
  for (let agno = 0; agno < volume.geometry.agcount; agno++) {
    states.push(auditGroup(volume, agno).map((s) => (s === FREE ? 1 : 0)))
    const agf = Agf.decode(volume.agf(agno).view)
    fdblocks += agf.freeblks + agf.flcount + agf.btreeblks
  }
  assert.equal(Superblock.fields.fdblocks.get(volume.superblock().view, 0), fdblocks, 'fdblocks')
  return states
}

/** Does the AGFL have its required length? */
export const agflFull = (volume: Volume, agno: number): boolean => {
  const { view } = volume.agf(agno)
  return Agf.fields.flcount.get(view, 0) >= agflNeed(volume, view)
}

/** Refcount records as a plain list. */
export const refcounts = (volume: Volume, agno: number): RefcountRec[] =>
  allRecords<RefcountRec>(volume, 'refcountbt', agno)
