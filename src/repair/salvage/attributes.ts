import { aclFromDisk, aclKeys } from '../../attr/acl.ts'
import type { AttrKey } from '../../attr/read.ts'
import { readRemoteValue } from '../../attr/remote.ts'
import type { Inodes } from '../../check/observe/inodetable.ts'
import type { Device } from '../../device/device.ts'
import { XfsError } from '../../errors.ts'
import {
  ATTR_NAMESPACES,
  ATTR3_LEAF_MAGIC,
  Attr3LeafHdr,
  AttrFlags,
  AttrLeafEntry,
  AttrSfEntryHead,
  AttrSfHdr,
  attrEntryHash,
  attrRemoteBlocks,
  attrSfEntrySize,
  ParentRec,
} from '../../format/attr.ts'
import { type AttrLeafItem, attrLeafItem, attrSfSize } from '../../format/attrentries.ts'
import { Dinode, FORK_FORMATS } from '../../format/dinode.ts'
import { Da3Blkinfo, DaBlkinfo, dirHash } from '../../format/dir.ts'
import { bytesAt } from '../../format/fields.ts'
import { forkShape } from '../../format/forkshape.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import { openInode } from '../../inode/inode.ts'
import { ExtentSet } from '../../util/extentset.ts'
import { sameBytes } from '../../util/samebytes.ts'
import type { Volume } from '../../volume.ts'
import { readInodeBytes } from '../rawforks.ts'
import { chainOf } from './chain.ts'
import { isInUse } from './found.ts'
import { forkMaps } from './maps.ts'

/** An attribute with its value. */
export interface FoundAttr extends AttrKey {
  readonly value: Uint8Array
}

/**
 * The attributes of an inode that are sound: in a leaf, an entry whose hash is that of the name and
 * whose value can be read. One that is not is lost, without the others.
 */
export function salvageAttributes(device: Device, volume: Volume, inodes: Inodes, slot: number): FoundAttr[] {
  const { geometry } = inodes
  const ino = inodes.ino(slot)
  const view = readInodeBytes(device, geometry, ino)
  const { dataSize, attrSize } = forkShape(view, 0, geometry)
  const local = attrSize > 0 && Dinode.fields.aformat.get(view, 0) === FORK_FORMATS.local
  const found = local
    ? [...shortAttributes(view, geometry.coresize + dataSize, attrSize)]
    : [...leafAttributes(device, volume, inodes, slot)]
  const seen = new Set<string>()
  return found.filter((attr) => {
    const key = keyText(attr)
    const kept = isSound(attr) && !seen.has(key)
    seen.add(key)
    return kept
  })
}

const keyText = ({ space, name, value }: FoundAttr): string =>
  [space, ...name, ...(space === AttrFlags.parent ? ['=', ...value] : [])].join()

function isSound({ space, name, value }: FoundAttr): boolean {
  if (name.length === 0 || name.includes(0)) return false
  if (space === AttrFlags.parent) return value.length === ParentRec.size && !name.includes(SLASH)
  if (space !== AttrFlags.root || !ACL_NAMES.some((acl) => sameBytes(acl, name))) return true
  return succeeds(() => aclFromDisk(value)) !== undefined
}
const SLASH = 0x2f
const ACL_NAMES = Object.values(aclKeys).map((key) => key.name)

function succeeds<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof XfsError) || error.code === 'IO') throw error
    return undefined
  }
}

/** At most one namespace, which is a defined one. */
const isSpace = (flags: number): boolean => (flags & ~ATTR_NAMESPACES) === 0 && (flags & (flags - 1)) === 0

