import { type Bytes, exact, subtract, unitStart } from '../util/bytes.ts'
import { digits } from '../util/numbers.ts'

/**
 * The text of mappings: ranges and flags, in units of 512 bytes, as bmap, fiemap and fsmap print
 * them.
 */

export const BASIC = 512
export const padEnd = (text: string, width: number): string => text.padEnd(width)
export const padStart = (text: string | number, width: number): string => String(text).padStart(width)

export const SHARED = 0o100000
export const UNWRITTEN = 0o010000
const STRIPE = { beginUnit: 0o001000, endUnit: 0o000100, beginWidth: 0o000010, endWidth: 0o000001 } as const

/**
 * Flags of an extent that does not begin or end at stripe boundaries; `at` and `length` in any
 * unit.
 */
export function stripeFlags(at: number, length: number, unit: number, width: number): number {
  if (unit === 0) return 0
  return (
    (at % unit !== 0 ? STRIPE.beginUnit : 0) |
    ((at + length) % unit !== 0 ? STRIPE.endUnit : 0) |
    (at % width !== 0 ? STRIPE.beginWidth : 0) |
    ((at + length) % width !== 0 ? STRIPE.endWidth : 0)
  )
}

/** A mapping as a record, in bytes; a hole without `block`. */
export const mappingValues = (offset: number, length: number, block: number | undefined, flags: readonly string[]) => ({
  offset: unitStart(offset, BASIC),
  length: unitStart(length, BASIC),
  physical: block === undefined ? null : unitStart(block, BASIC),
  flags,
})

export const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, '0')

export function legend(digits: number, attributes: boolean): string {
  const rows: [number, string][] = [
    [SHARED, 'Shared extent'],
    [UNWRITTEN, 'Unwritten preallocated extent'],
    [STRIPE.beginUnit, "Doesn't begin on stripe unit"],
    [STRIPE.endUnit, "Doesn't end   on stripe unit"],
    [STRIPE.beginWidth, "Doesn't begin on stripe width"],
    [STRIPE.endWidth, "Doesn't end   on stripe width"],
  ]
  if (attributes) rows.unshift([0o1000000, 'Attribute fork'])
  return ` FLAG Values:\n${rows.map(([bit, what]) => `    ${octal(bit, digits)} ${what}\n`).join('')}`
}

/** The last of a run of units. Sums are exact, but a number one less may not be. */
export const lastOf = (start: number, length: number): Bytes => subtract(exact(start + length), 1)
export const range = (start: number, length: number): string => `${digits(start)}..${lastOf(start, length)}`
export const fileRange = (start: number, length: number): string => `[${range(start, length)}]:`

export const LEAST_RANGE = 16
/** The maximum width in xfs_io. */
export const LONGEST_RANGE = 31
export const LEAST_TOTAL = 5
export const LEAST_AG = 2
