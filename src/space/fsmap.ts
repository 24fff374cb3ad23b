import { Cursor, query, records } from '../btree/cursor.ts'
import { openTree } from '../btree/roots.ts'
import { firstRmapKey, lastRmapKey } from '../btree/trees/rmapbt.ts'
import { Agf } from '../format/ag.ts'
import { OWNERS, type RmapRec } from '../format/btrecs.ts'
import type { Volume } from '../volume.ts'
import { findShared } from './refcount.ts'

/**
 * The owner of every block, in the order of the blocks: the records of the rmapbt, and the free
 * space between them. Records overlap if blocks are shared.
 *
 *   rmapbt   [0,+1) fs   [1,+2) ag                 [9,+4) inode 131   [11,+4) inode 140
 *   result   [0,+1) fs   [1,+2) ag   [3,+6) free   [9,+4) inode 131   [11,+4) inode 140   … free
 *
 * Without rmapbt only free space is known: other blocks have an unknown owner.
 *
 * Source: fs/xfs/xfs_fsmap.c (FS_IOC_GETFSMAP).
 */
export interface SpaceRecord {
  readonly agno: number
  readonly agbno: number
  readonly blockcount: number
  readonly owner: SpaceOwner
  /** For an inode: the offset in its fork, in blocks; undefined for bmbt blocks. */
  readonly offset: number | undefined
  readonly fork: 'data' | 'attr'
  readonly unwritten: boolean
  /** Some of the blocks have other owners, too. */
  readonly shared: boolean
}

/** An inode's number, or another owner. */
export type SpaceOwner = number | 'free' | 'unknown' | 'fs' | 'log' | 'ag' | 'inobt' | 'inodes' | 'refc' | 'cow'

const SPECIAL: ReadonlyMap<number, SpaceOwner> = new Map([
  [OWNERS.fs, 'fs'],
  [OWNERS.log, 'log'],
  [OWNERS.ag, 'ag'],
  [OWNERS.inobt, 'inobt'],
  [OWNERS.inodes, 'inodes'],
  [OWNERS.refc, 'refc'],
  [OWNERS.cow, 'cow'],
])

/** The map of one AG. @throws XfsError CORRUPT */
export function* spaceMap(volume: Volume, agno: number): Generator<SpaceRecord> {
  const end = Agf.fields.length.get(volume.agf(agno).view, 0)
  let at = 0
  for (const record of volume.features.has('rmapbt') ? owned(volume, agno) : unknown(volume, agno)) {
    if (record.agbno > at) yield plain(agno, at, record.agbno - at, 'free')
    yield record
    at = Math.max(at, record.agbno + record.blockcount)
  }
  if (at < end) yield plain(agno, at, end - at, 'free')
}

/**
 * The records of the map that contain a block: several if it is shared. Without rmapbt an owner
 * other than `free` is unknown. @throws XfsError CORRUPT
 */
export function* spaceAt(volume: Volume, agno: number, agbno: number): Generator<SpaceRecord> {
  const free = new Cursor(openTree(volume, 'bnobt', agno))
  if (free.lookup(agbno, 'le')) {
    const { startblock, blockcount } = free.record()
    if (agbno < startblock + blockcount) {
      yield plain(agno, startblock, blockcount, 'free')
      return
    }
  }
  let found = false
  if (volume.features.has('rmapbt')) {
    for (const rec of query(openTree(volume, 'rmapbt', agno), firstRmapKey(agbno), lastRmapKey(agbno))) {
      yield ownedRecord(volume, agno, rec)
      found = true
    }
  }
  if (!found) yield plain(agno, agbno, 1, 'unknown')
}

const plain = (agno: number, agbno: number, blockcount: number, owner: SpaceOwner): SpaceRecord => ({
  agno,
  agbno,
  blockcount,
  owner,
  offset: undefined,
  fork: 'data',
  unwritten: false,
  shared: false,
})

function* owned(volume: Volume, agno: number): Generator<SpaceRecord> {
  for (const rec of records(openTree(volume, 'rmapbt', agno))) yield ownedRecord(volume, agno, rec)
}

function ownedRecord(volume: Volume, agno: number, rec: RmapRec): SpaceRecord {
  const { startblock: agbno, blockcount, owner } = rec
  if (owner < 0) return plain(agno, agbno, blockcount, SPECIAL.get(owner) ?? 'unknown')
  const data = rec.attrfork === 0 && rec.bmbtblock === 0
  return {
    agno,
    agbno,
    blockcount,
    owner,
    offset: rec.bmbtblock === 1 ? undefined : rec.offset,
    fork: rec.attrfork === 1 ? 'attr' : 'data',
    unwritten: rec.extentflag === 1,
    shared: data && rec.extentflag === 0 && findShared(volume, volume, agno, agbno, blockcount) !== undefined,
  }
}

/** Blocks that are not free. */
function* unknown(volume: Volume, agno: number): Generator<SpaceRecord> {
  const end = Agf.fields.length.get(volume.agf(agno).view, 0)
  let at = 0
  for (const { startblock, blockcount } of records(openTree(volume, 'bnobt', agno))) {
    if (startblock > at) yield plain(agno, at, startblock - at, 'unknown')
    at = Math.max(at, startblock + blockcount)
  }
  if (at < end) yield plain(agno, at, end - at, 'unknown')
}
