import type { InlineRoot, Space } from '../btree/ops.ts'
import { countOf, initBlock, Path } from '../btree/path.ts'
import { type ForkTree, treeOps } from '../btree/treeops.ts'
import { assert, XfsError } from '../errors.ts'
import { AttrSfHdr } from '../format/attr.ts'
import { BmdrBlock, LongBlock } from '../format/btblock.ts'
import { BmbtRec } from '../format/btrecs.ts'
import { DevFork, Dinode, FORK_FORMATS, FORKOFF_UNIT } from '../format/dinode.ts'
import { bytesAt, get64, set64 } from '../format/fields.ts'
import { type ForkTreeName, treeForms } from '../format/trees.ts'
import { maxRecords, rootMaxRecords } from '../format/treesizes.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import {
  addBlocks,
  editInode,
  extentCount,
  type ForkName,
  forkFormat,
  forkSize,
  forkStart,
  hasAttrFork,
  type Inode,
  inodeError,
  literalSize,
  setExtentCount,
  setForkFormat,
} from '../inode/inode.ts'
import { allocExtent, extentFree } from '../space/alloc.ts'
import { rmapUpdate } from '../space/rmap.ts'
import type { Transaction } from '../tx/transaction.ts'
import type { BlockReader, Volume } from '../volume.ts'

/**
 * The formats of an inode fork: the place of its extent records, and the conversions.
 *
 *   local     the content itself (short directories, symbolic links, attributes)
 *   extents   records in the inode                 │ rec │ rec │ …
 *   btree     the root of a bmbt                   │ level numrecs │ key key … ┊ ptr ptr … │
 *
 * In a root in an inode, the pointers begin after the space for the maximum number of keys of the
 * fork.
 */

const { startoff } = BmbtRec.fields
/** Bytes of a key and of a pointer in nodes of a bmbt and in its root. */
const { keySize: KEY, ptrSize: PTR } = treeForms.bmbt

/** Extent records of a fork in one buffer: in the inode itself, or in a leaf of its bmbt. */
interface ForkLeaf {
  readonly view: DataView
  /** The start of the first record. */
  readonly at: number
  readonly count: number
  /** The last record that begins at or before the requested offset; −1 for none. */
  readonly index: number
}

/**
 * The leaves of a fork, from the one that contains or would contain a record for `offset`. The fork
 * must not change meanwhile. @throws XfsError CORRUPT, BADCRC
 */
export function* leaves(inode: Inode, fork: ForkName, offset: number, reader: BlockReader): Generator<ForkLeaf> {
  if (forkSize(inode, fork) === 0) return
  switch (forkFormat(inode, fork)) {
    case FORK_FORMATS.extents: {
      const leaf = { view: inode.view, at: forkStart(inode, fork), count: extentCount(inode, fork) }
      yield { ...leaf, index: indexBefore(leaf, offset) }
      break
    }
    case FORK_FORMATS.btree: {
      const path = new Path(openForkTree('bmbt', inode, fork, reader))
      const level = path.descend(offset)
      let index = level.index - 1
      do {
        yield { view: level.view, at: path.recAt(level, 0), count: countOf(level), index }
        index = -1
      } while (path.cross(0, 1))
      break
    }
  }
}

/** Index of the last record in the inode that begins at or before `offset`; −1 for none. */
export function indexBefore({ view, at, count }: Omit<ForkLeaf, 'index'>, offset: number): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (startoff.get(view, at + middle * BmbtRec.size) > offset) high = middle
    else low = middle + 1
  }
  return low - 1
}

/** Reject a file whose blocks are on the realtime device. */
export function refuseRealtime(inode: Inode, fork: ForkName): void {
  if (fork === 'data' && inode.realtime) {
    throw new XfsError('UNSUPPORTED', `inode ${inode.ino} has its data on the realtime device`, {
      type: 'inode',
      ino: inode.ino,
    })
  }
}

// ------------------------------------------------------------------------------ the tree of a fork

/** The block of an inode: its file is allocated near it. */
export function inodeBlock(inode: Inode): number {
  const { geometry } = inode.volume
  return geometry.fsbno(inode.agno, geometry.aginoAgbno(inode.agino))
}

const inlineRoot = (tree: ForkTreeName, inode: Inode, fork: ForkName): InlineRoot => ({
  inline: true,
  origin: `the ${fork} fork of inode ${inode.ino}`,
  block: () => ({ view: inode.view, at: forkStart(inode, fork), maxrecs: rootMaxRecords(forkSize(inode, fork), tree) }),
  edit: (tx) => void editInode(tx, inode),
})

