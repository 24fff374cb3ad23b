import { MAX_FILE_BLOCKS } from '../../format/btrecs.ts'
import { DIFLAGS } from '../../format/dinode.ts'
import type { Inode } from '../../inode/inode.ts'
import { type MappedRun, mappedRuns } from '../../reflink/sharing.ts'
import { type SpaceOwner, type SpaceRecord, spaceMap } from '../../space/fsmap.ts'
import { add, type Bytes, exact, least, MAX_FILE_SIZE, subtract, unitOf, unitsFor } from '../../util/bytes.ts'
import { atoi, digits, wholeNumber } from '../../util/numbers.ts'
import { CallError } from '../errno.ts'
import type { IoCommand, IoSession } from '../session.ts'

/** Block maps of a file (bmap, fiemap), and of the filesystem (fsmap), in units of 512 bytes. */

const BASIC = 512
const padEnd = (text: string, width: number): string => text.padEnd(width)
const padStart = (text: string | number, width: number): string => String(text).padStart(width)

const SHARED = 0o100000
const UNWRITTEN = 0o010000
const STRIPE = { beginUnit: 0o001000, endUnit: 0o000100, beginWidth: 0o000010, endWidth: 0o000001 } as const

/**
 * Flags of an extent that does not begin or end at stripe boundaries; `at` and `length` in any
 * unit.
 */
function stripeFlags(at: number, length: number, unit: number, width: number): number {
  if (unit === 0) return 0
  return (
    (at % unit !== 0 ? STRIPE.beginUnit : 0) |
    ((at + length) % unit !== 0 ? STRIPE.endUnit : 0) |
    (at % width !== 0 ? STRIPE.beginWidth : 0) |
    ((at + length) % width !== 0 ? STRIPE.endWidth : 0)
  )
}

const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, '0')

function legend(digits: number, attributes: boolean): string {
  const rows: [number, string][] = [
    [SHARED, 'Shared extent'],
    [UNWRITTEN, 'Unwritten preallocated extent'],
    [STRIPE.beginUnit, "Doesn't begin on stripe unit"],
    [STRIPE.endUnit, "Doesn't end   on stripe unit"],
    [STRIPE.beginWidth, "Doesn't begin on stripe width"],
    [STRIPE.endWidth, "Doesn't end   on stripe width"],
  ]
  if (attributes) rows.unshift([0o1000000, 'Attribute fork'])
  return ` FLAG Values:\n${rows.map(([bit, what]) => `    ${octal(bit, digits)} ${what}\n`).join('')}`
}

// ------------------------------------------------------------------------------- extents of a file

interface Mapped {
  readonly offset: number
  readonly length: number
  /** Undefined: a hole. */
  readonly block: number | undefined
  readonly unwritten: boolean
  readonly shared: boolean
}

/** The last of a run of units. Sums are exact, but a number one less may not be. */
const lastOf = (start: number, length: number): Bytes => subtract(exact(start + length), 1)
const range = (start: number, length: number): string => `${digits(start)}..${lastOf(start, length)}`
const fileRange = (start: number, length: number): string => `[${range(start, length)}]:`

/** Mappings, and the holes between them. */
function* mapped(inode: Inode, fork: 'data' | 'attr', limit: number): Generator<Mapped> {
  const { blocksize, fsbToDaddr } = inode.volume.geometry
  const unit = blocksize / BASIC
  let at = 0
  for (const run of mappedRuns(inode, fork)) {
    if (run.startoff >= limit) break
    if (run.startoff > at) yield hole(at * unit, (run.startoff - at) * unit)
    const length = Math.min(run.blockcount, limit - run.startoff)
    const { unwritten, shared } = run
    yield { offset: run.startoff * unit, length: length * unit, block: fsbToDaddr(run.startblock), unwritten, shared }
    at = run.startoff + length
  }
  const end = Math.min(limit, unitsFor(inode.size, blocksize))
  if (fork === 'data' && at > 0 && at < end) yield hole(at * unit, (end - at) * unit)
}

const hole = (offset: number, length: number): Mapped => ({
  offset,
  length,
  block: undefined,
  unwritten: false,
  shared: false,
})

