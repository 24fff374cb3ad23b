import { crc32cExcept } from '../util/crc32c.ts'
import { AGF_MAGIC, AGFL_MAGIC, AGI_MAGIC, AGI_UNLINKED_BUCKETS, Agf, Agfl, Agi, NULLAGBLOCK, NULLAGINO } from './ag.ts'
import {
  ATTR_FLAGS_KNOWN,
  ATTR_LEAF_MAPSIZE,
  ATTR_MAX_VALUE,
  ATTR_NAMESPACES,
  ATTR3_LEAF_MAGIC,
  ATTR3_RMT_MAGIC,
  Attr3LeafHdr,
  Attr3RmtHdr,
  AttrFlags,
  AttrLeafEntry,
  attrFirstUsed,
  attrNameSize,
  attrRemoteSpace,
} from './attr.ts'
import { BTREE_MAGICS, BTREE_MAGICS_V4, type TreeName, treeForms } from './btrecs.ts'
import {
  DIFLAGS,
  DIFLAGS2,
  DINODE_MAGIC,
  Dinode,
  FILE_TYPES,
  FORK_FORMATS,
  INODES_PER_CHUNK,
  S_IFMT,
} from './dinode.ts'
import {
  addressToDb,
  blockTailAt,
  DA_NODE_MAXDEPTH,
  DA3_HEADER_SIZE,
  DA3_NODE_MAGIC,
  Da3NodeHdr,
  DIR_BESTFREE_COUNT,
  DIR_DATA_START,
  DIR_NULL_BEST,
  DIR3_BLOCK_MAGIC,
  DIR3_DATA_MAGIC,
  DIR3_FREE_MAGIC,
  DIR3_LEAF1_MAGIC,
  DIR3_LEAFN_MAGIC,
  Dir3FreeHdr,
  Dir3LeafHdr,
  DirBlockTail,
  DirLeafTail,
  daMaxEntries,
  dataItemSize,
  FILE_TYPE_COUNT,
  fileTypeOfMode,
  freeMaxBests,
} from './dir.ts'
import { DQUOT_MAGIC, DQUOT_TYPE_MASK, DQUOT_VERSION, Dqblk, DquotTypes } from './dquot.ts'
import { BASIC_BLOCK, type Geometry } from './geometry.ts'
import { SB_MAGIC, Superblock } from './sb.ts'
import { SYMLINK_MAGIC, SYMLINK_MAXLEN, SymlinkHdr, symlinkSpace } from './symlink.ts'

/**
 * Block types: for each kind of metadata block its magic numbers, where its checksum, self-address, owner and UUID are, and the
 * rules that its fields obey. `verify` runs at the first read of every block and before every write: code above trusts what
 * passed. So the rules are those that cost little and that others build on: a count fits into the block, a level into the
 * tree, a pointer into its group; entries of a directory or attribute block follow one another without a gap. Whether the
 * content is *true* (the right owner, the right hash, the right counter) is for `check` to find.
 *
 * The answer is a Fault (a value) or undefined; no bytes make it throw. V4 blocks have no checksum and other layouts:
 * for them only magic numbers are looked at, and the rules of the structures that V5 left as they were.
 */

/** What a verifier found. `crc`: the checksum is wrong; everything else may be right. */
export interface Fault {
  readonly field?: string
  readonly message: string
  readonly crc?: boolean
}

export interface VerifyContext {
  readonly geometry: Geometry
  /** Where the block is. */
  readonly daddr: number
}

export interface BlockType {
  readonly name: string
  readonly magics: readonly number[]
  readonly magicsV4: readonly number[]
  /** Where the magic number is, and its bytes; undefined for types without one. */
  readonly magic?: { readonly offset: number; readonly size: 2 | 4 }
  readonly crcOffset?: number
  readonly uuidOffset?: number
  /** Where the block's own address is. */
  readonly daddrOffset?: number
  /** Where the inode number of the owner is. */
  readonly ownerOffset?: number
  readonly lsnOffset?: number
  /** The types that a block of this one can be: its magic number decides. */
  readonly oneOf?: readonly BlockType[]
  /** Bytes that have a checksum of their own, where a block is made of several such units. */
  readonly unit?: (geometry: Geometry) => number
  /** Whether a checksum per unit is part of `verify` (of inodes it is part of `verifyInode`). */
  readonly unitCrc?: boolean
  /** Whether a block can have this many bytes. */
  readonly fits: (bytes: number, geometry: Geometry) => boolean
  readonly rules: (view: DataView, context: VerifyContext, at: number, size: number) => Fault | undefined
  /** The rules hold for V4 as well. */
  readonly rulesV4?: boolean
}

const fault = (field: string, message: string): Fault => ({ field, message })
const hex = (value: number): string => `0x${value.toString(16)}`
const none = (): undefined => undefined

const oneSector = (bytes: number, geometry: Geometry): boolean => bytes === geometry.sectsize
const oneBlock = (bytes: number, geometry: Geometry): boolean => bytes === geometry.blocksize
const blocks = (bytes: number, geometry: Geometry): boolean => bytes > 0 && bytes % geometry.blocksize === 0
const oneDirBlock = (bytes: number, geometry: Geometry): boolean => bytes === geometry.dirblocksize
const blockOrDirBlock = (bytes: number, geometry: Geometry): boolean =>
  oneBlock(bytes, geometry) || oneDirBlock(bytes, geometry)

// ---------------------------------------------------------------------------- what follows from the geometry, once

interface TreeShape {
  readonly leafMax: number
  readonly nodeMax: number
  readonly maxLevels: number
}

interface Derived {
  readonly trees: Readonly<Record<TreeName, TreeShape>>
  readonly agflSlots: number
}

const MAX_EXTENTS = 2 ** 48

const derivedOf = new WeakMap<Geometry, Derived>()

function derive(geometry: Geometry): Derived {
  const known = derivedOf.get(geometry)
  if (known) return known
  const { blocksize, agblocks } = geometry
  const shape = (tree: TreeName): TreeShape => {
    const { recSize, keyStride, ptrSize } = treeForms[tree]
    const space = blocksize - (tree === 'bmbt' ? geometry.longHeader : geometry.shortHeader)
    const leafMax = Math.floor(space / recSize)
    const nodeMax = Math.floor(space / (keyStride + ptrSize))
    const leaves = tree === 'bmbt' ? MAX_EXTENTS / (leafMax >> 1) : agblocks
    return { leafMax, nodeMax, maxLevels: tallest(leaves, nodeMax >> 1) }
  }
  const trees = Object.fromEntries(
    Object.keys(treeForms).map((tree) => [tree, shape(tree as TreeName)]),
  ) as Derived['trees']
  const derived: Derived = { trees, agflSlots: agflSlots(geometry) }
  derivedOf.set(geometry, derived)
  return derived
}

/** Levels above which no tree can be whose blocks are `blocks` at most, each node with `fanout` children at least. */
function tallest(blocksAtMost: number, fanout: number): number {
  let levels = 2
  for (let left = blocksAtMost, nodes = Math.max(2, fanout); nodes < left; nodes *= Math.max(2, fanout)) {
    left -= nodes
    levels++
  }
  return levels
}

