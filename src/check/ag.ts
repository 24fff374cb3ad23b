import type { Geometry } from '../format/geometry.ts'
import type { AgTreeName } from '../format/trees.ts'
import { claimAgfl, explainAgfl } from './compare/agfl.ts'
import { compareAgf, compareAgi } from './compare/counters.ts'
import { compareFinobt, compareInobt, explainFinobt, explainInobt } from './compare/inodes.ts'
import type { Differences } from './compare/join.ts'
import { explainCow, explainRefcounts, noteSaturated } from './compare/refcounts.ts'
import { compareReflinkFlags } from './compare/reflinkflags.ts'
import { differingOwners, explainRmapbt } from './compare/rmaps.ts'
import { explainBnobt, explainCntbt } from './compare/space.ts'
import { compareSpace, type SpaceComparison } from './compare/trees.ts'
import { adoptRmaps } from './expect/adopted.ts'
import { type Blocks, blocksOf, fileBlocks, mergeMetadata } from './expect/blocks.ts'
import { type ExpectedChunks, expectedChunks, inodeTotals, recordedFree } from './expect/inodes.ts'
import { withSaturated } from './expect/saturated.ts'
import { Extents } from './extents.ts'
import type { Findings } from './findings.ts'
import type { ObservedTrees } from './observe/agtrees.ts'
import type { Inodes } from './observe/inodetable.ts'
import type { Observation, ObservedAg } from './observe/observation.ts'
import { claimName } from './owners.ts'
import { inodeProof, spaceProof } from './proof.ts'
import type { AgResult } from './result.ts'

/**
 * Check one AG: what it should look like, and which of its structures are wrong. First all is
 * compared, which gives rows of tables; then the findings are made from these.
 *
 *   owners of blocks ─▶ conflicts, AGFL ─▶ reference counts, reflink flags, CoW leftovers
 *                   └─▶ bnobt, cntbt, rmapbt, AGF    only if all owners in this AG are known
 *   inodes ─▶ chunks ─▶ inobt, finobt, AGI
 */
export function checkAg(
  geometry: Geometry,
  { inodes, blind }: Observation,
  observed: ObservedAg,
  findings: Findings,
): AgResult {
  const { agno, trees } = observed
  const claim = claimAgfl(observed)
  const { agfl, agflWrong } = claim
  const owners = { ag: observed, blocks: withSaturated(claim.blocks, trees) }
  const adopted = blind ? adoptOwners(inodes, owners, agflWrong) : owners
  const space = compareSpace(adopted.blocks, trees)
  const chunks = expectedChunks(inodes, agno, recordedFree(trees.inobt.records))
  const listed = compareInodes(trees, chunks)
  const proof = {
    space: spaceProof(observed, space),
    inodes: inodeProof(observed, { ...listed, totals: inodeTotals(chunks), allSound: inodes.allSound(agno) }),
  }
  // Free blocks are known only if all mappings and all blocks of all trees are.
  const complete = Object.values(trees).every((tree) => !tree || tree.complete) && observed.headers.agflUsable
  const known = blind ? proof.space : complete
  const inodesKnown = !blind || proof.inodes
  const { ag, blocks } = known ? adopted : owners

  explainAgfl(agno, claim, findings)
  reportConflicts(agno, owners.blocks, findings)
  const wrong = new Set<AgTreeName>()
  for (const tree of Object.values(trees)) if (tree?.damaged) wrong.add(tree.name)
  for (const name of explainInodes(ag, chunks, listed, findings)) wrong.add(name)
  if (known || !blind) for (const name of explainShared(geometry, inodes, ag, space, findings)) wrong.add(name)
  const falseBuckets = inodesKnown ? compareAgi(geometry, ag, inodes, chunks, findings) : []
  if (known) for (const name of explainSpace(geometry, ag, space, findings)) wrong.add(name)
  return {
    ag,
    blocks,
    known,
    inodesKnown,
    proof,
    chunks,
    cow: known || !blind ? (space.cow?.runs ?? []) : [],
    agfl,
    agflKnown: observed.headers.agflUsable && !(blind && agflWrong),
    agflWrong,
    wrong,
    rmapOwners: known && space.rmapbt ? differingOwners(space.rmapbt) : NO_OWNERS,
    falseBuckets,
  }
}

const NO_OWNERS = new Float64Array(0)

/** The owners of the blocks of an AG. */
interface Owners {
  readonly ag: ObservedAg
  readonly blocks: Blocks
}

/** Add the owners that could not be read, as rmapbt has them. */
function adoptOwners(inodes: Inodes, owners: Owners, agflWrong: boolean): Owners {
  const ag = adoptRmaps(inodes, owners.ag, agflWrong)
  if (!ag) return owners
  const metadata = new Extents()
  mergeMetadata(ag.metadata, metadata)
  return { ag, blocks: withSaturated(blocksOf(ag.length, metadata, fileBlocks(ag.mappings)), ag.trees) }
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

interface InodeDifferences {
  readonly inobt: Differences | undefined
  readonly finobt: Differences | undefined
}

/** How the inode trees differ from the inodes. */
const compareInodes = ({ inobt, finobt }: ObservedTrees, chunks: ExpectedChunks): InodeDifferences => ({
  inobt: inobt.complete ? compareInobt(chunks, inobt.records) : undefined,
  finobt: finobt?.complete ? compareFinobt(chunks, finobt.records) : undefined,
})

/** Report inobt and finobt. @returns the trees that are wrong */
function* explainInodes(
  { agno, trees }: ObservedAg,
  chunks: ExpectedChunks,
  { inobt, finobt }: InodeDifferences,
  findings: Findings,
): Generator<AgTreeName> {
  if (inobt && inobt.length > 0) {
    explainInobt(agno, chunks, trees.inobt.records, inobt, findings)
    yield 'inobt'
  }
  if (trees.finobt && finobt && finobt.length > 0) {
    explainFinobt(agno, chunks, trees.finobt.records, finobt, findings)
    yield 'finobt'
  }
}

/** Report reference counts and CoW staging blocks. @returns the trees that are wrong */
function* explainShared(
  geometry: Geometry,
  inodes: Inodes,
  { agno, trees }: ObservedAg,
  { blocks, cow, refcountbt: differences }: SpaceComparison,
  findings: Findings,
): Generator<AgTreeName> {
  const { refcountbt } = trees
  if (!refcountbt) return
  compareReflinkFlags(geometry, inodes, agno, blocks, findings)
  if (!cow || !differences) return
  explainCow(agno, blocks, refcountbt.records, cow, findings)
  noteSaturated(agno, blocks.counts, findings)
  if (differences.length > 0) explainRefcounts(agno, blocks, refcountbt.records, findings)
  if (differences.length + cow.wrong.length > 0) yield 'refcountbt'
}

/** Report free space, owners and the AGF. @returns the trees that are wrong */
function* explainSpace(
  geometry: Geometry,
  ag: ObservedAg,
  { all, bnobt, cntbt, rmapbt }: SpaceComparison,
  findings: Findings,
): Generator<AgTreeName> {
  const { agno, trees } = ag
  if (bnobt && bnobt.length > 0) {
    explainBnobt(agno, all, trees.bnobt.records, findings)
    yield 'bnobt'
  }
  if (cntbt && cntbt.length > 0) {
    explainCntbt(agno, all, trees.cntbt.records, cntbt, findings)
    yield 'cntbt'
  }
  if (rmapbt && rmapbt.differences.length > 0) {
    explainRmapbt(agno, all, rmapbt, findings)
    yield 'rmapbt'
  }
  compareAgf(geometry, ag, all, findings)
}
