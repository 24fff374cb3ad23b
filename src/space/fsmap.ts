import { records } from '../btree/cursor.ts'
import { openTree } from '../btree/roots.ts'
import { Agf } from '../format/ag.ts'
import { OWNERS, type RmapRec } from '../format/btrecs.ts'
import type { Volume } from '../volume.ts'
import { findShared } from './refcount.ts'

/**
 * Who owns every block, in the order of the blocks: the records of the rmapbt, and between them
 * free space.
 *
 *   rmapbt   [0,+1) fs   [1,+2) ag          [9,+4) inode 131     [11,+4) inode 140      records overlap where blocks are shared
 *   answer   [0,+1) fs   [1,+2) ag   [3,+6) free   [9,+4) inode 131   [11,+4) inode 140   …   free, to the end of the group
 *
 * Without rmapbt only the free space is known: the rest has an unknown owner.
 *
 * Source: fs/xfs/xfs_fsmap.c (FS_IOC_GETFSMAP).
 */
export interface SpaceRecord {
  readonly agno: number
  readonly agbno: number
  readonly blockcount: number
  readonly owner: SpaceOwner
  /** Of an inode: where in its fork, in blocks; undefined for blocks of its map. */
  readonly offset: number | undefined
  readonly fork: 'data' | 'attr'
  readonly unwritten: boolean
  /** Some of the blocks have other owners, too. */
  readonly shared: boolean
}

/** An inode's number, or one of the owners that are none. */
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

/** The map of one group. @throws XfsError CORRUPT */
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

/** What is not free. */
function* unknown(volume: Volume, agno: number): Generator<SpaceRecord> {
  const end = Agf.fields.length.get(volume.agf(agno).view, 0)
  let at = 0
  for (const { startblock, blockcount } of records(openTree(volume, 'bnobt', agno))) {
    if (startblock > at) yield plain(agno, at, startblock - at, 'unknown')
    at = Math.max(at, startblock + blockcount)
  }
  if (at < end) yield plain(agno, at, end - at, 'unknown')
}
