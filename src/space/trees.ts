import type { Space } from '../btree/ops.ts'
import { type AgTree, type AgTreeName, openTree } from '../btree/roots.ts'
import { Agf, Agi } from '../format/ag.ts'
import { OWNERS } from '../format/btrecs.ts'
import type { Transaction } from '../tx/transaction.ts'
import { agflSpace, rmapbtSpace } from './agfl.ts'
import { allocExtent, extentFree } from './alloc.ts'
import type { Reserve } from './reserve.ts'

/**
 * The six trees of a group, to be changed: each with its root and with the source of its blocks.
 *
 *   bnobt, cntbt, rmapbt   blocks from the AGFL and back to it (agfl.ts)
 *   inobt                  free blocks of the group, owner OWN_INOBT
 *   finobt                 the same, drawing on the group's reservation
 *   refcountbt             free blocks of the group, owner OWN_REFC, drawing on the reservation
 *
 * The counters of tree blocks in the AGF and AGI are kept here. For reading alone use `openTree` of btree/roots.ts.
 */
export function changeTree<Name extends AgTreeName>(tx: Transaction, name: Name, agno: number): AgTree<Name> {
  return openTree(tx.volume, name, agno, tx, spaceOf(name, agno))
}

function spaceOf(name: AgTreeName, agno: number): Space {
  switch (name) {
    case 'bnobt':
    case 'cntbt':
      return agflSpace(agno)
    case 'rmapbt':
      return rmapbtSpace(agno)
    case 'inobt':
      return groupSpace(agno, OWNERS.inobt, 'none', countInodeBlocks('iblocks', agno))
    case 'finobt':
      return groupSpace(agno, OWNERS.inobt, 'metadata', countInodeBlocks('fblocks', agno))
    case 'refcountbt':
      return groupSpace(agno, OWNERS.refc, 'metadata', countRefcountBlocks(agno))
  }
}

type Count = (tx: Transaction, change: number) => void

/** Single blocks of the group's free space. */
function groupSpace(agno: number, owner: number, reserve: Reserve, count: Count): Space {
  return {
    alloc(tx, near) {
      const { geometry } = tx.volume
      const request = {
        agno,
        onlyGroup: true,
        near: geometry.fsbno(agno, near),
        minLength: 1,
        maxLength: 1,
        reserve,
        owner,
      }
      const { agbno } = allocExtent(tx, request)
      count(tx, 1)
      return agbno
    },
    free(tx, agbno) {
      tx.defer(extentFree, { fsbno: tx.volume.geometry.fsbno(agno, agbno), blockcount: 1, owner })
      count(tx, -1)
    },
  }
}

const countInodeBlocks =
  (field: 'iblocks' | 'fblocks', agno: number): Count =>
  (tx, change) => {
    if (!tx.volume.features.has('inobtcount')) return
    const view = tx.edit(tx.volume.agi(agno, tx))
    Agi.fields[field].set(view, 0, Agi.fields[field].get(view, 0) + change)
  }

const countRefcountBlocks =
  (agno: number): Count =>
  (tx, change) => {
    const view = tx.edit(tx.volume.agf(agno, tx))
    Agf.fields.refcntblocks.set(view, 0, Agf.fields.refcntblocks.get(view, 0) + change)
  }
