import { AllocRec } from '../../format/btrecs.ts'
import type { Geometry } from '../../format/geometry.ts'
import { blockTypes } from '../../format/verify.ts'
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

/** A node stores the whole first record as the key. */
export function copyAlloc(view: DataView, at: number, to: DataView, toAt: number): void {
  to.setUint32(toAt, view.getUint32(at))
  to.setUint32(toAt + 4, view.getUint32(at + 4))
}

/** Blocks `[start, start + length)` of a group, outside of its headers. */
export function checkExtent(start: number, length: number, geometry: Geometry, agno: number): string | undefined {
  if (length === 0) return 'no blocks'
  if (start < geometry.headerBlocks) return `begins at block ${start}, among the group's headers`
  const end = geometry.agLength(agno)
  if (start + length > end) return `ends at block ${start + length}, the group has ${end}`
  return undefined
}

export const checkAlloc = (rec: AllocRec, geometry: Geometry, agno: number): string | undefined =>
  checkExtent(rec.startblock, rec.blockcount, geometry, agno)

/** Free space by place. Key: startblock. */
export const bnobt: BtreeOps<AllocRec, number> = {
  name: 'bnobt',
  type: blockTypes.bnobt,
  recSize: 8,
  keySize: 8,
  ptrSize: 4,
  overlapping: false,
  readRec: readAlloc,
  writeRec: writeAlloc,
  readKey: (view, at) => view.getUint32(at),
  lowKey: (rec) => rec.startblock,
  highKey: (rec) => rec.startblock + rec.blockcount - 1,
  compare: (a, b) => a - b,
  compareRec: (view, at, key) => view.getUint32(at) - key,
  compareKey: (view, at, key) => view.getUint32(at) - key,
  compareKeys: (a, aAt, b, bAt) => a.getUint32(aAt) - b.getUint32(bAt),
  compareRecs: (a, aAt, b, bAt) => a.getUint32(aAt) - b.getUint32(bAt),
  copyKey: copyAlloc,
  check: checkAlloc,
}
