import { Agf, Agi } from '../format/ag.ts'
import { ShortBlock } from '../format/btblock.ts'
import { INODES_PER_CHUNK } from '../format/dinode.ts'
import type { Geometry } from '../format/geometry.ts'
import { Superblock } from '../format/sb.ts'
import { type TreeName, treeForms } from '../format/trees.ts'
import { maxRecords } from '../format/treesizes.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import type { BlockReader, Volume } from '../volume.ts'

/**
 * Free blocks that are not available to users: each AG reserves blocks for the growth of its
 * btrees.
 *
 *   ├── used ──┤├──────────────────────── free blocks of the AG ───────────────────────────┤
 *              ├─ rmapbt grows into this ─┤├─ refcountbt, finobt ─┤├─ AGFL ─┤├─ for users ─┤
 *
 * A change that shares or frees blocks may need new tree blocks, also if the AG is full. The kernel
 * computes the reservations when it mounts and keeps them in memory: they are not on disk. Here
 * they are computed when needed, from the geometry (the blocks asked) and the tree sizes in the AGF
 * and AGI (the blocks used), so there is nothing to undo.
 *
 * Asked: for refcountbt and finobt their maximum size in an AG of this size without the log; for
 * rmapbt its maximum size without sharing, or one percent. Used blocks of refcountbt and finobt are
 * not free; rmapbt blocks come from the AGFL and count as free space.
 *
 * Source: fs/xfs/libxfs/xfs_ag_resv.c, xfs_btree.c (xfs_btree_calc_size,
 * xfs_btree_compute_maxlevels).
 */
export type Reserve = 'none' | 'metadata' | 'rmapbt'

/** Minimum records of a block, leaf and node. */
interface MinRecords {
  readonly leaf: number
  readonly node: number
}

const fill = (geometry: Geometry, tree: TreeName): MinRecords => ({
  leaf: Math.floor(maxRecords(geometry, tree, 0) / 2),
  node: Math.floor(maxRecords(geometry, tree, 1) / 2),
})

/** Blocks of a tree of `records` records with minimum fill. */
function worstSize(least: MinRecords, records: number): number {
  let level = Math.ceil(records / least.leaf)
  let blocks = level
  while (level > 1) {
    level = Math.ceil(level / least.node)
    blocks += level
  }
  return blocks
}

/** Levels of such a tree. */
function worstHeight(least: MinRecords, records: number): number {
  let level = Math.ceil(records / least.leaf)
  let height = 1
  while (level > 1) {
    level = Math.ceil(level / least.node)
    height++
  }
  return height
}

/** Levels of a tree with at most `blocks` blocks. */
function heightOfSpace(least: MinRecords, blocks: number): number {
  let nodes = 2
  let left = blocks - 1
  let height = 1
  while (nodes < left) {
    left -= nodes
    nodes *= least.node
    height++
  }
  return height
}

/** Maximum heights of the trees of an AG. */
export interface MaxLevels {
  /** bnobt and cntbt */
  readonly alloc: number
  readonly rmapbt: number
  readonly refcountbt: number
  readonly inobt: number
  /** The maximum of them. */
  readonly highest: number
}

const agLevelsOf = new WeakMap<Geometry, MaxLevels>()

/** Maximum heights of this filesystem's trees, as computed by the kernel. */
export function agMaxLevels(geometry: Geometry): MaxLevels {
  const known = agLevelsOf.get(geometry)
  if (known) return known
  const { agblocks, features } = geometry
  const alloc = worstHeight(fill(geometry, 'bnobt'), Math.floor((agblocks + 1) / 2))
  const rmap = fill(geometry, 'rmapbt')
  const rmapbt = !features.has('rmapbt')
    ? 0
    : features.has('reflink')
      ? heightOfSpace(rmap, agblocks)
      : worstHeight(rmap, agblocks)
  const refcountbt = features.has('reflink') ? worstHeight(fill(geometry, 'refcountbt'), agblocks) : 0
  const chunks = 2 ** (geometry.sb.agblklog + geometry.sb.inopblog) / INODES_PER_CHUNK
  const inobt = worstHeight(fill(geometry, 'inobt'), chunks)
  const levels = { alloc, rmapbt, refcountbt, inobt, highest: Math.max(alloc, rmapbt, refcountbt, inobt) }
  agLevelsOf.set(geometry, levels)
  return levels
}

/**
 * The minimum number of blocks in the AGFL before the free space or rmap btrees change. For each
 * tree: every level splits and the tree grows by one level; then, when the AGFL is refilled, every
 * level below the root splits again.
 */
export function minFreelist(geometry: Geometry, levels: { bnobt: number; cntbt: number; rmapbt: number }): number {
  const max = agMaxLevels(geometry)
  const need = (level: number, most: number): number => Math.min(level + 1, most) * 2 - 2
  return (
    need(levels.bnobt, max.alloc) +
    need(levels.cntbt, max.alloc) +
    (geometry.features.has('rmapbt') ? need(levels.rmapbt, max.rmapbt) : 0)
  )
}

/** The reservation of an AG for its btrees: blocks requested, and those already in use. */
interface AgReservation {
  readonly asked: number
  readonly used: number
}

interface Reservations {
  readonly metadata: AgReservation
  readonly rmapbt: AgReservation
}

interface Asked {
  readonly metadata: number
  readonly rmapbt: number
}
const askedOf = new WeakMap<Geometry, Map<number, Asked>>()

