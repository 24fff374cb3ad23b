import type { Extents } from '../extents.ts'
import type { ObservedTrees } from './agtrees.ts'
import type { Headers } from './headers.ts'
import type { Inodes } from './inodetable.ts'

/**
 * Everything that a check reads from an image, once: headers, trees, inodes, and the owners of
 * blocks. Structures are only compared with themselves here.
 */
export interface ObservedAg {
  readonly agno: number
  readonly length: number
  readonly headers: Headers
  readonly trees: ObservedTrees
  /**
   * Blocks with one owner that is not a file mapping: headers, log, trees, AGFL, inodes, bmbt
   * blocks.
   */
  readonly metadata: Extents
  /** Blocks that files map. */
  readonly mappings: Extents
}

export interface Observation {
  readonly ags: readonly ObservedAg[]
  readonly inodes: Inodes
  /** Inodes or mappings are missing. So derived metadata is only known for AGs that are proven. */
  readonly blind: boolean
  /** AGs that were scanned for inodes because inobt alone is not reliable. */
  readonly scanned: ReadonlySet<number>
}
