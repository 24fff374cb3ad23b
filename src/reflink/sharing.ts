import { records } from '../btree/cursor.ts'
import { openTree } from '../btree/roots.ts'
import type { ForkName, Inode } from '../inode/inode.ts'
import { extents } from '../mapping/extents.ts'
import { findShared } from '../space/refcount.ts'
import { ExtentSet } from '../util/extentset.ts'
import type { BlockReader, Volume } from '../volume.ts'
import { ownersOf } from './blockowners.ts'

/** A run of one mapping, in blocks: all of it is shared, or none of it. */
export interface MappedRun {
  readonly startoff: number
  /** fsbno */
  readonly startblock: number
  readonly blockcount: number
  readonly unwritten: boolean
  /** More than one owner. */
  readonly shared: boolean
}

/**
 * The mappings of a fork in file order, cut where sharing begins or ends: `shared` is true for
 * exactly the blocks with more than one owner.
 * @throws XfsError CORRUPT
 */
export function* mappedRuns(
  inode: Inode,
  fork: ForkName = 'data',
  reader: BlockReader = inode.volume,
): Generator<MappedRun> {
  const { volume } = inode
  const mayShare = fork === 'data' && inode.reflink && volume.features.has('reflink')
  for (const rec of extents(inode, fork, 0, reader)) {
    const base = { unwritten: rec.extentflag === 1 }
    const { startoff, startblock, blockcount } = rec
    if (!mayShare || base.unwritten) {
      yield { startoff, startblock, blockcount, ...base, shared: false }
      continue
    }
    const agno = volume.geometry.agnoOf(startblock)
    const agbno = volume.geometry.agbnoOf(startblock)
    for (let done = 0; done < blockcount; ) {
      const run = findShared(volume, reader, agno, agbno + done, blockcount - done)
      const gap = run ? run.agbno - (agbno + done) : blockcount - done
      if (gap > 0)
        yield { startoff: startoff + done, startblock: startblock + done, blockcount: gap, ...base, shared: false }
      done += gap
      if (run)
        yield {
          startoff: startoff + done,
          startblock: startblock + done,
          blockcount: run.length,
          ...base,
          shared: true,
        }
      done += run?.length ?? 0
    }
  }
}

/** Blocks of a file by what would happen to them if the file was removed. */
interface Usage {
  /** Blocks that the data fork maps (a block mapped twice counts twice). */
  readonly referenced: number
  /** Of these, blocks with more than one owner. */
  readonly shared: number
  /** Of these, blocks with no other owner. */
  readonly exclusive: number
}

export function usage(inode: Inode): Usage {
  let shared = 0
  let exclusive = 0
  for (const run of mappedRuns(inode)) {
    if (run.shared) shared += run.blockcount
    else exclusive += run.blockcount
  }
  return { referenced: shared + exclusive, shared, exclusive }
}

/** Another mapping of blocks of a file. */
interface Sharer {
  readonly ino: number
  /** Offset in the other file, in blocks. */
  readonly offset: number
  /** Offset in this file. */
  readonly startoff: number
  readonly blockcount: number
}

/** The sharers of a file: all other mappings of its shared runs. */
export function* sharers(inode: Inode): Generator<Sharer> {
  const shared = new ExtentSet()
  for (const run of mappedRuns(inode)) if (run.shared) shared.add(run.startblock, run.blockcount)
  const owners = ownersOf(inode.volume, shared)
  for (const run of mappedRuns(inode)) {
    if (!run.shared) continue
    for (const { ino, startoff: offset, startblock, blockcount } of owners(run.startblock, run.blockcount)) {
      const startoff = run.startoff + (startblock - run.startblock)
      if (ino !== inode.ino || offset !== startoff) yield { ino, offset, startoff, blockcount }
    }
  }
}

/**
 * How many blocks of an AG have how many owners: rows by refcount, and the blocks in CoW staging.
 */
export function refcountHistogram(
  volume: Volume,
  agno: number,
): { readonly blocks: ReadonlyMap<number, number>; readonly cow: number } {
  const blocks = new Map<number, number>()
  let cow = 0
  if (!volume.features.has('reflink')) return { blocks, cow }
  const tree = openTree(volume, 'refcountbt', agno)
  for (const rec of records(tree)) {
    if (rec.cowflag === 1) cow += rec.blockcount
    else blocks.set(rec.refcount, (blocks.get(rec.refcount) ?? 0) + rec.blockcount)
  }
  return { blocks, cow }
}
