import { bytesOf } from '../format/fields.ts'
import { getopt } from '../util/getopt.ts'
import { type BitRange, bitsOf } from './fields.ts'
import type { Item } from './layout/items.ts'
import { parseUnsigned } from './numbers.ts'
import { printItems, selectItems } from './print.ts'
import { type DbSession, Refusal } from './session.ts'

/**
 * `write`, and the code that it shares with `fuzz` and `crc`: change the bits of a field, and write
 * them to the device.
 */
export function write(session: DbSession, words: readonly string[]): void {
  const { mode, operands } = changeMode(session, 'write', words)
  const { kind } = session
  if (kind?.handler === 'struct') writeField(session, operands, mode)
  else if (kind?.handler === 'block') writeBlock(session, operands)
  else if (kind?.handler === 'string') writeString(session, operands)
  else session.line('text writing/fuzzing not supported.')
}

type StoreMode = 'sound' | 'stamp' | 'raw'

/** The options of `write` and `fuzz`. @throws Refusal if the place cannot be changed that way */
export function changeMode(
  session: DbSession,
  what: 'write' | 'fuzz',
  words: readonly string[],
): { mode: StoreMode; operands: readonly string[] } {
  const { program, readOnly } = session.options
  const { kind } = session
  if (readOnly)
    throw new Refusal(`${program} started in read only mode, ${what === 'write' ? 'writing' : 'fuzzing'} disabled`)
  if (!kind) throw new Refusal('no current type')
  if (kind.handler === 'none') throw new Refusal(`no handler function for type ${kind.name}, ${what} unsupported.`)
  const { letters, operands, faults } = getopt(words, 'cd')
  if (faults.length > 0) throw new Refusal(`bad option for ${what} command`)
  const corrupt = letters.has('c')
  const invalid = letters.has('d')
  if (corrupt && invalid) throw new Refusal('Cannot specify both -c and -d options')
  const checked = session.geometry.features.version === 5
  if (invalid && checked && !kind.type) throw new Refusal('Cannot recalculate CRCs on this type of object')
  if (!kind.type || !checked) return { mode: kind.type && !corrupt && !invalid ? 'sound' : 'raw', operands }
  const action = what === 'write' ? 'write' : 'fuzz'
  if (corrupt) session.line(`Allowing ${action} of corrupted data and bad CRC`)
  if (invalid) session.line(`Allowing ${action} of corrupted data with good CRC`)
  return { mode: corrupt ? 'raw' : invalid ? 'stamp' : 'sound', operands }
}

/**
 * The single item that an expression of a changing command selects. @throws Refusal with the
 * additional messages of xfs_db
 */
export function fieldToChange(
  session: DbSession,
  name: string,
): { items: readonly Item[]; bits: BitRange | undefined } {
  let items: readonly Item[]
  try {
    items = selectItems(session, [name])
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    const syntax = /^(bad|missing)/.test(error.message)
    throw new Refusal(`${error.message}\n${syntax ? `unable to parse '${name}'.` : 'parsing error'}`)
  }
  const [item] = items
  return { items, bits: item && items.length === 1 ? bitsOf(item) : undefined }
}

function writeField(session: DbSession, operands: readonly string[], mode: StoreMode): void {
  const [name, value] = operands
  if (name === undefined || value === undefined || operands.length > 2)
    throw new Refusal('usage: write fieldname value')
  const { items, bits } = fieldToChange(session, name)
  const bytes = bits && valueBytes(value, bits.count)
  if (!bits || !bytes) throw new Refusal(`unable to convert value '${value}'.`)
  setBits(session.view(), bits, bytes)
  session.store(mode)
  printItems(session, items)
}

/**
 * A value as the bytes of a field of `bits` bits, beginning with the first bit: a number,
 * "characters", #hexadecimal digits or a UUID. Undefined for other text, or if it does not fit.
 */
