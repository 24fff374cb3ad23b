import { MAX_REFCOUNT } from '../../format/btrecs.ts'
import { orderByU32 } from '../../util/columns.ts'
import { type BlockRuns, BlockRunsBuilder, type Blocks, type CowRun, split } from '../expect/blocks.ts'
import { usage } from '../expect/usage.ts'
import type { Findings } from '../findings.ts'
import type { SpaceRecords } from '../observe/agtrees.ts'
import { claimName, userName } from '../owners.ts'
import { compare } from './join.ts'

/** Reference counts: the sweep over all mappings against the records of refcountbt. */

const COW_FLAG = 0x80000000

/** @returns whether refcountbt is wrong in its records of shared blocks */
export function compareRefcounts(agno: number, blocks: Blocks, records: SpaceRecords, findings: Findings): boolean {
  const { counts } = blocks
  noteSaturated(agno, counts, findings)
  const order = orderByU32(records.start.filled(), records.length)
  let shared = 0
  while (shared < order.length && records.start.get(order[shared] as number) < COW_FLAG) shared++
  let wrong = false
  compare(
    counts.start.length,
    shared,
    (e, f) => (counts.start[e] as number) - records.start.get(order[f] as number),
    (e, f) => {
      const row = order[f] as number
      return (
        (counts.end[e] as number) - (counts.start[e] as number) === records.count.get(row) &&
        counts.tag[e] === records.refcount.get(row)
      )
    },
    () => {
      wrong = true
    },
  )
  if (wrong) explain(agno, blocks, records, order.subarray(0, shared), findings)
  return wrong
}

/** The sweep does not count up to this value: such a count comes from a record. */
function noteSaturated(agno: number, { start, end, tag }: BlockRuns, findings: Findings): void {
  for (let at = tag.indexOf(MAX_REFCOUNT); at >= 0; at = tag.indexOf(MAX_REFCOUNT, at + 1)) {
    const agbno = start[at] as number
    findings.add('refcountbt.saturated', { agno, agbno, len: (end[at] as number) - agbno })
  }
}

function explain(agno: number, blocks: Blocks, records: SpaceRecords, order: Uint32Array, findings: Findings): void {
  const covered = new BlockRunsBuilder()
  let lastEnd = -1
  let lastCount = -1
  for (const row of order) {
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

/**
 * The records of CoW staging blocks. They cannot be derived from other metadata, so those that can
 * be true are taken as true. They were left by an interrupted write.
 *
 * @param blocks  other owners of blocks
 * @param listedFree  whether bnobt lists the run as free
 */
export function cowRuns(
  agno: number,
  blocks: Blocks,
  records: SpaceRecords,
  listedFree: (start: number, end: number) => boolean,
  findings: Findings,
): { readonly runs: readonly CowRun[]; readonly wrong: boolean } {
  const runs: CowRun[] = []
  let wrong = false
  let last = -1
  for (const row of orderByU32(records.start.filled(), records.length)) {
    if (records.start.get(row) < COW_FLAG) continue
    const start = records.start.get(row) - COW_FLAG
    const len = records.count.get(row)
    const facts = { agno, agbno: start, len, found: records.refcount.get(row) }
    const bad = cowFault(blocks, start, len, facts.found, last)
    if (bad) findings.add(bad.id, { ...facts, ...(bad.owner === undefined ? {} : { owner: bad.owner }) })
    else if (listedFree(start, start + len)) findings.add('cow.free', facts)
    else {
      if (start === last) {
        findings.add('refcountbt.split', facts)
        wrong = true
      }
      runs.push({ start, end: start + len })
      last = start + len
      continue
    }
    wrong = true
  }
  return { runs, wrong }
}

type CowFault = {
  readonly id: 'refcountbt.outside' | 'refcountbt.overlap' | 'refcountbt.count' | 'cow.owned'
  readonly owner?: string
}

function cowFault(blocks: Blocks, start: number, len: number, refcount: number, last: number): CowFault | undefined {
  if (len === 0 || start + len > blocks.length) return { id: 'refcountbt.outside' }
  if (refcount !== 1) return { id: 'refcountbt.count' }
  if (start < last) return { id: 'refcountbt.overlap' }
  for (const piece of usage(blocks, start, start + len)) {
    if (piece.use !== 'free') return { id: 'cow.owned', owner: userName(blocks, piece) }
  }
  return undefined
}
