/**
 * Numbers as xfs_io reads and prints them.
 */

/** C's strtoll/strtoull with base 0: the value and what follows it; undefined where there is no number. */
export function parseInteger(text: string, base = 0): { value: bigint; rest: string } | undefined {
  const pattern = base === 10 ? /^\s*([+-]?)()([0-9]+)/ : /^\s*([+-]?)(0[xX])?([0-9a-fA-F]+)/
  const match = pattern.exec(text)
  if (!match) return undefined
  const [, sign, hex, digits = ''] = match
  let used = match[0].length
  let value: bigint
  if (hex) value = BigInt(`0x${digits}`)
  else {
    const octal = base === 0 && digits.startsWith('0')
    const valid = (octal ? /^[0-7]+/ : /^[0-9]+/).exec(digits)?.[0] ?? ''
    // "0x" without digits, or letters only.
    if (valid === '') return undefined
    used -= digits.length - valid.length
    value = octal ? BigInt(`0o${valid}`) : BigInt(valid)
  }
  return { value: sign === '-' ? -value : value, rest: text.slice(used) }
}

/** A whole text that is a number. */
export function wholeNumber(text: string, base = 0): number | undefined {
  const parsed = parseInteger(text, base)
  return parsed && parsed.rest === '' ? Number(parsed.value) : undefined
}

/** C's atoi: what cannot be read is 0. */
export const atoi = (text: string): number => Number(parseInteger(text, 10)?.value ?? 0n)

const SHIFTS: Readonly<Record<string, bigint>> = { k: 10n, m: 20n, g: 30n, t: 40n, p: 50n, e: 60n }
const MAX_I64 = 2n ** 63n - 1n

/** A size with one of the suffixes s b k m g t p e; −1 where it is none. */
export function parseBytes(text: string, units: { readonly block: number; readonly sector: number }): number {
  const parsed = parseInteger(text)
  if (!parsed) return -1
  const value = parsed.value > MAX_I64 ? MAX_I64 : parsed.value
  const suffix = parsed.rest.toLowerCase()
  if (suffix === '') return Number(value)
  if (suffix === 'b') return Number(value) * units.block
  if (suffix === 's') return Number(value) * units.sector
  const shift = SHIFTS[suffix]
  // As in C: what does not fit into 64 bits wraps.
  return shift === undefined ? -1 : Number(BigInt.asIntN(64, value << shift))
}

const UNITS = ['EiB', 'PiB', 'TiB', 'GiB', 'MiB', 'KiB'] as const

/** `4 KiB`, `1.500 MiB`, `20.000000 bytes`. */
export function sizeText(value: number): string {
  const digits = Number.isInteger(value) && Math.abs(value) < 2 ** 31 ? 0 : 3
  for (const [i, unit] of UNITS.entries()) {
    const size = 2 ** (60 - 10 * i)
    if (value >= size) return `${(value / size).toFixed(digits)} ${unit}`
  }
  return `${value.toFixed(6)} bytes`
}

const two = (value: number): string => String(value).padStart(2, '0')

/** How long something took: `0.0012 sec`, or `0:00:03.25` from a second on (or if `fixed`). */
export function timeText(seconds: number, fixed = false): string {
  const whole = Math.floor(seconds)
  const micros = Math.floor((seconds - whole) * 1e6)
  if (!fixed && whole === 0) return `0.${String(Math.floor(micros / 100)).padStart(4, '0')} sec`
  const hundredths = Math.floor(micros / 1000 / 10)
  return `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))}:${two(whole % 60)}.${two(hundredths)}`
}

/** glibc's random() after srandom(seed), for `pwrite -R -Z` and `pread -R -Z`. */
export function glibcRandom(seed: number): () => number {
  const state = new Int32Array(34)
  state[0] = seed === 0 ? 1 : seed
  for (let i = 1; i < 31; i++) {
    const before = state[i - 1] as number
    const word = 16807 * (before % 127773) - 2836 * Math.trunc(before / 127773)
    state[i] = word < 0 ? word + 2147483647 : word
  }
  const ring = new Uint32Array(31)
  for (let i = 0; i < 31; i++) ring[i] = state[i] as number
  let front = 3
  let rear = 0
  const next = (): number => {
    const sum = ((ring[front] as number) + (ring[rear] as number)) >>> 0
    ring[front] = sum
    front = (front + 1) % 31
    rear = (rear + 1) % 31
    return sum >>> 1
  }
  for (let i = 0; i < 310; i++) next()
  return next
}
