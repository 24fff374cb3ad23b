import { MAX_FILE_BLOCKS } from '../../format/btrecs.ts'
import { DIFLAGS } from '../../format/dinode.ts'
import type { Inode } from '../../inode/inode.ts'
import { mappedRuns } from '../../reflink/sharing.ts'
import { unitsFor } from '../../util/bytes.ts'
import { atoi } from '../../util/numbers.ts'
import { CallError } from '../errno.ts'
import {
  BASIC,
  fileRange,
  LEAST_AG,
  LEAST_RANGE,
  LEAST_TOTAL,
  LONGEST_RANGE,
  legend,
  mappingValues,
  octal,
  padEnd,
  padStart,
  range,
  SHARED,
  stripeFlags,
  UNWRITTEN,
} from '../maptext.ts'
import type { IoCommand, IoSession } from '../session.ts'

interface Mapped {
  readonly offset: number
  readonly length: number
  /** Undefined: a hole. */
  readonly block: number | undefined
  readonly unwritten: boolean
  readonly shared: boolean
}

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

export const bmap: IoCommand = {
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
    const { letters, faults } = session.options(argv, 'aceln:pv')
    if (faults.length > 0) {
      session.usage(bmap, false)
      return
    }
    const { name } = session.file
    if (letters.has('c') && session.inode().size > 0) {
      const flags = (letters.has('a') ? 1 : 0) | 0x20 | 0x8
      const { message } = new CallError('INVAL')
      session.fail(
        `${session.program}: xfsctl(XFS_IOC_GETBMAPX) iflags=0x${flags.toString(16)} ["${name}"]: ${message}\n`,
      )
      return
    }
    const inode = session.inode()
    const fork = letters.has('a') ? 'attr' : 'data'
    let list = letters.has('c') ? [] : [...mapped(inode, fork, bmapLimit(inode, fork))]
    const { blocksize } = inode.volume.geometry
    if (list.length === 0 && letters.has('e') && !letters.has('c') && fork === 'data' && inode.isRegular) {
      list = [hole(0, unitsFor(inode.size, blocksize) * (blocksize / BASIC))]
    }
    const most = atoi(letters.get('n')?.at(-1) ?? '0')
    if (most > 0) list = list.slice(0, most)
    else if (list.length === 0) {
      session.caption(`${name}: no extents`)
      return
    }
    session.caption(`${name}:`)
    const verbose = letters.get('v')?.length ?? 0
    const marks = letters.has('p') && fork === 'data'
    if (verbose > 0) verboseBmap(session, list, { marks, flags: letters.has('p'), legend: verbose > 1 })
    else
      for (const [i, extent] of list.entries())
        session.result('mapping', valuesOf(extent), plainLine(i, extent, letters.has('l')))
  },
}

/** `	0: [0..7]: 104..111 8 blocks` */
function plainLine(index: number, { offset, length, block }: Mapped, lengths: boolean): string {
  const place = block === undefined ? 'hole' : range(block, length)
  return `\t${index}: ${fileRange(offset, length)} ${place}${lengths ? ` ${length} blocks` : ''}`
}

const valuesOf = ({ offset, length, block, unwritten, shared }: Mapped) =>
  mappingValues(offset, length, block, [...(unwritten ? ['unwritten'] : []), ...(shared ? ['shared'] : [])])

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
  session.caption(
    ` EXT: ${padEnd('FILE-OFFSET', w.file)} ${padEnd('BLOCK-RANGE', w.block)} ${padStart('AG', w.group)} ${padEnd('AG-OFFSET', w.place)} ${padStart('TOTAL', w.total)}${flagged ? ' FLAGS' : ''}`,
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
      session.result(
        'mapping',
        valuesOf(extent),
        `${head} ${padEnd('hole', w.block)} ${padEnd('', w.group)} ${padEnd('', w.place)} ${padStart(length, w.total)}`,
      )
      continue
    }
    const tail = flags === 0 && !how.flags ? '' : ` ${octal(flags, 6)}`
    session.result(
      'mapping',
      valuesOf(extent),
      `${head} ${padEnd(range(block, length), w.block)} ${padStart(group(block), w.group)} ${padEnd(inAg(extent), w.place)} ${padStart(length, w.total)}${tail}`,
    )
  }
  if ((flags !== 0 || how.flags) && how.legend) session.caption(legend(7, false).trimEnd())
}
