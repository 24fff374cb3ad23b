import { daError, metaUuid } from '../da/dablock.ts'
import { ATTR_MAX_VALUE, ATTR3_RMT_MAGIC, Attr3RmtHdr, attrRemoteBlocks, attrRemoteSpace } from '../format/attr.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { type Inode, inodeError } from '../inode/inode.ts'
import { allocateRange, unmapRange } from '../mapping/bmap.ts'
import { extents, findExtent } from '../mapping/extents.ts'
import type { Transaction } from '../tx/transaction.ts'
import type { BlockReader } from '../volume.ts'

/**
 * Remote values: in blocks of the attribute fork from `valueblk` on, each with a header and a part
 * of the value (V4: no headers). They are read and written block by block.
 */

/** A remote value. @throws XfsError CORRUPT */
export function readRemoteValue(inode: Inode, valueblk: number, valuelen: number, reader: BlockReader): Uint8Array {
  if (valuelen > ATTR_MAX_VALUE) throw inodeError(inode.ino, `attribute value of ${valuelen} bytes`)
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

/** The daddr of the block. */
function remoteDaddr(inode: Inode, dablk: number, reader: BlockReader): number {
  const rec = findExtent(inode, 'attr', dablk, reader)
  if (!rec || rec.startoff > dablk) throw daError(inode, 'attr', dablk, 'a part of a value is missing')
  return inode.volume.geometry.fsbToDaddr(rec.startblock + dablk - rec.startoff)
}

function checkHeader(inode: Inode, dablk: number, view: DataView, offset: number, length: number): void {
  const header = Attr3RmtHdr.decode(view, 0)
  if (header.owner !== inode.ino) throw daError(inode, 'attr', dablk, `it belongs to inode ${header.owner}`)
  if (header.offset !== offset || header.bytes !== length) {
    throw daError(
      inode,
      'attr',
      dablk,
      `${header.bytes} bytes of a value at ${header.offset}, expected ${length} at ${offset}`,
    )
  }
}

// ---------------------------------------------------------------------------------------- changing

/** Write a value into newly allocated blocks; returns the first block. @throws XfsError NOSPC */
export function writeRemoteValue(tx: Transaction, inode: Inode, value: Uint8Array): number {
  const { geometry } = inode.volume
  const space = attrRemoteSpace(geometry.blocksize)
  const count = attrRemoteBlocks(value.length, geometry.blocksize)
  const valueblk = firstGap(tx, inode, count)
  const uuid = metaUuid(inode)
  let have = 0
  for (const rec of allocateRange(tx, inode, 'attr', valueblk, count)) {
    for (let i = 0; i < rec.blockcount; i++) {
      const { daddr, view, bytes } = tx.create(
        blockTypes.attrRemote,
        geometry.fsbToDaddr(rec.startblock + i),
        geometry.blocksize,
      )
      const part = value.subarray(have, have + space)
      Attr3RmtHdr.encode(view, 0, {
        magic: ATTR3_RMT_MAGIC, offset: have, bytes: part.length, uuid, owner: inode.ino, bno: daddr, lsn: NULL_LSN,
      }) // biome-ignore format: as a table
      bytes.set(part, Attr3RmtHdr.size)
      have += part.length
    }
  }
  return valueblk
}

/** Log recovery ignores this LSN. */
const NULL_LSN = { cycle: 0xffffffff, block: 0xffffffff }

/** The first hole of `count` blocks in the attribute fork. */
function firstGap(tx: Transaction, inode: Inode, count: number): number {
  let next = 0
  for (const rec of extents(inode, 'attr', 0, tx)) {
    if (rec.startoff >= next + count) break
    next = rec.startoff + rec.blockcount
  }
  return next
}

/**
 * Free the blocks of a value. @throws XfsError CORRUPT if they are not blocks of a remote value
 */
export function freeRemoteValue(tx: Transaction, inode: Inode, valueblk: number, valuelen: number): void {
  readRemoteValue(inode, valueblk, valuelen, tx)
  const count = attrRemoteBlocks(valuelen, inode.volume.geometry.blocksize)
  for (let i = 0; i < count; i++) tx.invalidate(remoteDaddr(inode, valueblk + i, tx))
  unmapRange(tx, inode, 'attr', valueblk, count)
}
