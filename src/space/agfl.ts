import type { Space } from '../btree/ops.ts'
import { openTree } from '../btree/roots.ts'
import type { AgTree } from '../btree/treeops.ts'
import { XfsError } from '../errors.ts'
import { Agf, Agfl } from '../format/ag.ts'
import type { Geometry } from '../format/geometry.ts'
import { type AgTreeName, blocksField, btrees } from '../format/trees.ts'
import { agflSlots } from '../format/treesizes.ts'
import type { Transaction } from '../tx/transaction.ts'
import type { Volume } from '../volume.ts'
import { minFreelist } from './reserve.ts'

/**
 * The AGFL: blocks reserved for the btrees of free space and its owners. These trees cannot use the
 * allocator while the allocator is changing them. So they take blocks from the AGFL, and return
 * blocks that they no longer need.
 *
 *   slot   0   1   2   3   4   5 …  n-1
 *        │ ─ │ 7 │ 8 │ 9 │ ─ │ ─ … │ ─ │      a ring: take at flfirst, put after fllast
 *              ▲       ▲
 *          flfirst   fllast                   flcount = 3
 *
 * An AGFL block has the owner OWN_AG in the rmapbt, both in the AGFL and in one of the three
 * btrees, so moving it changes no record. AGF `btreeblks` counts the blocks used by the trees,
 * without the three roots. For filling and shortening it see freelist.ts.
 *
 * Source: fs/xfs/libxfs/xfs_alloc.c (xfs_alloc_get_freelist, xfs_alloc_put_freelist); a V5 AGFL has
 * a header of 36 bytes.
 */

const slotAt = (geometry: Geometry, slot: number): number =>
  (geometry.features.version === 5 ? Agfl.size : 0) + 4 * slot

/** The AGF fields that describe the ring, after checking that they are consistent. */
function ring(
  volume: Volume,
  agno: number,
  agf: DataView,
): { first: number; last: number; count: number; slots: number } {
  const slots = agflSlots(volume.geometry)
  const first = Agf.fields.flfirst.get(agf, 0)
  const last = Agf.fields.fllast.get(agf, 0)
  const count = Agf.fields.flcount.get(agf, 0)
  const active = count === 0 ? 0 : last >= first ? last - first + 1 : slots - first + last + 1
  if (first >= slots || last >= slots || count > slots || active !== count) {
    throw new XfsError(
      'CORRUPT',
      `AG ${agno}: AGFL has ${slots} slots, but flfirst ${first}, fllast ${last}, flcount ${count}`,
      {
        type: 'agf',
        agno,
        field: 'flcount',
      },
    )
  }
  return { first, last, count, slots }
}

/**
 * Take the first block of the AGFL, for a btree or to free it.
 * @returns undefined if there is none
 */
export function takeFromAgfl(tx: Transaction, agno: number, forBtree: boolean): number | undefined {
  const { volume } = tx
  const agf = volume.agf(agno, tx)
  const { first, count, slots } = ring(volume, agno, agf.view)
  if (count === 0) return undefined
  const agbno = volume.agfl(agno, tx).view.getUint32(slotAt(volume.geometry, first))
  if (!volume.geometry.validAgbno(agno, agbno)) {
    throw new XfsError(
      'CORRUPT',
      `AG ${agno}: AGFL slot ${first} holds block ${agbno}, which is out of range for the AG`,
      {
        type: 'agfl',
        agno,
      },
    )
  }
  const view = tx.edit(agf)
  Agf.fields.flfirst.set(view, 0, (first + 1) % slots)
  Agf.fields.flcount.set(view, 0, count - 1)
  if (forBtree) Agf.fields.btreeblks.set(view, 0, Agf.fields.btreeblks.get(view, 0) + 1)
  return agbno
}

/** Put a block at the end of the AGFL, from a btree or from the free space. */
export function putToAgfl(tx: Transaction, agno: number, agbno: number, fromBtree: boolean): void {
  const { volume } = tx
  const agf = volume.agf(agno, tx)
  const { last, count, slots } = ring(volume, agno, agf.view)
  if (count === slots)
    throw new XfsError('CORRUPT', `AG ${agno}: the AGFL is full, no slot for block ${agbno}`, { type: 'agfl', agno })
  const view = tx.edit(agf)
  const slot = (last + 1) % slots
  Agf.fields.fllast.set(view, 0, slot)
  Agf.fields.flcount.set(view, 0, count + 1)
  if (fromBtree) Agf.fields.btreeblks.set(view, 0, Agf.fields.btreeblks.get(view, 0) - 1)
  tx.edit(volume.agfl(agno, tx)).setUint32(slotAt(volume.geometry, slot), agbno)
}

/** Minimum blocks in the AGFL before the free space or rmap btrees of the AG change. */
export function agflNeed(volume: Volume, agf: DataView): number {
  return minFreelist(volume.geometry, {
    bnobt: Agf.fields.bnolevel.get(agf, 0),
    cntbt: Agf.fields.cntlevel.get(agf, 0),
    rmapbt: Agf.fields.rmaplevel.get(agf, 0),
  })
}

/** Update the header's count of a tree's blocks, if it has one. */
export function countTreeBlocks(tx: Transaction, name: AgTreeName, agno: number, change: number): void {
  const field = blocksField(name, tx.volume.features)
  if (!field) return
  const view = tx.edit(tx.volume[btrees[name].root.in](agno, tx))
  field.set(view, 0, field.get(view, 0) + change)
}

/** Allocates blocks for a tree from the AGFL, and frees them to it. */
export const agflSpace = (name: AgTreeName, agno: number): Space => ({
  alloc(tx) {
    const agbno = takeFromAgfl(tx, agno, true)
    if (agbno === undefined)
      throw new XfsError('NOSPC', `AG ${agno}: the AGFL is empty, no block for the free space btrees`, { agno })
    countTreeBlocks(tx, name, agno, 1)
    return agbno
  },
  free(tx, agbno) {
    putToAgfl(tx, agno, agbno, true)
    countTreeBlocks(tx, name, agno, -1)
  },
})

/** A tree that uses the AGFL, for changing. */
const agflTree = <N extends AgTreeName>(tx: Transaction, name: N, agno: number): AgTree<N> =>
  openTree(tx.volume, name, agno, tx, agflSpace(name, agno))

/** The bnobt, for changing. */
export const bnoTree = (tx: Transaction, agno: number): AgTree<'bnobt'> => agflTree(tx, 'bnobt', agno)

/** The cntbt, for changing. */
export const cntTree = (tx: Transaction, agno: number): AgTree<'cntbt'> => agflTree(tx, 'cntbt', agno)

/** The rmapbt, for changing. */
export const rmapTree = (tx: Transaction, agno: number): AgTree<'rmapbt'> => agflTree(tx, 'rmapbt', agno)