/** Blocks of a file's bmbt: near the inode, owned by it, counted in nblocks. */
const bmbtSpace = (inode: Inode, fork: ForkName): Space => ({
  alloc(tx, near) {
    const wish = near > 0 ? near : inodeBlock(inode)
    const { fsbno } = allocExtent(tx, { near: wish, minLength: 1, maxLength: 1, reserve: 'none' })
    addBlocks(tx, inode, 1)
    tx.defer(rmapUpdate, { op: 'map', owner: inode.ino, fork, bmbtblock: true, startoff: 0, fsbno, blockcount: 1 })
    return fsbno
  },
  free(tx, ptr) {
    addBlocks(tx, inode, -1)
    tx.defer(rmapUpdate, {
      op: 'unmap',
      owner: inode.ino,
      fork,
      bmbtblock: true,
      startoff: 0,
      fsbno: ptr,
      blockcount: 1,
    })
    tx.defer(extentFree, { fsbno: ptr, blockcount: 1 })
  },
})

/** The bmbt of a fork, for changing. */
export function bmbtTree(tx: Transaction, inode: Inode, fork: ForkName): ForkTree<'bmbt'> {
  editInode(tx, inode)
  return { ...openForkTree('bmbt', inode, fork, tx), space: bmbtSpace(inode, fork) }
}

/** The tree of a fork, for reading and for walks. */
export function openForkTree<N extends ForkTreeName>(
  name: N,
  inode: Inode,
  fork: ForkName,
  reader: BlockReader = inode.volume,
): ForkTree<N> {
  return {
    ops: treeOps[name],
    geometry: inode.volume.geometry,
    agno: -1,
    owner: inode.ino,
    root: inlineRoot(name, inode, fork),
    reader,
  }
}

interface RootContent {
  readonly level: number
  /** [key, pointer] */
  readonly entries: readonly (readonly [number, number])[]
}

function readRoot(inode: Inode, fork: ForkName): RootContent {
  const { view } = inode
  const start = forkStart(inode, fork)
  const most = rootMaxRecords(forkSize(inode, fork))
  const count = BmdrBlock.fields.numrecs.get(view, start)
  if (count < 1 || count > most)
    throw inodeError(inode.ino, `${count} keys in the btree root of the ${fork} fork, maximum ${most}`)
  const keys = start + BmdrBlock.size
  const entries = Array.from(
    { length: count },
    (_, i) => [get64(view, keys + i * KEY), get64(view, keys + most * KEY + i * PTR)] as const,
  )
  return { level: BmdrBlock.fields.level.get(view, start), entries }
}

function writeRoot(tx: Transaction, inode: Inode, fork: ForkName, { level, entries }: RootContent): void {
  const view = editInode(tx, inode)
  const start = forkStart(inode, fork)
  const size = forkSize(inode, fork)
  const most = rootMaxRecords(size)
  assert(entries.length <= most, `a btree root of ${entries.length} keys in a fork of ${size} bytes`)
  bytesAt(view, start, size).fill(0)
  BmdrBlock.encode(view, start, { level, numrecs: entries.length })
  entries.forEach(([key, ptr], i) => {
    set64(view, start + BmdrBlock.size + i * KEY, key)
    set64(view, start + BmdrBlock.size + most * KEY + i * PTR, ptr)
  })
}

/** Allocate a block for the fork's bmbt. */
function newTreeBlock(
  tx: Transaction,
  inode: Inode,
  fork: ForkName,
  level: number,
  count: number,
): { ptr: number; view: DataView } {
  const { geometry } = tx.volume
  const ptr = bmbtSpace(inode, fork).alloc(tx, inodeBlock(inode))
  const daddr = geometry.fsbToDaddr(ptr)
  const { view } = tx.create(blockTypes.bmbt, daddr, geometry.blocksize)
  initBlock(view, { ops: treeOps.bmbt, geometry, owner: inode.ino }, level, count, daddr)
  return { ptr, view }
}

/**
 * Move the records of a fork from the inode into the first leaf of a bmbt. @throws XfsError NOSPC
 */
export function extentsToBtree(tx: Transaction, inode: Inode, fork: ForkName): void {
  const count = extentCount(inode, fork)
  const { geometry } = tx.volume
  const { ptr, view } = newTreeBlock(tx, inode, fork, 0, count)
  const from = forkStart(inode, fork)
  const records = inode.buf.bytes.subarray(from, from + count * BmbtRec.size)
  bytesAt(view, geometry.longHeader, records.length).set(records)
  const first = count === 0 ? 0 : startoff.get(view, geometry.longHeader)
  setForkFormat(tx, inode, fork, FORK_FORMATS.btree)
  writeRoot(tx, inode, fork, { level: 1, entries: [[first, ptr]] })
}

