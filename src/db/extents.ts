import { BmbtRec } from '../format/btrecs.ts'
import { FORK_FORMATS } from '../format/dinode.ts'
import { forkShape } from '../format/forkshape.ts'
import { get64 } from '../format/struct.ts'
import { maxRecords } from '../format/treesizes.ts'
import { Refusal, type Session } from './session.ts'

export type Fork = 'data' | 'attr'

/**
 * The extents of the session's current inode, as they stand: nothing is verified, because the inode may be what is damaged. A tree is followed
 * down its left edge to `from`, then along the leaves.
 */
export function* extentsOf(session: Session, fork: Fork, from = 0): Generator<BmbtRec> {
  const { geometry } = session
  const { ino } = session.here
  if (ino < 0) throw new Refusal('no current inode')
  const inode = session.elsewhere(() => {
    quietInode(session, ino)
    return session.view()
  })
  const { nextents, anextents, dataSize, attrSize } = forkShape(inode, 0, geometry)
  const format = inode.getInt8(fork === 'data' ? 5 : 83)
  const size = fork === 'data' ? dataSize : attrSize
  const start = fork === 'data' ? geometry.coresize : geometry.inodesize - attrSize
  if (format !== FORK_FORMATS.local && format !== FORK_FORMATS.extents && format !== FORK_FORMATS.btree) {
    throw new Refusal(`${fork} fork format ${format} does not support indexable blocks`)
  }
  if (size < 4) return
  if (format === FORK_FORMATS.extents) {
    const count = Math.max(0, Math.min(fork === 'data' ? nextents : anextents, Math.floor(size / 16)))
    for (let i = 0; i < count; i++) yield BmbtRec.decode(inode, start + i * 16)
  } else if (format === FORK_FORMATS.btree) {
    const most = Math.floor((size - 4) / 16)
    const count = Math.min(inode.getUint16(start + 2), most)
    let block = child(inode, start + 4, start + 4 + most * 8, count, from)
    let view = blockAt(session, fork, block)
    for (let level = inode.getUint16(start); view && view.getUint16(4) > 0 && level > 0; level--) {
      const keys = geometry.longHeader
      const room = maxRecords(geometry, 'bmbt', 1)
      block = child(view, keys, keys + room * 8, Math.min(view.getUint16(6), room), from)
      view = blockAt(session, fork, block)
    }
    const seen = new Set<number>()
    while (view && view.getUint16(4) === 0 && !seen.has(block)) {
      seen.add(block)
      const records = Math.min(view.getUint16(6), maxRecords(geometry, 'bmbt', 0))
      for (let i = 0; i < records; i++) yield BmbtRec.decode(view, geometry.longHeader + i * 16)
      block = get64(view, 16)
      view = blockAt(session, fork, block)
    }
  }
}

/** The forks of the current inode that count extents. */
export function mappedForks(session: Session): Fork[] {
  const { geometry, here } = session
  const { nextents, anextents } = session.elsewhere(() => {
    quietInode(session, here.ino)
    return forkShape(session.view(), 0, geometry)
  })
  return [...(nextents > 0 ? (['data'] as const) : []), ...(anextents > 0 ? (['attr'] as const) : [])]
}

/** An inode without the message about its checksum. */
function quietInode(session: Session, ino: number): void {
  const { agno } = session
  session.goInode(ino, { quiet: true })
  session.agno = agno
}

/** The last of the children whose key is not past an offset. */
function child(view: DataView, keys: number, pointers: number, count: number, offset: number): number {
  let index = 0
  while (index + 1 < count && get64(view, keys + (index + 1) * 8) <= offset) index++
  return count === 0 ? -1 : get64(view, pointers + index * 8)
}

function blockAt(session: Session, fork: Fork, fsbno: number): DataView | undefined {
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
export function mapOf(session: Session, fork: Fork, start: number, length: number): BmbtRec[] {
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
