import { daError, readDaBlock } from '../da/dablock.ts'
import { daForw, daMagicOf } from '../da/datree.ts'
import {
  ATTR_NAMESPACES,
  AttrFlags,
  AttrLeafEntry,
  AttrNameLocalHead,
  AttrNameRemoteHead,
  attrEntryFlags,
} from '../format/attr.ts'
import { DaNodeEntry } from '../format/dir.ts'
import { bytesAt } from '../format/fields.ts'
import { ATTR_LEAF_MAGIC, AttrLeafHdr, DA_NODE_MAGIC, DaNodeHdr } from '../format/v4.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import type { Inode } from '../inode/inode.ts'
import type { BlockReader } from '../volume.ts'
import { readRemoteValue } from './remote.ts'

/** Attributes of V4 filesystems in leaf and node format, read-only. */

interface V4Attribute {
  readonly space: number
  readonly name: Uint8Array
  readonly size: number
  read(): Uint8Array
}

export function* v4Attributes(inode: Inode, reader: BlockReader): Generator<V4Attribute> {
  const seen = new Set<number>()
  const read = (dablk: number): DataView => {
    if (seen.has(dablk)) throw daError(inode, 'attr', dablk, 'block referenced twice')
    seen.add(dablk)
    return readDaBlock(inode, 'attr', dablk, blockTypes.da, reader).view
  }
  let dablk = 0
  let view = read(0)
  while (daMagicOf(view) === DA_NODE_MAGIC) {
    dablk = DaNodeEntry.fields.before.get(view, DaNodeHdr.size)
    view = read(dablk)
  }
  for (;;) {
    if (daMagicOf(view) !== ATTR_LEAF_MAGIC) throw daError(inode, 'attr', dablk, 'not an attribute leaf')
    yield* leaf(inode, dablk, view, reader)
    dablk = daForw(view)
    if (dablk === 0) return
    view = read(dablk)
  }
}

function* leaf(inode: Inode, dablk: number, view: DataView, reader: BlockReader): Generator<V4Attribute> {
  const count = AttrLeafHdr.fields.count.get(view, 0)
  const names = AttrLeafHdr.size + count * AttrLeafEntry.size
  const bad = (i: number): Error => daError(inode, 'attr', dablk, `attribute ${i} of ${count} does not fit`)
  if (names > view.byteLength) throw bad(count)
  for (let i = 0; i < count; i++) {
    const at = AttrLeafHdr.size + i * AttrLeafEntry.size
    const nameidx = AttrLeafEntry.fields.nameidx.get(view, at)
    const flags = attrEntryFlags(view, at)
    const local = (flags & AttrFlags.local) !== 0
    const head = local ? AttrNameLocalHead : AttrNameRemoteHead
    if (nameidx < names || nameidx + head.size > view.byteLength) throw bad(i)
    const { namelen, valuelen } = head.fields
    const nameLength = namelen.get(view, nameidx)
    const size = valuelen.get(view, nameidx)
    const valueAt = nameidx + head.size + nameLength
    if (valueAt + (local ? size : 0) > view.byteLength) throw bad(i)
    if ((flags & AttrFlags.incomplete) !== 0) continue
    const bytes = (from: number, length: number): Uint8Array => bytesAt(view, from, length).slice()
    const kept = local ? bytes(valueAt, size) : undefined
    const valueblk = local ? 0 : AttrNameRemoteHead.fields.valueblk.get(view, nameidx)
    yield {
      space: flags & ATTR_NAMESPACES,
      name: bytes(nameidx + head.size, nameLength),
      size,
      read: () => kept ?? readRemoteValue(inode, valueblk, size, reader),
    }
  }
}
