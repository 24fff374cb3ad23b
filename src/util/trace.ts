import type { Bytes } from './bytes.ts'

/**
 * Trace points: one channel for each subject. Without subscribers a point costs one property read:
 *
 *   if (trace.refcount.hasSubscribers) trace.refcount.publish({ point: 'split', agno, agbno })
 */
class TraceChannel {
  readonly #listeners = new Set<TraceListener>()
  hasSubscribers = false

  publish(message: TraceMessage): void {
    for (const listener of this.#listeners) listener(message)
  }

  subscribe(listener: TraceListener): void {
    this.#listeners.add(listener)
    this.hasSubscribers = true
  }

  unsubscribe(listener: TraceListener): void {
    this.#listeners.delete(listener)
    this.hasSubscribers = this.#listeners.size > 0
  }
}

type TraceListener = (message: TraceMessage) => void

/** A plain object: the name of the point and its numbers. */
export interface TraceMessage {
  readonly point: string
  readonly [fact: string]: string | Bytes | boolean | undefined
}

export const trace = {
  space: new TraceChannel(),
  rmap: new TraceChannel(),
  refcount: new TraceChannel(),
  bmap: new TraceChannel(),
  reflink: new TraceChannel(),
} as const

export type TraceSubject = keyof typeof trace
