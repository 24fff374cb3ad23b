import { bulkLoad, type WriteRecord } from '../btree/bulkload.ts'
import { treeOps } from '../btree/treeops.ts'
import type { Device } from '../device/device.ts'
import {
  AG_SECTORS,
  AGF_MAGIC,
  AGFL_MAGIC,
  AGI_MAGIC,
  AGI_UNLINKED_BUCKETS,
  Agf,
  Agfl,
  AgflSlot,
  Agi,
  BUCKET_SIZE,
  NULLAGBLOCK,
  NULLAGINO,
} from '../format/ag.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { type AgTreeName, btrees, setTreeRoot, type TreeRoot } from '../format/trees.ts'
import { agflSlots } from '../format/treesizes.ts'
import type { AgTreeLayout } from './layout.ts'
import { Sector } from './sector.ts'

/**
 * Writing the complete metadata of an AG: to create a filesystem, to rebuild a damaged one, and to
 * change its size. Transactions change it in parts (space/).
 *
 *   ┌ sb ┬ AGF ┬ AGI ┬ AGFL ┐ ┌ roots ─▶ nodes ─▶ leaves ┐
 *   │    │ roots, heights,  │ │ of the trees of an AG    │   trees first; when they are on the
 *   │    │ counters         │ │                          │   device, the headers that point to them
 *   └────┴─────────────────┴─┘ └──────────────────────────┘
 *
 * The contents (records, counts of free blocks and inodes) are given by the caller: from options of
 * mkfs, or derived by check. layout.ts chooses the blocks of trees.
 */

/** Contents of an AGF besides its trees. */
interface AgfContents {
  readonly trees: Iterable<TreeRoot & { readonly name: AgTreeName }>
  readonly freeblks: number
  readonly longest: number
  /** The ring of the AGFL; undefined: it stays. */
  readonly agfl: { readonly first: number; readonly last: number; readonly count: number } | undefined
}

/** Fill in an AGF; fields that are not given stay. */
export function encodeAgf(view: DataView, at: number, geometry: Geometry, agno: number, contents: AgfContents): void {
  const { agfl, freeblks, longest } = contents
  const trees = [...contents.trees]
  Agf.encode(view, at, {
    magicnum: AGF_MAGIC,
    versionnum: 1,
    seqno: agno,
    length: geometry.agLength(agno),
    uuid: geometry.metaUuid,
    freeblks,
    longest,
    ...(agfl && { flfirst: agfl.first, fllast: agfl.last, flcount: agfl.count }),
    ...(geometry.features.has('lazysbcount') && { btreeblks: blocksBelowRoots(trees) }),
  })
  setRoots(view, at, geometry, 'agf', trees)
}

/** Contents of an AGI besides its trees. */
interface AgiContents {
  readonly trees: Iterable<TreeRoot & { readonly name: AgTreeName }>
  readonly inodes: number
  readonly freeInodes: number
  /** The chunk that was allocated last; undefined: it stays. */
  readonly newino?: number
}

/** Fill in an AGI; fields that are not given stay. */
export function encodeAgi(view: DataView, at: number, geometry: Geometry, agno: number, contents: AgiContents): void {
  const { newino } = contents
  Agi.encode(view, at, {
    magicnum: AGI_MAGIC,
    versionnum: 1,
    seqno: agno,
    length: geometry.agLength(agno),
    uuid: geometry.metaUuid,
    count: contents.inodes,
    freecount: contents.freeInodes,
    ...(newino !== undefined && { newino }),
  })
  setRoots(view, at, geometry, 'agi', [...contents.trees])
}

/** Prepare a zeroed AGI for `encodeAgi`: no unlinked inodes. */
export function emptyAgi(view: DataView, at: number): void {
  const unlinked = new Array<number>(AGI_UNLINKED_BUCKETS).fill(NULLAGINO)
  Agi.encode(view, at, { newino: NULLAGINO, dirino: NULLAGINO, unlinked })
}

/** Fill in an AGFL: `blocks` from slot `first` on, the other slots empty. */
export function encodeAgfl(
  view: DataView,
  at: number,
  geometry: Geometry,
  agno: number,
  blocks: readonly number[],
  first: number,
): void {
  new Uint8Array(view.buffer, view.byteOffset + at, geometry.sectsize).fill(0xff)
  Agfl.encode(view, at, { magicnum: AGFL_MAGIC, seqno: agno, uuid: geometry.metaUuid, lsn: ZERO_LSN, crc: 0 })
  for (let slot = 0; slot < agflSlots(geometry); slot++)
    AgflSlot.fields.bno.set(view, at + Agfl.size + slot * AgflSlot.size, blocks[slot - first] ?? NULLAGBLOCK)
}

