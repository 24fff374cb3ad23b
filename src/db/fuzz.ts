import { getopt } from '../util/getopt.ts'
import type { BitRange } from './fields.ts'
import { parseUnsigned } from './numbers.ts'
import { printItems } from './print.ts'
import { type DbSession, Refusal } from './session.ts'
import { changeMode, fieldToChange, getBit, getBits, numberBytes, setBit, setBits } from './write.ts'

type Verb = (view: DataView, bits: BitRange) => boolean

const fill =
  (value: number): Verb =>
  (view, { first, count }) => {
    for (let bit = 0; bit < count; bit++) setBit(view, first + bit, value)
    return true
  }
const flip =
  (place: (count: number) => number): Verb =>
  (view, { first, count }) => {
    const bit = first + place(count)
    setBit(view, bit, 1 - getBit(view, bit))
    return true
  }
/** Add or subtract a prime: one for single bytes, another for larger numbers. */
const move =
  (sign: bigint): Verb =>
  (view, bits) => {
    if (bits.count > 64) return false
    const by = sign * (bits.count > 8 ? 2017n : 137n)
    setBits(view, bits, numberBytes(getBits(view, bits) + by, bits.count))
    return true
  }

/** The fuzz commands for a field. */
const fuzzVerbs: ReadonlyMap<string, Verb> = new Map<string, Verb>([
  ['zeroes', fill(0)],
  ['ones', fill(1)],
  ['firstbit', flip(() => 0)],
  ['middlebit', flip((count) => Math.floor(count / 2))],
  ['lastbit', flip((count) => count - 1)],
  ['add', move(1n)],
  ['sub', move(-1n)],
  [
    'random',
    (view, { first, count }) => {
      for (let bit = 0; bit < count; bit++) setBit(view, first + bit, Math.random() < 0.5 ? 0 : 1)
      return true
    },
  ],
])

/** `fuzz`: damage a field with a named method. */
export function fuzz(session: DbSession, words: readonly string[]): void {
  const { mode, operands } = changeMode(session, 'fuzz', words)
  const { kind } = session
  if (kind?.handler === 'block') throw new Refusal("use 'blocktrash' or 'write' to fuzz a block.")
  if (kind?.handler === 'string') throw new Refusal('string fuzzing not supported.')
  if (kind?.handler === 'text') throw new Refusal('text writing/fuzzing not supported.')
  const [name, word] = operands
  if (name === undefined || word === undefined || operands.length !== 2) {
    throw new Refusal(`Usage: fuzz fieldname fuzzcmd\nFuzz commands: ${[...fuzzVerbs.keys()].join(', ')}.`)
  }
  const verb = fuzzVerbs.get(word)
  if (!verb) throw new Refusal(`Unknown fuzz command '${word}'.`)
  const { items, bits } = fieldToChange(session, name)
  if (!bits || !verb(session.view(), bits)) throw new Refusal(`unable to fuzz field '${name}'`)
  session.store(mode)
  printItems(session, items)
}

const MODES = ['zeroed', 'set', 'flipped', 'randomized']
const TRASH_BITS = 128 * 8

/** `blocktrash -z`: damage some bits of this place; the same seed damages the same bits. */
export function blocktrash(session: DbSession, words: readonly string[]): void {
  const { geometry } = session
  const { letters, operands, faults } = getopt(words, '0123n:o:s:t:x:y:z')
  if (faults.length > 0 || operands.length > 0) throw new Refusal('bad option for blocktrash command')
  const last = (letter: string): string | undefined => letters.get(letter)?.at(-1)
  const bits = (letter: string, what: string, usual: number): number => {
    const text = last(letter)
    const value = text === undefined ? usual : Number(parseUnsigned(text) ?? 0n)
    if (!(value > 0 && value <= geometry.blocksize * 8)) throw new Refusal(`bad blocktrash ${what} ${text}`)
    return value
  }
  const [least, most] = [bits('x', 'min', 1), bits('y', 'max', TRASH_BITS)]
  bits('n', 'count', 1)
  if (!letters.has('z')) throw new Refusal('must run blockget first')
  if (session.options.readOnly)
    throw new Refusal(`${session.options.program} started in read only mode, fuzzing disabled`)
  if (!session.kind) throw new Refusal('nothing on stack')
  if (least > most) throw new Refusal('bad min/max for blocktrash command')
  const given = last('s')
  const seed =
    given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(BigInt.asUintN(32, parseUnsigned(given) ?? 0n))
  if (given === undefined) session.line(`blocktrash: seed ${seed}`)
  trash(session, {
    least,
    most,
    seed,
    start: last('o'),
    mode: Number(['0', '1', '3'].find((letter) => letters.has(letter)) ?? 2),
  })
}

interface Trash {
  readonly least: number
  readonly most: number
  readonly seed: number
  /** The first bit; with a plus, the minimum. */
  readonly start: string | undefined
  readonly mode: number
}

function trash(session: DbSession, { least, most, seed, start, mode }: Trash): void {
  const { geometry, here } = session
  const random = generator(seed)
  const view = session.view()
  const total = view.byteLength * 8
  const floor = start === undefined ? 0 : Number(parseUnsigned(start.replace('+', '')) ?? -1n)
  if (!(floor >= 0 && floor < total)) throw new Refusal(`bad blocktrash offset ${start}`)
  // The length is a power of two first, so that short runs are as likely as long ones.
  const powers = [
    least,
    ...Array.from({ length: 32 }, (_, i) => 2 ** i).filter((power) => power > least && power <= most),
  ]
  const low = powers[random(powers.length)] as number
  const high = powers.find((power) => power > low)
  const wanted = low + random((high === undefined ? most : high - 1) - low + 1)
  const first = start === undefined || start.startsWith('+') ? floor + random(total - floor) : floor
  const length = Math.min(wanted, total - first)
  for (let i = 0; i < length; i++) {
    // Here bits count from the least significant one of each byte.
    const bit = ((first + i) & ~7) + 7 - ((first + i) & 7)
    setBit(view, bit, mode === 0 ? 0 : mode === 1 ? 1 : mode === 2 ? 1 - getBit(view, bit) : random(2))
  }
  session.store('raw')
  const place = `${geometry.daddrToAgno(here.bb)}/${geometry.daddrToAgbno(here.bb)}`
  session.line(
    `blocktrash: ${place} unknown block ${length} bit${length === 1 ? '' : 's'} starting ${Math.floor(first / 8)}:${first % 8} ${MODES[mode]}`,
  )
}

/** Random numbers below a limit, the same for the same seed (mulberry32). */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}
