import { ATTR_MAX_VALUE, Attr3RmtHdr, attrRemoteSpace } from '../format/attr.ts'
import { blockTypes } from '../format/verify.ts'
import type { BlockReader } from '../volume.ts'
import { findExtent } from './bmap.ts'
import { daError } from './dablock.ts'
import { type Inode, inodeError } from './inode.ts'

/**
 * Values outside of their leaf: in blocks of the attribute fork from `valueblk` on, each with a header and a part of the value (V4:
 * no headers). They are read and written block by block.
 */

/** A remote value. @throws XfsError CORRUPT */
export function readRemoteValue(inode: Inode, valueblk: number, valuelen: number, reader: BlockReader): Uint8Array {
  if (valuelen > ATTR_MAX_VALUE) throw inodeError(inode.ino, `an attribute value of ${valuelen} bytes`)
  const { geometry, features } = inode.volume
  const value = new Uint8Array(valuelen)
  let have = 0
  for (let dablk = valueblk; have < valuelen; dablk++) {
    const daddr = remoteDaddr(inode, dablk, reader)
    let part: Uint8Array
    if (features.version === 5) {
      const { bytes, view } = reader.read(blockTypes.attrRemote, daddr, geometry.blocksize)
      const length = Math.min(attrRemoteSpace(geometry.blocksize), valuelen - have)
      checkHeader(inode, dablk, view, have, length)
      part = bytes.subarray(Attr3RmtHdr.size, Attr3RmtHdr.size + length)
    } else {
      part = reader.read(blockTypes.data, daddr, geometry.blocksize).bytes.subarray(0, valuelen - have)
    }
    value.set(part, have)
    have += part.length
  }
  return value
}

/** Where the block is. */
export function remoteDaddr(inode: Inode, dablk: number, reader: BlockReader): number {
  const rec = findExtent(inode, 'attr', dablk, reader)
  if (!rec || rec.startoff > dablk) throw daError(inode, 'attr', dablk, 'a part of a value is not there')
  return inode.volume.geometry.fsbToDaddr(rec.startblock + dablk - rec.startoff)
}

function checkHeader(inode: Inode, dablk: number, view: DataView, offset: number, length: number): void {
  const header = Attr3RmtHdr.decode(view, 0)
  if (header.owner !== inode.ino) throw daError(inode, 'attr', dablk, `it belongs to inode ${header.owner}`)
  if (header.offset !== offset || header.bytes !== length) {
    throw daError(inode, 'attr', dablk, `it has ${header.bytes} bytes of a value from ${header.offset} on, expected ${length} from ${offset} on`)
  }
}
