import { orderByU32, orderTies } from '../../util/columns.ts'
import { type BlockRuns, BlockRunsBuilder, type Blocks, split } from '../expect/blocks.ts'
import { usage } from '../expect/usage.ts'
import type { Findings } from '../findings.ts'
import type { SpaceRecords } from '../observe/agtrees.ts'
import { userName } from '../owners.ts'
import { compare } from './join.ts'

/** Free space: blocks without an owner against bnobt and cntbt. */

/** Rows of free extents by length, then by start block: the order of cntbt. */
export function byLength(free: BlockRuns): Uint32Array {
  const lengths = new Uint32Array(free.start.length)
  for (let i = 0; i < lengths.length; i++) lengths[i] = (free.end[i] as number) - (free.start[i] as number)
  return orderByU32(lengths)
}

/** @returns whether bnobt is wrong */
export function compareBnobt(agno: number, blocks: Blocks, records: SpaceRecords, findings: Findings): boolean {
  const { free } = blocks
  const order = orderByU32(records.start.filled(), records.length)
  const startOf = (f: number): number => records.start.get(order[f] as number)
  const endOf = (f: number): number => startOf(f) + records.count.get(order[f] as number)
  let wrong = false
  compare(
    free.start.length,
    order.length,
    (e, f) => (free.start[e] as number) - startOf(f),
    (e, f) => free.end[e] === endOf(f),
    () => {
      wrong = true
    },
  )
  if (wrong) explainBnobt(agno, blocks, records, order, findings)
  return wrong
}

function explainBnobt(
  agno: number,
  blocks: Blocks,
  records: SpaceRecords,
  order: Uint32Array,
  findings: Findings,
): void {
  const listed = new BlockRunsBuilder()
  let last = -1
  for (const row of order) {
    const start = records.start.get(row)
    const len = records.count.get(row)
    const facts = { agno, agbno: start, len }
    if (len === 0 || start + len > blocks.length) {
      findings.add('bnobt.outside', facts)
      continue
    }
    if (start < last) findings.add('bnobt.overlap', { agno, agbno: start, len: Math.min(last, start + len) - start })
    else if (start === last) findings.add('bnobt.split', facts)
    last = Math.max(last, start + len)
    for (const piece of usage(blocks, start, start + len)) {
      if (piece.use === 'free') continue
      const owner = userName(blocks, piece)
      findings.add('bnobt.owned', { agno, agbno: piece.start, len: piece.end - piece.start, owner })
    }
    listed.cover(start, start + len)
  }
  const { start, end } = split(blocks.free, listed.build()).outside
  for (const [i, agbno] of start.entries())
    findings.add('bnobt.missing', { agno, agbno, len: (end[i] as number) - agbno })
}

/** @returns whether cntbt is wrong */
export function compareCntbt(agno: number, { free }: Blocks, records: SpaceRecords, findings: Findings): boolean {
  const expected = byLength(free)
  const found = orderByU32(records.count.filled(), records.length)
  orderTies(found, records.count.data, (a, b) => records.start.get(a) - records.start.get(b))
  const start = (e: number): number => free.start[expected[e] as number] as number
  const length = (e: number): number => (free.end[expected[e] as number] as number) - start(e)
  const foundStart = (f: number): number => records.start.get(found[f] as number)
  const foundLength = (f: number): number => records.count.get(found[f] as number)
  let wrong = false
  compare(
    expected.length,
    found.length,
    (e, f) => length(e) - foundLength(f) || start(e) - foundStart(f),
    () => true,
    (kind, e, f) => {
      wrong = true
      if (kind === 'missing') findings.add('cntbt.missing', { agno, agbno: start(e), len: length(e) })
      else findings.add('cntbt.extra', { agno, agbno: foundStart(f), len: foundLength(f) })
    },
  )
  return wrong
}
