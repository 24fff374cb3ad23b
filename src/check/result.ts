import type { LogHead } from '../format/lsn.ts'
import type { AgTreeName } from '../format/trees.ts'
import type { Blocks, CowRun } from './expect/blocks.ts'
import type { ExpectedChunks } from './expect/inodes.ts'
import type { Facts } from './facts.ts'
import type { Findings } from './findings.ts'
import type { NameScan } from './observe/names.ts'
import type { Observation, ObservedAg } from './observe/observation.ts'
import type { Proof } from './proof.ts'

/** What an AG should look like, and which of its trees are wrong. */
export interface AgResult {
  readonly ag: ObservedAg
  /** Owners of blocks, without CoW staging blocks. */
  readonly blocks: Blocks
  readonly chunks: ExpectedChunks
  readonly cow: readonly CowRun[]
  /** Blocks of the AGFL that belong there. */
  readonly agfl: readonly number[]
  /** The AGFL has no other blocks. */
  readonly agflKnown: boolean
  /** The AGFL lists other blocks as well. */
  readonly agflWrong: boolean
  /**
   * All owners of its blocks are known, so everything could be compared. If inodes or mappings are
   * missing in any AG, its trees prove it. `ag` and `blocks` then contain the rmapbt records of the
   * missing owners.
   */
  readonly known: boolean
  /** All its inodes are known, and which of them are free. */
  readonly inodesKnown: boolean
  /** What its trees prove, whatever is wrong in other AGs. */
  readonly proof: Proof
  /** Trees whose structure or content is wrong. */
  readonly wrong: ReadonlySet<AgTreeName>
  /** Owners whose rmapbt records are wrong: at most one per found or expected record. */
  readonly rmapOwners: Float64Array
  /** AGI unlinked lists that begin with an inode that is not unlinked. */
  readonly falseBuckets: readonly number[]
}

export interface CheckResult {
  readonly findings: Findings
  /** All problems, complete: a repair plans from these, not from findings. */
  readonly facts: Facts
  readonly observation: Observation
  /** Entries, attributes and links, as far as they could be read. */
  readonly names: NameScan
  readonly ags: readonly AgResult[]
  /** The head of the log, and the highest cycle found ahead of it. */
  readonly head: LogHead
}
