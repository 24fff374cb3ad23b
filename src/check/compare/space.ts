import { orderByU32, orderTies } from '../../util/columns.ts'
import { type BlockRuns, BlockRunsBuilder, type Blocks, split } from '../expect/blocks.ts'
import { usage } from '../expect/usage.ts'
import type { Findings } from '../findings.ts'
import type { SpaceRecords } from '../observe/agtrees.ts'
import { userName } from '../owners.ts'
import { compare, type Differences, NO_ROW } from './join.ts'

/** Free space: blocks without an owner against bnobt and cntbt. */

/** Rows of free extents by length, then by start block: the order of cntbt. */
export function byLength(free: BlockRuns): Uint32Array {
  const lengths = new Uint32Array(free.start.length)
  for (let i = 0; i < lengths.length; i++) lengths[i] = (free.end[i] as number) - (free.start[i] as number)
  return orderByU32(lengths)
}

export function compareBnobt({ free }: Blocks, records: SpaceRecords): Differences {
  const { start, count } = records
  return compare(
    free.start.length,
    orderByU32(start.filled(), records.length),
    (e, f) => (free.start[e] as number) - start.get(f),
    (e, f) => free.end[e] === start.get(f) + count.get(f),
  )
}

/** Report what is wrong with a bnobt that differs, by blocks. */
export function explainBnobt(agno: number, blocks: Blocks, records: SpaceRecords, findings: Findings): void {
  const listed = new BlockRunsBuilder()
  let last = -1
  for (const row of orderByU32(records.start.filled(), records.length)) {
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

/** Expected rows are those of `byLength`. */
export function compareCntbt({ free }: Blocks, records: SpaceRecords): Differences {
  const expected = byLength(free)
  const { start, count } = records
  const found = orderByU32(count.filled(), records.length)
  orderTies(found, count.data, (a, b) => start.get(a) - start.get(b))
  const startOf = (e: number): number => free.start[expected[e] as number] as number
  const endOf = (e: number): number => free.end[expected[e] as number] as number
  return compare(
    expected.length,
    found,
    (e, f) => endOf(e) - startOf(e) - count.get(f) || startOf(e) - start.get(f),
    () => true,
  )
}

export function explainCntbt(
  agno: number,
  { free }: Blocks,
  { start, count }: SpaceRecords,
  differences: Differences,
  findings: Findings,
): void {
  const expected = byLength(free)
  for (const [e, f] of differences) {
    if (f !== NO_ROW) {
      findings.add('cntbt.extra', { agno, agbno: start.get(f), len: count.get(f) })
      continue
    }
    const row = expected[e] as number
    const agbno = free.start[row] as number
    findings.add('cntbt.missing', { agno, agbno, len: (free.end[row] as number) - agbno })
  }
}
