import {
  bestLength,
  bestOffset,
  DA_NODE_MAXDEPTH,
  DA3_HEADER_SIZE,
  DA3_NODE_MAGIC,
  Da3NodeHdr,
  DaBlkinfo,
  DaNodeEntry,
  DIR_BESTFREE_COUNT,
  DIR_DATA_START,
  DIR_NULL_BEST,
  DIR3_BLOCK_MAGIC,
  DIR3_DATA_MAGIC,
  DIR3_FREE_MAGIC,
  DIR3_LEAF1_MAGIC,
  DIR3_LEAFN_MAGIC,
  Dir3DataHdr,
  Dir3FreeHdr,
  Dir3LeafHdr,
  DirBest,
  DirBlockTail,
  DirLeafEntry,
  DirLeafTail,
  FILE_TYPE_COUNT,
} from '../dir.ts'
import {
  addressToDb,
  blockTailAt,
  daMaxEntries,
  dataFtype,
  dataItemSize,
  dataTag,
  freeMaxBests,
  isBlockForm,
  isDataFree,
} from '../dirblocks.ts'
import {
  DA_NODE_MAGIC,
  DIR2_BLOCK_MAGIC,
  DIR2_DATA_MAGIC,
  DIR2_FREE_MAGIC,
  DIR2_LEAF1_MAGIC,
  DIR2_LEAFN_MAGIC,
} from '../v4.ts'
import { type BlockType, blockOrDirBlock, type Fault, fault, hex, oneDirBlock, placesOf } from './blocktype.ts'

/** Blocks of directories, and nodes of hash btrees. */

/** Read for every entry: by offsets, not by fields, for speed. */
const HASH = DirLeafEntry.fields.hashval.offset
const ADDRESS = DirLeafEntry.fields.address.offset
const NODE_HASH = DaNodeEntry.fields.hashval.offset

/**
 * Data and block format: the free space table, then contiguous entries and free spaces, then (in
 * block format) the leaf entries.
 */
function dirDataRules(view: DataView): Fault | undefined {
  const table = bestfreeRules(view)
  if (table) return table
  const block = isBlockForm(view)
  const tail = blockTailAt(view)
  const leaves = block ? DirBlockTail.fields.count.get(view, tail) : 0
  const end = block ? tail - leaves * DirLeafEntry.size : view.byteLength
  if (end < DIR_DATA_START) return fault('btail.count', `${leaves} leaf entries do not fit`)
  let entries = 0
  let listed = 0
  let wasFree = false
  const shortest = bestLength(view, DIR_BESTFREE_COUNT - 1)
  for (let at = DIR_DATA_START, i = 0; at < end; i++) {
    const size = dataItemSize(view, at, end)
    const name = (): string => `${block ? 'b' : 'd'}u[${i}]`
    if (size < 0) return fault(name(), `no valid entry or free space at ${at}`)
    const tag = dataTag(view, at, size)
    if (tag !== at) return fault(`${name()}.tag`, `${tag}, expected ${at}`)
    const free = isDataFree(view, at)
    if (free) {
      if (wasFree) return fault(name(), `adjacent free spaces at ${at}`)
      const slot = bestfreeSlot(view, at)
      if (slot >= 0 && bestLength(view, slot) !== size)
        return fault('bestfree', `length in slot ${slot} differs from that of the free space at ${at}`)
      if (slot >= 0) listed++
      else if (size > shortest) return fault('bestfree', `the free space of ${size} bytes at ${at} is missing`)
    } else {
      entries++
      if (dataFtype(view, at) >= FILE_TYPE_COUNT) return fault(`${name()}.filetype`, 'unknown file type')
    }
    wasFree = free
    at += size
  }
  if (listed !== bestfreeUsed(view)) return fault('bestfree', 'slot without a free space')
  return block ? blockLeafRules(view, end, leaves, entries, tail) : undefined
}

function bestfreeRules(view: DataView): Fault | undefined {
  for (let i = 0; i < DIR_BESTFREE_COUNT; i++) {
    const offset = bestOffset(view, i)
    const length = bestLength(view, i)
    if ((offset === 0) !== (length === 0)) return fault(`bestfree[${i}]`, `offset ${offset} with length ${length}`)
    if (i > 0 && length > bestLength(view, i - 1)) return fault(`bestfree[${i}].length`, 'exceeds the previous slot')
  }
  return undefined
}

const bestfreeUsed = (view: DataView): number => {
  let used = 0
  for (let i = 0; i < DIR_BESTFREE_COUNT; i++) if (bestLength(view, i) !== 0) used++
  return used
}