/** Slots of an AGFL. */
export const agflSlots = (geometry: Geometry): number =>
  Math.floor((geometry.sectsize - (geometry.features.version === 5 ? Agfl.size : 0)) / 4)

/** The most records a block of a tree holds at a level. */
export const maxRecords = (geometry: Geometry, tree: TreeName, level: number): number => {
  const shape = derive(geometry).trees[tree]
  return level === 0 ? shape.leafMax : shape.nodeMax
}

/** The greatest height that a tree can have. */
export const maxLevels = (geometry: Geometry, tree: TreeName): number => derive(geometry).trees[tree].maxLevels

// ------------------------------------------------------------------------------------------------------- superblock

const MIN_AG_BYTES = 2 ** 24
const MAX_AG_BYTES = 2 ** 40
const MIN_AG_BLOCKS = 64
const MAX_LOG_BLOCKS = 2 ** 20
const isPower = (value: number, log: number, least: number, most: number): boolean =>
  value >= least && value <= most && value === 2 ** log

/** The rules that a superblock obeys, so that a geometry can be made of it. */
export function checkSuperblock(sb: Superblock): Fault | undefined {
  const version = sb.versionnum & 0xf
  if (sb.magicnum !== SB_MAGIC) return fault('magicnum', `magic number ${hex(sb.magicnum)}, expected ${hex(SB_MAGIC)}`)
  if (version !== 4 && version !== 5) return fault('versionnum', `version ${version}, expected 4 or 5`)
  if (!isPower(sb.sectsize, sb.sectlog, 512, 32768)) {
    return fault('sectsize', `sector size ${sb.sectsize} (log2 ${sb.sectlog}) is no power of two from 512 to 32768`)
  }
  if (!isPower(sb.blocksize, sb.blocklog, version === 5 ? 1024 : 512, 65536)) {
    return fault('blocksize', `block size ${sb.blocksize} (log2 ${sb.blocklog}) is no power of two up to 65536`)
  }
  if (sb.sectsize > sb.blocksize)
    return fault('sectsize', `sector size ${sb.sectsize} exceeds the block size ${sb.blocksize}`)
  if (sb.blocklog + sb.dirblklog > 16)
    return fault('dirblklog', `directory blocks of 2^${sb.dirblklog} blocks exceed 65536 bytes`)
  if (!isPower(sb.inodesize, sb.inodelog, version === 5 ? 512 : 256, 2048) || sb.inodesize > sb.blocksize) {
    return fault('inodesize', `inode size ${sb.inodesize} (log2 ${sb.inodelog}) is no power of two up to 2048`)
  }
  if (sb.inopblock !== sb.blocksize / sb.inodesize || sb.inopblog !== sb.blocklog - sb.inodelog) {
    return fault(
      'inopblock',
      `${sb.inopblock} inodes a block (log2 ${sb.inopblog}), expected ${sb.blocksize / sb.inodesize}`,
    )
  }
  const agBytes = sb.agblocks * sb.blocksize
  if (agBytes < MIN_AG_BYTES || agBytes > MAX_AG_BYTES) {
    return fault('agblocks', `groups of ${sb.agblocks} blocks are not from 16 MiB to 1 TiB`)
  }
  if (sb.agblklog !== Math.ceil(Math.log2(sb.agblocks))) {
    return fault('agblklog', `log2 of the group size is ${sb.agblklog}, expected ${Math.ceil(Math.log2(sb.agblocks))}`)
  }
  if (sb.agcount < 1) return fault('agcount', 'no allocation groups')
  if (
    !Number.isSafeInteger(sb.dblocks) ||
    sb.dblocks < MIN_AG_BLOCKS ||
    Math.ceil(sb.dblocks / sb.agblocks) !== sb.agcount
  ) {
    return fault('dblocks', `${sb.dblocks} blocks do not make ${sb.agcount} groups of ${sb.agblocks}`)
  }
  const last = sb.dblocks - (sb.agcount - 1) * sb.agblocks
  if (last < MIN_AG_BLOCKS) return fault('dblocks', `the last group has only ${last} blocks`)
  if (sb.imax_pct > 100) return fault('imax_pct', `inodes may take ${sb.imax_pct} percent`)
  if (sb.shared_vn !== 0) return fault('shared_vn', `${sb.shared_vn}, expected 0`)
  const sparse = version === 5 && (sb.features_incompat & 2) !== 0
  const chunkBlocks = (INODES_PER_CHUNK * sb.inodesize) / sb.blocksize
  if (sparse && sb.inoalignmt !== Math.floor(chunkBlocks)) {
    return fault(
      'inoalignmt',
      `inode alignment ${sb.inoalignmt}, expected ${Math.floor(chunkBlocks)} with sparse inodes`,
    )
  }
  return checkLogPlace(sb)
}

function checkLogPlace(sb: Superblock): Fault | undefined {
  if (sb.logblocks > MAX_LOG_BLOCKS) return fault('logblocks', `a log of ${sb.logblocks} blocks`)
  if (sb.logstart === 0) return undefined // the log is on another device
  const agno = Math.floor(sb.logstart / 2 ** sb.agblklog)
  const agbno = sb.logstart % 2 ** sb.agblklog
  const length = agno === sb.agcount - 1 ? sb.dblocks - (sb.agcount - 1) * sb.agblocks : sb.agblocks
  if (sb.logstart < 0 || agno >= sb.agcount || agbno + sb.logblocks > length) {
    return fault('logstart', `a log of ${sb.logblocks} blocks at ${agno}/${agbno} lies outside of its group`)
  }
  return undefined
}

const sb: BlockType = {
  name: 'sb',
  magics: [SB_MAGIC],
  magicsV4: [SB_MAGIC],
  magic: { offset: 0, size: 4 },
  crcOffset: Superblock.fields.crc.offset,
  lsnOffset: Superblock.fields.lsn.offset,
  fits: oneSector,
  rules: (view) => checkSuperblock(Superblock.lazy(view)),
  rulesV4: true,
}

// ------------------------------------------------------------------------------------------------------ group headers

function groupHeader(seqno: number, length: number, { geometry, daddr }: VerifyContext): Fault | undefined {
  const agno = geometry.daddrToAgno(daddr)
  if (seqno !== agno) return fault('seqno', `says group ${seqno}, but is in group ${agno}`)
  if (length !== geometry.agLength(agno))
    return fault('length', `says ${length} blocks, expected ${geometry.agLength(agno)}`)
  return undefined
}

function treeRoot(
  tree: TreeName,
  root: number,
  level: number,
  rootField: string,
  levelField: string,
  context: VerifyContext,
): Fault | undefined {
  const { geometry, daddr } = context
  const most = maxLevels(geometry, tree)
  if (level < 1 || level > most) return fault(levelField, `${tree} has height ${level}, expected 1 to ${most}`)
  const agno = geometry.daddrToAgno(daddr)
  if (!geometry.validAgbno(agno, root))
    return fault(rootField, `the root of ${tree} is at ${agno}/${root}, outside of the group`)
  return undefined
}

