import { XfsError } from '../../errors.ts'
import { BmbtKey, BmbtRec, MAX_BMBT_EXTLEN } from '../../format/btrecs.ts'
import { treeForms } from '../../format/trees.ts'
import { blockTypes } from '../../format/verify/blocktypes.ts'
import type { BtreeOps } from '../ops.ts'

/** File offsets have 54 bits. */
const MAX_OFFSET = 2 ** 54

const { extentflag, startoff, startblock, blockcount } = BmbtRec.fields
const key = BmbtKey.fields

export const readBmbt = (view: DataView, at: number): BmbtRec => ({
  extentflag: extentflag.get(view, at),
  startoff: startoff.get(view, at),
  startblock: startblock.get(view, at),
  blockcount: blockcount.get(view, at),
})

/** Extents of a file. Key: startoff. Its root is in the inode (an `InlineRoot`). */
export const bmbt: BtreeOps<BmbtRec, number> = {
  name: 'bmbt',
  type: blockTypes.bmbt,
  ...treeForms.bmbt,
  readRec: readBmbt,
  writeRec: (view, at, rec) => {
    const { startoff, startblock, blockcount } = rec
    const fits = startoff >= 0 && startoff < MAX_OFFSET && startblock >= 0 && startblock < 2 ** 52
    if (!fits || blockcount > MAX_BMBT_EXTLEN)
      throw new XfsError('RANGE', `invalid extent: offset ${startoff}, block ${startblock}, ${blockcount} blocks`)
    BmbtRec.encode(view, at, rec)
  },
  readKey: key.startoff.get,
  lowKey: (rec) => rec.startoff,
  highKey: (rec) => rec.startoff + rec.blockcount - 1,
  compare: (a, b) => a - b,
  compareRec: (view, at, offset) => startoff.get(view, at) - offset,
  compareKey: (view, at, offset) => key.startoff.get(view, at) - offset,
  compareKeys: (a, aAt, b, bAt) => key.startoff.get(a, aAt) - key.startoff.get(b, bAt),
  compareRecs: (a, aAt, b, bAt) => startoff.get(a, aAt) - startoff.get(b, bAt),
  copyKey: (view, at, to, toAt) => key.startoff.set(to, toAt, startoff.get(view, at)),
}
