import { XfsError } from '../errors.ts'
import { OWNERS } from '../format/btrecs.ts'
import { INODES_PER_CHUNK } from '../format/dinode.ts'
import { featureBits } from '../format/features.ts'
import { type Geometry, geometryOf } from '../format/geometry.ts'
import { SB_MAGIC, Superblock } from '../format/sb.ts'
import { type AgTreeName, btrees, treesOf } from '../format/trees.ts'
import { minFreelist } from '../space/reserve.ts'
import { minimumLogBlocks } from './logsize.ts'
import {
  type Autofsck,
  labelBytes,
  MAX_AG_BYTES,
  MIB,
  MIN_AG_BYTES,
  type MkfsFeature,
  type MkfsOptions,
  mkfsFeatures,
} from './options.ts'

/**
 * Derive all numbers of a new filesystem from options and a size. Nothing is read or written.
 *
 *   | sb agf agi agfl | bno | cnt | ino | fino | rmap | refc | log? | AGFL | .. | inodes | free … |
 *     four sectors      roots of the btrees, one block each    one AG           AG 0
 *
 * @source mkfs/xfs_mkfs.c, libxfs/topology.c, libxfs/xfs_ag.c (xfs_ag_init_headers),
 *   libxfs/xfs_ialloc.c (xfs_ialloc_calc_rootino)
 */
export interface MkfsPlan {
  /** With the final primary superblock. */
  readonly geometry: Geometry
  readonly roots: RootBlocks
  /** Blocks of the headers and the roots: the same in every AG. */
  readonly fixedBlocks: number
  /** Blocks that an AG reserves for its free space and rmap btrees. */
  readonly agflBlocks: number
  readonly logAgno: number
  readonly logAgbno: number
  readonly autofsck: Autofsck | undefined
  /** Messages of mkfs.xfs on standard output that -q does not suppress. */
  readonly notes: readonly string[]
  /** Messages of mkfs.xfs on standard error. */
  readonly warnings: readonly string[]
  /** Free blocks before the first inodes are created, as in the secondary superblocks. */
  readonly firstFreeBlocks: number
}

/** Block numbers of the roots in every AG; a tree that does not exist has none. */
type RootBlocks = Readonly<Partial<Record<AgTreeName, number>>>

interface AgExtent {
  readonly startblock: number
  readonly blockcount: number
}

/** The layout of an AG. */
export interface NewAg {
  readonly length: number
  readonly agfl: readonly number[]
  /** In block order. */
  readonly free: readonly AgExtent[]
  readonly rmaps: readonly (AgExtent & { readonly owner: number })[]
  /** The first inodes (AG 0). */
  readonly chunk?: AgExtent
}

const GIB = 2 ** 30
const TIB = 2 ** 40
const MAX_AGCOUNT = 0xffffffff
const MIN_LOG_BLOCKS = 512
const MAX_LOG_BLOCKS = 2 ** 20
const MIN_LOG_BYTES = 10 * MIB
const MAX_LOG_BYTES = 2 ** 31 - MIN_LOG_BYTES
const REALISTIC_LOG_BYTES = 64 * MIB
const SMALL_BYTES = 300 * MIB
const LOG_RATIO = 2048
const AGFL_RESERVE = 4
const NULLFSINO = -1
const NULL_UUID = '00000000-0000-0000-0000-000000000000'
/** Size of an inode cluster, for inodes of 256 bytes. */
const CLUSTER_BYTES = 8192

const invalid = (message: string): XfsError => new XfsError('INVAL', message)

/**
 * @param deviceBytes  size of the device
 * @param uuid  of the new filesystem
 * @throws XfsError INVAL (with the message of mkfs.xfs) if the options do not go together,
 *   UNSUPPORTED
 */