function agfRules(view: DataView, context: VerifyContext): Fault | undefined {
  const { geometry } = context
  const { features } = geometry
  const agf = Agf.lazy(view)
  if (agf.versionnum !== 1) return fault('versionnum', `version ${agf.versionnum}, expected 1`)
  const header = groupHeader(agf.seqno, agf.length, context)
  if (header) return header
  const slots = derive(geometry).agflSlots
  for (const field of ['flfirst', 'fllast'] as const) {
    if (agf[field] >= slots) return fault(field, `${agf[field]} is no slot of an AGFL of ${slots}`)
  }
  if (agf.flcount > slots) return fault('flcount', `${agf.flcount} blocks do not fit into an AGFL of ${slots}`)
  if (agf.freeblks > agf.length) return fault('freeblks', `${agf.freeblks} free blocks in a group of ${agf.length}`)
  if (agf.longest > agf.freeblks)
    return fault('longest', `a run of ${agf.longest} blocks, but only ${agf.freeblks} are free`)
  if (features.has('lazysbcount') && agf.btreeblks > agf.length)
    return fault('btreeblks', `${agf.btreeblks} blocks in a group of ${agf.length}`)
  return (
    treeRoot('bnobt', agf.bnoroot, agf.bnolevel, 'bnoroot', 'bnolevel', context) ??
    treeRoot('cntbt', agf.cntroot, agf.cntlevel, 'cntroot', 'cntlevel', context) ??
    (features.has('rmapbt')
      ? (treeRoot('rmapbt', agf.rmaproot, agf.rmaplevel, 'rmaproot', 'rmaplevel', context) ??
        (agf.rmapblocks > agf.length
          ? fault('rmapblocks', `${agf.rmapblocks} blocks in a group of ${agf.length}`)
          : undefined))
      : undefined) ??
    (features.has('reflink')
      ? (treeRoot('refcountbt', agf.refcntroot, agf.refcntlevel, 'refcntroot', 'refcntlevel', context) ??
        (agf.refcntblocks > agf.length
          ? fault('refcntblocks', `${agf.refcntblocks} blocks in a group of ${agf.length}`)
          : undefined))
      : undefined)
  )
}

const agf: BlockType = {
  name: 'agf',
  magics: [AGF_MAGIC],
  magicsV4: [AGF_MAGIC],
  magic: { offset: 0, size: 4 },
  crcOffset: Agf.fields.crc.offset,
  uuidOffset: Agf.fields.uuid.offset,
  lsnOffset: Agf.fields.lsn.offset,
  fits: oneSector,
  rules: agfRules,
  rulesV4: true,
}

function agiRules(view: DataView, context: VerifyContext): Fault | undefined {
  const { geometry, daddr } = context
  const { fields } = Agi
  const version = fields.versionnum.get(view, 0)
  if (version !== 1) return fault('versionnum', `version ${version}, expected 1`)
  const header = groupHeader(fields.seqno.get(view, 0), fields.length.get(view, 0), context)
  if (header) return header
  const tree = treeRoot('inobt', fields.root.get(view, 0), fields.level.get(view, 0), 'root', 'level', context)
  if (tree) return tree
  if (geometry.features.has('finobt')) {
    const free = treeRoot(
      'finobt',
      fields.free_root.get(view, 0),
      fields.free_level.get(view, 0),
      'free_root',
      'free_level',
      context,
    )
    if (free) return free
  }
  const agno = geometry.daddrToAgno(daddr)
  for (let i = 0; i < AGI_UNLINKED_BUCKETS; i++) {
    const agino = view.getUint32(fields.unlinked.offset + 4 * i)
    if (agino !== NULLAGINO && !geometry.validAgbno(agno, geometry.aginoAgbno(agino))) {
      return fault(`unlinked[${i}]`, `inode ${agino} lies outside of group ${agno}`)
    }
  }
  return undefined
}

const agi: BlockType = {
  name: 'agi',
  magics: [AGI_MAGIC],
  magicsV4: [AGI_MAGIC],
  magic: { offset: 0, size: 4 },
  crcOffset: Agi.fields.crc.offset,
  uuidOffset: Agi.fields.uuid.offset,
  lsnOffset: Agi.fields.lsn.offset,
  fits: oneSector,
  rules: agiRules,
  rulesV4: true,
}

const agfl: BlockType = {
  name: 'agfl',
  magics: [AGFL_MAGIC],
  magicsV4: [],
  magic: { offset: 0, size: 4 },
  crcOffset: Agfl.fields.crc.offset,
  uuidOffset: Agfl.fields.uuid.offset,
  lsnOffset: Agfl.fields.lsn.offset,
  fits: oneSector,
  rules: (view, { geometry, daddr }) => {
    const agno = geometry.daddrToAgno(daddr)
    const seqno = Agfl.fields.seqno.get(view, 0)
    if (seqno !== agno) return fault('seqno', `says group ${seqno}, but is in group ${agno}`)
    const slots = derive(geometry).agflSlots
    for (let i = 0; i < slots; i++) {
      const agbno = view.getUint32(Agfl.size + 4 * i)
      if (agbno !== NULLAGBLOCK && agbno >= geometry.agblocks)
        return fault(`bno[${i}]`, `block ${agbno} lies outside of the group`)
    }
    return undefined
  },
}

// ---------------------------------------------------------------------------------------------------------- btrees

function treeBlock(tree: TreeName, view: DataView, geometry: Geometry): Fault | undefined {
  const { leafMax, nodeMax, maxLevels: most } = derive(geometry).trees[tree]
  const level = view.getUint16(4)
  const numrecs = view.getUint16(6)
  if (level >= most) return fault('level', `level ${level} in a tree of at most ${most} levels`)
  const max = level === 0 ? leafMax : nodeMax
  if (numrecs > max) return fault('numrecs', `${numrecs} records, but only ${max} fit`)
  if (level > 0 && numrecs === 0) return fault('numrecs', `a node of level ${level} without children`)
  return undefined
}

const SHORT_SIBLINGS = [
  { field: 'leftsib', offset: 8 },
  { field: 'rightsib', offset: 12 },
]
const LONG_SIBLINGS = [
  { field: 'leftsib', offset: 8 },
  { field: 'rightsib', offset: 16 },
]

const shortTree = (name: string, tree: TreeName, magicsV4: readonly number[]): BlockType => ({
  name,
  magics: [BTREE_MAGICS[tree]],
  magicsV4,
  magic: { offset: 0, size: 4 },
  crcOffset: 52,
  uuidOffset: 32,
  daddrOffset: 16,
  lsnOffset: 24,
  fits: oneBlock,
  rulesV4: true,
  rules: (view, { geometry, daddr }) => {
    const block = treeBlock(tree, view, geometry)
    if (block) return block
    const agno = geometry.daddrToAgno(daddr)
    const own = geometry.daddrToAgbno(daddr)
    for (const { field, offset } of SHORT_SIBLINGS) {
      const sibling = view.getUint32(offset)
      if (sibling === NULLAGBLOCK) continue
      if (sibling === own || !geometry.validAgbno(agno, sibling))
        return fault(field, `sibling ${agno}/${sibling} of block ${agno}/${own}`)
    }
    const owner = view.getUint32(48)
    return geometry.features.version === 5 && owner !== agno
      ? fault('owner', `says group ${owner}, but is in group ${agno}`)
      : undefined
  },
})

