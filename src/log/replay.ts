import type { Device } from '../device/device.ts'
import { type Overlay, overlay } from '../device/overlay.ts'
import { XfsError } from '../errors.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { BlfFlags, LogItemTypes } from '../format/logitems.ts'
import { compareLsn, writeLsn } from '../format/lsn.ts'
import type { BlockType } from '../format/verify/blocktype.ts'
import { stamp } from '../format/verify/stamp.ts'
import { viewOf } from '../util/view.ts'
import { CancelledBuffers } from './cancelled.ts'
import { decodeIntent } from './intentitems.ts'
import { type OpenIntent, OpenIntents } from './openintents.ts'
import { type BufferChange, bufferChange, replayBuffer } from './replaybuffer.ts'
import { type ChunkChange, chunkChange, replayChunk } from './replaychunk.ts'
import { type InodeChange, inodeChange, replayInode } from './replayinode.ts'
import type { ReplayPlace } from './replayplace.ts'
import { type QuotaChange, quotaChange, quotasInUse, quotasOff, replayQuota } from './replayquota.ts'
import { settleSuperblock } from './replaysb.ts'
import { type LogHolder, type LogPosition, type LogState, logState, openRing } from './ring.ts'
import { type LoggedItem, readTransactions } from './transactions.ts'

/**
 * Replay: write the changes in the log to their places.
 *
 *   pass 1   read all: which buffers were freed, which intents are not done, is each item valid
 *   pass 2   read all again: replay the items of each transaction
 *              buffers, new chunks ─▶ inodes, quota records ─▶ buffers of inodes ─▶ freed buffers
 *
 * A block that has the LSN of a transaction, or a later one, is as new as the log. So a replay that
 * was interrupted can be repeated. Transactions that begin in the same record have the same LSN:
 * blocks get it when all of them are replayed.
 *
 * Source: fs/xfs/xfs_log_recover.c (xlog_do_log_recovery, xlog_recover_reorder_trans).
 */
export interface Replayed {
  readonly transactions: number
  /** Changed buffers, inodes and quota records. */
  readonly blocks: number
}

/** A log whose changes are in their places, but which is still dirty. */
export interface ReplayedLog extends Replayed {
  readonly state: LogState
  /** What recovery has to finish. */
  readonly intents: readonly OpenIntent[]
}

/** Bytes of changes in memory, at most. Smaller replays are complete before anything is written. */
const MAX_WAITING = 2 ** 27

/**
 * Replay the log of the filesystem on `device`, and leave it dirty: it may have intents to finish.
 * @returns undefined if the log is clean
 * @throws XfsError UNSUPPORTED (only the kernel can replay it), CORRUPT (it cannot be read)
 */
export function replayLog(device: Device, geometry: Geometry): ReplayedLog | undefined {
  const holder = { device, geometry, features: geometry.features }
  const state = logState(holder)
  if (state.clean) return undefined
  if (state.fault !== undefined)
    throw new XfsError('CORRUPT', `the log cannot be read (${state.fault})`, { type: 'log' })
  const survey = surveyLog(holder, state)
  return { ...replayAll(holder, state, survey), state, intents: survey.intents }
}

/** Parse a dirty log without writing. @throws as `replayLog` */
export function requireReplayable(holder: LogHolder, state: LogState): void {
  surveyLog(holder, state)
}

/** What the first pass finds. */
interface LogSurvey {
  readonly cancelled: CancelledBuffers
  readonly intents: readonly OpenIntent[]
  /** Quota types whose records are replayed, as flags of a buffer. */
  readonly quotas: number
}

/** The first pass. @throws XfsError CORRUPT, UNSUPPORTED, IO */
function surveyLog(holder: LogHolder, state: LogState): LogSurvey {
  const { geometry } = holder
  if (geometry.features.version !== 5)
    throw new XfsError('UNSUPPORTED', 'the log of a V4 filesystem, which only the kernel replays', { type: 'log' })
  const unknown = geometry.features.unknown.features_log_incompat
  if (unknown !== 0)
    throw new XfsError('UNSUPPORTED', `the log has unknown features: bits 0x${unknown.toString(16)}`, { type: 'log' })
  const cancelled = new CancelledBuffers()
  const intents = new OpenIntents()
  let quotas = quotasInUse(geometry.sb)
  for (const { lsn, items } of readTransactions(openRing(holder), state)) {
    for (const item of items) {
      const change = changeOf(item, geometry)
      if (change.kind === 'freed') cancelled.add(change.change.daddr, change.change.length)
      if (change.kind === 'quotaoff') quotas &= ~change.quotas
      if (change.kind === 'other') intents.add(item, lsn)
    }
  }
  for (const intent of intents.all) decodeIntent(intent, geometry)
  return { cancelled, intents: intents.all, quotas }
}

type Change =
  | { readonly kind: 'buffer' | 'inodeBuffer' | 'freed'; readonly change: BufferChange }
  | { readonly kind: 'inode'; readonly change: InodeChange }
  | { readonly kind: 'chunk'; readonly change: ChunkChange }
  | { readonly kind: 'quota'; readonly change: QuotaChange }
  | { readonly kind: 'quotaoff'; readonly quotas: number }
  | { readonly kind: 'other' }

