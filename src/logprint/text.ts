import type { ByteOrder } from '../format/hostorder.ts'
import type { Field, Mask64 } from '../format/struct.ts'
import { escapeBytes } from '../util/escape.ts'

/** The text that xfs_logprint makes of numbers and bytes, as C's printf does. */

export const OPERATION_LINE = `${'-'.repeat(76)}\n`
export const EXTENDED_LINE = `${'~'.repeat(76)}\n`
export const RECORD_LINE = `${'='.repeat(76)}\n`
export const STARS = `${'*'.repeat(70)}\n`

/** `%d` of 32 bits. */
export const signed = (value: number): number => value | 0
export const hex = (value: number): string => (value >>> 0).toString(16)
export const octal = (value: number): string => value.toString(8)

/** The exact value of a field of up to 64 bits, unsigned. */
export function exact(field: Field<unknown>, view: DataView, at = 0): bigint {
  const value = field.get(view, at)
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt.asUintN(64, BigInt(value))
  if (typeof value === 'object') return wideOf(value as Mask64)
  const text = field.text(view, at)
  return text === 'null' ? 2n ** 64n - 1n : BigInt.asUintN(64, BigInt(text))
}

const wideOf = ({ hi, lo }: Mask64): bigint => (BigInt(hi) << 32n) | BigInt(lo)

/** `%llx` */
export const hex64 = (field: Field<unknown>, view: DataView, at = 0): string => exact(field, view, at).toString(16)
/** `%lld` */
export const signed64 = (field: Field<unknown>, view: DataView, at = 0): bigint =>
  BigInt.asIntN(64, exact(field, view, at))

/**
 * Words of 32 bits in hexadecimal, in the byte order of the host, eight a line.
 * @param fill  zeros or spaces before the digits of a word
 */
export function wordDump(
  view: DataView,
  at: number,
  length: number,
  { order = 'little', fill = '0' }: { readonly order?: ByteOrder; readonly fill?: '0' | ' ' } = {},
): string {
  const mark = fill === '0' ? ': ' : ' '
  const words = length >>> 2
  let text = ''
  for (let i = 0; i < words; i++) {
    if (i % 8 === 0) text += `${i.toString(16).padStart(2)}${mark}`
    const word = view.getUint32(at + i * 4, order === 'little')
    text += `${word.toString(16).padStart(8, fill)} `
    if (i % 8 === 7) text += '\n'
  }
  return `${text}\n`
}

/** `%02x` */
export const byteHex = (byte: number): string => byte.toString(16).padStart(2, '0')

/** A name or value: as text if all of it is printable ASCII, else in hexadecimal. */
export function textOrDump(bytes: Uint8Array): string {
  if (bytes.every((byte) => byte >= 0x20 && byte < 0x7f)) return `${String.fromCharCode(...bytes)}\n`
  let text = ''
  bytes.forEach((byte, i) => {
    if (i % 16 === 0) text += `${i.toString(16).padStart(8, '0')} `
    text += byteHex(byte)
    if (i % 16 === 15) text += '\n'
    else if (i % 2 === 1) text += ' '
  })
  return `${text}\n`
}

/** `%.*s`: up to a null byte. */
export function nameText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return escapeBytes(end < 0 ? bytes : bytes.subarray(0, end))
}
