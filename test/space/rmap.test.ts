import assert from 'node:assert/strict'
import { test } from 'node:test'
import { XfsError } from '../../src/errors.ts'
import { Agf } from '../../src/format/ag.ts'
import { OWNERS, type RmapRec } from '../../src/format/btrecs.ts'
import { allocExtent, extentFree } from '../../src/space/alloc.ts'
import { fixFreelist } from '../../src/space/freelist.ts'
import { rmapRec, rmapUpdate } from '../../src/space/rmap.ts'
import { mapBlocks, unmapBlocks } from '../../src/space/rmaprecs.ts'
import { type Transaction, withTransaction } from '../../src/tx/transaction.ts'
import { random } from '../support/random.ts'
import { audit } from './audit.ts'
import { allRecords, makeImage, open, repairSays } from './images.ts'

/** A mapping of one block, from which records are made. */
interface Cell {
  readonly block: number
  readonly owner: number
  readonly offset: number
  readonly kind: 'data' | 'unwritten' | 'attr' | 'bmbt' | 'special'
}

const keyOf = ({ block, owner, kind, offset }: Cell): string =>
  `${block} ${owner} ${kind === 'unwritten' ? 'data' : kind} ${offset}`

/** The records for a set of cells, merged as far as possible. */
function canonical(cells: Iterable<Cell>): RmapRec[] {
  const chains = new Map<string, Cell[]>()
  for (const cell of cells) {
    const placed = cell.kind === 'data' || cell.kind === 'unwritten' || cell.kind === 'attr'
    const chain = `${cell.owner} ${cell.kind} ${placed ? cell.offset - cell.block : ''}`
    const list = chains.get(chain)
    if (list) list.push(cell)
    else chains.set(chain, [cell])
  }
  const list: RmapRec[] = []
  for (const chain of chains.values()) {
    chain.sort((a, b) => a.block - b.block)
    let from = 0
    for (let i = 1; i <= chain.length; i++) {
      if (i < chain.length && (chain[i] as Cell).block === (chain[i - 1] as Cell).block + 1) continue
      const { block, owner, offset, kind } = chain[from] as Cell
      list.push(
        rmapRec(
          block,
          i - from,
          { owner, offset, attrfork: kind === 'attr', bmbtblock: kind === 'bmbt' },
          kind === 'unwritten',
        ),
      )
      from = i
    }
  }
  const unsigned = (owner: number): number => (owner < 0 ? 2 ** 60 + owner : owner)
  return list.sort(
    (a, b) =>
      a.startblock - b.startblock ||
      unsigned(a.owner) - unsigned(b.owner) ||
      a.attrfork - b.attrfork ||
      a.bmbtblock - b.bmbtblock ||
      a.offset - b.offset,
  )
}

