import { ATTR_FORK, BMBT_BLOCK, UNWRITTEN } from '../check/extents.ts'
import { lostBlocks } from '../check/lost.ts'
import { S_IFMT, S_IFREG } from '../check/observe/inodetable.ts'
import { type ProblemId, problemOf } from '../check/problems.ts'
import type { CheckResult, GroupResult } from '../check/result.ts'
import type { Device } from '../device/device.ts'
import { type BmbtRec, MAX_BMBT_EXTLEN } from '../format/btrecs.ts'
import type { Geometry } from '../format/geometry.ts'
import { MOST_RECORDS, type RawInode, readRawInode, type Write, writesFor } from './rawforks.ts'
import { Runs } from './runs.ts'
import { suspectInodes } from './suspects.ts'

/**
 * The repair of extents, from what other structures say of the same blocks.
 *
 *   fork      [0 25 │ 999999]          [40 8 │ 1200]       the first is outside of the filesystem
 *   rmapbt    [0 25 │ 24    ]          [40 8 │ 1200]       the inode owns blocks at the same offset
 *   restored  [0 25 │ 24    ]          [40 8 │ 1200]
 *
 * Records of the fork that rmapbt has too are kept, the others are replaced by what else rmapbt has
 * of the inode, if nblocks of the inode agrees. Without rmapbt, an extent that is impossible gets
 * the only blocks in use that have no owner, if there are as many as it needs. An impossible extent
 * of a regular file for which there are no blocks is cut, which leaves a hole.
 *
 * A check afterwards decides which patches are right (`confirmed`).
 */
export interface ForkPatch {
  readonly ino: number
  readonly restored: readonly BmbtRec[]
  /** What `restored` was derived from. */
  readonly from: 'rmapbt' | 'bnobt'
  /** Extents that are removed, with nothing in their place. */
  readonly cut: readonly BmbtRec[]
  readonly writes: readonly Write[]
}

/** @returns patches of the inodes whose extents are wrong and can be derived; in rmapbt's terms only where it is sound */
export function planForks(device: Device, geometry: Geometry, result: CheckResult): ForkPatch[] {
  const suspects = suspectInodes(result)
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

/** What a check observed, as it is needed to judge extents. */
class Evidence {
  readonly geometry: Geometry
  readonly result: CheckResult
  readonly #taken = new Map<number, Runs>()
  #lost: readonly { readonly startblock: number; readonly blockcount: number }[] | undefined

  constructor(geometry: Geometry, result: CheckResult) {
    this.geometry = geometry
    this.result = result
  }

  /** Blocks in use without an owner. */
  get lost(): readonly { readonly startblock: number; readonly blockcount: number }[] {
    this.#lost ??= this.result.groups.flatMap((group) =>
      lostBlocks(group).map(({ start, end }) => ({
        startblock: this.geometry.fsbno(group.group.agno, start),
        blockcount: end - start,
      })),
    )
    return this.#lost
  }

  /** Does the extent have no blocks, or blocks outside of the filesystem, free ones, or ones of metadata? */
  isImpossible({ startblock, blockcount }: BmbtRec): boolean {
    if (blockcount === 0 || !this.geometry.validFsbnoRange(startblock, blockcount)) return true
    const agbno = this.geometry.agbnoOf(startblock)
    return this.#takenIn(this.geometry.agnoOf(startblock)).meets(agbno, agbno + blockcount)
  }

  #takenIn(agno: number): Runs {
    let taken = this.#taken.get(agno)
    if (!taken) {
      const { group, blocks } = this.result.groups[agno] as GroupResult
      const { metadata } = blocks
      const { records, complete, damaged } = group.trees.bnobt
      const free = complete && !damaged ? records.length : 0
      const of = (i: number) => (i < free ? { table: records, row: i } : { table: metadata, row: i - free })
      const startOf = (i: number): number => {
        const { table, row } = of(i)
        return table.start.get(row)
      }
      const lengthOf = (i: number): number => {
        const { table, row } = of(i)
        return table.count.get(row)
      }
      taken = new Runs(free + metadata.length, startOf, lengthOf)
      this.#taken.set(agno, taken)
    }
    return taken
  }
}

