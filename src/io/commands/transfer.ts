import { readFile, segments } from '../../data/data.ts'
import { writeFile } from '../../data/write.ts'
import { FORK_FORMATS } from '../../format/dinode.ts'
import { forkFormat, type Inode } from '../../inode/inode.ts'
import {
  add,
  type Bytes,
  capped,
  inUnit,
  least,
  MAX_FILE_SIZE,
  most,
  subtract,
  unitOf,
  unitStart,
  unitsFor,
} from '../../util/bytes.ts'
import { parseInteger } from '../../util/numbers.ts'
import { CallError } from '../errno.ts'
import { glibcRandom } from '../numbers.ts'
import { codeOf, type IoCommand, type IoSession, type OptionRows } from '../session.ts'

/** Reading and writing bytes: pread(2) and pwrite(2). */

const CHUNK = 2 ** 20
const FILL = 0xcd

type Direction = 'forward' | 'backward' | 'random' | 'once'

// ------------------------------------------------------------------------------------------- both

interface Transfer {
  /** Bytes per call. */
  size: number
  /** Buffers of that size per call. */
  vectors: number
  /** An option was given that only preadv2 and pwritev2 have. It has no effect here. */
  flagged: boolean
  direction: Direction
  seed: number
  quiet: boolean
  condensed: boolean
}

/** An option with a number. @param what  names it in the message for a value that is not one */
const number =
  <T>(what: string, set: (into: T, value: bigint) => void) =>
  (into: T, text: string, session: IoSession): boolean => {
    const parsed = parseInteger(text)
    if (!parsed) return session.refuse(`non-numeric ${what} ${text}`)
    set(into, parsed.value)
    return true
  }

/** An option with a size. */
const size =
  <T>(what: string, set: (into: T, value: number) => void) =>
  (into: T, text: string, session: IoSession): boolean => {
    const value = session.number(text, what)
    if (value !== undefined) set(into, Number(value))
    return value !== undefined
  }

const direction =
  (direction: Direction) =>
  (transfer: Transfer): void => {
    transfer.direction = direction
  }

const flagged = (transfer: Transfer): void => {
  transfer.flagged = true
}

const bothOptions: OptionRows<Transfer> = {
  'b:': size('bsize', (transfer, value) => {
    transfer.size = value
  }),
  B: direction('backward'),
  C: (transfer) => {
    transfer.condensed = true
  },
  F: direction('forward'),
  q: (transfer) => {
    transfer.quiet = true
  },
  R: direction('random'),
  u: () => {},
  U: flagged,
  'V:': number('vector count ==', (transfer, value) => {
    transfer.vectors = Number(value)
  }),
  'Z:': number('seed --', (transfer, value) => {
    transfer.seed = Number(BigInt.asUintN(32, value))
  }),
}

const newTransfer = (session: IoSession): Transfer => ({
  size: session.volume.geometry.blocksize,
  vectors: 0,
  flagged: false,
  direction: 'forward',
  seed: 0,
  quiet: false,
  condensed: false,
})

/** Refuse flags that need vectors. @returns whether they were refused */
function refusesFlags(session: IoSession, command: IoCommand, { flagged, vectors }: Transfer, call: string): boolean {
  if (!flagged || vectors > 0) return false
  session.print(`${call} flags require vectored I/O (-V)\n`)
  session.usage(command)
  return true
}

/** Bytes per call, in all buffers. */
const callSize = ({ size, vectors }: Transfer): number => size * Math.max(1, vectors)

/** The result of a transfer. */
interface TransferTotals {
  readonly offset: Bytes
  count: Bytes
  total: Bytes
  ops: number
}

/** The offsets of a random transfer, as xfs_io chooses them with that seed. */
function* randomPlaces(seed: number, offset: Bytes, count: Bytes, size: number): Generator<Bytes> {
  const random = glibcRandom(seed === 0 ? Math.floor(Date.now() / 1000) : seed)
  const start = unitStart(unitOf(offset, size), size)
  const all = most(size, add(count, inUnit(count, size)))
  const range = subtract(all, size)
  // random() returns 31 bits.
  const place = (): number => (typeof range === 'number' ? random() % range : random())
  for (let left = all; left > 0; left = subtract(left, size)) {
    yield range === 0 ? start : unitStart(unitOf(add(start, place()), size), size)
  }
}

