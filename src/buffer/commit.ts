import type { Device } from '../device/device.ts'
import { featureBits } from '../format/features.ts'
import type { Geometry } from '../format/geometry.ts'
import { Superblock } from '../format/sb.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { stamp } from '../format/verify/stamp.ts'
import { type Buf, logWeight } from './buf.ts'
import { type BufferCache, committed } from './cache.ts'

/**
 * How a commit reaches the device. Nothing above `tx/` knows which one runs.
 */
export interface Committer {
  /** The most that the blocks changed by one transaction may weigh (see `logWeight`). */
  readonly capacity: number
  /**
   * Called before `commit`, while these blocks can still be undone: what was committed earlier goes to the device where both together are too much.
   * @throws XfsError IO where that fails, or has failed before; NOSPC where the host's disk has no room for more of the log: nothing else is lost
   */
  makeRoom(changed: Iterable<Buf>): void
  /** Take the blocks that one transaction has changed. */
  commit(changed: Iterable<Buf>): void
  /** All that was committed is on the device, and the image is sound. */
  finish(): void
  /** All that was committed is on the device (blocks freed before may be reused), but the image may still be marked as being changed. */
  sync(): void
}

/**
 * The superblock's NEEDSREPAIR: on the device from before the first in-place write of a change to after its last, so that an image whose writer was
 * killed says so, and the kernel does not mount it.
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

  /** Durable when this returns. Of the superblock nothing else changes on the device: its counters belong to a change that is not there yet. */
  set(): void {
    if (this.#set) return
    this.#flag(true)
    const bytes = new Uint8Array(this.#geometry.sectsize)
    this.#device.read(bytes, 0)
    const view = new DataView(bytes.buffer)
    flag(view, true)
    stamp(blockTypes.sb, view, { geometry: this.#geometry, daddr: 0 })
    this.#device.write(bytes, 0)
    this.#device.flush()
    this.#set = true
  }

  /** All that was written before is durable before the mark goes. */
  clear(): void {
    if (!this.#set) return
    this.#device.flush()
    this.#cache.writeOne(this.#flag(false))
    this.#device.flush()
    this.#set = false
  }

  /** In the buffer, which is written with whatever else changes in it. */
  #flag(on: boolean): Buf {
    const buf = this.#superblock()
    // In the middle of a transaction that changes the superblock the flag goes into both states of it.
    const stable = committed(buf)
    if (stable !== buf) flag(buf.view, on)
    flag(stable.view, on)
    buf.unstamped = true
    return buf
  }
}

function flag(view: DataView, on: boolean): void {
  const words = Superblock.fields.features_incompat
  const { bit } = featureBits.needsrepair
  const old = words.get(view, 0)
  words.set(view, 0, on ? (old | bit) >>> 0 : (old & ~bit) >>> 0)
}

/** The weight of the dirty blocks once `changed` are among them. */
export function weightWith(cache: BufferCache, changed: Iterable<Buf>): number {
  let weight = cache.dirtyWeight
  for (const buf of changed) if (!buf.dirty) weight += logWeight(buf)
  return weight
}

/** Writes changed blocks to their places, marked with NEEDSREPAIR meanwhile; the log stays clean. */
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

  commit(changed: Iterable<Buf>): void {
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
