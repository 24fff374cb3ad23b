import { XfsError } from '../../errors.ts'
import { RefcountKey, RefcountRec } from '../../format/btrecs.ts'
import { treeForms } from '../../format/trees.ts'
import { blockTypes } from '../../format/verify/blocktypes.ts'
import type { BtreeOps } from '../ops.ts'

const COW = 2 ** 31
const { cowflag, startblock, blockcount, refcount } = RefcountRec.fields

/** The CoW bit and the block number are one word, the sort key of records and keys. */
const sortWord = (view: DataView, at: number): number => view.getUint32(at + startblock.offset)

/**
 * Shared extents and CoW staging extents. Key: cowflag * 2^31 + startblock, so that CoW staging
 * sorts last.
 */
export const refcountbt: BtreeOps<RefcountRec, number> = {
  name: 'refcountbt',
  type: blockTypes.refcountbt,
  ...treeForms.refcountbt,
  readRec: (view, at) => ({
    cowflag: cowflag.get(view, at),
    startblock: startblock.get(view, at),
    blockcount: blockcount.get(view, at),
    refcount: refcount.get(view, at),
  }),
  writeRec: (view, at, rec) => {
    if (rec.startblock >= COW) throw new XfsError('RANGE', `block ${rec.startblock} does not fit into 31 bits`)
    RefcountRec.encode(view, at, rec)
  },
  readKey: sortWord,
  lowKey: (rec) => rec.cowflag * COW + rec.startblock,
  highKey: (rec) => rec.cowflag * COW + rec.startblock + rec.blockcount - 1,
  compare: (a, b) => a - b,
  compareRec: (view, at, key) => sortWord(view, at) - key,
  compareKey: (view, at, key) => sortWord(view, at) - key,
  compareKeys: (a, aAt, b, bAt) => sortWord(a, aAt) - sortWord(b, bAt),
  compareRecs: (a, aAt, b, bAt) => sortWord(a, aAt) - sortWord(b, bAt),
  copyKey: (view, at, to, toAt) => to.setUint32(toAt + RefcountKey.fields.startblock.offset, sortWord(view, at)),
}
