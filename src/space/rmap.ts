import { XfsError } from '../errors.ts'
import type { RmapRec } from '../format/btrecs.ts'
import type { DeferType, Transaction } from '../tx/transaction.ts'
import { trace } from '../util/trace.ts'
import { fixFreelist } from './freelist.ts'
import { convertBlocks, mapBlocks, mapNewBlocks, rmapRec, unmapBlocks } from './rmaprecs.ts'

export { rmapRec } from './rmaprecs.ts'

/**
 * A change of the rmapbt that follows from a change of a file's mapping. For the algorithms see
 * rmaprecs.ts.
 */
interface RmapUpdate {
  readonly op: 'map' | 'unmap' | 'convert'
  /** Inode, or one of OWNERS. */
  readonly owner: number
  readonly fork: 'data' | 'attr'
  readonly bmbtblock?: boolean
  readonly startoff: number
  readonly fsbno: number
  readonly blockcount: number
  /** The state of the mapping (unmap: the old one; convert: the new one). */
  readonly unwritten?: boolean
  /**
   * No earlier mapping of the file continues into these blocks, so there is no reverse mapping to
   * extend.
   */
  readonly startsRun?: boolean
}

export const rmapUpdate: DeferType<RmapUpdate> = {
  name: 'rmap',
  rank: 20,
  finish(tx, item) {
    const { geometry, features } = tx.volume
    if (!features.has('rmapbt')) return undefined
    if (trace.rmap.hasSubscribers) trace.rmap.publish({ point: 'deferred', ...item })
    if (!geometry.validFsbnoRange(item.fsbno, item.blockcount)) {
      throw new XfsError(
        'CORRUPT',
        `the mapping of inode ${item.owner} to ${item.fsbno}+${item.blockcount} is out of range for the filesystem`,
      )
    }
    const agno = geometry.agnoOf(item.fsbno)
    const { owner, startoff: offset, bmbtblock = false } = item
    const rec = rmapRec(
      geometry.agbnoOf(item.fsbno),
      item.blockcount,
      { owner, offset, bmbtblock, attrfork: item.fork === 'attr' },
      item.unwritten === true,
    )
    fixFreelist(tx, agno)
    if (item.op === 'map') mapBlocks(tx, agno, rec, item.startsRun)
    else if (item.op === 'unmap') unmapBlocks(tx, agno, rec)
    else convertBlocks(tx, agno, rec)
    return undefined
  },
}

/**
 * Record immediately the owner of blocks that no other record of this owner is adjacent to: see
 * `mapNewBlocks`.
 */
export function addNewRmap(tx: Transaction, agno: number, rec: RmapRec): void {
  if (!tx.volume.features.has('rmapbt')) return
  fixFreelist(tx, agno)
  mapNewBlocks(tx, agno, rec)
}
