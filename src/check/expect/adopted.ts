import { OWNERS } from '../../format/btrecs.ts'
import { ATTR_FORK, BMBT_BLOCK, Extents, RMAP_FLAGS, SHAREABLE, UNWRITTEN } from '../extents.ts'
import type { Inodes } from '../observe/inodetable.ts'
import type { ObservedAg } from '../observe/observation.ts'

/**
 * The AG with what its rmapbt says of owners that could not be read: inodes, trees and the AGFL. Of
 * the others everything stays as it was observed, so rmapbt is still compared with it.
 *
 *   observed   inode 131  ▒▒▒▒▒         tree ██     inode 140 ?
 *   rmapbt     inode 131  ▒▒▒▒▒         tree ██     inode 140  ▒▒▒▒
 *   adopted    inode 131  ▒▒▒▒▒         tree ██     inode 140  ▒▒▒▒
 *
 * Whether it is right is for the other trees to say: `spaceProof`.
 *
 * @param agflWrong the AGFL does not list what it should
 * @returns undefined where rmapbt is not sound
 */
export function adoptRmaps(inodes: Inodes, ag: ObservedAg, agflWrong: boolean): ObservedAg | undefined {
  const { trees } = ag
  const { rmapbt } = trees
  if (!rmapbt?.complete || rmapbt.damaged) return undefined
  const unread = unreadOwners(ag, agflWrong)
  const { geometry } = inodes
  const isUnread = (owner: number): boolean =>
    owner < 0 ? unread.has(owner) : geometry.validIno(owner) && !inodes.isKnown(owner)
  const metadata = new Extents()
  const mappings = new Extents()
  for (const [from, to] of [
    [ag.metadata, metadata],
    [ag.mappings, mappings],
  ] as const)
    for (let row = 0; row < from.length; row++) if (!isUnread(from.owner.get(row))) to.copy(from, row)
  const shareable = geometry.features.has('reflink') ? SHAREABLE : 0
  const { records } = rmapbt
  for (let row = 0; row < records.length; row++) {
    const owner = records.owner.get(row)
    if (!isUnread(owner) || !geometry.validAgbno(ag.agno, records.start.get(row))) continue
    const flags = records.flags.get(row) & RMAP_FLAGS
    const to = owner < 0 || (flags & BMBT_BLOCK) !== 0 ? metadata : mappings
    const i = to.copy(records, row)
    if (to === mappings && (flags & (ATTR_FORK | UNWRITTEN)) === 0) to.flags.data[i] = flags | shareable
  }
  return { ...ag, metadata, mappings }
}

/** Owners of the AG itself not all of whose blocks were seen. */
function unreadOwners({ trees }: ObservedAg, agflWrong: boolean): Set<number> {
  const { bnobt, cntbt, inobt, finobt, refcountbt } = trees
  const unread = new Set<number>()
  if (agflWrong || !bnobt.complete || !cntbt.complete) unread.add(OWNERS.ag)
  if (!inobt.complete || finobt?.complete === false) unread.add(OWNERS.inobt)
  if (refcountbt?.complete === false) unread.add(OWNERS.refc)
  return unread
}
