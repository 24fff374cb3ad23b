/**
 * Deferred work: changes to other structures that follow from one change.
 *
 *   unmap an extent ──▶ bmap ──▶ rmap ──▶ refcount ──▶ extent free ──▶ agfl free
 *                        │         │         │              │
 *                        └─────────┴─────────┴──────────────┴──▶ may queue more, of any kind
 *
 * A transaction queues items. Before it commits it finishes them in the order of the ranks of their
 * kinds (as the kernel: mappings, reverse mappings, reference counts, free space), until the queues
 * are empty. If `finish` does only a part of an item, it returns the rest, which is then next.
 *
 * The kinds are declared in `space/`.
 *
 * Source: fs/xfs/libxfs/xfs_defer.c.
 */
export interface DeferredKind<Context, Item> {
  readonly name: string
  /** Lower ranks are finished first. */
  readonly rank: number
  /** Finish an item. @returns the rest, if any */
  finish(context: Context, item: Item): Item | undefined
}

/** A FIFO: `head` is the next item (shifting a long array would copy it each time). */
interface Queue<Context> {
  readonly kind: DeferredKind<Context, unknown>
  items: unknown[]
  head: number
}

const isEmpty = <Context>(queue: Queue<Context>): boolean => queue.head === queue.items.length

/** The queues of one transaction. The transaction is the context in which work is finished. */
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

  /** Items in the queues. */
  get length(): number {
    return this.#queues.reduce((sum, { items, head }) => sum + items.length - head, 0)
  }

  /** Work until the queues are empty. */
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
