import { XfsError } from '../errors.ts'
import { parseInteger } from '../util/numbers.ts'
import type { Mask64 } from './struct.ts'

/**
 * The two forms of an inode's timestamps.
 *
 *   old       signed 32-bit seconds, then 32-bit nanoseconds         1901-12-13 … 2038-01-19
 *   bigtime   64-bit nanoseconds since 1901-12-13 20:45:52 UTC,      1901-12-13 … 2486-07-02
 *             that is −2^31 seconds
 *
 * A flag of the inode selects the form. Source: xfs_format.h, xfs_inode_buf.c.
 */

/** Seconds since 1970 (may be negative) and nanoseconds within the second. */
export interface Timestamp {
  readonly seconds: number
  readonly nanoseconds: number
}

/** The source of the current time. Reproducible builds supply their own. */
export type Clock = () => Timestamp

const NANOS = 1_000_000_000
const BIGTIME_OFFSET = 2 ** 31
const OLD_MIN = -(2 ** 31)
const OLD_MAX = 2 ** 31 - 1
/**
 * The last second that fits into 64 bits of nanoseconds and is a multiple of four, the unit of
 * quota timers (XFS_BIGTIME_TIME_MAX).
 */
const BIGTIME_MAX = Number((0xffff_ffff_ffff_ffffn / 1_000_000_000n) & ~3n) - BIGTIME_OFFSET

export function decodeTime(raw: Mask64, bigtime: boolean): Timestamp {
  if (!bigtime) return { seconds: raw.hi | 0, nanoseconds: raw.lo }
  const all = (BigInt(raw.hi) << 32n) | BigInt(raw.lo)
  return { seconds: Number(all / 1_000_000_000n) - BIGTIME_OFFSET, nanoseconds: Number(all % 1_000_000_000n) }
}

/**
 * The stored form. A time out of range is clamped, as the kernel does.
 */
export function encodeTime(time: Timestamp, bigtime: boolean): Mask64 {
  const { seconds, nanoseconds } = clampTime(time, bigtime)
  if (!bigtime) return { hi: seconds >>> 0, lo: nanoseconds }
  const all = BigInt(seconds + BIGTIME_OFFSET) * 1_000_000_000n + BigInt(nanoseconds)
  return { hi: Number(all >> 32n), lo: Number(all & 0xffff_ffffn) }
}

/** True if the time can be stored exactly. */
export function fitsTime(time: Timestamp, bigtime: boolean): boolean {
  const { seconds, nanoseconds } = clampTime(time, bigtime)
  return seconds === time.seconds && nanoseconds === time.nanoseconds
}

function clampTime({ seconds, nanoseconds }: Timestamp, bigtime: boolean): Timestamp {
  const max = bigtime ? BIGTIME_MAX : OLD_MAX
  if (seconds < OLD_MIN) return { seconds: OLD_MIN, nanoseconds: 0 }
  if (seconds >= max) return { seconds: max, nanoseconds: 0 }
  return { seconds, nanoseconds: Math.min(Math.max(Math.trunc(nanoseconds), 0), NANOS - 1) }
}

/** The clock of the machine. */
export const systemClock: Clock = () => {
  const milliseconds = Date.now()
  const seconds = Math.floor(milliseconds / 1000)
  return { seconds, nanoseconds: (milliseconds - seconds * 1000) * 1_000_000 }
}

/**
 * The time set in the environment for reproducible builds: SOURCE_DATE_EPOCH, in seconds since
 * 1970.
 * @throws XfsError INVAL
 */
export function pinnedTime(env: Readonly<Record<string, string | undefined>>): Timestamp | undefined {
  const epoch = env['SOURCE_DATE_EPOCH']
  if (epoch === undefined || epoch === '') return undefined
  const seconds = parseInteger(epoch)
  if (seconds?.rest !== '') throw new XfsError('INVAL', `SOURCE_DATE_EPOCH is not a number: ${epoch}`)
  return { seconds: Number(seconds.value), nanoseconds: 0 }
}

/** A clock that does not advance, for reproducible images. */
export const fixedClock = (seconds: number, nanoseconds = 0): Clock => {
  const time = { seconds, nanoseconds }
  return () => time
}
