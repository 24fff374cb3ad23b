import { DA_NODE_MAXDEPTH } from '../format/dir.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { SYMLINK_MAXLEN } from '../format/symlink.ts'
import { maxRecords } from '../format/treesizes.ts'
import { maxExtents } from '../mapping/maprecords.ts'
import { agMaxLevels, type MaxLevels } from '../space/reserve.ts'

/**
 * The smallest log with which the kernel mounts a given geometry.
 *
 * The log must hold the largest transaction a few times. Its size follows from the maximum heights
 * of the trees and from the maximum number of blocks that one operation changes. This is the
 * kernel's own calculation, because the kernel rejects a smaller log, and mkfs.xfs gives a
 * filesystem under 300 MB exactly this size.
 *
 * There are two versions of the calculation. Images without parent pointers use the old one, which
 * is too large, so that old kernels mount images of new tools: it takes rmapbt as nine levels high,
 * a write as eight rolls, and refcount changes as a part of the same transaction. Images with
 * parent pointers use the new one.
 *
 * @source xfs_trans_resv.c, xfs_log_rlimit.c, xfs_trans_space.h, xfs_btree.c (heights),
 *   xfs_log_priv (unit of a ticket)
 */

const OP_HEADER = 12
const BUF_LOG_OVERHEAD = 128
const INODE_LOG_FORMAT = 56
const BMBT_HEADER = 72
const TRANS_HEADER = 16
/** Six dquots with their log formats: users, groups and projects of two directories. */
const DQUOT_BYTES = (24 + 104) * 6
/** An attribute intent, a parent record of 12 bytes, a name of 255 (rounded up to words). */
const PARENT_INTENT = 40 + 12 + 256
const PARENT_REPLACE_INTENT = 40 + 2 * (12 + 256)
const MAX_NAME = 256
/** Height of rmapbt with reflink, as the first kernels took it. */
const OLD_RMAP_LEVELS = 9
const OLD_REFLINK_LOG_COUNT = 8
const MIN_LOG_FACTOR = 3
const LOG_BUFFER = 256 * 1024
const LOG_BUFFER_HEADERS = (LOG_BUFFER / (32 * 1024)) * BASIC_BLOCK

/** The maximum heights of the trees of a filesystem; 0 for a tree that it does not have. */
interface TreeHeights extends MaxLevels {
  readonly dataFork: number
  readonly attrFork: number
}

/** @source xfs_bmap_compute_maxlevels */
function treeHeights(geometry: Geometry): TreeHeights {
  const wide = geometry.features.has('nrext64')
  return {
    ...agMaxLevels(geometry),
    dataFork: heightOfFork(geometry, maxExtents('data', wide), 3),
    attrFork: heightOfFork(geometry, maxExtents('attr', wide), 2),
  }
}

function heightOfFork(geometry: Geometry, extents: number, rootRecords: number): number {
  const leaf = maxRecords(geometry, 'bmbt', 0) >> 1
  const node = maxRecords(geometry, 'bmbt', 1) >> 1
  let height = 1
  for (let blocks = Math.ceil(extents / leaf); blocks > 1; height++) {
    blocks = blocks <= rootRecords ? 1 : Math.ceil(blocks / node)
  }
  return height
}

const ATTR_COUNT = 3

/**
 * An inode in the log: its format, the core and both forks, whose btree roots are logged with full
 * headers.
 */
const inodeBytes = (inodesize: number): number => 4 * OP_HEADER + INODE_LOG_FORMAT + inodesize + 2 * BMBT_HEADER

const attrSetBytes = (blocksize: number, sectsize: number, inodesize: number): number =>
  DQUOT_BYTES +
  inodeBytes(inodesize) +
  (sectsize + BUF_LOG_OVERHEAD) +
  DA_NODE_MAXDEPTH * (blocksize + BUF_LOG_OVERHEAD)

/** Maximum blocks of a map of `levels` levels that `count` more extents add. */
function bmapAdd({ blocksize, shortHeader }: Geometry, count: number, levels: number): number {
  const extentsPerBlock = (Math.floor((blocksize - shortHeader) / 8) + 1) >> 1
  return Math.ceil(count / extentsPerBlock) * (levels - 1)
}

interface LogReservation {
  readonly bytes: number
  readonly count: number
}

