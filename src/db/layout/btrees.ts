import { LongBlock, ShortBlock } from '../../format/btblock.ts'
import {
  AllocRec,
  BmbtKey,
  BmbtRec,
  InobtKey,
  InobtRec,
  InobtRecFull,
  RefcountKey,
  RefcountRec,
  RmapKey,
  RmapRec,
} from '../../format/btrecs.ts'
import type { Geometry } from '../../format/geometry.ts'
import { agbno, fsbno, type Struct } from '../../format/struct.ts'
import { type TreeName, treeForms } from '../../format/trees.ts'
import { maxRecords } from '../../format/treesizes.ts'
import { array, columnsOf, type Layout, named, structItems, type TableColumn, table } from './items.ts'

/** Blocks of btrees. */

interface TreeColumns {
  readonly recs: (geometry: Geometry) => readonly TableColumn[]
  readonly keys: readonly TableColumn[]
}

const RMAP_KEY_ORDER = ['startblock', 'owner', 'offset', 'extentflag', 'attrfork', 'bmbtblock']
const alloc = columnsOf(AllocRec)
const inobtRecs = columnsOf(InobtRec)
const inobtRecsFull = columnsOf(InobtRecFull)
const rmapRecs = columnsOf(RmapRec, [
  'startblock',
  'blockcount',
  'owner',
  'offset',
  'extentflag',
  'attrfork',
  'bmbtblock',
])
const refcountRecs = columnsOf(RefcountRec, ['startblock', 'blockcount', 'refcount', 'cowflag'])
export const bmbtRecs = columnsOf(BmbtRec, ['startoff', 'startblock', 'blockcount', 'extentflag'])
export const bmbtKeys = columnsOf(BmbtKey)
const inobt: TreeColumns = {
  recs: (geometry) => (geometry.features.has('sparse') ? inobtRecs : inobtRecsFull),
  keys: columnsOf(InobtKey),
}
const freespace: TreeColumns = { recs: () => alloc, keys: alloc }

const treeLayouts: Readonly<Record<TreeName, TreeColumns>> = {
  bnobt: freespace,
  cntbt: freespace,
  inobt,
  finobt: inobt,
  rmapbt: {
    recs: () => rmapRecs,
    keys: [...columnsOf(RmapKey, RMAP_KEY_ORDER), ...columnsOf(RmapKey, RMAP_KEY_ORDER, RmapKey.size, '_hi')],
  },
  refcountbt: {
    recs: () => refcountRecs,
    keys: columnsOf(RefcountKey, ['startblock', 'cowflag']),
  },
  bmbt: { recs: () => bmbtRecs, keys: bmbtKeys },
}

export const btree = (tree: TreeName): Layout =>
  function* (view, geometry) {
    const { recs, keys } = treeLayouts[tree]
    const { recSize, keyStride, ptrSize } = treeForms[tree]
    const long = tree === 'bmbt'
    const header: Struct = long ? LongBlock : ShortBlock
    const start = long ? geometry.longHeader : geometry.shortHeader
    for (const item of structItems(header, 0, '', geometry)) {
      if (item.form === 'field' && item.field.offset < start) yield item
    }
    const level = ShortBlock.fields.level.get(view, 0)
    const count = Math.min(ShortBlock.fields.numrecs.get(view, 0), maxRecords(geometry, tree, level))
    if (count === 0) return
    if (level === 0) yield table('recs', 1, count, recs(geometry), start, recSize)
    else {
      yield table('keys', 1, count, keys, start, keyStride)
      const pointer = long ? fsbno(0, 'child', { to: 'btree' }) : agbno(0, 'child', { to: 'btree' })
      const pointers = start + keyStride * maxRecords(geometry, tree, level)
      yield array('ptrs', 1, count, named('ptrs', pointer), pointers, ptrSize)
    }
  }