/** The limit of GETBMAPX: EOF, or past it if blocks there were requested. */
function bmapLimit(inode: Inode, fork: 'data' | 'attr'): number {
  const pastEof = DIFLAGS.prealloc | DIFLAGS.append | DIFLAGS.extsize
  if (fork === 'attr' || (inode.flags & pastEof) !== 0) return MAX_FILE_BLOCKS
  return unitsFor(inode.size, inode.volume.geometry.blocksize)
}

const bmap: IoCommand = {
  name: 'bmap',
  args: '[-acelpv] [-n nx]',
  describe: 'print block mapping for an XFS file',
  help: `
 One extent per line: [first..last of the file]: first..last on the device, or hole; in units of 512 bytes.
 -a  the attribute fork             -c  the CoW fork (always empty in an image)
 -e  a hole for an empty file, too  -l  lengths          -n nx  at most nx lines
 -p  with unwritten blocks marked   -v  AGs and flags, with a second -v their meaning

`,
  least: 0,
  readOnly: true,
  run(session, argv) {
    const { options, faults } = session.options(argv, 'aceln:pv')
    if (faults.length > 0) {
      session.usage(bmap, false)
      return
    }
    const has = (wanted: string): boolean => options.some(({ letter }) => letter === wanted)
    const { name } = session.file
    if (has('c') && session.inode().size > 0) {
      const flags = (has('a') ? 1 : 0) | 0x20 | 0x8
      const { message } = new CallError('INVAL')
      session.fail(
        `${session.program}: xfsctl(XFS_IOC_GETBMAPX) iflags=0x${flags.toString(16)} ["${name}"]: ${message}\n`,
      )
      return
    }
    const inode = session.inode()
    const fork = has('a') ? 'attr' : 'data'
    let list = has('c') ? [] : [...mapped(inode, fork, bmapLimit(inode, fork))]
    const { blocksize } = inode.volume.geometry
    if (list.length === 0 && has('e') && !has('c') && fork === 'data' && inode.isRegular) {
      list = [hole(0, unitsFor(inode.size, blocksize) * (blocksize / BASIC))]
    }
    const most =
      options
        .filter(({ letter }) => letter === 'n')
        .map(({ value }) => atoi(value))
        .at(-1) ?? 0
    if (most > 0) list = list.slice(0, most)
    else if (list.length === 0) {
      session.print(`${name}: no extents\n`)
      return
    }
    session.print(`${name}:\n`)
    const verbose = options.filter(({ letter }) => letter === 'v').length
    const marks = has('p') && fork === 'data'
    if (verbose > 0) verboseBmap(session, list, { marks, flags: has('p'), legend: verbose > 1 })
    else for (const [i, extent] of list.entries()) session.print(plainLine(i, extent, has('l')))
  },
}

/** `	0: [0..7]: 104..111 8 blocks` */
function plainLine(index: number, { offset, length, block }: Mapped, lengths: boolean): string {
  const place = block === undefined ? 'hole' : range(block, length)
  return `\t${index}: ${fileRange(offset, length)} ${place}${lengths ? ` ${length} blocks` : ''}\n`
}

const LEAST_RANGE = 16
/** The maximum width in xfs_io. */
const LONGEST_RANGE = 31
const LEAST_TOTAL = 5
const LEAST_AG = 2

