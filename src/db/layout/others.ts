import { DiskDquot, Dqblk, DquotTypes } from '../../format/dquot.ts'
import type { Unnamed } from '../../format/struct.ts'
import { SymlinkHdr } from '../../format/symlink.ts'
import { chars, type Layout, printed, single, structItems } from './items.ts'
import { timeText } from './time.ts'

/** Blocks of symbolic links, and quota records. */

export const symlinkLayout: Layout = function* (view, geometry) {
  yield* structItems(SymlinkHdr, 0, '', geometry)
  const length = Math.min(SymlinkHdr.fields.bytes.get(view, 0), view.byteLength - SymlinkHdr.size)
  if (length > 0) yield single('data', chars(length, 'part of the target'), SymlinkHdr.size)
}

/**
 * Timers of a quota record: the grace period (id 0) or a point in time, in units of four seconds
 * with bigtime.
 */
const quotaTimer = (timer: Unnamed): Unnamed =>
  printed(timer as Unnamed<number>, (value, view, at) => {
    const { type, id } = DiskDquot.fields
    const seconds = (type.get(view, at) & DquotTypes.bigtime) !== 0 ? value * 4 : value
    return id.get(view, at) === 0 || seconds === 0 ? String(seconds) : timeText(seconds)
  })

export const dquotLayout: Layout = function* (_view, geometry) {
  for (const item of structItems(Dqblk, 0, '', geometry)) {
    const timer = item.form === 'field' && /timer$/.test(item.path)
    yield timer ? single(item.path, quotaTimer(item.field), item.at) : item
  }
}
