import { BmdrBlock, LongBlock } from '../format/btblock.ts'
import { Dinode, FORK_FORMATS } from '../format/dinode.ts'
import { get64 } from '../format/fields.ts'
import { forkShape } from '../format/forkshape.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import { treeForms } from '../format/trees.ts'
import { maxRecords, rootMaxRecords } from '../format/treesizes.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { stamp } from '../format/verify/stamp.ts'
import { viewOf } from '../util/view.ts'
import { logError } from './operations.ts'
import type { ReplayPlace } from './replayplace.ts'

/**
 * After an exchange of complete forks: all blocks of a bmbt get the inode that has it now as owner.
 *
 * Source: fs/xfs/libxfs/xfs_btree.c (xfs_btree_change_owner).
 *
 * @param inode  the inode, as it is on disk now
 * @throws XfsError CORRUPT (the btree cannot be followed)
 */
export function changeOwner(place: ReplayPlace, inode: DataView, fork: 'data' | 'attr', ino: number): void {
  const { device, geometry } = place
  const { keyStride, ptrSize } = treeForms.bmbt
  const { dataSize, attrSize } = forkShape(inode, 0, geometry)
  const { format, aformat } = Dinode.fields
  if ((fork === 'data' ? format : aformat).get(inode, 0) !== FORK_FORMATS.btree) return
  const [start, size] = fork === 'data' ? [geometry.coresize, dataSize] : [geometry.coresize + dataSize, attrSize]
  const numrecs = BmdrBlock.fields.numrecs.get(inode, start)
  const most = rootMaxRecords(size)
  if (numrecs > most) throw logError(`inode ${ino} has a bmbt root of ${numrecs} keys`)
  const pointers = (view: DataView, at: number, count: number): number[] =>
    Array.from({ length: count }, (_, i) => get64(view, at + i * ptrSize))
  const change = (fsbno: number, level: number): void => {
    const daddr = geometry.validFsbnoRange(fsbno, 1) ? geometry.fsbToDaddr(fsbno) : -1
    const bytes = new Uint8Array(geometry.blocksize)
    if (daddr >= 0) device.read(bytes, daddr * BASIC_BLOCK)
    const view = viewOf(bytes)
    const { magic, level: levelField, numrecs: count, owner } = LongBlock.fields
    const keys = maxRecords(geometry, 'bmbt', level)
    const isBlock = blockTypes.bmbt.magics.includes(magic.get(view, 0)) && levelField.get(view, 0) === level
    if (!isBlock || count.get(view, 0) > keys) throw logError(`inode ${ino}: no block of its bmbt at fsbno ${fsbno}`)
    owner.set(view, 0, ino)
    stamp(blockTypes.bmbt, view, { geometry, daddr })
    device.write(bytes, daddr * BASIC_BLOCK)
    if (level === 0) return
    for (const ptr of pointers(view, LongBlock.size + keys * keyStride, count.get(view, 0))) change(ptr, level - 1)
  }
  const level = BmdrBlock.fields.level.get(inode, start)
  for (const ptr of pointers(inode, start + BmdrBlock.size + most * keyStride, numrecs)) change(ptr, level - 1)
}
