import { ATTR_FORK, BMBT_BLOCK, UNWRITTEN } from '../check/columns.ts'
import { lostBlocks } from '../check/lost.ts'
import { InodeFlag, InodeState, S_IFMT, S_IFREG } from '../check/observe/inodetable.ts'
import { type ProblemId, problemOf } from '../check/problems.ts'
import type { CheckResult, GroupResult } from '../check/result.ts'
import type { Device } from '../device/device.ts'
import { type BmbtRec, MAX_BMBT_EXTLEN } from '../format/btrecs.ts'
import type { Geometry } from '../format/geometry.ts'
import { type RawInode, readRawInode, type Write, writesFor } from './rawforks.ts'

/**
 * Extents of forks that are wrong, from what other structures say of the same blocks.
 *
 *   fork      [0 25 │ 999999]          [40 8 │ 1200]       the first cannot be
 *   rmapbt    [0 25 │ 24    ]          [40 8 │ 1200]       has the inode as owner of the blocks that belong there
 *   restored  [0 25 │ 24    ]          [40 8 │ 1200]
 *
 * Records that rmapbt has too are kept; in the place of the others comes what rmapbt has besides. That is taken where the core's
 * nblocks confirms it. Without rmapbt, blocks of just the right length that are in use and that nothing else owns take its place.
 * Where no blocks can be its own, an extent that cannot be is cut out of a regular file: a hole is left.
 * What comes of it is judged by a check (`settles`).
 */
export interface ForkPatch {
  readonly ino: number
  /** Extents that were put in, from where. */
  readonly restored: readonly BmbtRec[]
  readonly from: 'rmapbt' | 'bnobt'
  /** Extents that were taken out, with nothing in their place. */
  readonly cut: readonly BmbtRec[]
  readonly writes: readonly Write[]
}

/** Patches of all inodes whose forks are in doubt and can be settled. */
export function planForks(device: Device, geometry: Geometry, result: CheckResult): ForkPatch[] {
  const suspects = suspectInodes(result)
  if (suspects.size === 0) return []
  const rmaps = rmapsOf(geometry, result, suspects)
  const patches: ForkPatch[] = []
  for (const ino of suspects) {
    const inode = readRawInode(device, geometry, ino)
    if (!inode) continue
    const patch = rmaps
      ? fromRmapbt(geometry, result, inode, rmaps.get(ino) ?? [])
      : geometry.features.has('rmapbt')
        ? undefined
        : withoutRmapbt(geometry, result, inode)
    if (patch) patches.push(patch)
  }
  return patches
}

const OF_FORKS: ReadonlySet<ProblemId> = new Set(['inode.extent', 'inode.count', 'bmbt.keys', 'bmbt.order'])

/**
 * Inodes whose forks contradict themselves, another owner, or what two other structures agree about: that rmapbt has an owner
 * for blocks in use that nothing owns, and that rmapbt and one more tree or the AGFL are wrong in the same group.
 */
function suspectInodes({ findings, groups, observation }: CheckResult): Set<number> {
  const inos = new Set<number>()
  const contradicted = new Set<number>()
  for (const result of groups) {
    const { wrong, agflWrong, blocks, group } = result
    for (const { a, b } of blocks.conflicts)
      for (const row of [a, b]) if (row >= 0) inos.add(blocks.mappings.owner.get(row))
    for (const { owner } of lostBlocks(result)) if (owner !== undefined && owner >= 0) inos.add(owner)
    if (wrong.has('rmapbt') && (wrong.size > 1 || agflWrong)) contradicted.add(group.agno)
  }
  for (const { id, facts } of findings.list) {
    if (OF_FORKS.has(id)) inos.add(facts['ino'] as number)
    const owner = facts['ownerNumber']
    if (
      id.startsWith('rmapbt.') &&
      contradicted.has(facts['agno'] as number) &&
      typeof owner === 'number' &&
      owner >= 0
    )
      inos.add(owner)
  }
  const { inodes } = observation
  for (const ino of inos) {
    const slot = inodes.slot(ino)
    const settled =
      slot >= 0 &&
      inodes.state.get(slot) === InodeState.sound &&
      inodes.mode.get(slot) !== 0 &&
      (inodes.flags.get(slot) & InodeFlag.realtime) === 0 &&
      !findings.list.some(({ id, facts }) => facts['ino'] === ino && UNREADABLE.has(id))
    if (!settled) inos.delete(ino)
  }
  return inos
}