/** The reservations of all transactions that could be the largest. */
function reservations(geometry: Geometry, heights: TreeHeights, old: boolean): LogReservation[] {
  const { features, blocksize, sectsize, inodesize } = geometry
  const reflink = features.has('reflink')
  const rmapbt = features.has('rmapbt')
  const parent = features.has('parent')
  const rmapLevels = old && reflink && rmapbt ? OLD_RMAP_LEVELS : heights.rmapbt

  const buffers = (count: number, size: number): number => count * (size + BUF_LOG_OVERHEAD)
  const blocks = (count: number): number => buffers(count, blocksize)
  const sectors = (count: number): number => buffers(count, sectsize)
  const inodes = (count: number): number => count * inodeBytes(inodesize)
  /** Blocks of bnobt, cntbt and rmapbt that this number of allocations changes: two per level. */
  const alloc = (count: number, levels = rmapLevels): number =>
    count * (2 * (2 * heights.alloc - 1) + (rmapbt ? 2 * levels - 1 : 0))
  const refcount = (count: number): number => count * (2 * heights.refcountbt - 1)
  const refcountUpdate = (count: number): number => (reflink ? sectors(count) + blocks(refcount(count)) : 0)
  const inobt = blocks(heights.inobt) + blocks(alloc(1))
  const finobt = features.has('finobt') ? inobt : 0
  const cluster = inodeClusterBytes(geometry)

  const { dirblocks } = geometry
  const dirBmap = bmapAdd(geometry, dirblocks, heights.dataFork)
  const dirOperation = (DA_NODE_MAXDEPTH + 2) * (dirblocks + dirBmap) + 1

  const write1 = inodes(1) + blocks(heights.dataFork) + sectors(3) + blocks(alloc(2))
  const write3 = sectors(5) + blocks(alloc(2))
  const truncate1 = inodes(1) + blocks(heights.dataFork + 1)
  const truncate2 = sectors(9) + blocks(alloc(4))
  const inTransaction = (count: number): number => (old && reflink ? blocks(refcount(count)) : 0)
  const write =
    DQUOT_BYTES + Math.max(write1 + inTransaction(2), write3 + inTransaction(2), old ? 0 : refcountUpdate(1))
  const truncate = DQUOT_BYTES + Math.max(truncate1, truncate2 + inTransaction(4), old ? 0 : refcountUpdate(2))
  // The end of an atomic write counts as a truncation does today, in both versions.
  const atomicEnd = DQUOT_BYTES + Math.max(truncate1, sectors(9) + blocks(alloc(4, heights.rmapbt)), refcountUpdate(2))
  const rolls = Number(reflink || rmapbt) + Number(reflink) + Number(rmapbt)
  const writeCount = old && reflink ? OLD_REFLINK_LOG_COUNT : old && rmapbt ? 2 : 2 + rolls

  const unlinkAdd = sectors(1) + cluster
  const unlinkRemove = sectors(1) + 2 * cluster
  const attrSet = attrSetBytes(blocksize, sectsize, inodesize)
  const attrRemove = DQUOT_BYTES + Math.max(
    inodes(1) + blocks(DA_NODE_MAXDEPTH) + blocksize * heights.attrFork + buffers(heights.dataFork, 0),
    sectors(5) + blocks(alloc(2)),
  ) // biome-ignore format: a sum
  const withParent = (bytes: number): number => (parent ? bytes : 0)
  const parentCount = parent ? ATTR_COUNT : 0

  const rename = DQUOT_BYTES + Math.max(
    inodes(5) + blocks(2 * dirOperation),
    sectors(7) + blocks(alloc(3)),
    withParent(Math.max(attrSet, attrRemove)),
  ) + withParent(Math.max(PARENT_REPLACE_INTENT + 2 * PARENT_INTENT, 2 * PARENT_REPLACE_INTENT)) // biome-ignore format: a sum
  const link = DQUOT_BYTES + unlinkRemove + withParent(PARENT_INTENT) + Math.max(
    inodes(2) + blocks(dirOperation),
    sectors(3) + blocks(alloc(1)),
    withParent(attrSet),
  ) // biome-ignore format: a sum
  const remove = DQUOT_BYTES + unlinkAdd + withParent(PARENT_INTENT) + Math.max(
    inodes(2) + blocks(dirOperation),
    sectors(4) + blocks(alloc(2)),
    withParent(attrRemove),
  ) // biome-ignore format: a sum
  const chunkAlloc = sectors(2) + sectsize + blocks(alloc(1)) + inobt + finobt
  const create = DQUOT_BYTES + withParent(PARENT_INTENT) + Math.max(
    chunkAlloc,
    inodes(2) + sectors(1) + blocksize + blocks(dirOperation) + finobt,
    withParent(attrSet),
  ) // biome-ignore format: a sum
  const free =
    DQUOT_BYTES +
    inodes(1) +
    sectors(3) +
    unlinkRemove +
    blocks(alloc(1)) +
    buffers(geometry.chunkBlocks, 0) +
    inobt +
    finobt

  return [
    { bytes: write, count: writeCount },
    { bytes: truncate, count: writeCount },
    { bytes: atomicEnd, count: 2 + rolls },
    { bytes: write + buffers(1, blocksize - 1), count: writeCount }, // a block of dquots
    { bytes: rename, count: 2 + parentCount },
    { bytes: link, count: 2 + parentCount },
    { bytes: remove, count: 2 + parentCount },
    { bytes: create, count: 3 + parentCount }, // mkdir; create has fewer rolls
    { bytes: create + buffers(1, SYMLINK_MAXLEN), count: 3 + parentCount },
    { bytes: DQUOT_BYTES + chunkAlloc + unlinkAdd, count: 2 }, // a file without a name
    { bytes: free, count: 2 },
    {
      bytes:
        DQUOT_BYTES +
        inodes(1) +
        sectors(2) +
        buffers(1, geometry.dirblocksize) +
        blocks(dirBmap + 1) +
        blocks(alloc(1)),
      count: 2,
    }, // a first attribute
    { bytes: Math.max(inodes(1) + blocks(heights.attrFork), sectors(9) + blocks(alloc(4))), count: 1 }, // dropping attributes
    { bytes: attrSet, count: ATTR_COUNT },
    { bytes: attrRemove, count: ATTR_COUNT },
  ]
}

