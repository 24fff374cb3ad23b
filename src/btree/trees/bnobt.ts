import { AllocRec } from '../../format/btrecs.ts'
import { treeForms } from '../../format/trees.ts'
import { blockTypes } from '../../format/verify/blocktypes.ts'
import type { BtreeOps } from '../ops.ts'

const { startblock, blockcount } = AllocRec.fields

export const readAlloc = (view: DataView, at: number): AllocRec => ({
  startblock: startblock.get(view, at),
  blockcount: blockcount.get(view, at),
})

export function writeAlloc(view: DataView, at: number, rec: AllocRec): void {
  startblock.set(view, at, rec.startblock)
  blockcount.set(view, at, rec.blockcount)
}

/** The key in a node is the complete first record. */
export function copyAlloc(view: DataView, at: number, to: DataView, toAt: number): void {
  startblock.set(to, toAt, startblock.get(view, at))
  blockcount.set(to, toAt, blockcount.get(view, at))
}

/** Free space by block number. Key: startblock. */
export const bnobt: BtreeOps<AllocRec, number> = {
  name: 'bnobt',
  type: blockTypes.bnobt,
  ...treeForms.bnobt,
  readRec: readAlloc,
  writeRec: writeAlloc,
  readKey: startblock.get,
  lowKey: (rec) => rec.startblock,
  highKey: (rec) => rec.startblock + rec.blockcount - 1,
  compare: (a, b) => a - b,
  compareRec: (view, at, key) => startblock.get(view, at) - key,
  compareKey: (view, at, key) => startblock.get(view, at) - key,
  compareKeys: (a, aAt, b, bAt) => startblock.get(a, aAt) - startblock.get(b, bAt),
  compareRecs: (a, aAt, b, bAt) => startblock.get(a, aAt) - startblock.get(b, bAt),
  copyKey: copyAlloc,
}
