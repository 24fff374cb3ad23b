import { Agf, Agfl, AgflSlot, Agi } from '../../format/ag.ts'
import type { Feature } from '../../format/features.ts'
import { u8 } from '../../format/fields.ts'
import { Superblock } from '../../format/sb.ts'
import type { Field, Unnamed } from '../../format/struct.ts'
import { array, chars, type Layout, printed, single, structItems } from './items.ts'

/** Superblocks, and the headers of AGs. */

export const sbLayout: Layout = function* (_view, geometry) {
  for (const item of structItems(Superblock, 0, '', geometry)) {
    if (item.form !== 'field') continue
    const { since } = item.field
    const { kind, size, doc, offset } = item.field
    // xfs_db prints fields that were added later only with their feature.
    const added = offset > Superblock.fields.meta_uuid.offset
    if (added && since && !geometry.features.has(since as Feature)) continue
    yield kind === 'text' ? single(item.path, chars(size, doc, offset), 0) : item
    if (item.path === 'rgblklog') yield single('pad', u8(Superblock.fields.pad1.offset, 'zero'), 0)
  }
}

const AGF_ORDER = [
  'magicnum',
  'versionnum',
  'seqno',
  'length',
  'bnoroot',
  'cntroot',
  'rmaproot',
  'refcntroot',
  'bnolevel',
  'cntlevel',
  'rmaplevel',
  'refcntlevel',
  'rmapblocks',
  'refcntblocks',
  'flfirst',
  'fllast',
  'flcount',
  'freeblks',
  'longest',
  'btreeblks',
  'uuid',
  'lsn',
  'crc',
]

export const agfLayout: Layout = function* (_view, geometry) {
  for (const item of structItems(Agf, 0, '', geometry, { order: AGF_ORDER })) {
    const { path } = item
    yield item.form === 'field' && (path === 'rmaproot' || path === 'refcntroot')
      ? single(path, orNothing(item.field), item.at)
      : item
  }
}

/** Roots of trees that a filesystem may lack are printed as null if they are zero. */
const orNothing = (root: Field<unknown>): Unnamed =>
  printed(root, (value, view, at) => (value === 0 ? '' : root.text(view, at)))

export const agiLayout: Layout = (_view, geometry) =>
  structItems(Agi, 0, '', geometry, {
    names: { iblocks: 'ino_blocks', fblocks: 'fino_blocks' },
    skip: { unlinked: 'null' },
  })

export const agflLayout: Layout = function* (view, geometry) {
  const v5 = geometry.features.version === 5
  if (v5) yield* structItems(Agfl, 0, '', geometry)
  const start = v5 ? Agfl.size : 0
  const count = Math.floor((view.byteLength - start) / AgflSlot.size)
  yield array('bno', 0, count, AgflSlot.fields.bno, start, AgflSlot.size, 'zero')
}
