import type { Buf } from '../buffer/buf.ts'
import type { BufferCache } from '../buffer/cache.ts'
import { type Committer, itemWeight, type LogItem, tooBig, weightWith } from '../buffer/commit.ts'
import type { Device } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { BLF_CHUNK, BLF_TYPE_SHIFT, BlfTypes, BufLogFormat, LogItemTypes } from '../format/logitems.ts'
import { treeNames } from '../format/trees.ts'
import { resolveType } from '../format/verify/blocktypes.ts'
import type { CommitterMaker, CommitterParts } from '../volume.ts'
import { LogWriter } from './records.ts'
import { type LogPosition, type LogState, logState } from './ring.ts'

/**
 * Committed blocks are first written to the log as one transaction. When that is durable, they are
 * written in place.
 *
 *   file data ─▶ flush ─▶ log: start, blocks, commit ─▶ flush ─▶ blocks in place
 *             ─▶ (flush) ─▶ next transaction, or at the end the unmount record
 *
 * If the writer is killed before the commit record is complete, nothing has changed, except file
 * data in unreferenced blocks. If it is killed later, replay of the log (by the kernel at mount, or
 * by xfskit recover) writes all the blocks again. So a change of any number of blocks is atomic.
 *
 * Complete blocks are logged as buffer items, including blocks of inodes: recovery copies them to
 * their places. A transaction has all changes since the last one, so it needs no intents. All
 * blocks are in place before the next one begins, so its first record is the tail. During recovery
 * the tail is instead the start of the oldest transaction with an unfinished intent; done items are
 * logged together with the blocks that were changed (see `Transaction.log`).
 *
 * NEEDSREPAIR is not set meanwhile: the kernel would not mount the image, whose log suffices.
 *
 * Source: XFS Delayed Logging Design; fs/xfs/xfs_buf_item_recover.c (the items that recovery
 * accepts).
 */
class LoggedCommitter implements Committer {
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #cache: BufferCache
  readonly #log: LogWriter
  readonly #limit: number
  /** Log items of the transactions whose blocks are dirty, and their weight. */
  #items: LogItem[] = []
  #itemsWeight = 0
  #written: boolean
  /** The error after which nothing more is written. */
  #failure: unknown

  constructor({ device, geometry, cache }: CommitterParts, log: LogWriter, { dirty }: { readonly dirty: boolean }) {
    this.#device = device
    this.#geometry = geometry
    this.#cache = cache
    this.#log = log
    this.#written = dirty
    this.#limit = 32 * 2 ** 20
  }

  get capacity(): number {
    return this.#log.capacity
  }