const bmbt: BlockType = {
  name: 'bmbt',
  magics: [BTREE_MAGICS.bmbt],
  magicsV4: [BTREE_MAGICS_V4.bmbt],
  magic: { offset: 0, size: 4 },
  crcOffset: 64,
  uuidOffset: 40,
  daddrOffset: 24,
  ownerOffset: 56,
  lsnOffset: 32,
  fits: oneBlock,
  rulesV4: true,
  rules: (view, { geometry, daddr }) => {
    const block = treeBlock('bmbt', view, geometry)
    if (block) return block
    const own = geometry.fsbno(geometry.daddrToAgno(daddr), geometry.daddrToAgbno(daddr))
    for (const { field, offset } of LONG_SIBLINGS) {
      const sibling = read64(view, offset)
      if (sibling === -1) continue
      if (sibling === own || !geometry.validFsbnoRange(sibling, 1))
        return fault(field, `sibling ${sibling} of block ${own}`)
    }
    return undefined
  },
}

const read64 = (view: DataView, at: number): number => view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4)

// ------------------------------------------------------------------------------------------------------ directories

/** Data and block form: the free space table, then entries and free spaces without a gap, then (block form) the leaf. */
function dirDataRules(view: DataView): Fault | undefined {
  const table = bestfreeRules(view)
  if (table) return table
  const block = view.getUint32(0) === DIR3_BLOCK_MAGIC
  const tail = blockTailAt(view)
  const leaves = block ? DirBlockTail.fields.count.get(view, tail) : 0
  const end = block ? tail - 8 * leaves : view.byteLength
  if (end < DIR_DATA_START) return fault('btail.count', `${leaves} leaf entries do not fit`)
  let entries = 0
  let listed = 0
  let wasFree = false
  const shortest = view.getUint16(48 + 8 + 2)
  for (let at = DIR_DATA_START, i = 0; at < end; i++) {
    const size = dataItemSize(view, at, end)
    const name = (): string => `${block ? 'b' : 'd'}u[${i}]`
    if (size < 0) return fault(name(), `neither an entry nor a free space at ${at}`)
    if (view.getUint16(at + size - 2) !== at)
      return fault(`${name()}.tag`, `${view.getUint16(at + size - 2)}, expected ${at}`)
    const free = view.getUint16(at) === 0xffff
    if (free) {
      if (wasFree) return fault(name(), `two free spaces in a row at ${at}`)
      const slot = bestfreeSlot(view, at)
      if (slot >= 0 && view.getUint16(48 + 4 * slot + 2) !== size)
        return fault('bestfree', `slot ${slot} says another length than the free space at ${at}`)
      if (slot >= 0) listed++
      else if (size > shortest) return fault('bestfree', `the free space of ${size} bytes at ${at} is missing`)
    } else {
      entries++
      if (view.getUint8(at + 9 + view.getUint8(at + 8)) >= FILE_TYPE_COUNT)
        return fault(`${name()}.filetype`, 'no such file type')
    }
    wasFree = free
    at += size
  }
  if (listed !== bestfreeUsed(view)) return fault('bestfree', 'a slot for a free space that is not there')
  return block ? blockLeafRules(view, end, leaves, entries, tail) : undefined
}

function bestfreeRules(view: DataView): Fault | undefined {
  for (let i = 0; i < DIR_BESTFREE_COUNT; i++) {
    const offset = view.getUint16(48 + 4 * i)
    const length = view.getUint16(48 + 4 * i + 2)
    if ((offset === 0) !== (length === 0)) return fault(`bestfree[${i}]`, `offset ${offset} with length ${length}`)
    if (i > 0 && length > view.getUint16(48 + 4 * i - 2))
      return fault(`bestfree[${i}].length`, 'longer than the slot before')
  }
  return undefined
}

const bestfreeUsed = (view: DataView): number => {
  let used = 0
  for (let i = 0; i < DIR_BESTFREE_COUNT; i++) if (view.getUint16(48 + 4 * i + 2) !== 0) used++
  return used
}

const bestfreeSlot = (view: DataView, at: number): number => {
  for (let i = 0; i < DIR_BESTFREE_COUNT; i++) if (view.getUint16(48 + 4 * i) === at) return i
  return -1
}

function blockLeafRules(view: DataView, at: number, count: number, entries: number, tail: number): Fault | undefined {
  const stale = DirBlockTail.fields.stale.get(view, tail)
  const fails = leafOrder(view, at, count, stale, 'bleaf', 'btail.stale')
  if (fails) return fails
  return count - stale === entries
    ? undefined
    : fault('btail.count', `${count} leaf entries, ${stale} of them stale, for ${entries} entries`)
}

/** Hash values do not fall, and as many entries are stale as the header says. */
function leafOrder(
  view: DataView,
  at: number,
  count: number,
  stale: number,
  list: string,
  staleField: string,
): Fault | undefined {
  let found = 0
  let last = 0
  for (let i = 0, next = at; i < count; i++, next += 8) {
    const hash = view.getUint32(next)
    if (hash < last) return fault(`${list}[${i}].hashval`, `${hex(hash)} after ${hex(last)}`)
    last = hash
    if (view.getUint32(next + 4) === 0) found++
  }
  return found === stale ? undefined : fault(staleField, `says ${stale} stale entries, found ${found}`)
}

function dirLeafRules(view: DataView): Fault | undefined {
  const count = Dir3LeafHdr.fields.count.get(view, 0)
  const leaf1 = view.getUint16(8) === DIR3_LEAF1_MAGIC
  let end = view.byteLength
  let blockCount = 0
  if (leaf1) {
    const tail = view.byteLength - DirLeafTail.size
    blockCount = DirLeafTail.fields.bestcount.get(view, tail)
    end = tail - 2 * blockCount
    if (end < DA3_HEADER_SIZE) return fault('ltail.bestcount', `${blockCount} bests do not fit`)
  }
  if (DA3_HEADER_SIZE + 8 * count > end) return fault('lhdr.count', `${count} entries do not fit`)
  if (leaf1) {
    for (let i = 0, at = DA3_HEADER_SIZE + 4; i < count; i++, at += 8) {
      const address = view.getUint32(at)
      if (address !== 0 && addressToDb(address, view.byteLength) >= blockCount) {
        return fault(`lents[${i}].address`, `${hex(address)} is beyond the ${blockCount} data blocks`)
      }
    }
  }
  return leafOrder(view, DA3_HEADER_SIZE, count, Dir3LeafHdr.fields.stale.get(view, 0), 'lents', 'lhdr.stale')
}

