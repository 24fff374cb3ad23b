import { blocksBelowRoots } from '../../ag/ag.ts'
import { NULLAGINO } from '../../format/ag.ts'
import type { Geometry } from '../../format/geometry.ts'
import { type Blocks, runTotals } from '../expect/blocks.ts'
import { type ExpectedChunks, inodeTotals } from '../expect/inodes.ts'
import type { Findings } from '../findings.ts'
import type { ObservedTrees } from '../observe/agtrees.ts'
import { InodeState, type Inodes } from '../observe/inodetable.ts'
import type { ObservedAg } from '../observe/observation.ts'
import type { ProblemId } from '../problems.ts'
import type { AgResult } from '../result.ts'

/** Counters of headers and superblock against the counted values. */

type ReportCounter = (id: ProblemId, found: number, expected: number) => void
const reporter =
  (findings: Findings, agno: number): ReportCounter =>
  (id, found, expected) => {
    if (found !== expected) findings.add(id, { agno, found, expected })
  }

/** Compare free blocks and blocks of trees with their values for the observed trees. */
export function compareAgf(
  geometry: Geometry,
  { agno, headers, trees }: ObservedAg,
  { free }: Blocks,
  findings: Findings,
): void {
  const { agf } = headers
  const { features } = geometry
  if (!headers.agfUsable) return
  const { blocks, longest } = runTotals(free)
  const report = reporter(findings, agno)
  report('agf.freeblks', agf.freeblks, blocks)
  report('agf.longest', agf.longest, longest)
  const { bnobt, cntbt, rmapbt, refcountbt } = trees
  const counted = bnobt.complete && cntbt.complete && rmapbt?.complete !== false
  if (counted && features.has('lazysbcount')) report('agf.btreeblks', agf.btreeblks, belowRoots(trees))
  if (rmapbt?.complete) report('agf.rmapblocks', agf.rmapblocks, rmapbt.blocks.length)
  if (refcountbt?.complete) report('agf.refcntblocks', agf.refcntblocks, refcountbt.blocks.length)
}

const belowRoots = (trees: ObservedTrees): number =>
  blocksBelowRoots(Object.values(trees).map(({ name, blocks }) => ({ name, blocks: blocks.length })))

/**
 * Compare inode counts, blocks of the inode trees, and the AGI unlinked lists.
 * @returns the lists (their buckets) that do not begin with an unlinked inode
 */
export function compareAgi(
  geometry: Geometry,
  { agno, headers, trees }: ObservedAg,
  inodes: Inodes,
  chunks: ExpectedChunks,
  findings: Findings,
): number[] {
  const { agi } = headers
  if (!headers.agiUsable) return []
  const report = reporter(findings, agno)
  const { count, free: freecount } = inodeTotals(chunks)
  report('agi.count', agi.count, count)
  report('agi.freecount', agi.freecount, freecount)
  const { inobt, finobt } = trees
  if (geometry.features.has('inobtcount')) {
    if (inobt.complete) report('agi.iblocks', agi.iblocks, inobt.blocks.length)
    if (finobt?.complete) report('agi.fblocks', agi.fblocks, finobt.blocks.length)
  }
  const falseBuckets: number[] = []
  for (const [bucket, agino] of agi.unlinked.entries()) {
    if (agino === NULLAGINO) continue
    const slot = inodes.slot(geometry.ino(agno, agino))
    if (slot >= 0 && inodes.state.get(slot) === InodeState.bad) continue // unknown
    const unlinked = slot >= 0 && inodes.mode.get(slot) !== 0 && inodes.nlink.get(slot) === 0
    findings.add(unlinked ? 'agi.unlinked' : 'agi.bucket', { agno, agino, bucket })
    if (!unlinked) falseBuckets.push(bucket)
  }
  return falseBuckets
}

/** Compare the counters of the superblock with the sums of those that the AGs should have. */
export function compareSuperblock(geometry: Geometry, ags: readonly AgResult[], findings: Findings): void {
  let icount = 0
  let ifree = 0
  let fdblocks = 0
  for (const { blocks, chunks, cow, ag, wrong, known, inodesKnown, agfl } of ags) {
    if (wrong.size > 0 || !known || !inodesKnown) return // the AGs are repaired first, and that changes what they have
    const totals = inodeTotals(chunks)
    icount += totals.count
    ifree += totals.free
    fdblocks += belowRoots(ag.trees) + agfl.length + runTotals(blocks.free).blocks
    for (const { start, end } of cow) fdblocks -= end - start
  }
  const { sb } = geometry
  const report = (id: 'sb.icount' | 'sb.ifree' | 'sb.fdblocks', found: number, expected: number): void => {
    if (found !== expected) findings.add(id, { found, expected })
  }
  report('sb.icount', sb.icount, icount)
  report('sb.ifree', sb.ifree, ifree)
  report('sb.fdblocks', sb.fdblocks, fdblocks)
}
