import { openTree } from '../btree/roots.ts'
import { walkTree } from '../btree/walk.ts'
import { XfsError } from '../errors.ts'
import { Agf, Agfl, Agi, NULLAGINO } from '../format/ag.ts'
import { AllocRec, RmapRec } from '../format/btrecs.ts'
import { Dinode, FILE_TYPES, S_IFMT } from '../format/dinode.ts'
import { agflSlots } from '../format/treesizes.ts'
import { type ForkName, inodeAt } from '../inode/inode.ts'
import { extents } from '../mapping/extents.ts'
import { reservations } from '../space/reserve.ts'
import { getopt } from '../util/getopt.ts'
import type { Volume } from '../volume.ts'
import { usedInodes } from './dump.ts'
import { parseAddress, parseUnsigned } from './numbers.ts'
import { type DbSession, Refusal } from './session.ts'

/** Free space, owners of blocks, and fragmentation: summaries of complete trees. */

const int = (text: string): number => Number.parseInt(text, 10) || 0

/** For one AG or file: damage is reported, and the command continues. */
function reporting(session: DbSession, work: () => void): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    session.options.warn(`${session.options.program}: ${error.message}\n`)
  }
}

// ------------------------------------------------------------------------------------------ freesp

interface Bucket {
  readonly low: number
  high: number
  count: number
  blocks: number
}

const FREESP_USAGE = 'freesp arguments: [-bcds] [-a agno] [-e binsize] [-h h1]... [-m binmult]'

/** `freesp`: a histogram of free extents. */
export function freesp(session: DbSession, words: readonly string[]): void {
  const { letters, operands, faults } = getopt(words, 'A:a:bcde:h:m:s')
  const kinds = ['b', 'e', 'h', 'm'].filter((letter) => letters.has(letter))
  const repeated = ['b', 'e', 'm'].some((letter) => (letters.get(letter)?.length ?? 0) > 1)
  if (faults.length > 0 || operands.length > 0 || kinds.length > 1 || repeated) throw new Refusal(FREESP_USAGE)
  const { geometry } = session
  const value = (letter: string): number => int(letters.get(letter)?.[0] ?? '0')
  const groups = letters.get('a')?.map(int)
  const alignment = value('A')
  const buckets = bucketsOf(geometry.agblocks, {
    equal: value('e'),
    factor: letters.has('m') ? value('m') : kinds.length === 0 || letters.has('b') ? 2 : 0,
    starts: letters.get('h')?.map(int) ?? [],
  })
  const total = { extents: 0, blocks: 0 }
  if (letters.has('d')) session.caption(['agno', 'agbno', 'len'].map((name) => name.padStart(8)).join(' '))
  const add = (agno: number, agbno: number, length: number): void => {
    if (alignment > 0 && geometry.fsbno(agno, agbno) % alignment !== 0) return
    if (letters.has('d')) {
      const text = [agno, agbno, length].map((number) => String(number).padStart(8)).join(' ')
      session.result('freeExtent', { agno, agbno, blocks: length }, text)
    }
    total.extents++
    total.blocks += length
    const bucket = buckets.find(({ high }) => high >= length)
    if (!bucket) return
    bucket.count++
    bucket.blocks += length
  }
  const volume = session.volume()
  for (let agno = 0; agno < geometry.agcount; agno++) {
    if (groups && !groups.includes(agno)) continue
    reporting(session, () => {
      for (const agbno of heldBlocks(volume, agno)) add(agno, agbno, 1)
      const { startblock, blockcount } = AllocRec.fields
      walkTree(volume.device, openTree(volume, letters.has('c') ? 'cntbt' : 'bnobt', agno), {
        fault: (message) => session.options.warn(`${session.options.program}: ${message}\n`),
        leaf: (view, at, count) => {
          for (let i = 0; i < count; i++, at += AllocRec.size)
            add(agno, startblock.get(view, at), blockcount.get(view, at))
        },
      })
    })
  }
  printHistogram(session, buckets, total)
  if (!letters.has('s')) return
  const text = [
    `total free extents ${total.extents}`,
    `total free blocks ${total.blocks}`,
    `average free extent size ${shortest(total.blocks / total.extents)}`,
  ]
  session.result('freeTotal', total, text.join('\n'))
}

