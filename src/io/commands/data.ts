import { readFile, segments } from '../../data/data.ts'
import { writeFile } from '../../data/write.ts'
import { XfsError } from '../../errors.ts'
import { FORK_FORMATS } from '../../format/dinode.ts'
import { forkFormat, type Inode } from '../../inode/inode.ts'
import { reflink } from '../../reflink/reflink.ts'
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
import { atoi, parseInteger } from '../../util/numbers.ts'
import { finish } from '../../util/progress.ts'
import { CallError } from '../errno.ts'
import { glibcRandom } from '../numbers.ts'
import { codeOf, type IoCommand, type IoSession } from '../session.ts'
import { otherFile } from './files.ts'

/** Reading and writing bytes. */

const CHUNK = 2 ** 20
const FILL = 0xcd

type Direction = 'forward' | 'backward' | 'random' | 'once'
const DIRECTIONS: Readonly<Record<string, Direction>> = { F: 'forward', B: 'backward', R: 'random', O: 'once' }

// ---------------------------------------------------------------------------------- what both have

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

/**
 * Parse a common option of both commands.
 * @returns whether the command may continue; 'other' for an option of only one of them
 */
function commonOption(session: IoSession, transfer: Transfer, letter: string, value: string): boolean | 'other' {
  if (letter === 'b') {
    const size = session.number(value, 'bsize')
    if (size === undefined) return false
    transfer.size = Number(size)
  } else if (letter === 'C') transfer.condensed = true
  else if (letter === 'q') transfer.quiet = true
  else if (DIRECTIONS[letter]) transfer.direction = DIRECTIONS[letter] as Direction
  else if (letter === 'V') {
    const parsed = parseInteger(value)
    if (!parsed) {
      session.print(`non-numeric vector count == ${value}\n`)
      session.exitCode = 1
      return false
    }
    transfer.vectors = Number(parsed.value)
  } else if (letter === 'Z') {
    const parsed = parseInteger(value)
    if (!parsed) {
      session.print(`non-numeric seed -- ${value}\n`)
      session.exitCode = 1
      return false
    }
    transfer.seed = Number(BigInt.asUintN(32, parsed.value))
  } else if ('ADNU'.includes(letter)) transfer.flagged = true
  else return letter === 'd' || letter === 'u' ? true : 'other'
  return true
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
    const { options, operands } = session.options(argv, 'b:BCFRquUvV:Z:')
    const transfer = newTransfer(session)
    let verbose = false
    for (const { letter, value } of options) {
      if (letter === 'v') verbose = true
      else {
        const taken = commonOption(session, transfer, letter, value)
        if (taken === 'other') session.usage(pread)
        if (taken !== true) return
      }
    }
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
      session.print(`non-numeric length argument -- ${howMany}\n`)
      session.exitCode = 1
      return
    }
    const start = session.clock()
    let work: TransferTotals | undefined
    session.attempt('pread', () => {
      work = read(session, transfer, offset, count, verbose)
    })
    if (work && !transfer.quiet) session.report('read', start, work, transfer.condensed)
  },
}

