import type { Device } from '../../device/device.ts'
import { OWNERS } from '../../format/btrecs.ts'
import { DINODE_MAGIC, Dinode, INODES_PER_CHUNK } from '../../format/dinode.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import { orderByU32 } from '../../util/columns.ts'
import type { Findings } from '../findings.ts'
import { type Chunk, isHole } from './inodetable.ts'
import type { ObservedAg } from './observation.ts'
import type { Scene } from './scene.ts'

/**
 * Find the inode chunks of an AG. First those in inobt, then others: in finobt, and in blocks that
 * rmapbt records for inodes. With `scan`, every block of the AG that is not free is read, and the
 * chunks found take precedence over inobt. Blocks that inobt does not list must look like inodes:
 * each must have its own number and the UUID of the filesystem, so that stale or foreign blocks are
 * not mistaken for inodes.
 *
 * @returns chunks in ascending order
 */
export function findChunks({ device, geometry, findings }: Scene, ag: ObservedAg, scan: boolean): Chunk[] {
  const { agno } = ag
  const chunks = listedChunks(geometry, ag, findings)
  if (scan) {
    const found = probe(device, geometry, agno, usedBlocks(ag).sorted(), true)
    const starts = new Set(found.map(({ agino }) => agino))
    return joined(
      chunks.filter(({ agino }) => !overlaps(agino, starts, agno, findings)),
      found,
    )
  }
  const known = new RunList()
  for (const { agino, holemask } of chunks) addBlocks(geometry, agino, holemask, known)
  const left = suspected(geometry, ag).without(known)
  return left.length === 0 ? chunks : joined(chunks, probe(device, geometry, agno, left, false))
}

/**
 * May inobt not list all inodes of the AG? It has a fault, or its inode count differs from that of
 * the AGI.
 */
export function isDoubtful({ headers, trees }: ObservedAg): boolean {
  const { records, complete, damaged } = trees.inobt
  let count = 0
  for (let i = 0; i < records.length; i++) count += records.count.get(i)
  return !complete || damaged || (headers.agiUsable && headers.agi.count !== count)
}

/**
 * Does a listed chunk begin inside of a found one, or a found one inside of it? Then its record is
 * wrong.
 */
function overlaps(agino: number, found: ReadonlySet<number>, agno: number, findings: Findings): boolean {
  for (let apart = 1; apart < INODES_PER_CHUNK; apart++) {
    if (!found.has(agino - apart) && !found.has(agino + apart)) continue
    findings.add('inobt.overlap', { agno, agino })
    return true
  }
  return false
}

/**
 * Listed and found chunks in order. Inodes may be found in parts of a listed chunk that its record
 * marks as holes.
 */
function joined(listed: readonly Chunk[], found: readonly Chunk[]): Chunk[] {
  const all = [...listed, ...found].sort((a, b) => a.agino - b.agino)
  const chunks: Chunk[] = []
  for (const chunk of all) {
    const last = chunks[chunks.length - 1]
    if (last?.agino === chunk.agino)
      chunks[chunks.length - 1] = { agino: chunk.agino, holemask: last.holemask & chunk.holemask }
    else if (!last || chunk.agino >= last.agino + INODES_PER_CHUNK) chunks.push(chunk)
  }
  return chunks
}

/** Runs of blocks, [start, end). */
class RunList {
  readonly #runs: [start: number, end: number][] = []

  add(start: number, end: number): void {
    const last = this.#runs[this.#runs.length - 1]
    if (last && last[1] === start) last[1] = end
    else if (end > start) this.#runs.push([start, end])
  }

  /** Sorted and disjoint. */
  sorted(): [start: number, end: number][] {
    const runs = this.#runs.map(([start, end]): [number, number] => [start, end]).sort((a, b) => a[0] - b[0])
    const out: [number, number][] = []
    for (const [start, end] of runs) {
      const last = out[out.length - 1]
      if (last && start <= last[1]) last[1] = Math.max(last[1], end)
      else out.push([start, end])
    }
    return out
  }

  /** The runs that are not in `other`. */
  without(other: RunList): [start: number, end: number][] {
    const left: [number, number][] = []
    const others = other.sorted()
    let at = 0
    for (const [start, end] of this.sorted()) {
      for (let block = start; block < end; ) {
        while (at < others.length && (others[at] as [number, number])[1] <= block) at++
        const next = others[at]
        const until = next === undefined ? end : Math.min(end, Math.max(block, next[0]))
        if (until > block) left.push([block, until])
        block = next === undefined ? end : Math.max(until, next[1])
      }
    }
    return left
  }
}

/** The chunks that inobt lists, if they fit into the AG. */
function listedChunks(geometry: Geometry, { agno, trees }: ObservedAg, findings: Findings): Chunk[] {
  const { records } = trees.inobt
  const chunks: Chunk[] = []
  let last = -1
  for (const row of orderByU32(records.startino.filled(), records.length)) {
    const agino = records.startino.get(row)
    const holemask = records.holemask.get(row)
    if (agino < last) findings.add('inobt.overlap', { agno, agino })
    else if (!chunkFits(geometry, agno, agino, holemask)) findings.add('inobt.outside', { agno, agino })
    else {
      chunks.push({ agino, holemask })
      last = agino + INODES_PER_CHUNK
    }
  }
  return chunks
}

/** Are all inodes of the chunk that are not in a hole inside the AG? */
function chunkFits(geometry: Geometry, agno: number, agino: number, holemask: number): boolean {
  const perBlock = Math.min(geometry.inopblock, INODES_PER_CHUNK)
  if (agino % perBlock !== 0) return false
  for (let i = 0; i < INODES_PER_CHUNK; i += perBlock) {
    if (!isHole(holemask, i) && !geometry.validAgbno(agno, geometry.aginoAgbno(agino + i))) return false
  }
  return true
}

