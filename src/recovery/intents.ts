import { removeAttr, setAttr, shrinkAttrs } from '../attr/attr.ts'
import { findAttr } from '../attr/read.ts'
import { XfsError } from '../errors.ts'
import { OWNERS } from '../format/btrecs.ts'
import { DIFLAGS2 } from '../format/dinode.ts'
import { XmiFlags } from '../format/logitems.ts'
import type { Mask64 } from '../format/struct.ts'
import { type Inode, inodeError, openInode, updateInode } from '../inode/inode.ts'
import {
  type AttrWork,
  type BmapWork,
  decodeIntent,
  type ExchangeWork,
  type IntentWork,
  intentId,
  intentName,
  type LoggedIntent,
} from '../log/intentitems.ts'
import { encodeDone, encodeIntent } from '../log/intentregions.ts'
import { mapExtent, unmapRange } from '../mapping/bmap.ts'
import { exchangeNext } from '../mapping/exchange.ts'
import { refuseRealtime } from '../mapping/fork.ts'
import { useLargeCounters } from '../mapping/maprecords.ts'
import { extentFree } from '../space/alloc.ts'
import { refcountUpdate } from '../space/refcount.ts'
import { rmapUpdate } from '../space/rmap.ts'
import { linkToLocal } from '../symlink.ts'
import { type Transaction, withTransaction } from '../tx/transaction.ts'
import type { Bytes } from '../util/bytes.ts'
import type { Volume } from '../volume.ts'

/**
 * Finishing the intents of a log that have no done item.
 *
 *   intent ─▶ step, step, … ─▶ done item ─┬▶ nothing is left
 *                                         └▶ the rest as a new intent, in the same transaction
 *
 * The steps are those that commits use for deferred work. Steps, done item and rest become durable
 * together, so an interrupted recovery can be repeated, and no step is done twice.
 *
 * Source: fs/xfs/xfs_log_recover.c (xlog_recover_process_intents).
 */

/**
 * Finish intents, in the order of the log. The log of `volume` is continued; the changes become
 * durable with its next sync.
 * @throws XfsError CORRUPT (an intent contradicts the image), NOSPC, TOOBIG; the transactions of
 *   earlier steps are committed
 */
export function finishIntents(volume: Volume, intents: readonly LoggedIntent[]): void {
  const ids = new Set(intents.map((intent) => idText(intentId(intent))))
  for (const intent of intents) {
    const id = intentId(intent)
    try {
      finishIntent(volume, decodeIntent(intent, volume.geometry), id, ids)
    } catch (error) {
      if (!(error instanceof XfsError) || error.code === 'IO') throw error
      const message = `the log: ${intentName(intent.kind, id)}: ${error.message}`
      throw new XfsError(error.code === 'NOENT' ? 'CORRUPT' : error.code, message, error.where, { cause: error })
    }
  }
}

function finishIntent(volume: Volume, intent: IntentWork, intentsId: Mask64, taken: Set<string>): void {
  let work: IntentWork | undefined = intent
  for (let id = intentsId; work; ) {
    const now: IntentWork = work
    work = withTransaction(volume, (tx) => {
      let rest: IntentWork | undefined = now
      do {
        rest = stepOf(tx, rest)
        tx.finishDeferred()
      } while (rest && !tx.full)
      tx.log(encodeDone(now, id))
      if (rest && rest.kind !== 'attri') {
        id = newId(taken)
        tx.log(encodeIntent(rest, id))
      }
      return rest
    })
  }
}

const idText = ({ hi, lo }: Mask64): string => `${hi}:${lo}`

/** An id that no intent has. Those of the kernel are addresses of its memory. */
function newId(taken: Set<string>): Mask64 {
  for (let lo = 1; ; lo++) {
    const id = { hi: 0x786b, lo }
    if (taken.has(idText(id))) continue
    taken.add(idText(id))
    return id
  }
}

/** Do a part of the work. @returns the rest */
function stepOf(tx: Transaction, work: IntentWork): IntentWork | undefined {
  switch (work.kind) {
    case 'efi': {
      const [first, ...rest] = work.extents
      // An AG's own block may still have its reverse mapping.
      if (first) tx.defer(extentFree, { ...first, owner: OWNERS.unknown })
      return rest.length > 0 ? { ...work, extents: rest } : undefined
    }
    case 'rui': {
      const [first, ...rest] = work.updates
      if (first) tx.defer(rmapUpdate, first)
      return rest.length > 0 ? { ...work, updates: rest } : undefined
    }
    case 'cui': {
      const [first, ...more] = work.updates
      const left = first && refcountUpdate.finish(tx, first)
      const rest = left ? [left, ...more] : more
      return rest.length > 0 ? { ...work, updates: rest } : undefined
    }
    case 'bui':
      return changeMapping(tx, work)
    case 'attri':
      return changeAttr(tx, work)
    case 'xmi':
      return exchange(tx, work)
  }
}