function dirFreeRules(view: DataView): Fault | undefined {
  const { firstdb, nvalid, nused } = Dir3FreeHdr.decode(view, 0)
  const most = freeMaxBests(view.byteLength)
  if (nvalid < 0 || nvalid > most) return fault('fhdr.nvalid', `${nvalid} bests, but ${most} fit`)
  if (firstdb < 0 || firstdb % most !== 0)
    return fault('fhdr.firstdb', `data block ${firstdb} does not begin a block of ${most}`)
  let used = 0
  for (let i = 0, at = Dir3FreeHdr.size; i < nvalid; i++, at += 2) if (view.getUint16(at) !== DIR_NULL_BEST) used++
  return used === nused ? undefined : fault('fhdr.nused', `says ${nused} bests in use, found ${used}`)
}

function daNodeRules(view: DataView): Fault | undefined {
  const count = Da3NodeHdr.fields.count.get(view, 0)
  const level = Da3NodeHdr.fields.level.get(view, 0)
  const most = daMaxEntries(view.byteLength)
  if (level < 1 || level > DA_NODE_MAXDEPTH)
    return fault('hdr.level', `level ${level}, expected 1 to ${DA_NODE_MAXDEPTH}`)
  if (count < 1 || count > most) return fault('hdr.count', `${count} entries, expected 1 to ${most}`)
  let last = 0
  for (let i = 0, at = DA3_HEADER_SIZE; i < count; i++, at += 8) {
    const hash = view.getUint32(at)
    if (hash < last) return fault(`btree[${i}].hashval`, `${hex(hash)} after ${hex(last)}`)
    last = hash
  }
  return undefined
}

const dirHeader = { crcOffset: 4, daddrOffset: 8, lsnOffset: 16, uuidOffset: 24, ownerOffset: 40 }
const daHeader = { crcOffset: 12, daddrOffset: 16, lsnOffset: 24, uuidOffset: 32, ownerOffset: 48 }
const magic32At0 = { magic: { offset: 0, size: 4 } } as const
const magic16At8 = { magic: { offset: 8, size: 2 } } as const

const dirBlock: BlockType = {
  name: 'dirBlock',
  magics: [DIR3_BLOCK_MAGIC],
  magicsV4: [0x58443242],
  ...magic32At0,
  ...dirHeader,
  fits: oneDirBlock,
  rules: dirDataRules,
}
const dirData: BlockType = {
  name: 'dirData',
  magics: [DIR3_DATA_MAGIC],
  magicsV4: [0x58443244],
  ...magic32At0,
  ...dirHeader,
  fits: oneDirBlock,
  rules: dirDataRules,
}
const dirLeaf1: BlockType = {
  name: 'dirLeaf1',
  magics: [DIR3_LEAF1_MAGIC],
  magicsV4: [0xd2f1],
  ...magic16At8,
  ...daHeader,
  fits: oneDirBlock,
  rules: dirLeafRules,
}
const dirLeafN: BlockType = {
  name: 'dirLeafN',
  magics: [DIR3_LEAFN_MAGIC],
  magicsV4: [0xd2ff],
  ...magic16At8,
  ...daHeader,
  fits: oneDirBlock,
  rules: dirLeafRules,
}
const dirFree: BlockType = {
  name: 'dirFree',
  magics: [DIR3_FREE_MAGIC],
  magicsV4: [0x58443246],
  ...magic32At0,
  ...dirHeader,
  fits: oneDirBlock,
  rules: dirFreeRules,
}
const daNode: BlockType = {
  name: 'daNode',
  magics: [DA3_NODE_MAGIC],
  magicsV4: [0xfebe],
  ...magic16At8,
  ...daHeader,
  fits: blockOrDirBlock,
  rules: daNodeRules,
}

// ------------------------------------------------------------------------------------------------------- attributes

function attrLeafRules(view: DataView): Fault | undefined {
  const size = view.byteLength
  const count = Attr3LeafHdr.fields.count.get(view, 0)
  const firstused = attrFirstUsed(view)
  const end = Attr3LeafHdr.size + count * AttrLeafEntry.size
  if (firstused < Attr3LeafHdr.size || firstused > size) return fault('hdr.firstused', `names begin at ${firstused}`)
  if (end > firstused) return fault('hdr.count', `${count} entries reach into the names at ${firstused}`)
  let last = 0
  for (let i = 0, at = Attr3LeafHdr.size; i < count; i++, at += AttrLeafEntry.size) {
    const hash = view.getUint32(at)
    if (hash < last) return fault(`entries[${i}].hashval`, `${hex(hash)} after ${hex(last)}`)
    last = hash
    const nameidx = view.getUint16(at + 4)
    const flags = view.getUint8(at + 6)
    const space = flags & ATTR_NAMESPACES
    if ((flags & ~ATTR_FLAGS_KNOWN) !== 0 || (space & (space - 1)) !== 0)
      return fault(`entries[${i}].flags`, `flags ${hex(flags)}`)
    if (attrNameSize(view, nameidx, flags, firstused) < 0)
      return fault(`entries[${i}].nameidx`, `no name that fits at ${nameidx}`)
    const remote = (flags & (AttrFlags.local | AttrFlags.incomplete)) === 0
    if (remote && view.getUint32(nameidx) === 0) return fault(`nvlist[${i}].valueblk`, 'a remote value at block 0')
  }
  for (let i = 0; i < ATTR_LEAF_MAPSIZE; i++) {
    const base = view.getUint16(64 + 4 * i)
    const length = view.getUint16(66 + 4 * i)
    if (base % 4 !== 0 || length % 4 !== 0 || base + length > size)
      return fault(`hdr.freemap[${i}]`, `${length} bytes at ${base}`)
  }
  return undefined
}

const attrLeaf: BlockType = {
  name: 'attrLeaf',
  magics: [ATTR3_LEAF_MAGIC],
  magicsV4: [0xfbee],
  ...magic16At8,
  ...daHeader,
  fits: oneBlock,
  rules: attrLeafRules,
}

const attrRemote: BlockType = {
  name: 'attrRemote',
  magics: [ATTR3_RMT_MAGIC],
  magicsV4: [],
  ...magic32At0,
  crcOffset: Attr3RmtHdr.fields.crc.offset,
  uuidOffset: Attr3RmtHdr.fields.uuid.offset,
  ownerOffset: Attr3RmtHdr.fields.owner.offset,
  daddrOffset: Attr3RmtHdr.fields.bno.offset,
  fits: blocks,
  unit: (geometry) => geometry.blocksize,
  unitCrc: true,
  rules: (view, { geometry }, at) => {
    const offset = Attr3RmtHdr.fields.offset.get(view, at)
    const bytes = Attr3RmtHdr.fields.bytes.get(view, at)
    if (bytes > attrRemoteSpace(geometry.blocksize))
      return fault('bytes', `${bytes} bytes in a block of ${geometry.blocksize}`)
    if (offset + bytes > ATTR_MAX_VALUE) return fault('offset', `${offset} + ${bytes} is beyond the longest value`)
    return Attr3RmtHdr.fields.owner.get(view, at) === 0 ? fault('owner', 'no owner') : undefined
  },
}

