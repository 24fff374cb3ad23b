import { OWNERS } from '../../format/btrecs.ts'
import { orderByU32, orderTies, u32Column } from '../../util/columns.ts'
import { compareOwners, Extents, SHAREABLE } from '../extents.ts'

/**
 * The owners of the blocks of an AG, and what follows from them: free space, reference counts,
 * conflicts.
 *
 *   metadata   ██      ██████              █     headers, trees, inodes, bmbt blocks: 1 owner
 *   exclusive    ████         ██                 unwritten, attributes, directories: 1 owner
 *   shareable          ▒▒▒▒▒      ▒▒▒▒▒▒▒▒▒      written data of regular files: any number
 *                                   ▒▒▒▒▒▒▒▒
 *   counts                          2222222      two or more shareable extents (the sweep)
 *   free                    ░░░   ░          ░░  no owner
 *
 * Source: the sweep is that of xfs_scrub's refcount repair (online fsck design, "Reference Count
 * Records").
 */

/**
 * Sorted, disjoint runs of blocks. `tag` is the row that a run came from, or its number of owners.
 */
export interface BlockRuns {
  readonly start: Uint32Array
  readonly end: Uint32Array
  readonly tag: Uint32Array
}

export class BlockRunsBuilder {
  readonly start = u32Column()
  readonly end = u32Column()
  readonly tag = u32Column()

  get length(): number {
    return this.start.length
  }

  push(start: number, end: number, tag: number): void {
    this.start.push(start)
    this.end.push(end)
    this.tag.push(tag)
  }

  /** Add a run that begins no earlier than the last one did. Common blocks count once. */
  cover(start: number, end: number): void {
    const last = this.length - 1
    if (last >= 0 && this.end.get(last) >= start) this.end.data[last] = Math.max(this.end.get(last), end)
    else this.push(start, end, 0)
  }

  build(): BlockRuns {
    return { start: this.start.filled(), end: this.end.filled(), tag: this.tag.filled() }
  }
}

/** The number of blocks in all runs, and in the longest. */
export function runTotals({ start, end }: BlockRuns): { readonly blocks: number; readonly longest: number } {
  let blocks = 0
  let longest = 0
  for (let i = 0; i < start.length; i++) {
    const length = (end[i] as number) - (start[i] as number)
    blocks += length
    longest = Math.max(longest, length)
  }
  return { blocks, longest }
}

/** The parts of `runs` inside and outside of `of`. */
export function split(runs: BlockRuns, of: BlockRuns): { inside: BlockRuns; outside: BlockRuns } {
  const inside = new BlockRunsBuilder()
  const outside = new BlockRunsBuilder()
  let next = 0
  for (let i = 0; i < runs.start.length; i++) {
    const end = runs.end[i] as number
    const tag = runs.tag[i] as number
    while (next < of.end.length && (of.end[next] as number) <= (runs.start[i] as number)) next++
    let at = runs.start[i] as number
    for (let k = next; at < end; k++) {
      const from = Math.min(end, of.start[k] ?? end)
      const until = Math.min(end, of.end[k] ?? end)
      if (from > at) outside.push(at, from, tag)
      if (until > from) inside.push(Math.max(at, from), until, tag)
      at = until
    }
  }
  return { inside: inside.build(), outside: outside.build() }
}

/** The run that contains `block`, or the first one after it. */
export function findRun(runs: BlockRuns, block: number): number {
  let low = 0
  let high = runs.end.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((runs.end[middle] as number) > block) high = middle
    else low = middle + 1
  }
  return low
}

/** Rows with blocks, in the order of rmapbt. */
export function sortExtents(extents: Extents): Uint32Array {
  let rows = orderByU32(extents.start.filled(), extents.length)
  if (extents.count.filled().includes(0)) rows = rows.filter((row) => extents.count.data[row] !== 0)
  orderTies(rows, extents.start.data, (a, b) => compareOwners(extents, a, extents, b))
  return rows
}

