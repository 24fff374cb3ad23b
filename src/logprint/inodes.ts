import { DIFLAGS2 } from '../format/dinode.ts'
import type { ByteOrder } from '../format/hostorder.ts'
import { IcreateLog, LogDinode } from '../format/logitems.ts'
import { exact, hex, octal, signed } from './text.ts'

const NREXT64 = BigInt(DIFLAGS2.nrext64)

export interface CoreNumbers {
  readonly magic: number
  readonly mode: number
  readonly version: number
  readonly format: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly projidLow: number
  readonly projidHigh: number
  /** The first word of a time: seconds, unless the time is in the bigtime format. */
  readonly atime: number
  readonly mtime: number
  readonly ctime: number
  /** In version 1 and 2; else a part of the large extent counter. */
  readonly flushiter: number
  readonly size: bigint
  readonly nblocks: bigint
  readonly extsize: number
  readonly nextents: bigint
  readonly anextents: number
  readonly forkoff: number
  readonly dmevmask: number
  readonly dmstate: number
  readonly flags: number
  readonly gen: number
  readonly flags2: bigint
  readonly cowextsize: number
}

/** The fields of an inode core in the log that xfs_logprint shows. */
export function coreNumbers(view: DataView, at: number, order: ByteOrder): CoreNumbers {
  const form = LogDinode[order].fields
  const little = order === 'little'
  const flags2 = exact(form.flags2, view, at)
  const large = (flags2 & NREXT64) !== 0n
  const get = (name: NumberName): number => form[name].get(view, at)
  // A flush counter ends at the end of the large extent counter.
  const flushiterAt = at + form.big_nextents.offset + form.big_nextents.size - Uint16Array.BYTES_PER_ELEMENT
  const time = (name: 'atime' | 'mtime' | 'ctime'): number => view.getInt32(at + form[name].offset, little)
  return {
    magic: get('magic'),
    mode: get('mode'),
    version: get('version'),
    format: get('format'),
    nlink: get('nlink'),
    uid: get('uid'),
    gid: get('gid'),
    projidLow: get('projid_lo'),
    projidHigh: get('projid_hi'),
    atime: time('atime'),
    mtime: time('mtime'),
    ctime: time('ctime'),
    flushiter: view.getUint16(flushiterAt, little),
    size: exact(form.fsize, view, at),
    nblocks: exact(form.nblocks, view, at),
    extsize: get('extsize'),
    nextents: large ? exact(form.big_nextents, view, at) : BigInt(get('nextents')),
    anextents: get(large ? 'nextents' : 'anextents'),
    forkoff: get('forkoff'),
    dmevmask: get('dmevmask'),
    dmstate: get('dmstate'),
    flags: get('flags'),
    gen: get('gen'),
    flags2,
    cowextsize: get('cowextsize'),
  }
}

type NumberName = {
  [K in keyof LogDinode]: LogDinode[K] extends number ? K : never
}[keyof LogDinode]

/** The two lines of an inode creation. */
export function icreateText(view: DataView, at: number, order: ByteOrder, tab: string): string {
  const { ag, agbno, length, count, isize, gen } = IcreateLog[order].fields
  const place = `#ag: ${signed(ag.get(view, at))}  agbno: 0x${hex(agbno.get(view, at))}  len: ${signed(length.get(view, at))}`
  const inodes = `cnt: ${signed(count.get(view, at))}  isize: ${signed(isize.get(view, at))}    gen: 0x${hex(gen.get(view, at))}`
  return `${tab}ICR:  ${place}\n${tab}      ${inodes}\n`
}

/** An inode core in the view of records. */
export function coreText(view: DataView, at: number, order: ByteOrder): string {
  const c = coreNumbers(view, at, order)
  const time = (seconds: number): string => BigInt.asUintN(64, BigInt(seconds)).toString(16)
  const lines = [
    'INODE CORE',
    `magic 0x${hex(c.magic)} mode 0${octal(c.mode)} version ${c.version} format ${c.format}`,
    `nlink ${c.nlink} uid ${signed(c.uid)} gid ${signed(c.gid)}`,
    `atime 0x${time(c.atime)} mtime 0x${time(c.mtime)} ctime 0x${time(c.ctime)}`,
    `size 0x${c.size.toString(16)} nblocks 0x${c.nblocks.toString(16)} extsize 0x${hex(c.extsize)} nextents 0x${c.nextents.toString(16)}`,
    `naextents 0x${hex(c.anextents)} forkoff ${c.forkoff} dmevmask 0x${hex(c.dmevmask)} dmstate 0x${hex(c.dmstate)}`,
    `flags 0x${hex(c.flags)} gen 0x${hex(c.gen)}`,
  ]
  if (c.version === 3) lines.push(`flags2 0x${c.flags2.toString(16)} cowextsize 0x${hex(c.cowextsize)}`)
  return `${lines.join('\n')}\n`
}
