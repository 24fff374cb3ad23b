import { MAX_REFCOUNT } from '../../format/btrecs.ts'
import { orderByU32 } from '../../util/columns.ts'
import type { ObservedTrees, SpaceRecords } from '../observe/agtrees.ts'
import { type BlockRuns, BlockRunsBuilder, type Blocks, blocksOf, type FileBlocks, split } from './blocks.ts'
import { listedFree } from './listed.ts'
import { usage } from './usage.ts'

/**
 * Saturated reference counts: a count that has reached its maximum never changes again. So it does
 * not show the number of mappings, and its blocks stay in use without any.
 *
 *   mappings   ▒▒▒▒▒▒▒▒    ▒▒▒▒
 *                 ▒▒▒▒▒▒▒▒▒▒▒▒▒
 *   record     ├──── 2^32−1 ───────┤
 *   counts     MMMMMMMMMMMMMMMMMMMMM      in place of 1 2 1 2 …
 *   shareable  ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒      so none of them is free
 *
 * Source: fs/xfs/libxfs/xfs_refcount.c (MAXREFCOUNT).
 */

/** The same blocks with saturated counts. */
export function withSaturated(blocks: Blocks, trees: ObservedTrees): Blocks {
  const { refcountbt } = trees
  if (!refcountbt?.complete) return blocks
  const saturated = saturatedRuns(blocks, refcountbt.records, listedFree(trees))
  if (saturated.start.length === 0) return blocks
  return blocksOf(blocks.length, blocks.metadata, saturate(blocks, blocks.free, saturated))
}

/**
 * The saturated records that can be true: in order, of blocks that could be shared.
 *
 * @param blocks  all owners of blocks, including the AGFL
 * @param isFree  whether bnobt lists the run as free
 */
function saturatedRuns(
  blocks: Blocks,
  records: SpaceRecords,
  isFree: (start: number, end: number) => boolean,
): BlockRuns {
  const runs = new BlockRunsBuilder()
  if (!records.refcount.filled().includes(MAX_REFCOUNT)) return runs.build()
  let last = 0
  for (const row of orderByU32(records.start.filled(), records.length)) {
    const start = records.start.get(row)
    const end = start + records.count.get(row)
    if (end > blocks.length) break
    if (records.refcount.get(row) === MAX_REFCOUNT && start >= last && isShareable(blocks, start, end, isFree))
      runs.push(start, end, MAX_REFCOUNT)
    last = Math.max(last, end)
  }
  return runs.build()
}

function isShareable(
  blocks: Blocks,
  start: number,
  end: number,
  isFree: (start: number, end: number) => boolean,
): boolean {
  for (const piece of usage(blocks, start, end)) {
    if (piece.use === 'metadata' || piece.use === 'exclusive') return false
    if (piece.use === 'free' && isFree(piece.start, piece.end)) return false
  }
  return start < end
}

/**
 * The blocks of files, with the counts of `saturated` and those of its blocks that are in `free`.
 */
function saturate(files: FileBlocks, free: BlockRuns, saturated: BlockRuns): FileBlocks {
  const held = split(free, saturated).inside
  const counts = united(split(files.counts, saturated).outside, saturated)
  return { ...files, shareable: united(files.shareable, held), counts }
}

/** Two lists of runs without common blocks, as one; adjacent runs of one tag are merged. */
function united(a: BlockRuns, b: BlockRuns): BlockRuns {
  const out = new BlockRunsBuilder()
  let i = 0
  for (let k = 0; i < a.start.length || k < b.start.length; ) {
    const first = (a.start[i] ?? Number.POSITIVE_INFINITY) < (b.start[k] ?? Number.POSITIVE_INFINITY)
    const runs = first ? a : b
    const row = first ? i++ : k++
    const start = runs.start[row] as number
    const end = runs.end[row] as number
    const tag = runs.tag[row] as number
    const last = out.length - 1
    if (last >= 0 && out.end.get(last) === start && out.tag.get(last) === tag) out.end.data[last] = end
    else out.push(start, end, tag)
  }
  return out.build()
}