function* shortAttributes(view: DataView, at: number, size: number): Generator<FoundAttr> {
  if (size < AttrSfHdr.size) return
  const { namelen, valuelen, root } = AttrSfEntryHead.fields
  const spaceAt = (next: number): number => view.getUint8(next + root.offset) & ATTR_NAMESPACES
  const sizeAt = (end: number) => (next: number) => {
    if (next + AttrSfEntryHead.size > end || namelen.get(view, next) === 0) return 0
    const length = attrSfEntrySize(namelen.get(view, next), valuelen.get(view, next))
    return isSpace(spaceAt(next)) && next + length <= end ? length : 0
  }
  const from = at + AttrSfHdr.size
  const stated = Math.min(at + Math.max(attrSfSize(view, at), AttrSfHdr.size), at + size)
  const end = endOfCount(from, at + size, AttrSfHdr.fields.count.get(view, at), sizeAt(at + size)) ?? stated
  for (const { at: next, valid } of chainOf(from, end, 1, sizeAt(end))) {
    if (!valid) continue
    const head = next + AttrSfEntryHead.size
    const length = namelen.get(view, next)
    yield {
      space: spaceAt(next),
      name: bytesAt(view, head, length).slice(),
      value: bytesAt(view, head + length, valuelen.get(view, next)).slice(),
    }
  }
}

/** The end of `count` valid items; undefined if there are fewer. */
function endOfCount(from: number, most: number, count: number, sizeAt: (at: number) => number): number | undefined {
  let at = from
  for (let i = 0; i < count; i++) {
    const size = at < most ? sizeAt(at) : 0
    if (size === 0) return undefined
    at += size
  }
  return at
}

function* leafAttributes(device: Device, volume: Volume, inodes: Inodes, slot: number): Generator<FoundAttr> {
  const { geometry } = inodes
  const inode = succeeds(() => openInode(volume, inodes.ino(slot)))
  const taken = new ExtentSet()
  for (const view of leafBlocks(device, geometry, inodes, slot)) {
    for (const item of leafItems(volume, view)) {
      const key = { space: item.flags & ATTR_NAMESPACES, name: item.name.slice() }
      if (item.local) {
        yield { ...key, value: item.value.slice() }
        continue
      }
      const { valueblk, valuelen } = item
      const blocks = attrRemoteBlocks(valuelen, geometry.blocksize)
      const value = inode && succeeds(() => readRemoteValue(inode, valueblk, valuelen, volume))
      if (!value || taken.overlaps(valueblk, blocks)) continue
      taken.add(valueblk, blocks)
      yield { ...key, value }
    }
  }
}

/** The leaves of an attribute fork: blocks with their magic number, and their owner or address. */
function* leafBlocks(device: Device, geometry: Geometry, inodes: Inodes, slot: number): Generator<DataView> {
  const { blocksize } = geometry
  const seen = new Set<number>()
  for (const { fsbno, count } of forkMaps(inodes, slot, 'attr')) {
    for (let i = 0; i < count; i++) {
      const daddr = geometry.fsbToDaddr(fsbno + i)
      if (seen.has(daddr)) continue
      seen.add(daddr)
      const view = new DataView(new ArrayBuffer(blocksize))
      device.read(new Uint8Array(view.buffer), daddr * BASIC_BLOCK)
      if (DaBlkinfo.fields.magic.get(view, 0) !== ATTR3_LEAF_MAGIC) continue
      const owner = Da3Blkinfo.fields.owner.get(view, 0)
      const other = owner !== inodes.ino(slot) && isInUse(inodes, inodes.slot(owner))
      if (!other || Da3Blkinfo.fields.bno.get(view, 0) === daddr) yield view
    }
  }
}

/** The complete entries of a leaf whose hash is right, up to the first name. */
function* leafItems({ features }: Volume, view: DataView): Generator<AttrLeafItem> {
  const hashName = dirHash(features)
  const { count } = Attr3LeafHdr.fields
  let end = view.byteLength
  for (let i = 0; Attr3LeafHdr.size + AttrLeafEntry.size * (i + 1) <= end; i++) {
    count.set(view, 0, i + 1)
    const item = succeeds(() => attrLeafItem(view, i))
    if (!item || (item.flags & AttrFlags.incomplete) !== 0 || !isSpace(item.flags & ~AttrFlags.local)) continue
    const hash = attrEntryHash(item.flags, item.name, item.local ? item.value : NO_BYTES, hashName)
    if (hash !== item.hashval) continue
    end = Math.min(end, item.nameidx)
    yield item
  }
}
const NO_BYTES = new Uint8Array(0)
