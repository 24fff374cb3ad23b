import { type SpaceOwner, type SpaceRecord, spaceMap } from '../../space/fsmap.ts'
import { unitStart } from '../../util/bytes.ts'
import { wholeNumber } from '../../util/numbers.ts'
import {
  BASIC,
  fileRange,
  LEAST_AG,
  LEAST_RANGE,
  LEAST_TOTAL,
  lastOf,
  legend,
  octal,
  padEnd,
  padStart,
  range,
  SHARED,
  stripeFlags,
  UNWRITTEN,
} from '../maptext.ts'
import type { IoCommand, IoSession } from '../session.ts'

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

export const fsmap: IoCommand = {
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
    const { letters, operands, faults } = session.options(argv, 'dlmn:rv')
    const bad = (letters.get('n') ?? []).some((value) => wholeNumber(value, 10) === undefined)
    const devices = ['d', 'l', 'r'].filter((letter) => letters.has(letter)).length
    if (
      faults.length > 0 ||
      bad ||
      devices > 1 ||
      (letters.has('m') && letters.has('v')) ||
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
    if (letters.has('l') || letters.has('r')) return
    const [start = 0, end = Number.POSITIVE_INFINITY] = limits
    const lines = fsmapLines(session, start, end)
    if (letters.has('v')) verboseFsmap(session, [...lines])
    else if (letters.has('m')) machineFsmap(session, lines)
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

/** In bytes. With `bmbt` the blocks hold the fork's block map. */
function valuesOf({ start, length, record, offset }: FsmapLine): Readonly<Record<string, unknown>> {
  const { owner, fork, shared, unwritten } = record
  const inode = typeof owner === 'number' && {
    ino: owner,
    fork,
    ...(offset === undefined ? { bmbt: true } : { offset: unitStart(offset, BASIC) }),
  }
  return {
    owner: inode ? 'inode' : owner,
    ...inode,
    physical: unitStart(start, BASIC),
    length: unitStart(length, BASIC),
    flags: [...(unwritten ? ['unwritten'] : []), ...(shared ? ['shared'] : [])],
  }
}

function plainFsmap(session: IoSession, lines: Iterable<FsmapLine>): void {
  let i = 0
  for (const line of lines) {
    const { start, length, record, offset } = line
    const { owner, fork } = record
    const who =
      typeof owner !== 'number'
        ? OWNER_NAMES[owner]
        : offset === undefined
          ? `inode ${owner} ${fork} extent map`
          : `inode ${owner} ${fork} ${range(offset, length)}`
    session.result('owner', valuesOf(line), `\t${i++}: 0:0 ${fileRange(start, length)} ${who} ${length}`)
  }
}

function machineFsmap(session: IoSession, lines: Iterable<FsmapLine>): void {
  session.caption('EXT,MAJOR,MINOR,PSTART,PEND,OWNER,OSTART,OEND,LENGTH')
  let i = 0
  for (const line of lines) {
    const { start, length, record, offset } = line
    const { owner, fork } = record
    const who =
      typeof owner !== 'number'
        ? `special_${OWNER_CODES[owner]},,`
        : offset === undefined
          ? `inode_${owner}_${fork}_bmbt,,`
          : `inode_${owner}_${fork},${offset},${lastOf(offset, length)}`
    session.result('owner', valuesOf(line), `${i++},0,0,${start},${start + length - 1},${who},${length}`)
  }
}

/** The number of records that xfs_io requests at once; each batch has its own widths. */
const FSMAP_LOT = 2048

function verboseFsmap(session: IoSession, lines: readonly FsmapLine[]): void {
  let flagged = false
  for (let first = 0; first < lines.length; first += FSMAP_LOT) {
    flagged = verboseLot(session, lines.slice(first, first + FSMAP_LOT), first) || flagged
  }
  if (flagged) session.caption(legend(8, true).trimEnd())
}

/** @returns whether any of them has flags */
function verboseLot(session: IoSession, lines: readonly FsmapLine[], first: number): boolean {
  const { geometry } = session.volume
  const perBlock = geometry.blocksize / BASIC
  const unit = geometry.sb.unit * perBlock
  const width = geometry.sb.width * perBlock
  const rows = lines.map((line, i) => {
    const { start, length, agno, inAg, record, offset } = line
    const { owner, fork, shared, unwritten } = record
    const special = typeof owner !== 'number'
    const flags =
      (unwritten ? UNWRITTEN : 0) |
      (fork === 'attr' ? 0o1000000 : 0) |
      (shared ? SHARED : 0) |
      stripeFlags(start, length, unit, width)
    return {
      line,
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
    session.caption(
      `${padStart('EXT', w.index)}: ${padEnd('DEV', w.device)} ${padEnd('BLOCK-RANGE', w.block)} ${padEnd('OWNER', w.owner)} ${padEnd('FILE-OFFSET', w.file)} ${padStart('AG', w.agno)} ${padEnd('AG-OFFSET', w.place)} ${padStart('TOTAL', w.total)}${flagged ? ' FLAGS' : ''}`,
    )
  }
  for (const row of rows) {
    const text = `${padStart(row.index, w.index)}: ${padEnd('0:0', w.device)} ${padEnd(row.block, w.block)} ${padEnd(row.owner, w.owner)} ${padEnd(row.file, w.file)} ${padEnd(row.agno, w.agno)} ${padEnd(row.place, w.place)} ${padStart(row.total, w.total)}`
    const flags = row.map || row.flags === 0 ? '' : ` ${octal(row.flags, 7)}`
    session.result('owner', valuesOf(row.line), `${text}${flags}`)
  }
  return flagged
}
