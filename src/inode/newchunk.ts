import { Cursor } from '../btree/cursor.ts'
import { INODES_PER_HOLE, presentMask } from '../btree/trees/inobt.ts'
import { XfsError } from '../errors.ts'
import { Agi, NULLAGINO } from '../format/ag.ts'
import { type InobtRec, OWNERS } from '../format/btrecs.ts'
import { Dinode, INODES_PER_CHUNK } from '../format/dinode.ts'
import { encodeFreeInode } from '../format/newinode.ts'
import { Superblock } from '../format/sb.ts'
import { maxLevels } from '../format/treesizes.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { type AllocRequest, allocExtent, extentFree } from '../space/alloc.ts'
import { changeTree } from '../space/trees.ts'
import type { Transaction } from '../tx/transaction.ts'
import { crc32c } from '../util/crc32c.ts'
import type { Volume } from '../volume.ts'
import { ALL_FREE, addToAgi, addToSuperblock, bitSet, maxInodes, updateFinobt } from './chunks.ts'

/**
 * Allocating and freeing inode chunks: their blocks, their records and the inodes in them, all
 * free. A new chunk is complete and aligned, or, if free space is too fragmented, a part of one
 * (sparse).
 *
 * Source: fs/xfs/libxfs/xfs_ialloc.c.
 */

const { newino: agiNewino } = Agi.fields

/** Allocate a chunk in an AG. @returns false if it has no space, or imaxpct does not permit more */
export function addChunk(tx: Transaction, agno: number): boolean {
  const { volume } = tx
  const { geometry } = volume
  const { chunkBlocks, inopblock, sb } = geometry
  const limit = maxInodes(volume)
  const inodes = chunkBlocks * inopblock
  if (limit !== 0 && Superblock.fields.icount.get(volume.superblock(tx).view, 0) + inodes > limit) return false
  const agi = volume.agi(agno, tx).view
  const align = volume.features.has('align') ? Math.max(1, sb.inoalignmt) : 1
  const newest = agiNewino.get(agi, 0)
  const near = geometry.fsbno(agno, Agi.fields.root.get(agi, 0))
  const request: AllocRequest = {
    agno,
    onlyAg: true,
    near,
    minLength: chunkBlocks,
    maxLength: chunkBlocks,
    minLeft: maxLevels(geometry, 'inobt'),
    owner: OWNERS.inodes,
  }
  const next = newest === NULLAGINO ? 0 : geometry.aginoAgbno(newest) + chunkBlocks
  const nextFits =
    next % align === 0 &&
    next > 0 &&
    geometry.validAgbno(agno, next) &&
    geometry.validAgbno(agno, next + chunkBlocks - 1)
  const whole =
    (nextFits ? tryAlloc(tx, { ...request, near: geometry.fsbno(agno, next), exact: true }) : undefined) ??
    (sb.unit > 0 && sb.unit % align === 0 ? tryAlloc(tx, { ...request, alignment: sb.unit }) : undefined) ??
    tryAlloc(tx, { ...request, alignment: align })
  if (whole !== undefined) {
    initChunkBlocks(tx, agno, whole, chunkBlocks)
    for (let done = 0; done < inodes; done += INODES_PER_CHUNK) {
      const startino = geometry.agbnoToAgino(whole) + done
      insertChunk(tx, agno, {
        startino,
        holemask: 0,
        count: INODES_PER_CHUNK,
        freecount: INODES_PER_CHUNK,
        free: ALL_FREE,
      })
    }
    countNew(tx, agno, inodes, geometry.agbnoToAgino(whole))
    return true
  }
  return addSparseChunk(tx, agno, request)
}

function addSparseChunk(tx: Transaction, agno: number, request: AllocRequest): boolean {
  const { geometry, features } = tx.volume
  const { chunkBlocks, inopblock, sb } = geometry
  const length = sb.spino_align
  if (!features.has('sparse') || length < 1 || length >= chunkBlocks) return false
  const align = Math.max(1, sb.inoalignmt)
  // The record of the complete chunk must be inside the AG.
  const maxAgbno = Math.floor(geometry.agLength(agno) / align) * align - chunkBlocks + (chunkBlocks - length)
  if (maxAgbno < align) return false
  const agbno = tryAlloc(tx, {
    ...request,
    minLength: length,
    maxLength: length,
    alignment: length,
    minAgbno: align,
    maxAgbno,
  })
  if (agbno === undefined) return false
  initChunkBlocks(tx, agno, agbno, length)
  const chunk = Math.floor(agbno / align) * align
  // If the alignment exceeds the size of a chunk, several fit between two aligned blocks.
  const start = chunk + Math.floor((agbno - chunk) / chunkBlocks) * chunkBlocks
  const first = (agbno - start) * inopblock
  const inodes = length * inopblock
  const present = ((2 ** (inodes / INODES_PER_HOLE) - 1) << (first / INODES_PER_HOLE)) & 0xffff
  const rec: InobtRec = {
    startino: geometry.agbnoToAgino(start),
    holemask: ~present & 0xffff,
    count: inodes,
    freecount: inodes,
    free: ALL_FREE,
  }
  insertSparse(tx, agno, rec)
  countNew(tx, agno, inodes, rec.startino)
  return true
}

