import { XfsError } from '../../errors.ts'
import { type BmbtRec, MAX_BMBT_EXTLEN } from '../../format/btrecs.ts'
import { get64 } from '../../format/struct.ts'
import { blockTypes } from '../../format/verify.ts'
import type { BtreeOps } from '../ops.ts'

/** File offsets have 54 bits. */
const MAX_OFFSET = 2 ** 54

/**
 *   word 0           word 1            word 2            word 3
 *   f oooooooo…31    oooo…23 ssss…9    ssssssss…32       sss…11 llll…21      f unwritten, o startoff, s startblock, l blockcount
 */
export const readBmbt = (view: DataView, at: number): BmbtRec => {
  const w0 = view.getUint32(at)
  const w1 = view.getUint32(at + 4)
  const w3 = view.getUint32(at + 12)
  return {
    extentflag: w0 >>> 31,
    startoff: (w0 & 0x7fffffff) * 2 ** 23 + (w1 >>> 9),
    startblock: (w1 & 0x1ff) * 2 ** 43 + view.getUint32(at + 8) * 2 ** 11 + (w3 >>> 21),
    blockcount: w3 & 0x1fffff,
  }
}

const startoffAt = (view: DataView, at: number): number =>
  (view.getUint32(at) & 0x7fffffff) * 2 ** 23 + (view.getUint32(at + 4) >>> 9)

/** Extents of a file. Key: startoff. Its root is in the inode (an `InlineRoot`). */
export const bmbt: BtreeOps<BmbtRec, number> = {
  name: 'bmbt',
  type: blockTypes.bmbt,
  recSize: 16,
  keySize: 8,
  ptrSize: 8,
  overlapping: false,
  readRec: readBmbt,
  writeRec: (view, at, { extentflag, startoff, startblock, blockcount }) => {
    if (
      !(
        startoff >= 0 &&
        startoff < MAX_OFFSET &&
        startblock >= 0 &&
        startblock < 2 ** 52 &&
        blockcount <= MAX_BMBT_EXTLEN
      )
    ) {
      throw new XfsError('RANGE', `no extent: offset ${startoff}, block ${startblock}, ${blockcount} blocks`)
    }
    view.setUint32(at, extentflag * 2 ** 31 + Math.floor(startoff / 2 ** 23))
    view.setUint32(at + 4, (startoff % 2 ** 23) * 2 ** 9 + Math.floor(startblock / 2 ** 43))
    view.setUint32(at + 8, Math.floor(startblock / 2 ** 11) % 2 ** 32)
    view.setUint32(at + 12, (startblock % 2 ** 11) * 2 ** 21 + blockcount)
  },
  readKey: get64,
  lowKey: (rec) => rec.startoff,
  highKey: (rec) => rec.startoff + rec.blockcount - 1,
  compare: (a, b) => a - b,
  compareRec: (view, at, key) => startoffAt(view, at) - key,
  compareKey: (view, at, key) => get64(view, at) - key,
  compareKeys: (a, aAt, b, bAt) => get64(a, aAt) - get64(b, bAt),
  compareRecs: (a, aAt, b, bAt) => startoffAt(a, aAt) - startoffAt(b, bAt),
  copyKey: (view, at, to, toAt) => {
    const w0 = view.getUint32(at)
    const w1 = view.getUint32(at + 4)
    to.setUint32(toAt, (w0 & 0x7fffffff) >>> 9)
    to.setUint32(toAt + 4, (w0 << 23) | (w1 >>> 9))
  },
  check: (rec, geometry) => {
    if (rec.blockcount === 0) return 'no blocks'
    if (rec.startoff + rec.blockcount > MAX_OFFSET) return `ends at file block ${rec.startoff + rec.blockcount}`
    if (!geometry.validFsbnoRange(rec.startblock, rec.blockcount)) {
      return `blocks ${rec.startblock}+${rec.blockcount} lie outside of a group`
    }
    return undefined
  },
}
