import { openTree } from '../btree/roots.ts'
import { presentMask } from '../btree/trees/inobt.ts'
import { XfsError } from '../errors.ts'
import { ShortBlock } from '../format/btblock.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import { treeMagic, treeNames } from '../format/trees.ts'
import { allocatedInodes, bitSet, chunkOf } from '../inode/chunks.ts'
import { FORK_NAMES, type Inode, inodeAt } from '../inode/inode.ts'
import { extents } from '../mapping/extents.ts'
import { type SpaceOwner, type SpaceRecord, spaceAt } from '../space/fsmap.ts'
import { viewOf } from '../util/view.ts'
import type { Volume } from '../volume.ts'
import { pathsOf } from './paths.ts'

/** A place in the filesystem: a block of an AG, or bytes from the start. */
export type BlockPlace = { readonly agno: number; readonly agbno: number } | number

/** An owner of a block. */
export interface BlockOwner extends SpaceRecord {
  /**
   * What the block, or the sector of the byte offset, is: `agf`, `bnobt`, `bmbt` …; if it is known.
   */
  readonly structure?: string
  /** The inode at the byte offset, in a block of inodes. */
  readonly inode?: number
  /** A path of the owner, or of this inode. */
  readonly path?: Uint8Array
}

const HEADERS = ['sb', 'agf', 'agi', 'agfl'] as const

/**
 * All owners of a block; more than one if it is shared. Without rmapbt this reads the block maps of
 * all files.
 * @throws XfsError RANGE (no such block), CORRUPT
 */
export function blockOwners(volume: Volume, place: BlockPlace): BlockOwner[] {
  const { geometry } = volume
  const { blocksize, agblocks } = geometry
  const block = typeof place === 'number' ? Math.floor(place / blocksize) : place.agno * agblocks + place.agbno
  const { agno, agbno } =
    typeof place === 'number' ? { agno: Math.floor(block / agblocks), agbno: block % agblocks } : place
  const isBlock = [agno, agbno].every((number) => Number.isSafeInteger(number) && number >= 0)
  if (!isBlock || agno >= geometry.agcount || agbno >= geometry.agLength(agno))
    throw new XfsError('RANGE', `there is no block ${agno}/${agbno}`, { agno, agbno })
  const within = typeof place === 'number' ? place - block * blocksize : 0
  const structure = structureAt(volume, agno, agbno, within)
  let found = [...spaceAt(volume, agno, agbno)]
  if (!volume.features.has('rmapbt') && found[0]?.owner === 'unknown') found = derived(volume, agno, agbno)
  const inode =
    typeof place === 'number' && found[0]?.owner === 'inodes'
      ? geometry.ino(agno, geometry.agbnoToAgino(agbno) + Math.floor(within / geometry.inodesize))
      : undefined
  const inos = found.map(({ owner }) => (typeof owner === 'number' ? owner : inode))
  const paths = pathsOf(
    volume,
    inos.filter((ino) => ino !== undefined),
  )
  return found.map((record, i) => {
    const path = paths.get(inos[i] ?? -1)
    return {
      ...record,
      ...(structure !== undefined && record.owner !== 'free' && { structure }),
      ...(inode !== undefined && { inode }),
      ...(path && { path }),
    }
  })
}

/** @param within bytes from the start of the block */
function structureAt({ device, geometry }: Volume, agno: number, agbno: number, within: number): string | undefined {
  const { blocksize, sectsize, headerBlocks } = geometry
  if (agbno < headerBlocks) return HEADERS[Math.floor((agbno * blocksize + within) / sectsize)]
  const bytes = new Uint8Array(4)
  device.read(bytes, geometry.daddr(agno, agbno) * BASIC_BLOCK)
  const magic = ShortBlock.fields.magic.get(viewOf(bytes), 0)
  return treeNames.find((name) => treeMagic(name, geometry.features.version === 5) === magic)
}

/** The owners of a block in use, without rmapbt. */
function derived(volume: Volume, agno: number, agbno: number): SpaceRecord[] {
  const { geometry } = volume
  const { sb } = geometry
  const record = (owner: SpaceOwner): SpaceRecord => ({
    agno, agbno, blockcount: 1, owner, offset: undefined, fork: 'data', unwritten: false, shared: false,
  }) // biome-ignore format: short
  const fsbno = geometry.fsbno(agno, agbno)
  if (agbno < geometry.headerBlocks) return [record('fs')]
  if (sb.logstart !== 0 && fsbno >= sb.logstart && fsbno < sb.logstart + sb.logblocks) return [record('log')]
  if (isOfInodes(volume, agno, agbno)) return [record('inodes')]
  const owners: SpaceRecord[] = []
  for (let at = 0; at < geometry.agcount; at++) {
    for (const ino of allocatedInodes(volume, at)) owners.push(...mappingsOf(inodeAt(volume, ino), fsbno, record(ino)))
  }
  return owners.length > 0 ? owners : [record('unknown')]
}

function isOfInodes(volume: Volume, agno: number, agbno: number): boolean {
  const agino = volume.geometry.agbnoToAgino(agbno)
  const rec = chunkOf(openTree(volume, 'inobt', agno), agino)?.record()
  return rec !== undefined && bitSet(presentMask(rec), agino - rec.startino)
}

function* mappingsOf(inode: Inode, fsbno: number, record: SpaceRecord): Generator<SpaceRecord> {
  for (const fork of FORK_NAMES) {
    if (fork === 'data' && inode.realtime) continue
    for (const { startoff, startblock, blockcount, extentflag } of extents(inode, fork)) {
      if (fsbno < startblock || fsbno >= startblock + blockcount) continue
      yield { ...record, offset: startoff + (fsbno - startblock), fork, unwritten: extentflag === 1 }
    }
  }
}
