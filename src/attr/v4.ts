import { daError, readDaBlock } from '../da/dablock.ts'
import { ATTR_NAMESPACES, AttrFlags } from '../format/attr.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import type { Inode } from '../inode/inode.ts'
import type { BlockReader } from '../volume.ts'
import { readRemoteValue } from './remote.ts'

/** Attributes of V4 filesystems in leaf and node form, for reading only: leaves have a header of 32 bytes and nodes one of 16. */

const LEAF_MAGIC = 0xfbee
const NODE_MAGIC = 0xfebe
const LEAF_HEADER = 32
const NODE_HEADER = 16

interface V4Attribute {
  readonly space: number
  readonly name: Uint8Array
  readonly size: number
  read(): Uint8Array
}

export function* v4Attributes(inode: Inode, reader: BlockReader): Generator<V4Attribute> {
  const seen = new Set<number>()
  const read = (dablk: number): DataView => {
    if (seen.has(dablk)) throw daError(inode, 'attr', dablk, 'reached twice')
    seen.add(dablk)
    return readDaBlock(inode, 'attr', dablk, blockTypes.da, reader).view
  }
  let dablk = 0
  let view = read(0)
  while (view.getUint16(8) === NODE_MAGIC) {
    dablk = view.getUint32(NODE_HEADER + 4)
    view = read(dablk)
  }
  for (;;) {
    if (view.getUint16(8) !== LEAF_MAGIC) throw daError(inode, 'attr', dablk, 'not an attribute leaf')
    yield* leaf(inode, dablk, view, reader)
    dablk = view.getUint32(0)
    if (dablk === 0) return
    view = read(dablk)
  }
}

function* leaf(inode: Inode, dablk: number, view: DataView, reader: BlockReader): Generator<V4Attribute> {
  const count = view.getUint16(12)
  const names = LEAF_HEADER + count * 8
  const bad = (i: number): Error => daError(inode, 'attr', dablk, `attribute ${i} of ${count} does not fit`)
  if (names > view.byteLength) throw bad(count)
  for (let i = 0; i < count; i++) {
    const at = LEAF_HEADER + i * 8
    const nameidx = view.getUint16(at + 4)
    const flags = view.getUint8(at + 6)
    const local = (flags & AttrFlags.local) !== 0
    const head = local ? 3 : 9
    if (nameidx < names || nameidx + head > view.byteLength) throw bad(i)
    const nameLength = view.getUint8(nameidx + (local ? 2 : 8))
    const size = local ? view.getUint16(nameidx) : view.getUint32(nameidx + 4)
    const valueAt = nameidx + head + nameLength
    if (valueAt + (local ? size : 0) > view.byteLength) throw bad(i)
    if ((flags & AttrFlags.incomplete) !== 0) continue
    const bytes = (from: number, length: number): Uint8Array =>
      new Uint8Array(view.buffer, view.byteOffset + from, length).slice()
    const kept = local ? bytes(valueAt, size) : undefined
    const valueblk = local ? 0 : view.getUint32(nameidx)
    yield {
      space: flags & ATTR_NAMESPACES,
      name: bytes(nameidx + head, nameLength),
      size,
      read: () => kept ?? readRemoteValue(inode, valueblk, size, reader),
    }
  }
}
