import { Agf } from '../format/ag.ts'
import { OWNERS } from '../format/btrecs.ts'
import type { DeferType, Transaction } from '../tx/transaction.ts'
import { agflNeed, putToAgfl, takeFromAgfl } from './agfl.ts'
import { giveFree, recordFreed, takeFree } from './freespace.ts'
import { mapBlocks, rmapRec, unmapBlocks } from './rmaprecs.ts'

/**
 * Adjusts the length of the AGFL before the free space or rmap btrees change.
 *
 *   too short   free space ─▶ AGFL   The blocks become OWN_AG. This changes the trees, so the
 *                                    required length allows for two changes of each.
 *   too long    AGFL ─▶ free space   Deferred to the end of the transaction.
 * Source: fs/xfs/libxfs/xfs_alloc.c (xfs_alloc_fix_freelist).
 */

/** A block that was removed from the AGFL and must be freed. */
interface AgflFree {
  readonly agno: number
  readonly agbno: number
}

const agflFree: DeferType<AgflFree> = {
  name: 'agflFree',
  rank: 50,
  finish(tx, { agno, agbno }) {
    const agf = tx.volume.agf(agno, tx).view
    if (Agf.fields.flcount.get(agf, 0) < agflNeed(tx.volume, agf)) {
      // Needed again: other frees have made a tree higher, or used the AGFL up.
      putToAgfl(tx, agno, agbno, false)
      return undefined
    }
    unmapBlocks(tx, agno, rmapRec(agbno, 1, { owner: OWNERS.ag }))
    giveFree(tx, agno, { agbno, length: 1 })
    recordFreed(tx, agno, { agbno, length: 1 })
    return undefined
  },
}

/**
 * Adjust the length of the AGFL of the AG, as far as the free space permits. Call before changing
 * bnobt, cntbt or rmapbt.
 */
export function fixFreelist(tx: Transaction, agno: number): void {
  const { volume } = tx
  const agf = volume.agf(agno, tx)
  const need = agflNeed(volume, agf.view)
  let count = Agf.fields.flcount.get(agf.view, 0)
  for (; count > need; count--) {
    const agbno = takeFromAgfl(tx, agno, false) as number
    tx.defer(agflFree, { agno, agbno })
  }
  while (count < need) {
    // Filling it may make a btree higher; the next call meets the new requirement.
    const run = takeFree(tx, agno, { minLength: 1, maxLength: need - count, alignment: 1 })
    if (!run) return
    mapBlocks(tx, agno, rmapRec(run.agbno, run.length, { owner: OWNERS.ag }))
    for (let i = 0; i < run.length; i++) putToAgfl(tx, agno, run.agbno + i, false)
    count = Agf.fields.flcount.get(agf.view, 0)
  }
}
