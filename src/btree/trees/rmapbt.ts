import { OWNERS, RmapKey, RmapRec } from '../../format/btrecs.ts'
import { get64 } from '../../format/fields.ts'
import { treeForms } from '../../format/trees.ts'
import { blockTypes } from '../../format/verify/blocktypes.ts'
import type { BtreeOps, HighKeys } from '../ops.ts'

/**
 * The sort key of reverse mappings: block, owner, then fork, bmbt bit and offset. A record is its
 * own low key; the unwritten bit is not part of it. Owners sort as unsigned numbers, so the special
 * ones (−3 …) come after all inodes.
 */
export type RmapSortKey = Pick<RmapRec, 'startblock' | 'owner' | 'attrfork' | 'bmbtblock' | 'offset'>

/** The first key for a block: no record that begins there or later is below it. */
export const firstRmapKey = (startblock: number): RmapSortKey => ({
  startblock,
  owner: 0,
  attrfork: 0,
  bmbtblock: 0,
  offset: 0,
})

/** The last key for a block. With `firstRmapKey` it is the range of a query for blocks. */
export const lastRmapKey = (startblock: number): RmapSortKey => ({
  startblock,
  owner: OWNERS.null,
  attrfork: 1,
  bmbtblock: 1,
  offset: MAX_OFFSET - 1,
})

const MAX_OFFSET = 2 ** 54
const rec = RmapRec.fields
const key = RmapKey.fields
/** The word of flags and offset follows the owner, in records and in keys. */
const AFTER_OWNER = rec.offset.offset - rec.owner.offset
const LOW = 4
/** The unwritten bit in the high half of that word; masks of the flags and of the offset. */
const UNWRITTEN = 0x20000000
const BMBT = 0x40000000
const FLAGS = 0xc0000000
const OFFSET_HI = 0x003fffff

const compareOwners = (a: number, b: number): number => (a < 0 === b < 0 ? a - b : a < 0 ? 1 : -1)

const compare = (a: RmapSortKey, b: RmapSortKey): number =>
  a.startblock - b.startblock ||
  compareOwners(a.owner, b.owner) ||
  a.attrfork - b.attrfork ||
  a.bmbtblock - b.bmbtblock ||
  a.offset - b.offset

/** Compare the fields from the owner on at `at`, in a record or a key, with `key`. */
function comparePlace(view: DataView, at: number, key: RmapSortKey): number {
  const owner = compareOwners(get64(view, at), key.owner)
  if (owner !== 0) return owner
  const high = view.getUint32(at + AFTER_OWNER)
  return (
    (high >>> 31) - key.attrfork ||
    ((high >>> 30) & 1) - key.bmbtblock ||
    (high & OFFSET_HI) * 2 ** 32 + view.getUint32(at + AFTER_OWNER + LOW) - key.offset
  )
}

/** Compare two of them. Owners compare as unsigned numbers, so that special ones sort last. */
function comparePlaces(a: DataView, aAt: number, b: DataView, bAt: number): number {
  const aFlags = aAt + AFTER_OWNER
  const bFlags = bAt + AFTER_OWNER
  return (
    a.getUint32(aAt) - b.getUint32(bAt) ||
    a.getUint32(aAt + LOW) - b.getUint32(bAt + LOW) ||
    ((a.getUint32(aFlags) & ~UNWRITTEN) >>> 0) - ((b.getUint32(bFlags) & ~UNWRITTEN) >>> 0) ||
    a.getUint32(aFlags + LOW) - b.getUint32(bFlags + LOW)
  )
}

const compareKeys = (a: DataView, aAt: number, b: DataView, bAt: number): number =>
  key.startblock.get(a, aAt) - key.startblock.get(b, bAt) ||
  comparePlaces(a, aAt + key.owner.offset, b, bAt + key.owner.offset)

/** True if the offset advances along the record. It does not for special owners and bmbt blocks. */
const advances = (view: DataView, at: number): boolean =>
  view.getInt32(at + rec.owner.offset) >= 0 && (view.getUint32(at + rec.offset.offset) & BMBT) === 0

/** Copy owner, flags and offset of the record to the key, without the unwritten bit. */
function copyPlace(view: DataView, at: number, to: DataView, toAt: number): void {
  const from = at + rec.owner.offset
  const into = toAt + key.owner.offset
  to.setUint32(into, view.getUint32(from))
  to.setUint32(into + LOW, view.getUint32(from + LOW))
  to.setUint32(into + AFTER_OWNER, view.getUint32(from + AFTER_OWNER) & ~UNWRITTEN)
  to.setUint32(into + AFTER_OWNER + LOW, view.getUint32(from + AFTER_OWNER + LOW))
}

/** The last key that the record covers. */
function writeHigh(view: DataView, at: number, to: DataView, toAt: number): void {
  const more = rec.blockcount.get(view, at) - 1
  key.startblock.set(to, toAt, rec.startblock.get(view, at) + more)
  copyPlace(view, at, to, toAt)
  if (!advances(view, at)) return
  const high = view.getUint32(at + rec.offset.offset)
  const offset = (high & OFFSET_HI) * 2 ** 32 + view.getUint32(at + rec.offset.offset + LOW) + more
  to.setUint32(toAt + key.offset.offset, (high & FLAGS) | (Math.floor(offset / 2 ** 32) & OFFSET_HI))
  to.setUint32(toAt + key.offset.offset + LOW, offset >>> 0)
}

