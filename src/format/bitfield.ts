import { XfsError } from '../errors.ts'
import { type Num, padDoc, parseNumber } from './fields.ts'
import type { More, Padding } from './struct.ts'

/** Fields of some bits of a word. */

/**
 * `width` bits of a word of `size` bytes (1, 2, 4, 8 or 16), from bit `first`, counted from the
 * most significant. At most 53 bits. Fast at any place, because the parts in 32-bit words are
 * computed once.
 */
export const bits = (offset: number, size: number, first: number, width: number, doc: string, more: More = {}): Num => {
  const pieces = splitBits(offset, size, first, width)
  const get = bitReader(pieces)
  const write = bitWriter(pieces)
  const limit = 2 ** width
  return {
    kind: 'bits', doc, offset, size, bits: { first, width }, get,
    set: (view, at, value) => {
      if (!Number.isSafeInteger(value) || value < 0 || value >= limit) {
        throw new XfsError('RANGE', `${value} does not fit into ${width} bits`)
      }
      write(view, at, value)
    },
    text: (view, at) => String(width > 53 ? getExact(view, at, pieces) : get(view, at)),
    parse: parseNumber, ...more,
  } // biome-ignore format: as a table
}

const getExact = (view: DataView, at: number, pieces: readonly BitPiece[]): bigint =>
  pieces.reduce(
    (sum, piece) =>
      sum + BigInt(((readWord(view, at, piece) >>> piece.shift) & piece.mask) >>> 0) * BigInt(piece.scale),
    0n,
  )

interface BitPiece {
  readonly offset: number
  readonly bytes: 1 | 2 | 4
  readonly shift: number
  readonly width: number
  readonly mask: number
  /** The factor of the piece in the value. */
  readonly scale: number
}

function splitBits(offset: number, size: number, first: number, width: number): BitPiece[] {
  if (width < 1 || width > 54 || first + width > size * 8)
    throw new Error(`bad bit field ${first}+${width} of ${size} bytes`)
  const wordBytes = Math.min(size, 4) as 1 | 2 | 4
  const wordBits = wordBytes * 8
  const pieces: BitPiece[] = []
  for (let bit = first, left = width; left > 0; ) {
    const inWord = bit % wordBits
    const take = Math.min(left, wordBits - inWord)
    pieces.push({
      offset: offset + Math.floor(bit / wordBits) * wordBytes,
      bytes: wordBytes,
      shift: wordBits - inWord - take,
      width: take,
      mask: 2 ** take - 1,
      scale: 2 ** (left - take),
    })
    bit += take
    left -= take
  }
  return pieces
}

const readWord = (view: DataView, at: number, piece: BitPiece): number =>
  piece.bytes === 4 ? view.getUint32(at + piece.offset)
  : piece.bytes === 2 ? view.getUint16(at + piece.offset)
  : view.getUint8(at + piece.offset) // biome-ignore format: one case a line

// In 32-bit words `>>>` and `&` give signed results for a full mask: `>>> 0` makes them unsigned.
function bitReader(pieces: readonly BitPiece[]): (view: DataView, at: number) => number {
  const [a, b] = pieces
  if (!a) throw new Error('a bit field without bits')
  if (a.bytes !== 4) return (view, at) => (readWord(view, at, a) >>> a.shift) & a.mask
  if (!b) {
    const { offset, shift, mask } = a
    return (view, at) => ((view.getUint32(at + offset) >>> shift) & mask) >>> 0
  }
  if (pieces.length === 2) {
    const { offset, shift, mask, scale } = a
    const { offset: offset2, shift: shift2, mask: mask2 } = b
    return (view, at) =>
      (((view.getUint32(at + offset) >>> shift) & mask) >>> 0) * scale +
      (((view.getUint32(at + offset2) >>> shift2) & mask2) >>> 0)
  }
  // At most 54 bits are in at most three words.
  const { offset, shift, mask, scale } = a
  const { offset: offset2, shift: shift2, mask: mask2, scale: scale2 } = b
  const { offset: offset3, shift: shift3, mask: mask3 } = pieces[2] as BitPiece
  return (view, at) =>
    (((view.getUint32(at + offset) >>> shift) & mask) >>> 0) * scale +
    (((view.getUint32(at + offset2) >>> shift2) & mask2) >>> 0) * scale2 +
    (((view.getUint32(at + offset3) >>> shift3) & mask3) >>> 0)
}

type WriteBits = (view: DataView, at: number, value: number) => void

/** The other bits of the words are preserved. The value must fit. */
function bitWriter(pieces: readonly BitPiece[]): WriteBits {
  const [a, b, c] = pieces.map(pieceWriter) as [WriteBits, WriteBits | undefined, WriteBits | undefined]
  if (!b) return a
  if (!c)
    return (view, at, value) => {
      a(view, at, value)
      b(view, at, value)
    }
  return (view, at, value) => {
    a(view, at, value)
    b(view, at, value)
    c(view, at, value)
  }
}

/**
 * `&` takes the low 32 bits of the integer part of the quotient, at least as many as the piece has.
 */
function pieceWriter({ offset, bytes, shift, mask, scale }: BitPiece): WriteBits {
  const others = ~(mask << shift)
  if (bytes === 4)
    return (view, at, value) =>
      view.setUint32(at + offset, (view.getUint32(at + offset) & others) | (((value / scale) & mask) << shift))
  if (bytes === 2)
    return (view, at, value) =>
      view.setUint16(at + offset, (view.getUint16(at + offset) & others) | (((value / scale) & mask) << shift))
  return (view, at, value) =>
    view.setUint8(at + offset, (view.getUint8(at + offset) & others) | (((value / scale) & mask) << shift))
}

/** Unused bits of a word, as `pad`. */
export const padBits = (offset: number, size: number, first: number, width: number, more: Pick<More, 'zero'> = {}): Num & Padding => ({
  ...bits(offset, size, first, width, padDoc(more)), kind: 'pad', ...more,
}) // biome-ignore format: as a table
