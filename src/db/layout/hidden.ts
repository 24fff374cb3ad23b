import { Agi } from '../../format/ag.ts'
import { ATTR3_LEAF_MAGIC, Attr3LeafHdr } from '../../format/attr.ts'
import { DIFLAGS2, Dinode, flags2Of } from '../../format/dinode.ts'
import {
  DA3_NODE_MAGIC,
  Da3NodeHdr,
  DaBlkinfo,
  DIR3_BLOCK_MAGIC,
  DIR3_DATA_MAGIC,
  DIR3_FREE_MAGIC,
  DIR3_LEAF1_MAGIC,
  DIR3_LEAFN_MAGIC,
  Dir3BlkHdr,
  Dir3DataHdr,
  Dir3FreeHdr,
  Dir3LeafHdr,
} from '../../format/dir.ts'
import { u8, u16, u64, x8, x16, x32 } from '../../format/fields.ts'
import type { Geometry } from '../../format/geometry.ts'
import type { Field } from '../../format/struct.ts'
import { array, type Item, named, single } from './items.ts'

/**
 * Fields that have a name but are not printed with the others: padding, and words that are printed
 * bit by bit.
 */
export function* hiddenItems(kind: string, view: DataView, geometry: Geometry): Generator<Item> {
  if (kind === 'agi') yield pad('pad32', Agi.fields.pad32)
  else if (kind === 'inode' && view.byteLength >= geometry.inodesize) yield* inInode(view)
  else if (kind === 'dir3' && view.byteLength >= Dir3DataHdr.size) yield* inDirectory(view)
  else if (kind === 'attr3' && view.byteLength >= Attr3LeafHdr.size && daMagic(view) === ATTR3_LEAF_MAGIC)
    yield single('hdr.pad1', u8(Attr3LeafHdr.fields.pad1.offset, 'zero'), 0)
}

const daMagic = (view: DataView): number => DaBlkinfo.fields.magic.get(view, 0)
const pad = (path: string, { offset }: Field<unknown>): Item => single(path, x32(offset, 'zero'), 0)

function* inInode(view: DataView): Generator<Item> {
  const { fields } = Dinode
  yield single('core.flags', x16(fields.flags.offset, 'flags'), 0)
  if (fields.version.get(view, 0) < 3) return
  if ((flags2Of(view, 0) & DIFLAGS2.nrext64) === 0)
    yield single('core.v3_pad', u64(fields.big_nextents.offset, 'zero'), 0)
  else yield single('core.nrext64_pad', u16(fields.anextents.offset, 'zero'), 0)
  const { offset, size } = fields.pad2
  yield array('v3.pad2', 0, size, named('pad2', x8(offset, 'zero')), 0, 1)
}

function* inDirectory(view: DataView): Generator<Item> {
  const magic = Dir3BlkHdr.fields.magic.get(view, 0)
  const hash = daMagic(view)
  if (magic === DIR3_BLOCK_MAGIC) yield pad('bhdr.pad', Dir3DataHdr.fields.pad)
  else if (magic === DIR3_DATA_MAGIC) yield pad('dhdr.pad', Dir3DataHdr.fields.pad)
  else if (magic === DIR3_FREE_MAGIC) yield pad('fhdr.pad', Dir3FreeHdr.fields.pad)
  else if (hash === DA3_NODE_MAGIC) yield pad('nhdr.pad', Da3NodeHdr.fields.pad)
  else if (hash === DIR3_LEAF1_MAGIC || hash === DIR3_LEAFN_MAGIC) yield pad('lhdr.pad', Dir3LeafHdr.fields.pad)
}
