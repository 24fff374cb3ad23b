import type { AgTreeName } from '../btree/agtrees.ts'
import type { Geometry } from '../format/geometry.ts'
import { claimAgfl } from './compare/agfl.ts'
import { compareAgf, compareAgi } from './compare/counters.ts'
import { compareFinobt, compareInobt } from './compare/inodes.ts'
import { compareRefcounts, cowRuns } from './compare/refcounts.ts'
import { compareReflinkFlags } from './compare/reflinkflags.ts'
import { compareRmapbt } from './compare/rmaps.ts'
import { compareBnobt, compareCntbt } from './compare/space.ts'
import { type Blocks, type CowRun, withCow } from './expect/blocks.ts'
import { expectedChunks, saidFree } from './expect/inodes.ts'
import { listedFree } from './expect/listed.ts'
import { withSaturated } from './expect/saturated.ts'
import type { Findings } from './findings.ts'
import type { Observation, ObservedAg } from './observe/observation.ts'
import { claimName } from './owners.ts'
import type { AgResult } from './result.ts'

/**
 * One AG: what it should look like, and which of its structures do not.
 *
 *   owners of blocks ──▶ conflicts, AGFL ──▶ reference counts, reflink flags, CoW leftovers
 *                   └──▶ bnobt, cntbt, rmapbt, AGF        only where all owners are known
 *   inodes ──▶ chunks ──▶ inobt, finobt, AGI
 */
export function checkAg(geometry: Geometry, observation: Observation, ag: ObservedAg, findings: Findings): AgResult {
  const { agno, trees } = ag
  const wrong = new Set<AgTreeName>()
  for (const tree of Object.values(trees)) if (tree?.damaged) wrong.add(tree.name)

  const { blocks: claimed, agfl, agflWrong } = claimAgfl(ag, findings)
  const blocks = withSaturated(claimed, trees)
  reportConflicts(agno, blocks, findings)
  const chunks = expectedChunks(observation.inodes, agno, saidFree(trees.inobt.records))
  if (trees.inobt.complete && compareInobt(agno, chunks, trees.inobt.records, findings)) wrong.add('inobt')
  if (trees.finobt?.complete && compareFinobt(agno, chunks, trees.finobt.records, findings)) wrong.add('finobt')

  const cow = observation.blind ? [] : compareShared(geometry, observation, ag, blocks, wrong, findings)
  const falseBuckets = observation.blind ? [] : compareAgi(geometry, ag, observation.inodes, chunks, findings)
  // Without all mappings, or all blocks of all trees, nobody can say which blocks are free.
  const complete = Object.values(trees).every((tree) => !tree || tree.complete)
  const known = !observation.blind && complete && ag.headers.agflUsable
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

/** Blocks that two own who cannot share them. */
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

/** Reference counts, and what is held for copy-on-write. */
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
