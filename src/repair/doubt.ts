import { superblockInodes } from '../check/compare/links.ts'
import { problemMask } from '../check/facts.ts'
import { describe } from '../check/findings.ts'
import { lostBlocks } from '../check/lost.ts'
import { InodeFlag, InodeState, S_IFDIR, S_IFMT } from '../check/observe/inodetable.ts'
import { ownerName } from '../check/owners.ts'
import { notes, type ProblemId } from '../check/problems.ts'
import type { AgResult, CheckResult } from '../check/result.ts'
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
    ...unsettled(result),
    ...neededInodes(geometry, result),
    ...wrongSize(result),
    ...lostAgs(geometry, result),
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

function unsettled({ facts, findings }: CheckResult): string[] {
  if (!facts.image.has(0, problemMask(UNSETTLED))) return []
  return findings.list
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

/** Where AGF and AGI of an AG agree on another length than the superblock gives it, the superblock may be the wrong one. */
function wrongSize({ ags }: CheckResult): string[] {
  return ags
    .map(({ ag }) => ag)
    .filter(({ headers: { agf, agi, agfUsable, agiUsable }, length }) => {
      return agfUsable && agiUsable && agf.length === agi.length && agf.length !== length
    })
    .map(
      ({ agno, headers: { agf } }) =>
        `AG ${agno}: AGF and AGI say that it has ${agf.length} blocks, the superblock says otherwise`,
    )
}

/** An AG without any of its headers: the superblock may have its place wrong. */
function lostAgs(geometry: Geometry, { ags }: CheckResult): string[] {
  return ags
    .map(({ ag }) => ag)
    .filter(({ headers }) => !headers.isSuperblock && !headers.agfUsable && !headers.agiUsable)
    .map(
      ({ agno }) =>
        `AG ${agno}: none of its headers is there; the superblock says it begins at block ${geometry.daddr(agno, 0)}`,
    )
}

/** What may be found beside blocks that leaked: consequences of these. */
const OF_LEAKS = problemMask([
  'sb.needsrepair', 'sb.fdblocks', 'agf.freeblks', 'agf.longest', 'bnobt.missing', 'cntbt.missing', 'cntbt.extra', ...notes,
]) // biome-ignore format: short

/** Blocks without an owner that more than one tree has in use. */
function inUse(geometry: Geometry, result: CheckResult): string[] {
  const { facts, ags } = result
  const onlyLeaks = !facts.image.hasOther(0, OF_LEAKS)
  const exclusive = onlyLeaks && !hasRealtime(result)
  return ags.flatMap((ag) => [...ofAg(geometry, ag, exclusive)].slice(0, SHOWN))
}

function* ofAg(geometry: Geometry, result: AgResult, onlyLeaks: boolean): Generator<string> {
  const { agno, trees } = result.ag
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

/** Files on a realtime device map nothing of the AGs, if it is true that they are there. */
function hasRealtime({ observation }: CheckResult): boolean {
  const { inodes } = observation
  for (let slot = 0; slot < inodes.slots; slot++) {
    if ((inodes.flags.get(slot) & InodeFlag.realtime) !== 0 && inodes.foundBlocks.get(slot) > 0) return true
  }
  return false
}
