import { writeAg, ZERO_LSN } from '../ag/ag.ts'
import { Sector } from '../ag/sector.ts'
import type { WriteRecord } from '../btree/bulkload.ts'
import { treeOps } from '../btree/treeops.ts'
import { byLength } from '../check/compare/space.ts'
import { type BlockRuns, runTotals } from '../check/expect/blocks.ts'
import { inodeTotals } from '../check/expect/inodes.ts'
import { expectedRmaps } from '../check/expect/rmaps.ts'
import { ATTR_FORK, BMBT_BLOCK, type Extents, UNWRITTEN } from '../check/extents.ts'
import type { AgResult } from '../check/result.ts'
import type { Device } from '../device/device.ts'
import { AG_SECTORS } from '../format/ag.ts'
import { InobtRec, InobtRecFull, RefcountRec, RmapRec } from '../format/btrecs.ts'
import { DIFLAGS2, Dinode } from '../format/dinode.ts'
import { set64 } from '../format/fields.ts'
import type { Geometry } from '../format/geometry.ts'
import { clearQuotaChecked, isQuotaChecked, Superblock, setNeedsRepair } from '../format/sb.ts'
import type { AgTreeName } from '../format/trees.ts'
import { stampInode } from '../format/verify/stamp.ts'
import { loggedCommits } from '../log/checkpoint.ts'
import { type OpenOptions, Volume } from '../volume.ts'
import { perform } from './names/perform.ts'
import type { NameStep } from './names/step.ts'
import type { AgPlan, InodePatch, Plan } from './plan.ts'
import { inodePosition } from './rawforks.ts'

/**
 * Carry out a plan. NEEDSREPAIR is set from before the first write until after the last, so an
 * interrupted repair leaves an image that is marked. Forks are repaired by a plan of their own.
 * Everything else is derived from inodes and forks, which are not written then, so the next repair
 * completes it. In each AG the new blocks of trees are written first. The headers that point to
 * them are written when these blocks are on the device.
 *
 * @param more  another plan follows: NEEDSREPAIR stays
 */
export function apply(device: Device, geometry: Geometry, plan: Plan, { more = false } = {}): void {
  if (plan.names.length > 0) {
    applyNames(device, geometry, plan.names, { more, committer: loggedCommits })
    return
  }
  const superblock = new Sector(device, geometry, 0, AG_SECTORS.sb)
  setNeedsRepair(superblock.view, true)
  Superblock.fields.lsn.set(superblock.view, 0, ZERO_LSN)
  superblock.write()
  device.flush()
  for (const { writes } of plan.cores) for (const { position, bytes } of writes) device.write(bytes, position)
  for (const { writes } of plan.forks) for (const { position, bytes } of writes) device.write(bytes, position)
  for (const ag of plan.ags) applyAg(device, geometry, ag)
  for (const patch of plan.inodes) patchInode(device, geometry, patch)
  for (const agno of plan.superblocks) copySuperblock(device, geometry, agno, plan)
  device.flush()
  writeCounters(superblock, plan)
  setNeedsRepair(superblock.view, more || plan.needsRepair)
  superblock.write()
  device.flush()
}

interface NamesOptions {
  readonly more: boolean
  /** How transactions reach the device; without it, in place. */
  readonly committer?: OpenOptions['committer']
}

/**
 * Change names, in ordinary transactions. NEEDSREPAIR is set meanwhile: an interrupted repair is
 * repeated after the log is replayed.
 */
export function applyNames(
  device: Device,
  geometry: Geometry,
  steps: readonly NameStep[],
  { more, committer }: NamesOptions,
): void {
  mark(device, geometry, true)
  const volume = Volume.open(device, { write: true, needsRepair: true, ...(committer && { committer }) })
  try {
    for (const step of steps) perform(volume, step)
  } finally {
    volume.sync()
  }
  mark(device, geometry, more)
}

function mark(device: Device, geometry: Geometry, on: boolean): void {
  const superblock = new Sector(device, geometry, 0, AG_SECTORS.sb)
  setNeedsRepair(superblock.view, on)
  superblock.write()
  device.flush()
}

/** Blocks may change their owners: the kernel must count quota again. */
export function uncheckQuota(device: Device, geometry: Geometry): void {
  if (!isQuotaChecked(geometry.sb)) return
  const superblock = new Sector(device, geometry, 0, AG_SECTORS.sb)
  clearQuotaChecked(superblock.view)
  superblock.write()
}

function writeCounters({ view }: Sector, { counters }: Plan): void {
  if (!counters) return
  Superblock.fields.icount.set(view, 0, counters.icount)
  Superblock.fields.ifree.set(view, 0, counters.ifree)
  Superblock.fields.fdblocks.set(view, 0, counters.fdblocks)
}

