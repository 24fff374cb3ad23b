import { XfsError } from '../errors.ts'
import { Agf } from '../format/ag.ts'
import type { BmbtRec } from '../format/btrecs.ts'
import { DIFLAGS } from '../format/dinode.ts'
import type { Geometry } from '../format/geometry.ts'
import { maxLevels, maxRecords } from '../format/treesizes.ts'
import { type Inode, openInode, updateInode } from '../inode/inode.ts'
import { findShared } from '../space/refcount.ts'
import { freeForUsers, reservedForOthers, reservePool } from '../space/reserve.ts'
import { asMuchAsFits, withTransaction } from '../tx/transaction.ts'
import { add, type Bytes, unitOf, unitsFor } from '../util/bytes.ts'
import type { BlockReader, Volume } from '../volume.ts'
import { allocateRange } from './bmap.ts'
import { extentBefore, extents, findExtent, trimExtent } from './extents.ts'
import { unmapSteps } from './trim.ts'

/**
 * Ranges of a file: holes, unwritten, written and shared blocks; filling its holes; the space
 * needed for a change.
 */

export interface Run {
  readonly kind: 'hole' | 'unwritten' | 'written' | 'shared'
  readonly startoff: number
  readonly blockcount: number
  /** The part of an extent; undefined for a hole. */
  readonly extent: BmbtRec | undefined
}

/** The state of the file at block `startoff`, and the length of that range, up to `most` blocks. */
export function runAt(inode: Inode, startoff: number, most: number, reader: BlockReader): Run {
  const extent = findExtent(inode, 'data', startoff, reader)
  if (!extent || extent.startoff > startoff) {
    const blockcount = extent ? Math.min(most, extent.startoff - startoff) : most
    return { kind: 'hole', startoff, blockcount, extent: undefined }
  }
  const part = trimExtent(extent, startoff, startoff + most)
  if (part.extentflag === 1) return { kind: 'unwritten', startoff, blockcount: part.blockcount, extent: part }
  const { geometry } = inode.volume
  const agno = geometry.agnoOf(part.startblock)
  const agbno = geometry.agbnoOf(part.startblock)
  const shared = inode.reflink ? findShared(inode.volume, reader, agno, agbno, part.blockcount) : undefined
  const before = shared ? shared.agbno - agbno : part.blockcount
  const blockcount = before > 0 ? before : (shared?.length ?? part.blockcount)
  return {
    kind: before > 0 ? 'written' : 'shared',
    startoff,
    blockcount,
    extent: trimExtent(part, startoff, startoff + blockcount),
  }
}

/**
 * A range of a hole, extended to multiples of an extent size hint. If the hole is too small for
 * that, the range is moved, not reduced. Source: xfs_bmap_extsize_align.
 */
export function alignToHint(
  inode: Inode,
  run: { startoff: number; blockcount: number },
  hint: number,
  reader: BlockReader,
): { startoff: number; blockcount: number } {
  const before = extentBefore(inode, 'data', run.startoff, reader)
  const after = findExtent(inode, 'data', run.startoff, reader)
  const low = before ? before.startoff + before.blockcount : 0
  const high = after ? after.startoff : Number.POSITIVE_INFINITY
  const end = run.startoff + run.blockcount
  let startoff = run.startoff - (run.startoff % hint)
  let blockcount = Math.ceil((end - startoff) / hint) * hint
  if (startoff !== run.startoff && startoff < low) startoff = low
  if (startoff + blockcount !== end && startoff + blockcount > high) startoff = Math.max(0, high - blockcount)
  if (startoff !== run.startoff && startoff < low) startoff = low
  if (startoff + blockcount !== end && startoff + blockcount > high) blockcount = high - startoff
  return { startoff, blockcount }
}

// ------------------------------------------------------------------------------------------- holes

/** Maximum holes that one transaction fills. */
const STEP = 256

/**
 * Allocate unwritten blocks for every hole in the file blocks [from, to): all of them or none.
 * @param prealloc  set the prealloc flag: blocks past EOF are kept
 * @throws XfsError NOSPC: nothing has changed
 */
export function fillHoles(volume: Volume, ino: number, from: number, to: number, prealloc: boolean): void {
  const holes = [...holesIn(openInode(volume, ino), from, to)]
  const blocks = holes.reduce((sum, hole) => sum + hole.blockcount, 0)
  requireBlocks(volume, blocks, volume.geometry.inoAgno(ino))
  const filled: BlockRange[] = []
  try {
    for (let i = 0; i < holes.length || (i === 0 && prealloc); ) {
      const made = asMuchAsFits(STEP, (most) => fillSome(volume, ino, holes.slice(i, i + most), prealloc))
      filled.push(...made)
      i += Math.max(1, made.length)
      const last = made.at(-1)
      const hole = holes[i - 1]
      if (!last || !hole || last.blockcount === hole.blockcount) continue
      // The rest of the last hole is next.
      holes[--i] = { startoff: hole.startoff + last.blockcount, blockcount: hole.blockcount - last.blockcount }
    }
  } catch (error) {
    for (const { startoff, blockcount } of filled) unmapSteps(volume, ino, startoff, blockcount)
    throw error
  }
}

