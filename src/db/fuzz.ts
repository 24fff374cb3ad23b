import type { BitRange } from './fields.ts'
import { printItems } from './print.ts'
import { Refusal, type Session } from './session.ts'
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
/** Primes that are added to and taken from numbers: of a byte and of more. */
const move =
  (sign: bigint): Verb =>
  (view, bits) => {
    if (bits.count > 64) return false
    const by = sign * (bits.count > 8 ? 2017n : 137n)
    setBits(view, bits, numberBytes(getBits(view, bits) + by, bits.count))
    return true
  }

/** What `fuzz` can do to a field. */
export const fuzzVerbs: ReadonlyMap<string, Verb> = new Map<string, Verb>([
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

/** `fuzz`: damage a field in a way that has a name. */
export function fuzz(session: Session, words: readonly string[]): void {
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
