import type { BlockType } from '../format/verify/blocktype.ts'

/** Part of a block that does not lie in one piece on the device. */
export interface Piece {
  readonly daddr: number
  /** Bytes. */
  readonly length: number
}

/**
 * A block of metadata in memory: one (daddr, length) of the device, of one type. The bytes were verified when they were read;
 * code above trusts the header of what it gets here. Change the bytes only after `tx.edit(buf)`.
 */
export interface Buf {
  readonly daddr: number
  /** Bytes. */
  readonly length: number
  /** Where its parts are, for a directory block of several filesystem blocks that are not adjacent; the first is at `daddr`. */
  readonly pieces?: readonly Piece[]
  type: BlockType
  readonly bytes: Uint8Array
  readonly view: DataView
  /** Committed, but not yet on the device. */
  dirty: boolean
  /** Held by a running transaction. */
  pinned: boolean
  /** Read again since the cache last looked for blocks to drop. */
  used: boolean
  /** The bytes as last committed, while a running transaction changes them: a sync in the middle of it writes these. */
  before: Uint8Array | undefined
  /** Committed bytes whose checksum is still that of older ones: it is due when they are written. */
  unstamped: boolean
  /** Of a block of inodes: where those begin that were verified and have not been changed since. */
  sound: Set<number> | undefined
}

/** Bytes that one contiguous part of a block takes in the log at most beside its content: the heads of its log item. */
const ITEM_HEADS = 128

/** Bytes that a whole block takes in the log, at most. */
export const logWeight = (buf: Buf): number => buf.length + ITEM_HEADS * (buf.pieces?.length ?? 1)