export function planFilesystem(options: MkfsOptions, deviceBytes: number, uuid: string): MkfsPlan {
  wholeNumbers(options)
  Superblock.fields.uuid.parse?.(uuid) // throws if it is invalid
  const { blocksize, sectsize, inodesize, dirblocksize } = validSizes(options)
  const features = validFeatures(options)
  const wanted = dataBlocks(options, deviceBytes, blocksize)
  if (options.logsize !== undefined && Math.floor(options.logsize / blocksize) >= wanted) {
    throw invalid(`log size ${Math.floor(options.logsize / blocksize)} too large for internal log`)
  }
  const { dblocks, agblocks, agcount } = agSizes(options, wanted, blocksize)
  const sb = firstSuperblock({
    blocksize,
    sectsize,
    inodesize,
    dirblocksize,
    dblocks,
    agblocks,
    agcount,
    features,
    options,
    uuid,
  })
  const draft = geometryOf(sb)
  const roots = rootBlocks(draft)
  const fixedBlocks = Math.max(...Object.values(roots)) + 1
  const logAgno = options.logagno ?? Math.floor(agcount / 2)
  if (logAgno >= agcount) throw invalid(`log ag number ${logAgno} too large, must be less than ${agcount}`)
  const logblocks = logSize(options, draft, fixedBlocks, logAgno)
  const firstFreeBlocks = dblocks - agcount * fixedBlocks - logblocks
  const autofsck = options.autofsck ?? (features.has('rmapbt') && features.has('parent') ? 'repair' : undefined)
  const plan = {
    roots,
    fixedBlocks,
    firstFreeBlocks,
    agflBlocks: minFreelist(draft, { bnobt: 1, cntbt: 1, rmapbt: 1 }),
    logAgno,
    logAgbno: fixedBlocks,
    autofsck,
    notes: autofsckNotes(autofsck, features),
    warnings: sizeWarnings(options.size, blocksize),
  }
  const logged = { ...sb, logblocks, logstart: draft.fsbno(logAgno, fixedBlocks) }
  const chunk = planAg({ ...plan, geometry: geometryOf(logged) }, 0).chunk as AgExtent
  const rootino = chunk.startblock * sb.inopblock
  const icount = chunk.blockcount * sb.inopblock
  const final: Superblock = {
    ...logged,
    // The first attribute set the bit, unless parent pointers had set it.
    versionnum: logged.versionnum | (autofsck ? featureBits.attr.bit : 0),
    rootino,
    rbmino: rootino + 1,
    rsumino: rootino + 2,
    icount,
    ifree: icount - FIRST_INODES,
    fdblocks: firstFreeBlocks - chunk.blockcount,
  }
  return { ...plan, geometry: geometryOf(final) }
}

/** Root directory, realtime bitmap, realtime summary. */
export const FIRST_INODES = 3

/** The blocks of an AG after formatting. */
export function planAg(plan: MkfsPlan, agno: number): NewAg {
  const { geometry, roots, fixedBlocks } = plan
  const { features, sb } = geometry
  const length = geometry.agLength(agno)
  const hasLog = agno === plan.logAgno
  const logEnd = plan.logAgbno + sb.logblocks
  const start = hasLog ? logEnd : fixedBlocks
  // An AG that the log fills almost completely keeps its few blocks free.
  const agflCount = length - start >= plan.agflBlocks ? plan.agflBlocks : 0
  const agfl = Array.from({ length: agflCount }, (_, i) => start + i)
  const freeStart = start + agflCount
  const chunk = agno === 0 ? firstChunk(geometry, freeStart) : undefined
  const free = (
    chunk
      ? [run(freeStart, chunk.startblock), run(chunk.startblock + chunk.blockcount, length)]
      : [run(freeStart, length)]
  ).filter(({ blockcount }) => blockcount > 0)
  if (chunk && chunk.startblock + chunk.blockcount > length)
    throw invalid('no space for the root directory in the first allocation group')

  const owned: (AgExtent & { owner: number })[] = []
  const own = (from: number, end: number, owner: number): void => {
    const last = owned.at(-1)
    if (end <= from) return
    if (last && last.owner === owner && last.startblock + last.blockcount === from) {
      owned[owned.length - 1] = { ...run(last.startblock, end), owner }
    } else owned.push({ ...run(from, end), owner })
  }
  if (features.has('rmapbt')) {
    own(0, geometry.headerBlocks, OWNERS.fs)
    for (const name of treesOf(geometry)) {
      const root = roots[name] as number
      own(root, root + 1, btrees[name].owner)
    }
    if (hasLog) own(plan.logAgbno, logEnd, OWNERS.log)
    own(start, freeStart, OWNERS.ag)
    if (chunk) own(chunk.startblock, chunk.startblock + chunk.blockcount, OWNERS.inodes)
  }
  return { length, agfl, free, rmaps: owned, ...(chunk && { chunk }) }
}

const run = (start: number, end: number): AgExtent => ({ startblock: start, blockcount: end - start })

/** The first chunk of inodes: after `freeStart`, aligned as the inode allocator does it. */
function firstChunk({ sb, inopblock, chunkBlocks }: Geometry, freeStart: number): AgExtent {
  const alignment = Math.max(1, sb.inoalignmt)
  const blockcount = inopblock > INODES_PER_CHUNK ? 1 : chunkBlocks
  return { startblock: Math.ceil(freeStart / alignment) * alignment, blockcount }
}

