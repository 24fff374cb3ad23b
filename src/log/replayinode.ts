import { BmdrBlock, LONG_BLOCK_SIZE_V4, LongBlock } from '../format/btblock.ts'
import {
  DevFork,
  DIFLAGS2,
  DINODE_MAGIC,
  Dinode,
  FILE_TYPES,
  FORK_FORMATS,
  FORKOFF_UNIT,
  flags2Of,
  S_IFMT,
} from '../format/dinode.ts'
import { forkShape } from '../format/forkshape.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import type { ByteOrder } from '../format/hostorder.ts'
import { ILOG_FIELDS, InodeLogFormat, InodeLogFormat32, LogDinode } from '../format/logitems.ts'
import { compareLsn, isLsn } from '../format/lsn.ts'
import { treeForms } from '../format/trees.ts'
import { rootMaxRecords } from '../format/treesizes.ts'
import { stampInode } from '../format/verify/stamp.ts'
import { viewOf } from '../util/view.ts'
import { logError } from './operations.ts'
import { changeOwner } from './replayowner.ts'
import type { ReplayPlace } from './replayplace.ts'
import type { LoggedItem } from './transactions.ts'

/**
 * Replaying an inode: its core and what was logged of its forks.
 *
 *   format │ core │ [data fork] │ [attribute fork]
 *
 * The core is in the writer's byte order, and does not contain `next_unlinked`: buffers of inodes
 * have it. Forks are as on disk, but for the root of a bmbt, which is a complete btree block in
 * memory.
 *
 * Source: fs/xfs/xfs_inode_item_recover.c.
 */
export interface InodeChange {
  readonly fields: number
  readonly ino: number
  readonly rdev: number
  /** The buffer of inodes, and the inode's place in it. */
  readonly daddr: number
  readonly length: number
  readonly offset: number
}

const { fields: core } = Dinode
const MAX_REGIONS = 4

/** The format of an item, with its sizes checked. @throws XfsError CORRUPT */
export function inodeChange({ order, regions }: LoggedItem, geometry: Geometry): InodeChange {
  const [format, logged] = regions as [Uint8Array, ...Uint8Array[]]
  const forms = { [InodeLogFormat.size]: InodeLogFormat, [InodeLogFormat32.size]: InodeLogFormat32 }
  const form = forms[format.length]
  if (!form || !logged || regions.length > MAX_REGIONS)
    throw logError(`an inode has a format of ${format.length} bytes and ${regions.length} regions`)
  const { fields, ino, rdev, blkno: daddr, len: length, boffset: offset } = form[order].decode(viewOf(format))
  const buffer = length * BASIC_BLOCK
  if (!(daddr >= 0 && Number.isSafeInteger(daddr * BASIC_BLOCK)) || length <= 0)
    throw logError(`inode ${ino} is in a buffer of ${length} basic blocks at ${daddr}`)
  if (offset < 0 || offset % geometry.inodesize !== 0 || offset + geometry.inodesize > buffer)
    throw logError(`inode ${ino} is at offset ${offset} of its buffer`)
  if (logged.length !== LogDinode.size) throw logError(`inode ${ino} has a core of ${logged.length} bytes`)
  const magic = LogDinode[order].fields.magic.get(viewOf(logged), 0)
  if (magic !== DINODE_MAGIC) throw logError(`inode ${ino} has magic number 0x${magic.toString(16)}`)
  return { fields, ino, rdev, daddr, length, offset }
}

/** Replay an inode into `place`. @returns false if it is newer. @throws XfsError CORRUPT */
export function replayInode(place: ReplayPlace, change: InodeChange, { order, regions }: LoggedItem): boolean {
  const { device, geometry, lsn } = place
  const { fields, ino } = change
  const position = change.daddr * BASIC_BLOCK + change.offset
  if (position + geometry.inodesize > device.size) throw logError(`inode ${ino} is out of range for the image`)
  const bytes = new Uint8Array(geometry.inodesize)
  device.read(bytes, position)
  const view = viewOf(bytes)
  if (core.magic.get(view, 0) !== DINODE_MAGIC)
    throw logError(`inode ${ino} is replayed to basic block ${change.daddr}, where no inode is`)
  const found = core.lsn.get(view, 0)
  const older = !(isLsn(found) && compareLsn(found, lsn) > 0)
  if (older) {
    writeCore(view, regions[1] as Uint8Array, order)
    core.lsn.set(view, 0, lsn)
    checkCore(view, change, geometry)
    if ((fields & ILOG_FIELDS.dev) !== 0) DevFork.fields.dev.set(view, Dinode.size, change.rdev)
    writeForks(view, change, regions.slice(2), geometry)
    stampInode(view, 0, geometry)
    device.write(bytes, position)
  }
  // Also if the inode is newer: the blocks of its btree may be older.
  if (core.mode.get(view, 0) !== 0) {
    if ((fields & ILOG_FIELDS.dataOwner) !== 0) changeOwner(place, view, 'data', ino)
    if ((fields & ILOG_FIELDS.attrOwner) !== 0) changeOwner(place, view, 'attr', ino)
  }
  return older
}

