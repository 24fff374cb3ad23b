import { XfsError } from '../errors.ts'
import { Dinode } from '../format/dinode.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { BLF_CHUNK, BLF_MAP_WORDS, BLF_TYPE_SHIFT, BlfFlags, BlfTypes, BufLogFormat } from '../format/logitems.ts'
import { compareLsn, isLsn, readLsn } from '../format/lsn.ts'
import { Superblock } from '../format/sb.ts'
import { treeNames } from '../format/trees.ts'
import type { BlockType } from '../format/verify/blocktype.ts'
import { blockTypes, readMagic } from '../format/verify/blocktypes.ts'
import { stampInode } from '../format/verify/stamp.ts'
import { uuidFault } from '../format/verify/units.ts'
import { viewOf } from '../util/view.ts'
import { logError } from './operations.ts'
import type { ReplayPlace } from './replayplace.ts'
import type { LogPosition } from './ring.ts'
import type { LoggedItem } from './transactions.ts'

/**
 * Replaying a buffer: the logged parts of a block are copied to their places, unless the block on
 * disk is as new.
 *
 *   map      0 0 1 1 1 0 0 1      a bit for 128 bytes
 *   region       └───┘     └─     the bytes of each sequence of set bits, in one or more regions
 *
 * The block then gets the LSN of the transaction, and a checksum: in the log it has neither. Inodes
 * and quota records have their own, which are logged, too.
 *
 * In a buffer of inodes only `next_unlinked` is replayed. All else of inodes is in inode items.
 *
 * Source: fs/xfs/xfs_buf_item_recover.c.
 */
export interface BufferChange {
  readonly flags: number
  readonly daddr: number
  /** Basic blocks. */
  readonly length: number
  /** Where in the buffer each region of the item belongs, in bytes. */
  readonly places: readonly number[]
}

const { flags, len, map_size, data_map } = BufLogFormat.big.fields
const WORD = Uint32Array.BYTES_PER_ELEMENT

/** Take an item apart. @throws XfsError CORRUPT */
export function bufferChange({ order, regions }: LoggedItem): BufferChange {
  const [format = new Uint8Array(0), ...logged] = regions
  const view = viewOf(format)
  const little = order === 'little'
  const words = format.length < data_map.offset ? BLF_MAP_WORDS + 1 : view.getUint32(map_size.offset, little)
  if (words > BLF_MAP_WORDS || data_map.offset + words * WORD > format.length)
    throw logError(`a buffer has a format of ${format.length} bytes`)
  const daddr = BufLogFormat[order].fields.blkno.get(view, 0)
  const length = view.getUint16(len.offset, little)
  if (!Number.isSafeInteger(daddr * BASIC_BLOCK) || daddr < 0) throw logError(`a buffer is at basic block ${daddr}`)
  const change = { flags: view.getUint16(flags.offset, little), daddr, length }
  if ((change.flags & BlfFlags.cancel) !== 0) return { ...change, places: [] }
  const isSet = (bit: number): boolean =>
    bit < words * 32 && ((view.getUint32(data_map.offset + (bit >>> 5) * WORD, little) >>> (bit & 31)) & 1) !== 0
  const places: number[] = []
  let bit = 0
  for (const region of logged) {
    while (bit < words * 32 && !isSet(bit)) bit++
    places.push(bit * BLF_CHUNK)
    if (region.length === 0 || region.length % BLF_CHUNK !== 0)
      throw logError(`the buffer at ${daddr} has a region of ${region.length} bytes`)
    const end = bit + region.length / BLF_CHUNK
    while (bit < end && isSet(bit)) bit++
    if (bit < end || bit * BLF_CHUNK > length * BASIC_BLOCK)
      throw logError(`the buffer at ${daddr} is logged with the wrong number of bytes`)
  }
  while (bit < words * 32 && !isSet(bit)) bit++
  if (bit < words * 32) throw logError(`the buffer at ${daddr} is logged without some of its bytes`)
  return { ...change, places }
}

