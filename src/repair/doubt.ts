import { superblockInodes } from '../check/compare/links.ts'
import { problemMask } from '../check/facts.ts'
import { describe } from '../check/findings.ts'
import { lostBlocks } from '../check/lost.ts'
import { InodeFlag, InodeState, S_IFDIR, S_IFMT } from '../check/observe/inodetable.ts'
import { ownerName } from '../check/owners.ts'
import { type Finding, notes, type ProblemId } from '../check/problems.ts'
import type { Proof } from '../check/proof.ts'
import type { AgResult, CheckResult } from '../check/result.ts'
import type { Geometry } from '../format/geometry.ts'
import { btrees } from '../format/trees.ts'
import { nameProblems } from './names/problems.ts'

/**
 * What a repair may write. What is derived from inodes and forks is right only if all of them are
 * known: the blocks of a missed inode or a misread fork look free. One damaged structure is
 * recognized by the others that contradict it, so blocks become free only if no two structures have
 * them in use.
 *
 *   no doubts              everything
 *   an inode, a fork or    what the trees of an AG prove, AG by AG (check/proof.ts)
 *   an owner in doubt
 *   superblock in doubt    nothing
 */
interface Certainty {
  /** Of each AG, what is certain. */
  readonly ags: readonly Proof[]
  /** The first superblock says where everything is: copies of it can be written. */
  readonly superblock: boolean
  /** None if everything is certain. */
  readonly doubts: readonly Doubt[]
}

/** Why something is not repaired. */
export interface Doubt {
  /** The kind of a finding that has no repair, or of what cannot be decided: `space.uncertain` … */
  readonly id: string
  /** What it is about; nothing if it is about the superblock or the log. */
  readonly place: {
    readonly agno?: number
    readonly agbno?: number
    readonly blocks?: number
    readonly ino?: number
  }
  /** A sentence. */
  readonly reason: string
}

export function certainty(geometry: Geometry, result: CheckResult): Certainty {
  const ofSuperblock = superblockDoubts(geometry, result)
  const doubts = [...unsettled(result), ...inUse(geometry, result)]
  const all = (certain: boolean): Proof[] => result.ags.map(() => ({ space: certain, inodes: certain }))
  if (!result.observation.blind && doubts.length + ofSuperblock.length === 0)
    return { ags: all(true), superblock: true, doubts }
  if (!isSuperblockSure(geometry, result))
    ofSuperblock.push({
      id: 'superblock.uncertain',
      place: {},
      reason: 'superblock: it may be wrong, or all of its copies are',
    })
  if (ofSuperblock.length > 0) return { ags: all(false), superblock: false, doubts: [...doubts, ...ofSuperblock] }
  const ags = result.ags.map(({ known, proof }) => ({ space: known && proof.space, inodes: proof.inodes }))
  return { ags, superblock: true, doubts: [...doubts, ...result.ags.flatMap((ag, i) => left(ag, ags[i] as Proof))] }
}

/** What of an AG is left as it is. */
function left({ ag, known, inodesKnown, wrong }: AgResult, certain: Proof): Doubt[] {
  const names = (header: 'agf' | 'agi'): string =>
    [...wrong].filter((name) => btrees[name].root.in === header).join(', ')
  const doubts: Doubt[] = []
  const { agno } = ag
  const tell = (id: string, trees: string, what: string): void => {
    const reason = `AG ${agno}: ${what}${trees === '' ? '' : `; not repaired: ${trees}`}`
    doubts.push({ id, place: { agno }, reason })
  }
  if (!certain.space && (!known || names('agf') !== ''))
    tell('space.uncertain', names('agf'), 'which blocks are free or shared is uncertain: its trees do not prove it')
  if (!certain.inodes && (!inodesKnown || names('agi') !== ''))
    tell('inodes.uncertain', names('agi'), 'which inodes are free is uncertain: inobt, finobt and AGI do not prove it')
  return doubts
}

/** Why the superblock itself may be wrong: then nothing is where it says, for sure. */
const superblockDoubts = (geometry: Geometry, result: CheckResult): Doubt[] => [
  ...neededInodes(geometry, result),
  ...wrongSize(result),
  ...lostAgs(geometry, result),
]

/** What may be found where the superblock is wrong. */
const OF_SUPERBLOCK = problemMask(['sb.crc', 'sb.geometry', 'sb.rule', 'sb.inode'])
const OF_COPY = problemMask(['sb.copy'])

/** Is nothing wrong with the first superblock, and is there a copy that is the same? */
function isSuperblockSure({ agcount }: Geometry, { facts }: CheckResult): boolean {
  const different = [...facts.ags.with(OF_COPY)].length
  return !facts.image.has(0, OF_SUPERBLOCK) && (different === 0 || different < agcount - 1)
}

/** Is it open what the inode in a slot is? */
export const isOpen = ({ facts }: CheckResult, slot: number): boolean => facts.inodes.has(slot, OPEN)

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
])

const OPEN = problemMask(UNSETTLED)

/** Maximum findings of a kind that are repeated. */
const SHOWN = 20