/** Copy the primary superblock to an AG, without the flags of a change in progress. */
function copySuperblock(device: Device, geometry: Geometry, agno: number, plan: Plan): void {
  const first = new Sector(device, geometry, 0, AG_SECTORS.sb)
  setNeedsRepair(first.view, false)
  writeCounters(first, plan)
  const copy = new Sector(device, geometry, agno, AG_SECTORS.sb)
  copy.bytes.set(first.bytes)
  copy.write()
}

function patchInode(device: Device, geometry: Geometry, { ino }: InodePatch): void {
  const position = inodePosition(geometry, ino)
  const bytes = new Uint8Array(geometry.inodesize)
  device.read(bytes, position)
  const view = new DataView(bytes.buffer)
  const { flags2 } = Dinode.fields
  const { hi, lo } = flags2.get(view, 0)
  flags2.set(view, 0, { hi, lo: (lo | DIFLAGS2.reflink) >>> 0 })
  stampInode(view, 0, geometry)
  device.write(bytes, position)
}

function applyAg(device: Device, geometry: Geometry, plan: AgPlan): void {
  const { agno, result, trees, blocks, buckets } = plan
  const { blocks: freeblks, longest } = runTotals(blocks.free)
  const { headers } = result.ag
  const { count, free: freeInodes } = inodeTotals(result.chunks)
  writeAg(device, geometry, {
    agno,
    trees,
    records: (name) => records(plan, geometry, name),
    freeblks,
    longest,
    inodes: count,
    freeInodes,
    agf: { write: plan.agf, fresh: !headers.agfUsable },
    agi: { write: plan.agi, fresh: !headers.agiUsable, buckets },
    agfl: plan.newAgfl ? plan.agfl : undefined,
  })
}

/** A writer of the expected records, the same that a check compares with. */
function records({ blocks, result }: AgPlan, geometry: Geometry, name: AgTreeName): WriteRecord {
  let i = 0
  const { free, counts } = blocks
  const length = ({ start, end }: BlockRuns, row: number): number => (end[row] as number) - (start[row] as number)
  const writeFree = (view: DataView, at: number, row: number): void =>
    treeOps.bnobt.writeRec(view, at, { startblock: free.start[row] as number, blockcount: length(free, row) })
  switch (name) {
    case 'bnobt':
      return (view, at) => writeFree(view, at, i++)
    case 'cntbt': {
      const order = byLength(free)
      return (view, at) => writeFree(view, at, order[i++] as number)
    }
    case 'refcountbt':
      return (view, at) => {
        const row = i++
        const rec = RefcountRec.fields
        view.setUint32(at + rec.startblock.offset, counts.start[row] as number)
        rec.blockcount.set(view, at, length(counts, row))
        rec.refcount.set(view, at, counts.tag[row] as number)
      }
    case 'rmapbt':
      return rmapWriter(expectedRmaps(blocks))
    case 'inobt':
      return inodeWriter(result, geometry, false)
    case 'finobt':
      return inodeWriter(result, geometry, true)
  }
}

function rmapWriter(rmaps: Extents): WriteRecord {
  const { startblock, blockcount, owner, offset: word } = RmapRec.fields
  let i = 0
  return (view, at) => {
    startblock.set(view, at, rmaps.start.get(i))
    blockcount.set(view, at, rmaps.count.get(i))
    owner.set(view, at, rmaps.owner.get(i))
    const flags = rmaps.flags.get(i)
    const offset = rmaps.offset.get(i++)
    const high =
      ((flags & ATTR_FORK) !== 0 ? 0x80000000 : 0) +
      ((flags & BMBT_BLOCK) !== 0 ? 0x40000000 : 0) +
      ((flags & UNWRITTEN) !== 0 ? 0x20000000 : 0)
    set64(view, at + word.offset, offset)
    view.setUint32(at + word.offset, high + Math.floor(offset / 2 ** 32))
  }
}

function inodeWriter({ chunks }: AgResult, geometry: Geometry, onlyFree: boolean): WriteRecord {
  const sparse = geometry.features.has('sparse')
  const { startino, holemask, count, freecount, free } = InobtRec.fields
  let i = 0
  return (view, at) => {
    while (onlyFree && chunks.freecount.get(i) === 0) i++
    startino.set(view, at, chunks.agino.get(i))
    if (sparse) {
      holemask.set(view, at, chunks.holemask.get(i))
      count.set(view, at, chunks.count.get(i))
      freecount.set(view, at, chunks.freecount.get(i))
    } else InobtRecFull.fields.freecount.set(view, at, chunks.freecount.get(i))
    free.set(view, at, { hi: chunks.freeHi.get(i), lo: chunks.freeLo.get(i) })
    i++
  }
}
