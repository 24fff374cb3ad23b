import { OWNERS, type RmapRec } from '../../format/btrecs.ts'
import { get64, set64 } from '../../format/struct.ts'
import { blockTypes } from '../../format/verify.ts'
import type { BtreeOps, HighKeys } from '../ops.ts'
import { checkExtent } from './bnobt.ts'

/**
 * What reverse mappings sort by: block, owner, then fork, bmbt bit and offset. A record is its own low key; the unwritten bit is
 * not part of it. Owners sort as unsigned numbers, so that the special ones (−3 …) come after every inode.
 */
export type RmapKey = Pick<RmapRec, 'startblock' | 'owner' | 'attrfork' | 'bmbtblock' | 'offset'>

/** The first key for a block: every record that begins there or later is not below it. */
export const firstRmapKey = (startblock: number): RmapKey => ({
  startblock,
  owner: 0,
  attrfork: 0,
  bmbtblock: 0,
  offset: 0,
})

/** The last key for a block. With `firstRmapKey` it makes the range of a query for blocks. */
export const lastRmapKey = (startblock: number): RmapKey => ({
  startblock,
  owner: OWNERS.null,
  attrfork: 1,
  bmbtblock: 1,
  offset: MAX_OFFSET - 1,
})

const MAX_OFFSET = 2 ** 54
/** The unwritten bit in the high word of an offset; of the flags above it, and of the offset proper. */
const UNWRITTEN = 0x20000000
const BMBT = 0x40000000
const FLAGS = 0xc0000000
const OFFSET_HI = 0x003fffff

const compareOwners = (a: number, b: number): number => (a < 0 === b < 0 ? a - b : a < 0 ? 1 : -1)

const compare = (a: RmapKey, b: RmapKey): number =>
  a.startblock - b.startblock ||
  compareOwners(a.owner, b.owner) ||
  a.attrfork - b.attrfork ||
  a.bmbtblock - b.bmbtblock ||
  a.offset - b.offset

/** `owner` is at `at`, the offset word after it: the part that records and keys have in common. */
function comparePlace(view: DataView, at: number, key: RmapKey): number {
  const owner = compareOwners(get64(view, at), key.owner)
  if (owner !== 0) return owner
  const hi = view.getUint32(at + 8)
  return (
    (hi >>> 31) - key.attrfork ||
    ((hi >>> 30) & 1) - key.bmbtblock ||
    (hi & OFFSET_HI) * 2 ** 32 + view.getUint32(at + 12) - key.offset
  )
}

function comparePlaces(a: DataView, aAt: number, b: DataView, bAt: number): number {
  return (
    a.getUint32(aAt) - b.getUint32(bAt) ||
    a.getUint32(aAt + 4) - b.getUint32(bAt + 4) ||
    ((a.getUint32(aAt + 8) & ~UNWRITTEN) >>> 0) - ((b.getUint32(bAt + 8) & ~UNWRITTEN) >>> 0) ||
    a.getUint32(aAt + 12) - b.getUint32(bAt + 12)
  )
}

const compareKeys = (a: DataView, aAt: number, b: DataView, bAt: number): number =>
  a.getUint32(aAt) - b.getUint32(bAt) || comparePlaces(a, aAt + 4, b, bAt + 4)

/** Does the offset advance along the record? Not for special owners and bmbt blocks. */
const advances = (view: DataView, at: number): boolean =>
  view.getInt32(at + 8) >= 0 && (view.getUint32(at + 16) & BMBT) === 0

/** The last key that the record covers. */
function writeHigh(view: DataView, at: number, to: DataView, toAt: number): void {
  const more = view.getUint32(at + 4) - 1
  to.setUint32(toAt, view.getUint32(at) + more)
  to.setUint32(toAt + 4, view.getUint32(at + 8))
  to.setUint32(toAt + 8, view.getUint32(at + 12))
  const hi = view.getUint32(at + 16)
  const lo = view.getUint32(at + 20)
  if (!advances(view, at)) {
    to.setUint32(toAt + 12, hi & ~UNWRITTEN)
    to.setUint32(toAt + 16, lo)
    return
  }
  const offset = (hi & OFFSET_HI) * 2 ** 32 + lo + more
  to.setUint32(toAt + 12, (hi & FLAGS) | (Math.floor(offset / 2 ** 32) & OFFSET_HI))
  to.setUint32(toAt + 16, offset >>> 0)
}

/** As `compareKeys` of the record's last key and `key`, without writing it. */
function compareHigh(view: DataView, at: number, key: DataView, keyAt: number): number {
  const more = view.getUint32(at + 4) - 1
  const order =
    view.getUint32(at) + more - key.getUint32(keyAt) ||
    view.getUint32(at + 8) - key.getUint32(keyAt + 4) ||
    view.getUint32(at + 12) - key.getUint32(keyAt + 8)
  if (order !== 0) return order
  const hi = view.getUint32(at + 16)
  const keyHi = key.getUint32(keyAt + 12)
  const flags = (hi >>> 30) - (keyHi >>> 30)
  if (flags !== 0) return flags
  const offset = (hi & OFFSET_HI) * 2 ** 32 + view.getUint32(at + 20) + (advances(view, at) ? more : 0)
  return offset - ((keyHi & OFFSET_HI) * 2 ** 32 + key.getUint32(keyAt + 16))
}

