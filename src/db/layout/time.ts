import { XfsError } from '../../errors.ts'

/** Times as xfs_db prints and parses them. */

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** Seconds since 1970 as C's ctime writes them, in local time. */
export function timeText(seconds: number): string {
  const date = new Date(seconds * 1000)
  if (Number.isNaN(date.getTime())) return String(seconds)
  const two = (value: number): string => String(value).padStart(2, '0')
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  return `${DAYS[date.getDay()]} ${MONTHS[date.getMonth()]} ${String(date.getDate()).padStart(2)} ${clock} ${date.getFullYear()}`
}

/** Seconds as a number, or a date that `Date` parses. */
export function parseTime(text: string): number {
  if (/^-?\d+$/.test(text)) return Number(text)
  const time = Date.parse(text)
  if (Number.isNaN(time)) throw new XfsError('INVAL', `not a time: ${text}`)
  return Math.floor(time / 1000)
}
