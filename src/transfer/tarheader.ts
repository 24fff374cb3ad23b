import { isZero } from '#native'
import { type Bytes, exact } from '../util/bytes.ts'
import { copyOf, latin1 } from './pax.ts'

/**
 * The header block of a file in a tar archive. The package `tar` decodes headers too, but not
 * strictly enough for untrusted archives: it assumes that names are UTF-8, and ignores invalid and
 * negative numbers.
 *
 *   0 name │ 100 mode │ 108 uid │ 116 gid │ 124 size │ 136 mtime │ 148 checksum │ 156 type
 *   157 target │ 257 magic │ 265 user │ 297 group │ 329 major │ 337 minor
 *   345 prefix (ustar), holes (GNU) │ 512
 */
export const BLOCK = 512

/** Offset and length of a field. */
export type HeaderField = readonly [at: number, length: number]

export const FIELDS = {
  name: [0, 100], mode: [100, 8], uid: [108, 8], gid: [116, 8], size: [124, 12], mtime: [136, 12], checksum: [148, 8],
  target: [157, 100], magic: [257, 6], major: [329, 8], minor: [337, 8], prefix: [345, 155], realsize: [483, 12],
} as const satisfies Readonly<Record<string, HeaderField>> // biome-ignore format: a table

const bytesOf = (block: Uint8Array, [at, length]: HeaderField): Uint8Array => block.subarray(at, at + length)

/** A text field, up to its first zero. */
export const textOf = (block: Uint8Array, field: HeaderField): Uint8Array => untilZero(bytesOf(block, field))

export const typeOf = (block: Uint8Array): string => String.fromCharCode(block[156] as number)

/** Zeros: the end of an archive. */
export const isEnd = (block: Uint8Array): boolean => isZero(block)

/** Is the checksum right? Some programs sum signed bytes. */
export function hasChecksum(block: Uint8Array): boolean {
  const [at, length] = FIELDS.checksum
  let [sum, signed] = [0, 0]
  block.forEach((byte, i) => {
    const value = i >= at && i < at + length ? 0x20 : byte
    sum += value
    signed += value < 0x80 ? value : value - 0x100
  })
  const stored = numberOf(block, FIELDS.checksum)
  return stored === sum || stored === signed
}

/**
 * A number: octal digits between blanks, or base 256 in two's complement where the first bit is
 * set. A blank field is 0.
 * @returns undefined if it is invalid
 */
export function numberOf(block: Uint8Array, field: HeaderField): Bytes | undefined {
  const bytes = bytesOf(block, field)
  const first = bytes[0] as number
  if ((first & 0x80) !== 0)
    return exact(BigInt.asIntN(8 * bytes.length - 1, BigInt(`0x${Buffer.from(bytes).toString('hex')}`)))
  // Old programs wrote a zero at the start if the previous field was full.
  const text = latin1(untilZero(first === 0 ? bytes.subarray(1) : bytes)).trim()
  return /^[0-7]*$/.test(text) ? Number.parseInt(text || '0', 8) : undefined
}

export function nameOf(block: Uint8Array): Uint8Array {
  const name = textOf(block, FIELDS.name)
  if (latin1(bytesOf(block, FIELDS.magic)) !== 'ustar\0') return name
  const prefix = textOf(block, FIELDS.prefix)
  return prefix.length === 0 ? name : copyOf(Buffer.concat([prefix, Uint8Array.of(0x2f), name]))
}

/** A copy of the bytes before the first zero. */
export const untilZero = (bytes: Uint8Array): Uint8Array => {
  const end = bytes.indexOf(0)
  return copyOf(bytes, end < 0 ? bytes.length : end)
}