function bucketsOf(
  most: number,
  { equal, factor, starts }: { equal: number; factor: number; starts: readonly number[] },
): Bucket[] {
  const lows = new Set<number>()
  if (equal > 0) for (let low = 1; low < most; low += equal) lows.add(low)
  else if (factor > 1) for (let low = 1; low < most; low *= factor) lows.add(low)
  else for (const start of [1, ...starts]) lows.add(Math.max(1, start))
  const sorted = [...lows].sort((a, b) => a - b)
  return sorted.map((low, i) => ({ low, high: (sorted[i + 1] ?? most + 1) - 1, count: 0, blocks: 0 }))
}

/** The blocks in an AGFL. */
function heldBlocks(volume: Volume, agno: number): number[] {
  const agf = volume.agf(agno).view
  const agfl = volume.agfl(agno).view
  const slots = agflSlots(volume.geometry)
  const [first, count] = [Agf.fields.flfirst.get(agf, 0), Agf.fields.flcount.get(agf, 0)]
  const start = volume.features.version === 5 ? Agfl.size : 0
  return Array.from({ length: Math.min(count, slots) }, (_, i) => agfl.getUint32(start + ((first + i) % slots) * 4))
}

function printHistogram(
  session: DbSession,
  buckets: readonly Bucket[],
  total: { extents: number; blocks: number },
): void {
  const used = buckets.filter(({ count }) => count > 0)
  const width = (least: number, of: (bucket: Bucket) => number): number =>
    Math.max(least, ...used.map((bucket) => String(of(bucket)).length))
  const widths = [
    width(7, ({ low }) => low),
    width(7, ({ high }) => high),
    width(7, ({ count }) => count),
    width(6, ({ blocks }) => blocks),
    6,
    6,
    6,
  ]
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => cell.padStart(widths[i] as number)).join(' ')
  session.caption(line(['from', 'to', 'extents', 'blocks', 'pct', 'blkcdf', 'extcdf']))
  used.forEach(({ low, high, count, blocks }, i) => {
    const above = used
      .slice(i)
      .reduce((sum, bucket) => ({ blocks: sum.blocks + bucket.blocks, count: sum.count + bucket.count }), {
        blocks: 0,
        count: 0,
      })
    const percent = (part: number, whole: number): string => ((part * 100) / whole).toFixed(2)
    const text = line([
      String(low), String(high), String(count), String(blocks), percent(blocks, total.blocks), percent(above.blocks, total.blocks),
      percent(above.count, total.extents),
    ]) // biome-ignore format: a list
    session.result('freeSizes', { from: low, to: high, extents: count, blocks }, text)
  })
}

/** A number in C's %g format, with six digits. */
function shortest(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? '-nan' : 'inf'
  const exponent = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(Number(value.toPrecision(6)))))
  if (exponent >= -4 && exponent < 6) return String(Number(value.toPrecision(6)))
  const [mantissa, power] = value.toExponential(5).split('e') as [string, string]
  return `${Number(mantissa)}e${power[0]}${power.slice(1).padStart(2, '0')}`
}

// ------------------------------------------------------------------------------------------- fsmap