function verboseBmap(
  session: IoSession,
  list: readonly Mapped[],
  how: { marks: boolean; flags: boolean; legend: boolean },
): void {
  const { geometry } = session.volume
  const perBlock = geometry.blocksize / BASIC
  const perAg = geometry.agblocks * perBlock
  const unit = geometry.sb.unit * perBlock
  const width = geometry.sb.width * perBlock
  const group = (block: number): number => Math.floor(block / perAg)
  const inAg = ({ block = 0, length }: Mapped): string => `(${range(block - group(block) * perAg, length)})`
  const inFile = ({ offset, length }: Mapped): string => fileRange(offset, length).slice(0, LONGEST_RANGE)
  const real = list.filter(({ block }) => block !== undefined)
  const most = (least: number, texts: readonly string[]): number =>
    texts.reduce((w, text) => Math.max(w, text.length), least)
  const w = {
    file: most(LEAST_RANGE, list.map(inFile)),
    block: most(
      LEAST_RANGE,
      real.map(({ block = 0, length }) => range(block, length)),
    ),
    group: most(LEAST_AG, [String(geometry.agcount)]),
    place: most(LEAST_RANGE, real.map(inAg)),
    total: most(
      LEAST_TOTAL,
      list.map(({ length }) => String(length)),
    ),
  }
  const flagged = unit !== 0 || how.flags || list.some(({ unwritten }) => how.marks && unwritten)
  session.print(
    ` EXT: ${padEnd('FILE-OFFSET', w.file)} ${padEnd('BLOCK-RANGE', w.block)} ${padStart('AG', w.group)} ${padEnd('AG-OFFSET', w.place)} ${padStart('TOTAL', w.total)}${flagged ? ' FLAGS' : ''}\n`,
  )
  let flags = 0
  for (const [i, extent] of list.entries()) {
    const { length, block } = extent
    const head = `${padStart(i, 4)}: ${padEnd(inFile(extent), w.file)}`
    // xfs_io treats a hole as block -1.
    flags =
      (how.marks && extent.unwritten ? UNWRITTEN : 0) |
      (extent.shared ? SHARED : 0) |
      stripeFlags(block ?? -1, length, unit, width)
    if (block === undefined) {
      session.print(
        `${head} ${padEnd('hole', w.block)} ${padEnd('', w.group)} ${padEnd('', w.place)} ${padStart(length, w.total)}\n`,
      )
      continue
    }
    const tail = flags === 0 && !how.flags ? '' : ` ${octal(flags, 6)}`
    session.print(
      `${head} ${padEnd(range(block, length), w.block)} ${padStart(group(block), w.group)} ${padEnd(inAg(extent), w.place)} ${padStart(length, w.total)}${tail}\n`,
    )
  }
  if ((flags !== 0 || how.flags) && how.legend) session.print(legend(7, false))
}

// ------------------------------------------------------------------------------------------ fiemap

const FIEMAP = { last: 0x1, unwritten: 0x800, shared: 0x2000 } as const
/**
 * The number of extents that xfs_io requests at once. It takes the column widths from the first
 * batch.
 */
const FIEMAP_LOT = 32

interface FiemapExtent {
  readonly offset: number
  readonly length: number
  readonly block: number
  readonly flags: number
}

const fiemap: IoCommand = {
  name: 'fiemap',
  args: '[-alev] [-n nx] [offset [len]]',
  describe: 'print block mapping for a file',
  help: `
 One extent per line: [first..last of the file]: first..last on the device, or hole; in units of 512 bytes.
 -a  the attribute fork   -l  lengths   -n nx  at most nx lines   -v  flags, too: 0x1 the last, 0x800 unwritten, 0x2000 shared
 -e  no effect here
 offset, len: only this part, in bytes

`,
  least: 0,
  readOnly: true,
  run(session, argv) {
    const { options, operands, faults } = session.options(argv, 'aeln:v')
    if (faults.length > 0) {
      session.usage(fiemap)
      return
    }
    const has = (wanted: string): boolean => options.some(({ letter }) => letter === wanted)
    for (const { letter, value } of options) if (letter === 'n') session.fiemapLimit = atoi(value)
    const [from, howMany] = operands
    const start = from === undefined ? 0 : session.number(from, 'offset argument')
    if (start === undefined) return
    const length = howMany === undefined ? subtract(MAX_FILE_SIZE, start) : session.number(howMany, 'len argument')
    if (length === undefined) return
    const end = add(start, length)
    session.print(`${session.file.name}:\n`)
    const inode = session.inode()
    if (!inode.isRegular) {
      const { message } = new CallError('UNSUPPORTED')
      session.fail(`${session.program}: ioctl(FS_IOC_FIEMAP) ["${session.file.name}"]: ${message}\n`)
      return
    }
    const list = [...fiemapExtents(inode, has('a') ? 'attr' : 'data', start, end)]
    printFiemap(session, list, {
      start,
      end: least(end, inode.size),
      verbose: has('v'),
      lengths: has('l'),
    })
  },
}

