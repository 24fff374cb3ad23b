import type { Space } from '../btree/ops.ts'
import { openTree } from '../btree/roots.ts'
import type { AgTree } from '../btree/treeops.ts'
import { type AgTreeName, btrees } from '../format/trees.ts'
import type { Transaction } from '../tx/transaction.ts'
import { agflSpace, countTreeBlocks } from './agfl.ts'
import { allocExtent, extentFree } from './alloc.ts'
import type { Reserve } from './reserve.ts'

/**
 * The btrees of an AG for changing, each with its root and the source of its blocks, according to
 * its row of `btrees`. For reading only use `openTree` of btree/roots.ts.
 *
 *   agfl       blocks from the AGFL and back to it (agfl.ts)
 *   free       free blocks of the AG
 *   reserved   free blocks of the AG, from its reservation
 */
export function changeTree<Name extends AgTreeName>(tx: Transaction, name: Name, agno: number): AgTree<Name> {
  return openTree(tx.volume, name, agno, tx, spaceOf(name, agno))
}

function spaceOf(name: AgTreeName, agno: number): Space {
  const { space } = btrees[name]
  if (space === 'agfl') return agflSpace(name, agno)
  return agSpace(name, agno, space === 'reserved' ? 'metadata' : 'none')
}

/** Allocates and frees single blocks of the AG's free space. */
function agSpace(name: AgTreeName, agno: number, reserve: Reserve): Space {
  const { owner } = btrees[name]
  return {
    alloc(tx, near) {
      const wish = tx.volume.geometry.fsbno(agno, near)
      const request = { agno, onlyAg: true, near: wish, minLength: 1, maxLength: 1, reserve, owner }
      const { agbno } = allocExtent(tx, request)
      countTreeBlocks(tx, name, agno, 1)
      return agbno
    },
    free(tx, agbno) {
      tx.defer(extentFree, { fsbno: tx.volume.geometry.fsbno(agno, agbno), blockcount: 1, owner })
      countTreeBlocks(tx, name, agno, -1)
    },
  }
}
