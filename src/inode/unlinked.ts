import { AGI_UNLINKED_BUCKETS, Agi, BUCKET_SIZE, NULLAGINO } from '../format/ag.ts'
import { Dinode } from '../format/dinode.ts'
import type { Ino } from '../format/geometry.ts'
import type { Transaction } from '../tx/transaction.ts'
import type { BlockReader, Volume } from '../volume.ts'
import { type Inode, inodeAt, inodeError } from './inode.ts'

/**
 * AGI unlinked lists: inodes without links that still have blocks. Each of the 64 lists of an AG
 * (`agino % 64`) begins in the AGI and continues in `next_unlinked` of its inodes.
 */

const { unlinked: agiUnlinked } = Agi.fields
const { next_unlinked: nextUnlinked } = Dinode.fields

/** Add an inode without links to the unlinked list of its AG, until its blocks are freed. */
export function addUnlinked(tx: Transaction, inode: Inode): void {
  const { agno, agino, at } = inode
  const bucket = bucketAt(agino)
  const agi = tx.edit(tx.volume.agi(agno, tx))
  const head = agi.getUint32(bucket)
  if (head === agino) throw inodeError(inode.ino, 'it is already on the AGI unlinked list', 'next_unlinked')
  nextUnlinked.set(tx.edit(inode.buf), at, head)
  agi.setUint32(bucket, agino)
}

/** Remove it from the list. @throws XfsError CORRUPT if it is not on the list */
export function removeUnlinked(tx: Transaction, inode: Inode): void {
  const { volume, agno, agino } = inode
  const bucket = bucketAt(agino)
  const agi = volume.agi(agno, tx)
  const next = nextUnlinked.get(inode.view, inode.at)
  let previous: Inode | undefined
  const seen = new Set<number>()
  for (let at = agi.view.getUint32(bucket); at !== agino; ) {
    if (at === NULLAGINO || seen.has(at))
      throw inodeError(inode.ino, 'it is not on the AGI unlinked list', 'next_unlinked')
    seen.add(at)
    previous = inodeAt(volume, volume.geometry.ino(agno, at), tx)
    at = nextUnlinked.get(previous.view, previous.at)
  }
  if (previous) nextUnlinked.set(tx.edit(previous.buf), previous.at, next)
  else tx.edit(agi).setUint32(bucket, next)
  nextUnlinked.set(tx.edit(inode.buf), inode.at, NULLAGINO)
}

/** The unlinked inodes of an AG. */
export function* unlinkedInodes(volume: Volume, agno: number, reader: BlockReader = volume): Generator<Ino> {
  const heads = agiUnlinked.get(volume.agi(agno, reader).view, 0)
  const seen = new Set<number>()
  for (const head of heads) {
    for (let agino = head; agino !== NULLAGINO; ) {
      const ino = volume.geometry.ino(agno, agino)
      if (seen.has(agino)) throw inodeError(ino, 'it is on the AGI unlinked list twice', 'next_unlinked')
      seen.add(agino)
      yield ino
      const inode = inodeAt(volume, ino, reader)
      agino = nextUnlinked.get(inode.view, inode.at)
    }
  }
}

/** The offset of the head of an inode's list in the AGI. */
const bucketAt = (agino: number): number => agiUnlinked.offset + (agino % AGI_UNLINKED_BUCKETS) * BUCKET_SIZE
