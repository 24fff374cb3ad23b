/**
 * Positions in a file and counts of bytes, exact up to 2^63 − 1.
 *
 * A file may end at 2^63 − 1, and a Number holds every integer only up to 2^53. `Bytes` is a Number
 * up to 2^53 and a BigInt beyond. Each value has one form only, so `===`, `<` and text (`${size}`)
 * work for any two of them. In JSON it is a number if readers can hold it, else a string. The
 * compiler rejects `+`, `-`, `%` and Math.min for this type: use the functions here. Block numbers
 * in a file stay Numbers (2^63 / 1024 = 2^53).
 */
export type Bytes = number | bigint

/**
 * The maximum size of a file. Source: s_maxbytes of XFS on 64-bit systems.
 */
export const MAX_FILE_SIZE: Bytes = 2n ** 63n - 1n

/** The one form of a value. A Number must be an integer. */
export function exact(value: Bytes): Bytes {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : BigInt(value)
  return value <= Number.MAX_SAFE_INTEGER && value >= Number.MIN_SAFE_INTEGER ? Number(value) : value
}

/** `a + b` */
export function add(a: Bytes, b: Bytes): Bytes {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b
    if (Number.isSafeInteger(sum)) return sum
  }
  return exact(BigInt(a) + BigInt(b))
}

/** `a - b` */
export function subtract(a: Bytes, b: Bytes): Bytes {
  if (typeof a === 'number' && typeof b === 'number') {
    const difference = a - b
    if (Number.isSafeInteger(difference)) return difference
  }
  return exact(BigInt(a) - BigInt(b))
}

/** The smaller one. A Number next to a BigInt may be Infinity. */
export const least = (a: Bytes, b: Bytes): Bytes => (a <= b ? a : b)

/** The larger one. */
export const most = (a: Bytes, b: Bytes): Bytes => (a >= b ? a : b)

/** At most `limit`. `limit` is a safe integer, so the result is one, too. */
export const capped = (value: Bytes, limit: number): number => (value < limit ? Number(value) : limit)

/** The unit (a block, a sector) that contains a position: `floor(bytes / unit)`. */
export const unitOf = (bytes: Bytes, unit: number): number =>
  typeof bytes === 'number' ? Math.floor(bytes / unit) : Number(bytes / BigInt(unit))

/**
 * The number of units that hold `bytes`: `ceil(bytes / unit)`. Exact for units of 1024 bytes or
 * more; in smaller units it may be rounded.
 */
export const unitsFor = (bytes: Bytes, unit: number): number =>
  typeof bytes === 'number' ? Math.ceil(bytes / unit) : Number((bytes + BigInt(unit) - 1n) / BigInt(unit))

/** The offset of a position within its unit: `bytes % unit`. */
export const inUnit = (bytes: Bytes, unit: number): number =>
  typeof bytes === 'number' ? bytes % unit : Number(bytes % BigInt(unit))

/** The start of a unit: `index * unit`. */
export function unitStart(index: number, unit: number): Bytes {
  const product = index * unit
  return Number.isSafeInteger(product) ? product : exact(BigInt(index) * BigInt(unit))
}
