import { type Buf, logWeight, type Piece } from '../buffer/buf.ts'
import { itemWeight, type LogItem, tooBig } from '../buffer/commit.ts'
import { assert, XfsError } from '../errors.ts'
import { clearQuotaChecked, isQuotaChecked, Superblock } from '../format/sb.ts'
import type { BlockType } from '../format/verify/blocktype.ts'
import type { Volume } from '../volume.ts'
import { DeferQueue, type DeferredKind } from './defer.ts'

/** A kind of deferred work; `space/` declares them. */
export type DeferType<Item> = DeferredKind<Transaction, Item>

/** Approximate number of blocks that an item of deferred work changes: leaves of two btrees. */
const BLOCKS_PER_ITEM = 2

/**
 * The only way to change an image.
 *
 *   tx.read(…) ─▶ tx.edit(buf) ─▶ change buf.view ─▶ … ─┬▶ tx.commit()
 *                                                       └▶ tx.cancel(): all bytes as before
 *
 * The bytes of a buffer change only between `edit` and `commit`. `edit` keeps the old bytes, so
 * `cancel` undoes everything, at any point, for any reason (no space, a corrupt block, a refusal).
 * All state of the image is in buffers, so undoing the buffers undoes the operation. `commit` first
 * finishes the deferred work of the operation; if that runs out of space, the transaction is
 * undone. Then `commit` stamps checksums and passes the changes to the volume's committer.
 *
 * A transaction is atomic, so it must fit into the log. It sums the weight of its changes; if that
 * exceeds the limit of the committer, it is undone with TOOBIG. Long operations check `full` after
 * each part, and continue in another transaction.
 *
 * One transaction runs at a time. Buffers that it reads stay pinned in the cache until it ends.
 */
export class Transaction {
  readonly volume: Volume
  /** Of the blocks in `#edited` and of `#items`. */
  #weight = 0
  readonly #reads = new Set<Buf>()
  /** Changed buffers; those without `before` were created here. */
  readonly #edited = new Set<Buf>()
  /** Cached blocks that were replaced or freed here. */
  readonly #replaced = new Map<number, Buf>()
  readonly #deferred = new DeferQueue<Transaction>()
  readonly #items: LogItem[] = []
  readonly #onCommit: (() => void)[] = []
  #open = true

  constructor(volume: Volume) {
    this.volume = volume
    volume.began(this)
  }

  /** The block at `daddr`, pinned until the transaction ends. @throws XfsError BADCRC or CORRUPT */
  read(type: BlockType, daddr: number, length: number, pieces?: readonly Piece[]): Buf {
    const buf = this.volume.cache.read(type, daddr, length, pieces)
    this.#reads.add(buf)
    buf.pinned = true
    return buf
  }

  /**
   * Call before changing the bytes of `buf`; repeated calls are allowed. Returns the view to write
   * through.
   */
  edit(buf: Buf): DataView {
    assert(this.#open, 'edit in a transaction that has ended')
    if (!this.#edited.has(buf)) {
      assert(this.volume.cache.cached(buf.daddr) === buf, `edit of a stale buffer at ${buf.daddr}`)
      this.volume.cache.keepBefore(buf)
      this.#add(buf)
    }
    return buf.view
  }

  #add(buf: Buf): void {
    this.#edited.add(buf)
    buf.pinned = true
    this.#addWeight(logWeight(buf))
  }

  #addWeight(bytes: number): void {
    this.#weight += bytes
    const { capacity } = this.volume.committer
    if (this.#weight > capacity) throw tooBig(capacity)
  }

  /**
   * The transaction has, or soon will have, half of the maximum weight: continue in another one.
   */
  get full(): boolean {
    const { committer, geometry } = this.volume
    const queued = this.#deferred.length * BLOCKS_PER_ITEM * geometry.blocksize
    return this.#weight + queued > committer.capacity / 2
  }

  /** True if the buffer was changed in this transaction. */
  isEdited(buf: Buf): boolean {
    return this.#edited.has(buf)
  }