const bestfreeSlot = (view: DataView, at: number): number => {
  for (let i = 0; i < DIR_BESTFREE_COUNT; i++) if (bestOffset(view, i) === at) return i
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

/** Hash values must be ascending, and the count of stale entries must match the header. */
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
  for (let i = 0, next = at; i < count; i++, next += DirLeafEntry.size) {
    const hash = view.getUint32(next + HASH)
    if (hash < last) return fault(`${list}[${i}].hashval`, `${hex(hash)} after ${hex(last)}`)
    last = hash
    if (view.getUint32(next + ADDRESS) === 0) found++
  }
  return found === stale ? undefined : fault(staleField, `${stale} stale entries, found ${found}`)
}

function dirLeafRules(view: DataView): Fault | undefined {
  const count = Dir3LeafHdr.fields.count.get(view, 0)
  const leaf1 = DaBlkinfo.fields.magic.get(view, 0) === DIR3_LEAF1_MAGIC
  let end = view.byteLength
  let blockCount = 0
  if (leaf1) {
    const tail = view.byteLength - DirLeafTail.size
    blockCount = DirLeafTail.fields.bestcount.get(view, tail)
    end = tail - blockCount * DirBest.size
    if (end < DA3_HEADER_SIZE) return fault('ltail.bestcount', `${blockCount} bests do not fit`)
  }
  if (DA3_HEADER_SIZE + count * DirLeafEntry.size > end) return fault('lhdr.count', `${count} entries do not fit`)
  if (leaf1) {
    for (let i = 0, at = DA3_HEADER_SIZE; i < count; i++, at += DirLeafEntry.size) {
      const address = view.getUint32(at + ADDRESS)
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
  if (nvalid < 0 || nvalid > most) return fault('fhdr.nvalid', `${nvalid} exceeds maximum ${most}`)
  if (firstdb < 0 || firstdb % most !== 0)
    return fault('fhdr.firstdb', `data block ${firstdb} is not a multiple of ${most}`)
  let used = 0
  for (let i = 0, at = Dir3FreeHdr.size; i < nvalid; i++, at += DirBest.size)
    if (DirBest.fields.best.get(view, at) !== DIR_NULL_BEST) used++
  return used === nused ? undefined : fault('fhdr.nused', `${nused} bests in use, found ${used}`)
}

function daNodeRules(view: DataView): Fault | undefined {
  const count = Da3NodeHdr.fields.count.get(view, 0)
  const level = Da3NodeHdr.fields.level.get(view, 0)
  const most = daMaxEntries(view.byteLength)
  if (level < 1 || level > DA_NODE_MAXDEPTH)
    return fault('hdr.level', `level ${level}, expected 1 to ${DA_NODE_MAXDEPTH}`)
  if (count < 1 || count > most) return fault('hdr.count', `${count} entries, expected 1 to ${most}`)
  let last = 0
  for (let i = 0, at = DA3_HEADER_SIZE; i < count; i++, at += DaNodeEntry.size) {
    const hash = view.getUint32(at + NODE_HASH)
    if (hash < last) return fault(`btree[${i}].hashval`, `${hex(hash)} after ${hex(last)}`)
    last = hash
  }
  return undefined
}

export const dirBlock: BlockType = {
  name: 'dirBlock',
  ...placesOf(Dir3DataHdr),
  magics: [DIR3_BLOCK_MAGIC],
  magicsV4: [DIR2_BLOCK_MAGIC],
  fits: oneDirBlock,
  rules: dirDataRules,
}
export const dirData: BlockType = {
  name: 'dirData',
  ...placesOf(Dir3DataHdr),
  magics: [DIR3_DATA_MAGIC],
  magicsV4: [DIR2_DATA_MAGIC],
  fits: oneDirBlock,
  rules: dirDataRules,
}
export const dirLeaf1: BlockType = {
  name: 'dirLeaf1',
  ...placesOf(Dir3LeafHdr),
  magics: [DIR3_LEAF1_MAGIC],
  magicsV4: [DIR2_LEAF1_MAGIC],
  fits: oneDirBlock,
  rules: dirLeafRules,
}
export const dirLeafN: BlockType = {
  name: 'dirLeafN',
  ...placesOf(Dir3LeafHdr),
  magics: [DIR3_LEAFN_MAGIC],
  magicsV4: [DIR2_LEAFN_MAGIC],
  fits: oneDirBlock,
  rules: dirLeafRules,
}
export const dirFree: BlockType = {
  name: 'dirFree',
  ...placesOf(Dir3FreeHdr),
  magics: [DIR3_FREE_MAGIC],
  magicsV4: [DIR2_FREE_MAGIC],
  fits: oneDirBlock,
  rules: dirFreeRules,
}
export const daNode: BlockType = {
  name: 'daNode',
  ...placesOf(Da3NodeHdr),
  magics: [DA3_NODE_MAGIC],
  magicsV4: [DA_NODE_MAGIC],
  fits: blockOrDirBlock,
  rules: daNodeRules,
}
