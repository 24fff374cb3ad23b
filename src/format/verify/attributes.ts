import {
  ATTR_LEAF_MAPSIZE,
  ATTR_MAX_VALUE,
  ATTR_NAMESPACES,
  ATTR3_LEAF_MAGIC,
  Attr3LeafHdr,
  Attr3RmtHdr,
  AttrFlags,
  AttrLeafEntry,
  AttrLeafMap,
  AttrNameRemoteHead,
  attrEntryFlags,
  attrRemoteSpace,
} from '../attr.ts'
import { attrFirstUsed, attrNameSize } from '../attrentries.ts'
import { ATTR_LEAF_MAGIC } from '../v4.ts'
import { type BlockType, blocks, type Fault, fault, hex, oneBlock, placesOf } from './blocktype.ts'

/** Leaves and remote values of attribute forks. */

const entry = AttrLeafEntry.fields
const FREEMAP = Attr3LeafHdr.fields.freemap.offset

function attrLeafRules(view: DataView): Fault | undefined {
  const size = view.byteLength
  const count = Attr3LeafHdr.fields.count.get(view, 0)
  const firstused = attrFirstUsed(view)
  const end = Attr3LeafHdr.size + count * AttrLeafEntry.size
  if (firstused < Attr3LeafHdr.size || firstused > size) return fault('hdr.firstused', `first name at ${firstused}`)
  if (end > firstused) return fault('hdr.count', `${count} entries overlap the names at ${firstused}`)
  let last = 0
  for (let i = 0, at = Attr3LeafHdr.size; i < count; i++, at += AttrLeafEntry.size) {
    const hash = entry.hashval.get(view, at)
    if (hash < last) return fault(`entries[${i}].hashval`, `${hex(hash)} after ${hex(last)}`)
    last = hash
    const nameidx = entry.nameidx.get(view, at)
    const flags = attrEntryFlags(view, at)
    const space = flags & ATTR_NAMESPACES
    if (AttrLeafEntry.nonzero(view, at) || (space & (space - 1)) !== 0)
      return fault(`entries[${i}].flags`, `flags ${hex(flags)}`)
    if (attrNameSize(view, nameidx, flags, firstused) < 0)
      return fault(`entries[${i}].nameidx`, `no valid name at ${nameidx}`)
    const remote = (flags & (AttrFlags.local | AttrFlags.incomplete)) === 0
    if (remote && AttrNameRemoteHead.fields.valueblk.get(view, nameidx) === 0)
      return fault(`nvlist[${i}].valueblk`, 'remote value at block 0')
  }
  for (let i = 0; i < ATTR_LEAF_MAPSIZE; i++) {
    const base = AttrLeafMap.fields.base.get(view, FREEMAP + i * AttrLeafMap.size)
    const length = AttrLeafMap.fields.size.get(view, FREEMAP + i * AttrLeafMap.size)
    if (base % 4 !== 0 || length % 4 !== 0 || base + length > size)
      return fault(`hdr.freemap[${i}]`, `${length} bytes at ${base}`)
  }
  return undefined
}

export const attrLeaf: BlockType = {
  name: 'attrLeaf',
  ...placesOf(Attr3LeafHdr),
  magics: [ATTR3_LEAF_MAGIC],
  magicsV4: [ATTR_LEAF_MAGIC],
  fits: oneBlock,
  rules: attrLeafRules,
}

/** Remote values are not logged: their LSN is not meaningful. */
const { lsnOffset: _, ...remotePlaces } = placesOf(Attr3RmtHdr)

export const attrRemote: BlockType = {
  name: 'attrRemote',
  ...remotePlaces,
  magicsV4: [],
  fits: blocks,
  unit: (geometry) => geometry.blocksize,
  unitCrc: true,
  rules: (view, { geometry }, at) => {
    const offset = Attr3RmtHdr.fields.offset.get(view, at)
    const bytes = Attr3RmtHdr.fields.bytes.get(view, at)
    if (bytes > attrRemoteSpace(geometry.blocksize))
      return fault('bytes', `${bytes} bytes in a block of ${geometry.blocksize}`)
    if (offset + bytes > ATTR_MAX_VALUE) return fault('offset', `${offset} + ${bytes} exceeds the maximum value size`)
    return Attr3RmtHdr.fields.owner.get(view, at) === 0 ? fault('owner', 'zero') : undefined
  },
}
