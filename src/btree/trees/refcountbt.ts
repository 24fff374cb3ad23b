import { XfsError } from '../../errors.ts'
import type { RefcountRec } from '../../format/btrecs.ts'
import { blockTypes } from '../../format/verify.ts'
import type { BtreeOps } from '../ops.ts'
import { checkExtent } from './bnobt.ts'

const COW = 2 ** 31

/** Shared blocks and blocks held for copy-on-write. Key: cowflag * 2^31 + startblock, so that CoW staging sorts last. */
export const refcountbt: BtreeOps<RefcountRec, number> = {
  name: 'refcountbt',
  type: blockTypes.refcountbt,
  recSize: 12,
  keySize: 4,
  ptrSize: 4,
  overlapping: false,
  readRec: (view, at) => {
    const word = view.getUint32(at)
    return {
      cowflag: word >>> 31,
      startblock: word & 0x7fffffff,
      blockcount: view.getUint32(at + 4),
      refcount: view.getUint32(at + 8),
    }
  },
  writeRec: (view, at, rec) => {
    if (rec.startblock >= COW) throw new XfsError('RANGE', `block ${rec.startblock} does not fit into 31 bits`)
    view.setUint32(at, rec.cowflag * COW + rec.startblock)
    view.setUint32(at + 4, rec.blockcount)
    view.setUint32(at + 8, rec.refcount)
  },
  readKey: (view, at) => view.getUint32(at),
  lowKey: (rec) => rec.cowflag * COW + rec.startblock,
  highKey: (rec) => rec.cowflag * COW + rec.startblock + rec.blockcount - 1,
  compare: (a, b) => a - b,
  compareRec: (view, at, key) => view.getUint32(at) - key,
  compareKey: (view, at, key) => view.getUint32(at) - key,
  compareKeys: (a, aAt, b, bAt) => a.getUint32(aAt) - b.getUint32(bAt),
  compareRecs: (a, aAt, b, bAt) => a.getUint32(aAt) - b.getUint32(bAt),
  copyKey: (view, at, to, toAt) => to.setUint32(toAt, view.getUint32(at)),
  check: (rec, geometry, agno) => {
    if (rec.cowflag === 1 && rec.refcount !== 1) return `CoW staging with ${rec.refcount} owners`
    if (rec.cowflag === 0 && rec.refcount < 2) return `shared blocks with ${rec.refcount} owners`
    return checkExtent(rec.startblock, rec.blockcount, geometry, agno)
  },
}
