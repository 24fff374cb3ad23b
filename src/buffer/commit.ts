import type { Device } from '../device/device.ts'
import { assert, XfsError } from '../errors.ts'
import type { Geometry } from '../format/geometry.ts'
import { setNeedsRepair } from '../format/sb.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { stamp } from '../format/verify/stamp.ts'
import { type Buf, logWeight } from './buf.ts'
import { type BufferCache, committed } from './cache.ts'

/**
 * An item that a transaction adds to the log beside its blocks, for recovery: its regions, whose
 * lengths are multiples of 4. The first holds the structure that describes it.
 */
export type LogItem = readonly Uint8Array[]

/** Bytes of the header of a region. */
const REGION_HEADER = 12

/** Bytes that an item takes in the log. */
export const itemWeight = (item: LogItem): number => item.reduce((sum, { length }) => sum + REGION_HEADER + length, 0)

/** The error if a transaction exceeds the capacity of the committer. */
export const tooBig = (capacity: number): XfsError =>
  new XfsError('TOOBIG', `the transaction exceeds the maximum of ${capacity} bytes of the log`, { type: 'log' })

/** How a commit reaches the device. Layers above `tx/` do not depend on the committer in use. */
export interface Committer {
  /** Maximum weight of one transaction: its changed blocks (see `logWeight`) and log items. */
  readonly capacity: number
  /**
   * Called before `commit`, while these blocks can still be undone. Writes earlier commits to the
   * device if both together exceed the log.
   * @throws XfsError IO if that fails, or failed before; NOSPC if the host's disk has no space for
   *   the log: nothing else is lost; TOOBIG if the capacity is less than before
   */
  makeRoom(changed: Iterable<Buf>, items: readonly LogItem[]): void
  /**
   * Accept the blocks that one transaction changed, and its log items, which become durable
   * together.
   */
  commit(changed: Iterable<Buf>, items: readonly LogItem[]): void
  /** Write everything committed to the device and leave the image clean. */
  finish(): void
  /**
   * Write everything committed to the device, so that freed blocks may be reused. The image may
   * stay marked, or its log dirty.
   */
  sync(): void
}

/**
 * NEEDSREPAIR is set in the superblock on the device from before the first in-place write of a
 * change until after its last. If the writer is killed, the image stays marked, and the kernel does
 * not mount it.
 */
export class RepairMark {
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #cache: BufferCache
  readonly #superblock: () => Buf
  #set = false

  /** @param superblock the primary superblock's buffer */
  constructor(device: Device, geometry: Geometry, cache: BufferCache, superblock: () => Buf) {
    this.#device = device
    this.#geometry = geometry
    this.#cache = cache
    this.#superblock = superblock
  }

  /**
   * The flag is durable when this returns. Only the flag is written: the counters belong to a later
   * change.
   */
  set(): void {
    if (this.#set) return
    this.#flag(true)
    const bytes = new Uint8Array(this.#geometry.sectsize)
    this.#device.read(bytes, 0)
    const view = new DataView(bytes.buffer)
    setNeedsRepair(view, true)
    stamp(blockTypes.sb, view, { geometry: this.#geometry, daddr: 0 })
    this.#device.write(bytes, 0)
    this.#device.flush()
    this.#set = true
  }

  /** Earlier writes are durable before the flag is cleared. */
  clear(): void {
    if (!this.#set) return
    this.#device.flush()
    this.#cache.writeOne(this.#flag(false))
    this.#device.flush()
    this.#set = false
  }

  /** Set the flag in the buffer. */
  #flag(on: boolean): Buf {
    const buf = this.#superblock()
    // During a transaction that changes the superblock, set the flag in the old and the new bytes.
    const stable = committed(buf)
    if (stable !== buf) setNeedsRepair(buf.view, on)
    setNeedsRepair(stable.view, on)
    buf.unstamped = true
    return buf
  }
}

/** The weight of the dirty blocks after `changed` are added. */
export function weightWith(cache: BufferCache, changed: Iterable<Buf>): number {
  let weight = cache.dirtyWeight
  for (const buf of changed) if (!buf.dirty) weight += logWeight(buf)
  return weight
}

/** Writes changed blocks to their places with NEEDSREPAIR set meanwhile; the log stays clean. */
export class InPlaceCommitter implements Committer {
  readonly #cache: BufferCache
  readonly #mark: RepairMark
  readonly #limit: number
  readonly capacity = Number.POSITIVE_INFINITY

  constructor(cache: BufferCache, mark: RepairMark, limitBytes = 32 * 2 ** 20) {
    this.#cache = cache
    this.#mark = mark
    this.#limit = limitBytes
  }

  makeRoom(changed: Iterable<Buf>): void {
    if (weightWith(this.#cache, changed) > this.#limit) this.sync()
  }

  commit(changed: Iterable<Buf>, items: readonly LogItem[]): void {
    assert(items.length === 0, 'a log item in a transaction that is not logged')
    for (const buf of changed) this.#cache.markDirty(buf)
  }

  sync(): void {
    if (this.#cache.dirtyWeight === 0) return
    this.#mark.set()
    this.#cache.writeDirty()
  }

  finish(): void {
    this.sync()
    this.#mark.clear()
  }
}