function read(session: IoSession, transfer: Transfer, offset: Bytes, count: Bytes, verbose: boolean): TransferTotals {
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
    if (!verbose) touch(inode, offset, total)
    for (let done: Bytes = 0; verbose && done < total; done = add(done, size)) {
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
  for (let i = 0; i < bytes.length; i += 16) {
    const row = bytes.subarray(i, i + 16)
    const hex = Array.from(row, (byte) => `${byte.toString(16).padStart(2, '0')} `).join('')
    const text = Array.from(row, (byte) =>
      /[0-9A-Za-z]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : '.',
    ).join('')
    session.print(`${add(offset, i).toString(16).padStart(8, '0')}:  ${hex} ${text}\n`)
  }
}

// ------------------------------------------------------------------------------------------ pwrite

interface WriteTransfer extends Transfer {
  fill: number
  infile: string | undefined
  skip: number
  sync: boolean
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
    const { options, operands } = session.options(argv, 'Ab:BCdDf:Fi:NqRs:OS:uUV:wWZ:')
    const transfer: WriteTransfer = { ...newTransfer(session), fill: FILL, infile: undefined, skip: 0, sync: false }
    for (const { letter, value } of options) {
      const taken = writeOption(session, transfer, letter, value) ?? commonOption(session, transfer, letter, value)
      if (taken === 'other') session.usage(pwrite)
      if (taken !== true) return
    }
    if (refusesFlags(session, pwrite, transfer, 'pwritev2')) return
    const [to, howMany] = operands
    const direct = options.some(({ letter }) => letter === 'd')
    const lonely = transfer.infile === undefined && (transfer.skip > 0 || direct)
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

function writeOption(session: IoSession, transfer: WriteTransfer, letter: string, value: string): boolean | undefined {
  if (letter === 'i' || letter === 'f') transfer.infile = value
  else if (letter === 's') {
    const skip = session.number(value, 'skip')
    if (skip === undefined) return false
    transfer.skip = Number(skip)
  } else if (letter === 'S') {
    const parsed = parseInteger(value)
    if (!parsed) {
      session.print(`non-numeric seed -- ${value}\n`)
      session.exitCode = 1
      return false
    }
    transfer.fill = Number(parsed.value & 0xffn)
  } else if (letter === 'w' || letter === 'W') transfer.sync = true
  else return undefined
  return true
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

// -------------------------------------------------------------------------------------------- seek

/**
 * The next byte of data, or of a hole, from `offset` on; −1 if there is none. Unwritten blocks are
 * holes.
 */
function seekTo(inode: Inode, offset: Bytes, what: 'data' | 'hole'): Bytes {
  if (offset >= inode.size) return -1
  for (const segment of segments(inode, offset)) {
    if ((segment.extent !== undefined) === (what === 'data')) return most(offset, segment.offset)
  }
  return what === 'hole' ? inode.size : -1
}

const seek: IoCommand = {
  name: 'seek',
  args: '-a | -d | -h [-r] off',
  describe: 'locate the next data and/or hole',
  help: `
 -d  the next data          -h  the next hole          -a  both
 -r  all of them to EOF     -s  with the given offset

`,
  least: 2,
  most: 5,
  readOnly: true,
  run(session, argv) {
    const { options, operands } = session.options(argv, 'adhrs')
    const has = (letter: string): boolean => options.some((option) => option.letter === letter)
    const wanted = { data: has('a') || has('d'), hole: has('a') || has('h') }
    const [word] = operands
    const offset = word === undefined ? -1 : session.bytes(word)
    if (has('?') || operands.length !== 1 || offset < 0 || !(wanted.data || wanted.hole)) {
      session.usage(seek)
      return
    }
    list(session, offset, wanted, { all: has('r'), starts: has('s') })
  },
}

function list(
  session: IoSession,
  from: Bytes,
  wanted: { data: boolean; hole: boolean },
  how: { all: boolean; starts: boolean },
): void {
  const inode = session.inode()
  let what: 'data' | 'hole' = 'data'
  let start = from
  let found: Bytes = wanted.hole ? seekTo(inode, start, 'hole') : -1
  if (wanted.hole && (found === start || !wanted.data)) what = 'hole'
  else found = seekTo(inode, start, 'data')
  session.print(how.starts ? 'Whence\tStart\tResult\n' : 'Whence\tResult\n')
  const left = { ...wanted }
  const line = (result: string): void =>
    session.print(`${what.toUpperCase()}\t${how.starts ? `${start}\t` : ''}${result}\n`)
  for (let count = 0; how.all || left.data || left.hole; count++) {
    if (found < 0) {
      if (count === 0) line('EOF')
      return
    }
    if (left[what]) line(String(found))
    if (!how.all) left[what] = false
    what = what === 'data' ? 'hole' : 'data'
    start = found
    found = seekTo(inode, start, what)
  }
}

// -------------------------------------------------------------------------------------- copy_range

const copyRange: IoCommand = {
  name: 'copy_range',
  args: '[-s src_off] [-d dst_off] [-l len] src_file | -f N',
  describe: 'Copy a range of data between two files',
  help: `
 Copies from src_file, or from open file N, into the current file; without -l up to EOF of the source.
 If offsets are multiples of the block size, blocks are shared instead of copied, as in the kernel.

`,
  least: 1,
  most: 8,
  run(session, argv) {
    const { options, operands } = session.options(argv, 's:d:l:f:')
    let [srcOffset, dstOffset]: [Bytes, Bytes] = [0, 0]
    let length: Bytes | undefined
    let source: number | undefined
    for (const { letter, value } of options) {
      const size = session.bytes(value)
      const bad = (what: string): void => {
        session.print(`invalid ${what} -- ${value}\n`)
        session.exitCode = 1
      }
      if (letter === 's') {
        if (size < 0) return bad('source offset')
        srcOffset = size
      } else if (letter === 'd') {
        if (size < 0) return bad('destination offset')
        dstOffset = size
      } else if (letter === 'l') {
        if (size === -1) return bad('length')
        length = size
      } else if (letter === 'f') {
        const number = atoi(value)
        source = session.files[number]?.ino
        if (source === undefined) {
          session.print(`file value ${number} is out of range (0-${session.files.length - 1})\n`)
          session.exitCode = 1
          return
        }
      } else {
        session.usage(copyRange)
        return
      }
    }
    const [path] = operands
    if (operands.length !== (source === undefined ? 1 : 0)) {
      session.usage(copyRange)
      return
    }
    source ??= otherFile(session, path as string)
    if (source === undefined) return
    const message = session.failure(() => copy(session, source as number, { srcOffset, dstOffset, length }))
    if (message === undefined) return
    session.complain(`copy_range: ${message}\n`)
    // It returns an error number, which also ends the session.
    return true
  },
}

function copy(
  session: IoSession,
  source: number,
  request: { srcOffset: Bytes; dstOffset: Bytes; length: Bytes | undefined },
): void {
  const { volume, file } = session
  const inode = session.inode({ ...file, ino: source })
  let { srcOffset, dstOffset } = request
  let left = request.length ?? most(0, subtract(inode.size, srcOffset))
  const dst = session.writable()
  if (inode.isDirectory || dst.isDirectory) throw new CallError('ISDIR')
  if (!inode.isRegular || !dst.isRegular) throw new CallError('INVAL')
  if (file.flags.append) throw new CallError('BADF')
  if (add(srcOffset, left) > MAX_FILE_SIZE) throw new XfsError('RANGE', 'offsets that cannot be added')
  left = least(left, most(0, subtract(inode.size, srcOffset)))
  if (source === file.ino && subtract(most(srcOffset, dstOffset), least(srcOffset, dstOffset)) < left)
    throw new CallError('INVAL')
  while (left > 0) {
    const shared = share(session, source, srcOffset, dstOffset, left)
    const done = shared > 0 ? shared : capped(left, CHUNK)
    if (shared === 0)
      writeFile(volume, file.ino, dstOffset, readFile(session.inode({ ...file, ino: source }), srcOffset, done))
    srcOffset = add(srcOffset, done)
    dstOffset = add(dstOffset, done)
    left = subtract(left, done)
  }
}

/**
 * Share the beginning of a range if possible: whole blocks, or up to EOF of both files.
 * @returns bytes
 */
function share(session: IoSession, source: number, srcOffset: Bytes, dstOffset: Bytes, length: Bytes): Bytes {
  const { volume, file } = session
  const { blocksize } = volume.geometry
  if (!volume.features.has('reflink') || inUnit(srcOffset, blocksize) !== 0 || inUnit(dstOffset, blocksize) !== 0)
    return 0
  const inode = session.inode({ ...file, ino: source })
  const whole = add(srcOffset, length) === inode.size && add(dstOffset, length) >= session.inode().size
  const shared = whole ? length : unitStart(unitOf(length, blocksize), blocksize)
  if (shared === 0) return 0
  try {
    finish(reflink(volume, source, file.ino, { srcOffset, dstOffset, length: shared }))
    return shared
  } catch (error) {
    const code = codeOf(error)
    if (code === 'INVAL' || code === 'NOSPC') return 0
    throw error
  }
}

export const dataCommands: readonly IoCommand[] = [pread, pwrite, seek, copyRange]
