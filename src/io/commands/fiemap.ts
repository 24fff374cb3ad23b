import type { Inode } from '../../inode/inode.ts'
import { type MappedRun, mappedRuns } from '../../reflink/sharing.ts'
import { add, type Bytes, least, MAX_FILE_SIZE, subtract, unitOf, unitsFor } from '../../util/bytes.ts'
import { atoi } from '../../util/numbers.ts'
import { CallError } from '../errno.ts'
import { BASIC, fileRange, LONGEST_RANGE, mappingValues, padEnd, padStart, range } from '../maptext.ts'
import type { IoCommand, IoSession } from '../session.ts'

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

export const fiemap: IoCommand = {
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
    const { letters, operands, faults } = session.options(argv, 'aeln:v')
    if (faults.length > 0) {
      session.usage(fiemap)
      return
    }
    const limit = letters.get('n')?.at(-1)
    if (limit !== undefined) session.fiemapLimit = atoi(limit)
    const [from, howMany] = operands
    const start = from === undefined ? 0 : session.number(from, 'offset argument')
    if (start === undefined) return
    const length = howMany === undefined ? subtract(MAX_FILE_SIZE, start) : session.number(howMany, 'len argument')
    if (length === undefined) return
    const end = add(start, length)
    session.caption(`${session.file.name}:`)
    const inode = session.inode()
    if (!inode.isRegular) {
      const { message } = new CallError('UNSUPPORTED')
      session.fail(`${session.program}: ioctl(FS_IOC_FIEMAP) ["${session.file.name}"]: ${message}\n`)
      return
    }
    const list = [...fiemapExtents(inode, letters.has('a') ? 'attr' : 'data', start, end)]
    printFiemap(session, list, {
      start,
      end: least(end, inode.size),
      verbose: letters.has('v'),
      lengths: letters.has('l'),
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
  const hole = (index: number, from: number, to: number): void => {
    const text = how.verbose
      ? `${padStart(index, 4)}: ${padEnd(fileRange(from, to - from), w.file)} ${padEnd('hole', w.block)} ${padStart(to - from, w.total)}`
      : `\t${index}: ${fileRange(from, to - from)} hole${how.lengths ? ` ${to - from} blocks` : ''}`
    session.result('mapping', mappingValues(from, to - from, undefined, []), text)
  }
  let index = 0
  let at = unitsFor(how.start, BASIC)
  if (how.verbose && list.length > 0) {
    session.caption(
      ` EXT: ${padEnd('FILE-OFFSET', w.file)} ${padEnd('BLOCK-RANGE', w.block)} ${padStart('TOTAL', w.total)} ${padStart('FLAGS', w.flags)}`,
    )
  }
  for (const { offset, length, block, flags } of list) {
    if (offset > at) hole(index++, at, offset)
    if (index === most) return
    const place = range(block, length)
    const names = Object.entries(FIEMAP).flatMap(([name, bit]) => ((flags & bit) !== 0 ? [name] : []))
    session.result(
      'mapping',
      mappingValues(offset, length, block, names),
      how.verbose
        ? `${padStart(index, 4)}: ${padEnd(fileRange(offset, length), w.file)} ${padEnd(place, w.block)} ${padStart(length, w.total)} ${padStart(`0x${flags.toString(16)}`, w.flags)}`
        : `\t${index}: ${fileRange(offset, length)} ${place}${how.lengths ? ` ${length} blocks` : ''}`,
    )
    index++
    at = offset + length
    if (index === most) return
  }
  const end = unitsFor(how.end, BASIC)
  if (index > 0 && at < end) hole(index, at, end)
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
