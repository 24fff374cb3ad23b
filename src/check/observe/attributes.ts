import { aclFromDisk, aclKeys } from '../../attr/acl.ts'
import { readRemoteValue } from '../../attr/remote.ts'
import type { Device } from '../../device/device.ts'
import { XfsError } from '../../errors.ts'
import {
  ATTR_NAMESPACES,
  Attr3LeafHdr,
  AttrFlags,
  AttrSfEntryHead,
  AttrSfHdr,
  attrEntryHash,
  attrRemoteBlocks,
} from '../../format/attr.ts'
import { attrLeafItems, attrSfEntries, attrSfSize } from '../../format/attrentries.ts'
import { dirHash } from '../../format/dir.ts'
import type { Geometry } from '../../format/geometry.ts'
import { blockTypes, resolveType } from '../../format/verify/blocktypes.ts'
import { type Inode, openInode } from '../../inode/inode.ts'
import { orderByU32, u8Column, u32Column } from '../../util/columns.ts'
import { ExtentSet } from '../../util/extentset.ts'
import { sameBytes } from '../../util/samebytes.ts'
import { Volume } from '../../volume.ts'
import { leafSpaceFault } from './attrleaf.ts'
import type { BlockFaults } from './blockfaults.ts'
import { HashTrees } from './dabtree.ts'
import type { Inodes } from './inodetable.ts'
import { ParentPointers } from './parents.ts'
import type { Scene } from './scene.ts'

/**
 * Extended attributes. Tests: blocks, hash trees, use of space, names, ACLs, and that no block
 * belongs to two values. Collects: the parent pointers.
 */
export class AttributeScan {
  readonly parents = new ParentPointers()
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #faults: BlockFaults
  readonly #hash: (name: Uint8Array) => number
  readonly #trees = new HashTrees(0)
  readonly #values = new RemoteValues()

  constructor({ device, geometry }: Scene, faults: BlockFaults) {
    this.#device = device
    this.#geometry = geometry
    this.#faults = faults
    this.#hash = dirHash(geometry.features)
  }

