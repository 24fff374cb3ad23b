import { XfsError } from '../errors.ts'
import { Agf } from '../format/ag.ts'
import type { Fsbno } from '../format/geometry.ts'
import { Superblock } from '../format/sb.ts'
import type { DeferType, Transaction } from '../tx/transaction.ts'
import { trace } from '../util/trace.ts'
import { agflNeed } from './agfl.ts'
import { fixFreelist } from './freelist.ts'
import { giveFree, recordFreed, takeFree } from './freespace.ts'
import { type Reserve, reservedForOthers } from './reserve.ts'
import { mapBlocks, type RmapOwner, rmapRec, unmapBlocks } from './rmaprecs.ts'

/**
 * Allocating and freeing blocks of AGs.
 *
 *   allocExtent ─▶ choose an AG with enough space besides reservations and AGFL
 *               ─▶ fill the AGFL ─▶ find and take a free extent ─▶ update counters
 *   extentFree  ─▶ deferred ─▶ fill the AGFL ─▶ remove the reverse mapping
 *               ─▶ add the free extent, joined ─▶ update counters, drop cached blocks
 *
 * Invariant: fdblocks of the superblock is the sum over all AGs of freeblks + flcount + btreeblks.
 * Blocks in the AGFL and in the free space btrees count as free, so fdblocks changes only here. All
 * state is in buffers: a cancelled transaction has allocated nothing.
 *
 * AGs are tried in order, from the wanted one: first for an extent of full length, then for the
 * longest that any of them has, then for any that is sufficient.
 *
 * Source: fs/xfs/libxfs/xfs_alloc.c (xfs_alloc_space_available, xfs_alloc_vextent_*,
 * __xfs_free_extent).
 */
export interface AllocRequest {
  readonly minLength: number
  readonly maxLength: number
  /** First AG to try (default: that of `near`). */
  readonly agno?: number
  /** Do not try other AGs. */
  readonly onlyAg?: boolean
  /** An fsbno: allocate close to it. */
  readonly near?: number
  /** Exactly at `near`, else fail. */
  readonly exact?: boolean
  /** The first block (agbno) is a multiple of this. */
  readonly alignment?: number
  /** The first block is in [minAgbno, maxAgbno]. */
  readonly minAgbno?: number
  readonly maxAgbno?: number
  /** Blocks that must remain in the AG for the same transaction (a bmbt that may split). */
  readonly minLeft?: number
  /** The reservation that may be used. */
  readonly reserve?: Reserve
  /** Recorded in the rmapbt immediately. Without it the caller defers an rmapUpdate. */
  readonly owner?: number | RmapOwner
}

export interface Allocated {
  readonly fsbno: Fsbno
  readonly agno: number
  readonly agbno: number
  readonly length: number
}

const asOwner = (owner: number | RmapOwner): RmapOwner => (typeof owner === 'number' ? { owner } : owner)

function addFdblocks(tx: Transaction, change: number): void {
  const view = tx.edit(tx.volume.superblock(tx))
  const free = Superblock.fields.fdblocks.get(view, 0) + change
  if (free < 0)
    throw new XfsError('CORRUPT', `superblock: fdblocks would be ${free}`, { type: 'sb', field: 'fdblocks' })
  Superblock.fields.fdblocks.set(view, 0, free)
}

interface Room {
  /** The longest extent that is available without using reserved blocks. */
  readonly longest: number
  /** Total available blocks. */
  readonly available: number
}

/** The available blocks of an AG. */
function roomIn(tx: Transaction, agno: number, reserve: Reserve, minLeft: number): Room {
  const { volume } = tx
  const agf = volume.agf(agno, tx).view
  const need = agflNeed(volume, agf)
  const reserved = reservedForOthers(volume, agno, reserve, tx)
  const free = Agf.fields.freeblks.get(agf, 0)
  const longest = Agf.fields.longest.get(agf, 0)
  const flcount = Agf.fields.flcount.get(agf, 0)
  const fill = Math.max(0, need - flcount)
  const fromLongest = fill + Math.max(0, reserved - (free - longest))
  return {
    longest: longest > fromLongest ? longest - fromLongest : flcount > 0 || longest > 0 ? 1 : 0,
    available: free + Math.min(flcount, need) - reserved - need - minLeft,
  }
}

/** True if the AG can allocate `minLength` blocks in one extent. */
const fits = (room: Room, minLength: number, alignment: number): boolean =>
  room.longest >= minLength + alignment - 1 && room.available >= minLength + alignment - 1

/**
 * Allocate one extent.
 * @throws XfsError NOSPC if no AG has one; the transaction must then be cancelled
 */
