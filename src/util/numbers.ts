/** Numbers and sizes as the C library and xfsprogs parse them. */

/**
 * strtoll or strtoull: the value at the start of `text` and the text after it; undefined if there
 * is no number.
 * @param base 0: decimal, 0x… or 0…
 */
export function parseInteger(text: string, base: 0 | 10 | 16 = 0): { value: bigint; rest: string } | undefined {
  const match = /^\s*([+-]?)(0x(?=[0-9a-f]))?([0-9a-f]+)/i.exec(text)
  if (!match) return undefined
  const [all, sign, hex, digits = ''] = match
  // "0x10" in base 10 is 0 and "x10".
  if (hex && base === 10) return { value: 0n, rest: text.slice(all.length - digits.length - 1) }
  const radix =
    hex || base === 16 ? 16
    : base === 0 && digits.startsWith('0') ? 8
    : 10 // biome-ignore format: a case a line
  const valid = (radix === 16 ? /^.*/ : radix === 8 ? /^[0-7]*/ : /^[0-9]*/).exec(digits)?.[0] ?? ''
  if (valid === '') return undefined
  const magnitude = BigInt(radix === 16 ? `0x${valid}` : radix === 8 ? `0o${valid}` : valid)
  return { value: sign === '-' ? -magnitude : magnitude, rest: text.slice(all.length - digits.length + valid.length) }
}

/** Text that consists of such a number only; rounded past 2^53. */
export function wholeNumber(text: string, base: 0 | 10 | 16 = 0): number | undefined {
  const parsed = parseInteger(text, base)
  return parsed?.rest === '' ? Number(parsed.value) : undefined
}

/** C's atoi: 0 if it is not a number. */
export const atoi = (text: string): number => Number(parseInteger(text, 10)?.value ?? 0n)

/** Values of the suffixes `b` (a filesystem block) and `s` (a sector), in bytes. */
export interface Units {
  readonly block?: number
  readonly sector?: number
}

const shifts: Readonly<Record<string, bigint>> = { k: 10n, m: 20n, g: 30n, t: 40n, p: 50n, e: 60n }
const MOST = 2n ** 63n - 1n

/**
 * A number with one of the suffixes s, b, k, m, g, t, p, e or none, in bytes; undefined if it is
 * not a number or its unit is unknown. As with strtoll, a number that is too large becomes the
 * largest one.
 */
export function parseSize(text: string, { block, sector }: Units): bigint | undefined {
  const parsed = parseInteger(text)
  if (!parsed) return undefined
  const value = parsed.value > MOST ? MOST : parsed.value
  const suffix = parsed.rest.toLowerCase()
  if (suffix === '') return value
  if (suffix === 'b' || suffix === 's') {
    const unit = suffix === 'b' ? block : sector
    return unit === undefined ? undefined : value * BigInt(unit)
  }
  const shift = Object.hasOwn(shifts, suffix) ? shifts[suffix] : undefined
  return shift === undefined ? undefined : value << shift
}

/** All digits of an integer, also past 2^53, where JavaScript rounds. */
export const digits = (value: number): string =>
  Number.isSafeInteger(value) || !Number.isInteger(value) ? String(value) : BigInt(value).toString()
