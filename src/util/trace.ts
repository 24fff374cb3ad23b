import { type Channel, channel } from 'node:diagnostics_channel'

/**
 * Trace points: one `node:diagnostics_channel` for each subject, named `xfskit:SUBJECT`. A message
 * is a plain object with the name of its point and its numbers. Without subscribers a point costs
 * one property read:
 *
 *   if (trace.refcount.hasSubscribers)
 *     trace.refcount.publish({ point: 'split', agno, agbno } satisfies TraceMessage)
 */
export const trace = {
  space: channel('xfskit:space'),
  rmap: channel('xfskit:rmap'),
  refcount: channel('xfskit:refcount'),
  bmap: channel('xfskit:bmap'),
  reflink: channel('xfskit:reflink'),
} as const satisfies Record<string, Channel>

export type TraceSubject = keyof typeof trace

export interface TraceMessage {
  readonly point: string
  readonly [fact: string]: string | number | boolean | undefined
}
