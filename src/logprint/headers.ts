import { AGI_UNLINKED_BUCKETS, Agf, Agi, BUCKET_SIZE } from '../format/ag.ts'
import { DiskDquot } from '../format/dquot.ts'
import { Superblock } from '../format/sb.ts'
import { exact, hex, signed } from './text.ts'

/**
 * The text of structures in buffers, in the view of records. `length` is the number of their bytes
 * that were logged.
 */

/** Buckets that are shown of an AGI of which one or two chunks of 128 bytes were logged. */
const shownBuckets = (length: number): number => (length === 128 ? 17 : length === 256 ? 49 : AGI_UNLINKED_BUCKETS)

/** The AGI in the view of records. @param continued  it goes on in the next record */
export function agiText(view: DataView, at: number, length: number, continued: boolean): string {
  const head = 'AGI Buffer: XAGI  '
  if (length < Agi.fields.unlinked.offset) return `${head}out of space\n`
  const { versionnum, seqno, length: blocks, count, root, level, freecount, newino } = Agi.decode(view, at)
  const lines = [
    head,
    `ver: ${signed(versionnum)}  seq#: ${signed(seqno)}  len: ${signed(blocks)}  cnt: ${signed(count)}  root: ${signed(root)}`,
    `level: ${signed(level)}  free#: 0x${hex(freecount)}  newino: 0x${hex(newino)}`,
    '',
  ]
  const whole = length === 128 || length === 256 || !continued
  const rest = whole ? bucketText(view, at, length) : 'AGI unlinked data skipped (CONTINUE set, no space)\n'
  return lines.join('\n') + rest
}

/** The heads of the unlinked lists, four a line. */
export function bucketText(view: DataView, at: number, length: number): string {
  const buckets = shownBuckets(length)
  let text = ''
  for (let bucket = 0; bucket < buckets; bucket++) {
    if (bucket % 4 === 0) text += `bucket[${bucket} - ${bucket + 3}]: `
    const head = view.getUint32(at + Agi.fields.unlinked.offset + bucket * BUCKET_SIZE)
    text += `0x${hex(head)} `
    if (bucket % 4 === 3 || bucket === buckets - 1) text += '\n'
  }
  return text
}

/** A superblock is logged from its start. */
export function superblockText(view: DataView, at: number, length: number): string {
  const { icount, ifree, fdblocks, frextents } = Superblock.fields
  if (length < LEAST_SUPERBLOCK) return 'SUPER BLOCK Buffer: Out of space\n'
  const inodes = `icount: ${exact(icount, view, at)}  ifree: ${exact(ifree, view, at)}`
  return `SUPER BLOCK Buffer: \n${inodes}  fdblks: ${exact(fdblocks, view, at)}  frext: ${exact(frextents, view, at)}\n`
}

/** Bytes of a superblock that the tool expects at least. */
const LEAST_SUPERBLOCK = 4 * 8

export function agfText(view: DataView, at: number, length: number): string {
  if (length < Agf.fields.uuid.offset) return 'AGF Buffer: XAGF  Out of space\n'
  const agf = Agf.decode(view, at)
  const n = signed
  return [
    'AGF Buffer: XAGF  ',
    `ver: ${n(agf.versionnum)}  seq#: ${n(agf.seqno)}  len: ${n(agf.length)}  `,
    `root BNO: ${n(agf.bnoroot)}  CNT: ${n(agf.cntroot)}`,
    `level BNO: ${n(agf.bnolevel)}  CNT: ${n(agf.cntlevel)}`,
    `1st: ${n(agf.flfirst)}  last: ${n(agf.fllast)}  cnt: ${n(agf.flcount)}  freeblks: ${n(agf.freeblks)}  longest: ${n(agf.longest)}`,
    '',
  ].join('\n')
}

export function dquotText(view: DataView, at: number, length: number): string {
  if (length < DiskDquot.size) return 'DQUOT Buffer: DQ  Out of space\n'
  const { version, type, id, ...rest } = DiskDquot.fields
  const number = (field: keyof typeof rest): bigint => exact(rest[field], view, at)
  const timer = (field: 'btimer' | 'itimer'): number => signed(rest[field].get(view, at))
  return [
    'DQUOT Buffer: DQ  ',
    `ver: ${version.get(view, at)}  flags: 0x${hex(type.get(view, at))}  id: ${id.get(view, at)}  `,
    `blk limits  hard: ${number('blk_hardlimit')}  soft: ${number('blk_softlimit')}`,
    `blk  count: ${number('bcount')}  warns: ${number('bwarns')}  timer: ${timer('btimer')}`,
    `ino limits  hard: ${number('ino_hardlimit')}  soft: ${number('ino_softlimit')}`,
    `ino  count: ${number('icount')}  warns: ${number('iwarns')}  timer: ${timer('itimer')}`,
    '',
  ].join('\n')
}