/**
 * Fill holes in one transaction until it is full. @returns the filled holes; the last one may be
 * partial
 */
function fillSome(volume: Volume, ino: number, holes: readonly BlockRange[], prealloc: boolean): BlockRange[] {
  return withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    const made: BlockRange[] = []
    for (const { startoff, blockcount } of holes) {
      if (made.length > 0 && tx.full) break
      const list = allocateRange(tx, inode, 'data', startoff, blockcount, { unwritten: true, untilFull: true })
      const last = list.at(-1)
      const filled = last ? last.startoff + last.blockcount - startoff : 0
      made.push({ startoff, blockcount: filled })
      if (filled < blockcount) break
    }
    if (prealloc && (inode.flags & DIFLAGS.prealloc) === 0) {
      updateInode(tx, inode, { flags: inode.flags | DIFLAGS.prealloc })
    }
    return made
  })
}

/** In file blocks. */
interface BlockRange {
  readonly startoff: number
  readonly blockcount: number
}

/**
 * The holes of [from, to) in file blocks, extended to the extent size hint of the file.
 */
function* holesIn(inode: Inode, from: number, to: number): Generator<BlockRange> {
  const hint = (inode.flags & DIFLAGS.extsize) !== 0 ? inode.extsize : 0
  for (let at = from; at < to; ) {
    const run = runAt(inode, at, to - at, inode.volume)
    const hole = run.kind === 'hole' && hint > 1 ? alignToHint(inode, run, hint, inode.volume) : run
    if (run.kind === 'hole') yield { startoff: hole.startoff, blockcount: hole.blockcount }
    at = Math.max(run.startoff + run.blockcount, hole.startoff + hole.blockcount)
  }
}

// ------------------------------------------------------------------------------------------- space

/**
 * Blocks that a write to [offset, offset + length) must allocate: for holes and for shared extents.
 */
export function blocksNeeded(inode: Inode, offset: Bytes, length: Bytes, reader: BlockReader = inode.volume): number {
  if (length <= 0) return 0
  const { blocksize } = inode.volume.geometry
  const from = unitOf(offset, blocksize)
  const end = unitsFor(add(offset, length), blocksize)
  let have = 0
  for (const extent of extents(inode, 'data', from, reader)) {
    if (extent.startoff >= end) break
    const part = trimExtent(extent, from, end)
    have += part.blockcount - (inode.reflink && part.extentflag === 0 ? sharedBlocks(inode, part, reader) : 0)
  }
  return end - from - have
}

/** Blocks of an extent with several owners. */
export function sharedBlocks(inode: Inode, extent: BmbtRec, reader: BlockReader = inode.volume): number {
  const { geometry } = inode.volume
  const agno = geometry.agnoOf(extent.startblock)
  const start = geometry.agbnoOf(extent.startblock)
  const end = start + extent.blockcount
  let count = 0
  for (let at = start; at < end; ) {
    const run = findShared(inode.volume, reader, agno, at, end - at)
    if (!run) break
    count += run.length
    at = run.agbno + run.length
  }
  return count
}

/**
 * Maximum blocks of a file's bmbt for `blocks` more extents. Source: xfs_bmap_worst_indlen.
 */
function treeBlocks(geometry: Geometry, blocks: number): number {
  const levels = maxLevels(geometry, 'bmbt')
  let sum = 0
  let count = blocks
  for (let level = 0; level < levels; level++) {
    count = Math.ceil(count / maxRecords(geometry, 'bmbt', level))
    sum += count
    if (count === 1) return sum + levels - level - 1
  }
  return sum
}

/** Blocks for the bmbt of a file that gets a few more extents. */
const FEW = 8

/** True if there is enough free space in any case, even if it is fragmented. */
export function plentyOfSpace(volume: Volume, needed: number, agno = 0): boolean {
  const all = needed + treeBlocks(volume.geometry, needed)
  // In most cases this AG has enough, and the others are not read.
  const here = Agf.fields.freeblks.get(volume.agf(agno).view, 0) - reservedForOthers(volume, agno, 'none')
  return here > all + reservePool(volume.geometry) || freeForUsers(volume) >= all
}

/** @throws XfsError NOSPC if fewer blocks are available to files */
export function requireBlocks(volume: Volume, needed: number, agno = 0): void {
  if (plentyOfSpace(volume, needed, agno)) return
  const free = freeForUsers(volume)
  if (needed + FEW > free) {
    throw new XfsError('NOSPC', `no space: ${needed} blocks are needed, ${Math.max(0, free)} are free`)
  }
}