/**
 * Move the records of a bmbt with one leaf into the inode, if they fit; a larger bmbt stays.
 */
export function btreeToExtents(tx: Transaction, inode: Inode, fork: ForkName): void {
  const { level, entries } = readRoot(inode, fork)
  const [only] = entries
  if (level !== 1 || entries.length !== 1 || !only) return
  const [, ptr] = only
  const { geometry } = tx.volume
  const { buf } = new Path(openForkTree('bmbt', inode, fork, tx)).edge(false)
  if (!buf) return
  const count = LongBlock.fields.numrecs.get(buf.view, 0)
  const size = forkSize(inode, fork)
  if (count !== extentCount(inode, fork))
    throw inodeError(
      inode.ino,
      `${count} extents in the bmbt of the ${fork} fork, nextents is ${extentCount(inode, fork)}`,
    )
  if (count * BmbtRec.size > size) return
  const records = buf.bytes.slice(geometry.longHeader, geometry.longHeader + count * BmbtRec.size)
  editInode(tx, inode)
  const from = forkStart(inode, fork)
  inode.buf.bytes
    .subarray(from, from + size)
    .fill(0)
    .set(records)
  setForkFormat(tx, inode, fork, FORK_FORMATS.extents)
  tx.invalidate(buf.daddr)
  bmbtSpace(inode, fork).free(tx, ptr)
}

/**
 * Move the root of a fork's bmbt into a new block, below a root with one key. @throws XfsError
 * NOSPC
 */
function pushRootDown(tx: Transaction, inode: Inode, fork: ForkName): void {
  const { level, entries } = readRoot(inode, fork)
  const { geometry } = tx.volume
  const { ptr, view } = newTreeBlock(tx, inode, fork, level, entries.length)
  const keys = geometry.longHeader
  const ptrs = keys + maxRecords(geometry, 'bmbt', 1) * KEY
  entries.forEach(([key, child], i) => {
    set64(view, keys + i * KEY, key)
    set64(view, ptrs + i * PTR, child)
  })
  writeRoot(tx, inode, fork, { level: level + 1, entries: [[entries[0]?.[0] ?? 0, ptr]] })
}

// ----------------------------------------------------------------- start of the attribute fork

/** Minimum number of keys of a root in the data and in the attribute fork. */
const MIN_DATA_ROOT = BmdrBlock.size + 3 * (KEY + PTR)
const MIN_ATTR_ROOT = BmdrBlock.size + 2 * (KEY + PTR)
const DEV_FORKOFF = 1

/**
 * The offset (in 8 bytes) of an attribute fork that is created without knowing its contents.
 */
export const defaultForkoff = (inode: Inode): number =>
  forkFormat(inode, 'data') === FORK_FORMATS.dev ? DEV_FORKOFF : usualForkoff(inode.volume)

/** The same for all except special files. */
export function usualForkoff(volume: Volume): number {
  const offset =
    volume.geometry.inodesize === 256 ? literalSize(volume) - MIN_ATTR_ROOT : BmdrBlock.size + 12 * (KEY + PTR)
  return Math.floor(offset / FORKOFF_UNIT)
}

/** Bytes that the data fork currently needs in the inode. */
function dataBytes(inode: Inode): number {
  switch (forkFormat(inode, 'data')) {
    case FORK_FORMATS.local:
      return inode.roundedSize
    case FORK_FORMATS.extents:
      return extentCount(inode, 'data') * BmbtRec.size
    case FORK_FORMATS.btree:
      return BmdrBlock.size + readRoot(inode, 'data').entries.length * (KEY + PTR)
    default:
      return 8
  }
}

/**
 * The offset of the attribute fork (in 8 bytes) with which `bytes` of attributes fit into the
 * inode; 0: they do not fit. Source: xfs_attr_leaf.c, xfs_attr_shortform_bytesfit.
 */