/** The names of `BlfTypes` by their codes. */
const typeNames = new Map(Object.entries(BlfTypes).map(([name, code]) => [code as number, name]))
const treeTypes: ReadonlySet<string> = new Set(treeNames)
const QUOTA = BlfFlags.userQuota | BlfFlags.projectQuota | BlfFlags.groupQuota

/** Types whose blocks have an LSN of their own, which is that of the last change. */
const dated = Object.values<BlockType>(blockTypes).filter(
  (type) => type.lsnOffset !== undefined && type.magic !== undefined && !type.unit,
)

/** The type of a block that has an LSN, by its magic number. */
const datedType = (view: DataView): BlockType | undefined =>
  dated.find((type) => type.magics.includes(readMagic(type, view, 0)))

/**
 * Replay a buffer into `place`.
 * @param quotas  quota types that are in use, as flags of a buffer
 * @returns false if nothing was changed
 * @throws XfsError CORRUPT
 */
export function replayBuffer(
  place: ReplayPlace,
  change: BufferChange,
  regions: readonly Uint8Array[],
  quotas: number,
): boolean {
  const { geometry, device, lsn } = place
  const { daddr, length } = change
  const position = daddr * BASIC_BLOCK
  if (position + length * BASIC_BLOCK > device.size)
    throw logError(`basic block ${daddr} is out of range for the image`)
  const bytes = new Uint8Array(length * BASIC_BLOCK)
  device.read(bytes, position)
  const view = viewOf(bytes)
  const before = datedType(view)
  if (before && isOurs(before, view, geometry) && replayed(view, before.lsnOffset as number, lsn)) return false
  if ((change.flags & BlfFlags.inode) !== 0) replayUnlinked(view, change, regions, geometry)
  else if ((change.flags & QUOTA) !== 0 && (change.flags & QUOTA & quotas) === 0) return false
  else {
    for (const [i, at] of change.places.entries()) bytes.set(regions[i + 1] as Uint8Array, at)
    const type = datedType(view)
    if (type && isLoggedAs(type, change.flags)) place.stampLater(daddr, bytes.length, type)
  }
  device.write(bytes, position)
  return true
}

function isLoggedAs(type: BlockType, bufferFlags: number): boolean {
  const name = typeNames.get(bufferFlags >>> BLF_TYPE_SHIFT)
  return name === 'btree' ? treeTypes.has(type.name) : name === type.name
}

/** True if a block has the change of `lsn`, or a later one. */
function replayed(view: DataView, at: number, lsn: LogPosition): boolean {
  const found = readLsn(view, at)
  return isLsn(found) && compareLsn(found, lsn) >= 0
}

/** False for a block of an earlier filesystem: its LSN means nothing. */
function isOurs(type: BlockType, view: DataView, geometry: Geometry): boolean {
  if (type === blockTypes.sb) return Superblock.fields.uuid.get(view, 0) === geometry.sb.uuid
  return type.uuidOffset === undefined || uuidFault(view, type.uuidOffset, geometry) === undefined
}

function replayUnlinked(
  view: DataView,
  { daddr, places }: BufferChange,
  regions: readonly Uint8Array[],
  geometry: Geometry,
): void {
  const next = Dinode.fields.next_unlinked
  for (const [i, at] of places.entries()) {
    const region = viewOf(regions[i + 1] as Uint8Array)
    const first = Math.ceil((at - next.offset) / geometry.inodesize)
    for (let inode = Math.max(0, first) * geometry.inodesize; ; inode += geometry.inodesize) {
      const from = inode - at
      if (from + next.offset + next.size > region.byteLength) break
      const value = next.get(region, from)
      if (value === 0)
        throw new XfsError('CORRUPT', `the log: the buffer of inodes at ${daddr} has a next_unlinked of 0`, { daddr })
      next.set(view, inode, value)
      stampInode(view, inode, geometry)
    }
  }
}