const symlink: BlockType = {
  name: 'symlink',
  magics: [SYMLINK_MAGIC],
  magicsV4: [],
  ...magic32At0,
  crcOffset: SymlinkHdr.fields.crc.offset,
  uuidOffset: SymlinkHdr.fields.uuid.offset,
  ownerOffset: SymlinkHdr.fields.owner.offset,
  daddrOffset: SymlinkHdr.fields.bno.offset,
  lsnOffset: SymlinkHdr.fields.lsn.offset,
  fits: blocks,
  rules: (view) => {
    const { offset, bytes, owner } = SymlinkHdr.decode(view, 0)
    if (offset + bytes >= SYMLINK_MAXLEN) return fault('offset', `${offset} + ${bytes} is beyond the longest target`)
    if (bytes > symlinkSpace(view.byteLength)) return fault('bytes', `${bytes} bytes in a block of ${view.byteLength}`)
    return owner === 0 ? fault('owner', 'no owner') : undefined
  },
}

// ----------------------------------------------------------------------------------------------------------- quotas

const dquot: BlockType = {
  name: 'dquot',
  magics: [DQUOT_MAGIC],
  magicsV4: [DQUOT_MAGIC],
  magic: { offset: 0, size: 2 },
  crcOffset: Dqblk.fields.crc.offset,
  uuidOffset: Dqblk.fields.uuid.offset,
  lsnOffset: Dqblk.fields.lsn.offset,
  fits: oneBlock,
  unit: () => Dqblk.size,
  unitCrc: true,
  rulesV4: true,
  rules: (view, { geometry }, at) => {
    const version = view.getUint8(at + 2)
    const type = view.getUint8(at + 3)
    const id = view.getUint32(at + 4)
    if (version !== DQUOT_VERSION) return fault('diskdq.version', `version ${version}, expected ${DQUOT_VERSION}`)
    const kind = type & DQUOT_TYPE_MASK
    if ((type & ~(DQUOT_TYPE_MASK | DquotTypes.bigtime)) !== 0 || kind === 0 || (kind & (kind - 1)) !== 0)
      return fault('diskdq.type', `type ${hex(type)}`)
    if ((type & DquotTypes.bigtime) !== 0 && (id === 0 || !geometry.features.has('bigtime')))
      return fault('diskdq.type', `bigtime for id ${id}`)
    if (at > 0 && id !== view.getUint32(4) + at / Dqblk.size) return fault('diskdq.id', `id ${id} out of order`)
    return undefined
  },
}

// ----------------------------------------------------------------------------------------------------------- inodes

/**
 * A block of inodes: that each *is* one (or the block is no inode block at all). What is in it is verified inode by inode, by
 * `verifyInode`: a bad inode must not take its neighbours with it.
 */
const inodes: BlockType = {
  name: 'inodes',
  magics: [DINODE_MAGIC],
  magicsV4: [DINODE_MAGIC],
  magic: { offset: 0, size: 2 },
  crcOffset: Dinode.fields.crc.offset,
  fits: blocks,
  unit: (geometry) => geometry.inodesize,
  unitCrc: false,
  rulesV4: true,
  rules: (view, { geometry, daddr }, at) => {
    const version = view.getInt8(at + 4)
    if (geometry.features.version === 5 ? version !== 3 : version !== 1 && version !== 2) {
      return fault('core.version', `inode ${at / geometry.inodesize} of the block has version ${version}`)
    }
    const next = view.getUint32(at + Dinode.fields.next_unlinked.offset)
    if (next !== NULLAGINO && !geometry.validAgbno(geometry.daddrToAgno(daddr), geometry.aginoAgbno(next))) {
      return fault(
        'next_unlinked',
        `inode ${at / geometry.inodesize} of the block is followed by ${next}, outside of the group`,
      )
    }
    return undefined
  },
}

/** Numbers of an inode's two forks, as its flags say where they are. */
export interface ForkShape {
  readonly nextents: number
  readonly anextents: number
  /** Bytes in the inode that each fork can take. */
  readonly dataSize: number
  readonly attrSize: number
}

/** Extent counts and sizes of the forks of the inode at `at`; nothing is checked. */
export function forkShape(view: DataView, at: number, geometry: Geometry): ForkShape {
  const wide = (view.getUint32(at + 124) & DIFLAGS2.nrext64) !== 0 && geometry.features.version === 5
  const space = geometry.inodesize - geometry.coresize
  const forkoff = view.getUint8(at + 82) * 8
  return {
    nextents: wide ? read64(view, at + 24) : view.getUint32(at + 76),
    anextents: wide ? view.getUint32(at + 76) : view.getUint16(at + 80),
    dataSize: forkoff === 0 ? space : Math.min(forkoff, space),
    attrSize: forkoff === 0 ? 0 : Math.max(0, space - forkoff),
  }
}

/**
 * Verify one inode of a block that passed as `blockTypes.inodes`: magic, checksum, own number, UUID, sizes, formats and counts.
 *
 * @param at       where it begins in the view
 * @param inumber  which inode stands there
 */
export function verifyInode(view: DataView, at: number, inumber: number, geometry: Geometry): Fault | undefined {
  const { inodesize } = geometry
  if (at < 0 || at + inodesize > view.byteLength) return { message: `no inode at ${at} in ${view.byteLength} bytes` }
  const magic = view.getUint16(at)
  if (magic !== DINODE_MAGIC) return fault('core.magic', `magic number ${hex(magic)}, expected ${hex(DINODE_MAGIC)}`)
  if (geometry.features.version === 5) {
    const bad = unitCrc(view, at, inodesize, Dinode.fields.crc.offset)
    if (bad) return bad
  }
  return verifyInodeFields(view, at, inumber, geometry)
}

/** What `verifyInode` verifies apart from magic number and checksum. */
export function verifyInodeFields(view: DataView, at: number, inumber: number, geometry: Geometry): Fault | undefined {
  const { features } = geometry
  const v5 = features.version === 5
  const version = view.getInt8(at + 4)
  if (v5 ? version !== 3 : version !== 1 && version !== 2) return fault('core.version', `version ${version}`)
  if (v5) {
    const own = Dinode.fields.inumber.get(view, at)
    if (own !== inumber) return fault('v3.inumber', `says inode ${own}, expected ${inumber}`)
    const uuid = uuidFault(view, at + Dinode.fields.uuid.offset, geometry)
    if (uuid) return { ...uuid, field: 'v3.uuid' }
  }
  const mode = view.getUint16(at + 2)
  const kind = mode & S_IFMT
  const size = read64(view, at + 56)
  const nblocks = read64(view, at + 64)
  const shape = forkShape(view, at, geometry)
  if (size < 0) return fault('core.size', `size ${size}`)
  if (mode !== 0 && fileTypeOfMode(mode) === 0) return fault('core.mode', `mode 0${mode.toString(8)} has no file type`)
  if ((kind === FILE_TYPES.lnk || kind === FILE_TYPES.dir) && size === 0)
    return fault('core.size', 'an empty directory or symbolic link')
  if (v5) {
    const wide = (view.getUint32(at + 124) & DIFLAGS2.nrext64) !== 0
    if (wide && !features.has('nrext64')) return fault('v3.nrext64', 'set without the feature')
    if (wide && view.getUint16(at + 80) !== 0) return fault('core.nrext64_pad', 'not zero')
    if (!wide && read64(view, at + 24) !== 0) return fault('core.v3_pad', 'not zero')
  }
  const { nextents, anextents } = shape
  if (nextents < 0 || nblocks < 0) return fault('core.nextents', `${nextents} extents in ${nblocks} blocks`)
  if (mode !== 0 && nextents + anextents > nblocks)
    return fault('core.nblocks', `${nextents} + ${anextents} extents in ${nblocks} blocks`)
  if (nextents + anextents === 0 && nblocks !== 0) return fault('core.nblocks', `${nblocks} blocks without an extent`)
  return forkRules(view, at, geometry, kind, size, shape) ?? hintRules(view, at, geometry, mode)
}