const intentTypes: ReadonlySet<number> = new Set(Object.values(LogItemTypes))

/** Take an item apart. @throws XfsError CORRUPT, UNSUPPORTED (an unknown kind) */
function changeOf(item: LoggedItem, geometry: Geometry): Change {
  switch (item.type) {
    case LogItemTypes.buf: {
      const change = bufferChange(item)
      if ((change.flags & BlfFlags.cancel) !== 0) return { kind: 'freed', change }
      return { kind: (change.flags & BlfFlags.inode) === 0 ? 'buffer' : 'inodeBuffer', change }
    }
    case LogItemTypes.inode:
      return { kind: 'inode', change: inodeChange(item, geometry) }
    case LogItemTypes.icreate:
      return { kind: 'chunk', change: chunkChange(item, geometry) }
    case LogItemTypes.dquot:
      return { kind: 'quota', change: quotaChange(item) }
    case LogItemTypes.quotaoff:
      return { kind: 'quotaoff', quotas: quotasOff(item) }
    default:
      if (intentTypes.has(item.type)) return { kind: 'other' }
      throw new XfsError('UNSUPPORTED', `the log contains an item of unknown type 0x${item.type.toString(16)}`, {
        type: 'log',
      })
  }
}

/** In this order the items of a transaction are replayed. */
const ORDER = [['buffer', 'chunk'], ['inode', 'quota'], ['inodeBuffer'], ['freed']] as const

/** The second pass. It ends with all changes durable in their places. */
function replayAll(holder: LogHolder, state: LogState, survey: LogSurvey): Replayed {
  const waiting = new WaitingChanges(holder.device, holder.geometry)
  let transactions = 0
  let blocks = 0
  for (const { lsn, items } of readTransactions(openRing(holder), state)) {
    const changes = items.map((item) => ({ item, change: changeOf(item, holder.geometry) }))
    if (compareLsn(waiting.lsn, lsn) !== 0) waiting.stamp()
    waiting.lsn = lsn
    for (const kinds of ORDER)
      for (const { item, change } of changes)
        if ((kinds as readonly string[]).includes(change.kind) && replayItem(waiting, change, item, survey)) blocks++
    transactions++
  }
  waiting.stamp()
  if (transactions > 0) settleSuperblock(waiting.device)
  waiting.write()
  holder.device.flush()
  return { transactions, blocks }
}

/** @returns false for what is not replayed */
function replayItem(place: ReplayPlace, change: Change, item: LoggedItem, survey: LogSurvey): boolean {
  const { cancelled, quotas } = survey
  switch (change.kind) {
    case 'freed':
      cancelled.remove(change.change.daddr, change.change.length)
      return false
    case 'buffer':
    case 'inodeBuffer': {
      const { daddr, length } = change.change
      return !cancelled.has(daddr, length) && replayBuffer(place, change.change, item.regions, quotas)
    }
    case 'inode': {
      const { daddr, length } = change.change
      return !cancelled.has(daddr, length) && replayInode(place, change.change, item)
    }
    case 'chunk':
      return replayChunk(place, change.change, cancelled)
    case 'quota':
      return replayQuota(place, change.change, item.regions[1] as Uint8Array, quotas)
    default:
      return false
  }
}

/** Changes of `target` in memory, written when they are too many, and at the end. */
class WaitingChanges implements ReplayPlace {
  readonly #target: Device
  readonly #unstamped = new Map<number, { readonly bytes: number; readonly type: BlockType }>()
  readonly geometry: Geometry
  device: Overlay
  lsn: LogPosition = { cycle: 0, block: 0 }

  constructor(target: Device, geometry: Geometry) {
    this.#target = target
    this.geometry = geometry
    this.device = overlay(target)
  }

  stampLater(daddr: number, bytes: number, type: BlockType): void {
    this.#unstamped.set(daddr, { bytes, type })
  }

  /** All transactions of an LSN are replayed. */
  stamp(): void {
    const { device, geometry, lsn } = this
    for (const [daddr, { bytes: size, type }] of this.#unstamped) {
      const bytes = new Uint8Array(size)
      device.read(bytes, daddr * BASIC_BLOCK)
      writeLsn(viewOf(bytes), type.lsnOffset as number, lsn)
      stamp(type, viewOf(bytes), { geometry, daddr })
      device.write(bytes, daddr * BASIC_BLOCK)
    }
    this.#unstamped.clear()
    if (device.held > MAX_WAITING) this.write()
  }

  write(): void {
    const chunk = new Uint8Array(2 ** 20)
    for (const { start, length } of this.device.changed()) {
      for (let done = 0; done < length; done += chunk.length) {
        const part = chunk.subarray(0, Math.min(chunk.length, length - done))
        this.device.read(part, start + done)
        this.#target.write(part, start + done)
      }
    }
    this.device = overlay(this.#target)
  }
}
