import { DiskDquot, DQUOT_MAGIC, Dqblk, DquotTypes } from '../format/dquot.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import { BlfFlags, DquotLogFormat, QuotaoffLogFormat } from '../format/logitems.ts'
import { compareLsn, isLsn } from '../format/lsn.ts'
import { QuotaAccounting, type Superblock } from '../format/sb.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { stamp } from '../format/verify/stamp.ts'
import { viewOf } from '../util/view.ts'
import { logError } from './operations.ts'
import type { ReplayPlace } from './replayplace.ts'
import type { LoggedItem } from './transactions.ts'

/**
 * Replaying a quota record. Records of a type that is not in use, or was switched off while the log
 * was written, are left as they are.
 *
 * Source: fs/xfs/xfs_dquot_item_recover.c.
 */

const TYPES = ['user', 'project', 'group'] as const
const bufferFlags = {
  user: BlfFlags.userQuota,
  project: BlfFlags.projectQuota,
  group: BlfFlags.groupQuota,
}

/** The types that a filesystem counts, as flags of a buffer. */
export const quotasInUse = ({ qflags }: Pick<Superblock, 'qflags'>): number =>
  TYPES.reduce((all, type) => ((qflags & QuotaAccounting[type]) === 0 ? all : all | bufferFlags[type]), 0)

/** The types that an item switches off, as flags of a buffer. */
export function quotasOff({ order, regions }: LoggedItem): number {
  const [format] = regions as [Uint8Array]
  const { flags } = QuotaoffLogFormat[order].fields
  if (format.length < flags.offset + flags.size) throw logError(`a quotaoff item has ${format.length} bytes`)
  return quotasInUse({ qflags: flags.get(viewOf(format), 0) })
}

export interface QuotaChange {
  readonly daddr: number
  /** Byte offset of the record in the buffer. */
  readonly offset: number
}

/** Take an item apart. @throws XfsError CORRUPT */
export function quotaChange({ order, regions }: LoggedItem): QuotaChange {
  const [format, record] = regions as [Uint8Array, ...Uint8Array[]]
  if (format.length < DquotLogFormat.size || !record || record.length < DiskDquot.size || record.length > Dqblk.size)
    throw logError(`a quota record has ${record?.length ?? 0} bytes`)
  const { blkno: daddr, len, boffset: offset, id } = DquotLogFormat[order].decode(viewOf(format))
  if (!(daddr >= 0 && Number.isSafeInteger(daddr * BASIC_BLOCK)) || offset + Dqblk.size > len * BASIC_BLOCK)
    throw logError(`the quota record of ${id} is at offset ${offset} of basic block ${daddr}`)
  if (DiskDquot.fields.magic.get(viewOf(record), 0) !== DQUOT_MAGIC)
    throw logError(`the quota record of ${id} is not one`)
  return { daddr, offset }
}

/**
 * Replay a record into `place`.
 * @param quotas  types in use, as flags of a buffer
 * @returns false if nothing was changed
 */
export function replayQuota(place: ReplayPlace, change: QuotaChange, record: Uint8Array, quotas: number): boolean {
  const { device, geometry, lsn } = place
  const type = DiskDquot.fields.type.get(viewOf(record), 0)
  const name = TYPES.find((one) => (type & DquotTypes[one]) !== 0)
  if (name === undefined || (quotas & bufferFlags[name]) === 0) return false
  const position = change.daddr * BASIC_BLOCK + change.offset
  if (position + Dqblk.size > device.size) throw logError(`basic block ${change.daddr} is out of range for the image`)
  const bytes = new Uint8Array(Dqblk.size)
  device.read(bytes, position)
  const view = viewOf(bytes)
  const found = Dqblk.fields.lsn.get(view, 0)
  if (isLsn(found) && compareLsn(found, lsn) >= 0) return false
  bytes.set(record)
  stamp(blockTypes.dquot, view, { geometry, daddr: change.daddr })
  device.write(bytes, position)
  return true
}