/** A record of rmapbt as one of a fork. */
interface Rmap extends BmbtRec {
  readonly fork: 'data' | 'attr'
}

/**
 * What rmapbt says of `inos`, in file order.
 *
 * @param inos those with too many records are removed from it
 * @returns undefined where rmapbt is not sound in every AG
 */
function rmapsOf({ geometry, result }: Evidence, inos: Set<number>): Map<number, Rmap[]> | undefined {
  const trees = result.groups.map(({ group }) => group.trees.rmapbt)
  if (!trees.every((tree) => tree?.complete && !tree.damaged)) return undefined
  const counts = new Map<number, number>()
  for (const tree of trees) {
    const owner = tree?.records.owner.filled() ?? []
    for (const ino of owner) if (inos.has(ino)) counts.set(ino, (counts.get(ino) ?? 0) + 1)
  }
  let room = MOST_RECORDS
  for (const [ino, count] of counts) {
    if (count > room) inos.delete(ino)
    else room -= count
  }
  const byIno = new Map<number, Rmap[]>()
  for (const [agno, tree] of trees.entries()) {
    if (!tree) continue
    const { start, count, owner, offset, flags } = tree.records
    for (let row = 0; row < tree.records.length; row++) {
      const ino = owner.get(row)
      if (!inos.has(ino) || (flags.get(row) & BMBT_BLOCK) !== 0) continue
      const list = byIno.get(ino) ?? []
      byIno.set(ino, list)
      list.push({
        fork: (flags.get(row) & ATTR_FORK) !== 0 ? 'attr' : 'data',
        extentflag: (flags.get(row) & UNWRITTEN) !== 0 ? 1 : 0,
        startoff: offset.get(row),
        startblock: geometry.fsbno(agno, start.get(row)),
        blockcount: count.get(row),
      })
    }
  }
  for (const list of byIno.values()) list.sort(inFileOrder)
  return byIno
}

const inFileOrder = (a: BmbtRec, b: BmbtRec): number => a.startoff - b.startoff
const endOf = ({ startoff, blockcount }: BmbtRec): number => startoff + blockcount

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

/** The records of a fork as rmapbt (`rmaps`, in file order) has them. */
function reconcile(
  records: readonly BmbtRec[],
  rmaps: readonly BmbtRec[],
): { target: BmbtRec[] | undefined; restored: BmbtRec[]; cut: BmbtRec[] } {
  const kept = new Map<BmbtRec, BmbtRec[]>(rmaps.map((rmap) => [rmap, []]))
  const dropped: BmbtRec[] = []
  for (const record of records) {
    const rmap = rmapOf(rmaps, record)
    if (rmap) kept.get(rmap)?.push(record)
    else dropped.push(record)
  }
  const restored = [...kept].flatMap(([rmap, list]) => gaps(rmap, list.sort(inFileOrder)))
  const { length } = restored
  const runs = (key: 'startoff' | 'startblock') =>
    new Runs(
      length,
      (i) => (restored[i] as BmbtRec)[key],
      (i) => (restored[i] as BmbtRec).blockcount,
    )
  const offsets = runs('startoff')
  const blocks = runs('startblock')
  // A record is replaced by one with the same part of the file, or with the same blocks.
  const cut = dropped.filter(
    ({ startoff, startblock, blockcount }) =>
      !offsets.meets(startoff, startoff + Math.max(blockcount, 1)) &&
      !blocks.meets(startblock, startblock + blockcount),
  )
  return { target: merged([...kept.values()].flat(), restored), restored, cut }
}

/** The record of rmapbt that `record` is a part of. */
function rmapOf(rmaps: readonly BmbtRec[], record: BmbtRec): BmbtRec | undefined {
  let low = 0
  let high = rmaps.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((rmaps[middle] as BmbtRec).startoff <= record.startoff) low = middle + 1
    else high = middle
  }
  const rmap = rmaps[low - 1]
  return rmap &&
    record.blockcount > 0 &&
    record.extentflag === rmap.extentflag &&
    endOf(record) <= endOf(rmap) &&
    record.startblock - rmap.startblock === record.startoff - rmap.startoff
    ? rmap
    : undefined
}

