import { add, type Bytes, exact, MAX_FILE_SIZE } from '../util/bytes.ts'
import { bad } from './pax.ts'

/**
 * The data ranges of a sparse file: offset and length of each, in order. A map of 64 MiB has
 * millions of ranges, so each is stored as two 64-bit numbers.
 */
export class DataMap {
  #numbers = new BigInt64Array(64)
  #count = 0
  /** An offset whose length is not known yet. */
  #offset: Bytes | undefined
  #end: Bytes = 0

  /**
   * Add the next number of the map: an offset, its length, the next offset, and so on.
   * @throws XfsError INVAL
   */
  push(number: Bytes): void {
    if (number < 0) throw bad('the sparse map has an entry that is not a number')
    if (this.#offset === undefined) {
      this.#offset = number
      return
    }
    const offset = this.#offset
    this.#offset = undefined
    if (number === 0) return
    if (offset < this.#end) throw bad('the sparse map is out of order')
    this.#end = add(offset, number)
    if (this.#end > MAX_FILE_SIZE) throw bad('the sparse map extends past EOF')
    if (this.#count === this.#numbers.length) {
      const larger = new BigInt64Array(this.#count * 2)
      larger.set(this.#numbers)
      this.#numbers = larger
    }
    this.#numbers[this.#count] = BigInt(offset)
    this.#numbers[this.#count + 1] = BigInt(number)
    this.#count += 2
  }

  /** End the map of a file of `size` bytes. @throws XfsError INVAL */
  finish(size: Bytes): void {
    if (this.#offset !== undefined) throw bad('the sparse map has an odd number of entries')
    if (size < 0 || size > MAX_FILE_SIZE || this.#end > size) throw bad('the sparse map extends past EOF')
  }

  *[Symbol.iterator](): Generator<{ readonly offset: Bytes; readonly length: Bytes }> {
    for (let i = 0; i < this.#count; i += 2)
      yield { offset: exact(this.#numbers[i] as bigint), length: exact(this.#numbers[i + 1] as bigint) }
  }
}

/** Digits of 2^63. */
const MOST_DIGITS = 19
/** Numbers with this many digits are safe integers. */
const SAFE_DIGITS = 15

/**
 * Decimal numbers, each followed by `separator`, which is optional after the last. Reads the next
 * piece only if a number continues in it. @throws XfsError INVAL for anything else
 */
export function* decimals(pieces: Iterable<Uint8Array>, separator: number): Generator<Bytes> {
  let value: Bytes = 0
  let digits = 0
  for (const piece of pieces) {
    for (const byte of piece) {
      if (byte === separator && digits > 0) {
        yield value
        value = 0
        digits = 0
        continue
      }
      const digit = byte - 0x30
      if (digit < 0 || digit > 9 || digits === MOST_DIGITS)
        throw bad('the sparse map has an entry that is not a number')
      value = digits < SAFE_DIGITS ? (value as number) * 10 + digit : exact(BigInt(value) * 10n + BigInt(digit))
      digits++
    }
  }
  if (digits > 0) yield value
}
