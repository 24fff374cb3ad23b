import type { BlockType } from '../format/verify/blocktype.ts'

/** A contiguous part of a block that is not contiguous on the device. */
export interface Piece {
  readonly daddr: number
  /** Bytes. */
  readonly length: number
}

/**
 * A block of metadata in memory: one (daddr, length) of the device, of one type. The bytes were
 * verified when they were read, and callers trust the header. Change the bytes only after
 * `tx.edit(buf)`.
 */
export interface Buf {
  readonly daddr: number
  /** Bytes. */
  readonly length: number
  /**
   * The parts of a directory block whose filesystem blocks are not adjacent; the first is at
   * `daddr`.
   */
  readonly pieces?: readonly Piece[]
  type: BlockType
  readonly bytes: Uint8Array
  readonly view: DataView
  /** Committed, but not yet on the device. */
  dirty: boolean
  /** Held by a running transaction. */
  pinned: boolean
  /** Used since the cache last dropped blocks. */
  used: boolean
  /**
   * The bytes as last committed, while a transaction changes them: a sync meanwhile writes these.
   */
  before: Uint8Array | undefined
  /** The CRC does not match the committed bytes: it is computed when they are written. */
  unstamped: boolean
  /** Inode blocks only: offsets of inodes that were verified and have not changed since. */
  verified: Set<number> | undefined
}

/** Maximum bytes of log item headers for one contiguous part of a block. */
const ITEM_HEADERS = 128

/** Maximum bytes that a complete block takes in the log. */
export const logWeight = (buf: Buf): number => buf.length + ITEM_HEADERS * (buf.pieces?.length ?? 1)
