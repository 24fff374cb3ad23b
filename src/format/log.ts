import { crc32cExcept, crc32c as sum } from '../util/crc32c.ts'
import { array, crc32c, lsn, magic32, pad, u16, u32, uuid, x8, x16, x32 } from './fields.ts'
import { type ByteOrder, hostOrder } from './hostorder.ts'
import { type Rec, struct } from './struct.ts'

/**
 * The log: a ring of records. A record is a header (one basic block, and further header blocks if
 * records may exceed 32 KiB), then packed operations. An operation is a small header and its data.
 *
 *   | record header | ext. header … | op header, data | op header, data | … up to h_len |
 *
 * Record and operation headers are big-endian. The data of operations is in the writer's byte order
 * (`h_fmt`). The first four bytes of every basic block after the headers are replaced by the cycle
 * number, so that torn writes are detected. The header keeps the original bytes.
 */

export const LOG_RECORD_MAGIC = 0xfeedbabe
/** Bytes of a record whose first words fit into one header block. */
export const LOG_CYCLE_SIZE = 32768
export const LOG_CYCLE_WORDS = 64
/** `h_fmt`: the byte order of the data. */
export const LogFormats = { unknown: 0, little: 1, big: 2, irix: 3 } as const

// biome-ignore format: one field a line, columns aligned
export const LogRecord = struct('log_record', 328, 'xfs_log_format.h: struct xlog_rec_header', {
  magicno:    magic32(0, LOG_RECORD_MAGIC, 'magic number'),
  cycle:      u32(4, 'cycle number of the log'),
  version:    u32(8, '2'),
  len:        u32(12, 'bytes of data, without the headers'),
  lsn:        lsn(16, 'LSN of this record'),
  tail_lsn:   lsn(24, 'LSN of the oldest record that recovery needs'),
  crc:        crc32c(32),
  prev_block: u32(36, 'basic block of the previous record'),
  num_logops: u32(40, 'operations that begin in this record'),
  cycle_data: array(44, LOG_CYCLE_WORDS, x32, 'first words of the first 64 basic blocks of data'),
  fmt:        u32(300, 'byte order of the data'),
  fs_uuid:    uuid(304, 'filesystem that the log belongs to (its user-visible UUID)'),
  size:       u32(320, 'bytes of the buffer it was written from; determines the number of header blocks'),
  pad:        pad(324, 4),
})
export type LogRecord = Rec<typeof LogRecord>

/**
 * Bytes of the header that its writer's checksum covers: the structure of a 32-bit kernel lacks the
 * padding.
 */
export const LOG_CRC_SIZES = [328, 324] as const

// biome-ignore format: one field a line, columns aligned
export const LogRecordExt = struct('log_record_ext', 260, 'xfs_log_format.h: struct xlog_rec_ext_header', {
  cycle:      u32(0, 'cycle number of the log'),
  cycle_data: array(4, LOG_CYCLE_WORDS, x32, 'first words of the next 64 basic blocks of data'),
})
export type LogRecordExt = Rec<typeof LogRecordExt>

/** The writers of operations. */
export const LogClients = { transaction: 0x69, log: 0xaa } as const
/** Flags of an operation. */
export const LogOpFlags = {
  start: 0x01,
  commit: 0x02,
  continues: 0x04,
  wasContinued: 0x08,
  ends: 0x10,
  unmount: 0x20,
} as const

// biome-ignore format: one field a line, columns aligned
export const LogOp = struct('log_op', 12, 'xfs_log_format.h: struct xlog_op_header', {
  tid:        x32(0, 'transaction'),
  len:        u32(4, 'bytes of data that follow'),
  clientid:   x8(8, 'transaction 0x69, log 0xaa'),
  flags:      x8(9, 'start, commit, continued …'),
  res2:       x16(10, 'zero'),
})
export type LogOp = Rec<typeof LogOp>

export const TRANS_HEADER_MAGIC = 0x5452414e // TRAN
export const TRANS_CHECKPOINT = 40

/** Data of the first operation of a transaction. */
// biome-ignore format: one field a line, columns aligned
export const TransHeader = hostOrder(struct('trans_header', 16, 'xfs_log_format.h: struct xfs_trans_header', {
  magic:      magic32(0, TRANS_HEADER_MAGIC, '"TRAN"'),
  type:       u32(4, 'checkpoint 40'),
  tid:        u32(8, 'unused'),
  num_items:  u32(12, 'items, including this header'),
}))
export type TransHeader = Rec<typeof TransHeader.big>

export const UNMOUNT_MAGIC = 0x556e // Un

/** Data of the operation that records a clean unmount. */
// biome-ignore format: one field a line, columns aligned
export const UnmountRecord = hostOrder(struct('unmount_record', 8, 'xfs_log_format.h: struct xfs_unmount_log_format', {
  magic:      { ...x16(0, '"Un"'), magic: UNMOUNT_MAGIC },
  pad1:       u16(2, 'zero'),
  pad2:       u32(4, 'zero'),
}))

/** The byte order of a record's data; undefined if `fmt` is unknown. */
export const byteOrderOf = (fmt: number): ByteOrder | undefined =>
  fmt === LogFormats.little ? 'little' : fmt === LogFormats.big ? 'big' : undefined

/** Header blocks of a record, from the size of the buffer that it was written from. */
export const logHeaderBlocks = (size: number, version = 2): number =>
  (version & 2) !== 0 && size > LOG_CYCLE_SIZE ? Math.ceil(size / LOG_CYCLE_SIZE) : 1

/** The cycle number of a basic block: the record magic is not a cycle number. */
export function blockCycle(view: DataView, at: number): number {
  const first = view.getUint32(at)
  return first === LOG_RECORD_MAGIC ? LogRecord.fields.cycle.get(view, at) : first
}

/**
 * The checksum of a record, over header, further header blocks and data, with its own field zero.
 *
 * @param headers all header blocks, 512 bytes each; the checksum covers the further ones that the
 *   data needs
 * @param headerSize bytes of the first header that the checksum covers (LOG_CRC_SIZES)
 * @source xfs_log.c: xlog_cksum
 */
export function logCrc(
  headers: Uint8Array,
  data: Uint8Array,
  headerSize: (typeof LOG_CRC_SIZES)[number] = 328,
): number {
  let crc = crc32cExcept(headers.subarray(0, headerSize), LogRecord.fields.crc.offset)
  const counted = Math.min(Math.ceil(data.length / LOG_CYCLE_SIZE), Math.floor(headers.length / 512))
  for (let i = 1; i < counted; i++) crc = sum(headers.subarray(512 * i, 512 * i + LogRecordExt.size), crc)
  return sum(data, crc)
}
