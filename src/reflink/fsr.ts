import { CHUNK_BYTES } from '../data/data.ts'
import { XfsError } from '../errors.ts'
import { type BmbtRec, MAX_BMBT_EXTLEN } from '../format/btrecs.ts'
import { DIFLAGS } from '../format/dinode.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import { extentCount, type Inode, openInode } from '../inode/inode.ts'
import { mapExtent, unmapRange } from '../mapping/bmap.ts'
import { endOf, extents, findExtent, trimExtent } from '../mapping/extents.ts'
import { inodeBlock } from '../mapping/fork.ts'
import { sharedBlocks } from '../mapping/runs.ts'
import { allocExtent, extentFree } from '../space/alloc.ts'
import { refcountUpdate } from '../space/refcount.ts'
import { asMuchAsFits, isTooBig, type Transaction, withTransaction } from '../tx/transaction.ts'
import { ExtentSet } from '../util/extentset.ts'
import type { Steps } from '../util/progress.ts'
import { trace } from '../util/trace.ts'
import type { Volume } from '../volume.ts'
import { type FileMapping, type OwnersOf, ownersOf } from './blockowners.ts'
import { requireReflink } from './reflink.ts'
import { mappedRuns } from './sharing.ts'
import { clearReflinkFlag } from './unshare.ts'

/**
 * Defragment a file, one extent per step. A step is one transaction:
 *
 *   file       │ a a a │ b │ c c │ hole │ d d │   1. allocate a free extent for all blocks
 *   on disk    c c … a a a … b … d d                 up to the next hole
 *                                                 2. copy the bytes to it on the device
 *   afterwards │ a a a   b   c c │ hole │ d d │   3. change all mappings of the copied blocks
 *   on disk    … a a a b c c … d d
 *
 * After each step the content of the file is unchanged. A step is only made if it joins
 * extents, or if shared blocks must become the file's own. So the number of steps is bounded, and
 * in the worst case nothing changes.
 *
 * Shared blocks: 'unshare' gives the file copies of its own. 'keep' finds their other owners
 * (blockowners.ts), and moves all mappings in the same transaction:
 *
 *   file 131   │ a a a │ b │      unmap a, map A      131 is the first owner of A
 *   file 140       │ a a │        unmap a, map A      its part of A gets one owner more, a one less
 *
 * Blocks that a file maps twice are moved once. The second mapping follows them and is not joined
 * with its neighbours.
 *
 * Timestamps do not change. The idea is that of xfs_fsr, which copies a complete file and exchanges
 * the maps, and does not keep blocks shared.
 */
export type SharedPolicy = 'skip' | 'keep' | 'unshare'

export interface FsrOptions {
  /** What is done with a file that shares blocks (default: skip it). */
  readonly shared?: SharedPolicy
}

export interface FsrResult {
  /** Extents before and after. */
  readonly before: number
  readonly after: number
  /** Blocks copied. */
  readonly moved: number
  /** Why the file was left alone. */
  readonly skipped?: 'shares blocks' | 'immutable' | 'append-only' | 'no-defrag' | 'too many owners'
}

/** Maximum extents of one transaction, and maximum mappings that change in it. */
const MAX_EXTENTS = 1024
const MAX_MAPPINGS = 8192

/**
 * Defragment a file.
 * @throws XfsError ISDIR, INVAL (no regular file, realtime), NOSPC (no room to unshare)
 */
export function* fsr(volume: Volume, ino: number, options: FsrOptions = {}): Steps<FsrResult> {
  const inode = openInode(volume, ino)
  const before = extentCount(inode, 'data')
  const skipped = reasonToSkip(inode, options.shared ?? 'skip')
  if (skipped) return { before, after: before, moved: 0, skipped }
  const keeping = options.shared === 'keep' && inode.reflink
  if (keeping) requireReflink(volume)
  const work: Defragmentation = {
    volume,
    ino,
    policy: options.shared ?? 'skip',
    owners: keeping ? ownersOf(volume, sharedOf(inode)) : undefined,
    settled: new ExtentSet(),
    near: undefined,
  }
  let moved = 0
  for (let at = 0; ; ) {
    const plan = planStep(work, at)
    if (!plan) break
    const blocks = plan.pieces.length === 0 ? 0 : move(work, plan)
    if (blocks === 'too many owners') return { ...result(volume, ino, before, moved), skipped: blocks }
    moved += blocks
    const [first] = plan.pieces
    at = blocks > 0 ? plan.start + blocks : first ? endOf(first) : plan.next
    yield { what: 'moving', done: moved }
  }
  if (options.shared === 'unshare') clearReflinkFlag(volume, ino)
  return result(volume, ino, before, moved)
}

const result = (volume: Volume, ino: number, before: number, moved: number): FsrResult => ({
  before,
  after: extentCount(openInode(volume, ino), 'data'),
  moved,
})