/** `fsmap`: print the reverse mappings between two blocks. */
export function fsmap(session: DbSession, words: readonly string[]): void {
  const { geometry } = session
  if (!geometry.features.has('rmapbt')) throw new Refusal('Filesystem does not support reverse mapping btree.')
  const { operands, faults } = getopt(words, '')
  if (faults.length > 0) throw new Refusal('Bad option for fsmap command.')
  const [first, second] = operands
  const start = first === undefined ? 0 : parseAddress(first)
  if (start === undefined || start >= geometry.sb.dblocks) throw new Refusal(`Bad fsmap start_fsb ${first}.`)
  const last = geometry.fsbno(geometry.agcount - 1, geometry.agLength(geometry.agcount - 1) - 1)
  const asked = second === undefined ? last : parseAddress(second)
  if (asked === undefined) throw new Refusal(`Bad fsmap end_fsb ${second}.`)
  const end = Math.min(asked, last)
  const volume = session.volume()
  const { startblock, blockcount, owner, offset, extentflag, attrfork, bmbtblock } = RmapRec.fields
  let number = 0
  for (let agno = geometry.agnoOf(start); agno <= geometry.agnoOf(end); agno++) {
    const low = agno === geometry.agnoOf(start) ? geometry.agbnoOf(start) : 0
    const high = agno === geometry.agnoOf(end) ? geometry.agbnoOf(end) : Infinity
    reporting(session, () => {
      walkTree(volume.device, openTree(volume, 'rmapbt', agno), {
        fault: (message) => session.options.warn(`${session.options.program}: ${message}\n`),
        leaf: (view, at, count) => {
          for (let i = 0; i < count; i++, at += RmapRec.size) {
            const [begin, length] = [startblock.get(view, at), blockcount.get(view, at)]
            if (begin > high || begin + length <= low) continue
            const bits = {
              bmbtblock: bmbtblock.get(view, at),
              attrfork: attrfork.get(view, at),
              extentflag: extentflag.get(view, at),
            }
            const values = {
              agno,
              startblock: begin,
              blockcount: length,
              owner: owner.get(view, at),
              offset: offset.get(view, at),
            }
            const flags = `bmbt ${bits.bmbtblock} attrfork ${bits.attrfork} extflag ${bits.extentflag}`
            session.result(
              'rmap',
              { ...values, ...bits },
              `${number++}: ${agno}/${begin} len ${length} owner ${owner.text(view, at)} offset ${values.offset} ${flags}`,
            )
          }
        },
      })
    })
  }
}

/** `agresv`: print the blocks that AGs reserve for btrees. */
export function agresv(session: DbSession, words: readonly string[]): void {
  const { geometry } = session
  const volume = session.volume()
  const groups =
    words.length === 0
      ? Array.from({ length: geometry.agcount }, (_, i) => i)
      : words.map((word) => Number(parseUnsigned(word) ?? -1n))
  for (const agno of groups) {
    if (agno < 0 || agno >= geometry.agcount) {
      session.options.warn(`${agno}: Not a AG.\n`)
      continue
    }
    reporting(session, () => {
      const { view } = volume.agf(agno)
      const { length, freeblks, flcount } = Agf.fields
      const free = freeblks.get(view, 0) + flcount.get(view, 0)
      const { metadata, rmapbt } = reservations(volume, agno)
      const [asked, used] = [metadata.asked + rmapbt.asked, metadata.used + rmapbt.used]
      const short = asked - used > free ? ' <not enough space>' : ''
      const blocks = length.get(view, 0)
      session.result(
        'reservation',
        { agno, length: blocks, free, reserved: asked, used },
        `AG ${agno}: length: ${blocks} free: ${free} reserved: ${asked} used: ${used}${short}`,
      )
    })
  }
}

// -------------------------------------------------------------------------------------------- frag

