import type { Timestamp } from '../format/time.ts'
import { named } from '../util/json.ts'
import type { Stats } from '../xfsimage/stats.ts'
import type { Row } from './output.ts'

export { named } from '../util/json.ts'

/** The forms of values in JSON. The schemas (schemas.ts) use them. */

/** `2026-03-01T12:30:15.123456789Z`: ISO 8601 in UTC, with nanoseconds. */
export function isoTime({ seconds, nanoseconds }: Timestamp): string {
  const date = new Date(seconds * 1000).toISOString()
  return `${date.slice(0, date.lastIndexOf('.'))}.${String(nanoseconds).padStart(9, '0')}Z`
}

/** `0644`: permissions with set-id and sticky bits, in octal. */
export const octal = (permissions: number): string => `0${(permissions & 0o7777).toString(8).padStart(3, '0')}`

/** What stat(2) reports, for records. */
export function statFields({ xfs }: Stats): Row {
  const { ino, type, permissions, nlink, uid, gid, size, device, target } = xfs
  return {
    ino,
    type,
    mode: octal(permissions),
    nlink,
    uid,
    gid,
    size,
    mtime: isoTime(xfs.mtime),
    ...(device && { device }),
    ...(target && named('target', target)),
  }
}

/** The absolute path of the file at `below`, relative to `start`. */
export function absolute(start: Uint8Array, below: Uint8Array = new Uint8Array(0)): Uint8Array {
  const parts = Buffer.concat([SLASH, start, SLASH, below]).toString('latin1').split('/')
  return Buffer.from(`/${parts.filter((part) => part !== '' && part !== '.').join('/')}`, 'latin1')
}

const SLASH = Uint8Array.of(0x2f)

/** The flags of an extent. */
export const extentFlags = ({
  unwritten,
  shared,
}: {
  readonly unwritten: boolean
  readonly shared: boolean
}): string[] => [unwritten && 'unwritten', shared && 'shared'].filter((flag) => flag !== false)