/**
 * The calls of a backward transfer that ends at `offset`. As in xfs_io, complete calls end when
 * fewer bytes are left than there are before the range.
 */
function* backwardPlaces(offset: Bytes, count: Bytes, size: number): Generator<{ at: Bytes; length: number }> {
  let at = offset
  let left = least(count, offset)
  const before = subtract(offset, left)
  const odd = capped(left, inUnit(offset, size))
  if (odd > 0) {
    at = subtract(at, odd)
    left = subtract(left, odd)
    yield { at, length: odd }
  }
  while (left > before) {
    const length = capped(left, size)
    at = subtract(at, length)
    left = subtract(left, length)
    yield { at, length }
  }
}

// ------------------------------------------------------------------------------------------- pread

interface ReadTransfer extends Transfer {
  verbose: boolean
}

const readOptions: OptionRows<ReadTransfer> = {
  ...bothOptions,
  v: (transfer) => {
    transfer.verbose = true
  },
}

const pread: IoCommand = {
  name: 'pread',
  alias: 'r',
  args: '[-b bs] [-qUv] [-i N] [-FBR [-Z N]] off len',
  describe: 'reads a number of bytes at a specified offset',
  help: `
 -b bs   bytes per read (default: a block)     -q  print nothing          -v  print the bytes
 -F, -B  forwards, or backwards from off        -R  at random places       -Z N  seed for -R
 -V N    N buffers of bs bytes per read         -U  no effect here

`,
  least: 2,
  readOnly: true,
  run(session, argv) {
    const transfer = { ...newTransfer(session), verbose: false }
    const operands = session.take(pread, argv, readOptions, transfer)
    if (operands === undefined) return
    const [from, howMany] = operands
    if (from === undefined || howMany === undefined || operands.length !== 2) {
      session.usage(pread)
      return
    }
    if (refusesFlags(session, pread, transfer, 'preadv2')) return
    // As in xfs_io, the kernel refuses an invalid offset, and an invalid length means the complete
    // file.
    const offset = session.bytes(from)
    const end = most(0, subtract(session.inode().size, most(0, offset)))
    const length = session.bytes(howMany)
    const count = length < 0 && transfer.direction !== 'backward' ? end : length
    if (count < 0) {
      session.refuse(`non-numeric length argument -- ${howMany}`)
      return
    }
    const start = session.clock()
    let work: TransferTotals | undefined
    session.attempt('pread', () => {
      work = read(session, transfer, offset, count)
    })
    if (work && !transfer.quiet) session.report('read', start, work, transfer.condensed)
  },
}

function read(session: IoSession, transfer: ReadTransfer, offset: Bytes, count: Bytes): TransferTotals {
  const inode = session.inode()
  if (inode.isDirectory) throw new CallError('ISDIR')
  if (session.file.flags.path) throw new CallError('BADF')
  if (offset < 0 && transfer.direction === 'forward') throw new CallError('INVAL')
  const size = callSize(transfer)
  let total: Bytes = 0
  let ops = 0
  /** The number of bytes of a range that exist. */
  const got = (at: Bytes, length: Bytes): Bytes => most(0, least(length, subtract(inode.size, at)))
  /** One call. @returns whether it read everything */
  const one = (at: Bytes, length: number): boolean => {
    const have = got(at, length)
    if (have === 0) return false
    ops++
    total = add(total, have)
    touch(inode, at, have)
    return have === length
  }
  if (transfer.direction === 'forward') {
    total = got(offset, count)
    ops = unitsFor(total, size)
    if (!transfer.verbose) touch(inode, offset, total)
    for (let done: Bytes = 0; transfer.verbose && done < total; done = add(done, size)) {
      const at = add(offset, done)
      dump(session, at, readFile(inode, at, capped(subtract(total, done), size)))
    }
    // The kernel refuses a call for bytes past the maximum file size.
    const last = add(offset, unitStart(Math.max(0, ops - 1), size))
    if (add(last, capped(subtract(add(offset, count), last), size)) > MAX_FILE_SIZE) throw new CallError('INVAL')
    return { offset, count, total, ops }
  }
  if (transfer.direction === 'backward') {
    const end = least(offset, inode.size)
    const wanted = least(count, end)
    for (const { at, length } of backwardPlaces(end, wanted, size)) if (!one(at, length)) break
    return { offset: end, count: wanted, total, ops }
  }
  for (const at of randomPlaces(transfer.seed, least(offset, inode.size), count, size)) if (!one(at, size)) break
  return { offset, count, total, ops }
}