function valueBytes(text: string, bits: number): Uint8Array | undefined {
  const size = Math.ceil(bits / 8)
  if (text.startsWith('"')) return characterBytes(text, Math.max(size, 8))
  if (text.startsWith('#') || (!text.startsWith('-') && text.includes('-'))) {
    return bits % 8 === 0 ? digitBytes(text.replace(/^#/, '').replaceAll('-', ''), size) : undefined
  }
  const value = parseUnsigned(text)
  if (value === undefined || bits > 64 || value >> BigInt(bits) > 0n) return undefined
  return numberBytes(value, bits)
}

/** A number with its bits at the start, as `setBits` takes it. */
export function numberBytes(value: bigint, bits: number): Uint8Array {
  const size = Math.ceil(bits / 8)
  const bytes = new Uint8Array(size)
  let left = BigInt.asUintN(bits, value) << BigInt(size * 8 - bits)
  for (let i = size - 1; i >= 0; i--) {
    bytes[i] = Number(left & 0xffn)
    left >>= 8n
  }
  return bytes
}

/**
 * Characters between quotes; a backslash and up to three octal digits are a byte. The rest is zero.
 */
function characterBytes(text: string, size: number): Uint8Array {
  const end = text.lastIndexOf('"')
  const source = Buffer.from(end > 0 ? text.slice(1, end) : text.slice(1), 'utf8')
  const bytes = new Uint8Array(size)
  for (let from = 0, to = 0; from < source.length && to < size; to++) {
    const octal =
      source[from] === 0x5c ? /^[0-7]{1,3}/.exec(source.toString('latin1', from + 1, from + 4))?.[0] : undefined
    bytes[to] = octal === undefined ? (source[from] as number) : Number.parseInt(octal, 8) & 0xff
    from += 1 + (octal?.length ?? 0)
  }
  return bytes
}

function digitBytes(digits: string, size: number): Uint8Array | undefined {
  if (!/^([0-9a-f]{2})*$/i.test(digits) || digits.length > size * 2) return undefined
  const bytes = new Uint8Array(size)
  bytes.set(Buffer.from(digits, 'hex'))
  return bytes
}

/** Write bits, beginning with the first one of `bytes`, into a place. */
export function setBits(view: DataView, { first, count }: BitRange, bytes: Uint8Array): void {
  for (let bit = 0; bit < count; bit++) setBit(view, first + bit, ((bytes[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1)
}

/** Bits of the device, beginning with the first one. */
export function getBits(view: DataView, { first, count }: BitRange): bigint {
  let value = 0n
  for (let bit = 0; bit < count; bit++) value = (value << 1n) | BigInt(getBit(view, first + bit))
  return value
}

export const getBit = (view: DataView, bit: number): number =>
  bit >> 3 < view.byteLength ? (view.getUint8(bit >> 3) >> (7 - (bit & 7))) & 1 : 0

export function setBit(view: DataView, bit: number, value: number): void {
  if (bit < 0 || bit >> 3 >= view.byteLength) return
  const mask = 1 << (7 - (bit & 7))
  const byte = view.getUint8(bit >> 3)
  view.setUint8(bit >> 3, value ? byte | mask : byte & ~mask)
}

// ---------------------------------------------------------------------------------- bytes, strings

interface BlockCommand {
  readonly name: string
  /** Minimum letters of an abbreviation. */
  readonly enough: number
  readonly usage: string
  /** Its arguments, in order. */
  readonly arguments: readonly ('amount' | 'from' | 'to' | 'start' | 'length')[]
  readonly least: number
  readonly run: (bytes: Uint8Array, numbers: { amount?: number; from?: number; to?: number }) => void
}

const rotate = (bytes: Uint8Array, by: number): void => {
  const shift = bytes.length === 0 ? 0 : ((by % bytes.length) + bytes.length) % bytes.length
  const copy = bytes.slice()
  bytes.set(copy.subarray(shift))
  bytes.set(copy.subarray(0, shift), bytes.length - shift)
}

const SHIFTS = ['amount', 'start', 'length'] as const
const blockCommands: readonly BlockCommand[] = [
  {
    name: 'lshift', enough: 2, usage: '[shiftcount] [start] [len]', arguments: SHIFTS, least: 0,
    run: (bytes, { amount = 1 }) => {
      bytes.copyWithin(0, amount)
      bytes.fill(0, Math.max(0, bytes.length - amount))
    },
  },
  {
    name: 'rshift', enough: 2, usage: '[shiftcount] [start] [len]', arguments: SHIFTS, least: 0,
    run: (bytes, { amount = 1 }) => {
      bytes.copyWithin(amount, 0)
      bytes.fill(0, 0, amount)
    },
  },
  { name: 'lrot', enough: 2, usage: '[shiftcount] [start] [len]', arguments: SHIFTS, least: 0, run: (bytes, { amount = 1 }) => rotate(bytes, amount) },
  { name: 'rrot', enough: 2, usage: '[shiftcount] [start] [len]', arguments: SHIFTS, least: 0, run: (bytes, { amount = 1 }) => rotate(bytes, -amount) },
  {
    name: 'sequence', enough: 3, usage: '[from] [to] [start] [len]', arguments: ['from', 'to', 'start', 'length'], least: 0,
    run: (bytes, { from = 0, to = 255 }) => {
      const [low, high] = [from > 255 ? 0 : from, Math.min(to, 255)]
      const range = Math.abs(high - low) + 1
      for (let i = 0; i < bytes.length; i++) bytes[i] = low <= high ? low + (i % range) : low - (i % range)
    },
  },
  {
    name: 'random', enough: 3, usage: '[start] [len]', arguments: ['start', 'length'], least: 0,
    run: (bytes) => {
      for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(Math.random() * 256)
    },
  },
  { name: 'fill', enough: 1, usage: 'num [start] [len]', arguments: SHIFTS, least: 1, run: (bytes, { amount = 0 }) => void bytes.fill(amount & 0xff) },
] // biome-ignore format: a table

const blockUsage = (): string =>
  [
    'usage: write (in data mode)',
    ...blockCommands.map(({ name, usage }) => `              ${name.padEnd(9)} ${usage}`),
    '',
  ].join('\n')

function writeBlock(session: DbSession, operands: readonly string[]): void {
  const [word, ...values] = operands
  if (word === undefined || values.length === 0 || values.length > 4) throw new Refusal(blockUsage())
  const command = blockCommands.find(
    ({ name, enough }) => name === word || (word.length >= enough && name.startsWith(word)),
  )
  if (!command) throw new Refusal(`write: invalid subcommand\n${blockUsage()}`)
  if (values.length < command.least || values.length > command.arguments.length) {
    throw new Refusal(`write ${command.name}: invalid number of arguments\n${blockUsage()}`)
  }
  const numbers: Partial<Record<(typeof command.arguments)[number], number>> = {}
  values.forEach((text, i) => {
    const name = command.arguments[i]
    if (name) numbers[name] = Number(BigInt.asIntN(32, parseUnsigned(text) ?? 0n))
  })
  const view = session.view()
  const bytes = bytesOf(view)
  const start = Math.max(0, numbers.start ?? 0)
  const length = numbers.length ?? bytes.length - start
  if (length < 0 || start + length > bytes.length)
    throw new Refusal(`length (${length}) too large for data block size (${bytes.length})`)
  command.run(bytes.subarray(start, start + length), numbers)
  session.store('raw')
}

function writeString(session: DbSession, operands: readonly string[]): void {
  const [text] = operands
  if (text === undefined || operands.length !== 1) throw new Refusal('usage (in string mode): write "string..."')
  const view = session.view()
  const bytes = valueBytes(text.startsWith('"') ? text : `"${text}"`, view.byteLength * 8) as Uint8Array
  const end = bytes.indexOf(0)
  bytesOf(view).set(bytes.subarray(0, end < 0 ? view.byteLength : Math.min(end + 1, view.byteLength)))
  session.store('raw')
}
