import { XfsError } from '../errors.ts'
import type { RmapRec } from '../format/btrecs.ts'
import type { DeferType, Transaction } from '../tx/transaction.ts'
import { trace } from '../util/trace.ts'
import { fixFreelist } from './freelist.ts'
import { convertBlocks, mapBlocks, mapNewBlocks, rmapRec, unmapBlocks } from './rmaprecs.ts'

export { rmapRec } from './rmaprecs.ts'

/** What a changed mapping of a file owes to the rmapbt. The algorithms are in rmaprecs.ts. */
interface RmapUpdate {
  readonly op: 'map' | 'unmap' | 'convert'
  /** Inode, or one of OWNERS. */
  readonly owner: number
  readonly fork: 'data' | 'attr'
  readonly bmbtblock?: boolean
  readonly startoff: number
  readonly fsbno: number
  readonly blockcount: number
  /** How the blocks are mapped (unmap: were mapped; convert: are from now on). */
  readonly unwritten?: boolean
  /**
   * The file maps nothing that these blocks follow, so there is no reverse mapping to look for that
   * they continue.
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
        `the mapping of inode ${item.owner} to ${item.fsbno}+${item.blockcount} is outside of the filesystem`,
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
 * Record at once the owner of blocks that no other record of this owner touches: see
 * `mapNewBlocks`.
 */
export function addNewRmap(tx: Transaction, agno: number, rec: RmapRec): void {
  if (!tx.volume.features.has('rmapbt')) return
  fixFreelist(tx, agno)
  mapNewBlocks(tx, agno, rec)
}
