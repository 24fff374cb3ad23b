import { DIFLAGS2 } from '../format/dinode.ts'
import type { ByteOrder } from '../format/hostorder.ts'
import { LogDinode } from '../format/logitems.ts'
import { exact } from './text.ts'

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
