/**
 * Positions in a file and counts of bytes, exact up to 2^63 − 1.
 *
 * A file may end at 2^63 − 1, and a Number holds every integer only up to 2^53. `Bytes` is a Number
 * up to there and a BigInt beyond: never two forms of one value, so `===`, `<` and text (`${size}`)
 * are right for any two of them, ordinary files cost what Numbers cost, JSON is a number as long as
 * readers can hold it and a string where they cannot. The compiler refuses `+`, `-`, `%` and
 * Math.min on them: sums are made here. Block numbers in a file stay Numbers (2^63 / 1024 = 2^53).
 */
export type Bytes = number | bigint

/**
 * The largest size of a file, and one more than the last position of a byte. Source: s_maxbytes of
 * XFS on 64-bit systems.
 */
export const MAX_FILE_SIZE: Bytes = 2n ** 63n - 1n

/** The one form of a value. A Number must be a whole one. */
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

/** The smaller one. A Number beside a BigInt may be Infinity. */
export const least = (a: Bytes, b: Bytes): Bytes => (a <= b ? a : b)

/** The larger one. */
export const most = (a: Bytes, b: Bytes): Bytes => (a >= b ? a : b)

/** At most `limit`, which is a safe integer: so is what comes back. */
export const capped = (value: Bytes, limit: number): number => (value < limit ? Number(value) : limit)

/** The unit (a block, a sector) that a position lies in: `floor(bytes / unit)`. */
export const unitOf = (bytes: Bytes, unit: number): number =>
  typeof bytes === 'number' ? Math.floor(bytes / unit) : Number(bytes / BigInt(unit))

/**
 * How many units hold `bytes`: `ceil(bytes / unit)`. As above exact from 1024 bytes on; in
 * smaller units it may be rounded.
 */
export const unitsFor = (bytes: Bytes, unit: number): number =>
  typeof bytes === 'number' ? Math.ceil(bytes / unit) : Number((bytes + BigInt(unit) - 1n) / BigInt(unit))

/** Bytes between the start of its unit and a position: `bytes % unit`. */
export const inUnit = (bytes: Bytes, unit: number): number =>
  typeof bytes === 'number' ? bytes % unit : Number(bytes % BigInt(unit))

/** Where a unit begins: `index * unit`. */
export function unitStart(index: number, unit: number): Bytes {
  const product = index * unit
  return Number.isSafeInteger(product) ? product : exact(BigInt(index) * BigInt(unit))
}
