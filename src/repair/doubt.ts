import { superblockInodes } from '../check/derived/links.ts'
import { describe } from '../check/findings.ts'
import { lostBlocks } from '../check/lost.ts'
import { InodeFlag, InodeState, S_IFDIR, S_IFMT } from '../check/observe/inodetable.ts'
import { ownerName } from '../check/owners.ts'
import { type Finding, type ProblemId, problemOf } from '../check/problems.ts'
import type { CheckResult, GroupResult } from '../check/result.ts'
import type { Geometry } from '../format/geometry.ts'

/**
 * Why it is not known for sure who owns which blocks. What is derived from inodes and forks is right only where all of them are known:
 * an inode that is missed, or a fork that is read wrongly, looks like free blocks. As one damaged structure can be told by the others that
 * contradict it, blocks become free only where no two of them say that they are in use.
 *
 * @returns a sentence each; none where everything may be rebuilt
 */
export function doubts(geometry: Geometry, result: CheckResult): string[] {
  return [
    ...unsettled(result.findings.list),
    ...neededInodes(geometry, result),
    ...wrongSize(result.findings.list),
    ...lostGroups(geometry, result),
    ...inUse(geometry, result),
  ]
}

/** Findings without a repair that leave open who owns which blocks: nothing is derived from what is not known. */
const UNSETTLED: ReadonlySet<ProblemId> = new Set([
  'sb.geometry', 'inode.crc', 'inode.core', 'inode.extent', 'inode.count', 'inode.crosslinked', 'bmbt.pointer', 'bmbt.loop', 'bmbt.crc',
  'bmbt.header', 'bmbt.order', 'dir.entry',
]) // biome-ignore format: short

/** So many findings of a kind are repeated. */
const SHOWN = 20

function unsettled(findings: readonly Finding[]): string[] {
  return findings
    .filter(({ id }) => UNSETTLED.has(id))
    .slice(0, SHOWN)
    .map(describe)
}

/** Inodes that the superblock points to must be in use: that their mode says otherwise does not make them free. */
function neededInodes(geometry: Geometry, { observation }: CheckResult): string[] {
  const { inodes } = observation
  const [root] = superblockInodes(geometry)
  return superblockInodes(geometry).flatMap((ino) => {
    const slot = inodes.slot(ino)
    const used = slot >= 0 && inodes.state.get(slot) === InodeState.sound && inodes.mode.get(slot) !== 0
    if (!used) return [`inode ${ino}: the superblock points to it, but it is not an inode in use`]
    const directory = (inodes.mode.get(slot) & S_IFMT) === S_IFDIR
    return ino === root && !directory ? [`inode ${ino}: the superblock has it as root, but it is not a directory`] : []
  })
}

/** Where AGF and AGI of a group agree on another length than the superblock gives it, the superblock may be the wrong one. */
function wrongSize(findings: readonly Finding[]): string[] {
  const lengths = (id: ProblemId): Map<unknown, unknown> =>
    new Map(
      findings
        .filter((finding) => finding.id === id && finding.facts['field'] === 'length')
        .map(({ facts }) => [facts['agno'], facts['found']]),
    )
  const agi = lengths('agi.identity')
  return [...lengths('agf.identity')]
    .filter(([agno, found]) => agi.get(agno) === found)
    .map(([agno, found]) => `AG ${agno}: AGF and AGI say that it has ${found} blocks, the superblock says otherwise`)
}

/** A group without any of its headers: the superblock may have its place wrong. */
function lostGroups(geometry: Geometry, { groups, findings }: CheckResult): string[] {
  const noCopy = new Set(
    findings.list
      .filter(({ id, facts }) => id === 'sb.copy' && facts['field'] === 'magicnum')
      .map(({ facts }) => facts['agno']),
  )
  return groups
    .map(({ group }) => group)
    .filter(({ agno, headers }) => noCopy.has(agno) && !headers.agfUsable && !headers.agiUsable)
    .map(
      ({ agno }) =>
        `AG ${agno}: none of its headers is there; the superblock says it begins at block ${geometry.daddr(agno, 0)}`,
    )
}

/** What may be found beside blocks that leaked: consequences of these. */
const OF_LEAKS: ReadonlySet<ProblemId> = new Set([
  'sb.needsrepair', 'sb.fdblocks', 'agf.freeblks', 'agf.longest', 'bnobt.missing', 'cntbt.missing', 'cntbt.extra',
]) // biome-ignore format: short

/** Blocks without an owner that more than one tree has in use. */
function inUse(geometry: Geometry, result: CheckResult): string[] {
  const { findings, groups } = result
  const onlyLeaks = findings.list.every(({ id }) => OF_LEAKS.has(id) || problemOf(id).note === true)
  const exclusive = onlyLeaks && !hasRealtime(result)
  return groups.flatMap((group) => [...ofGroup(geometry, group, exclusive)].slice(0, SHOWN))
}

function* ofGroup(geometry: Geometry, result: GroupResult, onlyLeaks: boolean): Generator<string> {
  const { agno, trees } = result.group
  const reliable = trees.rmapbt?.complete === true && !trees.rmapbt.damaged
  for (const { start, end, owner } of lostBlocks(result)) {
    const blocks = `AG ${agno}: blocks ${start}+${end - start}`
    if (owner !== undefined) yield `${blocks} are not listed as free, rmapbt says ${ownerName(owner)} owns them`
    // With rmapbt, a leak has no owner there. Without it, that nothing else is wrong anywhere has to do.
    else if (!reliable && result.known && (!onlyLeaks || mayBeLog(geometry, start, end)))
      yield `${blocks} are in use according to bnobt and cntbt, but their owner was not found`
  }
}

/** May blocks of AG 0 be the log's, where no copy of the superblock confirms where that is? */
function mayBeLog(geometry: Geometry, start: number, end: number): boolean {
  const { logstart, logblocks } = geometry.sb
  return geometry.agcount === 1 && (logstart === 0 || end === logstart || start === logstart + logblocks)
}

/** Files on a realtime device map nothing of the groups, if it is true that they are there. */
function hasRealtime({ observation }: CheckResult): boolean {
  const { inodes } = observation
  for (let slot = 0; slot < inodes.slots; slot++) {
    if ((inodes.flags.get(slot) & InodeFlag.realtime) !== 0 && inodes.foundBlocks.get(slot) > 0) return true
  }
  return false
}