/** Read only to find errors; holes are skipped. */
function touch(inode: Inode, offset: Bytes, length: Bytes): void {
  if (forkFormat(inode, 'data') === FORK_FORMATS.local) return
  for (const segment of segments(inode, offset, add(offset, length))) {
    if (!segment.extent) continue
    for (let at = 0; at < segment.length; at += CHUNK) {
      readFile(inode, add(segment.offset, at), capped(subtract(segment.length, at), CHUNK))
    }
  }
}

/** `00000010:  61 62 …  ab` */
function dump(session: IoSession, offset: Bytes, bytes: Uint8Array): void {
  if (bytes.length === 0) return
  const lines: string[] = []
  for (let i = 0; i < bytes.length; i += 16) {
    const row = bytes.subarray(i, i + 16)
    const hex = Array.from(row, (byte) => `${byte.toString(16).padStart(2, '0')} `).join('')
    const text = Array.from(row, (byte) =>
      /[0-9A-Za-z]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : '.',
    ).join('')
    lines.push(`${add(offset, i).toString(16).padStart(8, '0')}:  ${hex} ${text}`)
  }
  const base64 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
  session.result('content', { offset, length: bytes.length, base64 }, lines.join('\n'))
}

// ------------------------------------------------------------------------------------------ pwrite

interface WriteTransfer extends Transfer {
  fill: number
  infile: string | undefined
  skip: number
  sync: boolean
  /** Directly to the device. It has no effect here. */
  direct: boolean
}

const infile = (transfer: WriteTransfer, value: string): void => {
  transfer.infile = value
}

const sync = (transfer: WriteTransfer): void => {
  transfer.sync = true
}

const writeOptions: OptionRows<WriteTransfer> = {
  ...bothOptions,
  A: flagged,
  d: (transfer) => {
    transfer.direct = true
  },
  D: flagged,
  'f:': infile,
  'i:': infile,
  N: flagged,
  O: direction('once'),
  's:': size('skip', (transfer, value) => {
    transfer.skip = value
  }),
  'S:': number('seed --', (transfer, value) => {
    transfer.fill = Number(value & 0xffn)
  }),
  w: sync,
  W: sync,
}

const pwrite: IoCommand = {
  name: 'pwrite',
  alias: 'w',
  args: '[-i infile [-qAdDwNOUW] [-s skip]] [-b bs] [-S seed] [-FBR [-Z N]] [-V N] off len',
  describe: 'writes a number of bytes at a specified offset',
  help: `
 -S seed  the byte to write (default 0xcd)       -i infile  bytes of a file of the host, not of the image
 -s skip  bytes of infile to skip                -q  print nothing
 -b bs    bytes per write (default: a block)     -O  one write of all bytes
 -F, -B   forwards, or backwards from off        -R  at random places       -Z N  seed for -R
 -V N     N buffers of bs bytes per write        -w, -W  fdatasync or fsync at the end
 -A, -d, -D, -N, -U  no effect here

`,
  least: 2,
  run(session, argv) {
    const own = { fill: FILL, infile: undefined, skip: 0, sync: false, direct: false }
    const transfer: WriteTransfer = { ...newTransfer(session), ...own }
    const operands = session.take(pwrite, argv, writeOptions, transfer)
    if (operands === undefined) return
    if (refusesFlags(session, pwrite, transfer, 'pwritev2')) return
    const [to, howMany] = operands
    const lonely = transfer.infile === undefined && (transfer.skip > 0 || transfer.direct)
    const odd = transfer.infile !== undefined && transfer.direction !== 'forward'
    if (to === undefined || howMany === undefined || operands.length !== 2 || lonely || odd) {
      session.usage(pwrite)
      return
    }
    const offset = session.number(to, 'offset argument')
    const count = offset === undefined ? undefined : session.number(howMany, 'length argument')
    if (offset === undefined || count === undefined) return
    runWrite(session, transfer, offset, count)
  },
}

