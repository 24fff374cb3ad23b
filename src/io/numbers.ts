import { type Bytes, exact } from '../util/bytes.ts'
import { parseSize, type Units } from '../util/numbers.ts'

/** Numbers as xfs_io parses and prints them. */

/** A size in bytes, −1 if it is invalid. As in C, values above 64 bits wrap. */
export function parseBytes(text: string, units: Units): Bytes {
  const size = parseSize(text, units)
  return size === undefined ? -1 : exact(BigInt.asIntN(64, size))
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

/** A duration: `0.0012 sec`, or `0:00:03.25` from one second on (or if `fixed`). */
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
