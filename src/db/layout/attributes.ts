import {
  ATTR3_LEAF_MAGIC,
  ATTR3_RMT_MAGIC,
  Attr3LeafHdr,
  Attr3RmtHdr,
  AttrFlags,
  AttrLeafEntry,
  AttrNameLocalHead,
  AttrNameRemoteHead,
  attrRemoteSpace,
  ParentRec,
} from '../../format/attr.ts'
import { attrLeafItems, attrLeafSpan } from '../../format/attrentries.ts'
import { DA3_NODE_MAGIC, DaBlkinfo } from '../../format/dir.ts'
import type { Geometry } from '../../format/geometry.ts'
import { nodeItems } from './directories.ts'
import { chars, columnsOf, guarded, type Item, type Layout, single, structItems, table } from './items.ts'

/** Blocks of attribute forks. */

export function* parentItems(prefix: string, at: number): Generator<Item> {
  yield { form: 'field', path: `${prefix}parent_dir.inumber`, field: ParentRec.fields.inumber, at }
  yield { form: 'field', path: `${prefix}parent_dir.gen`, field: ParentRec.fields.gen, at }
}

function* attr3Items(view: DataView, geometry: Geometry): Generator<Item> {
  const magic = DaBlkinfo.fields.magic.get(view, 0)
  if (Attr3RmtHdr.fields.magic.get(view, 0) === ATTR3_RMT_MAGIC) {
    yield* structItems(Attr3RmtHdr, 0, 'hdr.', geometry)
    const length = Math.min(Attr3RmtHdr.fields.bytes.get(view, 0), attrRemoteSpace(view.byteLength))
    if (length > 0) yield single('data', chars(length, 'part of the value'), Attr3RmtHdr.size)
  } else if (magic === DA3_NODE_MAGIC) yield* nodeItems(view, geometry, 'hdr.', 'btree')
  else if (magic === ATTR3_LEAF_MAGIC) yield* attrLeafLayout(view, geometry)
}

function* attrLeafLayout(view: DataView, geometry: Geometry): Generator<Item> {
  yield* structItems(Attr3LeafHdr, 0, 'hdr.', geometry, { tables: true })
  const { at: first, count } = attrLeafSpan(view)
  if (count > 0) yield table('entries', 0, count, columnsOf(AttrLeafEntry), first, AttrLeafEntry.size)
  for (const item of attrLeafItems(view)) {
    const prefix = `nvlist[${item.index}].`
    const { nameidx: at, name } = item
    for (const one of item.local ? AttrNameLocalHead.list : AttrNameRemoteHead.list) {
      yield { form: 'field', path: prefix + one.name, field: one, at }
    }
    const nameAt = at + (item.local ? AttrNameLocalHead.size : AttrNameRemoteHead.size)
    yield single(`${prefix}name`, chars(name.length, 'name of the attribute'), nameAt)
    if (!item.local) continue
    if ((item.flags & AttrFlags.parent) !== 0 && item.value.length === ParentRec.size)
      yield* parentItems(prefix, nameAt + name.length)
    else if (item.value.length > 0)
      yield single(`${prefix}value`, chars(item.value.length, 'value of the attribute'), nameAt + name.length)
  }
}

export const attr3Layout: Layout = (view, geometry) => guarded('', attr3Items(view, geometry))