for (const [name, options, steps] of [
  ['4k blocks', [], 1200],
  ['1k blocks', ['-b', 'size=1024'], 2500],
  ['without reflink', ['-m', 'reflink=0'], 1200],
] as const) {
  test(`random maps, unmaps and conversions match a set of blocks: ${name}`, () => {
    const { volume } = open(makeImage(32, ...options))
    const rnd = random(7)
    const LENGTH = 200
    const sharing = volume.features.has('reflink')
    const { agno, agbno, fsbno } = withTransaction(volume, (tx) =>
      allocExtent(tx, { minLength: LENGTH, maxLength: LENGTH }),
    )
    const cells = new Map<string, Cell>()
    const busy = (block: number): boolean => [...cells.values()].some((cell) => cell.block === block)
    const fixed = new Set<number>()
    const run = (op: 'map' | 'unmap' | 'convert', list: readonly Cell[]): void => {
      const [{ block, owner, offset, kind }] = list as [Cell]
      withTransaction(volume, (tx) =>
        tx.defer(rmapUpdate, {
          op,
          owner,
          fork: kind === 'attr' ? 'attr' : 'data',
          bmbtblock: kind === 'bmbt',
          startoff: offset,
          fsbno: fsbno + block - agbno,
          blockcount: list.length,
          unwritten: kind === 'unwritten',
        }),
      )
    }
    for (let i = 0; i < steps; i++) {
      const start = agbno + rnd.int(LENGTH)
      const length = Math.min(1 + rnd.int(rnd.pick([1, 4, 30])), agbno + LENGTH - start)
      const kind = rnd.pick(['data', 'data', 'data', 'data', 'unwritten', 'attr', 'bmbt', 'special'] as const)
      const owner = kind === 'special' ? OWNERS.cow : 128 + rnd.int(4)
      // Files map the blocks at one of two offsets, so that runs merge and overlap.
      const delta = rnd.pick([0, 0, 1000])
      const placed = kind === 'data' || kind === 'unwritten' || kind === 'attr'
      const make = (block: number, as: Cell['kind'] = kind): Cell => ({
        block,
        owner,
        kind: as,
        offset: placed ? block - agbno + delta : 0,
      })
      let list = Array.from({ length }, (_, b) => make(start + b))
      if (rnd.chance(0.6)) {
        const alone = kind !== 'data' || !sharing
        const fits = (cell: Cell): boolean =>
          !cells.has(keyOf(cell)) && !fixed.has(cell.block) && (!alone || !busy(cell.block))
        const end = list.findIndex((cell) => !fits(cell))
        if (end >= 0) list = list.slice(0, end)
        if (list.length === 0) continue
        run('map', list)
        for (const cell of list) {
          cells.set(keyOf(cell), cell)
          if (alone) fixed.add(cell.block)
        }
      } else {
        // Remove or convert a part of the existing mappings.
        const seed = rnd.pick([...cells.values()])
        if (!seed) continue
        const members: Cell[] = []
        for (let cell: Cell | undefined = seed; cell && members.length < length; ) {
          members.push(cell)
          const step: number = cell.kind === 'bmbt' || cell.kind === 'special' ? 0 : 1
          const next: Cell | undefined = cells.get(
            keyOf({ ...cell, block: cell.block + 1, offset: cell.offset + step }),
          )
          cell = next?.kind === seed.kind ? next : undefined
        }
        if ((seed.kind === 'data' || seed.kind === 'unwritten') && rnd.chance(0.4)) {
          const other = seed.kind === 'data' ? 'unwritten' : 'data'
          const turned = members.map((cell) => ({ ...cell, kind: other }) as Cell)
          run('convert', turned)
          for (const cell of turned) cells.set(keyOf(cell), cell)
        } else {
          run('unmap', members)
          for (const cell of members) {
            cells.delete(keyOf(cell))
            fixed.delete(cell.block)
          }
        }
      }
      const found = allRecords<RmapRec>(volume, 'rmapbt', agno).filter(
        (rec) =>
          rec.startblock >= agbno && rec.startblock < agbno + LENGTH && (rec.owner >= 0 || rec.owner === OWNERS.cow),
      )
      assert.deepEqual(found, canonical(cells.values()), `step ${i}`)
    }
  })
}

function addRmap(tx: Transaction, agno: number, rec: RmapRec): void {
  fixFreelist(tx, agno)
  mapBlocks(tx, agno, rec)
}

function removeRmap(tx: Transaction, agno: number, rec: RmapRec): void {
  fixFreelist(tx, agno)
  unmapBlocks(tx, agno, rec)
}

test('what is not there cannot be unmapped, what is there not be mapped again', () => {
  const { volume } = open(makeImage(32))
  const { agno, agbno } = withTransaction(volume, (tx) => allocExtent(tx, { minLength: 50, maxLength: 50 }))
  const isCorrupt = (error: unknown): boolean => error instanceof XfsError && error.code === 'CORRUPT'
  const rec = rmapRec(agbno + 10, 10, { owner: 130, offset: 5 })
  const before = allRecords<RmapRec>(volume, 'rmapbt', agno)
  withTransaction(volume, (tx) => addRmap(tx, agno, rec))
  for (const bad of [
    { ...rec, owner: 131 },
    { ...rec, offset: 6 },
    { ...rec, attrfork: 1 },
    { ...rec, extentflag: 1 },
    { ...rec, blockcount: 11 },
    { ...rec, startblock: agbno + 9, blockcount: 3, offset: 4 },
  ]) {
    assert.throws(() => withTransaction(volume, (tx) => removeRmap(tx, agno, bad)), isCorrupt, JSON.stringify(bad))
  }
  assert.throws(() => withTransaction(volume, (tx) => addRmap(tx, agno, rec)), isCorrupt)
  assert.throws(
    () => withTransaction(volume, (tx) => addRmap(tx, agno, { ...rec, startblock: agbno + 15, offset: 10 })),
    isCorrupt,
  )
  withTransaction(volume, (tx) => removeRmap(tx, agno, rec))
  assert.deepEqual(allRecords<RmapRec>(volume, 'rmapbt', agno), before)
})

