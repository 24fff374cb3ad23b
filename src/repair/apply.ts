import { agTrees, type AgTreeName as Name, setTreeRoot } from '../btree/agtrees.ts'
import { bulkLoad } from '../btree/bulkload.ts'
import { inodeTotals } from '../check/derived/counters.ts'
import { byLength } from '../check/derived/space.ts'
import { expectedRmaps } from '../check/expect/rmaps.ts'
import { ATTR_FORK, BMBT_BLOCK, type Extents, UNWRITTEN } from '../check/extents.ts'
import type { GroupResult } from '../check/result.ts'
import type { Device } from '../device/device.ts'
import { AG_SECTORS, AGF_MAGIC, AGFL_MAGIC, AGI_MAGIC, Agf, Agfl, Agi, NULLAGBLOCK, NULLAGINO } from '../format/ag.ts'
import { DIFLAGS2 } from '../format/dinode.ts'
import { type Features, featureBits } from '../format/features.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { Superblock } from '../format/sb.ts'
import { set64 } from '../format/struct.ts'
import { agflSlots, blockTypes, stamp, stampInode } from '../format/verify.ts'
import { btreeBlocks, type GroupPlan, type InodePatch, type Plan, type TreePlan } from './plan.ts'

/**
 * Carry out a plan. NEEDSREPAIR is in the superblock from before the first write to after the last, so an interrupted repair
 * leaves an image that says so. Forks are repaired by a plan of their own; everything else is
 * derived from inodes and forks, which are not written then, so the next repair finishes it. In an
 * AG first the new blocks of trees are written, then, when they are on the device, the headers that
 * point to them.
 *
 * @param more another plan follows: NEEDSREPAIR stays
 */
export function apply(device: Device, geometry: Geometry, plan: Plan, { more = false } = {}): void {
  const superblock = new Sector(device, geometry, 0, AG_SECTORS.sb)
  setNeedsRepair(superblock, true)
  Superblock.fields.lsn.set(superblock.view, 0, NEVER)
  superblock.write()
  device.flush()
  for (const { writes } of plan.forks) for (const { position, bytes } of writes) device.write(bytes, position)
  for (const group of plan.groups) applyGroup(device, geometry, group)
  for (const patch of plan.inodes) patchInode(device, geometry, patch)
  for (const agno of plan.superblocks) copySuperblock(device, geometry, agno, plan)
  device.flush()
  writeCounters(superblock, plan)
  setNeedsRepair(superblock, more)
  superblock.write()
  device.flush()
}

/** Not written through the log. */
const NEVER = { cycle: 0, block: 0 }

/** A header sector in memory. */
class Sector {
  readonly view: DataView
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #daddr: number
  readonly #type: (typeof blockTypes)['sb' | 'agf' | 'agi' | 'agfl']

  constructor(device: Device, geometry: Geometry, agno: number, sector: number) {
    this.#device = device
    this.#geometry = geometry
    this.#daddr = geometry.agHeaderDaddr(agno, sector)
    this.#type = [blockTypes.sb, blockTypes.agf, blockTypes.agi, blockTypes.agfl][sector] as typeof blockTypes.sb
    this.view = new DataView(new ArrayBuffer(geometry.sectsize))
    device.read(this.bytes, this.#daddr * BASIC_BLOCK)
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.view.buffer)
  }

