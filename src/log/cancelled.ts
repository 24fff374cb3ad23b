/**
 * Buffers that were freed: their earlier changes in the log are not replayed, for the blocks may
 * belong to file data now. Counted in a first pass over the log. The second pass takes each
 * cancellation off when it comes to it: what follows is replayed.
 *
 * Source: fs/xfs/xfs_log_recover.c (xlog_add_buffer_cancelled, xlog_put_buffer_cancelled).
 */
export class CancelledBuffers {
  /** By basic block, then by length. */
  readonly #counts = new Map<number, Map<number, number>>()

  add(daddr: number, length: number): void {
    const lengths = this.#counts.get(daddr) ?? new Map<number, number>()
    lengths.set(length, (lengths.get(length) ?? 0) + 1)
    this.#counts.set(daddr, lengths)
  }

  has(daddr: number, length: number): boolean {
    return this.#counts.get(daddr)?.has(length) === true
  }

  remove(daddr: number, length: number): void {
    const lengths = this.#counts.get(daddr)
    const count = lengths?.get(length) ?? 0
    if (count > 1) lengths?.set(length, count - 1)
    else lengths?.delete(length)
  }
}