test('recovery frees blocks without knowing whose they are', () => {
  const { volume } = open(makeImage(32))
  const { agno, fsbno, agbno } = withTransaction(volume, (tx) => allocExtent(tx, { minLength: 20, maxLength: 20 }))
  withTransaction(volume, (tx) => addRmap(tx, agno, rmapRec(agbno, 20, { owner: 130, offset: 5 })))
  withTransaction(volume, (tx) => tx.defer(extentFree, { fsbno: fsbno + 5, blockcount: 5, owner: OWNERS.unknown }))
  audit(volume)
  const rest = allRecords<RmapRec>(volume, 'rmapbt', agno).filter((rec) => rec.owner === 130)
  assert.deepEqual(rest, [
    rmapRec(agbno, 5, { owner: 130, offset: 5 }),
    rmapRec(agbno + 10, 10, { owner: 130, offset: 15 }),
  ])
  // Their record may not exist any more.
  withTransaction(volume, (tx) => removeRmap(tx, agno, rest[0] as RmapRec))
  withTransaction(volume, (tx) => tx.defer(extentFree, { fsbno, blockcount: 5, owner: OWNERS.unknown }))
  audit(volume)
})

test('one block with thousands of owners: a tree of several levels, up and down', () => {
  const { device, volume } = open(makeImage(64, '-b', 'size=1024', '-d', 'agcount=1'))
  const { agno, agbno, fsbno } = withTransaction(volume, (tx) => allocExtent(tx, { minLength: 9, maxLength: 9 }))
  const owners = 4000
  const change = (op: 'map' | 'unmap', list: readonly number[]): void =>
    withTransaction(volume, (tx) => {
      for (const i of list) {
        // Some own more blocks around it, so that records of many lengths overlap.
        const [at, blockcount] = i % 3 === 0 ? [0, 9] : i % 3 === 1 ? [4, 1] : [2, 5]
        tx.defer(rmapUpdate, { op, owner: 128 + i, fork: 'data', startoff: i + at, fsbno: fsbno + at, blockcount })
      }
    })
  const rnd = random(9)
  const all = Array.from({ length: owners }, (_, i) => i)
  const shuffled = all
    .map((i) => [rnd.int(1e9), i] as const)
    .sort((a, b) => a[0] - b[0])
    .map(([, i]) => i)
  for (let i = 0; i < owners; i += 250) change('map', shuffled.slice(i, i + 250))
  assert.equal(
    allRecords<RmapRec>(volume, 'rmapbt', agno).filter(
      (rec) => rec.owner > 0 && rec.startblock >= agbno && rec.startblock < agbno + 9,
    ).length,
    owners,
  )
  assert.ok(Agf.fields.rmaplevel.get(volume.agf(agno).view, 0) >= 3)
  audit(volume)
  for (let i = 0; i < owners; i += 250) change('unmap', all.slice(i, i + 250))
  assert.equal(Agf.fields.rmaplevel.get(volume.agf(agno).view, 0), 1)
  withTransaction(volume, (tx) => tx.defer(extentFree, { fsbno, blockcount: 9 }))
  audit(volume)
  volume.sync()
  assert.equal(repairSays(device), '')
})

test('without rmapbt nothing is done', () => {
  const { volume } = open(makeImage(32, '-m', 'rmapbt=0'))
  withTransaction(volume, (tx) => {
    const { agno, agbno, fsbno } = allocExtent(tx, { minLength: 20, maxLength: 20, owner: OWNERS.cow })
    addRmap(tx, agno, rmapRec(agbno, 20, { owner: 130 }))
    tx.defer(rmapUpdate, { op: 'unmap', owner: 5, fork: 'data', startoff: 0, fsbno, blockcount: 20 })
    tx.defer(extentFree, { fsbno, blockcount: 20, owner: OWNERS.cow })
  })
  audit(volume)
})