/** The block map of such an inode is not what its records say. */
const UNREADABLE: ReadonlySet<ProblemId> = new Set([
  'bmbt.pointer', 'bmbt.loop', 'bmbt.crc', 'bmbt.header', 'bmbt.sibling', 'inode.core', 'inode.crc',
]) // biome-ignore format: short

/** A record of rmapbt as one of a fork. */
interface Rmap extends BmbtRec {
  readonly fork: 'data' | 'attr'
}

/** What rmapbt gives to each of `inos`, in file order. @returns undefined where it is not sound in every group */
function rmapsOf(
  geometry: Geometry,
  { groups }: CheckResult,
  inos: ReadonlySet<number>,
): Map<number, Rmap[]> | undefined {
  const byIno = new Map<number, Rmap[]>()
  for (const { group } of groups) {
    const { rmapbt } = group.trees
    if (!rmapbt?.complete || rmapbt.damaged) return undefined
    const { start, count, owner, offset, flags } = rmapbt.records
    for (let row = 0; row < rmapbt.records.length; row++) {
      const ino = owner.get(row)
      if (!inos.has(ino) || (flags.get(row) & BMBT_BLOCK) !== 0) continue
      const list = byIno.get(ino) ?? []
      byIno.set(ino, list)
      list.push({
        fork: (flags.get(row) & ATTR_FORK) !== 0 ? 'attr' : 'data',
        extentflag: (flags.get(row) & UNWRITTEN) !== 0 ? 1 : 0,
        startoff: offset.get(row),
        startblock: geometry.fsbno(group.agno, start.get(row)),
        blockcount: count.get(row),
      })
    }
  }
  for (const list of byIno.values()) list.sort((a, b) => a.startoff - b.startoff)
  return byIno
}

const endOf = ({ startoff, blockcount }: BmbtRec): number => startoff + blockcount

/** Is `part` a part of the mapping `whole`? */
const within = (part: BmbtRec, whole: BmbtRec): boolean =>
  part.blockcount > 0 &&
  part.extentflag === whole.extentflag &&
  part.startoff >= whole.startoff &&
  endOf(part) <= endOf(whole) &&
  part.startblock - whole.startblock === part.startoff - whole.startoff

function fromRmapbt(
  geometry: Geometry,
  result: CheckResult,
  inode: RawInode,
  rmaps: readonly Rmap[],
): ForkPatch | undefined {
  // A fork inside the inode has no blocks.
  if (rmaps.some(({ fork }) => !inode.forks.some((one) => one.fork === fork))) return undefined
  const restored: BmbtRec[] = []
  const cut: BmbtRec[] = []
  const targets = inode.forks.map(({ fork, records }): readonly BmbtRec[] | undefined => {
    const said = rmaps.filter((rmap) => rmap.fork === fork)
    const kept = records.filter((record) => containing(said, record))
    const pieces = said.flatMap((whole) => gaps(whole, kept))
    restored.push(...pieces)
    const dropped = records.filter((record) => !kept.includes(record))
    cut.push(...dropped.filter((record) => !pieces.some((piece) => answers(piece, record))))
    return merged(kept, pieces)
  })
  return settle(geometry, result, inode, targets, { restored, cut, from: 'rmapbt' })
}

function containing(sorted: readonly BmbtRec[], record: BmbtRec): boolean {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] as BmbtRec).startoff <= record.startoff) low = middle + 1
    else high = middle
  }
  const whole = sorted[low - 1]
  return whole !== undefined && within(record, whole)
}

