import type { BlockType } from '../format/verify.ts'

/**
 * A block of metadata in memory: one (daddr, length) of the device, of one type. The bytes were verified when they were read;
 * code above trusts the header of what it gets here. Change the bytes only after `tx.edit(buf)`.
 */
export interface Buf {
  readonly daddr: number
  /** Bytes. */
  readonly length: number
  type: BlockType
  readonly bytes: Uint8Array
  readonly view: DataView
  /** Committed, but not yet on the device. */
  dirty: boolean
  /** Held by a running transaction. */
  pinned: boolean
}