function forkRules(
  view: DataView,
  at: number,
  geometry: Geometry,
  kind: number,
  size: number,
  shape: ForkShape,
): Fault | undefined {
  const format = view.getInt8(at + 5)
  const aformat = view.getInt8(at + 83)
  const forkoff = view.getUint8(at + 82)
  const space = geometry.inodesize - geometry.coresize
  if (forkoff !== 0) {
    if (format === FORK_FORMATS.dev ? forkoff !== 1 : forkoff * 8 >= space)
      return fault('core.forkoff', `${forkoff} with format ${format}`)
  }
  const metadata = (view.getUint32(at + 124) & DIFLAGS2.metadata) !== 0 && geometry.features.has('metadir')
  if (kind === FILE_TYPES.reg || kind === FILE_TYPES.dir || kind === FILE_TYPES.lnk) {
    // A link moves out when attributes need its room, and stays outside when they go.
    const short = kind === FILE_TYPES.lnk && format === FORK_FORMATS.extents
    if (kind !== FILE_TYPES.reg && !short && (format === FORK_FORMATS.local) !== size <= shape.dataSize) {
      return fault('core.format', `format ${format} with ${size} bytes in a fork of ${shape.dataSize}`)
    }
    if (kind === FILE_TYPES.reg && format === FORK_FORMATS.local)
      return fault('core.format', 'a regular file inside its inode')
    if (!(metadata && format === FORK_FORMATS.metabtree)) {
      const bad = oneFork(
        view,
        at + geometry.coresize,
        geometry,
        format,
        shape.dataSize,
        shape.nextents,
        'core.format',
        'core.nextents',
        'u3.bmbt',
      )
      if (bad) return bad
    }
  } else if (kind !== 0 && format !== FORK_FORMATS.dev)
    return fault('core.format', `format ${format} of a device, fifo or socket`)
  if (forkoff !== 0) {
    const start = at + geometry.coresize + forkoff * 8
    return oneFork(
      view,
      start,
      geometry,
      aformat,
      shape.attrSize,
      shape.anextents,
      'core.aformat',
      'core.naextents',
      'a.bmbt',
    )
  }
  if (aformat !== 0 && aformat !== FORK_FORMATS.extents)
    return fault('core.aformat', `format ${aformat} without an attribute fork`)
  return shape.anextents === 0
    ? undefined
    : fault('core.naextents', `${shape.anextents} extents without an attribute fork`)
}

function oneFork(
  view: DataView,
  start: number,
  geometry: Geometry,
  format: number,
  size: number,
  extents: number,
  formatField: string,
  countField: string,
  rootField: string,
): Fault | undefined {
  // biome-ignore format: short
  if (format === FORK_FORMATS.local) return extents === 0 ? undefined : fault(countField, `${extents} extents in a local fork`)
  if (format === FORK_FORMATS.extents) {
    return extents <= Math.floor(size / 16)
      ? undefined
      : fault(countField, `${extents} extents in a fork of ${size} bytes`)
  }
  if (format !== FORK_FORMATS.btree) return fault(formatField, `format ${format}`)
  if (extents > MAX_EXTENTS) return fault(countField, `${extents} extents`)
  const most = Math.floor((size - 4) / 16) // level and count, then keys and pointers of 8 bytes each
  const level = size < 4 ? 0 : view.getUint16(start)
  const numrecs = size < 4 ? 0 : view.getUint16(start + 2)
  if (numrecs < 1 || numrecs > most) return fault(`${rootField}.numrecs`, `${numrecs} keys in the root, ${most} fit`)
  const levels = maxLevels(geometry, 'bmbt')
  return level >= 1 && level < levels
    ? undefined
    : fault(`${rootField}.level`, `level ${level}, expected 1 to ${levels - 1}`)
}

/** Flags and extent size hints that a file of this kind cannot have. */
function hintRules(view: DataView, at: number, geometry: Geometry, mode: number): Fault | undefined {
  const { features } = geometry
  const kind = mode & S_IFMT
  const flags = view.getUint16(at + 90)
  const extsize = view.getUint32(at + 72)
  const hint = (flags & DIFLAGS.extsize) !== 0
  const inherit = (flags & DIFLAGS.extszinherit) !== 0
  if (hint && kind !== FILE_TYPES.reg) return fault('core.extsz', 'set, but this is no regular file')
  if (inherit && kind !== FILE_TYPES.dir) return fault('core.extszinherit', 'set, but this is no directory')
  if ((hint || inherit) && extsize === 0) return fault('core.extsize', 'zero, but a flag says that there is one')
  if (mode !== 0 && !hint && !inherit && extsize !== 0) return fault('core.extsize', `${extsize}, but no flag says so`)
  if (extsize > 2 ** 21 - 1) return fault('core.extsize', `${extsize} is longer than an extent`)
  if (features.version !== 5) return undefined
  const flags2 = view.getUint32(at + 124)
  const cowextsize = view.getUint32(at + 128)
  const cowHint = (flags2 & DIFLAGS2.cowextsize) !== 0
  if ((flags2 & (DIFLAGS2.reflink | DIFLAGS2.cowextsize)) !== 0 && !features.has('reflink'))
    return fault('v3.reflink', 'set without the feature')
  if ((flags2 & DIFLAGS2.reflink) !== 0 && kind !== FILE_TYPES.reg)
    return fault('v3.reflink', 'set, but this is no regular file')
  if (cowHint && kind !== FILE_TYPES.reg && kind !== FILE_TYPES.dir)
    return fault('v3.cowextsz', 'set, but this is neither file nor directory')
  if (cowHint && cowextsize === 0) return fault('v3.cowextsize', 'zero, but a flag says that there is one')
  if (mode !== 0 && !cowHint && cowextsize !== 0 && !features.has('zoned'))
    return fault('v3.cowextsize', `${cowextsize}, but no flag says so`)
  return (flags2 & DIFLAGS2.bigtime) !== 0 && !features.has('bigtime')
    ? fault('v3.bigtime', 'set without the feature')
    : undefined
}

// ------------------------------------------------------------------------------------------------------- all of them

