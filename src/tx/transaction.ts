import { type Buf, logWeight, type Piece } from '../buffer/buf.ts'
import { assert, XfsError } from '../errors.ts'
import type { BlockType } from '../format/verify/blocktype.ts'
import type { Volume } from '../volume.ts'
import { DeferQueue, type DeferredKind } from './defer.ts'

/** A kind of deferred work; `space/` and `file/` declare them. */
export type DeferType<Item> = DeferredKind<Transaction, Item>

/** Blocks that an item of deferred work changes, roughly: leaves of two btrees. */
const BLOCKS_PER_ITEM = 2

/**
 * The one way to change an image.
 *
 *   tx.read(…)  ─▶ tx.edit(buf) ─▶ change buf.view ─▶ … ─▶ tx.commit()      or tx.cancel(): every byte as before
 *
 * Invariants: a buffer's bytes change only between `edit` and `commit`; `edit` keeps the bytes as they were, so `cancel` undoes
 * everything, at any point, for any reason (no space, a corrupt block, a refusal). Nothing of the image's state lives outside
 * buffers, so undone buffers are an undone operation. `commit` first finishes the deferred work that the operation queued (which
 * may run out of space, and then the whole transaction is undone), then stamps checksums and hands the changes to the volume's committer.
 *
 * A transaction is atomic, so it has to fit into the log: it weighs what it changes, and where that becomes more than the committer
 * can take, it is undone with TOOBIG. Long work asks `full` after each part of it, and goes on in another transaction.
 *
 * One transaction runs at a time. Buffers that it read stay pinned in the cache to its end.
 */
export class Transaction {
  readonly volume: Volume
  /** Of the blocks in `#edited`. */
  #weight = 0
  readonly #reads = new Set<Buf>()
  /** Changed buffers; those without bytes `before` were made here. */
  readonly #edited = new Set<Buf>()
  /** Blocks that the cache held before they were made anew or freed here. */
  readonly #replaced = new Map<number, Buf>()
  readonly #deferred = new DeferQueue<Transaction>()
  readonly #onCommit: (() => void)[] = []
  #open = true

  constructor(volume: Volume) {
    this.volume = volume
    volume.began(this)
  }

  /** The block at `daddr`, held until the transaction ends. @throws XfsError BADCRC or CORRUPT */
  read(type: BlockType, daddr: number, length: number, pieces?: readonly Piece[]): Buf {
    const buf = this.volume.cache.read(type, daddr, length, pieces)
    this.#reads.add(buf)
    buf.pinned = true
    return buf
  }

  /** Call before changing the bytes of `buf`; any number of times. Returns the view to write through. */
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
    this.#weight += logWeight(buf)
    const { capacity } = this.volume.committer
    if (this.#weight > capacity)
      throw new XfsError('TOOBIG', `one change would take more than ${capacity} bytes of the log`, { type: 'log' })
  }

  /** Half of what may be in one transaction is, or soon will be: long work is better gone on with in another. */
  get full(): boolean {
    const { committer, geometry } = this.volume
    const queued = this.#deferred.length * BLOCKS_PER_ITEM * geometry.blocksize
    return this.#weight + queued > committer.capacity / 2
  }

  /** Was the buffer changed here? */
  isEdited(buf: Buf): boolean {
    return this.#edited.has(buf)
  }

  /** A new, zeroed block in place of what the device holds. */
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

  /** The block is free now: whatever it held is not written any more. */
  invalidate(daddr: number): void {
    this.#setAside(daddr)
    this.volume.cache.forget(daddr)
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

  /** Queue work that has to follow from this change before it is complete. */
  defer<Item>(type: DeferType<Item>, item: Item): void {
    this.#deferred.add(type, item)
  }

  /** Run `action` once the changes are committed. */
  onCommit(action: () => void): void {
    this.#onCommit.push(action)
  }

  /** Do now what is queued, and go on in the same transaction. */
  finishDeferred(): void {
    this.#deferred.finish(this)
  }

  /** Finish the deferred work, then make the changes last. On any error the transaction is undone and the error passed on. */
  commit(): void {
    assert(this.#open, 'commit of a transaction that has ended')
    try {
      this.#deferred.finish(this)
      // On a damaged image a change can build on what contradicts itself: nothing of that goes any further.
      for (const buf of this.#edited) this.volume.cache.checkFields(buf)
      this.volume.committer.makeRoom(this.#edited)
    } catch (error) {
      this.cancel()
      throw error
    }
    this.#open = false
    for (const buf of this.#edited) this.volume.cache.commit(buf)
    for (const old of this.#replaced.values()) this.volume.cache.dropDirty(old)
    this.#unpin()
    this.volume.ended(this)
    this.volume.committer.commit(this.#edited)
    for (const action of this.#onCommit) action()
  }

  /** Undo everything. */
  cancel(): void {
    if (!this.#open) return
    this.#open = false
    for (const buf of this.#edited) {
      if (buf.before) buf.bytes.set(buf.before)
      else this.volume.cache.forget(buf.daddr)
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
 * Long work in steps: `attempt` does at most `most` parts of it in a transaction. Where that is too large for the log, it was undone, and half is tried.
 * @throws XfsError TOOBIG where not even one part can be, and what `attempt` throws
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