/** The parts of `whole` that none of `kept` (in file order) maps. */
function gaps(whole: BmbtRec, kept: readonly BmbtRec[]): BmbtRec[] {
  const out: BmbtRec[] = []
  let at = whole.startoff
  const until = (end: number): void => {
    for (; at < end; at += Math.min(end - at, MAX_BMBT_EXTLEN)) {
      const blockcount = Math.min(end - at, MAX_BMBT_EXTLEN)
      const { extentflag, startblock, startoff } = whole
      out.push({ extentflag, startoff: at, startblock: startblock + (at - startoff), blockcount })
    }
  }
  for (const record of kept) {
    if (!within(record, whole)) continue
    until(record.startoff)
    at = Math.max(at, endOf(record))
  }
  until(endOf(whole))
  return out
}

/** Does the extent that was put in stand for the one that was taken out: the same part of the file, or the same blocks? */
const answers = (piece: BmbtRec, record: BmbtRec): boolean =>
  (piece.startoff < Math.max(endOf(record), record.startoff + 1) && record.startoff < endOf(piece)) ||
  (piece.startblock < record.startblock + record.blockcount && record.startblock < piece.startblock + piece.blockcount)

/** In file order; extents that were put in become one with those that they continue. @returns undefined where two overlap */
function merged(kept: readonly BmbtRec[], pieces: readonly BmbtRec[]): BmbtRec[] | undefined {
  const fresh = new Set(pieces)
  const out: BmbtRec[] = []
  for (const record of [...kept, ...pieces].sort((a, b) => a.startoff - b.startoff)) {
    const last = out.at(-1)
    if (last && endOf(last) > record.startoff) return undefined
    if (last && (fresh.has(last) || fresh.has(record)) && continues(last, record)) {
      const whole = { ...last, blockcount: last.blockcount + record.blockcount }
      fresh.add(whole)
      out[out.length - 1] = whole
    } else out.push(record)
  }
  return out
}

const continues = (a: BmbtRec, b: BmbtRec): boolean =>
  endOf(a) === b.startoff &&
  a.startblock + a.blockcount === b.startblock &&
  a.extentflag === b.extentflag &&
  a.blockcount + b.blockcount <= MAX_BMBT_EXTLEN

/** An extent that cannot be is cut; one alone gets the blocks that nothing else can have. */
function withoutRmapbt(geometry: Geometry, result: CheckResult, inode: RawInode): ForkPatch | undefined {
  const all: BmbtRec[] = []
  const targets = inode.forks.map(({ records }) => {
    all.push(...records.filter((record) => isImpossible(geometry, result, record)))
    return records.filter((record) => !all.includes(record))
  })
  const cut = all.filter(({ blockcount }) => blockcount > 0)
  const [only] = cut
  const lost = result.groups.flatMap((group) => lostBlocks(group).map((run) => ({ ...run, agno: group.group.agno })))
  const [run] = lost
  if (only && run && cut.length === 1 && lost.length === 1 && run.end - run.start === only.blockcount) {
    const piece = { ...only, startblock: geometry.fsbno(run.agno, run.start) }
    const back = inode.forks.map(({ records }, i) =>
      records.includes(only) ? merged(targets[i] as BmbtRec[], [piece]) : targets[i],
    )
    return settle(geometry, result, inode, back, { restored: [piece], cut: [], from: 'bnobt' })
  }
  return all.length === 0
    ? undefined
    : settle(geometry, result, inode, targets, { restored: [], cut: all, from: 'bnobt' })
}

/** Blocks that are not there, that are free, or that metadata has. */
function isImpossible(geometry: Geometry, { groups }: CheckResult, record: BmbtRec): boolean {
  const { startblock, blockcount } = record
  if (blockcount === 0 || !geometry.validFsbnoRange(startblock, blockcount)) return true
  const { group, blocks } = groups[geometry.agnoOf(startblock)] as GroupResult
  const start = geometry.agbnoOf(startblock)
  const end = start + blockcount
  const meets = (from: { get(i: number): number }, count: { get(i: number): number }, rows: number): boolean => {
    for (let i = 0; i < rows; i++) if (from.get(i) < end && start < from.get(i) + count.get(i)) return true
    return false
  }
  const { bnobt } = group.trees
  return (
    meets(blocks.metadata.start, blocks.metadata.count, blocks.metadata.length) ||
    (bnobt.complete && !bnobt.damaged && meets(bnobt.records.start, bnobt.records.count, bnobt.records.length))
  )
}