function countNew(tx: Transaction, agno: number, inodes: number, newino: number): void {
  addToAgi(tx, agno, inodes, inodes)
  agiNewino.set(tx.edit(tx.volume.agi(agno, tx)), 0, newino)
  addToSuperblock(tx, inodes, inodes)
}

/** An allocation that may fail. */
function tryAlloc(tx: Transaction, request: AllocRequest): number | undefined {
  try {
    return allocExtent(tx, request).agbno
  } catch (error) {
    if (error instanceof XfsError && error.code === 'NOSPC') return undefined
    throw error
  }
}

/** The record as stored: without the sparse feature the count is not. */
const stored = (tx: Transaction, rec: InobtRec): InobtRec =>
  tx.volume.features.has('sparse') ? rec : { ...rec, count: 0, holemask: 0 }

function insertChunk(tx: Transaction, agno: number, rec: InobtRec): void {
  new Cursor(changeTree(tx, 'inobt', agno)).insert(stored(tx, rec))
  if (tx.volume.features.has('finobt')) new Cursor(changeTree(tx, 'finobt', agno)).insert(stored(tx, rec))
}

/** Insert a part of a chunk, other parts of which may exist already. */
function insertSparse(tx: Transaction, agno: number, rec: InobtRec): void {
  const all = new Cursor(changeTree(tx, 'inobt', agno))
  let merged = rec
  if (all.lookup(rec.startino, 'eq')) {
    const old = all.record()
    if ((~old.holemask & ~rec.holemask & 0xffff) !== 0) {
      throw new XfsError('CORRUPT', `AG ${agno}: new inodes at ${rec.startino} are already in the inobt`, {
        type: 'inobt',
        agno,
      })
    }
    merged = {
      startino: rec.startino,
      holemask: old.holemask & rec.holemask,
      count: old.count + rec.count,
      freecount: old.freecount + rec.freecount,
      free: { hi: (old.free.hi & rec.free.hi) >>> 0, lo: (old.free.lo & rec.free.lo) >>> 0 },
    }
    all.update(merged)
  } else all.insert(rec)
  updateFinobt(tx, agno, rec.startino, merged)
}

/** Free inodes on disk have a magic number, their own number and a generation. */
function initChunkBlocks(tx: Transaction, agno: number, agbno: number, length: number): void {
  const { volume } = tx
  const { geometry } = volume
  const blank = new Uint8Array(geometry.inodesize)
  const model = new DataView(blank.buffer)
  encodeFreeInode(model, 0, geometry, 0, chunkGeneration(volume, agno, agbno))
  for (let i = 0; i < length; i++) {
    const { view, bytes } = tx.create(blockTypes.inodes, geometry.daddr(agno, agbno + i), geometry.blocksize)
    const first = geometry.agbnoToAgino(agbno + i)
    for (let index = 0; index < geometry.inopblock; index++) {
      const at = index * geometry.inodesize
      bytes.set(blank, at)
      Dinode.fields.inumber.set(view, at, geometry.ino(agno, first + index))
    }
  }
}

/** Not predictable with a running clock; constant with a fixed clock. */
function chunkGeneration(volume: Volume, agno: number, agbno: number): number {
  const { seconds, nanoseconds } = volume.now()
  return crc32c(new TextEncoder().encode(`${volume.geometry.metaUuid} ${agno} ${agbno} ${seconds} ${nanoseconds}`))
}

/** Free the blocks of a chunk: all, or, of a sparse one, each extent. */
export function freeChunkBlocks(tx: Transaction, agno: number, rec: InobtRec): void {
  const { geometry } = tx.volume
  const first = geometry.aginoAgbno(rec.startino)
  const present = presentMask(rec)
  let from = -1
  for (let block = 0; block <= geometry.chunkBlocks; block++) {
    const here = block < geometry.chunkBlocks && bitSet(present, block * geometry.inopblock)
    if (here && from < 0) from = block
    if (here) tx.invalidate(geometry.daddr(agno, first + block))
    if (here || from < 0) continue
    tx.defer(extentFree, { fsbno: geometry.fsbno(agno, first + from), blockcount: block - from, owner: OWNERS.inodes })
    from = -1
  }
}
