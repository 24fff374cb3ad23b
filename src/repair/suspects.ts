import { conflictOwners } from '../check/expect/blocks.ts'
import { problemMask } from '../check/facts.ts'
import { lostBlocks } from '../check/lost.ts'
import { InodeFlag, InodeState } from '../check/observe/inodetable.ts'
import type { CheckResult } from '../check/result.ts'

/** Problems of inodes with wrong extents, or a wrong count of extents or blocks. */
const OF_FORKS = problemMask(['inode.extent', 'inode.count', 'bmbt.keys', 'bmbt.order'])

/** The block map of such an inode does not match its records. */
const UNREADABLE = problemMask([
  'bmbt.pointer',
  'bmbt.loop',
  'bmbt.crc',
  'bmbt.header',
  'bmbt.sibling',
  'inode.core',
  'inode.crc',
])

/**
 * Inodes whose extents may be wrong: those whose forks contradict themselves or another owner, and
 * owners in rmapbt of blocks that are in use and that no fork maps. If rmapbt and another tree or
 * the AGFL of an AG are wrong, also the owners with wrong rmapbt records: one wrong extent
 * contradicts all of these structures. The same applies to such an owner with another problem, as a
 * directory without its first block.
 *
 * @param doubted  inodes that were damaged, and whose cores are repaired
 * @returns only inodes in use that could be read and map blocks of the AGs
 */
export function suspectInodes({ facts, ags, observation }: CheckResult, doubted: ReadonlySet<number>): Set<number> {
  const suspects = new Set<number>()
  const { inodes } = observation
  for (const slot of facts.inodes.with(OF_FORKS)) suspects.add(inodes.ino(slot))
  for (const result of ags) {
    const { wrong, agflWrong, blocks, rmapOwners } = result
    for (const owner of conflictOwners(blocks)) suspects.add(owner)
    for (const { owner } of lostBlocks(result)) if (owner !== undefined && owner >= 0) suspects.add(owner)
    const contradicted = wrong.has('rmapbt') && (wrong.size > 1 || agflWrong)
    for (const owner of rmapOwners)
      if (contradicted || doubted.has(owner) || facts.inodes.hasAny(inodes.slot(owner))) suspects.add(owner)
  }
  const readable = (ino: number): boolean => {
    const slot = inodes.slot(ino)
    return (
      slot >= 0 &&
      inodes.state.get(slot) === InodeState.sound &&
      inodes.mode.get(slot) !== 0 &&
      (inodes.flags.get(slot) & InodeFlag.realtime) === 0 &&
      !facts.inodes.has(slot, UNREADABLE)
    )
  }
  return new Set([...suspects].filter(readable))
}