export function allocExtent(tx: Transaction, request: AllocRequest): Allocated {
  const { geometry } = tx.volume
  tx.volume.beforeAllocation?.()
  const { minLength, maxLength, near } = request
  if (!(minLength >= 1 && maxLength >= minLength)) throw new Error(`allocation of ${minLength} to ${maxLength} blocks`)
  const first = request.agno ?? (near === undefined ? 0 : geometry.agnoOf(near))
  const groups = request.onlyAg || request.exact ? 1 : geometry.agcount
  const tryAll = (least: number): Allocated | undefined => {
    for (let i = 0; i < groups; i++) {
      const found = allocInAg(tx, (first + i) % geometry.agcount, least, request)
      if (found) return found
    }
    return undefined
  }
  let found: Allocated | undefined
  if (maxLength > minLength && !request.exact) {
    found = tryAll(maxLength)
    if (!found) {
      const longest = longestOf(tx, first, groups, request)
      if (longest > minLength) found = tryAll(longest)
    }
  }
  found ??= tryAll(minLength)
  if (found) return found
  throw new XfsError(
    'NOSPC',
    `no space: ${minLength === 1 ? 'no free block' : `no ${minLength} contiguous free blocks`} left${groups === 1 ? ` in AG ${first}` : ''}`,
  )
}

/** The longest extent that any of the AGs can allocate, up to the requested length. */
function longestOf(tx: Transaction, first: number, groups: number, request: AllocRequest): number {
  const { agcount } = tx.volume.geometry
  let best = 0
  for (let i = 0; i < groups; i++) {
    const room = roomIn(tx, (first + i) % agcount, request.reserve ?? 'none', request.minLeft ?? 0)
    best = Math.max(best, Math.min(room.longest, room.available) - (request.alignment ?? 1) + 1)
  }
  return Math.min(best, request.maxLength)
}

function allocInAg(tx: Transaction, agno: number, minLength: number, request: AllocRequest): Allocated | undefined {
  const { volume } = tx
  const { geometry } = volume
  const { near, exact, reserve = 'none', minLeft = 0, alignment = 1, minAgbno, maxAgbno } = request
  if (!fits(roomIn(tx, agno, reserve, minLeft), minLength, alignment)) return undefined
  fixFreelist(tx, agno)
  // Filling the AGFL may have shortened the longest free extent.
  const room = roomIn(tx, agno, reserve, minLeft)
  if (!fits(room, minLength, alignment)) return undefined
  const here = near !== undefined && geometry.agnoOf(near) === agno
  const run = takeFree(tx, agno, {
    minLength,
    maxLength: Math.min(request.maxLength, room.available),
    alignment,
    near: here ? geometry.agbnoOf(near) : undefined,
    exact: exact && here,
    minAgbno,
    maxAgbno,
  })
  if (!run) return undefined
  if (request.owner !== undefined) mapBlocks(tx, agno, rmapRec(run.agbno, run.length, asOwner(request.owner)))
  addFdblocks(tx, -run.length)
  if (trace.space.hasSubscribers)
    trace.space.publish({ point: 'alloc', agno, agbno: run.agbno, length: run.length, reserve })
  return { fsbno: geometry.fsbno(agno, run.agbno), agno, agbno: run.agbno, length: run.length }
}

/** Blocks to free. */
interface ExtentFree {
  readonly fsbno: number
  readonly blockcount: number
  /** Their owner, if it is still in the rmapbt (all except file data). */
  readonly owner?: number | RmapOwner
}

export const extentFree: DeferType<ExtentFree> = {
  name: 'extentFree',
  rank: 40,
  finish(tx, item) {
    freeNow(tx, item)
    return undefined
  },
}

function freeNow(tx: Transaction, { fsbno, blockcount, owner }: ExtentFree): void {
  const { volume } = tx
  const { geometry } = volume
  if (!geometry.validFsbnoRange(fsbno, blockcount)) {
    throw new XfsError('CORRUPT', `blocks ${fsbno}+${blockcount} cannot be freed: they are not in one AG`)
  }
  const agno = geometry.agnoOf(fsbno)
  const run = { agbno: geometry.agbnoOf(fsbno), length: blockcount }
  if (trace.space.hasSubscribers) trace.space.publish({ point: 'free', agno, agbno: run.agbno, length: run.length })
  fixFreelist(tx, agno)
  if (owner !== undefined) unmapBlocks(tx, agno, rmapRec(run.agbno, run.length, asOwner(owner)))
  giveFree(tx, agno, run)
  addFdblocks(tx, run.length)
  recordFreed(tx, agno, run)
  const daddr = geometry.daddr(agno, run.agbno)
  const step = geometry.daddr(agno, run.agbno + 1) - daddr
  volume.cache.forEachIn(daddr, run.length, step, (at) => tx.invalidate(at))
}
