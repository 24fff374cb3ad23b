import { INODES_PER_CHUNK } from '../format/dinode.ts'
import type { Geometry } from '../format/geometry.ts'
import type { AgTreeName } from '../format/trees.ts'
import { claimAgfl } from './compare/agfl.ts'
import { compareAgf, compareAgi } from './compare/counters.ts'
import { compareFinobt, compareInobt } from './compare/inodes.ts'
import { compareRefcounts, cowRuns } from './compare/refcounts.ts'
import { compareReflinkFlags } from './compare/reflinkflags.ts'
import { compareRmapbt } from './compare/rmaps.ts'
import { compareBnobt, compareCntbt } from './compare/space.ts'
import { type Blocks, type CowRun, withCow } from './expect/blocks.ts'
import { expectedChunks, recordedFree } from './expect/inodes.ts'
import { listedFree } from './expect/listed.ts'
import { withSaturated } from './expect/saturated.ts'
import { Facts } from './facts.ts'
import { Findings } from './findings.ts'
import { InodeState, type Inodes } from './observe/inodetable.ts'
import type { Observation, ObservedAg } from './observe/observation.ts'
import { claimName } from './owners.ts'
import type { AgResult } from './result.ts'

/**
 * Check one AG: what it should look like, and which of its structures are wrong.
 *
 *   owners of blocks ─▶ conflicts, AGFL ─▶ reference counts, reflink flags, CoW leftovers
 *                   └─▶ bnobt, cntbt, rmapbt, AGF    only if all owners in this AG are known
 *   inodes ─▶ chunks ─▶ inobt, finobt, AGI
 */
export function checkAg(geometry: Geometry, observation: Observation, ag: ObservedAg, findings: Findings): AgResult {
  const { agno, trees } = ag
  const wrong = new Set<AgTreeName>()
  for (const tree of Object.values(trees)) if (tree?.damaged) wrong.add(tree.name)

  const { blocks: claimed, agfl, agflWrong } = claimAgfl(ag, findings)
  const blocks = withSaturated(claimed, trees)
  reportConflicts(agno, blocks, findings)
  const chunks = expectedChunks(observation.inodes, agno, recordedFree(trees.inobt.records))
  if (trees.inobt.complete && compareInobt(agno, chunks, trees.inobt.records, findings)) wrong.add('inobt')
  if (trees.finobt?.complete && compareFinobt(agno, chunks, trees.finobt.records, findings)) wrong.add('finobt')

  // Free blocks are known only if all mappings and all blocks of all trees are.
  const complete = Object.values(trees).every((tree) => !tree || tree.complete)
  const observed = { ag, blocks, agflWrong, wrong }
  const known = complete && ag.headers.agflUsable && (!observation.blind || isProven(geometry, observation, observed))
  const cow = observation.blind ? [] : compareShared(geometry, observation, ag, blocks, wrong, findings)
  const inodesKnown = !observation.blind || (known && allSound(observation.inodes, agno))
  const falseBuckets = inodesKnown ? compareAgi(geometry, ag, observation.inodes, chunks, findings) : []
  let rmapOwners: Float64Array = NO_OWNERS
  if (known) {
    const all = cow.length > 0 ? withCow(blocks, cow) : blocks
    if (compareBnobt(agno, all, trees.bnobt.records, findings)) wrong.add('bnobt')
    if (compareCntbt(agno, all, trees.cntbt.records, findings)) wrong.add('cntbt')
    const differing = trees.rmapbt && compareRmapbt(agno, all, trees.rmapbt.records, findings)
    if (differing) wrong.add('rmapbt')
    rmapOwners = differing ?? NO_OWNERS
    compareAgf(geometry, ag, all, findings)
  }
  return { ag, blocks, known, chunks, cow, agfl, agflWrong, wrong, rmapOwners, falseBuckets }
}

const NO_OWNERS = new Float64Array(0)

/**
 * If inodes or mappings are missing somewhere: is none of them missing in this AG? Then all records
 * of rmapbt were observed, and the other trees agree with it. Without rmapbt this is unknown.
 */
function isProven(
  geometry: Geometry,
  observation: Observation,
  { ag, blocks, agflWrong, wrong }: Pick<AgResult, 'ag' | 'blocks' | 'agflWrong' | 'wrong'>,
): boolean {
  const { agno, trees } = ag
  if (!trees.rmapbt || agflWrong || wrong.size > 0 || blocks.conflicts.length > 0) return false
  // Differences here follow from what is missing. They are not findings.
  const unreported = new Findings(new Facts(observation.inodes))
  const differing = new Set<AgTreeName>()
  const cow = compareShared(geometry, observation, ag, blocks, differing, unreported)
  return (
    differing.size === 0 &&
    cow.length === 0 &&
    !compareBnobt(agno, blocks, trees.bnobt.records, unreported) &&
    !compareCntbt(agno, blocks, trees.cntbt.records, unreported) &&
    compareRmapbt(agno, blocks, trees.rmapbt.records, unreported) === undefined
  )
}

/** Could every inode of the AG be read? */
function allSound(inodes: Inodes, agno: number): boolean {
  return inodes.chunks(agno).every(({ chunk }) => {
    const first = chunk * INODES_PER_CHUNK
    return !inodes.state.data.subarray(first, first + INODES_PER_CHUNK).includes(InodeState.bad)
  })
}

/** Report blocks with two owners that cannot share them. */
function reportConflicts(agno: number, blocks: Blocks, findings: Findings): void {
  for (const { start, end, a, b } of blocks.conflicts) {
    findings.add('inode.crosslinked', {
      agno,
      agbno: start,
      len: end - start,
      owner: claimName(blocks, a),
      other: claimName(blocks, b),
    })
  }
}

/** Compare reference counts and CoW staging blocks. */
function compareShared(
  geometry: Geometry,
  observation: Observation,
  { agno, trees }: ObservedAg,
  blocks: Blocks,
  wrong: Set<AgTreeName>,
  findings: Findings,
): readonly CowRun[] {
  if (!trees.refcountbt) return []
  compareReflinkFlags(geometry, observation, agno, blocks, findings)
  if (!trees.refcountbt.complete) return []
  const { records } = trees.refcountbt
  const cow = cowRuns(agno, blocks, records, listedFree(trees), findings)
  for (const { start, end } of cow.runs) findings.add('cow.leftover', { agno, agbno: start, len: end - start })
  if (compareRefcounts(agno, blocks, records, findings) || cow.wrong) wrong.add('refcountbt')
  return cow.runs
}
