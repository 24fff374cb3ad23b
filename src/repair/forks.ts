import { conflictOwners } from '../check/expect/blocks.ts'
import { problemMask } from '../check/facts.ts'
import { lostBlocks } from '../check/lost.ts'
import { S_IFMT, S_IFREG } from '../check/observe/inodetable.ts'
import type { AgResult, CheckResult } from '../check/result.ts'
import type { Device } from '../device/device.ts'
import type { BmbtRec } from '../format/btrecs.ts'
import type { Geometry } from '../format/geometry.ts'
import { Evidence, type Rmap, rmapsOf } from './evidence.ts'
import { type RawInode, type RawWrite, readRawInode, writesFor } from './rawforks.ts'
import { merged, reconcile } from './reconcile.ts'
import { suspectInodes } from './suspects.ts'

/**
 * The repair of extents, from other structures that record the same blocks.
 *
 *   fork      [0 25 │ 999999]          [40 8 │ 1200]       the first is outside of the filesystem
 *   rmapbt    [0 25 │ 24    ]          [40 8 │ 1200]       the inode owns blocks at the same offset
 *   restored  [0 25 │ 24    ]          [40 8 │ 1200]
 *
 * Records of the fork that rmapbt has too are kept. The others are replaced by the other records of
 * rmapbt for the inode, if nblocks of the inode agrees. Without rmapbt, an impossible extent gets
 * the only blocks in use that have no owner, if their number is right. An impossible extent of a
 * regular file without such blocks is cut, which leaves a hole.
 *
 * A check afterwards decides which patches are right (`confirmed`).
 */
export interface ForkPatch {
  readonly ino: number
  readonly restored: readonly BmbtRec[]
  /** The source of `restored`. */
  readonly from: 'rmapbt' | 'bnobt'
  /** Extents that are removed without a replacement. */
  readonly cut: readonly BmbtRec[]
  readonly writes: readonly RawWrite[]
}

/**
 * @returns patches of the inodes whose extents are wrong and can be derived; none if the filesystem
 *   has rmapbt and it is not sound in every AG
 */
export function planForks(
  device: Device,
  geometry: Geometry,
  result: CheckResult,
  doubted: ReadonlySet<number>,
): ForkPatch[] {
  const suspects = suspectInodes(result, doubted)
  if (suspects.size === 0) return []
  const evidence = new Evidence(geometry, result)
  const rmaps = rmapsOf(evidence, suspects)
  if (!rmaps && geometry.features.has('rmapbt')) return []
  const patches: ForkPatch[] = []
  for (const ino of suspects) {
    const inode = readRawInode(device, geometry, ino)
    const patch = inode && (rmaps ? fromRmapbt(evidence, inode, rmaps.get(ino) ?? []) : withoutRmapbt(evidence, inode))
    if (patch) patches.push(patch)
  }
  return patches
}

function fromRmapbt(evidence: Evidence, inode: RawInode, rmaps: readonly Rmap[]): ForkPatch | undefined {
  // A fork inside the inode has no blocks.
  if (rmaps.some(({ fork }) => !inode.forks.some((one) => one.fork === fork))) return undefined
  const forks = inode.forks.map(({ fork, records }) =>
    reconcile(
      records,
      rmaps.filter((rmap) => rmap.fork === fork),
    ),
  )
  return settle(evidence, inode, {
    targets: forks.map(({ target }) => target),
    restored: forks.flatMap(({ restored }) => restored),
    cut: forks.flatMap(({ cut }) => cut),
    from: 'rmapbt',
  })
}

function withoutRmapbt(evidence: Evidence, inode: RawInode): ForkPatch | undefined {
  const impossible = new Set(
    inode.forks.flatMap(({ records }) => records.filter((record) => evidence.isImpossible(record))),
  )
  const [only, ...others] = [...impossible].filter(({ blockcount }) => blockcount > 0)
  const [run, ...more] = evidence.lost
  const unique = only && run && others.length === 0 && more.length === 0 && run.blockcount === only.blockcount
  const restored = unique ? [{ ...only, startblock: run.startblock }] : []
  const targets = inode.forks.map(({ records }) =>
    merged(
      records.filter((record) => !impossible.has(record)),
      only && records.includes(only) ? restored : [],
    ),
  )
  return settle(evidence, inode, { targets, restored, cut: unique ? [] : [...impossible], from: 'bnobt' })
}

