import type { AgTreeName } from '../btree/agtrees.ts'
import type { Device } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { OWNERS } from '../format/btrecs.ts'
import type { Geometry } from '../format/geometry.ts'
import type { LogHead } from '../format/lsn.ts'
import { orderByU32 } from '../util/columns.ts'
import { compareAgf, compareAgi, compareSuperblock } from './compare/counters.ts'
import { compareFinobt, compareInobt } from './compare/inodes.ts'
import { compareLinks, superblockInodes } from './compare/links.ts'
import { type CowRun, compareRefcounts, cowRuns } from './compare/refcounts.ts'
import { compareRmapbt } from './compare/rmaps.ts'
import { compareBnobt, compareCntbt } from './compare/space.ts'
import { type Blocks, blocksOf, fileBlocks, mergeMetadata } from './expect/blocks.ts'
import { expectedChunks } from './expect/inodes.ts'
import { saturate, saturatedRuns } from './expect/saturated.ts'
import { sharingRows } from './expect/sharing.ts'
import { usage } from './expect/usage.ts'
import { Extents } from './extents.ts'
import { Facts } from './facts.ts'
import { Findings } from './findings.ts'
import { lostBlocks } from './lost.ts'
import type { SpaceRecords } from './observe/agtrees.ts'
import { observeSuperblocks } from './observe/headers.ts'
import { InodeFlag, InodeState, Inodes } from './observe/inodetable.ts'
import { NameScan } from './observe/names.ts'
import type { Observation, ObservedAg } from './observe/observation.ts'
import { observe } from './observe/observe.ts'
import { logHead } from './observe/scene.ts'
import { claimName } from './owners.ts'
import type { AgResult, CheckResult } from './result.ts'

/**
 * Check an image: observe what inodes, forks and directories are; derive what follows; compare both ways.
 *
 *   inodes, forks ──▶ who owns which blocks ──▶ rmapbt, refcountbt, free space (bnobt, cntbt), counters
 *              └────▶ chunks ───────────────▶ inobt, finobt, counters
 *
 * Nothing is changed. What is found is a list of findings; only what makes the image no image (no superblock, an I/O error,
 * unknown features) is an XfsError.
 */

/**
 * Check the filesystem on `device`. Where what was found means that inobt may not list all inodes of an AG, the AG is scanned for
 * inodes and all is observed once more.
 */
export function check(device: Device, geometry: Geometry, head?: LogHead): CheckResult {
  if (geometry.features.version !== 5) throw new XfsError('UNSUPPORTED', 'a V4 filesystem cannot be checked')
  let scan = new Set<number>()
  for (let round = 1; ; round++) {
    const { result, doubtful } = checkOnce(device, geometry, scan, head ?? logHead(device))
    const more = [...doubtful].filter((agno) => !result.observation.scanned.has(agno))
    if (more.length === 0) return result
    const all = Array.from({ length: geometry.agcount }, (_, agno) => agno)
    scan = new Set(round < MAX_ROUNDS ? [...scan, ...more] : all)
  }
}

/** Then all AGs are scanned, and there is nothing more to do. */
const MAX_ROUNDS = 3

function checkOnce(
  device: Device,
  geometry: Geometry,
  scan: ReadonlySet<number>,
  head: LogHead,
): { result: CheckResult; doubtful: Set<number> } {
  const inodes = new Inodes(geometry)
  const facts = new Facts(inodes)
  const findings = new Findings(facts)
  const scene = { device, geometry, findings, inodes, head }
  observeSuperblocks(scene)
  if (geometry.features.has('needsrepair')) findings.add('sb.needsrepair', {})
  const names = new NameScan(scene)
  const observation = observe(scene, names, scan)
  const ags = observation.ags.map((ag) => checkAg(geometry, observation, ag, findings))
  compareSuperblock(geometry, observation, ags, findings)
  names.readMaps(inodes)
  // Where inodes are missing, nobody can say where entries should lead.
  if (!observation.blind) compareLinks(geometry, inodes, names, findings)
  return {
    result: { findings, facts, observation, ags, head },
    doubtful: doubtfulAgs(geometry, observation, ags, names),
  }
}