/** Extents of a part of the file, cut to its blocks; the last one is marked. */
function* fiemapExtents(inode: Inode, fork: 'data' | 'attr', from: Bytes, to: Bytes): Generator<FiemapExtent> {
  const { blocksize, fsbToDaddr } = inode.volume.geometry
  const unit = blocksize / BASIC
  const first = unitOf(from, blocksize)
  const end = unitsFor(to, blocksize)
  const flagsOf = (run: MappedRun): number => (run.unwritten ? FIEMAP.unwritten : 0) | (run.shared ? FIEMAP.shared : 0)
  let held: FiemapExtent | undefined
  for (const run of mappedRuns(inode, fork)) {
    const start = Math.max(run.startoff, first)
    const stop = Math.min(run.startoff + run.blockcount, end)
    if (run.startoff >= end) break
    if (stop <= start) continue
    if (held) yield held
    const block = fsbToDaddr(run.startblock) + (start - run.startoff) * unit
    held = { offset: start * unit, length: (stop - start) * unit, block, flags: flagsOf(run) }
  }
  if (held) yield { ...held, flags: held.flags | FIEMAP.last }
}

function printFiemap(
  session: IoSession,
  list: readonly FiemapExtent[],
  how: { start: Bytes; end: Bytes; verbose: boolean; lengths: boolean },
): void {
  const most = session.fiemapLimit
  const w = fiemapWidths(list.slice(0, FIEMAP_LOT))
  const holeLine = (index: number, from: number, to: number): string =>
    how.verbose
      ? `${padStart(index, 4)}: ${padEnd(fileRange(from, to - from), w.file)} ${padEnd('hole', w.block)} ${padStart(to - from, w.total)}\n`
      : `\t${index}: ${fileRange(from, to - from)} hole${how.lengths ? ` ${to - from} blocks` : ''}\n`
  let index = 0
  let at = unitsFor(how.start, BASIC)
  if (how.verbose && list.length > 0) {
    session.print(
      ` EXT: ${padEnd('FILE-OFFSET', w.file)} ${padEnd('BLOCK-RANGE', w.block)} ${padStart('TOTAL', w.total)} ${padStart('FLAGS', w.flags)}\n`,
    )
  }
  for (const { offset, length, block, flags } of list) {
    if (offset > at) session.print(holeLine(index++, at, offset))
    if (index === most) return
    const place = range(block, length)
    session.print(
      how.verbose
        ? `${padStart(index, 4)}: ${padEnd(fileRange(offset, length), w.file)} ${padEnd(place, w.block)} ${padStart(length, w.total)} ${padStart(`0x${flags.toString(16)}`, w.flags)}\n`
        : `\t${index}: ${fileRange(offset, length)} ${place}${how.lengths ? ` ${length} blocks` : ''}\n`,
    )
    index++
    at = offset + length
    if (index === most) return
  }
  const end = unitsFor(how.end, BASIC)
  if (index > 0 && at < end) session.print(holeLine(index, at, end))
}

function fiemapWidths(list: readonly FiemapExtent[]): { file: number; block: number; total: number; flags: number } {
  const w = { file: 16, block: 16, total: 5, flags: 5 }
  for (const { offset, length, block, flags } of list) {
    // Without the colon that follows it.
    w.file = Math.max(w.file, Math.min(LONGEST_RANGE, fileRange(offset, length).length - 1))
    w.block = Math.max(w.block, range(block, length).length)
    w.total = Math.max(w.total, String(length).length)
    w.flags = Math.max(w.flags, flags.toString(16).length)
  }
  return w
}

// ------------------------------------------------------------------------------------------- fsmap

const OWNER_NAMES: Readonly<Record<Exclude<SpaceOwner, number>, string>> = {
  free: 'free space', unknown: 'unknown', fs: 'static fs metadata', log: 'journalling log', ag: 'per-AG metadata',
  inobt: 'inode btree', inodes: 'inodes', refc: 'refcount btree', cow: 'cow reservation',
} // biome-ignore format: a table

