import { Cursor } from '../btree/cursor.ts'
import { openTree } from '../btree/roots.ts'
import { inodeCount } from '../btree/trees/inobt.ts'
import type { XfsError } from '../errors.ts'
import { INODES_PER_CHUNK } from '../format/dinode.ts'
import type { Inode } from '../inode/inode.ts'
import { walkTree } from '../namespace/tree.ts'
import { add, type Bytes } from '../util/bytes.ts'
import type { Steps } from '../util/progress.ts'
import type { Volume } from '../volume.ts'
import { mappedRuns } from './sharing.ts'

/** Space used by a tree, in blocks. Files with several names in it count once. */
export interface TreeUsage {
  readonly inodes: number
  /** Sum of the files' sizes, in bytes. */
  readonly size: Bytes
  /**
   * Blocks that the inodes count (nblocks): data, and blocks of directories, attributes and block
   * maps. Shared blocks count for each file.
   */
  readonly blocks: number
  /** Mapped by data forks (a block mapped twice counts twice). */
  readonly referenced: number
  /** Of these, with more than one owner. */
  readonly shared: number
  /** Of these, with one. */
  readonly exclusive: number
  /**
   * Blocks that removing the tree would free: those with all their owners in the tree, of files
   * with all their names in it; and inode chunks without other inodes in use.
   */
  readonly freed: number
}

/** A run of blocks of one AG that several files map. */
interface SharedRun {
  readonly agbno: number
  readonly length: number
}

/**
 * Measure a tree.
 *
 * A shared block is freed if as many mappings of the tree refer to it as the refcountbt records.
 * The mappings are laid over each other and compared with the records.
 *
 *   mappings in the tree   ├────┤   ├──────────┤
 *                          ├────┤        ├─────┤
 *   their number           ├─2──┤   ├─1─┤├──2──┤
 *   refcountbt                2        3      2
 *   freed                    yes      no     yes
 */
export function* treeUsage(top: Inode, onError?: (path: Uint8Array, error: XfsError) => void): Steps<TreeUsage> {
  const { volume } = top
  const names = new Map<number, number>()
  const files: Inode[] = []
  let done = 0
  for (const { inode, depth } of walkTree(top, onError ? { onError } : {})) {
    if (inode.isDirectory) names.set(inode.ino, inode.nlink)
    else names.set(inode.ino, (names.get(inode.ino) ?? 0) + 1)
    // Removing the tree also removes the entry that refers to its top.
    if (names.get(inode.ino) === 1 || inode.isDirectory || depth === 0) files.push(inode)
    if (++done % 1000 === 0) yield { what: 'measuring', done }
  }
  const sum: Sum = { inodes: 0, size: 0, blocks: 0, referenced: 0, shared: 0, exclusive: 0, freed: 0 }
  const shared = new Map<number, SharedRun[]>()
  const removed: number[] = []
  for (const inode of files) {
    const isRemoved = (names.get(inode.ino) ?? 0) >= inode.nlink
    if (isRemoved) removed.push(inode.ino)
    measure(inode, isRemoved, sum, shared)
    if (++done % 1000 === 0) yield { what: 'measuring', done }
  }
  for (const [agno, runs] of shared) sum.freed += freedOf(volume, agno, runs)
  sum.freed += freedChunks(volume, removed)
  return sum
}

type Sum = { -readonly [Key in keyof TreeUsage]: TreeUsage[Key] }

function measure(inode: Inode, isRemoved: boolean, sum: Sum, shared: Map<number, SharedRun[]>): void {
  const { geometry } = inode.volume
  sum.inodes++
  if (!inode.isDirectory) sum.size = add(sum.size, inode.size)
  sum.blocks += inode.nblocks
  let mapped = 0
  let own = 0
  if (inode.isRegular && !inode.realtime) {
    for (const run of mappedRuns(inode)) {
      mapped += run.blockcount
      if (!run.shared) {
        own += run.blockcount
        continue
      }
      const agno = geometry.agnoOf(run.startblock)
      const list = shared.get(agno) ?? []
      shared.set(agno, list)
      if (isRemoved) list.push({ agbno: geometry.agbnoOf(run.startblock), length: run.blockcount })
    }
  }
  sum.referenced += mapped
  sum.exclusive += own
  sum.shared += mapped - own
  if (isRemoved) sum.freed += own + Math.max(0, inode.nblocks - mapped)
}

/** Blocks of an AG to which as many of these runs refer as there are owners. */
function freedOf(volume: Volume, agno: number, runs: readonly SharedRun[]): number {
  const cursor = new Cursor(openTree(volume, 'refcountbt', agno))
  let freed = 0
  for (const { start, end, count } of layered(runs)) {
    let more = cursor.lookup(start, 'le') || cursor.lookup(start, 'ge')
    for (; more; more = cursor.next()) {
      const rec = cursor.record()
      if (rec.cowflag === 1 || rec.startblock >= end) break
      const length = Math.min(end, rec.startblock + rec.blockcount) - Math.max(start, rec.startblock)
      if (length > 0 && rec.refcount <= count) freed += length
    }
  }
  return freed
}

/**
 * Blocks of inode chunks whose inodes in use are all among these. Chunks that share blocks with
 * others stay.
 */
function freedChunks(volume: Volume, removed: readonly number[]): number {
  const { geometry } = volume
  if (geometry.inopblock > INODES_PER_CHUNK) return 0
  const sorted = Float64Array.from(removed).sort()
  let inodes = 0
  for (let i = 0; i < sorted.length; ) {
    const agno = geometry.inoAgno(sorted[i] as number)
    const agino = geometry.inoAgino(sorted[i] as number)
    const cursor = new Cursor(openTree(volume, 'inobt', agno))
    const rec = cursor.lookup(agino, 'le') ? cursor.record() : undefined
    const first = i
    const end = rec ? (sorted[i] as number) - agino + rec.startino + INODES_PER_CHUNK : 0
    while (i === first || (i < sorted.length && (sorted[i] as number) < end)) i++
    if (rec && inodeCount(rec, geometry) - rec.freecount === i - first) inodes += inodeCount(rec, geometry)
  }
  return Math.ceil(inodes / geometry.inopblock)
}

/** Runs laid over each other: the number of runs that refer to each stretch. */
function* layered(runs: readonly SharedRun[]): Generator<{ start: number; end: number; count: number }> {
  const edges = runs.flatMap(({ agbno, length }) => [
    { at: agbno, change: 1 },
    { at: agbno + length, change: -1 },
  ])
  edges.sort((a, b) => a.at - b.at)
  let start = 0
  let count = 0
  for (const { at, change } of edges) {
    if (count > 0 && at > start) yield { start, end: at, count }
    start = at
    count += change
  }
}
