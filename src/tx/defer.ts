/**
 * Deferred work: what a change to one structure owes to the others.
 *
 *   unmap an extent ──▶ bmap ──▶ rmap ──▶ refcount ──▶ extent free ──▶ agfl free
 *                        │         │         │              │
 *                        └─────────┴─────────┴──────────────┴──▶ may queue more, of any kind
 *
 * A transaction queues items; before it commits it finishes them, kind by kind in the order of their ranks
 * (the kernel's order: mappings, reverse mappings, reference counts, free space), until nothing is queued.
 * `finish` returns what is left of an item when it did only part of it, and that goes first next time.
 *
 * This layer knows no kind: `space/` and `file/` declare them. A kind's `intent` and `done` codes are those of its log items, for a
 * committer that writes a log and for recovery, which rebuilds items from intents without a done and calls the same `finish`.
 *
 * Source: fs/xfs/libxfs/xfs_defer.c.
 */
export interface DeferredKind<Context, Item> {
  readonly name: string
  /** Lower goes first. */
  readonly rank: number
  /** Log item codes of the promise and of its fulfilment. */
  readonly intent: number
  readonly done: number
  /** Do it; what is left, if anything. */
  finish(context: Context, item: Item): Item | undefined
}

/** First in, first out: `head` is the next one (shifting a long array would copy it each time). */
interface Queue<Context> {
  readonly kind: DeferredKind<Context, unknown>
  items: unknown[]
  head: number
}

const isEmpty = <Context>(queue: Queue<Context>): boolean => queue.head === queue.items.length

/** The queues of one transaction, which is the context that work is finished in. */
export class DeferQueue<Context> {
  readonly #queues: Queue<Context>[] = []

  add<Item>(kind: DeferredKind<Context, Item>, item: Item): void {
    let queue = this.#queues.find((q) => q.kind === kind)
    if (!queue) {
      queue = { kind: kind as DeferredKind<Context, unknown>, items: [], head: 0 }
      this.#queues.push(queue)
      this.#queues.sort((a, b) => a.kind.rank - b.kind.rank)
    }
    queue.items.push(item)
  }

  /** Items that are waiting. */
  get length(): number {
    return this.#queues.reduce((sum, { items, head }) => sum + items.length - head, 0)
  }

  /** Work until nothing is queued. */
  finish(context: Context): void {
    for (;;) {
      const queue = this.#queues.find((q) => !isEmpty(q))
      if (!queue) return
      const at = queue.head
      const left = queue.kind.finish(context, queue.items[at])
      if (left !== undefined) queue.items[at] = left
      else queue.head = at + 1
      if (isEmpty(queue)) {
        queue.items = []
        queue.head = 0
      }
    }
  }

  clear(): void {
    this.#queues.length = 0
  }
}