interface ForkChange extends Pick<ForkPatch, 'restored' | 'cut' | 'from'> {
  /** The records of each fork; undefined if they would overlap. */
  readonly targets: readonly (readonly BmbtRec[] | undefined)[]
}

const blocksIn = (lists: readonly (readonly BmbtRec[])[]): number =>
  lists.flat().reduce((total, { blockcount }) => total + blockcount, 0)

/**
 * The patch, if nblocks of the inode confirms it: it counts the blocks of the target and of the cut
 * extents.
 */
function settle(evidence: Evidence, inode: RawInode, { targets, ...change }: ForkChange): ForkPatch | undefined {
  const sound = targets.filter((target) => target !== undefined)
  if (sound.length < targets.length) return undefined
  const { geometry, result } = evidence
  const { inodes } = result.observation
  const slot = inodes.slot(inode.ino)
  const bmbtBlocks = inodes.foundBlocks.get(slot) - blocksIn(inode.forks.map(({ records }) => records))
  const nblocks = bmbtBlocks + blocksIn(sound)
  const { restored, cut } = change
  const onlyCounts = restored.length === 0 && cut.length === 0
  const onlyCut =
    restored.length === 0 &&
    (inodes.mode.get(slot) & S_IFMT) === S_IFREG &&
    inode.nblocks === nblocks + blocksIn([cut]) &&
    cut.every((record) => evidence.isImpossible(record))
  if (inode.nblocks !== nblocks && !onlyCounts && !onlyCut) return undefined
  const writes = writesFor(geometry, inode, sound, nblocks)
  return writes && writes.length > 0 ? { ino: inode.ino, ...change, writes } : undefined
}

/**
 * The patches that a check confirms: it finds no problem of the inode and no other owner of its
 * blocks, and rmapbt and refcountbt of the AG agree with the restored extents. An extent may only
 * be cut if no blocks are in use without an owner: they could be those of the extent. Without
 * rmapbt, counts may only change if no other problem is found: an extent could be missing.
 *
 * @param after  the check with all patches applied
 */
export function confirmed(geometry: Geometry, patches: readonly ForkPatch[], after: CheckResult): ForkPatch[] {
  const { facts, observation } = after
  const wrong = new Set<number>()
  for (const { blocks } of after.ags) for (const owner of conflictOwners(blocks)) wrong.add(owner)
  const lost = after.ags.some((ag) => lostBlocks(ag).length > 0)
  const agrees = (agno: number): boolean => {
    const { known, wrong } = after.ags[agno] as AgResult
    return known && !facts.ags.has(agno, CLAIMED) && !wrong.has('rmapbt') && !wrong.has('refcountbt')
  }
  return patches.filter(
    ({ ino, restored, cut, from }) =>
      !wrong.has(ino) &&
      !facts.inodes.hasOther(observation.inodes.slot(ino), OF_LINKS) &&
      (!facts.isWrong || from === 'rmapbt' || restored.length + cut.length > 0) &&
      !(lost && cut.some(({ blockcount }) => blockcount > 0)) &&
      restored.every(({ startblock }) => agrees(geometry.agnoOf(startblock))),
  )
}

/**
 * Problems that also depend on other inodes. All but the last are only found if all forks are
 * sound.
 */
const OF_LINKS = problemMask([
  'inode.nlink',
  'inode.unreachable',
  'dir.entry',
  'dir.ftype',
  'dir.twice',
  'dir.parent',
  'parent.pointers',
  'inode.reflink',
])

/** Blocks of a file that are also in a free space btree or the AGFL. */
const CLAIMED = problemMask(['bnobt.owned', 'agfl.owned'])
