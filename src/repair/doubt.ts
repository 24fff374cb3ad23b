import { superblockInodes } from '../check/compare/links.ts'
import { problemMask } from '../check/facts.ts'
import { describe } from '../check/findings.ts'
import { lostBlocks } from '../check/lost.ts'
import { InodeFlag, InodeState, S_IFDIR, S_IFMT } from '../check/observe/inodetable.ts'
import { ownerName } from '../check/owners.ts'
import { notes, type ProblemId } from '../check/problems.ts'
import type { AgResult, CheckResult } from '../check/result.ts'
import { INODES_PER_CHUNK } from '../format/dinode.ts'
import type { Geometry } from '../format/geometry.ts'

/**
 * Why the owners of blocks are uncertain. What is derived from inodes and forks is right only if
 * all of them are known: the blocks of a missed inode or a misread fork look free. One damaged
 * structure is recognized by the others that contradict it, so blocks become free only if no two
 * structures have them in use.
 *
 * @returns one sentence per doubt; none if everything may be rebuilt
 */
export function doubts(geometry: Geometry, result: CheckResult): string[] {
  return [...unsettled(result), ...superblockDoubts(geometry, result), ...inUse(geometry, result)]
}

/** Why the superblock itself may be wrong: then nothing is where it says, for sure. */
const superblockDoubts = (geometry: Geometry, result: CheckResult): string[] => [
  ...neededInodes(geometry, result),
  ...wrongSize(result),
  ...lostAgs(geometry, result),
]

/** What may be found where the superblock is wrong, or a copy of it. */
const OF_SUPERBLOCK = problemMask(['sb.crc', 'sb.copy', 'sb.geometry', 'sb.rule', 'sb.inode'])

/**
 * While there are doubts: the AGs all of whose structures agree with all that was observed. In
 * these no block changes its owner, so headers may be written.
 */
export function settledAgs(geometry: Geometry, result: CheckResult): AgResult[] {
  if (result.facts.image.has(0, OF_SUPERBLOCK) || superblockDoubts(geometry, result).length > 0) return []
  return result.ags.filter(({ known, wrong, agflWrong, cow, blocks }) => {
    return known && wrong.size === 0 && !agflWrong && cow.length === 0 && blocks.conflicts.length === 0
  })
}

/** Is it open what an inode of the AG is? */
export function hasOpenInodes({ facts, observation }: CheckResult, agno: number): boolean {
  return observation.inodes.chunks(agno).some(({ chunk }) => {
    for (let i = 0; i < INODES_PER_CHUNK; i++) if (facts.inodes.has(chunk * INODES_PER_CHUNK + i, OPEN)) return true
    return false
  })
}

/** Findings without a repair that leave owners of blocks uncertain. */
const UNSETTLED: ReadonlySet<ProblemId> = new Set([
  'sb.geometry',
  'inode.crc',
  'inode.core',
  'inode.extent',
  'inode.count',
  'inode.crosslinked',
  'bmbt.pointer',
  'bmbt.loop',
  'bmbt.crc',
  'bmbt.header',
  'bmbt.order',
  'dir.entry',
])

const OPEN = problemMask(UNSETTLED)

/** Maximum findings of a kind that are repeated. */
const SHOWN = 20

function unsettled({ facts, findings }: CheckResult): string[] {
  if (!facts.image.has(0, OPEN)) return []
  return findings.list
    .filter(({ id }) => UNSETTLED.has(id))
    .slice(0, SHOWN)
    .map(describe)
}

/**
 * Inodes that the superblock points to must be in use, even if their mode is that of a free inode.
 */
function neededInodes(geometry: Geometry, { observation }: CheckResult): string[] {
  const { inodes } = observation
  const [root] = superblockInodes(geometry)
  return superblockInodes(geometry).flatMap((ino) => {
    const slot = inodes.slot(ino)
    const used = slot >= 0 && inodes.state.get(slot) === InodeState.sound && inodes.mode.get(slot) !== 0
    if (!used) return [`inode ${ino}: the superblock points to it, but it is not in use`]
    const directory = (inodes.mode.get(slot) & S_IFMT) === S_IFDIR
    return ino === root && !directory
      ? [`inode ${ino}: it is the root inode of the superblock, but not a directory`]
      : []
  })
}

/**
 * If AGF and AGI of an AG agree on a length that the superblock contradicts, the superblock may be
 * wrong.
 */
function wrongSize({ ags }: CheckResult): string[] {
  return ags
    .map(({ ag }) => ag)
    .filter(({ headers: { agf, agi, agfUsable, agiUsable }, length }) => {
      return agfUsable && agiUsable && agf.length === agi.length && agf.length !== length
    })
    .map(
      ({ agno, headers: { agf } }) =>
        `AG ${agno}: its length in AGF and AGI is ${agf.length}, which contradicts the superblock`,
    )
}

/** An AG without valid headers: the superblock may be wrong about its place. */
function lostAgs(geometry: Geometry, { ags }: CheckResult): string[] {
  return ags
    .map(({ ag }) => ag)
    .filter(({ headers }) => !headers.isSuperblock && !headers.agfUsable && !headers.agiUsable)
    .map(
      ({ agno }) =>
        `AG ${agno}: no valid header; according to the superblock the AG begins at block ${geometry.daddr(agno, 0)}`,
    )
}

/** Findings that leaked blocks cause. */
const OF_LEAKS = problemMask([
  'sb.needsrepair',
  'sb.fdblocks',
  'agf.freeblks',
  'agf.longest',
  'bnobt.missing',
  'cntbt.missing',
  'cntbt.extra',
  ...notes,
])

/** Blocks without an owner that more than one btree has in use. */
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
    if (owner !== undefined) yield `${blocks} are not free in bnobt, and belong to ${ownerName(owner)} in rmapbt`
    // With rmapbt, leaked blocks have no record there. Without it, nothing else may be wrong.
    else if (!reliable && result.known && (!onlyLeaks || mayBeLog(geometry, start, end)))
      yield `${blocks} are in use according to bnobt and cntbt, but their owner was not found`
  }
}

/** May blocks of AG 0 belong to the log? True if no secondary superblock confirms its place. */
function mayBeLog(geometry: Geometry, start: number, end: number): boolean {
  const { logstart, logblocks } = geometry.sb
  return geometry.agcount === 1 && (logstart === 0 || end === logstart || start === logstart + logblocks)
}

/** Files on a realtime device map no blocks of AGs. */
function hasRealtime({ observation }: CheckResult): boolean {
  const { inodes } = observation
  for (let slot = 0; slot < inodes.slots; slot++) {
    if ((inodes.flags.get(slot) & InodeFlag.realtime) !== 0 && inodes.foundBlocks.get(slot) > 0) return true
  }
  return false
}