type Change = Pick<ForkPatch, 'restored' | 'cut' | 'from'>

/** The patch, if nblocks allows it. */
function settle(
  geometry: Geometry,
  result: CheckResult,
  inode: RawInode,
  targets: readonly (readonly BmbtRec[] | undefined)[],
  change: Change,
): ForkPatch | undefined {
  if (targets.includes(undefined)) return undefined
  const sum = (lists: readonly (readonly BmbtRec[])[]): number =>
    lists.flat().reduce((total, { blockcount }) => total + blockcount, 0)
  const { inodes } = result.observation
  const slot = inodes.slot(inode.ino)
  const treeBlocks = inodes.foundBlocks.get(slot) - sum(inode.forks.map(({ records }) => records))
  const nblocks = treeBlocks + sum(targets as readonly (readonly BmbtRec[])[])
  const { restored, cut } = change
  const nothing = restored.length === 0 && cut.length === 0
  const regular = (inodes.mode.get(slot) & S_IFMT) === S_IFREG
  const onlyCut =
    restored.length === 0 &&
    regular &&
    inode.nblocks === nblocks + sum([cut]) &&
    cut.every((record) => isImpossible(geometry, result, record))
  if (inode.nblocks !== nblocks && !nothing && !onlyCut) return undefined
  const writes = writesFor(geometry, inode, targets as readonly (readonly BmbtRec[])[], nblocks)
  return writes && writes.length > 0 ? { ino: inode.ino, ...change, writes } : undefined
}

/**
 * Is what a check finds after the patches right: nothing about these inodes, and rmapbt and refcountbt agree with what they map? Where
 * an extent was cut, no blocks may be left in use without an owner: they could be those that the extent had.
 */
export function settles(geometry: Geometry, patches: readonly ForkPatch[], { findings, groups }: CheckResult): boolean {
  const inos = new Set(patches.map(({ ino }) => ino))
  const owned = groups.some(({ blocks }) =>
    blocks.conflicts.some(({ a, b }) => [a, b].some((row) => row >= 0 && inos.has(blocks.mappings.owner.get(row)))),
  )
  if (owned || findings.list.some(({ id, facts }) => inos.has(facts['ino'] as number) && problemOf(id).note !== true))
    return false
  const cut = patches.some((patch) => patch.cut.some(({ blockcount }) => blockcount > 0))
  if (cut && groups.some((group) => lostBlocks(group).length > 0)) return false
  const touched = new Set(
    patches.flatMap(({ restored }) => restored.map(({ startblock }) => geometry.agnoOf(startblock))),
  )
  return [...touched].every((agno) => {
    const { known, wrong } = groups[agno] as GroupResult
    const elsewhere = findings.list.some(({ id, facts }) => CLAIMED.has(id) && facts['agno'] === agno)
    return known && !elsewhere && !wrong.has('rmapbt') && !wrong.has('refcountbt')
  })
}

/** Blocks of a file that free space or the AGFL lists. */
const CLAIMED: ReadonlySet<ProblemId> = new Set(['bnobt.owned', 'agfl.owned'])

/** What patches do, in words. */
export function forkActions(geometry: Geometry, { ino, restored, from, cut }: ForkPatch): string[] {
  const blocks = ({ startblock, blockcount }: BmbtRec): string =>
    geometry.validFsbnoRange(startblock, Math.max(1, blockcount))
      ? `${geometry.agnoOf(startblock)}/${geometry.agbnoOf(startblock)}+${blockcount}`
      : `${startblock}+${blockcount}`
  const source = from === 'rmapbt' ? 'from rmapbt' : 'with the only blocks in use that have no owner'
  const lines = restored.map(
    (r) => `restore the extent of inode ${ino} at offset ${r.startoff} ${source}: blocks ${blocks(r)}`,
  )
  for (const r of cut)
    lines.push(
      r.blockcount === 0
        ? `remove the empty extent of inode ${ino} at offset ${r.startoff}`
        : `cut the extent of inode ${ino} at offset ${r.startoff}, blocks ${blocks(r)}: its data are lost, it becomes a hole`,
    )
  return lines.length > 0 ? lines : [`set the counts of extents and blocks of inode ${ino}`]
}
