import {
  DA3_NODE_MAGIC,
  Da3NodeHdr,
  DaBlkinfo,
  DaNodeEntry,
  DIR3_BLOCK_MAGIC,
  DIR3_DATA_MAGIC,
  DIR3_FREE_MAGIC,
  DIR3_LEAF1_MAGIC,
  DIR3_LEAFN_MAGIC,
  Dir3BlkHdr,
  Dir3DataHdr,
  Dir3FreeHdr,
  Dir3LeafHdr,
  DirBest,
  DirBlockTail,
  DirDataEntryHead,
  DirDataUnusedHead,
  DirLeafEntry,
  DirLeafTail,
} from '../../format/dir.ts'
import {
  blockTailAt,
  dataItems,
  freeBestSpan,
  leafBestSpan,
  leafEntriesSpan,
  nodeSpan,
} from '../../format/dirblocks.ts'
import { u8, x16 } from '../../format/fields.ts'
import type { Geometry } from '../../format/geometry.ts'
import { array, chars, columnsOf, guarded, type Item, type Layout, single, structItems, table } from './items.ts'

/** Blocks of directories. */

/** The fields after the name of an entry; a free space ends with a tag, too. */
export const filetype = u8(0, 'type of file')
const tag = x16(0, 'where this entry begins, in bytes from the start of the block')
const leafColumns = columnsOf(DirLeafEntry)

function* leafList(path: string, span: { at: number; count: number }): Generator<Item> {
  for (let i = 0; i < span.count; i++) {
    for (const { name, field: one } of leafColumns)
      yield { form: 'field', path: `${path}[${i}].${name}`, field: one, at: span.at + i * DirLeafEntry.size }
  }
}

function* dirDataList(view: DataView, path: string): Generator<Item> {
  let i = 0
  for (const item of dataItems(view)) {
    const prefix = `${path}[${i++}].`
    const { at, size } = item
    if (item.free) {
      yield { form: 'field', path: `${prefix}freetag`, field: DirDataUnusedHead.fields.freetag, at }
      yield { form: 'field', path: `${prefix}length`, field: DirDataUnusedHead.fields.length, at }
    } else {
      yield { form: 'field', path: `${prefix}inumber`, field: DirDataEntryHead.fields.inumber, at }
      yield { form: 'field', path: `${prefix}namelen`, field: DirDataEntryHead.fields.namelen, at }
      yield single(`${prefix}name`, chars(item.name.length, 'name of the entry'), at + DirDataEntryHead.size)
    }
    // xfs_db also prints a file type for free spaces: the first byte of their tag.
    const tagAt = at + size - tag.size
    yield single(`${prefix}filetype`, filetype, item.free ? tagAt : at + DirDataEntryHead.size + item.name.length)
    yield single(`${prefix}tag`, tag, tagAt)
  }
}

function* dir3Items(view: DataView, geometry: Geometry): Generator<Item> {
  const magic = Dir3BlkHdr.fields.magic.get(view, 0)
  if (magic === DIR3_BLOCK_MAGIC || magic === DIR3_DATA_MAGIC) {
    const block = magic === DIR3_BLOCK_MAGIC
    yield* structItems(Dir3DataHdr, 0, block ? 'bhdr.' : 'dhdr.', geometry)
    yield* guarded(block ? 'bu' : 'du', dirDataList(view, block ? 'bu' : 'du'))
    if (!block) return
    yield* guarded(
      'bleaf',
      lazily(() => leafList('bleaf', leafEntriesSpan(view))),
    )
    yield* structItems(DirBlockTail, blockTailAt(view), 'btail.', geometry)
  } else if (magic === DIR3_FREE_MAGIC) {
    yield* structItems(Dir3FreeHdr, 0, 'fhdr.', geometry)
    const { at, count } = freeBestSpan(view)
    if (count > 0) yield array('fbests', 0, count, DirBest.fields.best, at, DirBest.size, 'zero')
  } else {
    yield* dir3IndexItems(view, geometry)
  }
}

function* dir3IndexItems(view: DataView, geometry: Geometry): Generator<Item> {
  const magic = DaBlkinfo.fields.magic.get(view, 0)
  if (magic === DA3_NODE_MAGIC) yield* nodeItems(view, geometry, 'nhdr.', 'nbtree')
  else if (magic === DIR3_LEAF1_MAGIC || magic === DIR3_LEAFN_MAGIC) {
    yield* structItems(Dir3LeafHdr, 0, 'lhdr.', geometry)
    if (magic === DIR3_LEAF1_MAGIC) {
      const { at, count } = leafBestSpan(view)
      if (count > 0) yield array('lbests', 0, count, DirBest.fields.best, at, DirBest.size)
    }
    yield* leafList('lents', leafEntriesSpan(view))
    if (magic === DIR3_LEAF1_MAGIC)
      yield* structItems(DirLeafTail, view.byteLength - DirLeafTail.size, 'ltail.', geometry)
  }
}

export function* nodeItems(view: DataView, geometry: Geometry, header: string, list: string): Generator<Item> {
  yield* structItems(Da3NodeHdr, 0, header, geometry)
  const { at, count } = nodeSpan(view)
  if (count > 0) yield table(list, 0, count, columnsOf(DaNodeEntry), at, DaNodeEntry.size)
}

/** Start a generator when its first value is requested, so that its errors are thrown there. */
function* lazily(make: () => Generator<Item>): Generator<Item> {
  yield* make()
}

export const dir3Layout: Layout = (view, geometry) => guarded('', dir3Items(view, geometry))