function autofsckNotes(autofsck: Autofsck | undefined, features: ReadonlySet<MkfsFeature>): string[] {
  if (autofsck === undefined || autofsck === 'none') return []
  const missing = [
    ...(features.has('rmapbt') ? [] : ['reverse mapping']),
    ...(features.has('parent') ? [] : ['parent pointers']),
  ]
  return missing.map((what) => `-m autofsck=${autofsck} is less effective without ${what}`)
}

function sizeWarnings(size: number | undefined, blocksize: number): string[] {
  if (size === undefined || size % blocksize === 0) return []
  const kept = size - (size % blocksize)
  return [`warning: data length ${size} not a multiple of ${blocksize}, truncated to ${kept}`]
}

/**
 * Every number of the options must be an integer and not negative, as those of parseOptions are.
 */
function wholeNumbers(options: MkfsOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (typeof value === 'number' && !(Number.isSafeInteger(value) && value >= 0)) {
      throw invalid(`${name}: ${value} is not an integer`)
    }
  }
  if (options.agcount === 0) throw invalid('there must be at least one allocation group')
  if ((options.maxpct ?? 0) > 100) throw invalid(`inodes cannot take ${options.maxpct} percent`)
}

interface Sizes {
  readonly blocksize: number
  readonly sectsize: number
  readonly inodesize: number
  readonly dirblocksize: number
}

const isPower = (value: number): boolean => Number.isInteger(Math.log2(value))

function validSizes(options: MkfsOptions): Sizes {
  const blocksize = options.blocksize ?? 4096
  const { logical, physical } = options.deviceSectors ?? { logical: 512, physical: 512 }
  const sectsize = options.sectsize ?? (blocksize < physical ? logical : physical)
  const inodesize = options.inodesize ?? 512
  if (!isPower(blocksize) || blocksize < 512 || blocksize > 65536) throw invalid(`illegal block size ${blocksize}`)
  if (blocksize < 1024) throw invalid('Minimum block size for CRC enabled filesystems is 1024 bytes.')
  if (!isPower(sectsize) || sectsize < 512 || sectsize > 32768) throw invalid(`illegal sector size ${sectsize}`)
  if (sectsize < logical) throw invalid(`illegal sector size ${sectsize}; hw sector is ${logical}`)
  if (blocksize < sectsize) throw invalid(`block size ${blocksize} cannot be smaller than sector size ${sectsize}`)
  if (inodesize < 512) throw invalid('Minimum inode size for CRCs is 512 bytes')
  const largestInode = Math.min(blocksize / 2, 2048)
  if (!isPower(inodesize) || inodesize > largestInode) {
    throw invalid(
      `illegal inode size ${inodesize}\nallowable inode size with ${blocksize} byte blocks is between 256 and ${largestInode}`,
    )
  }
  const dirblocksize = options.dirblocksize ?? Math.max(4096, blocksize)
  if (!isPower(dirblocksize) || dirblocksize < blocksize || dirblocksize > 65536) {
    throw invalid(`illegal directory block size ${dirblocksize}`)
  }
  return { blocksize, sectsize, inodesize, dirblocksize }
}

/** The enabled features. */
function validFeatures({ features = {} }: MkfsOptions): ReadonlySet<MkfsFeature> {
  const on = new Set(mkfsFeatures.filter((name) => features[name] !== false))
  if (!on.has('finobt')) {
    if (features.inobtcount === true) throw invalid('inode btree counters not supported without finobt support')
    on.delete('inobtcount')
  }
  return on
}

/** The device is smaller than the wanted `size`. */
export const tooLarge = (size: number, deviceBytes: number, blocksize: number): XfsError =>
  invalid(
    `size ${size} specified for data subvolume is too large, maximum is ${Math.floor(deviceBytes / blocksize)} blocks`,
  )

function dataBlocks({ size }: MkfsOptions, deviceBytes: number, blocksize: number): number {
  // Linux cannot access the last sector of an odd number.
  const there = Math.floor((Math.floor(deviceBytes / 1024) * 1024) / blocksize)
  const blocks = size === undefined ? there : Math.floor(size / blocksize)
  if (size !== undefined && size % 512 !== 0) throw invalid(`illegal data length ${size}, not a multiple of 512`)
  if (blocks > there) throw tooLarge(size ?? 0, deviceBytes, blocksize)
  const least = MIN_AG_BYTES / blocksize
  if (blocks < least) throw invalid(`size ${blocks} of data subvolume is too small, minimum ${least} blocks`)
  if (!Number.isSafeInteger(blocks * blocksize)) throw invalid(`size ${blocks} of data subvolume is too large`)
  return blocks
}

