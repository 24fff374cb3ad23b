import { XfsError } from '../errors.ts'
import type { Timestamp } from '../format/time.ts'

/**
 * Extended headers of tar archives (POSIX.1-2001, "pax"): a list of records, `LENGTH KEY=VALUE\n`,
 * LENGTH counting all of the record. Values are bytes here, not text: names and attributes need not
 * be UTF-8. Available libraries decode them as UTF-8, so they are not used.
 */
export type PaxRecord = readonly [key: string, value: Uint8Array]

/** The error for a damaged archive. */
export const bad = (message: string): XfsError => new XfsError('INVAL', `not a sound tar archive: ${message}`)

const SPACE = 0x20
const EQUALS = 0x3d
const NEWLINE = 0x0a

/** Maximum records of an extended header, more than any file needs. */
const MAX_RECORDS = 2 ** 20

/** The records, in order; the values are parts of `bytes`. @throws XfsError INVAL */
export function* parsePax(bytes: Uint8Array): Generator<PaxRecord> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  let count = 0
  for (let at = 0; at < bytes.length && bytes[at] !== 0; ) {
    if (++count > MAX_RECORDS) throw bad(`an extended header of more than ${MAX_RECORDS} records`)
    let length = 0
    let start = at
    for (let digit = digitAt(bytes, start); digit >= 0 && length <= bytes.length; digit = digitAt(bytes, ++start))
      length = length * 10 + digit
    const end = at + length
    if (digitAt(bytes, at) < 1 || bytes[start] !== SPACE || end > bytes.length || bytes[end - 1] !== NEWLINE)
      throw bad('invalid extended header')
    let equals = start
    while (equals < end && bytes[equals] !== EQUALS) equals++
    if (equals === end) throw bad('invalid extended header')
    yield [text.toString('latin1', start + 1, equals), bytes.subarray(equals + 1, end - 1)]
    at = end
  }
}

/** The value of a decimal digit; negative for any other byte. */
const digitAt = (bytes: Uint8Array, at: number): number => {
  const digit = (bytes[at] ?? 0) - 0x30
  return digit > 9 ? -1 : digit
}

export function buildPax(records: readonly PaxRecord[]): Uint8Array {
  return Buffer.concat(
    records.map(([key, value]) => {
      const head = Buffer.from(` ${key}=`, 'latin1')
      const rest = head.length + value.length + 1
      let length = rest + String(rest).length
      length = rest + String(length).length
      return Buffer.concat([Buffer.from(String(length)), head, value, Uint8Array.of(NEWLINE)])
    }),
  )
}

/** A copy of the first `most` bytes (Buffer.slice would keep the whole buffer in memory). */
export const copyOf = (bytes: Uint8Array, most = bytes.length): Uint8Array => new Uint8Array(bytes.subarray(0, most))

export const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')

/** `1350244992.023960108`, also negative. */
export function parsePaxTime(value: Uint8Array): Timestamp | undefined {
  const match = /^(-?)(\d{1,15})(?:\.(\d+))?$/.exec(latin1(value))
  if (!match) return undefined
  const [, sign, whole = '', fraction = ''] = match
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'))
  if (sign !== '-') return { seconds: Number(whole), nanoseconds }
  return nanoseconds === 0
    ? { seconds: -Number(whole), nanoseconds }
    : { seconds: -Number(whole) - 1, nanoseconds: 1_000_000_000 - nanoseconds }
}

export function paxTime({ seconds, nanoseconds }: Timestamp): string {
  if (nanoseconds === 0) return String(seconds)
  const fraction = (value: number): string => String(value).padStart(9, '0').replace(/0+$/, '')
  return seconds >= 0
    ? `${seconds}.${fraction(nanoseconds)}`
    : `-${-seconds - 1}.${fraction(1_000_000_000 - nanoseconds)}`
}

/** In keys a name must not hold `=`; GNU tar writes it so. */
export const paxKeyOf = (name: Uint8Array): string => latin1(name).replace(/%/g, '%25').replace(/=/g, '%3D')
export const paxNameOf = (key: string): Uint8Array =>
  Buffer.from(key.replace(/%3D/gi, '=').replace(/%25/g, '%'), 'latin1')