function addBlocks(geometry: Geometry, agino: number, holemask: number, into: RunList): void {
  const perBlock = Math.min(geometry.inopblock, INODES_PER_CHUNK)
  for (let i = 0; i < INODES_PER_CHUNK; i += perBlock) {
    const agbno = geometry.aginoAgbno(agino + i)
    if (!isHole(holemask, i)) into.add(agbno, agbno + 1)
  }
}

/** Blocks that hold inodes according to finobt or rmapbt. */
function suspected(geometry: Geometry, { agno, trees, length }: ObservedAg): RunList {
  const wanted = new RunList()
  const { finobt, rmapbt } = trees
  for (let i = 0; finobt && i < finobt.records.length; i++) {
    const agino = finobt.records.startino.get(i)
    const holemask = finobt.records.holemask.get(i)
    if (chunkFits(geometry, agno, agino, holemask)) addBlocks(geometry, agino, holemask, wanted)
  }
  for (let i = 0; rmapbt && i < rmapbt.records.length; i++) {
    if (rmapbt.records.owner.get(i) !== OWNERS.inodes) continue
    const start = rmapbt.records.start.get(i)
    const end = Math.min(start + rmapbt.records.count.get(i), length)
    if (start >= geometry.headerBlocks) wanted.add(start, end)
  }
  return wanted
}

/** All blocks except free ones, and those known to hold something else. */
function usedBlocks({ trees, metadata, length }: ObservedAg): RunList {
  const not = new RunList()
  for (let i = 0; i < metadata.length; i++) {
    not.add(metadata.start.get(i), metadata.start.get(i) + metadata.count.get(i))
  }
  const { records, complete } = trees.bnobt
  for (let i = 0; complete && i < records.length; i++) {
    not.add(records.start.get(i), records.start.get(i) + records.count.get(i))
  }
  const wanted = new RunList()
  let at = 0
  for (const [start, end] of not.sorted()) {
    if (start > at) wanted.add(at, Math.min(start, length))
    at = Math.max(at, end)
  }
  if (at < length) wanted.add(at, length)
  return wanted
}

/** Bytes read at once. */
const PIECE = 2 ** 20

/**
 * Look for inodes in runs of blocks. With `inUse`, chunks without an inode in use are ignored: they
 * may be stale.
 */
function probe(
  device: Device,
  geometry: Geometry,
  agno: number,
  runs: readonly (readonly [number, number])[],
  inUse: boolean,
): Chunk[] {
  const { blocksize, inodesize, inopblock } = geometry
  const found = new Map<number, FoundChunk>()
  const uuid = geometry.metaUuidWords
  const perBlock = Math.min(inopblock, INODES_PER_CHUNK)
  const align = alignment(geometry)
  const bytes = new Uint8Array(Math.max(PIECE, blocksize))
  const view = new DataView(bytes.buffer)
  for (const [start, end] of runs) {
    for (let agbno = start; agbno < end; ) {
      const count = Math.min(end - agbno, bytes.length / blocksize)
      device.read(bytes.subarray(0, count * blocksize), geometry.daddr(agno, agbno) * BASIC_BLOCK)
      const first = geometry.agbnoToAgino(agbno)
      for (let i = 0; i < count * inopblock; i += perBlock) {
        const state = inodesAt(view, i * inodesize, geometry, geometry.ino(agno, first + i), perBlock, uuid)
        if (state !== 'none') addFound(found, first + i, perBlock, align, state === 'used')
      }
      agbno += count
    }
  }
  return [...found].filter(([, { used }]) => used || !inUse).map(([agino, { holemask }]) => ({ agino, holemask }))
}

interface FoundChunk {
  holemask: number
  used: boolean
}

/** Add the inodes of one block to their chunk. */
function addFound(found: Map<number, FoundChunk>, agino: number, count: number, align: number, used: boolean): void {
  const start = chunkStart(agino, align, found)
  const chunk = found.get(start) ?? { holemask: 0xffff, used: false }
  for (let bit = (agino - start) / 4; bit < (agino - start + count) / 4; bit++) chunk.holemask &= ~(1 << bit)
  chunk.used ||= used
  found.set(start, chunk)
}

/** The number of inodes from one possible start of a chunk to the next. */
function alignment(geometry: Geometry): number {
  const { inoalignmt } = geometry.sb
  return inoalignmt > 1
    ? Math.min(inoalignmt * geometry.inopblock, INODES_PER_CHUNK)
    : Math.min(geometry.inopblock, INODES_PER_CHUNK)
}

/**
 * The chunk that an inode belongs to: one that was already found, or one at the last possible
 * start.
 */
function chunkStart(agino: number, align: number, found: ReadonlyMap<number, unknown>): number {
  const start = agino - (agino % align)
  for (let from = start; from > agino - INODES_PER_CHUNK && from >= 0; from -= align) if (found.has(from)) return from
  return start
}

const UUID = Dinode.fields.uuid.offset
/** Bytes of a word of a UUID. */
const WORD = 4

function inodesAt(
  view: DataView,
  at: number,
  geometry: Geometry,
  ino: number,
  count: number,
  uuid: readonly number[],
): 'none' | 'free' | 'used' {
  let seen = false
  for (let i = 0; i < count; i++, at += geometry.inodesize) {
    if (view.getUint16(at) !== DINODE_MAGIC || Dinode.fields.inumber.get(view, at) !== ino + i) continue
    if (uuid.some((word, w) => view.getUint32(at + UUID + w * WORD) !== word)) continue
    seen = true
    if (Dinode.fields.mode.get(view, at) !== 0) return 'used'
  }
  return seen ? 'free' : 'none'
}