interface AgSizes {
  readonly dblocks: number
  readonly agblocks: number
  readonly agcount: number
}

function agSizes(options: MkfsOptions, wanted: number, blocksize: number): AgSizes {
  let agblocks: number
  if (options.agsize !== undefined) {
    if (options.agsize % blocksize !== 0)
      throw invalid(`agsize (${options.agsize}) not a multiple of fs blk size (${blocksize})`)
    agblocks = options.agsize / blocksize
  } else if (options.agcount !== undefined) agblocks = Math.ceil(wanted / options.agcount)
  else agblocks = defaultAgBlocks(wanted, blocksize)
  let agcount =
    options.agsize === undefined && options.agcount !== undefined ? options.agcount : Math.ceil(wanted / agblocks)
  let dblocks = wanted
  const least = MIN_AG_BYTES / blocksize
  const most = Math.floor((MAX_AG_BYTES - 1) / blocksize)
  // The last AG is dropped if it is too small.
  if (dblocks % agblocks !== 0 && dblocks % agblocks < least && agcount > 1) {
    agcount--
    dblocks = agcount * agblocks
  }
  if (agblocks < least) throw invalid(`agsize (${agblocks} blocks) too small, need at least ${least} blocks`)
  if (agblocks > most) throw invalid(`agsize (${agblocks} blocks) too big, maximum is ${most} blocks`)
  if (agblocks > dblocks) throw invalid(`agsize (${agblocks} blocks) too big, data area is ${dblocks} blocks`)
  if (dblocks % agblocks !== 0 && dblocks % agblocks < least) {
    throw invalid(`last AG size ${dblocks % agblocks} blocks too small, minimum size is ${least} blocks`)
  }
  if (agcount > MAX_AGCOUNT) throw invalid(`${agcount} allocation groups is too many, maximum is ${MAX_AGCOUNT}`)
  return { dblocks, agblocks, agcount: Math.ceil(dblocks / agblocks) }
}

/** Four AGs up to 4 TiB, AGs of the maximum size from there; one or two AGs below 64 MiB. */
function defaultAgBlocks(dblocks: number, blocksize: number): number {
  const bytes = dblocks * blocksize
  const most = Math.floor((MAX_AG_BYTES - 1) / blocksize)
  if (bytes >= 4 * TIB) return most
  const count = bytes >= 64 * MIB ? 4 : bytes >= 32 * MIB ? 2 : 1
  return Math.min(Math.ceil(dblocks / count), Math.max(most, Math.floor(dblocks / count)))
}

interface Draft extends Sizes, AgSizes {
  readonly features: ReadonlySet<MkfsFeature>
  readonly options: MkfsOptions
  readonly uuid: string
}