/** The parts of `rmap` that none of `kept` (parts of it, in file order) maps. */
function gaps(rmap: BmbtRec, kept: readonly BmbtRec[]): BmbtRec[] {
  const out: BmbtRec[] = []
  const { extentflag, startblock, startoff } = rmap
  let at = startoff
  const until = (end: number): void => {
    while (at < end) {
      const blockcount = Math.min(end - at, MAX_BMBT_EXTLEN)
      out.push({ extentflag, startoff: at, startblock: startblock + (at - startoff), blockcount })
      at += blockcount
    }
  }
  for (const record of kept) {
    until(record.startoff)
    at = Math.max(at, endOf(record))
  }
  until(endOf(rmap))
  return out
}

/** In file order; restored extents are merged with those that they continue. @returns undefined where two overlap */
function merged(kept: readonly BmbtRec[], restored: readonly BmbtRec[]): BmbtRec[] | undefined {
  const fresh = new Set(restored)
  const out: BmbtRec[] = []
  for (const record of [...kept, ...restored].sort(inFileOrder)) {
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

function withoutRmapbt(evidence: Evidence, inode: RawInode): ForkPatch | undefined {
  const impossible = new Set(
    inode.forks.flatMap(({ records }) => records.filter((record) => evidence.isImpossible(record))),
  )
  if (impossible.size === 0) return undefined
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

interface Change extends Pick<ForkPatch, 'restored' | 'cut' | 'from'> {
  /** The records of each fork; undefined where they would overlap. */
  readonly targets: readonly (readonly BmbtRec[] | undefined)[]
}

const blocksIn = (lists: readonly (readonly BmbtRec[])[]): number =>
  lists.flat().reduce((total, { blockcount }) => total + blockcount, 0)

/** The patch, if nblocks of the inode confirms it: it counts the blocks of the target, and of what is cut. */
function settle(evidence: Evidence, inode: RawInode, { targets, ...change }: Change): ForkPatch | undefined {
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
 * The patches that a check afterwards confirms: it finds nothing about the inode itself and no
 * other owner of its blocks, and rmapbt and refcountbt of the AG agree with the restored extents. An
 * extent may be cut only where no blocks are in use without an owner: they could be the extent's.
 *
 * @param after the check with all of them applied
 */
export function confirmed(geometry: Geometry, patches: readonly ForkPatch[], after: CheckResult): ForkPatch[] {
  const wrong = new Set<number>()
  const claimed = new Set<unknown>()
  for (const { id, facts } of after.findings.list) {
    if (CLAIMED.has(id)) claimed.add(facts['agno'])
    if (problemOf(id).note !== true && !OF_LINKS.has(id)) wrong.add(facts['ino'] as number)
  }
  for (const { blocks } of after.groups) {
    for (const { a, b } of blocks.conflicts)
      for (const row of [a, b]) if (row >= 0) wrong.add(blocks.mappings.owner.get(row))
  }
  const lost = after.groups.some((group) => lostBlocks(group).length > 0)
  const agrees = (agno: number): boolean => {
    const { known, wrong } = after.groups[agno] as GroupResult
    return known && !claimed.has(agno) && !wrong.has('rmapbt') && !wrong.has('refcountbt')
  }
  return patches.filter(
    ({ ino, restored, cut }) =>
      !wrong.has(ino) &&
      !(lost && cut.some(({ blockcount }) => blockcount > 0)) &&
      restored.every(({ startblock }) => agrees(geometry.agnoOf(startblock))),
  )
}

/** What depends on other inodes as well; all but the last are found only where all forks are sound. */
const OF_LINKS: ReadonlySet<ProblemId> = new Set([
  'inode.nlink', 'inode.unreachable', 'dir.entry', 'dir.ftype', 'dir.twice', 'dir.parent', 'parent.pointers', 'inode.reflink',
]) // biome-ignore format: short

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
