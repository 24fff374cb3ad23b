import { LongBlock, ShortBlock } from '../../format/btblock.ts'
import { RmapKey, RmapRec } from '../../format/btrecs.ts'
import { agbno, fsbno } from '../../format/fields.ts'
import type { Geometry } from '../../format/geometry.ts'
import type { Field, Struct } from '../../format/struct.ts'
import { type TreeName, treeForms, treeRow } from '../../format/trees.ts'
import { maxRecords } from '../../format/treesizes.ts'
import { array, columnsOf, type Layout, named, structItems, type TableColumn, table } from './items.ts'

/** Blocks of btrees. */

const isFlag = ({ bits }: Field<unknown>): boolean => bits?.width === 1
/** Fields in the order of xfs_db: flags are last. */
const flagsLast = ({ list }: Struct): string[] =>
  [...list.filter((one) => !isFlag(one)), ...list.filter(isFlag)].flatMap(({ kind, name }) =>
    kind === 'pad' ? [] : [name],
  )
const RMAP_PLACE = ['owner', 'offset', 'extentflag', 'attrfork', 'bmbtblock']
/** Trees with another order. */
const orders = new Map<string, readonly string[]>([
  [RmapRec.name, ['startblock', 'blockcount', ...RMAP_PLACE]],
  [RmapKey.name, ['startblock', ...RMAP_PLACE]],
])

/** A record or a key in the columns of xfs_db. */
export const recordColumns = (struct: Struct, delta = 0, suffix = ''): TableColumn[] =>
  columnsOf(struct, orders.get(struct.name) ?? flagsLast(struct), delta, suffix)

/** The layout of a tree's blocks. */
export function btree(tree: TreeName): Layout {
  const { rec, recWithout, key } = treeRow(tree)
  const { recSize, keySize, overlapping, keyStride, ptrSize } = treeForms[tree]
  const full = recordColumns(rec)
  const reduced = recWithout ? recordColumns(recWithout.rec) : full
  const recs = ({ features }: Geometry): readonly TableColumn[] =>
    recWithout && !features.has(recWithout.feature) ? reduced : full
  const keys = [...recordColumns(key), ...(overlapping ? recordColumns(key, keySize, '_hi') : [])]
  const header: Struct = ptrSize === 4 ? ShortBlock : LongBlock
  const pointer = (ptrSize === 4 ? agbno : fsbno)(0, 'child', { to: 'btree' })
  return function* (view, geometry) {
    const start = ptrSize === 4 ? geometry.shortHeader : geometry.longHeader
    for (const item of structItems(header, 0, '', geometry)) {
      if (item.form === 'field' && item.field.offset < start) yield item
    }
    const level = ShortBlock.fields.level.get(view, 0)
    const count = Math.min(ShortBlock.fields.numrecs.get(view, 0), maxRecords(geometry, tree, level))
    if (count === 0) return
    if (level === 0) yield table('recs', 1, count, recs(geometry), start, recSize)
    else {
      yield table('keys', 1, count, keys, start, keyStride)
      const pointers = start + keyStride * maxRecords(geometry, tree, level)
      yield array('ptrs', 1, count, named('ptrs', pointer), pointers, ptrSize)
    }
  }
}