/** The blocks of a file that have other owners, too. */
function sharedOf(inode: Inode): ExtentSet {
  const set = new ExtentSet()
  for (const run of mappedRuns(inode)) if (run.shared) set.add(run.startblock, run.blockcount)
  return set
}

function reasonToSkip(inode: Inode, policy: SharedPolicy): FsrResult['skipped'] {
  const { ino, flags } = inode
  if (inode.isDirectory) throw new XfsError('ISDIR', 'directories cannot be defragmented', { ino })
  if (!inode.isRegular) throw new XfsError('INVAL', 'not a regular file', { ino })
  if (inode.realtime) throw new XfsError('INVAL', 'the file is on the realtime device', { ino })
  if ((flags & DIFLAGS.immutable) !== 0) return 'immutable'
  if ((flags & DIFLAGS.append) !== 0) return 'append-only'
  if ((flags & DIFLAGS.nodefrag) !== 0) return 'no-defrag'
  if (policy === 'skip' && inode.reflink && sharesAny(inode)) return 'shares blocks'
  return undefined
}

function sharesAny(inode: Inode): boolean {
  for (const rec of extents(inode, 'data')) if (rec.extentflag === 0 && sharedBlocks(inode, rec) > 0) return true
  return false
}

interface Defragmentation {
  readonly volume: Volume
  readonly ino: number
  readonly policy: SharedPolicy
  /**
   * The other owners of blocks, whose mappings move too. Blocks that were moved are in `settled`;
   * their owners are not looked up again.
   */
  readonly owners: OwnersOf | undefined
  /** New blocks: mappings of them stay. */
  readonly settled: ExtentSet
  /** Where the last step ended on the disk. */
  near: number | undefined
}

/** Extents that are consecutive in the file, to be made contiguous on the disk. */
interface MovePlan {
  /** Empty: nothing is gained before `next`. */
  readonly pieces: readonly BmbtRec[]
  readonly start: number
  /** The file block after the pieces, or after extents that are not worth a step. */
  readonly next: number
  /** Blocks up to the next hole; the free extent should have as many. */
  readonly wanted: number
  /** Some of them are shared, and must become the file's own. */
  readonly must: boolean
}

/** The next extents to move, from file block `from` on. */
function planStep(work: Defragmentation, from: number): MovePlan | undefined {
  const inode = openInode(work.volume, work.ino)
  const pieces: BmbtRec[] = []
  const taken = new ExtentSet()
  let wanted = 0
  let full = false
  for (const found of extents(inode, 'data', from)) {
    const rec = trimExtent(found, from, Number.POSITIVE_INFINITY)
    const last = pieces.at(-1)
    if (last && endOf(last) !== rec.startoff && !full) break
    if (full && rec.startoff !== (pieces[0] as BmbtRec).startoff + wanted) break
    const fixed =
      work.owners !== undefined &&
      (taken.overlaps(rec.startblock, rec.blockcount) || work.settled.overlaps(rec.startblock, rec.blockcount))
    if (fixed && !last) return { pieces: [], start: rec.startoff, next: endOf(rec), wanted: 0, must: false }
    if (fixed || wanted + rec.blockcount > MAX_BMBT_EXTLEN) break
    wanted += rec.blockcount
    full ||= pieces.length === MAX_EXTENTS
    if (full) continue
    pieces.push(rec)
    taken.add(rec.startblock, rec.blockcount)
  }
  const [first] = pieces
  if (!first) return undefined
  const start = first.startoff
  const next = endOf(pieces.at(-1) as BmbtRec)
  const must =
    work.policy === 'unshare' &&
    inode.reflink &&
    pieces.some((rec) => rec.extentflag === 0 && sharedBlocks(inode, rec) > 0)
  const split = pieces.some(
    (rec, i) =>
      i > 0 && (pieces[i - 1] as BmbtRec).startblock + (pieces[i - 1] as BmbtRec).blockcount !== rec.startblock,
  )
  return { pieces: split || must ? pieces : [], start, next, wanted, must }
}

/**
 * Move the extents of a plan.
 * @returns the number of blocks moved from its start; 0: no free extent is long enough to gain
 *   anything
 */
function move(work: Defragmentation, plan: MovePlan): number | 'too many owners' {
  try {
    return asMuchAsFits(plan.pieces.length, (most) => moveSome(work, plan, most))
  } catch (error) {
    if (error instanceof TooManyOwners || (work.owners && isTooBig(error))) return 'too many owners'
    if (error instanceof XfsError && error.code === 'NOSPC' && !plan.must) return 0
    throw error
  }
}

