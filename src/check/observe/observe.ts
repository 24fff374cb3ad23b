import { OWNERS } from '../../format/btrecs.ts'
import { INODES_PER_CHUNK } from '../../format/dinode.ts'
import type { Geometry } from '../../format/geometry.ts'
import { agTreeNames, btrees } from '../../format/trees.ts'
import { Extents } from '../extents.ts'
import { observeAgTrees } from './agtrees.ts'
import { findChunks, isDoubtful } from './chunks.ts'
import { observeHeaders } from './headers.ts'
import { InodeScan } from './inodes.ts'
import type { ForkVisitor, Inodes } from './inodetable.ts'
import type { Observation, ObservedAg } from './observation.ts'
import type { Scene } from './scene.ts'

/**
 * Read the complete image.
 *
 * @param doubtful  AGs to scan for inodes, even if their inobt looks right
 */
export function observe(scene: Scene, visitor: ForkVisitor, doubtful: ReadonlySet<number>): Observation {
  const { geometry } = scene
  const ags: ObservedAg[] = []
  for (let agno = 0; agno < geometry.agcount; agno++) {
    const headers = observeHeaders(scene, agno)
    const trees = observeAgTrees(scene, agno, headers)
    const ag: ObservedAg = {
      agno,
      headers,
      trees,
      length: geometry.agLength(agno),
      metadata: new Extents(),
      mappings: new Extents(),
    }
    ags.push(ag)
    claimFixed(geometry, ag)
  }
  const metadata = ags.map((ag) => ag.metadata)
  const mappings = ags.map((ag) => ag.mappings)
  const scan = new InodeScan(scene, metadata, mappings, visitor)
  const scanned = new Set<number>()
  for (const ag of ags) {
    const { agno } = ag
    if (doubtful.has(agno) || isDoubtful(ag)) scanned.add(agno)
    scan.readChunks(agno, findChunks(scene, ag, scanned.has(agno)))
  }
  scan.finish()
  for (const ag of ags) claimChunks(geometry, ag, scan.inodes)
  return { ags, inodes: scan.inodes, blind: scan.blind, scanned }
}

/** Add the blocks of headers, log and trees. */
function claimFixed(geometry: Geometry, { agno, trees, metadata }: ObservedAg): void {
  const { sb } = geometry
  metadata.push(0, geometry.headerBlocks, OWNERS.fs, 0, 0)
  if (sb.logstart > 0 && geometry.agnoOf(sb.logstart) === agno) {
    metadata.push(geometry.agbnoOf(sb.logstart), sb.logblocks, OWNERS.log, 0, 0)
  }
  for (const name of agTreeNames) {
    for (const agbno of trees[name]?.blocks ?? []) metadata.push(agbno, 1, btrees[name].owner, 0, 0)
  }
}

/** Add the blocks of inodes. Two chunks may share a block that holds more than 64 inodes. */
function claimChunks(geometry: Geometry, { agno, metadata }: ObservedAg, inodes: Inodes): void {
  const perBlock = Math.min(geometry.inopblock, INODES_PER_CHUNK)
  let last = -1
  for (const { agino, chunk } of inodes.chunks(agno)) {
    for (let i = 0; i < INODES_PER_CHUNK; i += perBlock) {
      if (inodes.state.data[chunk * INODES_PER_CHUNK + i] === 0) continue
      const agbno = geometry.aginoAgbno(agino + i)
      if (agbno !== last) metadata.push(agbno, 1, OWNERS.inodes, 0, 0)
      last = agbno
    }
  }
}