/** AGs with inodes that the superblock or an entry needs and no chunk has, or with blocks in use that nothing owns. */
function doubtfulAgs(
  geometry: Geometry,
  { inodes }: Observation,
  ags: readonly AgResult[],
  names: NameScan,
): Set<number> {
  const doubtful = new Set<number>()
  const need = (ino: number): void => {
    if (geometry.validIno(ino) && inodes.slot(ino) < 0) doubtful.add(geometry.inoAgno(ino))
  }
  for (let i = 0; i < names.entryIno.length; i++) need(names.entryIno.data[i] as number)
  for (const ino of superblockInodes(geometry)) need(ino)
  for (const result of ags) if (result.known && lostBlocks(result).length > 0) doubtful.add(result.ag.agno)
  return doubtful
}

function checkAg(geometry: Geometry, observation: Observation, ag: ObservedAg, findings: Findings): AgResult {
  const { agno, trees, length } = ag
  const wrong = new Set<AgTreeName>()
  for (const tree of Object.values(trees)) if (tree?.damaged) wrong.add(tree.name)

  const { blocks: claimed, agfl, agflWrong } = claimAgfl(ag, findings)
  const blocks = withSaturated(ag, claimed)
  for (const { start, end, a, b } of blocks.conflicts) {
    findings.add('inode.crosslinked', {
      agno,
      agbno: start,
      len: end - start,
      owner: claimName(blocks, a),
      other: claimName(blocks, b),
    })
  }
  const chunks = expectedChunks(observation.inodes, agno, saidFree(ag))
  if (trees.inobt.complete && compareInobt(agno, chunks, trees.inobt.records, findings)) wrong.add('inobt')
  if (trees.finobt?.complete && compareFinobt(agno, chunks, trees.finobt.records, findings)) wrong.add('finobt')

  const cow = observation.blind ? [] : checkShared(geometry, observation, ag, blocks, wrong, findings)
  const falseBuckets = observation.blind ? [] : compareAgi(geometry, ag, observation.inodes, chunks, findings)
  // Without all mappings, or all blocks of all trees, nobody can say which blocks are free.
  const complete = Object.values(trees).every((tree) => !tree || tree.complete)
  const known = !observation.blind && complete && ag.headers.agflUsable
  let rmapOwners: Float64Array = NO_OWNERS
  if (known) {
    const all = cow.length > 0 ? withCow(blocks, cow, length) : blocks
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

/** The same with the counts that are saturated. */
function withSaturated({ trees, length }: ObservedAg, blocks: Blocks): Blocks {
  const { refcountbt, bnobt } = trees
  if (!refcountbt?.complete) return blocks
  const listedFree = bnobt.complete ? listedIn(bnobt.records) : () => false
  const saturated = saturatedRuns(blocks, refcountbt.records, listedFree)
  if (saturated.start.length === 0) return blocks
  return blocksOf(length, blocks.metadata, saturate(blocks, blocks.free, saturated))
}

/** Reference counts, and what is held for copy-on-write. */
function checkShared(
  geometry: Geometry,
  observation: Observation,
  { agno, trees }: ObservedAg,
  blocks: Blocks,
  wrong: Set<AgTreeName>,
  findings: Findings,
): readonly CowRun[] {
  if (!trees.refcountbt) return []
  checkReflinkFlags(geometry, observation, agno, blocks, findings)
  if (!trees.refcountbt.complete) return []
  const { records } = trees.refcountbt
  const listedFree = trees.bnobt.complete ? listedIn(trees.bnobt.records) : () => false
  const cow = cowRuns(agno, blocks, records, listedFree, findings)
  for (const { start, end } of cow.runs) findings.add('cow.leftover', { agno, agbno: start, len: end - start })
  if (compareRefcounts(agno, blocks, records, findings) || cow.wrong) wrong.add('refcountbt')
  return cow.runs
}

/** The free mask that inobt states for a chunk. */
function saidFree({ trees }: ObservedAg): (agino: number) => readonly [number, number] {
  let byAgino: Map<number, readonly [number, number]> | undefined
  return (agino) => {
    if (!byAgino) {
      byAgino = new Map()
      const { records } = trees.inobt
      for (let i = 0; i < records.length; i++)
        byAgino.set(records.startino.get(i), [records.freeHi.get(i), records.freeLo.get(i)])
    }
    return byAgino.get(agino) ?? [0, 0]
  }
}

/** Add the blocks of the AGFL to what is owned; a block that something else owns stays with that. */
function claimAgfl(
  { agno, headers, metadata, mappings, length }: ObservedAg,
  findings: Findings,
): { blocks: Blocks; agfl: number[]; agflWrong: boolean } {
  const without = new Extents()
  mergeMetadata(metadata, without)
  const files = fileBlocks(mappings)
  const blocks = blocksOf(length, without, files)
  let agflWrong = !headers.agflUsable || headers.agfl.length !== headers.agf.flcount
  const seen = new Set<number>()
  const agfl: number[] = []
  for (const agbno of headers.agfl) {
    if (seen.has(agbno)) {
      findings.add('agfl.twice', { agno, agbno })
      agflWrong = true
      continue
    }
    seen.add(agbno)
    const owner = ownerOf(blocks, agbno)
    if (owner === undefined) {
      metadata.push(agbno, 1, OWNERS.ag, 0, 0)
      agfl.push(agbno)
    } else {
      findings.add('agfl.owned', { agno, agbno, owner })
      agflWrong = true
    }
  }
  const merged = new Extents()
  mergeMetadata(metadata, merged)
  return { blocks: blocksOf(length, merged, files), agfl, agflWrong }
}

function ownerOf(blocks: Blocks, agbno: number): string | undefined {
  for (const piece of usage(blocks, agbno, agbno + 1)) {
    return piece.use === 'free'
      ? undefined
      : piece.use === 'shared'
        ? `${piece.count} mappings`
        : claimName(blocks, piece.claim)
  }
  return undefined
}

function withCow(blocks: Blocks, cow: readonly CowRun[], length: number): Blocks {
  const rows = new Extents()
  for (let i = 0; i < blocks.metadata.length; i++) {
    const { start, count, owner, offset, flags } = blocks.metadata
    rows.push(start.get(i), count.get(i), owner.get(i), offset.get(i), flags.get(i))
  }
  for (const { start, end } of cow) rows.push(start, end - start, OWNERS.cow, 0, 0)
  const metadata = new Extents()
  mergeMetadata(rows, metadata)
  return blocksOf(length, metadata, blocks)
}

/** Does bnobt list the whole run as free? */
function listedIn(records: SpaceRecords): (start: number, end: number) => boolean {
  let order: Uint32Array | undefined
  return (start, end) => {
    order ??= orderByU32(records.start.filled(), records.length)
    let low = 0
    let high = order.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (records.start.get(order[middle] as number) <= start) low = middle + 1
      else high = middle
    }
    const row = order[low - 1]
    return row !== undefined && end <= records.start.get(row) + records.count.get(row)
  }
}

/** Each inode with a shared block must say so. */
function checkReflinkFlags(
  geometry: Geometry,
  { inodes }: Observation,
  agno: number,
  blocks: Blocks,
  findings: Findings,
): void {
  if (!geometry.features.has('reflink') || blocks.counts.start.length === 0) return
  const { mappings } = blocks
  for (const row of sharingRows(blocks)) {
    const ino = mappings.owner.get(row)
    const slot = inodes.slot(ino)
    if (slot < 0 || inodes.state.get(slot) !== InodeState.sound || (inodes.flags.get(slot) & InodeFlag.reflink) !== 0)
      continue
    findings.add('inode.reflink', { ino, agno, agbno: mappings.start.get(row), len: mappings.count.get(row) })
  }
}