export function forkoffFor(inode: Inode, bytes: number): number {
  const literal = literalSize(inode.volume)
  if (bytes > literal) return 0
  const offset = Math.floor((literal - bytes) / FORKOFF_UNIT)
  const format = forkFormat(inode, 'data')
  if (format === FORK_FORMATS.dev) return offset >= DEV_FORKOFF ? DEV_FORKOFF : 0
  const { forkoff } = inode
  if (hasAttrFork(inode) && bytes <= forkSize(inode, 'attr')) return forkoff
  if (format === FORK_FORMATS.btree && forkoff !== 0) return offset < forkoff ? 0 : forkoff
  let used = dataBytes(inode)
  if (format === FORK_FORMATS.extents && forkoff === 0 && used > defaultForkoff(inode) * FORKOFF_UNIT)
    used = MIN_DATA_ROOT
  const least = Math.ceil(Math.max(used, MIN_DATA_ROOT) / FORKOFF_UNIT)
  const most = Math.floor((literal - MIN_ATTR_ROOT) / FORKOFF_UNIT)
  if (offset >= most) return most
  return offset >= least ? offset : 0
}

/**
 * Set the offset of the attribute fork (0: remove the fork, which must be empty). Extents that no
 * longer fit are moved into a bmbt, a btree root that no longer fits is moved into a block. The
 * caller ensures that local content fits.
 * @throws XfsError NOSPC
 */
export function setForkoff(tx: Transaction, inode: Inode, forkoff: number): void {
  if (forkoff === inode.forkoff) return
  const view = editInode(tx, inode)
  const literal = literalSize(inode.volume)
  const room = {
    data: forkoff === 0 ? literal : forkoff * FORKOFF_UNIT,
    attr: forkoff === 0 ? 0 : literal - forkoff * FORKOFF_UNIT,
  }
  assert(forkoff >= 0 && room.data <= literal, `an attribute fork at ${forkoff}`)
  const forks = hasAttrFork(inode) && forkoff !== 0 ? (['data', 'attr'] as const) : (['data'] as const)
  const restore = forks.map((fork) => takeFork(tx, inode, fork, room[fork]))
  const start = inode.at + inode.volume.geometry.coresize
  bytesAt(view, start, literal).fill(0)
  const hadAttr = hasAttrFork(inode)
  Dinode.fields.forkoff.set(view, inode.at, forkoff)
  for (const put of restore) put()
  if (forkoff === 0 || !hadAttr) {
    setForkFormat(tx, inode, 'attr', FORK_FORMATS.extents)
    setExtentCount(tx, inode, 'attr', 0)
  }
  for (const fork of forks) {
    if (
      forkFormat(inode, fork) === FORK_FORMATS.btree &&
      extentCount(inode, fork) * BmbtRec.size <= forkSize(inode, fork)
    )
      btreeToExtents(tx, inode, fork)
  }
}

/**
 * Make a fork fit into `room` bytes and remove its content; the result writes it to the fork's new
 * place.
 */
function takeFork(tx: Transaction, inode: Inode, fork: ForkName, room: number): () => void {
  if (forkFormat(inode, fork) === FORK_FORMATS.extents && extentCount(inode, fork) * BmbtRec.size > room)
    extentsToBtree(tx, inode, fork)
  if (forkFormat(inode, fork) === FORK_FORMATS.btree) {
    if (readRoot(inode, fork).entries.length > rootMaxRecords(room)) pushRootDown(tx, inode, fork)
    const root = readRoot(inode, fork)
    return () => writeRoot(tx, inode, fork, root)
  }
  const from = forkStart(inode, fork)
  const size = forkSize(inode, fork)
  const content = inode.buf.bytes.slice(from, from + Math.min(size, room))
  const rest = inode.buf.bytes.subarray(from + content.length, from + size)
  const local = forkFormat(inode, fork) === FORK_FORMATS.local
  assert(
    !local || fork === 'attr' || inode.roundedSize <= room,
    `${inode.roundedSize} bytes of inode ${inode.ino} do not fit into ${room}`,
  )
  assert(
    !(local && fork === 'attr') || attrBytes(content) <= room,
    `the attributes of inode ${inode.ino} do not fit into ${room} bytes`,
  )
  assert(
    local || rest.length === 0 || forkFormat(inode, fork) !== FORK_FORMATS.dev || room >= DevFork.size,
    'a device number does not fit',
  )
  return () => {
    const to = forkStart(inode, fork)
    inode.buf.bytes.set(content, to)
  }
}

/** `totsize` of shortform attributes. */
const attrBytes = (content: Uint8Array): number =>
  content.length < AttrSfHdr.size ? 0 : AttrSfHdr.fields.totsize.get(new DataView(content.buffer), 0)

/**
 * Add an attribute fork to the inode, with the default size next to the data fork. @throws XfsError
 * NOSPC
 */
export function addAttrFork(tx: Transaction, inode: Inode): void {
  if (!hasAttrFork(inode)) setForkoff(tx, inode, defaultForkoff(inode))
}