/** The superblock, without the log and the first inodes. */
function firstSuperblock({
  blocksize,
  sectsize,
  inodesize,
  dirblocksize,
  dblocks,
  agblocks,
  agcount,
  features,
  options,
  uuid,
}: Draft): Superblock {
  const log2 = Math.log2
  const clusterBlocks = Math.floor((CLUSTER_BYTES * inodesize) / 256 / blocksize)
  const sparse = features.has('sparse')
  const largeSectors = sectsize > 512
  const words = { versionnum: 5, features2: 0, features_ro_compat: 0, features_incompat: 0, features_log_incompat: 0 }
  const always = [
    'nlink',
    'align',
    'logv2',
    'extflg',
    'dirv2',
    'morebits',
    'lazysbcount',
    'attr2',
    'projid32',
    'crc',
    'ftype',
  ] as const
  for (const name of [
    ...always,
    ...(largeSectors ? (['sector'] as const) : []),
    ...(features.has('parent') ? (['attr'] as const) : []),
    ...features,
  ]) {
    const { word, bit } = featureBits[name]
    words[word] |= bit
  }
  return {
    magicnum: SB_MAGIC,
    blocksize,
    dblocks,
    rblocks: 0,
    rextents: 0,
    uuid,
    logstart: 0,
    rootino: NULLFSINO,
    rbmino: NULLFSINO,
    rsumino: NULLFSINO,
    rextsize: Math.max(1, 4096 / blocksize),
    agblocks,
    agcount,
    rbmblocks: 0,
    logblocks: 0,
    sectsize,
    inodesize,
    inopblock: blocksize / inodesize,
    fname: String.fromCharCode(...labelBytes(options.label ?? '')),
    blocklog: log2(blocksize),
    sectlog: log2(sectsize),
    inodelog: log2(inodesize),
    inopblog: log2(blocksize / inodesize),
    agblklog: ceilLog2(agblocks),
    rextslog: 0,
    inprogress: 0,
    imax_pct: options.maxpct ?? defaultInodePercent(dblocks * blocksize),
    icount: 0,
    ifree: 0,
    fdblocks: 0,
    frextents: 0,
    uquotino: 0,
    gquotino: 0,
    qflags: 0,
    flags: 0,
    shared_vn: 0,
    inoalignmt: sparse ? Math.floor((INODES_PER_CHUNK * inodesize) / blocksize) : clusterBlocks,
    unit: 0,
    width: 0,
    dirblklog: log2(dirblocksize / blocksize),
    logsectlog: largeSectors ? log2(sectsize) : 0,
    logsectsize: largeSectors ? sectsize : 0,
    logsunit: largeSectors ? blocksize : 1,
    bad_features2: words.features2,
    features_compat: 0,
    crc: 0,
    spino_align: sparse ? clusterBlocks : 0,
    pquotino: 0,
    lsn: { cycle: 0, block: 0 },
    meta_uuid: NULL_UUID,
    metadirino: 0,
    rgcount: 0,
    rgextents: 0,
    rgblklog: 0,
    rtstart: 0,
    rtreserved: 0,
    ...words,
  }
}

function ceilLog2(value: number): number {
  let log = 0
  while (2 ** log < value) log++
  return log
}

const defaultInodePercent = (bytes: number): number => (bytes < TIB ? 25 : bytes < 50 * TIB ? 5 : 1)

/**
 * The roots follow the four headers, in the order of the registry. If a tree does not exist, the
 * later ones move down.
 */
const rootBlocks = (geometry: Geometry): RootBlocks =>
  Object.fromEntries(treesOf(geometry).map((name, i) => [name, geometry.headerBlocks + i]))

/** The number of blocks of the log. */
function logSize(options: MkfsOptions, geometry: Geometry, fixedBlocks: number, logAgno: number): number {
  const { sb, blocksize, agblocks } = geometry
  const bytes = sb.dblocks * blocksize
  let least = Math.max(MIN_LOG_BLOCKS, minimumLogBlocks(geometry))
  if (options.logsize === undefined && bytes >= GIB) least = Math.max(least, MIN_LOG_BYTES / blocksize)
  let most = agblocks - fixedBlocks - AGFL_RESERVE - 1
  if (most < least) throw invalid(`max log size ${most} smaller than min log size ${least}, filesystem is too small`)
  // In AG 0 the inodes of the root directory must have space, aligned and with the AGFL filled.
  if (logAgno === 0) most -= Math.floor((INODES_PER_CHUNK * sb.inodesize) / blocksize) * 4

  let blocks: number
  if (options.logsize !== undefined) {
    if (options.logsize % 512 !== 0) throw invalid(`illegal log length ${options.logsize}, not a multiple of 512`)
    blocks = Math.floor(options.logsize / blocksize)
    if (blocks > most) throw invalid(`internal log size ${blocks} too large, must be less than ${most}`)
  } else {
    blocks =
      bytes < SMALL_BYTES
        ? least
        : Math.max(Math.floor(Math.floor(bytes / LOG_RATIO) / blocksize), REALISTIC_LOG_BYTES / blocksize)
    blocks = Math.min(Math.max(blocks, least), most, MAX_LOG_BLOCKS, Math.floor(MAX_LOG_BYTES / blocksize))
  }
  if (blocks < least) throw invalid(`log size ${blocks} blocks too small, minimum size is ${least} blocks`)
  if (blocks > MAX_LOG_BLOCKS)
    throw invalid(`log size ${blocks} blocks too large, maximum size is ${MAX_LOG_BLOCKS} blocks`)
  if (blocks * blocksize > MAX_LOG_BYTES) {
    throw invalid(`log size ${blocks * blocksize} bytes too large, maximum size is ${MAX_LOG_BYTES} bytes`)
  }
  if (blocks > geometry.agLength(logAgno) - fixedBlocks)
    throw invalid(`internal log size ${blocks} too large, must fit in allocation group`)
  return blocks
}