/** `frag`: print how many extents files have, and how many they would need. */
export function frag(session: DbSession, words: readonly string[]): void {
  const { letters, faults } = getopt(words, 'adflqRrv')
  if (faults.length > 0) throw new Refusal('bad option for frag command')
  const kinds = [...'adflqRr']
  const all = !kinds.some((letter) => letters.has(letter))
  const wants = (letter: string): boolean => all || letters.has(letter)
  const { sb } = session.geometry
  const volume = session.volume()
  const total = { actual: 0, ideal: 0 }
  const wantsData = (ino: number, mode: number, realtime: boolean): boolean => {
    const type = mode & S_IFMT
    if (type === FILE_TYPES.dir) return wants('d')
    if (type === FILE_TYPES.lnk) return wants('l')
    if (type !== FILE_TYPES.reg) return false
    if (realtime && !wants('r')) return false
    if ((ino === sb.rbmino || ino === sb.rsumino) && !wants('R')) return false
    if ([sb.uquotino, sb.gquotino, sb.pquotino].includes(ino) && !wants('q')) return false
    return wants('f')
  }
  for (const ino of usedInodes(volume, session.options.warn)) {
    reporting(session, () => {
      const inode = inodeAt(volume, ino)
      const forks: ForkName[] = []
      if (wantsData(ino, inode.mode, inode.realtime)) forks.push('data')
      if (wants('a') && inode.forkoff !== 0) forks.push('attr')
      const before = { ...total }
      for (const fork of forks) {
        let next = -1
        for (const { startoff, blockcount } of extents(inode, fork)) {
          total.actual++
          if (startoff !== next) total.ideal++
          next = startoff + blockcount
        }
      }
      if (letters.has('v') && forks.length > 0) {
        const [actual, ideal] = [total.actual - before.actual, total.ideal - before.ideal]
        session.result('fileExtents', { ino, actual, ideal }, `inode ${ino} actual ${actual} ideal ${ideal}`)
      }
    })
  }
  const factor = total.actual === 0 ? 0 : ((total.actual - total.ideal) * 100) / total.actual
  const average = total.ideal === 0 ? '-nan' : (total.actual / total.ideal).toFixed(2)
  const text = [
    `actual ${total.actual}, ideal ${total.ideal}, fragmentation factor ${factor.toFixed(2)}%`,
    'Note, this number is largely meaningless.',
    `Files on this filesystem average ${average} extents per file`,
  ]
  session.result('fragmentation', total, text.join('\n'))
}

// ---------------------------------------------------------------------------------- dump_iunlinked

/**
 * `dump_iunlinked`: print the AGI unlinked lists: inodes that were open but have no name any more.
 */
export function dumpUnlinked(session: DbSession, words: readonly string[]): void {
  const { letters, operands, faults } = getopt(words, 'a:b:qv')
  if (faults.length > 0 || operands.length > 0) throw new Refusal('Bad option for dump_iunlinked command.')
  const { geometry } = session
  const volume = session.volume()
  const wanted = (letter: string): number | undefined => {
    const text = letters.get(letter)?.at(-1)
    return text === undefined ? undefined : int(text)
  }
  const [onlyAg, onlyBucket] = [wanted('a'), wanted('b')]
  if (onlyAg !== undefined && onlyAg >= geometry.agcount)
    throw new Refusal(`Unknown AG ${onlyAg}, agcount is ${geometry.agcount}.`)
  for (let agno = 0; agno < geometry.agcount; agno++) {
    if (onlyAg !== undefined && agno !== onlyAg) continue
    reporting(session, () => {
      const heads = Agi.fields.unlinked.get(volume.agi(agno).view, 0)
      heads.forEach((head, bucket) => {
        if (onlyBucket === undefined || bucket === onlyBucket)
          chain(session, volume, agno, bucket, head, { quiet: letters.has('q'), verbose: letters.has('v') })
      })
    })
  }
}

function chain(
  session: DbSession,
  volume: Volume,
  agno: number,
  bucket: number,
  head: number,
  { quiet, verbose }: { quiet: boolean; verbose: boolean },
): void {
  if (head === NULLAGINO) {
    if (!quiet) session.caption(`AG ${agno} bucket ${bucket} agino NULL`)
    return
  }
  let text = `AG ${agno} bucket ${bucket} agino ${head}`
  const seen = new Set<number>()
  let index = 0
  for (let agino = head; agino !== NULLAGINO && !seen.has(agino); ) {
    seen.add(agino)
    let next = NULLAGINO
    try {
      const ino = session.geometry.ino(agno, agino)
      const inode = inodeAt(volume, ino)
      const blocks = verbose ? ` blocks ${inode.nblocks} rtblocks 0` : ''
      session.result('unlinked', { agno, bucket, agino, ino, blocks: inode.nblocks }, `${text}${blocks}`)
      next = Dinode.fields.next_unlinked.get(inode.view, inode.at)
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      session.caption(text)
      session.line(`AG ${agno} agino ${agino}: ${error.message}`)
    }
    text = `    [${index++}] agino ${next === NULLAGINO ? 'NULL' : next}`
    if (next === NULLAGINO && !quiet) session.caption(text)
    agino = next
  }
  // The end of a circle.
  if (!text.endsWith('NULL')) session.print(session.options.json ? '' : text)
}
