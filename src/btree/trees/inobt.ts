import { InobtKey, InobtRec } from '../../format/btrecs.ts'
import { INODES_PER_CHUNK } from '../../format/dinode.ts'
import type { Geometry } from '../../format/geometry.ts'
import { treeForms } from '../../format/trees.ts'
import { blockTypes } from '../../format/verify/blocktypes.ts'
import type { BtreeOps } from '../ops.ts'

/** Inodes per bit of a hole mask. */
export const INODES_PER_HOLE = 4

const { startino, holemask, count, freecount, free } = InobtRec.fields
const key = InobtKey.fields

const readInobt = (view: DataView, at: number): InobtRec => ({
  startino: startino.get(view, at),
  holemask: holemask.get(view, at),
  count: count.get(view, at),
  freecount: freecount.get(view, at),
  free: free.get(view, at),
})

/**
 * Inodes outside of holes in a record. Without the sparse feature the count is not stored: it is
 * 64.
 */
export const inodeCount = (rec: InobtRec, geometry: Geometry): number =>
  geometry.features.has('sparse') ? rec.count : INODES_PER_CHUNK

/** Bits of the inodes outside of holes, in the form of `free`: bit 0 is the first inode. */
export function presentMask(rec: InobtRec): { hi: number; lo: number } {
  let hi = 0
  let lo = 0
  for (let bit = 0; bit < 16; bit++) {
    if ((rec.holemask & (1 << bit)) !== 0) continue
    if (bit < 8) lo |= 0xf << (bit * INODES_PER_HOLE)
    else hi |= 0xf << ((bit - 8) * INODES_PER_HOLE)
  }
  return { hi: hi >>> 0, lo: lo >>> 0 }
}

/** Inode chunks. Key: startino (an agino). */
export const inobt: BtreeOps<InobtRec, number> = {
  name: 'inobt',
  type: blockTypes.inobt,
  ...treeForms.inobt,
  readRec: readInobt,
  writeRec: InobtRec.encode,
  readKey: key.startino.get,
  lowKey: (rec) => rec.startino,
  highKey: (rec) => rec.startino + INODES_PER_CHUNK - 1,
  compare: (a, b) => a - b,
  compareRec: (view, at, agino) => startino.get(view, at) - agino,
  compareKey: (view, at, agino) => key.startino.get(view, at) - agino,
  compareKeys: (a, aAt, b, bAt) => key.startino.get(a, aAt) - key.startino.get(b, bAt),
  compareRecs: (a, aAt, b, bAt) => startino.get(a, aAt) - startino.get(b, bAt),
  copyKey: (view, at, to, toAt) => key.startino.set(to, toAt, startino.get(view, at)),
}