function unsettled({ facts, findings }: CheckResult): Doubt[] {
  if (!facts.image.has(0, OPEN)) return []
  return findings.list
    .filter(({ id }) => UNSETTLED.has(id))
    .slice(0, SHOWN)
    .map((finding) => ({ id: finding.id, place: placeOf(finding), reason: describe(finding) }))
}

function placeOf({ facts }: Finding): Doubt['place'] {
  const { agno, agbno, ino } = facts
  return {
    ...(typeof agno === 'number' && { agno }),
    ...(typeof agbno === 'number' && { agbno }),
    ...(typeof ino === 'number' && { ino }),
  }
}

/**
 * Inodes that the superblock points to must be in use, even if their mode is that of a free inode.
 */
function neededInodes(geometry: Geometry, { observation }: CheckResult): Doubt[] {
  const { inodes } = observation
  const [root] = superblockInodes(geometry)
  return superblockInodes(geometry).flatMap((ino) => {
    const slot = inodes.slot(ino)
    const used = slot >= 0 && inodes.state.get(slot) === InodeState.sound && inodes.mode.get(slot) !== 0
    const doubt = (reason: string): Doubt => ({
      id: 'superblock.inode',
      place: { ino },
      reason: `inode ${ino}: ${reason}`,
    })
    if (!used) return [doubt('the superblock points to it, but it is not in use')]
    const directory = (inodes.mode.get(slot) & S_IFMT) === S_IFDIR
    return ino === root && !directory ? [doubt('it is the root inode of the superblock, but not a directory')] : []
  })
}

/**
 * If AGF and AGI of an AG agree on a length that the superblock contradicts, the superblock may be
 * wrong.
 */
function wrongSize({ ags }: CheckResult): Doubt[] {
  return ags
    .map(({ ag }) => ag)
    .filter(({ headers: { agf, agi, agfUsable, agiUsable }, length }) => {
      return agfUsable && agiUsable && agf.length === agi.length && agf.length !== length
    })
    .map(
      ({ agno, headers: { agf } }): Doubt => ({
        id: 'superblock.length',
        place: { agno },
        reason: `AG ${agno}: its length in AGF and AGI is ${agf.length}, which contradicts the superblock`,
      }),
    )
}

/** An AG without valid headers: the superblock may be wrong about its place. */
function lostAgs(geometry: Geometry, { ags }: CheckResult): Doubt[] {
  return ags
    .map(({ ag }) => ag)
    .filter(({ headers }) => !headers.isSuperblock && !headers.agfUsable && !headers.agiUsable)
    .map(
      ({ agno }): Doubt => ({
        id: 'superblock.ag',
        place: { agno },
        reason: `AG ${agno}: no valid header; according to the superblock the AG begins at block ${geometry.daddr(agno, 0)}`,
      }),
    )
}

/** Findings about free space that leaked blocks cause. */
export const leakProblems: readonly ProblemId[] = [
  'sb.needsrepair',
  'sb.fdblocks',
  'agf.freeblks',
  'agf.longest',
  'bnobt.missing',
  'cntbt.missing',
  'cntbt.extra',
]

/**
 * Findings that leaked blocks cause, also those of an inode that has become free, and problems of
 * names, which own no blocks.
 */
const OF_LEAKS = problemMask([
  'inobt.free',
  'inobt.count',
  'finobt.missing',
  'finobt.extra',
  'finobt.wrong',
  'agi.freecount',
  'sb.ifree',
  ...nameProblems,
  ...leakProblems,
  ...notes,
])

/** Blocks without an owner that more than one btree has in use. */
function inUse(geometry: Geometry, result: CheckResult): Doubt[] {
  const { facts, ags } = result
  const onlyLeaks = !facts.image.hasOther(0, OF_LEAKS)
  const exclusive = onlyLeaks && !hasRealtime(result)
  const { inodes } = result.observation
  /** A free inode maps no blocks: what rmapbt has of it is what a file had that is lost. */
  const isFree = (owner: number): boolean => {
    const slot = inodes.slot(owner)
    return slot >= 0 && inodes.state.get(slot) === InodeState.sound && inodes.mode.get(slot) === 0
  }
  return ags.flatMap((ag) => [...ofAg(geometry, ag, exclusive, isFree)].slice(0, SHOWN))
}

function* ofAg(
  geometry: Geometry,
  result: AgResult,
  onlyLeaks: boolean,
  isFree: (owner: number) => boolean,
): Generator<Doubt> {
  const { agno, trees } = result.ag
  const reliable = trees.rmapbt?.complete === true && !trees.rmapbt.damaged
  for (const { start, end, owner } of lostBlocks(result, isFree)) {
    const doubt = (id: string, what: string): Doubt => ({
      id,
      place: { agno, agbno: start, blocks: end - start },
      reason: `AG ${agno}: blocks ${start}+${end - start} ${what}`,
    })
    if (owner !== undefined)
      yield doubt('blocks.owner', `are not free in bnobt, and belong to ${ownerName(owner)} in rmapbt`)
    // With rmapbt, leaked blocks have no record there. Without it, nothing else may be wrong.
    else if (!reliable && result.known && (!onlyLeaks || mayBeLog(geometry, start, end)))
      yield doubt('blocks.noOwner', 'are in use according to bnobt and cntbt, but their owner was not found')
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
