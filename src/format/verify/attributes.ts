import {
  ATTR_FLAGS_KNOWN,
  ATTR_LEAF_MAPSIZE,
  ATTR_MAX_VALUE,
  ATTR_NAMESPACES,
  ATTR3_LEAF_MAGIC,
  ATTR3_RMT_MAGIC,
  Attr3LeafHdr,
  Attr3RmtHdr,
  AttrFlags,
  AttrLeafEntry,
  attrFirstUsed,
  attrNameSize,
  attrRemoteSpace,
} from '../attr.ts'
import { type BlockType, blocks, type Fault, fault, hex, oneBlock } from './blocktype.ts'
import { daHeader, magic16At8, magic32At0 } from './directories.ts'

/** Leaves and remote values of attribute forks. */

function attrLeafRules(view: DataView): Fault | undefined {
  const size = view.byteLength
  const count = Attr3LeafHdr.fields.count.get(view, 0)
  const firstused = attrFirstUsed(view)
  const end = Attr3LeafHdr.size + count * AttrLeafEntry.size
  if (firstused < Attr3LeafHdr.size || firstused > size) return fault('hdr.firstused', `names begin at ${firstused}`)
  if (end > firstused) return fault('hdr.count', `${count} entries reach into the names at ${firstused}`)
  let last = 0
  for (let i = 0, at = Attr3LeafHdr.size; i < count; i++, at += AttrLeafEntry.size) {
    const hash = view.getUint32(at)
    if (hash < last) return fault(`entries[${i}].hashval`, `${hex(hash)} after ${hex(last)}`)
    last = hash
    const nameidx = view.getUint16(at + 4)
    const flags = view.getUint8(at + 6)
    const space = flags & ATTR_NAMESPACES
    if ((flags & ~ATTR_FLAGS_KNOWN) !== 0 || (space & (space - 1)) !== 0)
      return fault(`entries[${i}].flags`, `flags ${hex(flags)}`)
    if (attrNameSize(view, nameidx, flags, firstused) < 0)
      return fault(`entries[${i}].nameidx`, `no name that fits at ${nameidx}`)
    const remote = (flags & (AttrFlags.local | AttrFlags.incomplete)) === 0
    if (remote && view.getUint32(nameidx) === 0) return fault(`nvlist[${i}].valueblk`, 'a remote value at block 0')
  }
  for (let i = 0; i < ATTR_LEAF_MAPSIZE; i++) {
    const base = view.getUint16(64 + 4 * i)
    const length = view.getUint16(66 + 4 * i)
    if (base % 4 !== 0 || length % 4 !== 0 || base + length > size)
      return fault(`hdr.freemap[${i}]`, `${length} bytes at ${base}`)
  }
  return undefined
}

export const attrLeaf: BlockType = {
  name: 'attrLeaf',
  magics: [ATTR3_LEAF_MAGIC],
  magicsV4: [0xfbee],
  ...magic16At8,
  ...daHeader,
  fits: oneBlock,
  rules: attrLeafRules,
}

export const attrRemote: BlockType = {
  name: 'attrRemote',
  magics: [ATTR3_RMT_MAGIC],
  magicsV4: [],
  ...magic32At0,
  crcOffset: Attr3RmtHdr.fields.crc.offset,
  uuidOffset: Attr3RmtHdr.fields.uuid.offset,
  ownerOffset: Attr3RmtHdr.fields.owner.offset,
  daddrOffset: Attr3RmtHdr.fields.bno.offset,
  fits: blocks,
  unit: (geometry) => geometry.blocksize,
  unitCrc: true,
  rules: (view, { geometry }, at) => {
    const offset = Attr3RmtHdr.fields.offset.get(view, at)
    const bytes = Attr3RmtHdr.fields.bytes.get(view, at)
    if (bytes > attrRemoteSpace(geometry.blocksize))
      return fault('bytes', `${bytes} bytes in a block of ${geometry.blocksize}`)
    if (offset + bytes > ATTR_MAX_VALUE) return fault('offset', `${offset} + ${bytes} is beyond the longest value`)
    return Attr3RmtHdr.fields.owner.get(view, at) === 0 ? fault('owner', 'no owner') : undefined
  },
}