/** Bytes for setting the largest attribute whose value is logged. */
function largestAttr(geometry: Geometry, heights: TreeHeights, old: boolean): number {
  const { blocksize, sectsize, inodesize } = geometry
  const add = (count: number): number => bmapAdd(geometry, count, heights.attrFork)
  const bytes = (blocksize >> 1) + (blocksize >> 2) - MAX_NAME - 1
  const valueBlocks = Math.ceil(bytes / blocksize)
  // The old version takes bytes for blocks in its last term.
  const mapped = DA_NODE_MAXDEPTH * (1 + add(1)) + valueBlocks + add(old ? bytes : valueBlocks)
  const perBlock = sectsize + BUF_LOG_OVERHEAD + heights.attrFork * (blocksize + BUF_LOG_OVERHEAD)
  return attrSetBytes(blocksize, sectsize, inodesize) + perBlock * mapped
}

/** Bytes of an inode cluster. */
function inodeClusterBytes({ sb, blocksize, inodesize }: Geometry): number {
  const base = 8192
  const wanted = (base * inodesize) / 256
  const raw = sb.inoalignmt >= Math.floor(wanted / blocksize) ? wanted : base
  return raw > blocksize ? Math.floor(raw / blocksize) * blocksize : blocksize
}

/**
 * The bytes of log that a ticket of `bytes` takes with all headers and padding.
 * @source xfs_log_calc_unit_res
 */
function ticketBytes(bytes: number, stripeUnit: number): number {
  let unit = bytes + OP_HEADER + TRANS_HEADER + OP_HEADER
  const space = LOG_BUFFER - LOG_BUFFER_HEADERS
  let headers = Math.ceil(unit / space)
  unit += OP_HEADER * headers
  while (Math.ceil(unit / space) > headers) {
    unit += OP_HEADER
    headers++
  }
  return unit + LOG_BUFFER_HEADERS * (headers + 1) + 2 * (stripeUnit > 1 ? stripeUnit : BASIC_BLOCK)
}

/** The minimum number of blocks of the log. @source xfs_log_calc_minimum_size */
export function minimumLogBlocks(geometry: Geometry): number {
  const { sb, features } = geometry
  const old = !features.has('parent')
  const heights = treeHeights(geometry)
  let largest: LogReservation = { bytes: 0, count: 1 }
  for (const reservation of reservations(geometry, heights, old)) {
    if (reservation.bytes * reservation.count > largest.bytes * largest.count) largest = reservation
  }
  // This attribute counts once in the comparison, but with all its rolls in the result.
  const attr = largestAttr(geometry, heights, old)
  if (attr > largest.bytes * largest.count) largest = { bytes: attr, count: ATTR_COUNT }
  const basicBlocks = Math.ceil((ticketBytes(largest.bytes, sb.logsunit) * largest.count) / BASIC_BLOCK)
  const stripe = sb.logsunit > 1 ? sb.logsunit / BASIC_BLOCK : 0
  const padded = stripe > 0 ? Math.ceil(basicBlocks / stripe) * stripe + 2 * stripe : basicBlocks + 2 * BASIC_BLOCK
  return Math.ceil((padded * MIN_LOG_FACTOR * BASIC_BLOCK) / geometry.blocksize)
}