/**
 * Type and code of a special owner in GETFSMAP: the first three are generic, the others belong to
 * XFS.
 */
const OWNER_CODES: Readonly<Record<Exclude<SpaceOwner, number>, string>> = {
  free: '0:1', unknown: '0:2', fs: '88:1', log: '88:2', ag: '88:3', inobt: '88:4', inodes: '88:5', refc: '88:6', cow: '88:7',
} // biome-ignore format: a table

/** A record of fsmap in units of 512 bytes. */
interface FsmapLine {
  readonly start: number
  readonly length: number
  readonly agno: number
  readonly inAg: number
  readonly record: SpaceRecord
  readonly offset: number | undefined
}

const fsmap: IoCommand = {
  name: 'fsmap',
  args: '[-d|-l|-r] [-m|-v] [-n nx] [start] [end]',
  describe: 'print filesystem mapping for a range of blocks',
  help: `
 The owner of every block: number: device [first..last]: owner, first..last of the file, length; in units of 512 bytes.
 -d  the data device (-l, -r: the log and realtime devices, of which an image has none)
 -m  with commas between   -v  a table with AGs and flags   -n nx  no effect here
 start and end need one of -d, -l, -r

`,
  least: 0,
  readOnly: true,
  run(session, argv) {
    const { options, operands } = session.options(argv, 'dlmn:rv')
    const count = (letters: string): number => options.filter(({ letter }) => letters.includes(letter)).length
    const bad = options.some(({ letter, value }) => letter === 'n' && wholeNumber(value, 10) === undefined)
    const devices = new Set(options.map(({ letter }) => letter).filter((letter) => 'dlr'.includes(letter))).size
    if (
      count('?') > 0 ||
      bad ||
      devices > 1 ||
      (count('m') > 0 && count('v') > 0) ||
      (operands.length > 0 && devices === 0)
    ) {
      session.usage(fsmap)
      return
    }
    const limits: number[] = []
    for (const [i, what] of ['start_bblock', 'end_bblock'].entries()) {
      const word = operands[i]
      if (word === undefined) continue
      const value = session.bytes(word)
      if (value < 0) {
        session.fail(`Bad rmap ${what} ${word}.\n`)
        return
      }
      limits.push(Number(value))
    }
    if (count('lr') > 0) return
    const [start = 0, end = Number.POSITIVE_INFINITY] = limits
    const lines = fsmapLines(session, start, end)
    if (count('v') > 0) verboseFsmap(session, [...lines])
    else if (count('m') > 0) machineFsmap(session, lines)
    else plainFsmap(session, lines)
  },
}

function* fsmapLines(session: IoSession, start: number, end: number): Generator<FsmapLine> {
  const { volume } = session
  const { geometry } = volume
  const unit = geometry.blocksize / BASIC
  for (let agno = 0; agno < geometry.agcount; agno++) {
    for (const record of spaceMap(volume, agno)) {
      const at = geometry.daddr(agno, record.agbno)
      const length = record.blockcount * unit
      if (at + length <= start || at > end) continue
      const offset = record.offset === undefined ? undefined : record.offset * unit
      // Unknown space is cut to the requested range, other records are not.
      const skip = record.owner === 'unknown' ? Math.max(0, start - at) : 0
      const cut = record.owner === 'unknown' ? Math.max(0, at + length - 1 - end) : 0
      yield { start: at + skip, length: length - skip - cut, agno, inAg: record.agbno * unit + skip, record, offset }
    }
  }
}

function plainFsmap(session: IoSession, lines: Iterable<FsmapLine>): void {
  let i = 0
  for (const { start, length, record, offset } of lines) {
    const { owner, fork } = record
    const who =
      typeof owner !== 'number'
        ? OWNER_NAMES[owner]
        : offset === undefined
          ? `inode ${owner} ${fork} extent map`
          : `inode ${owner} ${fork} ${range(offset, length)}`
    session.print(`\t${i++}: 0:0 ${fileRange(start, length)} ${who} ${length}\n`)
  }
}

