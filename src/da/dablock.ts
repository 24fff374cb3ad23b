import type { Buf, Piece } from '../buffer/buf.ts'
import { XfsError } from '../errors.ts'
import type { BmbtRec } from '../format/btrecs.ts'
import { Dinode } from '../format/dinode.ts'
import { Da3Blkinfo, DaBlkinfo, Dir3BlkHdr } from '../format/dir.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import type { BlockType } from '../format/verify/blocktype.ts'
import { blockOwner, resolveType } from '../format/verify/blocktypes.ts'
import { type ForkName, type Inode, inodeError } from '../inode/inode.ts'
import { allocateRange, mapExtent, unmapRange } from '../mapping/bmap.ts'
import { extents, findExtent } from '../mapping/extents.ts'
import { refuseRealtime } from '../mapping/fork.ts'
import type { Transaction } from '../tx/transaction.ts'
import type { BlockReader } from '../volume.ts'

/**
 * Blocks of a directory (data fork) and of attributes (attribute fork), by their file block. The
 * room handles their headers and the hash btree (datree.ts, datree-update.ts, hashes.ts), not the
 * contents of leaves and data blocks.
 *
 * `dablk` is in filesystem blocks, like the pointers in such blocks. An attribute block is one
 * filesystem block. A directory block is one or several, which need not be contiguous on the
 * device: then the buffer has `pieces`. Blocks read here are verified, mapped and owned by the
 * inode.
 */

/** Filesystem blocks of a block of this fork. */
export const daBlocks = (inode: Inode, fork: ForkName): number =>
  fork === 'data' ? inode.volume.geometry.dirblocks : 1

/** Bytes of a block of this fork. */
const daBytes = (inode: Inode, fork: ForkName): number =>
  fork === 'data' ? inode.volume.geometry.dirblocksize : inode.volume.geometry.blocksize

/** An error about one block of a directory or of attributes. */
export const daError = (inode: Inode, fork: ForkName, dablk: number, message: string): XfsError =>
  new XfsError(
    'CORRUPT',
    `inode ${inode.ino}: ${fork === 'data' ? 'directory' : 'attribute'} block ${dablk}: ${message}`,
    {
      type: fork === 'data' ? 'dir3' : 'attr3',
      ino: inode.ino,
    },
  )

/**
 * The disk blocks of the block at `dablk`; undefined if it is a hole. @throws XfsError CORRUPT if a
 * part of it is missing
 */
function mapDaBlock(inode: Inode, fork: ForkName, dablk: number, reader: BlockReader): Piece[] | undefined {
  const { geometry } = inode.volume
  const first = findExtent(inode, fork, dablk, reader)
  const count = daBlocks(inode, fork)
  if (!first || first.startoff >= dablk + count) return undefined
  if (first.extentflag !== 0) throw daError(inode, fork, dablk, 'is unwritten')
  if (first.startoff <= dablk && first.startoff + first.blockcount >= dablk + count) {
    return [
      { daddr: geometry.fsbToDaddr(first.startblock + dablk - first.startoff), length: count * geometry.blocksize },
    ]
  }
  const pieces: Piece[] = []
  let next = dablk
  for (const rec of extents(inode, fork, dablk, reader)) {
    if (rec.startoff > next || rec.extentflag !== 0) break
    const length = Math.min(dablk + count, rec.startoff + rec.blockcount) - next
    pieces.push({
      daddr: geometry.fsbToDaddr(rec.startblock + next - rec.startoff),
      length: length * geometry.blocksize,
    })
    next += length
    if (next >= dablk + count) return merged(pieces)
  }
  throw daError(inode, fork, dablk, `${next - dablk} of its ${count} blocks are mapped`)
}

/** Join adjacent pieces. */
function merged(pieces: readonly Piece[]): Piece[] {
  const result: Piece[] = []
  for (const piece of pieces) {
    const last = result.at(-1)
    if (last && last.daddr + last.length / BASIC_BLOCK === piece.daddr) {
      result[result.length - 1] = { daddr: last.daddr, length: last.length + piece.length }
    } else result.push(piece)
  }
  return result
}

/**
 * The block at `dablk`, or undefined if it is a hole.
 * @throws XfsError CORRUPT or BADCRC
 */
export function tryDaBlock(
  inode: Inode,
  fork: ForkName,
  dablk: number,
  type: BlockType,
  reader: BlockReader,
): Buf | undefined {
  refuseRealtime(inode, fork)
  const pieces = mapDaBlock(inode, fork, dablk, reader)
  if (!pieces) return undefined
  const [first] = pieces
  if (!first) return undefined
  const bytes = daBytes(inode, fork)
  const buf =
    pieces.length === 1 ? reader.read(type, first.daddr, bytes) : reader.read(type, first.daddr, bytes, pieces)
  const exact = resolveType(type, buf.view, inode.volume.geometry)
  const owner = exact && inode.volume.features.version === 5 ? blockOwner(exact, buf.view) : undefined
  if (owner !== undefined && owner !== inode.ino) throw daError(inode, fork, dablk, `it belongs to inode ${owner}`)
  return buf
}

