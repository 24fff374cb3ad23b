import type { AllocRec } from '../../format/btrecs.ts'
import { blockTypes } from '../../format/verify.ts'
import type { BtreeOps } from '../ops.ts'
import { checkAlloc, copyAlloc, readAlloc, writeAlloc } from './bnobt.ts'

const compareAt = (view: DataView, at: number, key: AllocRec): number =>
  view.getUint32(at + 4) - key.blockcount || view.getUint32(at) - key.startblock

const compareLengths = (a: DataView, aAt: number, b: DataView, bAt: number): number =>
  a.getUint32(aAt + 4) - b.getUint32(bAt + 4) || a.getUint32(aAt) - b.getUint32(bAt)

/** Free space by length, then place: the record is its own key. */
export const cntbt: BtreeOps<AllocRec, AllocRec> = {
  name: 'cntbt',
  type: blockTypes.cntbt,
  recSize: 8,
  keySize: 8,
  ptrSize: 4,
  overlapping: false,
  readRec: readAlloc,
  writeRec: writeAlloc,
  readKey: readAlloc,
  lowKey: (rec) => rec,
  highKey: (rec) => rec,
  compare: (a, b) => a.blockcount - b.blockcount || a.startblock - b.startblock,
  compareRec: compareAt,
  compareKey: compareAt,
  compareKeys: compareLengths,
  compareRecs: compareLengths,
  copyKey: copyAlloc,
  check: checkAlloc,
}