const dir3: BlockType = {
  name: 'dir3',
  magics: [],
  magicsV4: [],
  oneOf: [dirBlock, dirData],
  fits: oneDirBlock,
  rules: none,
}
const da: BlockType = {
  name: 'da',
  magics: [],
  magicsV4: [],
  oneOf: [dirLeaf1, dirLeafN, daNode, attrLeaf],
  fits: blockOrDirBlock,
  rules: none,
}
/** Raw bytes: never verified, never stamped. */
const data: BlockType = { name: 'data', magics: [], magicsV4: [], fits: () => true, rules: none }

export const blockTypes = {
  sb,
  agf,
  agi,
  agfl,
  bnobt: shortTree('bnobt', 'bnobt', [BTREE_MAGICS_V4.bnobt]),
  cntbt: shortTree('cntbt', 'cntbt', [BTREE_MAGICS_V4.cntbt]),
  inobt: shortTree('inobt', 'inobt', [BTREE_MAGICS_V4.inobt]),
  finobt: shortTree('finobt', 'finobt', []),
  rmapbt: shortTree('rmapbt', 'rmapbt', []),
  refcountbt: shortTree('refcountbt', 'refcountbt', []),
  bmbt,
  inodes,
  dirBlock,
  dirData,
  dirLeaf1,
  dirLeafN,
  dirFree,
  daNode,
  attrLeaf,
  attrRemote,
  symlink,
  dquot,
  dir3,
  da,
  data,
} as const satisfies Record<string, BlockType>

/** The type that a block is, where several are possible: its magic number decides. */
export function resolveType(type: BlockType, view: DataView, geometry: Geometry): BlockType | undefined {
  if (!type.oneOf) return type
  const v5 = geometry.features.version === 5
  return type.oneOf.find((one) => one.magic && (v5 ? one.magics : one.magicsV4).includes(readMagic(one, view, 0)))
}

const readMagic = (type: BlockType, view: DataView, at: number): number => {
  if (!type.magic) return 0
  const offset = at + type.magic.offset
  if (offset + type.magic.size > view.byteLength) return -1
  return type.magic.size === 2 ? view.getUint16(offset) : view.getUint32(offset)
}

/**
 * Verify a block: size, magic number, checksum, UUID, own address and the rules of its type.
 *
 * @returns the first thing that is wrong, or undefined; never throws
 */
export const verify = (type: BlockType, view: DataView, context: VerifyContext): Fault | undefined =>
  verifyParts(type, view, context, true)

/** What `verify` verifies apart from the checksum: for blocks whose checksum is known to be wrong. */
export const verifyFields = (type: BlockType, view: DataView, context: VerifyContext): Fault | undefined =>
  verifyParts(type, view, context, false)

function verifyParts(declared: BlockType, view: DataView, context: VerifyContext, withCrc: boolean): Fault | undefined {
  const { geometry, daddr } = context
  const v5 = geometry.features.version === 5
  if (!declared.fits(view.byteLength, geometry))
    return { message: `${declared.name}: a block of ${view.byteLength} bytes` }
  const type = resolveType(declared, view, geometry)
  if (!type) return fault('magic', `no magic number of ${(declared.oneOf ?? []).map((one) => one.name).join(', ')}`)
  if (type !== declared && !type.fits(view.byteLength, geometry))
    return { message: `${type.name}: a block of ${view.byteLength} bytes` }
  const magics = v5 ? type.magics : type.magicsV4
  const unit = type.unit ? type.unit(geometry) : view.byteLength
  for (let at = 0; at + unit <= view.byteLength; at += unit) {
    if (type.magic && magics.length > 0) {
      const magic = readMagic(type, view, at)
      if (!magics.includes(magic)) return fault('magic', `magic number ${hex(magic)}, expected ${hex(magics[0] ?? 0)}`)
    }
    if (v5 && withCrc && type.crcOffset !== undefined && type.unitCrc !== false) {
      const bad = unitCrc(view, at, unit, type.crcOffset)
      if (bad) return bad
    }
    if (v5 && type.uuidOffset !== undefined) {
      const bad = uuidFault(view, at + type.uuidOffset, geometry)
      if (bad) return bad
    }
    if (v5 && type.daddrOffset !== undefined) {
      const own = read64(view, at + type.daddrOffset)
      const place = daddr + at / BASIC_BLOCK
      if (own !== place) return fault('bno', `says it is at ${own}, but is at ${place}`)
    }
    if (v5 || type.rulesV4) {
      const bad = type.rules(view, context, at, unit)
      if (bad) return bad
    }
  }
  return undefined
}

/** Whether the checksum at `crcOffset` of the `size` bytes at `at` is right. */
export const crcIsRight = (view: DataView, at: number, size: number, crcOffset: number): boolean =>
  unitCrc(view, at, size, crcOffset) === undefined

function unitCrc(view: DataView, at: number, size: number, crcOffset: number): Fault | undefined {
  const found = view.getUint32(at + crcOffset, true)
  const expected = crc32cExcept(new Uint8Array(view.buffer, view.byteOffset + at, size), crcOffset)
  return found === expected
    ? undefined
    : { field: 'crc', message: `checksum ${hex(found)}, expected ${hex(expected)}`, crc: true }
}

function uuidFault(view: DataView, at: number, geometry: Geometry): Fault | undefined {
  const words = geometry.metaUuidWords
  for (let i = 0; i < 4; i++) {
    if (view.getUint32(at + 4 * i) !== words[i]) return fault('uuid', 'the block belongs to another file system')
  }
  return undefined
}

/** The inode that a block says it belongs to; undefined for types that have no such field. */
export const blockOwner = (type: BlockType, view: DataView): number | undefined =>
  type.ownerOffset === undefined ? undefined : read64(view, type.ownerOffset)

/**
 * Write the checksum. Of a block made of units (inodes, quota records, remote values) each unit that differs from `before` gets its
 * own; without `before` each that has the magic number: the checksum of a unit that was bad stays bad.
 */
export function stamp(declared: BlockType, view: DataView, { geometry }: VerifyContext, before?: Uint8Array): void {
  if (geometry.features.version !== 5) return
  const type = resolveType(declared, view, geometry)
  if (type?.crcOffset === undefined) return
  const unit = type.unit ? type.unit(geometry) : view.byteLength
  if (unit < type.crcOffset + 4) return
  for (let at = 0; at + unit <= view.byteLength; at += unit) {
    const now = new Uint8Array(view.buffer, view.byteOffset + at, unit)
    if (type.unit && before && Buffer.compare(now, before.subarray(at, at + unit)) === 0) continue
    if (type.unit && !type.magics.includes(readMagic(type, view, at))) continue
    view.setUint32(at + type.crcOffset, crc32cExcept(now, type.crcOffset), true)
  }
}

/** Write the checksum of one inode. */
export function stampInode(view: DataView, at: number, geometry: Geometry): void {
  if (geometry.features.version !== 5) return
  const crcOffset = Dinode.fields.crc.offset
  view.setUint32(
    at + crcOffset,
    crc32cExcept(new Uint8Array(view.buffer, view.byteOffset + at, geometry.inodesize), crcOffset),
    true,
  )
}
