import type { Differences } from './compare/join.ts'
import type { SpaceComparison } from './compare/trees.ts'
import type { InodeTotals } from './expect/inodes.ts'
import type { ObservedAg } from './observe/observation.ts'

/**
 * What is certain of an AG while something of the image is not: an inode that cannot be read, a
 * fork that may be misread. Such an inode can map blocks of any AG, so what depends on all forks is
 * in doubt everywhere, unless the trees of the AG prove each other. What is wrong in one of them is
 * then known from the others.
 *
 *   structure                        depends on                        is certain where
 *   bnobt, cntbt, rmapbt,            all forks of the image, the       `spaceProof`
 *   refcountbt, AGFL, AGF            inodes and trees of the AG
 *   inobt, finobt, AGI               the inodes of the AG              `inodeProof`
 */
export interface Proof {
  readonly space: boolean
  readonly inodes: boolean
}

/**
 * Are all owners of the blocks of an AG known? A missing owner has blocks that would become free,
 * or that would lose a reference. So one of these must be true of the owners that are known:
 *
 *   rmapbt has no others, and bnobt or cntbt agrees about what is free, or neither can be read
 *   bnobt and cntbt agree about what is free, and refcountbt about what is shared
 */
export function spaceProof({ trees }: ObservedAg, space: SpaceComparison): boolean {
  if (space.all.conflicts.length > 0) return false
  const free = [space.bnobt, space.cntbt]
  const { rmapbt, refcountbt, cow } = space
  if (rmapbt?.differences.length === 0 && trees.rmapbt?.damaged === false)
    return free.some(agrees) || free.every((one) => one === undefined)
  return free.every(agrees) && (!trees.refcountbt || (agrees(refcountbt) && cow?.wrong.length === 0))
}

/**
 * Is it known which inodes of an AG there are, and which are free? Of inobt, finobt and the
 * counters of the AGI, at most one may contradict the inodes, or be unreadable. What inobt says of
 * inodes that cannot be read must not be what is contradicted.
 */
export function inodeProof(
  { headers, trees }: ObservedAg,
  { inobt, finobt, totals, allSound }: InodeComparison,
): boolean {
  const { count, freecount } = headers.agi
  const counted = headers.agiUsable && count === totals.count && freecount === totals.free
  const agreeing = [agrees(inobt), counted, ...(trees.finobt ? [agrees(finobt)] : [])]
  return agreeing.filter((one) => !one).length <= 1 && (agrees(inobt) || allSound)
}

/** How the inode trees differ from the inodes; undefined as in `SpaceComparison`. */
interface InodeComparison {
  readonly inobt: Differences | undefined
  readonly finobt: Differences | undefined
  readonly totals: InodeTotals
  /** Every inode of the AG could be read. */
  readonly allSound: boolean
}

const agrees = (differences: Differences | undefined): boolean => differences?.length === 0
