import type { Geometry } from '../../format/geometry.ts'
import type { GroupResult } from '../check.ts'
import type { Blocks } from '../expect/blocks.ts'
import type { ExpectedChunks } from '../expect/inodes.ts'
import type { Findings } from '../findings.ts'
import type { Group, Observation } from '../observe/observe.ts'

/** Counters: what headers and superblock state against what was counted. */

/** The counters of a group, as they should be while its trees stay as they are. */
export function compareCounters(
  geometry: Geometry,
  group: Group,
  blocks: Blocks,
  chunks: ExpectedChunks,
  findings: Findings,
): void {
  const { agno, headers, trees } = group
  const { agf, agi } = headers
  const { features } = geometry
  const { free } = blocks
  let freeblks = 0
  let longest = 0
  for (let i = 0; i < free.start.length; i++) {
    const length = (free.end[i] as number) - (free.start[i] as number)
    freeblks += length
    if (length > longest) longest = length
  }
  const report = (id: Parameters<Findings['add']>[0], found: number, expected: number): void => {
    if (found !== expected) findings.add(id, { agno, found, expected })
  }
  if (headers.agfUsable) {
    report('agf.freeblks', agf.freeblks, freeblks)
    report('agf.longest', agf.longest, longest)
    const { bnobt, cntbt, rmapbt, refcountbt } = trees
    if (features.has('lazysbcount')) {
      report(
        'agf.btreeblks',
        agf.btreeblks,
        bnobt.blocks.length + cntbt.blocks.length - 2 + (rmapbt ? rmapbt.blocks.length - 1 : 0),
      )
    }
    if (rmapbt) report('agf.rmapblocks', agf.rmapblocks, rmapbt.blocks.length)
    if (refcountbt) report('agf.refcntblocks', agf.refcntblocks, refcountbt.blocks.length)
  }
  if (!headers.agiUsable) return
  const { count, free: freecount } = inodeTotals(chunks)
  report('agi.count', agi.count, count)
  report('agi.freecount', agi.freecount, freecount)
  if (features.has('inobtcount')) {
    report('agi.iblocks', agi.iblocks, trees.inobt.blocks.length)
    if (trees.finobt) report('agi.fblocks', agi.fblocks, trees.finobt.blocks.length)
  }
  for (const [bucket, agino] of agi.unlinked.entries()) {
    if (agino !== 0xffffffff) findings.add('agi.unlinked', { agno, agino, bucket })
  }
}

export function inodeTotals(chunks: ExpectedChunks): { readonly count: number; readonly free: number } {
  let count = 0
  let free = 0
  for (let i = 0; i < chunks.length; i++) {
    count += chunks.count.get(i)
    free += chunks.freecount.get(i)
  }
  return { count, free }
}

/** The counters of the superblock, from what the groups should have. */
export function compareSuperblock(
  geometry: Geometry,
  observation: Observation,
  groups: readonly GroupResult[],
  findings: Findings,
): void {
  if (observation.blind) return
  let icount = 0
  let ifree = 0
  let fdblocks = 0
  for (const { blocks, chunks, cow, group, wrong, known, agfl } of groups) {
    if (wrong.size > 0 || !known) return // the groups are mended first, and that changes what they have
    const totals = inodeTotals(chunks)
    icount += totals.count
    ifree += totals.free
    const { bnobt, cntbt, rmapbt } = group.trees
    fdblocks += bnobt.blocks.length + cntbt.blocks.length - 2 + (rmapbt ? rmapbt.blocks.length - 1 : 0) + agfl.length
    for (let i = 0; i < blocks.free.start.length; i++)
      fdblocks += (blocks.free.end[i] as number) - (blocks.free.start[i] as number)
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
