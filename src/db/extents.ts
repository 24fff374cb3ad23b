import { BmdrBlock, LongBlock } from '../format/btblock.ts'
import { BmbtKey, BmbtRec } from '../format/btrecs.ts'
import { Dinode, FORK_FORMATS } from '../format/dinode.ts'
import { get64 } from '../format/fields.ts'
import { forkShape } from '../format/forkshape.ts'
import { treeForms } from '../format/trees.ts'
import { maxRecords, rootMaxRecords } from '../format/treesizes.ts'
import { type DbSession, Refusal } from './session.ts'

const { keyStride, ptrSize } = treeForms.bmbt

export type Fork = 'data' | 'attr'

/**
 * The extents of the session's current inode. They are not verified, because the inode may be
 * damaged. A tree is descended to `from`, then read along the leaves.
 */
function* extentsOf(session: DbSession, fork: Fork, from = 0): Generator<BmbtRec> {
  const { geometry } = session
  const { ino } = session.here
  if (ino < 0) throw new Refusal('no current inode')
  const inode = session.elsewhere(() => {
    quietInode(session, ino)
    return session.view()
  })
  const { nextents, anextents, dataSize, attrSize } = forkShape(inode, 0, geometry)
  const format = (fork === 'data' ? Dinode.fields.format : Dinode.fields.aformat).get(inode, 0)
  const size = fork === 'data' ? dataSize : attrSize
  const start = fork === 'data' ? geometry.coresize : geometry.inodesize - attrSize
  if (format !== FORK_FORMATS.local && format !== FORK_FORMATS.extents && format !== FORK_FORMATS.btree) {
    throw new Refusal(`${fork} fork format ${format} does not support indexable blocks`)
  }
  if (size < BmdrBlock.size) return
  if (format === FORK_FORMATS.extents) {
    const count = Math.max(0, Math.min(fork === 'data' ? nextents : anextents, Math.floor(size / BmbtRec.size)))
    for (let i = 0; i < count; i++) yield BmbtRec.decode(inode, start + i * BmbtRec.size)
  } else if (format === FORK_FORMATS.btree) {
    const { level, numrecs, rightsib } = LongBlock.fields
    const most = rootMaxRecords(size)
    const count = Math.min(BmdrBlock.fields.numrecs.get(inode, start), most)
    let block = child(inode, start + BmdrBlock.size, most, count, from)
    let view = blockAt(session, fork, block)
    for (
      let height = BmdrBlock.fields.level.get(inode, start);
      view && level.get(view, 0) > 0 && height > 0;
      height--
    ) {
      const room = maxRecords(geometry, 'bmbt', 1)
      block = child(view, geometry.longHeader, room, Math.min(numrecs.get(view, 0), room), from)
      view = blockAt(session, fork, block)
    }
    const seen = new Set<number>()
    while (view && level.get(view, 0) === 0 && !seen.has(block)) {
      seen.add(block)
      const records = Math.min(numrecs.get(view, 0), maxRecords(geometry, 'bmbt', 0))
      for (let i = 0; i < records; i++) yield BmbtRec.decode(view, geometry.longHeader + i * BmbtRec.size)
      block = rightsib.get(view, 0)
      view = blockAt(session, fork, block)
    }
  }
}

/** The forks of the current inode that have extents. */
export function mappedForks(session: DbSession): Fork[] {
  const { geometry, here } = session
  const { nextents, anextents } = session.elsewhere(() => {
    quietInode(session, here.ino)
    return forkShape(session.view(), 0, geometry)
  })
  return [...(nextents > 0 ? (['data'] as const) : []), ...(anextents > 0 ? (['attr'] as const) : [])]
}

/** Go to an inode, without the message about its checksum. */
function quietInode(session: DbSession, ino: number): void {
  const { agno } = session
  session.goInode(ino, { quiet: true })
  session.agno = agno
}

/**
 * The last child with a key that is not past an offset, in a node with space for `most` keys at
 * `keys`.
 */
function child(view: DataView, keys: number, most: number, count: number, offset: number): number {
  let index = 0
  while (index + 1 < count && BmbtKey.fields.startoff.get(view, keys + (index + 1) * keyStride) <= offset) index++
  return count === 0 ? -1 : get64(view, keys + most * keyStride + index * ptrSize)
}

function blockAt(session: DbSession, fork: Fork, fsbno: number): DataView | undefined {
  const { geometry } = session
  if (!(fsbno >= 0) || geometry.agnoOf(fsbno) >= geometry.agcount || geometry.agbnoOf(fsbno) >= geometry.agblocks)
    return undefined
  return session.elsewhere(() => {
    session.go(
      session.kindOf(fork === 'data' ? 'bmapbtd' : 'bmapbta'),
      geometry.fsbToDaddr(fsbno),
      geometry.blocksize,
      { ring: false },
    )
    return session.view()
  })
}

/** The mapped parts of [start, start + length), in order. */
export function mapOf(session: DbSession, fork: Fork, start: number, length: number): BmbtRec[] {
  const found: BmbtRec[] = []
  for (const rec of extentsOf(session, fork, start)) {
    const end = rec.startoff + rec.blockcount
    if (end <= start) continue
    if (rec.startoff >= start + length) break
    const skip = Math.max(0, start - rec.startoff)
    const blockcount = Math.min(end, start + length) - rec.startoff - skip
    found.push({ ...rec, startoff: rec.startoff + skip, startblock: rec.startblock + skip, blockcount })
  }
  return found
}