function runWrite(session: IoSession, transfer: WriteTransfer, offset: Bytes, count: Bytes): void {
  let source: Uint8Array | undefined
  if (transfer.infile !== undefined) {
    const { infile, skip } = transfer
    if (!session.attempt(infile, () => (source = session.readHost(infile).subarray(skip)))) return
  }
  const start = session.clock()
  const work: TransferTotals = { offset, count, total: 0, ops: 0 }
  const written = session.attempt('pwrite', () => {
    const inode = session.writable()
    if (!inode.isRegular) throw new CallError(inode.isDirectory ? 'BADF' : 'INVAL')
    if (transfer.direction === 'backward') work.count = least(count, offset)
    for (const { at, length } of places(transfer, offset, source ? least(count, source.length) : count)) {
      const from = Number(subtract(at, offset))
      writeSteps(session, transfer, at, length, work, source?.subarray(from, from + Number(length)))
    }
  })
  if (!written) return
  if (transfer.sync) session.volume.sync()
  if (!transfer.quiet) session.report('wrote', start, work, transfer.condensed)
}

/** Runs to write, in order. They are only divided into calls for counting. */
function* places(transfer: WriteTransfer, offset: Bytes, count: Bytes): Generator<{ at: Bytes; length: Bytes }> {
  const size = callSize(transfer)
  if (transfer.direction === 'forward' || transfer.direction === 'once') {
    if (count > 0) yield { at: offset, length: count }
  } else if (transfer.direction === 'backward') yield* backwardPlaces(offset, count, size)
  else for (const at of randomPlaces(transfer.seed, offset, count, size)) yield { at, length: size }
}

/** An append-only descriptor writes at EOF. */
const target = (session: IoSession, at: Bytes): Bytes => (session.file.flags.append ? session.inode().size : at)

/**
 * Write a run at once, which needs space for all of it. If that fails, write call by call until one
 * fails.
 */
function writeSteps(
  session: IoSession,
  transfer: WriteTransfer,
  at: Bytes,
  length: Bytes,
  work: TransferTotals,
  source: Uint8Array | undefined,
): void {
  const size = transfer.direction === 'once' ? Number(length) : callSize(transfer)
  const { volume, file } = session
  const write = (done: number, bytes: number): void => {
    // The kernel's error for a call past the maximum file size.
    if (add(add(at, done), bytes) > MAX_FILE_SIZE) throw new CallError('INVAL')
    const content = source ? source.subarray(done, done + bytes) : filled(transfer.fill, bytes)
    writeFile(volume, file.ino, target(session, add(at, done)), content, { length: bytes })
    work.total = add(work.total, bytes)
    work.ops += Math.ceil(bytes / size)
  }
  // A longer write would fill any image.
  const whole = capped(length, Number.MAX_SAFE_INTEGER)
  try {
    write(0, whole)
  } catch (error) {
    if (!['NOSPC', 'INVAL'].includes(codeOf(error) ?? '') || whole <= size) throw error
    for (let done = 0; done < whole; done += size) write(done, Math.min(size, whole - done))
  }
}

/** `length` bytes of one value. */
function* filled(byte: number, length: number): Generator<Uint8Array> {
  const chunk = new Uint8Array(Math.min(CHUNK, length)).fill(byte)
  for (let done = 0; done < length; done += CHUNK) yield chunk.subarray(0, Math.min(CHUNK, length - done))
}

export const transferCommands: readonly IoCommand[] = [pread, pwrite]