const high: HighKeys<RmapKey> = {
  ofRecords: (view, at, count, stride, to, toAt) => {
    writeHigh(view, at, to, toAt)
    for (let i = 1; i < count; i++) {
      const rec = at + i * stride
      if (compareHigh(view, rec, to, toAt) > 0) writeHigh(view, rec, to, toAt)
    }
  },
  ofKeys: (view, at, count, stride, to, toAt) => {
    let best = at
    for (let i = 1; i < count; i++) {
      const key = at + i * stride
      if (compareKeys(view, key, view, best) > 0) best = key
    }
    for (let i = 0; i < 20; i += 4) to.setUint32(toAt + i, view.getUint32(best + i))
    to.setUint32(toAt + 12, view.getUint32(best + 12) & ~UNWRITTEN)
  },
  compareRec: compareHigh,
  compare: (view, at, key) => {
    const more = view.getUint32(at + 4) - 1
    const order = view.getUint32(at) + more - key.startblock || compareOwners(get64(view, at + 8), key.owner)
    if (order !== 0) return order
    const hi = view.getUint32(at + 16)
    const offset = (hi & OFFSET_HI) * 2 ** 32 + view.getUint32(at + 20) + (advances(view, at) ? more : 0)
    return (hi >>> 31) - key.attrfork || ((hi >>> 30) & 1) - key.bmbtblock || offset - key.offset
  },
}

/** Who owns which blocks. Records overlap where blocks are shared. */
export const rmapbt: BtreeOps<RmapRec, RmapKey> = {
  name: 'rmapbt',
  type: blockTypes.rmapbt,
  recSize: 24,
  keySize: 20,
  ptrSize: 4,
  overlapping: true,
  high,
  readRec: (view, at) => {
    const hi = view.getUint32(at + 16)
    return {
      startblock: view.getUint32(at),
      blockcount: view.getUint32(at + 4),
      owner: get64(view, at + 8),
      attrfork: hi >>> 31,
      bmbtblock: (hi >>> 30) & 1,
      extentflag: (hi >>> 29) & 1,
      reserved: (hi >>> 22) & 0x7f,
      offset: (hi & OFFSET_HI) * 2 ** 32 + view.getUint32(at + 20),
    }
  },
  writeRec: (view, at, rec) => {
    view.setUint32(at, rec.startblock)
    view.setUint32(at + 4, rec.blockcount)
    set64(view, at + 8, rec.owner)
    const hi = Math.floor(rec.offset / 2 ** 32) & OFFSET_HI
    view.setUint32(at + 16, (rec.attrfork << 31) | (rec.bmbtblock << 30) | (rec.extentflag << 29) | hi)
    view.setUint32(at + 20, rec.offset >>> 0)
  },
  readKey: (view, at) => {
    const hi = view.getUint32(at + 12)
    return {
      startblock: view.getUint32(at),
      owner: get64(view, at + 4),
      attrfork: hi >>> 31,
      bmbtblock: (hi >>> 30) & 1,
      offset: (hi & OFFSET_HI) * 2 ** 32 + view.getUint32(at + 16),
    }
  },
  lowKey: (rec) => rec,
  highKey: (rec) => ({
    startblock: rec.startblock + rec.blockcount - 1,
    owner: rec.owner,
    attrfork: rec.attrfork,
    bmbtblock: rec.bmbtblock,
    offset: rec.owner < 0 || rec.bmbtblock === 1 ? rec.offset : rec.offset + rec.blockcount - 1,
  }),
  compare,
  compareRec: (view, at, key) => view.getUint32(at) - key.startblock || comparePlace(view, at + 8, key),
  compareKey: (view, at, key) => view.getUint32(at) - key.startblock || comparePlace(view, at + 4, key),
  compareKeys,
  compareRecs: (a, aAt, b, bAt) => a.getUint32(aAt) - b.getUint32(bAt) || comparePlaces(a, aAt + 8, b, bAt + 8),
  copyKey: (view, at, to, toAt) => {
    to.setUint32(toAt, view.getUint32(at))
    to.setUint32(toAt + 4, view.getUint32(at + 8))
    to.setUint32(toAt + 8, view.getUint32(at + 12))
    to.setUint32(toAt + 12, view.getUint32(at + 16) & ~UNWRITTEN)
    to.setUint32(toAt + 16, view.getUint32(at + 20))
  },
  check: (rec, geometry, agno) => {
    const inode = rec.owner >= 0
    if (rec.blockcount === 0) return 'no blocks'
    if (rec.startblock < geometry.headerBlocks) {
      if (rec.owner !== OWNERS.fs) return `owner ${rec.owner} has blocks of the group's headers`
      if (rec.startblock !== 0 || rec.blockcount !== geometry.headerBlocks) {
        return `blocks ${rec.startblock}+${rec.blockcount} for the group's headers, expected 0+${geometry.headerBlocks}`
      }
    } else {
      const bad = checkExtent(rec.startblock, rec.blockcount, geometry, agno)
      if (bad) return bad
    }
    if (inode ? !geometry.validIno(rec.owner) : rec.owner < OWNERS.cow || rec.owner > OWNERS.fs)
      return `owner ${rec.owner}`
    if (rec.reserved !== 0) return 'reserved bits are set'
    if ((!inode || rec.bmbtblock === 1) && rec.offset !== 0)
      return `offset ${rec.offset} for blocks that are no mapping`
    if (!inode && (rec.attrfork === 1 || rec.bmbtblock === 1 || rec.extentflag === 1))
      return `flags with owner ${rec.owner}`
    if (rec.extentflag === 1 && (rec.bmbtblock === 1 || rec.attrfork === 1)) return 'unwritten, but not data of a file'
    if (inode && rec.offset + rec.blockcount > MAX_OFFSET) return `ends at file block ${rec.offset + rec.blockcount}`
    return undefined
  },
}
