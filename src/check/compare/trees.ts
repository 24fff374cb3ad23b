import { type Blocks, withCow } from '../expect/blocks.ts'
import { listedFree } from '../expect/listed.ts'
import type { ObservedTrees } from '../observe/agtrees.ts'
import type { Differences } from './join.ts'
import { type CowRecords, compareRefcounts, cowRecords } from './refcounts.ts'
import { compareRmapbt, type RmapComparison } from './rmaps.ts'
import { compareBnobt, compareCntbt } from './space.ts'

/**
 * How the trees that depend on all owners of blocks differ from what these owners give; undefined
 * for a tree that could not be read whole, and one that the AG does not have.
 */
export interface SpaceComparison {
  /** Owners of blocks; CoW staging blocks are not among them. */
  readonly blocks: Blocks
  /** The same with CoW staging blocks. */
  readonly all: Blocks
  readonly bnobt: Differences | undefined
  readonly cntbt: Differences | undefined
  readonly rmapbt: RmapComparison | undefined
  readonly refcountbt: Differences | undefined
  readonly cow: CowRecords | undefined
}

export function compareSpace(blocks: Blocks, trees: ObservedTrees): SpaceComparison {
  const { bnobt, cntbt, rmapbt, refcountbt } = trees
  const refcounts = refcountbt?.complete ? refcountbt.records : undefined
  const cow = refcounts && cowRecords(blocks, refcounts, listedFree(trees))
  const all = cow && cow.runs.length > 0 ? withCow(blocks, cow.runs) : blocks
  return {
    blocks,
    all,
    bnobt: bnobt.complete ? compareBnobt(all, bnobt.records) : undefined,
    cntbt: cntbt.complete ? compareCntbt(all, cntbt.records) : undefined,
    rmapbt: rmapbt?.complete ? compareRmapbt(all, rmapbt.records) : undefined,
    refcountbt: refcounts && compareRefcounts(blocks, refcounts),
    cow,
  }
}
