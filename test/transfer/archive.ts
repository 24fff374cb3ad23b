import { buildPax, type PaxRecord } from '../../src/transfer/pax.ts'

export interface Fields {
  readonly flag?: string
  readonly link?: string
  /** If it is not that of the content. */
  readonly size?: number
  readonly body?: Uint8Array | string
  /** Other fields, by their offset in the header. */
  readonly raw?: Readonly<Record<number, Uint8Array | string>>
}

/** Offsets of fields of a header. */
export const AT = {
  mode: 100,
  uid: 108,
  gid: 116,
  size: 124,
  mtime: 136,
  checksum: 148,
  major: 329,
  minor: 337,
  prefix: 345,
}

/** A part of an archive: the header of one file, with the given fields, and its content. */
export function oneFile(name: string, fields: Fields = {}): Buffer {
  const block = Buffer.alloc(512)
  const body = Buffer.from(fields.body ?? '')
  block.write(name, 0, 100, 'latin1')
  block.write('0000644\0', AT.mode)
  block.write('0000000\0', AT.uid)
  block.write('0000000\0', AT.gid)
  block.write(`${(fields.size ?? body.length).toString(8).padStart(11, '0')}\0`, AT.size)
  block.write('00000000000\0', AT.mtime)
  block.write(fields.flag ?? '0', 156, 'latin1')
  block.write(fields.link ?? '', 157, 100, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  block.write('        ', AT.checksum)
  for (const [at, value] of Object.entries(fields.raw ?? {})) block.set(Buffer.from(value), Number(at))
  if (fields.raw?.[AT.checksum] === undefined) {
    const sum = block.reduce((total, byte) => total + byte, 0)
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, AT.checksum)
  }
  return Buffer.concat([block, body, Buffer.alloc((512 - (body.length % 512)) % 512)])
}

/** An extended header of the next file or (`g`) of all following files. */
export const extended = (records: readonly PaxRecord[], flag = 'x'): Buffer =>
  oneFile('pax', { flag, body: buildPax(records) })

/** The same, for text. */
export const pax = (records: Readonly<Record<string, string>>, flag = 'x'): Buffer =>
  extended(Object.entries(records).map(([key, value]) => [key, Buffer.from(value, 'latin1')]), flag) // biome-ignore format: one line

/** A number in base 256, in two's complement. */
export function base256(value: bigint, length: number): Buffer {
  const bits = BigInt(8 * length - 1)
  const hex = (BigInt.asUintN(Number(bits), value) | (1n << bits)).toString(16)
  return Buffer.from(hex.padStart(2 * length, '0'), 'hex')
}

/** The end of an archive. */
export const END = Buffer.alloc(1024)
