import { allocExtent, extentFree } from '../space/alloc.ts'
import type { Transaction } from '../tx/transaction.ts'

/** Blocks allocated together, in few extents, and handed out in parts, for many files at once. */

interface AllocatedBlocks {
  fsbno: number
  length: number
}

/** Blocks near one place. */
export class BlockPool {
  readonly #tx: Transaction
  readonly #extents: AllocatedBlocks[] = []
  #near: number

  constructor(tx: Transaction, near: number) {
    this.#tx = tx
    this.#near = near
  }

  /** Allocate at least `count` blocks. @throws XfsError NOSPC */
  fill(count: number): void {
    for (let left = count; left > 0; ) {
      const { fsbno, length } = allocExtent(this.#tx, { near: this.#near, minLength: 1, maxLength: left })
      this.#extents.push({ fsbno, length })
      left -= length
      this.#near = fsbno + length
    }
  }

  /** Take up to `most` contiguous blocks. */
  take(most: number): AllocatedBlocks {
    const first = this.#extents[0]
    if (!first) {
      this.fill(most)
      return this.take(most)
    }
    const length = Math.min(most, first.length)
    const taken = { fsbno: first.fsbno, length }
    first.fsbno += length
    first.length -= length
    if (first.length === 0) this.#extents.shift()
    return taken
  }

  /** Free the blocks that were not taken. */
  release(): void {
    for (const { fsbno, length } of this.#extents) this.#tx.defer(extentFree, { fsbno, blockcount: length })
  }
}