/**
 * Metadata in order, with adjacent rows of one owner merged, as in rmapbt: reverse mappings without
 * an offset are always merged.
 */
export function mergeMetadata(from: Extents, into: Extents): void {
  const rows = sortExtents(from)
  let last = -1
  for (const row of rows) {
    const start = from.start.get(row)
    const end = start + from.count.get(row)
    if (last >= 0 && into.owner.get(last) === from.owner.get(row) && into.flags.get(last) === from.flags.get(row)) {
      const lastEnd = into.start.get(last) + into.count.get(last)
      if (start <= lastEnd) {
        into.count.data[last] = Math.max(lastEnd, end) - into.start.get(last)
        continue
      }
    }
    last = into.push(start, end - start, from.owner.get(row), from.offset.get(row), from.flags.get(row))
  }
}

/** Runs with two owners that cannot share them: rows of mappings, or −1 − row of metadata. */
interface Conflict {
  readonly start: number
  readonly end: number
  readonly a: number
  readonly b: number
}

/** Owners of mappings that have a conflict; an inode may be returned more than once. */
export function* conflictOwners({ conflicts, mappings }: Blocks): Generator<number> {
  for (const { a, b } of conflicts) for (const row of [a, b]) if (row >= 0) yield mappings.owner.get(row)
}

/** Blocks of an AG that files own. */
export interface FileBlocks {
  readonly mappings: Extents
  /** Rows of `mappings` in order. */
  readonly rows: Uint32Array
  /** Runs of written file data; tag: a row. */
  readonly shareable: BlockRuns
  /** Runs that cannot be shared; tag: a row. */
  readonly exclusive: BlockRuns
  /** Runs with more than one owner; tag: the number of owners. */
  readonly counts: BlockRuns
  /** Conflicts between files. */
  readonly fileConflicts: readonly Conflict[]
}

/** Everything that is known of the blocks of an AG. */
export interface Blocks extends FileBlocks {
  readonly length: number
  readonly metadata: Extents
  readonly free: BlockRuns
  readonly conflicts: readonly Conflict[]
}

/** @param metadata merged and in order */
export function blocksOf(length: number, metadata: Extents, files: FileBlocks): Blocks {
  const conflicts = [...files.fileConflicts]
  return {
    ...files,
    length,
    metadata,
    free: freeRuns(length, metadata, files.shareable, files.exclusive, conflicts),
    conflicts,
  }
}

/** Sort the mappings of files, and sweep over them. */
export function fileBlocks(mappings: Extents): FileBlocks {
  const rows = sortExtents(mappings)
  const shareable = new BlockRunsBuilder()
  const exclusive = new BlockRunsBuilder()
  const counts = new BlockRunsBuilder()
  const fileConflicts: Conflict[] = []
  splitMappings(mappings, rows, shareable, exclusive, counts, fileConflicts)
  return {
    mappings,
    rows,
    shareable: shareable.build(),
    exclusive: exclusive.build(),
    counts: counts.build(),
    fileConflicts,
  }
}

function splitMappings(
  mappings: Extents,
  rows: Uint32Array,
  shareable: BlockRunsBuilder,
  exclusive: BlockRunsBuilder,
  counts: BlockRunsBuilder,
  conflicts: Conflict[],
): void {
  const starts = mappings.start.data
  const lengths = mappings.count.data
  const flags = mappings.flags.data
  let first = 0 // of the rows of shareable data that overlap
  const cluster: number[] = []
  let clusterStart = -1
  let clusterEnd = -1
  const close = (): void => {
    if (clusterStart < 0) return
    shareable.push(clusterStart, clusterEnd, first)
    if (cluster.length > 1) sweep(mappings, cluster, counts)
  }
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] as number
    const start = starts[row] as number
    const end = start + (lengths[row] as number)
    if (((flags[row] as number) & SHAREABLE) === 0) pushExclusive(exclusive, start, end, row, conflicts)
    else if (start >= clusterEnd) {
      close()
      cluster.length = 0
      cluster.push(row)
      first = row
      clusterStart = start
      clusterEnd = end
    } else {
      cluster.push(row)
      if (end > clusterEnd) clusterEnd = end
    }
  }
  close()
}