/** Kinds of fields that have no byte order. */
const BYTES: ReadonlySet<string> = new Set(['pad', 'bytes', 'uuid', 'u8', 'x8', 'i8'])
const TIMES: ReadonlySet<string> = new Set(['atime', 'mtime', 'ctime', 'crtime'])
/** Fields that the log does not have, or whose value on disk does not come from there. */
const NOT_LOGGED: ReadonlySet<string> = new Set(['next_unlinked', 'crc', 'lsn', 'pad2'])

/** Write a core from the log: it has the layout of that on disk. */
function writeCore(view: DataView, logged: Uint8Array, order: ByteOrder): void {
  const from = viewOf(logged)
  const flags2 = LogDinode[order].fields.flags2.get(from, 0).lo
  for (const { name, kind, offset, size } of LogDinode.big.list) {
    if (NOT_LOGGED.has(name)) continue
    // Without bigtime a time is two numbers: seconds and nanoseconds.
    const width = TIMES.has(name) && (flags2 & DIFLAGS2.bigtime) === 0 ? size / 2 : size
    const turned = order === 'little' && !BYTES.has(kind)
    for (let i = 0; i < size; i++) {
      const start = i - (i % width)
      view.setUint8(offset + i, from.getUint8(offset + (turned ? start + width - 1 - (i % width) : i)))
    }
  }
  core.pad2.set(view, 0, new Uint8Array(core.pad2.size))
  if ((flags2 & DIFLAGS2.metadata) === 0) core.onlink.set(view, 0, 0)
}

/** What the kernel requires of a core in the log. @throws XfsError CORRUPT */
function checkCore(view: DataView, { ino }: InodeChange, geometry: Geometry): void {
  const type = core.mode.get(view, 0) & S_IFMT
  const format = core.format.get(view, 0)
  const { extents, btree, local } = FORK_FORMATS
  const isFile = type === FILE_TYPES.reg
  if (isFile || type === FILE_TYPES.dir) {
    const fits = format === extents || format === btree || (!isFile && format === local)
    // Files of metadata have btrees of their own.
    if (!fits && (flags2Of(view, 0) & DIFLAGS2.metadata) === 0)
      throw logError(`inode ${ino} has a data fork of format ${format}`)
  }
  const { nextents, anextents } = forkShape(view, 0, geometry)
  if (nextents + anextents > core.nblocks.get(view, 0))
    throw logError(`inode ${ino} has ${nextents + anextents} extents, but ${core.nblocks.get(view, 0)} blocks`)
  if (core.forkoff.get(view, 0) * FORKOFF_UNIT > geometry.inodesize - geometry.coresize)
    throw logError(`inode ${ino} has its attribute fork at ${core.forkoff.get(view, 0)}`)
}

function writeForks(
  view: DataView,
  { ino, fields }: InodeChange,
  forks: readonly Uint8Array[],
  geometry: Geometry,
): void {
  const { dataSize, attrSize } = forkShape(view, 0, geometry)
  const start = geometry.coresize
  const left = [...forks]
  const write = (at: number, size: number, root: number): void => {
    const logged = left.shift()
    if (!logged) return
    const bytes = (fields & root) !== 0 ? rootOf(logged, size, geometry) : logged
    if (bytes.length > size) throw logError(`inode ${ino} has a fork of ${bytes.length} bytes, with space for ${size}`)
    new Uint8Array(view.buffer, view.byteOffset + at, bytes.length).set(bytes)
  }
  const { dataRoot, attrRoot, dataFork, attrFork } = ILOG_FIELDS
  if ((fields & dataFork) !== 0) write(start, dataSize, dataRoot)
  if ((fields & attrFork) !== 0) write(start + dataSize, attrSize, attrRoot)
}

/**
 * The root of a bmbt as on disk, from a btree block in memory.
 * @param size  bytes of the fork
 * @throws XfsError CORRUPT
 */
function rootOf(block: Uint8Array, size: number, geometry: Geometry): Uint8Array {
  const { keyStride, ptrSize } = treeForms.bmbt
  const header = geometry.features.version === 5 ? LongBlock.size : LONG_BLOCK_SIZE_V4
  const view = viewOf(block)
  const room = Math.floor((block.length - header) / (keyStride + ptrSize))
  const most = rootMaxRecords(size)
  const numrecs = room < 0 ? 0 : LongBlock.fields.numrecs.get(view, 0)
  if (numrecs === 0 || numrecs > Math.min(room, most)) throw logError(`a bmbt has a root of ${numrecs} keys`)
  const root = new Uint8Array(BmdrBlock.size + most * (keyStride + ptrSize))
  BmdrBlock.encode(viewOf(root), 0, { level: LongBlock.fields.level.get(view, 0), numrecs })
  const ptrs = header + room * keyStride
  root.set(block.subarray(header, header + numrecs * keyStride), BmdrBlock.size)
  root.set(block.subarray(ptrs, ptrs + numrecs * ptrSize), BmdrBlock.size + most * keyStride)
  return root
}
