import { Cursor } from '../btree/cursor.ts'
import { presentMask } from '../btree/trees/inobt.ts'
import { XfsError } from '../errors.ts'
import { Agi, NULLAGINO } from '../format/ag.ts'
import type { InobtRec } from '../format/btrecs.ts'
import { INODES_PER_CHUNK } from '../format/dinode.ts'
import type { Ino } from '../format/geometry.ts'
import { Superblock } from '../format/sb.ts'
import { changeTree } from '../space/trees.ts'
import type { Transaction } from '../tx/transaction.ts'
import { addToAgi, addToSuperblock, bitSet, updateFinobt, withBit } from './chunks.ts'
import { addChunk } from './newchunk.ts'

/**
 * Choosing free inodes: near the parent, in a chunk that has free ones. An AG without free inodes
 * gets a new chunk. Only numbers are allocated here (inobt, finobt, counters); the caller writes
 * the inodes.
 *
 * Source: fs/xfs/libxfs/xfs_ialloc.c.
 */

const { freecount: agiFreecount, newino: agiNewino } = Agi.fields

/**
 * The AG for a new directory. Directories are spread over the AGs; the number of inodes in use
 * replaces the kernel's counter in memory.
 */
export function agForDirectory(tx: Transaction): number {
  const { view } = tx.volume.superblock(tx)
  const used = Superblock.fields.icount.get(view, 0) - Superblock.fields.ifree.get(view, 0)
  return Math.max(0, used) % tx.volume.geometry.agcount
}

/**
 * Allocate `count` free inodes, of the first AGs that have them, from `first` on.
 * @param parent  the inode to allocate near to; undefined for none
 * @throws XfsError NOSPC if there are fewer
 */
export function takeInodes(tx: Transaction, parent: number | undefined, first: number, count: number): Ino[] {
  const { volume } = tx
  const { agcount, inoAgno, inoAgino } = volume.geometry
  const taken: Ino[] = []
  for (let i = 0; i < agcount; i++) {
    const agno = (first + i) % agcount
    const near = parent !== undefined && agno === inoAgno(parent) ? inoAgino(parent) : undefined
    while (taken.length < count) {
      if (agiFreecount.get(volume.agi(agno, tx).view, 0) === 0 && !addChunk(tx, agno)) break
      taken.push(...takeFromChunk(tx, agno, near, count - taken.length))
    }
  }
  if (taken.length < count) throw new XfsError('NOSPC', 'no inodes left')
  return taken
}

/** Allocate up to `count` inodes of one chunk of an AG that has free ones. */
function takeFromChunk(tx: Transaction, agno: number, near: number | undefined, count: number): Ino[] {
  const { geometry, features } = tx.volume
  const inobt = changeTree(tx, 'inobt', agno)
  const finobt = features.has('finobt') ? changeTree(tx, 'finobt', agno) : undefined
  const found = finobt ? nearestFree(tx, agno, new Cursor(finobt), near) : searchFree(tx, agno, new Cursor(inobt), near)
  const taken: Ino[] = []
  let rec = found
  if (found) {
    const present = presentMask(found)
    let { free } = found
    for (let bit = 0; bit < INODES_PER_CHUNK && taken.length < count; bit++) {
      if (!bitSet(free, bit) || !bitSet(present, bit)) continue
      free = withBit(free, bit, false)
      taken.push(geometry.ino(agno, found.startino + bit))
    }
    rec = { ...found, free, freecount: found.freecount - taken.length }
  }
  if (!found || !rec || taken.length === 0) {
    throw new XfsError(
      'CORRUPT',
      `AG ${agno}: the AGI counts free inodes, but ${finobt ? 'finobt' : 'inobt'} has none`,
      { type: 'agi', agno },
    )
  }
  const all = new Cursor(inobt)
  if (!all.lookup(found.startino, 'eq') || !sameChunk(all.record(), found)) {
    throw new XfsError('CORRUPT', `AG ${agno}: inobt and finobt differ in the chunk at inode ${found.startino}`, {
      type: 'inobt',
      agno,
    })
  }
  all.update(rec)
  updateFinobt(tx, agno, found.startino, rec)
  addToAgi(tx, agno, 0, -taken.length)
  addToSuperblock(tx, 0, -taken.length)
  return taken
}

const sameChunk = (a: InobtRec, b: InobtRec): boolean =>
  a.freecount === b.freecount && a.holemask === b.holemask && a.free.hi === b.free.hi && a.free.lo === b.free.lo

/** The nearest chunk in a tree whose chunks all have free inodes. */
function nearestFree(
  tx: Transaction,
  agno: number,
  cursor: Cursor<InobtRec, number>,
  near: number | undefined,
): InobtRec | undefined {
  if (near === undefined) {
    const newest = agiNewino.get(tx.volume.agi(agno, tx).view, 0)
    if (newest !== NULLAGINO && cursor.lookup(newest, 'eq')) return cursor.record()
    return cursor.lookup(0, 'ge') ? cursor.record() : undefined
  }
  const left = cursor.lookup(near, 'le') ? cursor.record() : undefined
  if (left && near < left.startino + INODES_PER_CHUNK) return left
  const right = cursor.lookup(near, 'ge') ? cursor.record() : undefined
  if (!left || !right) return left ?? right
  return near - (left.startino + INODES_PER_CHUNK - 1) <= right.startino - near ? left : right
}

/** Chunks read on either side of the wanted inode, without a finobt. */
const SEARCH = 10

/** In the tree of all chunks: the parent's chunk and those around it, the newest, then any. */
function searchFree(
  tx: Transaction,
  agno: number,
  cursor: Cursor<InobtRec, number>,
  near: number | undefined,
): InobtRec | undefined {
  if (near !== undefined) {
    let more = cursor.lookup(near, 'le')
    for (let i = 0; more && i < SEARCH; i++, more = cursor.previous())
      if (cursor.record().freecount > 0) return cursor.record()
    more = cursor.lookup(near + 1, 'ge')
    for (let i = 0; more && i < SEARCH; i++, more = cursor.next())
      if (cursor.record().freecount > 0) return cursor.record()
  }
  const newest = agiNewino.get(tx.volume.agi(agno, tx).view, 0)
  if (newest !== NULLAGINO && cursor.lookup(newest, 'eq') && cursor.record().freecount > 0) return cursor.record()
  for (let more = cursor.lookup(0, 'ge'); more; more = cursor.next())
    if (cursor.record().freecount > 0) return cursor.record()
  return undefined
}
