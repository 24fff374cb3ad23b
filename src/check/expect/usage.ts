import type { Extents } from '../extents.ts'
import { type Blocks, findRun } from './blocks.ts'

/** The use of a block. */
export type Use = 'free' | 'metadata' | 'exclusive' | 'single' | 'shared' | 'outside'

export interface UsageRange {
  readonly start: number
  readonly end: number
  readonly use: Use
  /** Owners, for shared blocks. */
  readonly count: number
  /** A row of mappings, or −1 − row of metadata; 0 if the range is free. */
  readonly claim: number
}

/** The first row of metadata that ends after `block`. */
function findMetadata(metadata: Extents, block: number): number {
  let low = 0
  let high = metadata.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (metadata.start.get(middle) + metadata.count.get(middle) > block) high = middle
    else low = middle + 1
  }
  return low
}

/** Cut [start, end) into ranges of one use each. Slow, for messages only. */
export function* usage(blocks: Blocks, start: number, end: number): Generator<UsageRange> {
  for (let at = start; at < end; ) {
    const piece = pieceAt(blocks, at)
    const stop = Math.min(piece.end, end)
    yield { ...piece, start: at, end: stop }
    at = stop
  }
}

function pieceAt(blocks: Blocks, at: number): UsageRange {
  const { metadata, exclusive, shareable, counts, length } = blocks
  if (at >= length) return { start: at, end: Number.POSITIVE_INFINITY, use: 'outside', count: 0, claim: 0 }
  let end = length
  const m = findMetadata(metadata, at)
  if (m < metadata.length) {
    const from = metadata.start.get(m)
    if (from <= at) return { start: at, end: from + metadata.count.get(m), use: 'metadata', count: 1, claim: -1 - m }
    end = Math.min(end, from)
  }
  const c = findRun(counts, at)
  if (c < counts.end.length) {
    const from = counts.start[c] as number
    if (from <= at)
      return {
        start: at,
        end: Math.min(end, counts.end[c] as number),
        use: 'shared',
        count: counts.tag[c] as number,
        claim: 0,
      }
    end = Math.min(end, from)
  }
  for (const [runs, use] of [
    [exclusive, 'exclusive'],
    [shareable, 'single'],
  ] as const) {
    const r = findRun(runs, at)
    if (r >= runs.end.length) continue
    const from = runs.start[r] as number
    if (from <= at)
      return { start: at, end: Math.min(end, runs.end[r] as number), use, count: 1, claim: runs.tag[r] as number }
    end = Math.min(end, from)
  }
  return { start: at, end, use: 'free', count: 0, claim: 0 }
}
