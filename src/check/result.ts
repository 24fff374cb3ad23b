import type { AgTreeName } from '../btree/agtrees.ts'
import type { LogHead } from '../format/lsn.ts'
import type { Blocks, CowRun } from './expect/blocks.ts'
import type { ExpectedChunks } from './expect/inodes.ts'
import type { Facts } from './facts.ts'
import type { Findings } from './findings.ts'
import type { Observation, ObservedAg } from './observe/observation.ts'

/** What an AG should look like, and which of its trees do not. */
export interface AgResult {
  readonly ag: ObservedAg
  /** Owners of blocks; blocks held for copy-on-write are not among them. */
  readonly blocks: Blocks
  readonly chunks: ExpectedChunks
  readonly cow: readonly CowRun[]
  /** Blocks of the AGFL that are rightly there. */
  readonly agfl: readonly number[]
  /** The AGFL lists something else as well. */
  readonly agflWrong: boolean
  /**
   * All owners of its blocks are known, so that everything could be compared. Where inodes or
   * mappings are missing elsewhere: rmapbt and the trees of free space prove it.
   */
  readonly known: boolean
  /** Trees whose structure or content is wrong. */
  readonly wrong: ReadonlySet<AgTreeName>
  /**
   * Owners that records of rmapbt disagree about: at most one a record that is there or expected.
   */
  readonly rmapOwners: Float64Array
  /** Lists of unlinked inodes in the AGI that begin with something else. */
  readonly falseBuckets: readonly number[]
}

export interface CheckResult {
  readonly findings: Findings
  /** What the findings say, whole: nothing is planned from sentences. */
  readonly facts: Facts
  readonly observation: Observation
  readonly ags: readonly AgResult[]
  /** Where the log is, and the largest cycle found ahead of it. */
  readonly head: LogHead
}