/** Move at most the first `most` pieces. */
function moveSome(work: Defragmentation, plan: MovePlan, most: number): number {
  const { volume } = work
  return withTransaction(volume, (tx) => {
    const inode = openInode(volume, work.ino, tx)
    const fsbno = take(tx, work, plan, inode)
    const pieces = fitting(plan.pieces.slice(0, most), plan.start + fsbno.length)
    const blocks = pieces.reduce((sum, rec) => sum + rec.blockcount, 0)
    if (fsbno.length > blocks) tx.defer(extentFree, { fsbno: fsbno.at + blocks, blockcount: fsbno.length - blocks })
    const place = (startoff: number): number => fsbno.at + (startoff - plan.start)
    for (const rec of pieces) copyPiece(volume, rec, place(rec.startoff))
    let mappings = 0
    for (const rec of pieces) {
      mappings += remap(tx, work, inode, rec, place(rec.startoff))
      if (mappings > MAX_MAPPINGS) throw new TooManyOwners()
    }
    tx.onCommit(() => {
      work.settled.add(fsbno.at, blocks)
      work.near = fsbno.at + blocks
    })
    return blocks
  })
}

class TooManyOwners extends Error {}

/**
 * Allocate a free extent for the plan: long enough for all blocks up to the next hole, or at least
 * so long that something is gained.
 */
function take(tx: Transaction, work: Defragmentation, plan: MovePlan, inode: Inode): { at: number; length: number } {
  const [first, second] = plan.pieces
  const least = plan.must || !second ? 1 : (first as BmbtRec).blockcount + second.blockcount
  const near = work.near ?? inodeBlock(inode)
  const { fsbno, length } = allocExtent(tx, { near, minLength: Math.min(least, plan.wanted), maxLength: plan.wanted })
  return { at: fsbno, length }
}

/** The pieces that end before file block `end`; if even the first does not, its beginning. */
function fitting(pieces: readonly BmbtRec[], end: number): BmbtRec[] {
  const whole = pieces.filter((rec) => endOf(rec) <= end)
  return whole.length > 0 ? whole : [trimExtent(pieces[0] as BmbtRec, 0, end)]
}

/** Copy written bytes to their new place. */
function copyPiece(volume: Volume, rec: BmbtRec, target: number): void {
  const { device } = volume
  const { blocksize, fsbToDaddr } = volume.geometry
  const bytes = rec.blockcount * blocksize
  volume.beforeReuse(fsbToDaddr(target), bytes)
  if (rec.extentflag === 1) return
  const from = fsbToDaddr(rec.startblock) * BASIC_BLOCK
  const to = fsbToDaddr(target) * BASIC_BLOCK
  const buffer = new Uint8Array(Math.min(CHUNK_BYTES, bytes))
  for (let done = 0; done < bytes; done += buffer.length) {
    const part = buffer.subarray(0, Math.min(buffer.length, bytes - done))
    device.read(part, from + done)
    device.write(part, to + done)
  }
}

/**
 * Change the file's mapping of `rec` and, if owners are kept, all other mappings of its blocks.
 * @returns the number of mappings changed
 */
function remap(tx: Transaction, work: Defragmentation, inode: Inode, rec: BmbtRec, target: number): number {
  const others = work.owners && rec.extentflag === 0 ? otherMappings(tx, work.owners, work.ino, rec) : []
  if (trace.reflink.hasSubscribers)
    trace.reflink.publish({ point: 'fsrMove', ino: work.ino, ...rec, target, others: others.length })
  unmapRange(tx, inode, 'data', rec.startoff, rec.blockcount)
  mapExtent(tx, inode, 'data', { ...rec, startblock: target })
  const inodes = new Map<number, Inode>([[work.ino, inode]])
  for (const { ino, startoff, startblock, blockcount } of others) {
    const other = inodes.get(ino) ?? openInode(work.volume, ino, tx)
    inodes.set(ino, other)
    const now = findExtent(other, 'data', startoff, tx)
    if (
      !now ||
      now.startoff > startoff ||
      endOf(now) < startoff + blockcount ||
      now.startblock + (startoff - now.startoff) !== startblock
    ) {
      throw new XfsError(
        'CORRUPT',
        `inode ${ino} does not map blocks ${startblock}+${blockcount} at ${startoff}, although the rmapbt records it`,
        { ino },
      )
    }
    const place = target + (startblock - rec.startblock)
    tx.defer(refcountUpdate, { op: 'increase', fsbno: place, blockcount })
    unmapRange(tx, other, 'data', startoff, blockcount)
    mapExtent(tx, other, 'data', { extentflag: 0, startoff, startblock: place, blockcount })
  }
  return others.length + 1
}

/** The mappings of blocks of `rec` by other owners. */
function otherMappings(tx: Transaction, owners: OwnersOf, ino: number, rec: BmbtRec): FileMapping[] {
  const list: FileMapping[] = []
  for (const mapping of owners(rec.startblock, rec.blockcount, tx)) {
    const own = mapping.ino === ino && mapping.startoff - rec.startoff === mapping.startblock - rec.startblock
    if (!own) list.push(mapping)
    if (list.length > MAX_MAPPINGS) throw new TooManyOwners()
  }
  return list
}
