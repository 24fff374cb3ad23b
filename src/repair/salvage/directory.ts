import type { Inodes } from '../../check/observe/inodetable.ts'
import type { Device } from '../../device/device.ts'
import { Dinode, FORK_FORMATS } from '../../format/dinode.ts'
import {
  DIR_ALIGN,
  DIR_DATA_START,
  DIR_LEAF_OFFSET,
  Dir3BlkHdr,
  DirDataEntryHead,
  FILE_TYPE_COUNT,
  fileTypeOfMode,
} from '../../format/dir.ts'
import { dataEntrySize, dataItemSize, dataTag, isDataFree } from '../../format/dirblocks.ts'
import { bytesAt } from '../../format/fields.ts'
import { forkShape } from '../../format/forkshape.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import { readInodeBytes } from '../rawforks.ts'
import { certainItems } from './chain.ts'
import { type FoundEntry, isInUse, type Salvaged } from './found.ts'
import { forkMaps } from './maps.ts'
import { salvageShortform } from './shortform.ts'

/** Read all that can be read of the entries of a directory. */
export function salvageDirectory(device: Device, inodes: Inodes, slot: number): Salvaged {
  const { geometry } = inodes
  const ino = inodes.ino(slot)
  const inUse = (target: number): boolean => isInUse(inodes, inodes.slot(target))
  const view = readInodeBytes(device, geometry, ino)
  if (Dinode.fields.format.get(view, 0) === FORK_FORMATS.local) {
    const { dataSize } = forkShape(view, 0, geometry)
    const size = Math.min(dataSize, Dinode.fields.size.get(view, 0))
    return salvageShortform(geometry, view, geometry.coresize, size, inUse)
  }
  const entries: FoundEntry[] = []
  let parent: number | undefined
  for (const { first, view: block } of directoryBlocks(device, geometry, inodes, slot)) {
    for (const entry of blockEntries(inodes, block)) {
      const dots =
        entry.name[0] === DOT && (entry.name.length === 1 || (entry.name.length === 2 && entry.name[1] === DOT))
      if (!dots) entries.push(entry)
      else if (first && entry.name.length === 2) parent ??= entry.ino
    }
  }
  return { parent, entries }
}

const DOT = 0x2e

/**
 * The data blocks of a directory, by file offset. A block belongs to it if its owner or its address
 * is right, or if its owner is no inode.
 */
function* directoryBlocks(
  device: Device,
  geometry: Geometry,
  inodes: Inodes,
  slot: number,
): Generator<{ first: boolean; view: DataView }> {
  const { dirblocks, blocksize } = geometry
  /** Addresses of the filesystem blocks of each directory block. */
  const blocks = new Map<number, number[]>()
  for (const map of forkMaps(inodes, slot, 'data')) {
    for (let i = 0; i < map.count; i++) {
      const offset = map.offset + i
      if (offset * blocksize >= DIR_LEAF_OFFSET) break
      const db = Math.floor(offset / dirblocks)
      const parts = blocks.get(db) ?? []
      blocks.set(db, parts)
      parts[offset % dirblocks] = geometry.fsbToDaddr(map.fsbno + i)
    }
  }
  const read = new Set<number>()
  for (const db of [...blocks.keys()].sort((a, b) => a - b)) {
    const parts = blocks.get(db) as number[]
    const [daddr = -1] = parts
    if (read.has(daddr)) continue
    read.add(daddr)
    const bytes = new Uint8Array(dirblocks * blocksize)
    for (const [i, part] of parts.entries())
      if (part !== undefined) device.read(bytes.subarray(i * blocksize, (i + 1) * blocksize), part * BASIC_BLOCK)
    const view = new DataView(bytes.buffer)
    const { owner, bno } = Dir3BlkHdr.fields
    const by = owner.get(view, 0)
    const other = inodes.slot(by)
    if (by === inodes.ino(slot) || bno.get(view, 0) === daddr || !isInUse(inodes, other))
      yield { first: db === 0, view }
  }
}

/**
 * The entries of a block: those with their own offset as tag. An entry with a wrong name length is
 * recognized by the tag before the next one.
 */
function* blockEntries(inodes: Inodes, view: DataView): Generator<FoundEntry> {
  const { geometry } = inodes
  const end = view.byteLength
  const { inumber, namelen } = DirDataEntryHead.fields
  const sizeAt = (at: number): number => {
    const size = dataItemSize(view, at, end)
    if (size < 0 || dataTag(view, at, size) !== at) return 0
    if (isDataFree(view, at)) return size
    const type = view.getUint8(at + DirDataEntryHead.size + namelen.get(view, at))
    return type < FILE_TYPE_COUNT && geometry.validIno(inumber.get(view, at)) ? size : 0
  }
  const entryAt = (at: number, length: number): FoundEntry => ({
    name: bytesAt(view, at + DirDataEntryHead.size, length).slice(),
    ino: inumber.get(view, at),
    ftype: view.getUint8(at + DirDataEntryHead.size + length),
  })
  for (const piece of certainItems(DIR_DATA_START, end, DIR_ALIGN, sizeAt)) {
    if (piece.valid) {
      if (!isDataFree(view, piece.at)) yield entryAt(piece.at, namelen.get(view, piece.at))
      continue
    }
    const size = piece.end - piece.at
    const slot = inodes.slot(inumber.get(view, piece.at))
    if (size < dataEntrySize(1) || size > dataEntrySize(255)) continue
    if (!isInUse(inodes, slot) || dataTag(view, piece.at, size) !== piece.at) continue
    const type = fileTypeOfMode(inodes.mode.get(slot))
    const fits = (length: number): boolean => dataEntrySize(length) === size && entryAt(piece.at, length).ftype === type
    const [only, more] = Array.from({ length: 255 }, (_, i) => i + 1).filter(fits)
    if (only !== undefined && more === undefined) yield entryAt(piece.at, only)
  }
}