/** As `compareKeys` of the record's last key and the key at `keyAt`, without writing it. */
function compareHigh(view: DataView, at: number, to: DataView, keyAt: number): number {
  const more = rec.blockcount.get(view, at) - 1
  const owner = at + rec.owner.offset
  const keyOwner = keyAt + key.owner.offset
  const order =
    rec.startblock.get(view, at) + more - key.startblock.get(to, keyAt) ||
    view.getUint32(owner) - to.getUint32(keyOwner) ||
    view.getUint32(owner + LOW) - to.getUint32(keyOwner + LOW)
  if (order !== 0) return order
  const high = view.getUint32(owner + AFTER_OWNER)
  const keyHigh = to.getUint32(keyOwner + AFTER_OWNER)
  const flags = (high >>> 30) - (keyHigh >>> 30)
  if (flags !== 0) return flags
  const low = view.getUint32(owner + AFTER_OWNER + LOW) + (advances(view, at) ? more : 0)
  const keyLow = to.getUint32(keyOwner + AFTER_OWNER + LOW)
  return (high & OFFSET_HI) * 2 ** 32 + low - ((keyHigh & OFFSET_HI) * 2 ** 32 + keyLow)
}

const high: HighKeys<RmapSortKey> = {
  ofRecords: (view, at, count, stride, to, toAt) => {
    // From the end: if records do not overlap, the last one is the highest.
    let next = at + (count - 1) * stride
    writeHigh(view, next, to, toAt)
    while (next > at) {
      next -= stride
      if (compareHigh(view, next, to, toAt) > 0) writeHigh(view, next, to, toAt)
    }
  },
  ofKeys: (view, at, count, stride, to, toAt) => {
    let best = at
    for (let i = 1; i < count; i++) {
      const next = at + i * stride
      if (compareKeys(view, next, view, best) > 0) best = next
    }
    for (let i = 0; i < RmapKey.size; i += 4) to.setUint32(toAt + i, view.getUint32(best + i))
    const flags = key.offset.offset
    to.setUint32(toAt + flags, view.getUint32(best + flags) & ~UNWRITTEN)
  },
  compareRec: compareHigh,
  compare: (view, at, limit) => {
    const more = rec.blockcount.get(view, at) - 1
    const order =
      rec.startblock.get(view, at) + more - limit.startblock || compareOwners(rec.owner.get(view, at), limit.owner)
    if (order !== 0) return order
    const offset = rec.offset.get(view, at) + (advances(view, at) ? more : 0)
    return (
      rec.attrfork.get(view, at) - limit.attrfork ||
      rec.bmbtblock.get(view, at) - limit.bmbtblock ||
      offset - limit.offset
    )
  },
}

/** Owners of blocks. Records overlap if blocks are shared. */
export const rmapbt: BtreeOps<RmapRec, RmapSortKey> = {
  name: 'rmapbt',
  type: blockTypes.rmapbt,
  ...treeForms.rmapbt,
  high,
  readRec: (view, at) => ({
    startblock: rec.startblock.get(view, at),
    blockcount: rec.blockcount.get(view, at),
    owner: rec.owner.get(view, at),
    attrfork: rec.attrfork.get(view, at),
    bmbtblock: rec.bmbtblock.get(view, at),
    extentflag: rec.extentflag.get(view, at),
    offset: rec.offset.get(view, at),
  }),
  writeRec: (view, at, record) => {
    RmapRec.encode(view, at, record)
    rec.reserved.set(view, at, 0)
  },
  readKey: (view, at) => ({
    startblock: key.startblock.get(view, at),
    owner: key.owner.get(view, at),
    attrfork: key.attrfork.get(view, at),
    bmbtblock: key.bmbtblock.get(view, at),
    offset: key.offset.get(view, at),
  }),
  lowKey: (rec) => rec,
  highKey: (rec) => ({
    startblock: rec.startblock + rec.blockcount - 1,
    owner: rec.owner,
    attrfork: rec.attrfork,
    bmbtblock: rec.bmbtblock,
    offset: rec.owner < 0 || rec.bmbtblock === 1 ? rec.offset : rec.offset + rec.blockcount - 1,
  }),
  compare,
  compareRec: (view, at, place) =>
    rec.startblock.get(view, at) - place.startblock || comparePlace(view, at + rec.owner.offset, place),
  compareKey: (view, at, place) =>
    key.startblock.get(view, at) - place.startblock || comparePlace(view, at + key.owner.offset, place),
  compareKeys,
  compareRecs: (a, aAt, b, bAt) =>
    rec.startblock.get(a, aAt) - rec.startblock.get(b, bAt) ||
    comparePlaces(a, aAt + rec.owner.offset, b, bAt + rec.owner.offset),
  copyKey: (view, at, to, toAt) => {
    key.startblock.set(to, toAt, rec.startblock.get(view, at))
    copyPlace(view, at, to, toAt)
  },
}
