import { check } from '../check/check.ts'
import { problemMask } from '../check/facts.ts'
import type { CheckResult } from '../check/result.ts'
import type { Device } from '../device/device.ts'
import { type Salvage, salvage } from '../device/salvage.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { findRoots, type Roots, votedAlternative } from '../roots/roots.ts'
import { ExtentSet } from '../util/extentset.ts'
import type { Doubt } from './doubt.ts'

/** What a repair trusts before it plans: the superblock, and the bytes that can be read. */
interface Trusted {
  readonly device: Salvage
  readonly geometry: Geometry
  /** The check of the image as it is, and with the superblock that was chosen. */
  readonly before: CheckResult
  readonly judged: CheckResult
}

/**
 * Choose the superblock: the primary one if it is intact. If a check has doubts about it and the
 * copies agree on another one, the one with which a check finds fewer problems.
 */
export function trust(device: Device): Trusted {
  const first = judge(findRoots(device))
  const { judged: before } = first
  const other = before.facts.image.has(0, OF_SUPERBLOCK) ? votedAlternative(device, first.roots) : undefined
  const second = other && judge(other)
  const { roots, ...chosen } = second && problems(second.judged) < problems(before) ? second : first
  return { ...chosen, before }
}

function judge(roots: Roots) {
  const { geometry } = roots
  const device = salvage(roots.device, roots.missing)
  return { roots, device, geometry, judged: check(device, geometry, undefined, roots) }
}

const OF_SUPERBLOCK = problemMask(['sb.geometry', 'sb.rule', 'sb.inode', 'sb.copy', 'image.unreadable'])

/** Problems other than the choice of the superblock. */
const problems = ({ findings }: CheckResult): number => findings.total - findings.count('sb.invalid')

/** What cannot be read, and cannot be derived from the rest either: one sentence each. */
export function irreplaceable(
  { headerBlocks, blocksize, daddr }: Geometry,
  { unreadable }: Salvage,
  { ags }: CheckResult,
): Doubt[] {
  if (unreadable.size === 0) return []
  const derived = new ExtentSet()
  for (const { ag } of ags) {
    const add = (agbno: number, count: number) => derived.add(daddr(ag.agno, agbno) * BASIC_BLOCK, count * blocksize)
    add(0, headerBlocks)
    for (const tree of Object.values(ag.trees)) for (const agbno of tree?.blocks ?? []) add(agbno, 1)
  }
  return [...unreadable]
    .filter(({ start, length }) => {
      const run = derived.run(start, length)
      return !run.inside || run.length < length
    })
    .slice(0, MOST_TOLD)
    .map(({ start, length }) => ({
      id: 'image.unreadable',
      place: {},
      reason: `bytes ${start}+${length} cannot be read, and nothing else has what they hold`,
    }))
}

/** Maximum reasons of a kind that are listed. */
const MOST_TOLD = 20