  /** Attributes inside the inode. */
  local(slot: number, ino: number, view: DataView, at: number, size: number): void {
    this.#faults.guard('attr.block', ino, () => {
      let end = AttrSfHdr.size
      for (const { at: start, size: length, flags, name, value } of attrSfEntries(view, at, size)) {
        end = start + length - at
        if (AttrSfEntryHead.nonzero(view, start) || (flags & (flags - 1)) !== 0)
          throw new XfsError('CORRUPT', `an attribute with flags 0x${flags.toString(16)}`)
        verifyName(flags, name)
        if ((flags & AttrFlags.parent) !== 0) this.#parent(slot, ino, name, value)
        else if (isAcl(flags, name)) aclFromDisk(value)
      }
      if (attrSfSize(view, at) !== end)
        throw new XfsError('CORRUPT', `totsize is ${attrSfSize(view, at)}, the entries end at ${end}`)
    })
  }

  block(slot: number, ino: number, offset: number, view: DataView, daddr: number): void {
    const faults = this.#faults
    const type = resolveType(blockTypes.da, view, this.#geometry)
    if (type !== blockTypes.attrLeaf && type !== blockTypes.daNode) {
      // Blocks of values are verified after all leaves are known.
      if (offset === 0) faults.bad('attr.block', ino, 0, 'unrecognized attr fork block')
      return
    }
    if (!faults.isSound('attr.block', type, ino, offset, view, daddr)) return
    if (type === blockTypes.daNode) {
      faults.report('attr.block', ino, offset, this.#trees.addNode(slot, offset, view))
      return
    }
    const count = Attr3LeafHdr.fields.count.get(view, 0)
    faults.report('attr.block', ino, offset, this.#trees.add(slot, offset, view, 0, Attr3LeafHdr.size, count))
    faults.guard('attr.block', ino, () => this.#leaf(slot, ino, offset, view))
  }

  #leaf(slot: number, ino: number, offset: number, view: DataView): void {
    for (const item of attrLeafItems(view)) {
      if ((item.flags & AttrFlags.incomplete) !== 0) continue
      const value = item.local ? item.value : NO_BYTES
      const hash = attrEntryHash(item.flags, item.name, value, this.#hash)
      if (hash !== item.hashval) {
        const reason = `entry ${item.index} has hash ${item.hashval}, expected ${hash}`
        this.#faults.bad('attr.block', ino, offset, reason)
      }
      verifyName(item.flags, item.name)
      if (!item.local) this.#values.add(slot, item.valueblk, item.valuelen, isAcl(item.flags, item.name))
      else if ((item.flags & AttrFlags.parent) !== 0) this.#parent(slot, ino, item.name, item.value)
      else if (isAcl(item.flags, item.name)) aclFromDisk(item.value)
    }
    this.#faults.report('attr.space', ino, offset, leafSpaceFault(view))
  }

  #parent(slot: number, ino: number, name: Uint8Array, value: Uint8Array): void {
    const fault = this.parents.add(slot, this.#hash(name), value)
    if (fault !== undefined) this.#faults.bad('attr.block', ino, 0, fault)
  }

  /** Compare the hash trees, for which all blocks are needed. */
  finish(inodes: Inodes): void {
    this.#trees.finish((slot, offset, reason) => {
      const ino = inodes.ino(slot)
      if (!this.#faults.broken.has(ino)) this.#faults.report('attr.block', ino, offset, reason)
    })
  }

  /**
   * Read remote values, inode by inode. Every block exists and belongs to the value, and no block
   * belongs to two values.
   */
  readValues(inodes: Inodes): void {
    if (this.#values.slot.length === 0) return
    const { slot: slotColumn, block, bytes, isAcl } = this.#values
    const volume = Volume.open(this.#device)
    const slots = slotColumn.filled()
    let slot = -1
    let inode: Inode | undefined
    let taken = new ExtentSet()
    for (const row of orderByU32(slots)) {
      const ino = inodes.ino(slots[row] as number)
      const start = block.get(row)
      const length = bytes.get(row)
      const blocks = attrRemoteBlocks(length, this.#geometry.blocksize)
      const readOne = (): void => {
        if (slots[row] !== slot) {
          inode = undefined
          slot = slots[row] as number
          taken = new ExtentSet()
          inode = openInode(volume, ino)
        }
        if (!inode) return
        if (taken.overlaps(start, blocks)) throw new XfsError('CORRUPT', 'it shares a block with another value')
        taken.add(start, blocks)
        const value = readRemoteValue(inode, start, length, volume)
        if (isAcl.get(row) === 1) aclFromDisk(value)
      }
      this.#faults.guard('attr.value', ino, readOne, start)
    }
  }
}

/** One row per remote value of a complete attribute. */
class RemoteValues {
  readonly slot = u32Column()
  readonly block = u32Column()
  readonly bytes = u32Column()
  /** The value must be an ACL. */
  readonly isAcl = u8Column()

  add(slot: number, block: number, bytes: number, acl: boolean): void {
    this.slot.push(slot)
    this.block.push(block)
    this.bytes.push(bytes)
    this.isAcl.push(acl ? 1 : 0)
  }
}

/** @throws XfsError CORRUPT if the name is invalid for an attribute */
function verifyName(flags: number, name: Uint8Array): void {
  if (name.includes(0)) throw new XfsError('CORRUPT', 'a zero byte in the name of an attribute')
  if ((flags & AttrFlags.parent) !== 0 && name.includes(SLASH))
    throw new XfsError('CORRUPT', 'a slash in the name of a parent pointer')
}
const SLASH = 0x2f

/** Must the value of this attribute be an ACL? */
const isAcl = (flags: number, name: Uint8Array): boolean =>
  (flags & ATTR_NAMESPACES) === AttrFlags.root && ACL_NAMES.some((acl) => sameBytes(acl, name))
const ACL_NAMES = Object.values(aclKeys).map((key) => key.name)

const NO_BYTES = new Uint8Array(0)