/**
 * The block at `dablk`. @throws XfsError CORRUPT or BADCRC, also if it is a hole
 */
export function readDaBlock(inode: Inode, fork: ForkName, dablk: number, type: BlockType, reader: BlockReader): Buf {
  const buf = tryDaBlock(inode, fork, dablk, type, reader)
  if (!buf) throw daError(inode, fork, dablk, 'it is a hole')
  return buf
}

/** The error for wrong local content of a fork. */
export const localError = (inode: Inode, error: unknown): unknown =>
  error instanceof XfsError && error.code === 'CORRUPT'
    ? inodeError(inode.ino, error.message, error.where.field)
    : error

// ---------------------------------------------------------------------------------------- changing

const SPACE_END = 2 ** 32

/**
 * The first hole of one block's length at or after `from`, at a block boundary. @throws XfsError
 * NOSPC if there is none before `end`
 */
export function firstHole(tx: Transaction, inode: Inode, fork: ForkName, from: number, end = SPACE_END): number {
  const count = daBlocks(inode, fork)
  let next = from
  for (const rec of extents(inode, fork, from, tx)) {
    if (rec.startoff >= next + count) break
    next = Math.ceil((rec.startoff + rec.blockcount) / count) * count
  }
  if (next + count > end)
    throw new XfsError('NOSPC', `inode ${inode.ino}: no space for another block in its ${fork} fork`, {
      ino: inode.ino,
    })
  return next
}

/**
 * Allocate the block at `dablk`, a hole of the file; zeroed except its header.
 * @param place  an fsbno: blocks that the caller has allocated for it
 * @throws XfsError NOSPC
 */
export function createDaBlock(
  tx: Transaction,
  inode: Inode,
  fork: ForkName,
  dablk: number,
  type: BlockType,
  magic: number,
  place?: number,
): Buf {
  const count = daBlocks(inode, fork)
  const { geometry } = inode.volume
  const records =
    place === undefined
      ? allocateBlock(tx, inode, fork, dablk, count)
      : [{ extentflag: 0, startoff: dablk, startblock: place, blockcount: count }]
  if (place !== undefined) for (const rec of records) mapExtent(tx, inode, fork, rec)
  const pieces = merged(
    records.map((rec) => ({ daddr: geometry.fsbToDaddr(rec.startblock), length: rec.blockcount * geometry.blocksize })),
  )
  const { daddr } = pieces[0] as Piece
  const bytes = daBytes(inode, fork)
  const buf = pieces.length === 1 ? tx.create(type, daddr, bytes) : tx.create(type, daddr, bytes, pieces)
  initHeader(buf, inode, magic)
  return buf
}

function allocateBlock(
  tx: Transaction,
  inode: Inode,
  fork: ForkName,
  dablk: number,
  count: number,
): readonly BmbtRec[] {
  try {
    return allocateRange(tx, inode, fork, dablk, count, { contiguous: true })
  } catch (error) {
    if (count === 1 || !(error instanceof XfsError) || error.code !== 'NOSPC') throw error
    return allocateRange(tx, inode, fork, dablk, count) // Not contiguous.
  }
}

/** Set magic number, own address, UUID and owner; the rest of the header is zero. */
function initHeader(buf: Buf, inode: Inode, magic: number): void {
  const { view } = buf
  const wide = magic > 0xffff
  if (wide) Dir3BlkHdr.fields.magic.set(view, 0, magic)
  else DaBlkinfo.fields.magic.set(view, 0, magic)
  const { bno, uuid, owner } = wide ? Dir3BlkHdr.fields : Da3Blkinfo.fields
  bno.set(view, 0, buf.daddr)
  uuid.set(view, 0, metaUuid(inode))
  owner.set(view, 0, inode.ino)
}

/** The UUID in metadata blocks: that of the inode. */
export const metaUuid = (inode: Inode): string => Dinode.fields.uuid.get(inode.view, inode.at)

/** Copy the content of a block of the same tree, except its address. */
export function copyDaBlock(tx: Transaction, from: Buf, to: Buf): void {
  tx.edit(to)
  to.bytes.set(from.bytes)
  Da3Blkinfo.fields.bno.set(to.view, 0, to.daddr)
}

/**
 * Free the block at `dablk`. @throws XfsError NOSPC if the block map needs another block for the
 * hole
 */
export function freeDaBlock(tx: Transaction, inode: Inode, fork: ForkName, dablk: number, buf: Buf): void {
  for (const { daddr } of buf.pieces ?? [buf]) tx.invalidate(daddr)
  unmapRange(tx, inode, fork, dablk, daBlocks(inode, fork))
}
