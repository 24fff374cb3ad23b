import { Cursor, query } from '../btree/cursor.ts'
import type { RmapSortKey } from '../btree/trees/rmapbt.ts'
import { XfsError } from '../errors.ts'
import { OWNERS, type RmapRec } from '../format/btrecs.ts'
import type { Transaction } from '../tx/transaction.ts'
import { trace } from '../util/trace.ts'
import { rmapTree } from './agfl.ts'

/**
 * Adding and removing reverse mappings of one AG: the owners of its blocks.
 *
 * In a record, blocks [startblock, +blockcount) are blocks [offset, +blockcount) of `owner`.
 * Records of shared blocks overlap, and any number of other records can be between two of one
 * owner. So a neighbour is found by its key, not by stepping the cursor:
 *
 *   blocks     0    5    10   15   20
 *   file 128   ├─────────┤               map for file 128: blocks 10+5 at offset 10
 *   file 129        ├──────────────┤     left: a record of 128 with block 9 at offset 9 (a query)
 *   file 128                  ├────┤     right: the record with key (15, 128, 15) (a lookup)
 *   result     ├───────────────────┤     records are always joined as far as possible
 *
 *   unmap      ├────┤xxxx├────┤          the left part stays in place, the right part is inserted
 *   convert    ├────┤uuuu├────┤          unmapped with one flag, mapped with the other
 *
 * Two records are joined if blocks and offsets are contiguous, and owner, fork, bmbt and unwritten
 * flags are the same. Special owners and bmbt blocks have no offset: only blocks are compared. A
 * change of a record's first block is a deletion and an insertion, because other records may be
 * between.
 *
 * Source: fs/xfs/libxfs/xfs_rmap.c (xfs_rmap_map, _unmap, _convert and their _shared forms, which
 * differ in how they search, not in the result); XFS Algorithms & Data Structures, "Reverse-Mapping
 * B+tree".
 */

/** Lengths of records are below this value. */
const MAX_LENGTH = 0xffffffff

/** An owner of blocks: an inode (with the fork and offset), or one of OWNERS. */
export interface RmapOwner {
  readonly owner: number
  readonly offset?: number
  readonly attrfork?: boolean
  readonly bmbtblock?: boolean
}

/** The record of an extent. */
export function rmapRec(
  startblock: number,
  blockcount: number,
  { owner, offset = 0, attrfork = false, bmbtblock = false }: RmapOwner,
  unwritten = false,
): RmapRec {
  return {
    startblock,
    blockcount,
    owner,
    attrfork: attrfork ? 1 : 0,
    bmbtblock: bmbtblock ? 1 : 0,
    extentflag: unwritten ? 1 : 0,
    offset: owner < 0 || bmbtblock ? 0 : offset,
  }
}

type RmapCursor = Cursor<RmapRec, RmapSortKey>

const endOf = (rec: RmapRec): number => rec.startblock + rec.blockcount

/** True if the record has no file offset, so that only its blocks are compared. */
const noOffset = (rec: RmapRec): boolean => rec.owner < 0 || rec.bmbtblock === 1

const sameOwner = (a: RmapRec, b: RmapRec): boolean =>
  a.owner === b.owner && a.attrfork === b.attrfork && a.bmbtblock === b.bmbtblock

/** True if `right` continues `left`, with the same owner and flags. */
const continues = (left: RmapRec, right: RmapRec): boolean =>
  sameOwner(left, right) &&
  left.extentflag === right.extentflag &&
  endOf(left) === right.startblock &&
  (noOffset(right) || left.offset + left.blockcount === right.offset)

/** True if `whole` contains the first block of `part`, at the same offset of the same owner. */
const holdsStart = (whole: RmapRec, part: RmapRec): boolean =>
  sameOwner(whole, part) &&
  whole.startblock <= part.startblock &&
  part.startblock < endOf(whole) &&
  (noOffset(part) || whole.offset - whole.startblock === part.offset - part.startblock)

function corrupt(agno: number, message: string): XfsError {
  return new XfsError('CORRUPT', `AG ${agno}: ${message}`, { agno, type: 'rmapbt' })
}

