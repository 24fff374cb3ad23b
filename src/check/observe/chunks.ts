import type { Device } from '../../device/device.ts'
import { OWNERS } from '../../format/btrecs.ts'
import { DINODE_MAGIC, Dinode, INODES_PER_CHUNK } from '../../format/dinode.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import { ExtentSet } from '../../util/extentset.ts'
import { orderByU32 } from '../columns.ts'
import type { Findings } from '../findings.ts'
import { uuidWords } from './headers.ts'
import { type Chunk, isHole } from './inodes.ts'
import type { Group } from './observe.ts'
import { orderByPosition, readBlocks } from './read.ts'

/**
 * Where inodes are. First what inobt lists; then what others know of and inobt does not: finobt, and blocks that rmapbt gives to
 * inodes; and where inobt cannot be read, every block of the group that is not free. What is not listed must look like
 * inodes: each states its own number and the filesystem's UUID, so that stale or foreign blocks are not taken for them.
 *
 * @returns chunks in ascending order
 */
export function findChunks(device: Device, geometry: Geometry, group: Group, findings: Findings): Chunk[] {
  const chunks = listedChunks(geometry, group, findings)
  const known = new ExtentSet()
  for (const { agino, holemask } of chunks) addBlocks(geometry, agino, holemask, known)
  const wanted = suspected(geometry, group, known)
  const whole = !group.trees.inobt.complete
  if (whole) addUsed(group, known, wanted)
  if (wanted.size === 0) return chunks
  const found = probe(device, geometry, group.agno, wanted, whole)
  return [...chunks, ...found].sort((a, b) => a.agino - b.agino)
}

/** The chunks that inobt lists, as far as they can be. */
function listedChunks(geometry: Geometry, { agno, trees }: Group, findings: Findings): Chunk[] {
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

/** Does every inode of the chunk that is no hole lie in its group? */
function chunkFits(geometry: Geometry, agno: number, agino: number, holemask: number): boolean {
  const perBlock = Math.min(geometry.inopblock, INODES_PER_CHUNK)
  if (agino % perBlock !== 0) return false
  for (let i = 0; i < INODES_PER_CHUNK; i += perBlock) {
    if (!isHole(holemask, i) && !geometry.validAgbno(agno, geometry.aginoAgbno(agino + i))) return false
  }
  return true
}

function addBlocks(geometry: Geometry, agino: number, holemask: number, into: ExtentSet): void {
  const perBlock = Math.min(geometry.inopblock, INODES_PER_CHUNK)
  for (let i = 0; i < INODES_PER_CHUNK; i += perBlock) {
    if (!isHole(holemask, i)) into.add(geometry.aginoAgbno(agino + i), 1)
  }
}

/** Blocks that finobt or rmapbt say hold inodes, less those known. */
function suspected(geometry: Geometry, { agno, trees, length }: Group, known: ExtentSet): ExtentSet {
  const wanted = new ExtentSet()
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
    if (start >= geometry.headerBlocks && end > start) wanted.add(start, end - start)
  }
  for (const { start, length: count } of known) wanted.remove(start, count)
  return wanted
}

/** All blocks but those that are free, or known to hold something else. */
function addUsed({ trees, metadata, length }: Group, known: ExtentSet, wanted: ExtentSet): void {
  wanted.add(0, length)
  for (const { start, length: count } of known) wanted.remove(start, count)
  for (let i = 0; i < metadata.length; i++) wanted.remove(metadata.start.get(i), metadata.count.get(i))
  const { bnobt } = trees
  if (!bnobt.complete) return
  for (let i = 0; i < bnobt.records.length; i++) wanted.remove(bnobt.records.start.get(i), bnobt.records.count.get(i))
}

/** Look for inodes in the blocks. With `inUse` only chunks count that have an inode in use: others may be stale. */
function probe(device: Device, geometry: Geometry, agno: number, wanted: ExtentSet, inUse: boolean): Chunk[] {
  const blocks: number[] = []
  for (const { start, length } of wanted) for (let b = start; b < start + length; b++) blocks.push(b)
  const positions = Float64Array.from(blocks, (agbno) => geometry.daddr(agno, agbno) * BASIC_BLOCK)
  const uuid = uuidWords(geometry)
  const perBlock = Math.min(geometry.inopblock, INODES_PER_CHUNK)
  /** Chunks by their first inode: which inodes are there, and whether one is in use. */
  const found = new Map<number, { holemask: number; used: boolean }>()
  const align = alignment(geometry)
  readBlocks(device, geometry.blocksize, positions, orderByPosition(positions), (view, at, row) => {
    const first = geometry.agbnoToAgino(blocks[row] as number)
    for (let i = 0; i < geometry.inopblock; i += perBlock) {
      const state = inodesAt(view, at + i * geometry.inodesize, geometry, geometry.ino(agno, first + i), perBlock, uuid)
      if (state === 'none') continue
      const start = chunkStart(first + i, align, found)
      const chunk = found.get(start) ?? { holemask: 0xffff, used: false }
      for (let bit = (first + i - start) / 4; bit < (first + i - start + perBlock) / 4; bit++)
        chunk.holemask &= ~(1 << bit)
      chunk.used ||= state === 'used'
      found.set(start, chunk)
    }
  })
  return [...found].filter(([, chunk]) => chunk.used || !inUse).map(([agino, { holemask }]) => ({ agino, holemask }))
}

/** Inodes from one possible start of a chunk to the next. */
function alignment(geometry: Geometry): number {
  const { inoalignmt } = geometry.sb
  return inoalignmt > 1
    ? Math.min(inoalignmt * geometry.inopblock, INODES_PER_CHUNK)
    : Math.min(geometry.inopblock, INODES_PER_CHUNK)
}

/** The chunk that an inode belongs to: one already begun, or one that begins at the last place where it can. */
function chunkStart(agino: number, align: number, found: ReadonlyMap<number, unknown>): number {
  const start = agino - (agino % align)
  for (let from = start; from > agino - INODES_PER_CHUNK && from >= 0; from -= align) if (found.has(from)) return from
  return start
}

function inodesAt(
  view: DataView,
  at: number,
  geometry: Geometry,
  ino: number,
  count: number,
  uuid: readonly number[],
): 'none' | 'free' | 'used' {
  // biome-ignore format: short
  let seen = false
  for (let i = 0; i < count; i++, at += geometry.inodesize) {
    if (view.getUint16(at) !== DINODE_MAGIC || Dinode.fields.inumber.get(view, at) !== ino + i) continue
    if (uuid.some((word, w) => view.getUint32(at + Dinode.fields.uuid.offset + 4 * w) !== word)) continue
    seen = true
    if (view.getUint16(at + 2) !== 0) return 'used'
  }
  return seen ? 'free' : 'none'
}
