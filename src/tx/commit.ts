import type { Buf } from '../buffer/buf.ts'
import { type BufferCache, committed } from '../buffer/cache.ts'
import type { Device } from '../device/device.ts'
import { featureBits } from '../format/features.ts'
import { Superblock } from '../format/sb.ts'

/** A changed block, with its bytes as they were (none for a new block). */
export interface Change {
  readonly buf: Buf
  readonly before: Uint8Array | undefined
}

/**
 * How a commit reaches the device. Nothing above `tx/` knows which one runs.
 */
export interface Committer {
  /** Take the stamped changes of one transaction. */
  commit(changes: readonly Change[]): void
  /** All that was committed is on the device, and the image is sound. */
  finish(): void
  /** All that was committed is on the device (blocks freed before may be reused), but the image may still be marked as being changed. */
  sync(): void
}

/**
 * Writes changed blocks to their places; the log stays clean. From the first such write to `finish` the superblock carries
 * NEEDSREPAIR, so that an image whose writer was killed says so and the kernel does not mount it.
 */
export class InPlaceCommitter implements Committer {
  readonly #device: Device
  readonly #cache: BufferCache
  readonly #superblock: () => Buf
  readonly #limit: number
  #marked = false

  /** @param superblock the primary superblock's buffer */
  constructor(device: Device, cache: BufferCache, superblock: () => Buf, limitBytes = 32 * 2 ** 20) {
    this.#device = device
    this.#cache = cache
    this.#superblock = superblock
    this.#limit = limitBytes
  }

  commit(changes: readonly Change[]): void {
    for (const { buf } of changes) this.#cache.markDirty(buf)
    if (this.#cache.dirtyBytes > this.#limit) this.sync()
  }

  sync(): void {
    if (this.#cache.dirtyBytes === 0) return
    this.#mark()
    this.#cache.writeDirty()
  }

  finish(): void {
    this.sync()
    if (!this.#marked) return
    this.#device.flush()
    this.#writeFlag(false)
    this.#device.flush()
    this.#marked = false
  }

  /** NEEDSREPAIR goes to the device before anything else does. */
  #mark(): void {
    if (this.#marked) return
    this.#writeFlag(true)
    this.#device.flush()
    this.#marked = true
  }

  #writeFlag(on: boolean): void {
    const buf = this.#superblock()
    const words = Superblock.fields.features_incompat
    const { bit } = featureBits.needsrepair
    const flag = ({ view }: Buf): void => {
      const old = words.get(view, 0)
      words.set(view, 0, on ? (old | bit) >>> 0 : (old & ~bit) >>> 0)
    }
    // In the middle of a transaction that changes the superblock the flag goes into both states of it.
    const stable = committed(buf)
    if (stable !== buf) flag(buf)
    flag(stable)
    this.#cache.stamp(stable, undefined)
    this.#cache.writeOne(buf)
  }
}