/** The inode of an intent. @throws XfsError CORRUPT if its generation is another */
function inodeOf(tx: Transaction, ino: number, generation?: number): Inode {
  const inode = openInode(tx.volume, ino, tx)
  if (generation !== undefined && inode.generation !== generation)
    throw inodeError(ino, `generation ${inode.generation}, expected ${generation}`, 'gen')
  return inode
}

function changeMapping(tx: Transaction, work: BmapWork): BmapWork | undefined {
  const { op, ino, fork, startoff, fsbno, blockcount, unwritten } = work
  const inode = inodeOf(tx, ino)
  refuseRealtime(inode, fork)
  if (op === 'map') {
    mapExtent(tx, inode, fork, { extentflag: unwritten ? 1 : 0, startoff, startblock: fsbno, blockcount })
    return undefined
  }
  // Other intents change the reference counts of the blocks, or free them.
  const left = unmapRange(tx, inode, fork, startoff, blockcount, { maxExtents: 1, keepBlocks: true })
  return left > 0 ? { ...work, blockcount: left } : undefined
}

/** A kernel may have left the attribute incomplete. */
function changeAttr(tx: Transaction, work: AttrWork): undefined {
  const { ino, generation, space, remove, removedValue, set } = work
  const inode = inodeOf(tx, ino, generation)
  if (remove) {
    const key = { space, name: remove, incomplete: true, ...(removedValue ? { value: removedValue } : {}) }
    if (findAttr(inode, key, tx)) removeAttr(tx, inode, key)
  }
  if (set) {
    const { name, value } = set
    setAttr(tx, inode, { space, name, incomplete: true, ...(generation === undefined ? {} : { value }) }, value)
  }
}

// ----------------------------------------------------------------------------------------- exchange

function exchange(tx: Transaction, work: ExchangeWork): ExchangeWork | undefined {
  const one = inodeOf(tx, work.inodes[0], work.generations[0])
  const two = inodeOf(tx, work.inodes[1], work.generations[1])
  const fork = (work.flags & XmiFlags.attrFork) !== 0 ? 'attr' : 'data'
  for (const inode of [one, two]) refuseRealtime(inode, fork)
  prepareExchange(tx, one, two, fork)
  const onlyWritten = (work.flags & XmiFlags.onlyWritten) !== 0
  const { rest, exchanged } = exchangeNext(tx, [one, two], work, { fork, onlyWritten })
  const setsSizes = (work.flags & XmiFlags.setSizes) !== 0
  if (exchanged && setsSizes && fork === 'data') {
    growTo(tx, one, rest.startoff1, work.sizes[0])
    growTo(tx, two, rest.startoff2, work.sizes[1])
  }
  if (rest.blockcount > 0) return { ...work, ...rest }
  if (setsSizes) {
    updateInode(tx, one, { size: work.sizes[0] })
    updateInode(tx, two, { size: work.sizes[1] })
  }
  if ((work.flags & XmiFlags.clearReflink1) !== 0) clearReflink(tx, one)
  if ((work.flags & XmiFlags.clearReflink2) !== 0) clearReflink(tx, two)
  if (fork === 'attr') shrinkAttrs(tx, two)
  else if (two.isSymlink) linkToLocal(tx, two)
  return undefined
}

/** Both inodes may get shared blocks, and more extents. */
function prepareExchange(tx: Transaction, one: Inode, two: Inode, fork: 'data' | 'attr'): void {
  for (const [inode, other] of [
    [one, two],
    [two, one],
  ] as const) {
    if (fork === 'data' && other.reflink && !inode.reflink)
      updateInode(tx, inode, { flags2: inode.flags2 | DIFLAGS2.reflink })
    useLargeCounters(tx, inode)
  }
}

/** No blocks may be mapped past EOF. */
function growTo(tx: Transaction, inode: Inode, endoff: number, most: Bytes): void {
  const end = BigInt(endoff) * BigInt(tx.volume.geometry.blocksize)
  const size = end < most ? end : BigInt(most)
  if (size > inode.size) updateInode(tx, inode, { size })
}

const clearReflink = (tx: Transaction, inode: Inode): void =>
  updateInode(tx, inode, { flags2: (inode.flags2 & ~DIFLAGS2.reflink) >>> 0 })
