/** The CRC32C register after `bytes`, continuing from `seed`. */
export type Crc32c = (bytes: Uint8Array, seed: number) => number

/** The used part of the interface: TypeScript declares it in its library for browsers only. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array)
  }
  class Instance {
    constructor(module: Module)
    readonly exports: object
  }
}

interface Checksum {
  memory: { buffer: ArrayBuffer }
  /** The checksum's register after the bytes of the memory from `at` up to `end`. */
  update(crc: number, at: number, end: number): number
}

/** Castagnoli's polynomial, bits reversed. */
const POLYNOMIAL = 0x82f63b78

/** Bytes per iteration of the loop; each has its own table. */
const SLICES = 16
const TABLES = SLICES * 256 * 4
const PAGE = 65536
const CHUNK = PAGE - TABLES

/**
 * CRC32C in WebAssembly, 16 bytes at a time ("slicing by 16"). Every call copies the bytes into its
 * memory, one page: the tables first, then the bytes.
 *
 * @returns the function; calls share one memory and must not be interleaved, which synchronous
 *   callers cannot do
 */
export function wasmCrc32c(): Crc32c {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes()))
  const { memory, update } = exports as Checksum
  fillTables(new Uint32Array(memory.buffer, 0, TABLES / 4))
  const chunk = new Uint8Array(memory.buffer, TABLES, CHUNK)
  return (bytes, seed) => {
    let crc = ~seed
    for (let from = 0; from < bytes.length; from += CHUNK) {
      const part = bytes.length <= CHUNK ? bytes : bytes.subarray(from, from + CHUNK)
      chunk.set(part)
      crc = update(crc, TABLES, TABLES + part.length)
    }
    return ~crc >>> 0
  }
}

/** Table n holds the contribution of a byte to the checksum if n zero bytes follow it. */
function fillTables(tables: Uint32Array): void {
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0)
    tables[byte] = crc
  }
  for (let at = 256; at < tables.length; at++) {
    const before = tables[at - 256] as number
    tables[at] = (before >>> 8) ^ (tables[before & 0xff] as number)
  }
}

// The functions below assemble the module. Opcodes and sections:
// https://webassembly.github.io/spec/core/binary/
const I32 = 0x7f
const I64 = 0x7e
const [BLOCK, LOOP, BR, BR_IF, END, VOID] = [0x02, 0x03, 0x0c, 0x0d, 0x0b, 0x40]
const get = (local: number) => [0x20, local]
const set = (local: number) => [0x21, local]
const i32 = (value: number) => [0x41, ...signed(value)]
const i64 = (value: number) => [0x42, ...signed(value)]
const load8 = [0x2d, 0, 0]
const load32 = (offset: number) => [0x28, 2, ...unsigned(offset)]
const load64 = (offset: number) => [0x29, 0, ...unsigned(offset)]
const i32op = { geU: 0x4f, gtU: 0x4b, add: 0x6a, sub: 0x6b, and: 0x71, xor: 0x73, shl: 0x74, shrU: 0x76 }
const i64op = { xor: 0x85, shrU: 0x88, wrap: 0xa7, extendU: 0xad }

const [CRC, AT, LAST, LOW, HIGH] = [0, 1, 2, 3, 4]

/**
 * The function `update(crc, at, end)`:
 *
 *     while (end - at >= 16) {
 *       low = u64[at] ^ crc; high = u64[at + 8]; crc = the 16 entries, xored; at += 16
 *     }
 *     while (at < end) crc = table0[(crc ^ u8[at++]) & 0xff] ^ (crc >>> 8)
 */
function moduleBytes(): Uint8Array<ArrayBuffer> {
  const words = [
    ...[BLOCK, VOID, LOOP, VOID],
    ...[...i32(SLICES), ...get(LAST), ...get(AT), i32op.sub, i32op.gtU, BR_IF, 1],
    ...[...get(AT), ...load64(0), ...get(CRC), i64op.extendU, i64op.xor, ...set(LOW)],
    ...[...get(AT), ...load64(8), ...set(HIGH)],
    ...Array.from({ length: SLICES }, (_, byte) => [...entry(byte), ...(byte > 0 ? [i32op.xor] : [])]).flat(),
    ...set(CRC),
    ...[...get(AT), ...i32(SLICES), i32op.add, ...set(AT)],
    ...[BR, 0, END, END],
  ]
  const rest = [
    ...[BLOCK, VOID, LOOP, VOID],
    ...[...get(AT), ...get(LAST), i32op.geU, BR_IF, 1],
    ...[...get(CRC), ...get(AT), ...load8, i32op.xor, ...i32(0xff), i32op.and, ...i32(2), i32op.shl, ...load32(0)],
    ...[...get(CRC), ...i32(8), i32op.shrU, i32op.xor, ...set(CRC)],
    ...[...get(AT), ...i32(1), i32op.add, ...set(AT)],
    ...[BR, 0, END, END],
  ]
  const locals = [1, 2, I64] // one group: two of i64
  const body = [...locals, ...words, ...rest, ...get(CRC), END]
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // magic, version
    ...section(1, [1, 0x60, 3, I32, I32, I32, 1, I32]), // one type: (i32, i32, i32) -> i32
    ...section(3, [1, 0]), // one function, of type 0
    ...section(5, [1, 1, 1, 1]), // one memory, of exactly one page
    ...section(7, [2, ...name('memory'), 2, 0, ...name('update'), 0, 0]),
    ...section(10, [1, ...unsigned(body.length), ...body]),
  ])
}

/** The table entry for one of the 16 bytes; 15 more bytes follow the first. */
function entry(byte: number): number[] {
  const [word, shift] = byte < 8 ? [LOW, byte * 8] : [HIGH, (byte - 8) * 8]
  const shifted = shift > 0 ? [...i64(shift), i64op.shrU] : []
  return [
    ...[...get(word), ...shifted, i64op.wrap, ...i32(0xff), i32op.and],
    ...[...i32(2), i32op.shl, ...load32((SLICES - 1 - byte) * 1024)],
  ]
}

const section = (id: number, content: number[]) => [id, ...unsigned(content.length), ...content]
const name = (text: string) => [text.length, ...new TextEncoder().encode(text)]

/** LEB128. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)]
}

/** LEB128 of a number that is not negative, its sign bit included. */
function signed(value: number): number[] {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signed(value >>> 7)]
}
