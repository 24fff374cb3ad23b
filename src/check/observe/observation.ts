import type { Extents } from '../extents.ts'
import type { ObservedTrees } from './agtrees.ts'
import type { Headers } from './headers.ts'
import type { Inodes } from './inodetable.ts'

/**
 * All that a check knows of an image, read once: headers, trees, inodes, and who owns which blocks.
 * Nothing is compared here but a structure with itself.
 */
export interface ObservedAg {
  readonly agno: number
  readonly length: number
  readonly headers: Headers
  readonly trees: ObservedTrees
  /**
   * Blocks with one owner that is not a mapping: headers, log, trees, AGFL, inodes, bmbt blocks.
   */
  readonly metadata: Extents
  /** Blocks that files map. */
  readonly mappings: Extents
}

export interface Observation {
  readonly ags: readonly ObservedAg[]
  readonly inodes: Inodes
  /**
   * Inodes or mappings are missing: what follows from all of them cannot be known, only what is
   * proven in an AG.
   */
  readonly blind: boolean
  /** AGs that were scanned for inodes, as inobt alone could not be trusted. */
  readonly scanned: ReadonlySet<number>
}