/** Blocks to reserve in an AG, which depends only on the geometry. */
function asked(geometry: Geometry, agno: number): Asked {
  const groups = askedOf.get(geometry) ?? new Map<number, Asked>()
  askedOf.set(geometry, groups)
  const ask = groups.get(agno) ?? computeAsked(geometry, agno)
  groups.set(agno, ask)
  return ask
}

function computeAsked(geometry: Geometry, agno: number): Asked {
  const { features, sb } = geometry
  const hasLog = sb.logstart !== 0 && geometry.agnoOf(sb.logstart) === agno
  const blocks = Math.max(0, geometry.agLength(agno) - (hasLog ? sb.logblocks : 0))
  let metadata = 0
  if (features.has('reflink')) metadata += worstSize(fill(geometry, 'refcountbt'), blocks)
  if (features.has('finobt')) {
    metadata += worstSize(fill(geometry, 'inobt'), Math.floor((blocks * geometry.inopblock) / INODES_PER_CHUNK))
  }
  const rmapbt = features.has('rmapbt')
    ? Math.max(Math.floor(blocks / 100), worstSize(fill(geometry, 'rmapbt'), blocks))
    : 0
  return { metadata, rmapbt }
}

/** The current reservations of an AG. */
export function reservations(volume: Volume, agno: number, reader: BlockReader = volume): Reservations {
  const { features } = volume.geometry
  const ask = asked(volume.geometry, agno)
  const agf = volume.agf(agno, reader).view
  let used = 0
  if (features.has('reflink')) used += Agf.fields.refcntblocks.get(agf, 0)
  if (features.has('finobt')) used += finobtBlocks(volume, agno, reader)
  const rmapUsed = features.has('rmapbt') ? Agf.fields.rmapblocks.get(agf, 0) : 0
  return {
    metadata: { asked: Math.max(ask.metadata, used), used },
    rmapbt: { asked: Math.max(ask.rmapbt, rmapUsed), used: rmapUsed },
  }
}

/** Blocks of the finobt: from the AGI, or counted in the nodes without inobtcount. */
function finobtBlocks(volume: Volume, agno: number, reader: BlockReader): number {
  const agi = volume.agi(agno, reader).view
  if (volume.features.has('inobtcount')) return Agi.fields.fblocks.get(agi, 0)
  const { keyStride, ptrSize } = treeForms.finobt
  const pointers = volume.geometry.shortHeader + maxRecords(volume.geometry, 'finobt', 1) * keyStride
  let level: number[] = [Agi.fields.free_root.get(agi, 0)]
  let blocks = 1
  for (let height = Agi.fields.free_level.get(agi, 0); height > 1; height--) {
    const below: number[] = []
    for (const agbno of level) {
      const { view } = volume.block(blockTypes.finobt, agno, agbno, reader)
      const count = ShortBlock.fields.numrecs.get(view, 0)
      blocks += count
      if (height > 2) for (let i = 0; i < count; i++) below.push(view.getUint32(pointers + ptrSize * i))
    }
    level = below
  }
  return blocks
}

const left = (reservation: AgReservation): number => Math.max(0, reservation.asked - reservation.used)

/** Blocks of AG `agno` that an allocation with `reserve` must leave to others. */
export function reservedForOthers(
  volume: Volume,
  agno: number,
  reserve: Reserve,
  reader: BlockReader = volume,
): number {
  const { metadata, rmapbt } = reservations(volume, agno, reader)
  return (reserve === 'metadata' ? 0 : left(metadata)) + (reserve === 'rmapbt' ? 0 : left(rmapbt))
}

/**
 * True if the AG is too full for sharing more blocks. The kernel rejects sharing below a tenth of
 * the reservation, so that the rmapbt can grow while files are changed and removed. Without rmapbt
 * it does not check.
 */
export function isCritical(volume: Volume, agno: number, reader: BlockReader = volume): boolean {
  if (!volume.features.has('rmapbt')) return false
  const { metadata, rmapbt } = reservations(volume, agno, reader)
  const agf = volume.agf(agno, reader).view
  const free = Agf.fields.freeblks.get(agf, 0)
  const flcount = Agf.fields.flcount.get(agf, 0)
  const { highest } = agMaxLevels(volume.geometry)
  const low = (available: number, reservation: AgReservation): boolean =>
    available < Math.floor(reservation.asked / 10) || available < highest
  return low(free + flcount - left(metadata), rmapbt) || low(free - left(rmapbt), metadata)
}

/** Blocks of the pool that the kernel reserves for itself: 5 %, at most 8192. */
export function reservePool(geometry: Geometry): number {
  return Math.min(Math.floor(geometry.sb.dblocks / 20), 8192)
}

/**
 * Blocks available to files, as `df` shows on a mounted filesystem. Can be negative on a full
 * image.
 */
export function freeForUsers(volume: Volume, reader: BlockReader = volume): number {
  const { geometry } = volume
  let free = Superblock.fields.fdblocks.get(volume.superblock(reader).view, 0)
  free -= reservePool(geometry) + geometry.agcount * 8
  for (let agno = 0; agno < geometry.agcount; agno++) {
    const { metadata, rmapbt } = reservations(volume, agno, reader)
    const agf = volume.agf(agno, reader).view
    const inFreeSpaceTrees = Agf.fields.btreeblks.get(agf, 0) - Math.max(0, rmapbt.used - 1)
    free -= left(metadata) + rmapbt.asked + inFreeSpaceTrees
  }
  return free
}