function setRoots(
  view: DataView,
  at: number,
  { features }: Geometry,
  header: 'agf' | 'agi',
  trees: readonly (TreeRoot & { readonly name: AgTreeName })[],
): void {
  for (const tree of trees) if (btrees[tree.name].root.in === header) setTreeRoot(view, at, tree.name, features, tree)
}

/** Blocks of the trees that use the AGFL (bnobt, cntbt, rmapbt), without the roots. */
export function blocksBelowRoots(trees: Iterable<{ readonly name: AgTreeName; readonly blocks: number }>): number {
  let sum = 0
  for (const { name, blocks } of trees) if (btrees[name].space === 'agfl') sum += blocks - 1
  return sum
}

/** Not written through the log. */
export const ZERO_LSN = { cycle: 0, block: 0 }

// -------------------------------------------------------------------------------------- a complete
// AG

/** The contents to write into an AG. */
interface AgWrite {
  readonly agno: number
  /** All trees of the AG; those without `records` are not written. */
  readonly trees: readonly AgTreeLayout[]
  /** A writer of the records of a tree, in order. */
  records(name: AgTreeName): WriteRecord
  readonly freeblks: number
  readonly longest: number
  readonly inodes: number
  readonly freeInodes: number
  readonly agf: HeaderWrite
  readonly agi: HeaderWrite & {
    /** Unlinked buckets to empty. */ readonly buckets: readonly number[]
  }
  /** The blocks of a new AGFL; undefined: it stays. */
  readonly agfl: readonly number[] | undefined
}

interface HeaderWrite {
  readonly write: boolean
  /** Ignore the old contents: begin with zeros. */
  readonly fresh: boolean
}

/** Write trees, wait until they are on the device, write the headers. */
export function writeAg(device: Device, geometry: Geometry, ag: AgWrite): void {
  for (const tree of ag.trees) if (tree.records !== undefined) writeTree(device, geometry, ag, tree, tree.records)
  device.flush()
  if (ag.agi.write) writeAgi(device, geometry, ag)
  if (ag.agfl) writeAgfl(device, geometry, ag.agno, ag.agfl)
  if (ag.agf.write) writeAgf(device, geometry, ag)
}

function writeTree(
  device: Device,
  geometry: Geometry,
  { agno, records }: AgWrite,
  tree: AgTreeLayout,
  count: number,
): void {
  let next = 0
  const result = bulkLoad<never, never>(treeOps[tree.name] as never, {
    geometry,
    owner: agno,
    agno,
    count,
    records: records(tree.name),
    claim: () => tree.blocks[next++] as number,
    write: (agbno, bytes) => device.write(bytes, geometry.daddr(agno, agbno) * BASIC_BLOCK),
    ...tree.slack,
  })
  if (result.root !== tree.root || result.levels !== tree.levels)
    throw new Error(`${tree.name} does not match its plan`)
}

const rootOf = ({ name, root, levels, blocks }: AgTreeLayout): TreeRoot & { name: AgTreeName } => ({
  name,
  root,
  levels,
  blocks: blocks.length,
})

function writeAgf(device: Device, geometry: Geometry, ag: AgWrite): void {
  const sector = new Sector(device, geometry, ag.agno, AG_SECTORS.agf)
  if (ag.agf.fresh) sector.bytes.fill(0)
  Agf.fields.lsn.set(sector.view, 0, ZERO_LSN)
  const { agfl } = ag
  const last = agfl?.length === 0 ? agflSlots(geometry) - 1 : (agfl?.length ?? 0) - 1
  const { freeblks, longest } = ag
  const ring = agfl && { first: 0, last, count: agfl.length }
  encodeAgf(sector.view, 0, geometry, ag.agno, { trees: ag.trees.map(rootOf), freeblks, longest, agfl: ring })
  sector.write()
}

function writeAgi(device: Device, geometry: Geometry, ag: AgWrite): void {
  const sector = new Sector(device, geometry, ag.agno, AG_SECTORS.agi)
  const { view } = sector
  if (ag.agi.fresh) {
    sector.bytes.fill(0)
    emptyAgi(view, 0)
  }
  const { lsn, unlinked } = Agi.fields
  lsn.set(view, 0, ZERO_LSN)
  for (const bucket of ag.agi.buckets) view.setUint32(unlinked.offset + bucket * BUCKET_SIZE, NULLAGINO)
  const { inodes, freeInodes } = ag
  encodeAgi(view, 0, geometry, ag.agno, { trees: ag.trees.map(rootOf), inodes, freeInodes })
  sector.write()
}

function writeAgfl(device: Device, geometry: Geometry, agno: number, blocks: readonly number[]): void {
  const sector = new Sector(device, geometry, agno, AG_SECTORS.agfl)
  encodeAgfl(sector.view, 0, geometry, agno, blocks, 0)
  sector.write()
}