  /** A new, zeroed block that replaces the one on the device. */
  create(type: BlockType, daddr: number, length: number, pieces?: readonly Piece[]): Buf {
    assert(this.#open, 'create in a transaction that has ended')
    for (const piece of pieces ?? [{ daddr, length }]) {
      this.volume.beforeReuse(piece.daddr, piece.length)
      this.#setAside(piece.daddr)
    }
    const buf = this.volume.cache.create(type, daddr, length, pieces)
    this.#add(buf)
    return buf
  }

  /** The block is free now: do not write it. */
  invalidate(daddr: number): void {
    this.#setAside(daddr)
    this.volume.cache.drop(daddr)
  }

  #setAside(daddr: number): void {
    const old = this.volume.cache.cached(daddr)
    if (!old) return
    const edited = this.#edited.delete(old)
    if (edited) this.#weight -= logWeight(old)
    const madeHere = edited && old.before === undefined
    if (old.before) old.bytes.set(old.before)
    this.#reads.delete(old)
    old.pinned = false
    this.volume.cache.dropBefore(old)
    if (madeHere || this.#replaced.has(daddr)) return
    const copy = { ...old }
    this.#replaced.set(daddr, copy)
    this.volume.cache.replaceDirty(old, copy)
  }

  /** Queue work that completes this change. */
  defer<Item>(type: DeferType<Item>, item: Item): void {
    this.#deferred.add(type, item)
  }

  /** Add an item to the log, which becomes durable together with the changes. */
  log(item: LogItem): void {
    assert(this.#open, 'log item in a transaction that has ended')
    this.#items.push(item)
    this.#addWeight(itemWeight(item))
  }

  /** Run `action` once the changes are committed. */
  onCommit(action: () => void): void {
    this.#onCommit.push(action)
  }

  /** Finish the queued work now, and continue in the same transaction. */
  finishDeferred(): void {
    this.#deferred.finish(this)
  }

  /**
   * Finish the deferred work, then commit the changes. Any error undoes the transaction and is
   * rethrown.
   */
  commit(): void {
    assert(this.#open, 'commit of a transaction that has ended')
    try {
      this.#deferred.finish(this)
      this.#uncheckQuota()
      // On a damaged image a change may be based on contradictory metadata: undo it.
      for (const buf of this.#edited) this.volume.cache.checkFields(buf)
      this.volume.committer.makeRoom(this.#edited, this.#items)
    } catch (error) {
      this.cancel()
      throw error
    }
    this.#open = false
    for (const buf of this.#edited) this.volume.cache.commit(buf)
    for (const old of this.#replaced.values()) this.volume.cache.dropDirty(old)
    this.#unpin()
    this.volume.ended(this)
    this.volume.committer.commit(this.#edited, this.#items)
    for (const action of this.#onCommit) action()
  }

  /** Changes do not update the counters of quota: the first one makes the kernel count again. */
  #uncheckQuota(): void {
    if (this.#edited.size === 0 || !isQuotaChecked(this.volume.geometry.sb)) return
    const superblock = this.volume.superblock(this)
    if (isQuotaChecked({ qflags: Superblock.fields.qflags.get(superblock.view, 0) }))
      clearQuotaChecked(this.edit(superblock))
  }

  /** Undo everything. */
  cancel(): void {
    if (!this.#open) return
    this.#open = false
    for (const buf of this.#edited) {
      if (buf.before) buf.bytes.set(buf.before)
      else this.volume.cache.drop(buf.daddr)
    }
    for (const old of this.#replaced.values()) this.volume.cache.restore(old)
    this.#deferred.clear()
    this.#unpin()
    this.volume.ended(this)
  }

  #unpin(): void {
    for (const buf of this.#reads) buf.pinned = false
    for (const buf of this.#edited) {
      buf.pinned = false
      this.volume.cache.dropBefore(buf)
    }
    this.#reads.clear()
  }
}

/** Run `change` in a transaction of its own: committed when it returns, undone when it throws. */
export function withTransaction<T>(volume: Volume, change: (tx: Transaction) => T): T {
  const tx = new Transaction(volume)
  let result: T
  try {
    result = change(tx)
  } catch (error) {
    tx.cancel()
    throw error
  }
  tx.commit()
  return result
}

/**
 * A long operation in steps: `attempt` does at most `most` parts in a transaction. If that exceeds
 * the log, it is undone and tried with half as many.
 * @throws XfsError TOOBIG if one part is too large, and errors of `attempt`
 */
export function asMuchAsFits<T>(most: number, attempt: (most: number) => T): T {
  for (let now = most; ; now = Math.ceil(now / 2)) {
    try {
      return attempt(now)
    } catch (error) {
      if (!isTooBig(error) || now <= 1) throw error
    }
  }
}

export const isTooBig = (error: unknown): error is XfsError => error instanceof XfsError && error.code === 'TOOBIG'
