import { Cursor, records } from '../btree/cursor.ts'
import { openTree } from '../btree/roots.ts'
import { presentMask } from '../btree/trees/inobt.ts'
import { XfsError } from '../errors.ts'
import { Agi } from '../format/ag.ts'
import type { InobtRec } from '../format/btrecs.ts'
import { INODES_PER_CHUNK } from '../format/dinode.ts'
import type { Ino } from '../format/geometry.ts'
import { Superblock } from '../format/sb.ts'
import type { Mask64 } from '../format/struct.ts'
import { changeTree } from '../space/trees.ts'
import type { Transaction } from '../tx/transaction.ts'
import type { BlockReader, Volume } from '../volume.ts'

/**
 * The inode chunks of an AG: 64 inodes each, with a record in inobt (all chunks) and, while it has
 * free inodes, in finobt.
 *
 *   record     startino 128   holemask 0x00f0   count 48   freecount 30   free ▒▒▒…
 *   blocks     │ 128 … 143 │ 144 … 159 │ (hole: other blocks) │ 176 … 191 │
 *
 * One bit of holemask covers four inodes. The AGI's `count` and `freecount` and the superblock's
 * `icount` and `ifree` count inodes outside of holes.
 */

const { count: agiCount, freecount: agiFreecount } = Agi.fields

export const ALL_FREE: Mask64 = { hi: 0xffffffff, lo: 0xffffffff }

/** True if this bit of a mask of 64 inodes is set. */
export const bitSet = (mask: Mask64, bit: number): boolean =>
  (((bit < 32 ? mask.lo : mask.hi) >>> (bit % 32)) & 1) === 1

/** The mask with this bit set or cleared. */
export function withBit(mask: Mask64, bit: number, on: boolean): Mask64 {
  const flip = (word: number, at: number): number => (on ? word | (1 << at) : word & ~(1 << at)) >>> 0
  return bit < 32 ? { hi: mask.hi, lo: flip(mask.lo, bit) } : { hi: flip(mask.hi, bit - 32), lo: mask.lo }
}

/** The record of an inode's chunk, if there is one. */
export function chunkOf(
  tree: ConstructorParameters<typeof Cursor<InobtRec, number>>[0],
  agino: number,
): Cursor<InobtRec, number> | undefined {
  const cursor = new Cursor(tree)
  if (!cursor.lookup(agino, 'le')) return undefined
  return agino < cursor.record().startino + INODES_PER_CHUNK ? cursor : undefined
}

/**
 * Update the finobt, if there is one, for the chunk at `startino`. `rec` is its inobt record,
 * undefined if the chunk was removed. The finobt contains the chunks with free inodes.
 */
export function updateFinobt(tx: Transaction, agno: number, startino: number, rec: InobtRec | undefined): void {
  if (!tx.volume.features.has('finobt')) return
  const cursor = new Cursor(changeTree(tx, 'finobt', agno))
  const known = cursor.lookup(startino, 'eq')
  if (rec === undefined || rec.freecount === 0) {
    if (known) cursor.delete()
  } else if (known) cursor.update(rec)
  else cursor.insert(rec)
}

/** The numbers of all inodes in use, in order. */
export function* allocatedInodes(volume: Volume, agno: number, reader: BlockReader = volume): Generator<Ino> {
  for (const rec of records(openTree(volume, 'inobt', agno, reader))) {
    const present = presentMask(rec)
    for (let bit = 0; bit < INODES_PER_CHUNK; bit++) {
      if (bitSet(present, bit) && !bitSet(rec.free, bit)) yield volume.geometry.ino(agno, rec.startino + bit)
    }
  }
}

/**
 * Add to the inode counts of the superblock. @throws XfsError CORRUPT if one would be negative
 */
export function addToSuperblock(tx: Transaction, icount: number, ifree: number): void {
  const view = tx.edit(tx.volume.superblock(tx))
  const set = (field: 'icount' | 'ifree', change: number): void => {
    const value = Superblock.fields[field].get(view, 0) + change
    if (value < 0) throw new XfsError('CORRUPT', `superblock: ${field} would be ${value}`, { type: 'sb', field })
    Superblock.fields[field].set(view, 0, value)
  }
  if (icount !== 0) set('icount', icount)
  if (ifree !== 0) set('ifree', ifree)
}

/** Add to the counts of an AGI. @throws XfsError CORRUPT if one would be negative */
export function addToAgi(tx: Transaction, agno: number, count: number, freecount: number): void {
  const view = tx.edit(tx.volume.agi(agno, tx))
  const set = (field: typeof agiCount, change: number): void => {
    const value = field.get(view, 0) + change
    if (value < 0)
      throw new XfsError('CORRUPT', `AG ${agno}: ${field.name} of the AGI would be ${value}`, {
        type: 'agi',
        agno,
        field: field.name,
      })
    field.set(view, 0, value)
  }
  set(agiCount, count)
  set(agiFreecount, freecount)
}

/**
 * The maximum number of inodes in the filesystem (imaxpct); 0 for no limit. Source:
 * xfs_ialloc_setup_geometry.
 */
export function maxInodes(volume: Volume): number {
  const { sb, chunkBlocks, inopblock } = volume.geometry
  if (sb.imax_pct === 0) return 0
  const blocks = Math.floor((sb.dblocks * sb.imax_pct) / 100)
  return Math.floor(blocks / chunkBlocks) * chunkBlocks * inopblock
}