  write(): void {
    stamp(this.#type, this.view, { geometry: this.#geometry, daddr: this.#daddr })
    this.#device.write(this.bytes, this.#daddr * BASIC_BLOCK)
  }
}

function setNeedsRepair({ view }: Sector, on: boolean): void {
  const words = Superblock.fields.features_incompat
  const { bit } = featureBits.needsrepair
  const old = words.get(view, 0)
  words.set(view, 0, on ? (old | bit) >>> 0 : (old & ~bit) >>> 0)
}

function writeCounters({ view }: Sector, { counters }: Plan): void {
  if (!counters) return
  Superblock.fields.icount.set(view, 0, counters.icount)
  Superblock.fields.ifree.set(view, 0, counters.ifree)
  Superblock.fields.fdblocks.set(view, 0, counters.fdblocks)
}

/** The copy of a group says what the first superblock says, but that nothing is under way. */
function copySuperblock(device: Device, geometry: Geometry, agno: number, plan: Plan): void {
  const first = new Sector(device, geometry, 0, AG_SECTORS.sb)
  setNeedsRepair(first, false)
  writeCounters(first, plan)
  const copy = new Sector(device, geometry, agno, AG_SECTORS.sb)
  copy.bytes.set(first.bytes)
  copy.write()
}

function patchInode(device: Device, geometry: Geometry, { ino }: InodePatch): void {
  const agino = geometry.inoAgino(ino)
  const position =
    geometry.daddr(geometry.inoAgno(ino), geometry.aginoAgbno(agino)) * BASIC_BLOCK +
    geometry.aginoIndex(agino) * geometry.inodesize
  const bytes = new Uint8Array(geometry.inodesize)
  device.read(bytes, position)
  const view = new DataView(bytes.buffer)
  const flags = view.getUint32(FLAGS2_LOW)
  view.setUint32(FLAGS2_LOW, flags | DIFLAGS2.reflink)
  stampInode(view, 0, geometry)
  device.write(bytes, position)
}
/** The low word of flags2 in an inode. */
const FLAGS2_LOW = 124

function applyGroup(device: Device, geometry: Geometry, plan: GroupPlan): void {
  for (const tree of plan.trees) if (tree.records !== undefined) buildTree(device, geometry, plan, tree, tree.records)
  device.flush()
  if (plan.agi) writeAgi(device, geometry, plan)
  if (plan.newAgfl) writeAgfl(device, geometry, plan)
  if (plan.agf) writeAgf(device, geometry, plan)
}

type WriteRecord = (view: DataView, at: number) => void

function buildTree(device: Device, geometry: Geometry, plan: GroupPlan, tree: TreePlan, count: number): void {
  const { agno } = plan
  let next = 0
  const result = bulkLoad<never, never>(agTrees[tree.name].ops as never, {
    geometry,
    owner: agno,
    agno,
    count,
    records: records(plan, geometry, tree.name),
    claim: () => tree.blocks[next++] as number,
    write: (agbno, bytes) => device.write(bytes, geometry.daddr(agno, agbno) * BASIC_BLOCK),
    ...tree.slack,
  })
  if (result.root !== tree.root || result.levels !== tree.levels)
    throw new Error(`${tree.name} was built otherwise than planned`)
}

/** The same expectations that a check compares with, as a writer of one record after the other. */
function records({ blocks, result }: GroupPlan, geometry: Geometry, name: Name): WriteRecord {
  let i = 0
  const { free, counts } = blocks
  switch (name) {
    case 'bnobt':
      return (view, at) =>
        writePair(view, at, free.start[i] as number, (free.end[i] as number) - (free.start[i++] as number))
    case 'cntbt': {
      const order = byLength(free)
      return (view, at) => {
        const row = order[i++] as number
        writePair(view, at, free.start[row] as number, (free.end[row] as number) - (free.start[row] as number))
      }
    }
    case 'refcountbt':
      return (view, at) => {
        writePair(view, at, counts.start[i] as number, (counts.end[i] as number) - (counts.start[i] as number))
        view.setUint32(at + 8, counts.tag[i++] as number)
      }
    case 'rmapbt':
      return rmapWriter(expectedRmaps(blocks))
    case 'inobt':
      return inodeWriter(result, geometry, false)
    case 'finobt':
      return inodeWriter(result, geometry, true)
  }
}

function writePair(view: DataView, at: number, start: number, count: number): void {
  view.setUint32(at, start)
  view.setUint32(at + 4, count)
}

function rmapWriter(rmaps: Extents): WriteRecord {
  let i = 0
  return (view, at) => {
    writePair(view, at, rmaps.start.get(i), rmaps.count.get(i))
    set64(view, at + 8, rmaps.owner.get(i))
    const flags = rmaps.flags.get(i)
    const offset = rmaps.offset.get(i++)
    const high =
      ((flags & ATTR_FORK) !== 0 ? 0x80000000 : 0) +
      ((flags & BMBT_BLOCK) !== 0 ? 0x40000000 : 0) +
      ((flags & UNWRITTEN) !== 0 ? 0x20000000 : 0)
    view.setUint32(at + 16, high + Math.floor(offset / 2 ** 32))
    view.setUint32(at + 20, offset % 2 ** 32)
  }
}

function inodeWriter({ chunks }: GroupResult, geometry: Geometry, onlyFree: boolean): WriteRecord {
  const sparse = geometry.features.has('sparse')
  let i = 0
  return (view, at) => {
    while (onlyFree && chunks.freecount.get(i) === 0) i++
    view.setUint32(at, chunks.agino.get(i))
    if (sparse) {
      view.setUint16(at + 4, chunks.holemask.get(i))
      view.setUint8(at + 6, chunks.count.get(i))
      view.setUint8(at + 7, chunks.freecount.get(i))
    } else view.setUint32(at + 4, chunks.freecount.get(i))
    view.setUint32(at + 8, chunks.freeHi.get(i))
    view.setUint32(at + 12, chunks.freeLo.get(i))
    i++
  }
}

function setRoots(view: DataView, header: 'agf' | 'agi', { trees }: GroupPlan, features: Features): void {
  for (const { name, root, levels, blocks } of trees) {
    if (agTrees[name].header === header) setTreeRoot(view, name, features, { root, levels, blocks: blocks.length })
  }
}

function writeAgf(device: Device, geometry: Geometry, plan: GroupPlan): void {
  const { agno, result } = plan
  const { features } = geometry
  const sector = new Sector(device, geometry, agno, AG_SECTORS.agf)
  const { view } = sector
  const { fields } = Agf
  if (!result.group.headers.agfUsable) sector.bytes.fill(0)
  fields.lsn.set(view, 0, NEVER)
  let freeblks = 0
  let longest = 0
  for (let i = 0; i < plan.blocks.free.start.length; i++) {
    const length = (plan.blocks.free.end[i] as number) - (plan.blocks.free.start[i] as number)
    freeblks += length
    longest = Math.max(longest, length)
  }
  Agf.encode(view, 0, {
    magicnum: AGF_MAGIC, versionnum: 1, seqno: agno, length: geometry.agLength(agno), uuid: geometry.metaUuid, freeblks, longest,
  }) // biome-ignore format: short
  setRoots(view, 'agf', plan, features)
  if (features.has('lazysbcount')) fields.btreeblks.set(view, 0, btreeBlocks(plan, result))
  if (plan.newAgfl) {
    const last = plan.agfl.length === 0 ? agflSlots(geometry) - 1 : plan.agfl.length - 1
    Agf.encode(view, 0, { flfirst: 0, fllast: last, flcount: plan.agfl.length })
  }
  sector.write()
}

function writeAgfl(device: Device, geometry: Geometry, plan: GroupPlan): void {
  const sector = new Sector(device, geometry, plan.agno, AG_SECTORS.agfl)
  sector.bytes.fill(0xff)
  Agfl.encode(sector.view, 0, {
    magicnum: AGFL_MAGIC, seqno: plan.agno, uuid: geometry.metaUuid, lsn: NEVER,
  }) // biome-ignore format: short
  for (let slot = 0; slot < agflSlots(geometry); slot++) {
    sector.view.setUint32(Agfl.size + 4 * slot, plan.agfl[slot] ?? NULLAGBLOCK)
  }
  sector.write()
}

function writeAgi(device: Device, geometry: Geometry, plan: GroupPlan): void {
  const { agno, result } = plan
  const { features } = geometry
  const sector = new Sector(device, geometry, agno, AG_SECTORS.agi)
  const { view } = sector
  if (!result.group.headers.agiUsable) {
    sector.bytes.fill(0)
    Agi.encode(view, 0, { newino: NULLAGINO, dirino: NULLAGINO })
    for (let i = 0; i < 64; i++) view.setUint32(Agi.fields.unlinked.offset + 4 * i, NULLAGINO)
  }
  Agi.fields.lsn.set(view, 0, NEVER)
  for (const bucket of plan.buckets) view.setUint32(Agi.fields.unlinked.offset + 4 * bucket, NULLAGINO)
  const { count, free } = inodeTotals(result.chunks)
  Agi.encode(view, 0, {
    magicnum: AGI_MAGIC, versionnum: 1, seqno: agno, length: geometry.agLength(agno), uuid: geometry.metaUuid, count, freecount: free,
  }) // biome-ignore format: short
  setRoots(view, 'agi', plan, features)
  sector.write()
}