function pushExclusive(
  exclusive: BlockRunsBuilder,
  start: number,
  end: number,
  row: number,
  conflicts: Conflict[],
): void {
  const last = exclusive.length - 1
  if (last < 0 || start >= exclusive.end.get(last)) {
    exclusive.push(start, end, row)
    return
  }
  const until = Math.min(end, exclusive.end.get(last))
  conflicts.push({ start, end: until, a: exclusive.tag.get(last), b: row })
  if (end > until) exclusive.push(until, end, row)
}

/** The runs of overlapping rows (ordered by start) that two or more rows contain. */
function sweep(mappings: Extents, rows: readonly number[], counts: BlockRunsBuilder): void {
  const ends = new Uint32Array(rows.length)
  for (let i = 0; i < rows.length; i++)
    ends[i] = mappings.start.get(rows[i] as number) + mappings.count.get(rows[i] as number)
  ends.sort()
  let depth = 0
  let position = 0
  for (let s = 0, e = 0; e < ends.length; ) {
    const start = s < rows.length ? mappings.start.get(rows[s] as number) : Number.POSITIVE_INFINITY
    const next = Math.min(start, ends[e] as number)
    if (depth >= 2 && next > position) addCount(counts, position, next, depth)
    position = next
    while (s < rows.length && mappings.start.get(rows[s] as number) === next) {
      s++
      depth++
    }
    while (e < ends.length && ends[e] === next) {
      e++
      depth--
    }
  }
}

function addCount(counts: BlockRunsBuilder, start: number, end: number, depth: number): void {
  const last = counts.length - 1
  if (last >= 0 && counts.end.get(last) === start && counts.tag.get(last) === depth) counts.end.data[last] = end
  else counts.push(start, end, depth)
}

/** The gaps between all owned runs. Owners that meet where they must not are conflicts. */
function freeRuns(
  length: number,
  metadata: Extents,
  shareable: BlockRuns,
  exclusive: BlockRuns,
  conflicts: Conflict[],
): BlockRuns {
  const free = new BlockRunsBuilder()
  let m = 0
  let s = 0
  let x = 0
  let end = 0
  let owner = 0
  for (;;) {
    const ms = m < metadata.length ? metadata.start.get(m) : Number.POSITIVE_INFINITY
    const ss = s < shareable.start.length ? (shareable.start[s] as number) : Number.POSITIVE_INFINITY
    const xs = x < exclusive.start.length ? (exclusive.start[x] as number) : Number.POSITIVE_INFINITY
    const start = Math.min(ms, ss, xs)
    if (start === Number.POSITIVE_INFINITY) break
    let stop: number
    let who: number
    if (start === ms) {
      stop = start + metadata.count.get(m)
      who = -1 - m++
    } else if (start === ss) {
      stop = shareable.end[s] as number
      who = shareable.tag[s++] as number
    } else {
      stop = exclusive.end[x] as number
      who = exclusive.tag[x++] as number
    }
    if (start > end) free.push(end, start, 0)
    else if (start < end) conflicts.push({ start, end: Math.min(end, stop), a: owner, b: who })
    if (stop > end) {
      end = stop
      owner = who
    }
  }
  if (end < length) free.push(end, length, 0)
  return free.build()
}

/** Blocks in CoW staging: [start, end). */
export interface CowRun {
  readonly start: number
  readonly end: number
}

/** The same blocks, and those in CoW staging. */
export function withCow(blocks: Blocks, cow: readonly CowRun[]): Blocks {
  const rows = new Extents()
  for (let row = 0; row < blocks.metadata.length; row++) rows.copy(blocks.metadata, row)
  for (const { start, end } of cow) rows.push(start, end - start, OWNERS.cow, 0, 0)
  const metadata = new Extents()
  mergeMetadata(rows, metadata)
  return blocksOf(blocks.length, metadata, blocks)
}