function machineFsmap(session: IoSession, lines: Iterable<FsmapLine>): void {
  session.print('EXT,MAJOR,MINOR,PSTART,PEND,OWNER,OSTART,OEND,LENGTH\n')
  let i = 0
  for (const { start, length, record, offset } of lines) {
    const { owner, fork } = record
    const who =
      typeof owner !== 'number'
        ? `special_${OWNER_CODES[owner]},,`
        : offset === undefined
          ? `inode_${owner}_${fork}_bmbt,,`
          : `inode_${owner}_${fork},${offset},${lastOf(offset, length)}`
    session.print(`${i++},0,0,${start},${start + length - 1},${who},${length}\n`)
  }
}

/** The number of records that xfs_io requests at once; each batch has its own widths. */
const FSMAP_LOT = 2048

function verboseFsmap(session: IoSession, lines: readonly FsmapLine[]): void {
  let flagged = false
  for (let first = 0; first < lines.length; first += FSMAP_LOT) {
    flagged = verboseLot(session, lines.slice(first, first + FSMAP_LOT), first) || flagged
  }
  if (flagged) session.print(legend(8, true))
}

/** @returns whether any of them has flags */
function verboseLot(session: IoSession, lines: readonly FsmapLine[], first: number): boolean {
  const { geometry } = session.volume
  const perBlock = geometry.blocksize / BASIC
  const unit = geometry.sb.unit * perBlock
  const width = geometry.sb.width * perBlock
  const rows = lines.map(({ start, length, agno, inAg, record, offset }, i) => {
    const { owner, fork, shared, unwritten } = record
    const special = typeof owner !== 'number'
    const flags =
      (unwritten ? UNWRITTEN : 0) |
      (fork === 'attr' ? 0o1000000 : 0) |
      (shared ? SHARED : 0) |
      stripeFlags(start, length, unit, width)
    return {
      index: String(first + i),
      block: fileRange(start, length),
      owner: special ? OWNER_NAMES[owner] : String(owner),
      file: special ? ' ' : offset === undefined ? 'extent map' : range(offset, length),
      agno: String(agno),
      place: `(${range(inAg, length)})`,
      total: String(length),
      flags,
      map: !special && offset === undefined,
    }
  })
  const widest = (least: number, key: 'index' | 'block' | 'owner' | 'file' | 'place' | 'total'): number =>
    rows.reduce((most, row) => Math.max(most, row[key].length), least)
  const w = {
    index: widest(4, 'index'),
    device: 3,
    block: widest(LEAST_RANGE, 'block'),
    owner: widest(LEAST_RANGE, 'owner'),
    file: widest(LEAST_RANGE, 'file'),
    agno: Math.max(LEAST_AG, String(geometry.agcount).length),
    place: widest(LEAST_RANGE, 'place'),
    total: widest(LEAST_TOTAL, 'total'),
  }
  const flagged = rows.some(({ flags }) => flags !== 0)
  if (first === 0) {
    session.print(
      `${padStart('EXT', w.index)}: ${padEnd('DEV', w.device)} ${padEnd('BLOCK-RANGE', w.block)} ${padEnd('OWNER', w.owner)} ${padEnd('FILE-OFFSET', w.file)} ${padStart('AG', w.agno)} ${padEnd('AG-OFFSET', w.place)} ${padStart('TOTAL', w.total)}${flagged ? ' FLAGS' : ''}\n`,
    )
  }
  for (const row of rows) {
    const text = `${padStart(row.index, w.index)}: ${padEnd('0:0', w.device)} ${padEnd(row.block, w.block)} ${padEnd(row.owner, w.owner)} ${padEnd(row.file, w.file)} ${padEnd(row.agno, w.agno)} ${padEnd(row.place, w.place)} ${padStart(row.total, w.total)}`
    session.print(row.map || row.flags === 0 ? `${text}\n` : `${text} ${octal(row.flags, 7)}\n`)
  }
  return flagged
}

export const mapCommands: readonly IoCommand[] = [bmap, fiemap, fsmap]