const describe = (rec: RmapRec): string =>
  `${rec.startblock}+${rec.blockcount} of owner ${rec.owner}${noOffset(rec) ? '' : ` at ${rec.attrfork ? 'attr ' : ''}offset ${rec.offset}`}`

/** True if blocks of this record can have other owners, too. */
const shareable = (tx: Transaction, rec: RmapRec): boolean =>
  rec.owner >= 0 && rec.bmbtblock === 0 && rec.attrfork === 0 && tx.volume.features.has('reflink')

/** A record of one block, which the search for a record of the same owner must find. */
const oneBlock = (rec: RmapRec, startblock: number, offset: number): RmapRec => ({
  ...rec,
  startblock,
  blockcount: 1,
  offset: noOffset(rec) ? 0 : offset,
})

/** The record that contains the first block of `rec` for its owner. */
function findHolding(tx: Transaction, agno: number, cursor: RmapCursor, rec: RmapRec): RmapRec | undefined {
  if (cursor.lookup(rec, 'le')) {
    const candidate = cursor.record()
    if (holdsStart(candidate, rec)) return candidate
  }
  if (!shareable(tx, rec)) return undefined
  const key = oneBlock(rec, rec.startblock, rec.offset)
  for (const candidate of query(rmapTree(tx, agno), key, key)) if (holdsStart(candidate, rec)) return candidate
  return undefined
}

/** The record that `rec` continues. @throws XfsError CORRUPT if the blocks have an owner */
function findLeft(
  tx: Transaction,
  agno: number,
  cursor: RmapCursor,
  rec: RmapRec,
  startsRun: boolean,
): RmapRec | undefined {
  const shared = shareable(tx, rec)
  const candidate = cursor.lookup(rec, 'le') ? cursor.record() : undefined
  if (candidate && endOf(candidate) > rec.startblock && (!shared || holdsStart(candidate, rec)))
    throw taken(agno, rec, candidate)
  if (!shared && cursor.next() && cursor.record().startblock < endOf(rec)) throw taken(agno, rec, cursor.record())
  if (candidate && continues(candidate, rec)) return candidate
  if (startsRun || !shared || rec.startblock === 0 || rec.offset === 0) return undefined
  const key = oneBlock(rec, rec.startblock - 1, rec.offset - 1)
  for (const other of query(rmapTree(tx, agno), key, key)) if (continues(other, rec)) return other
  return undefined
}

const taken = (agno: number, rec: RmapRec, other: RmapRec): XfsError =>
  corrupt(agno, `cannot map ${describe(rec)}: ${describe(other)} exists already`)

/** The record that continues `rec`. */
function findRight(cursor: RmapCursor, rec: RmapRec): RmapRec | undefined {
  if (!cursor.lookup(oneBlock(rec, endOf(rec), rec.offset + rec.blockcount), 'eq')) return undefined
  const candidate = cursor.record()
  return continues(rec, candidate) ? candidate : undefined
}

/** Position the cursor on exactly this record. */
function seek(cursor: RmapCursor, agno: number, rec: RmapRec): void {
  if (!cursor.lookup(rec, 'eq')) throw corrupt(agno, `the reverse mapping ${describe(rec)} is missing`)
}

/**
 * Record that the blocks of `rec` belong to its owner. Does nothing without rmapbt. The AGFL must
 * be long enough: see freelist.ts.
 * @param startsRun  no other record continues into `rec`
 */
export function mapBlocks(tx: Transaction, agno: number, rec: RmapRec, startsRun = false): void {
  if (!tx.volume.features.has('rmapbt')) return
  if (trace.rmap.hasSubscribers) trace.rmap.publish({ point: 'map', agno, ...rec })
  const cursor = new Cursor(rmapTree(tx, agno))
  let left = findLeft(tx, agno, cursor, rec, startsRun)
  let right = findRight(cursor, rec)
  if (left && left.blockcount + rec.blockcount > MAX_LENGTH) left = undefined
  if (right && (left?.blockcount ?? 0) + rec.blockcount + right.blockcount > MAX_LENGTH) right = undefined
  if (right) {
    seek(cursor, agno, right)
    cursor.delete()
  }
  const blockcount = (left?.blockcount ?? 0) + rec.blockcount + (right?.blockcount ?? 0)
  if (left) {
    seek(cursor, agno, left)
    cursor.update({ ...left, blockcount })
  } else cursor.insert({ ...rec, blockcount })
}

