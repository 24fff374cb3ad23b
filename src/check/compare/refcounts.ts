import { MAX_REFCOUNT } from '../../format/btrecs.ts'
import { orderByU32, u8Column, u32Column } from '../../util/columns.ts'
import { type BlockRuns, BlockRunsBuilder, type Blocks, type CowRun, split } from '../expect/blocks.ts'
import { type UsageRange, usage } from '../expect/usage.ts'
import type { Findings } from '../findings.ts'
import type { SpaceRecords } from '../observe/agtrees.ts'
import { claimName, userName } from '../owners.ts'
import { compare, type Differences } from './join.ts'

/** Reference counts: the sweep over all mappings against the records of refcountbt. */

const COW_FLAG = 0x80000000

/** Compare the records of shared blocks. */
export function compareRefcounts({ counts }: Blocks, records: SpaceRecords): Differences {
  const { start, count, refcount } = records
  return compare(
    counts.start.length,
    sharedRows(records),
    (e, f) => (counts.start[e] as number) - start.get(f),
    (e, f) =>
      (counts.end[e] as number) - (counts.start[e] as number) === count.get(f) && counts.tag[e] === refcount.get(f),
  )
}

/** Rows of records of shared blocks, in order: those of CoW staging blocks sort behind them. */
function sharedRows({ start, length }: SpaceRecords): Uint32Array {
  const order = orderByU32(start.filled(), length)
  const first = order.findIndex((row) => start.get(row) >= COW_FLAG)
  return first < 0 ? order : order.subarray(0, first)
}

/** The sweep does not count as far: such a count comes from a record. */
export function noteSaturated(agno: number, { start, end, tag }: BlockRuns, findings: Findings): void {
  for (let at = tag.indexOf(MAX_REFCOUNT); at >= 0; at = tag.indexOf(MAX_REFCOUNT, at + 1)) {
    const agbno = start[at] as number
    findings.add('refcountbt.saturated', { agno, agbno, len: (end[at] as number) - agbno })
  }
}

/** Report what is wrong with the records of shared blocks, by blocks. */
export function explainRefcounts(agno: number, blocks: Blocks, records: SpaceRecords, findings: Findings): void {
  const covered = new BlockRunsBuilder()
  let lastEnd = -1
  let lastCount = -1
  for (const row of sharedRows(records)) {
    const start = records.start.get(row)
    const len = records.count.get(row)
    const found = records.refcount.get(row)
    const facts = { agno, agbno: start, len, found }
    if (len === 0 || start + len > blocks.length) {
      findings.add('refcountbt.outside', facts)
      continue
    }
    if (start < lastEnd) findings.add('refcountbt.overlap', facts)
    else if (start === lastEnd && found === lastCount) findings.add('refcountbt.split', facts)
    if (found < 2) findings.add('refcountbt.count', facts)
    else for (const piece of usage(blocks, start, start + len)) explainPiece(agno, blocks, piece, found, findings)
    lastEnd = Math.max(lastEnd, start + len)
    lastCount = found
    covered.cover(start, start + len)
  }
  const { start, end, tag } = split(blocks.counts, covered.build()).outside
  for (const [i, agbno] of start.entries())
    findings.add('refcountbt.missing', { agno, agbno, len: (end[i] as number) - agbno, expected: tag[i] as number })
}

function explainPiece(
  agno: number,
  blocks: Blocks,
  piece: { start: number; end: number; use: string; count: number; claim: number },
  found: number,
  findings: Findings,
): void {
  const facts = { agno, agbno: piece.start, len: piece.end - piece.start, found }
  if (piece.use === 'free') findings.add('refcountbt.free', facts)
  else if (piece.use === 'single') findings.add('refcountbt.single', facts)
  else if (piece.use === 'exclusive')
    findings.add('refcountbt.unshareable', { ...facts, owner: claimName(blocks, piece.claim) })
  else if (piece.use === 'metadata')
    findings.add('refcountbt.metadata', { ...facts, owner: claimName(blocks, piece.claim) })
  else if (found > piece.count) findings.add('refcountbt.high', { ...facts, expected: piece.count })
  else if (found < piece.count) findings.add('refcountbt.low', { ...facts, expected: piece.count })
}

/** The records of CoW staging blocks. */
export interface CowRecords {
  /** Those that can be true. */
  readonly runs: readonly CowRun[]
  /** Rows of the others, and of those that continue the one before them; in order. */
  readonly wrong: Uint32Array
  /** What is wrong with each: an index of `COW_FAULTS`. */
  readonly faults: Uint8Array
}

const COW_FAULTS = [
  'refcountbt.outside',
  'refcountbt.count',
  'refcountbt.overlap',
  'cow.owned',
  'cow.free',
  'refcountbt.split',
] as const
type CowFault = (typeof COW_FAULTS)[number]

/**
 * These records cannot be derived from other metadata, so those that can be true are taken as true.
 * They were left by an interrupted write.
 *
 * @param blocks  other owners of blocks
 * @param listedFree  whether bnobt lists the run as free
 */
export function cowRecords(
  blocks: Blocks,
  records: SpaceRecords,
  listedFree: (start: number, end: number) => boolean,
): CowRecords {
  const runs: CowRun[] = []
  const wrong = u32Column()
  const faults = u8Column()
  let last = -1
  for (const row of orderByU32(records.start.filled(), records.length)) {
    if (records.start.get(row) < COW_FLAG) continue
    const start = records.start.get(row) - COW_FLAG
    const end = start + records.count.get(row)
    const fault = cowFault(blocks, start, end, records.refcount.get(row), last, listedFree)
    if (fault !== undefined) {
      wrong.push(row)
      faults.push(COW_FAULTS.indexOf(fault))
    }
    if (fault !== undefined && fault !== 'refcountbt.split') continue
    runs.push({ start, end })
    last = end
  }
  return { runs, wrong: wrong.filled(), faults: faults.filled() }
}

function cowFault(
  blocks: Blocks,
  start: number,
  end: number,
  refcount: number,
  last: number,
  listedFree: (start: number, end: number) => boolean,
): CowFault | undefined {
  if (start === end || end > blocks.length) return 'refcountbt.outside'
  if (refcount !== 1) return 'refcountbt.count'
  if (start < last) return 'refcountbt.overlap'
  if (firstUsed(blocks, start, end)) return 'cow.owned'
  if (listedFree(start, end)) return 'cow.free'
  return start === last ? 'refcountbt.split' : undefined
}

function firstUsed(blocks: Blocks, start: number, end: number): UsageRange | undefined {
  for (const piece of usage(blocks, start, end)) if (piece.use !== 'free') return piece
  return undefined
}

/** Report wrong records of CoW staging blocks, and leftovers. */
export function explainCow(
  agno: number,
  blocks: Blocks,
  records: SpaceRecords,
  { runs, wrong, faults }: CowRecords,
  findings: Findings,
): void {
  for (const [i, row] of wrong.entries()) {
    const id = COW_FAULTS[faults[i] as number] as CowFault
    const agbno = records.start.get(row) - COW_FLAG
    const len = records.count.get(row)
    const user = id === 'cow.owned' ? firstUsed(blocks, agbno, agbno + len) : undefined
    const owner = user && { owner: userName(blocks, user) }
    findings.add(id, { agno, agbno, len, found: records.refcount.get(row), ...owner })
  }
  for (const { start, end } of runs) findings.add('cow.leftover', { agno, agbno: start, len: end - start })
}