  makeRoom(changed: Iterable<Buf>, items: readonly LogItem[]): void {
    if (this.#failure) throw this.#failure
    const weight = (): number => weightWith(this.#cache, changed) + this.#itemsWeight + weightOf(items)
    if (weight() > Math.min(this.#limit, this.capacity)) this.sync()
    if (weight() > this.capacity) throw tooBig(this.capacity)
    // File data that is written later must not use this space.
    this.#log.allocate(weight())
  }

  commit(changed: Iterable<Buf>, items: readonly LogItem[]): void {
    for (const buf of changed) this.#cache.markDirty(buf)
    this.#items.push(...items)
    this.#itemsWeight += weightOf(items)
  }

  sync(): void {
    const weight = this.#cache.dirtyWeight + this.#itemsWeight
    if (weight === 0) return
    this.#step('changes since the last write to the log are lost', () => {
      this.#device.flush()
      this.#log.allocate(weight)
    })
    this.#step('the change is not complete in the log: run xfskit recover', () => {
      const blocks = this.#cache.dirtyBlocks()
      const items = [...blocks.flatMap((buf) => logItems(buf, this.#geometry)), ...this.#items]
      this.#log.transaction(items.length, items.flat())
    })
    this.#items = []
    this.#itemsWeight = 0
    this.#written = true
    this.#step('the log contains the change: free space on the host, then run xfskit recover', () =>
      this.#cache.writeDirty(),
    )
  }

  finish(): void {
    if (this.#failure) throw this.#failure
    this.sync()
    if (!this.#written) return
    this.#step('the log contains the change: free space on the host, then run xfskit recover', () => {
      this.#device.flush()
      this.#log.unmount()
    })
    this.#written = false
  }

  /** After a device error nothing more is written: recovery restores the state of the log. */
  #step(consequence: string, action: () => void): void {
    if (this.#failure) throw this.#failure
    try {
      action()
    } catch (error) {
      this.#failure =
        error instanceof XfsError
          ? new XfsError('IO', `${error.message}; ${consequence}`, error.where, { cause: error })
          : error
      throw this.#failure
    }
  }
}

const weightOf = (items: readonly LogItem[]): number => items.reduce((sum, item) => sum + itemWeight(item), 0)

/** An item for each contiguous part of a block. */
function logItems(buf: Buf, geometry: Geometry): LogItem[] {
  if (!buf.pieces) return [bufferItem(buf.daddr, typeCode(buf, geometry), buf.bytes)]
  let at = 0
  return buf.pieces.map(({ daddr, length }) => {
    at += length
    // Recovery cannot verify a single part.
    return bufferItem(daddr, BlfTypes.unknown, buf.bytes.subarray(at - length, at))
  })
}

const bufferItem = (daddr: number, type: number, bytes: Uint8Array): LogItem => [
  bufferFormat(daddr, type, bytes.length),
  bytes,
]

const codes: Readonly<Record<string, number>> = {
  ...BlfTypes,
  ...Object.fromEntries(treeNames.map((tree) => [tree, BlfTypes.btree])),
}

const typeCode = (buf: Buf, geometry: Geometry): number =>
  codes[resolveType(buf.type, buf.view, geometry)?.name ?? ''] ?? BlfTypes.unknown

/**
 * The header of a buffer item that logs all of its bytes. Only the used words of the map are
 * written.
 */
function bufferFormat(daddr: number, type: number, length: number): Uint8Array {
  const chunks = length / BLF_CHUNK
  const words = Math.ceil(chunks / 32)
  const map = Array.from({ length: words }, (_, i) => (chunks - i * 32 >= 32 ? 0xffffffff : 2 ** (chunks - i * 32) - 1))
  const bytes = new Uint8Array(BufLogFormat.size)
  BufLogFormat.little.encode(new DataView(bytes.buffer), 0, {
    type: LogItemTypes.buf,
    size: 2,
    flags: (type << BLF_TYPE_SHIFT) & 0xffff,
    len: length / BASIC_BLOCK,
    blkno: daddr,
    map_size: words,
    data_map: map,
  })
  return bytes.subarray(0, BufLogFormat.big.fields.data_map.offset + words * 4)
}

const cleanLog = ({ device, geometry }: CommitterParts): LogState => {
  const state = logState({ device, geometry, features: geometry.features })
  if (!state.clean) throw new XfsError('DIRTYLOG', 'the log is dirty; replay it first', { type: 'log' })
  return state
}

/**
 * For `Volume.open`: commits go through the log. A killed writer leaves a log that the kernel can
 * replay.
 * @throws XfsError DIRTYLOG; UNSUPPORTED (an external log)
 */
export const loggedCommits: CommitterMaker = (parts) =>
  new LoggedCommitter(parts, new LogWriter(parts.device, parts.geometry, cleanLog(parts)), { dirty: false })

/** A dirty log that is continued after its head. */
export interface ContinuedLog {
  readonly commits: CommitterMaker
  /** Nothing that was in the log before is needed any longer. */
  release(): void
}

/**
 * Commits go through a dirty log, whose replay is complete and durable, but from `needed` on
 * recovery needs it again if it is interrupted. When the volume is closed the log is clean.
 */
export function continueLog(state: LogState, needed?: LogPosition): ContinuedLog {
  let log: LogWriter | undefined
  return {
    commits(parts) {
      log = new LogWriter(parts.device, parts.geometry, state, needed)
      return new LoggedCommitter(parts, log, { dirty: true })
    },
    release: () => log?.release(),
  }
}