/**
 * Record owners of blocks that were free, if no adjacent extent belongs to the same file: the first
 * mappings of a new inode. Like `mapBlocks`, without the search for neighbours.
 */
export function mapNewBlocks(tx: Transaction, agno: number, rec: RmapRec): void {
  if (!tx.volume.features.has('rmapbt')) return
  if (trace.rmap.hasSubscribers) trace.rmap.publish({ point: 'map', agno, ...rec })
  new Cursor(rmapTree(tx, agno)).insert(rec)
}

/**
 * Record that the blocks of `rec` no longer belong to its owner.
 * @throws XfsError CORRUPT if they do not
 */
export function unmapBlocks(tx: Transaction, agno: number, rec: RmapRec): void {
  if (!tx.volume.features.has('rmapbt')) return
  if (trace.rmap.hasSubscribers) trace.rmap.publish({ point: 'unmap', agno, ...rec })
  if (rec.owner === OWNERS.null) return
  const cursor = new Cursor(rmapTree(tx, agno))
  if (rec.owner === OWNERS.unknown) {
    const owned = findAny(agno, cursor, rec)
    if (!owned) return
    rec = { ...owned, startblock: rec.startblock, blockcount: rec.blockcount }
    if (!noOffset(rec)) rec = { ...rec, offset: owned.offset + rec.startblock - owned.startblock }
  }
  let rest = rec
  for (;;) {
    const whole = findHolding(tx, agno, cursor, rest)
    if (!whole) throw corrupt(agno, `no reverse mapping contains ${describe(rest)}`)
    if (whole.extentflag !== rest.extentflag) {
      throw corrupt(
        agno,
        `the reverse mapping ${describe(whole)} is ${whole.extentflag ? 'unwritten, expected written' : 'written, expected unwritten'}`,
      )
    }
    const length = Math.min(rest.blockcount, endOf(whole) - rest.startblock)
    cut(agno, cursor, whole, rest.startblock, length)
    if (length === rest.blockcount) return
    rest = advance(rest, length)
  }
}

/** The part of the record that begins `length` blocks later. */
const advance = (rec: RmapRec, length: number): RmapRec => ({
  ...rec,
  startblock: rec.startblock + length,
  blockcount: rec.blockcount - length,
  offset: noOffset(rec) ? 0 : rec.offset + length,
})

/** Remove [startblock, +length) from one record. */
function cut(agno: number, cursor: RmapCursor, whole: RmapRec, startblock: number, length: number): void {
  const before = startblock - whole.startblock
  const after = endOf(whole) - startblock - length
  seek(cursor, agno, whole)
  if (before > 0) cursor.update({ ...whole, blockcount: before })
  else cursor.delete()
  if (after > 0) cursor.insert(advance(whole, before + length))
}

/**
 * For recovery, which frees blocks without knowing their owner: their record, or undefined if it
 * was removed already.
 */
function findAny(agno: number, cursor: RmapCursor, rec: RmapRec): RmapRec | undefined {
  let have = cursor.lookup(rec, 'le')
  if (have && endOf(cursor.record()) <= rec.startblock) have = cursor.next()
  if (!have || cursor.record().startblock >= endOf(rec)) return undefined
  const owned = cursor.record()
  if (owned.startblock > rec.startblock || endOf(owned) < endOf(rec)) {
    throw corrupt(
      agno,
      `the reverse mapping ${describe(owned)} does not contain all of ${rec.startblock}+${rec.blockcount}`,
    )
  }
  return owned
}

/**
 * Convert the blocks of `rec` between unwritten and written; `rec` has the new state.
 */
export function convertBlocks(tx: Transaction, agno: number, rec: RmapRec): void {
  if (!tx.volume.features.has('rmapbt')) return
  if (trace.rmap.hasSubscribers) trace.rmap.publish({ point: 'convert', agno, ...rec })
  unmapBlocks(tx, agno, { ...rec, extentflag: rec.extentflag ? 0 : 1 })
  mapBlocks(tx, agno, rec)
}
