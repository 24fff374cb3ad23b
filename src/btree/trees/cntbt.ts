import { AllocRec } from '../../format/btrecs.ts'
import { treeForms } from '../../format/trees.ts'
import { blockTypes } from '../../format/verify/blocktypes.ts'
import type { BtreeOps } from '../ops.ts'
import { copyAlloc, readAlloc, writeAlloc } from './bnobt.ts'

const { startblock, blockcount } = AllocRec.fields

const compareAt = (view: DataView, at: number, key: AllocRec): number =>
  blockcount.get(view, at) - key.blockcount || startblock.get(view, at) - key.startblock

const compareLengths = (a: DataView, aAt: number, b: DataView, bAt: number): number =>
  blockcount.get(a, aAt) - blockcount.get(b, bAt) || startblock.get(a, aAt) - startblock.get(b, bAt)

/** Free space by length, then block number. The record is its own key. */
export const cntbt: BtreeOps<AllocRec, AllocRec> = {
  name: 'cntbt',
  type: blockTypes.cntbt,
  ...treeForms.cntbt,
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
}
