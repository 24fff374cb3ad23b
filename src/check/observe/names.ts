import { aclFromDisk, aclKeys } from '../../attr/acl.ts'
import { readRemoteValue } from '../../attr/remote.ts'
import type { Device } from '../../device/device.ts'
import { orderByPosition, readBlocks } from '../../device/readblocks.ts'
import { entries, isDots } from '../../dir/read.ts'
import { XfsError } from '../../errors.ts'
import {
  ATTR_NAMESPACES,
  Attr3LeafHdr,
  AttrFlags,
  AttrSfHdr,
  attrEntryHash,
  attrLeafItems,
  attrRemoteBlocks,
  attrSfEntries,
  attrSfSize,
  ParentRec,
} from '../../format/attr.ts'
import {
  DA3_HEADER_SIZE,
  Da3NodeHdr,
  DIR_DATA_START,
  DIR_FREE_OFFSET,
  DIR_LEAF_OFFSET,
  Dir3FreeHdr,
  DirLeafEntry,
  DirSfHead,
  dataEnd,
  dataEntrySize,
  dirHash,
  FileTypes,
  isBlockForm,
  leafEntriesSpan,
  sfEntries,
  sfHeaderSize,
  sfParent,
  toAddress,
} from '../../format/dir.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import type { LogHead } from '../../format/lsn.ts'
import { SYMLINK_MAXLEN, SymlinkHdr } from '../../format/symlink.ts'
import type { BlockType } from '../../format/verify/blocktype.ts'
import { blockOwner, blockTypes, resolveType } from '../../format/verify/blocktypes.ts'
import { verify } from '../../format/verify/verify.ts'
import { type Inode, openInode } from '../../inode/inode.ts'
import { readSymlink } from '../../symlink.ts'
import { f64Column, orderByU32, orderTies, u8Column, u32Column } from '../../util/columns.ts'
import { ExtentSet } from '../../util/extentset.ts'
import { sameBytes } from '../../util/samebytes.ts'
import { Volume } from '../../volume.ts'
import { ATTR_FORK } from '../extents.ts'
import type { Findings } from '../findings.ts'
import { leafSpaceFault } from './attrleaf.ts'
import { FreeIndex, HashTrees, type Report } from './dabtree.ts'
import { type ForkVisitor, type Inodes, S_IFDIR, S_IFLNK, S_IFMT } from './inodetable.ts'
import type { Scene } from './scene.ts'

/**
 * Directories, attributes and symbolic links. Tests: every block's identity, checksum and rules, names, and that the hash index of a
 * directory has just the entries that its data blocks have. Collects: the entries (directory, inode, type, hash of the name), what each
 * directory says is its parent, and the parent pointers.
 */
export class NameScan implements ForkVisitor {
  /** One row an entry, without "." and "..". */
  readonly entryDir = u32Column()
  readonly entryIno = f64Column()
  readonly entryType = u8Column()
  readonly entryHash = u32Column()
  /** One row a directory: what its ".." says. */
  readonly dotdotDir = u32Column()
  readonly dotdotIno = f64Column()
  /** One row a parent pointer: the child, and what it points to. */
  readonly parentChild = u32Column()
  readonly parentIno = f64Column()
  readonly parentGen = u32Column()
  readonly parentHash = u32Column()
  /** Names are missing: links cannot be counted. */
  blind = false
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #head: LogHead
  readonly #findings: Findings
  readonly #hash: (name: Uint8Array) => number
  readonly #hasFtype: boolean
  readonly #sums = new Map<number, IndexSum>()
  /** Inodes with blocks that cannot be read: what leads to them is not looked at. */
  readonly #broken = new Set<number>()
  readonly #dirTrees: HashTrees
  readonly #attrTrees = new HashTrees(0)
  readonly #free = new FreeIndex()
  /** The size that the content of a directory or symbolic link says, by slot. */
  readonly #sizes = new Map<number, number>()
  /** Symbolic links whose targets are in blocks, each of which is sound. */
  readonly #links = new Set<number>()
  /** One row a remote value of a complete attribute. */
  readonly #valueSlot = u32Column()
  readonly #valueBlk = u32Column()
  readonly #valueLen = u32Column()
  /** Whether it must be an access control list. */
  readonly #valueAcl = u8Column()

  constructor({ device, geometry, head, findings }: Scene) {
    this.#device = device
    this.#geometry = geometry
    this.#head = head
    this.#findings = findings
    this.#hash = dirHash(geometry.features)
    this.#hasFtype = geometry.features.has('ftype')
    this.#dirTrees = new HashTrees(DIR_LEAF_OFFSET / geometry.blocksize)
  }

  localData(slot: number, ino: number, mode: number, view: DataView, at: number, size: number): void {
    if ((mode & S_IFMT) === S_IFLNK && new Uint8Array(view.buffer, view.byteOffset + at, size).includes(0))
      this.#bad('symlink.block', ino, 0, ZERO_IN_TARGET)
    if ((mode & S_IFMT) !== S_IFDIR) return
    this.#guard('dir.block', ino, () => {
      let end = at + sfHeaderSize(DirSfHead.fields.i8count.get(view, at))
      let offset = SF_FIRST_OFFSET
      for (const entry of sfEntries(view, at, size)) {
        if (entry.offset < offset)
          throw new XfsError('CORRUPT', `an entry at ${entry.offset}, expected ${offset} or more`)
        offset = entry.offset + dataEntrySize(entry.name.length)
        if (isDots(entry.name)) this.#findings.add('dir.name', { ino, target: entry.ino })
        this.#entry(slot, ino, entry.ino, entry.ftype, this.#hash(entry.name), entry.name, 0, entry.name.length)
        end = entry.at + entry.size
      }
      const leaf = (DirSfHead.fields.count.get(view, at) + 2) * DirLeafEntry.size + DIR_BLOCK_TAIL
      if (offset + leaf > this.#geometry.dirblocksize)
        throw new XfsError('CORRUPT', `its entries end at ${offset}, which no block has room for`)
      this.#sizes.set(slot, end - at)
      this.#dotdot(slot, sfParent(view, at))
    })
  }

  localAttr(slot: number, ino: number, view: DataView, at: number, size: number): void {
    this.#guard('attr.block', ino, () => {
      let end = AttrSfHdr.size
      for (const { at: start, size: length, flags, name, value } of attrSfEntries(view, at, size)) {
        end = start + length - at
        if ((flags & ~ATTR_NAMESPACES) !== 0 || (flags & (flags - 1)) !== 0)
          throw new XfsError('CORRUPT', `an attribute with flags 0x${flags.toString(16)}`)
        verifyAttrName(flags, name)
        if ((flags & AttrFlags.parent) !== 0) this.#parent(slot, ino, name, value)
        else if (isAcl(flags, name)) aclFromDisk(value)
      }
      if (attrSfSize(view, at) !== end)
        throw new XfsError('CORRUPT', `a list of ${attrSfSize(view, at)} bytes, whose entries end at ${end}`)
    })
  }

  /** Read the blocks that the forks map. */
  readMaps(inodes: Inodes): void {
    const { dirblocks, blocksize } = this.#geometry
    const { maps } = inodes
    const repeated = this.#repeatedMaps(inodes)
    const slots = u32Column()
    const offsets = f64Column()
    const positions = f64Column()
    const wide: number[] = []
    const readAll = (): void => {
      const where = positions.filled()
      readBlocks(this.#device, blocksize, where, orderByPosition(where), (view, at, row) => {
        const slot = slots.get(row)
        const offset = offsets.get(row)
        const block = new DataView(view.buffer, view.byteOffset + at, blocksize)
        const daddr = (where[row] as number) / BASIC_BLOCK
        if (offset < 0) this.#attrBlock(slot, inodes.ino(slot), -1 - offset, block, daddr)
        else if ((inodes.mode.get(slot) & S_IFMT) === S_IFLNK) this.#linkBlock(slot, inodes.ino(slot), block, daddr)
        else this.#dirBlock(slot, inodes.ino(slot), offset, block, daddr)
      })
      for (const column of [slots, offsets, positions]) column.length = 0
    }
    for (let row = 0; row < maps.length; row++) {
      if (repeated[row] === 1) continue
      const slot = maps.slot.get(row)
      const directory = maps.fork.get(row) !== ATTR_FORK && (inodes.mode.get(slot) & S_IFMT) === S_IFDIR
      if (directory && dirblocks > 1) {
        wide.push(row)
        continue
      }
      if (maps.fork.get(row) !== ATTR_FORK && maps.count.get(row) > 1 && (inodes.mode.get(slot) & S_IFMT) === S_IFLNK) {
        this.#linkExtent(slot, inodes.ino(slot), maps.fsbno.get(row), maps.count.get(row))
        continue
      }
      for (let i = 0; i < maps.count.get(row); i++) {
        slots.push(slot)
        // The sign tells the fork: −1 − offset in an attribute fork.
        const offset = maps.offset.get(row) + i
        offsets.push(maps.fork.get(row) === ATTR_FORK ? -1 - offset : offset)
        positions.push(this.#geometry.fsbToDaddr(maps.fsbno.get(row) + i) * BASIC_BLOCK)
        if (positions.length === AT_ONCE) readAll()
      }
    }
    readAll()
    if (wide.length > 0) this.#readWide(inodes, wide)
    this.#finish(inodes)
  }

  /**
   * Of the rows of `maps` those (1) whose blocks another one of the fork maps too. They are not read: with a
   * few blocks mapped any number of times, a small image could ask for any amount of work.
   */
  #repeatedMaps(inodes: Inodes): Uint8Array {
    const { slot, fork, offset, fsbno, count } = inodes.maps
    const repeated = new Uint8Array(slot.length)
    const order = orderByU32(slot.filled())
    orderTies(
      order,
      slot.data,
      (a, b) => fork.get(a) - fork.get(b) || fsbno.get(a) - fsbno.get(b) || offset.get(a) - offset.get(b),
    )
    let last = order[0] ?? 0
    for (const row of order.subarray(1)) {
      const overlaps =
        slot.get(row) === slot.get(last) &&
        fork.get(row) === fork.get(last) &&
        fsbno.get(row) < fsbno.get(last) + count.get(last)
      if (overlaps) {
        repeated[row] = 1
        const reason = `it maps blocks that file block ${offset.get(last)} maps too`
        this.#bad(this.#problemOf(inodes, row), inodes.ino(slot.get(row)), offset.get(row), reason)
      } else last = row
    }
    return repeated
  }

  #problemOf({ maps, mode }: Inodes, row: number): BlockProblem {
    if (maps.fork.get(row) === ATTR_FORK) return 'attr.block'
    return (mode.get(maps.slot.get(row)) & S_IFMT) === S_IFDIR ? 'dir.block' : 'symlink.block'
  }

  /** Directory blocks of several blocks, each of which may be anywhere. */
  #readWide(inodes: Inodes, rows: readonly number[]): void {
    const { dirblocks, blocksize } = this.#geometry
    const { maps } = inodes
    /** Addresses of the parts, by slot and number of the directory block. */
    const parts = new Map<string, { slot: number; offset: number; daddrs: number[] }>()
    for (const row of rows) {
      for (let i = 0; i < maps.count.get(row); i++) {
        const offset = maps.offset.get(row) + i
        const first = offset - (offset % dirblocks)
        const key = `${maps.slot.get(row)} ${first}`
        let block = parts.get(key)
        if (!block) {
          block = { slot: maps.slot.get(row), offset: first, daddrs: [] }
          parts.set(key, block)
        }
        block.daddrs[offset - first] = this.#geometry.fsbToDaddr(maps.fsbno.get(row) + i)
      }
    }
    const bytes = new Uint8Array(dirblocks * blocksize)
    for (const { slot, offset, daddrs } of parts.values()) {
      const ino = inodes.ino(slot)
      let whole = true
      for (let i = 0; i < dirblocks; i++) {
        const daddr = daddrs[i]
        if (daddr === undefined) whole = false
        else this.#device.read(bytes.subarray(i * blocksize, (i + 1) * blocksize), daddr * BASIC_BLOCK)
      }
      if (whole) this.#dirBlock(slot, ino, offset, new DataView(bytes.buffer), daddrs[0] as number)
      else this.#bad('dir.block', ino, offset, `only ${Object.keys(daddrs).length} of ${dirblocks} parts have blocks`)
    }
  }

  // ------------------------------------------------------------------------------------------------------ directories

  #dirBlock(slot: number, ino: number, offset: number, view: DataView, daddr: number): void {
    const place = offset * this.#geometry.blocksize
    const type =
      place < DIR_LEAF_OFFSET ? blockTypes.dir3 : place < DIR_FREE_OFFSET ? blockTypes.da : blockTypes.dirFree
    if (!this.#sound('dir.block', type, ino, offset, view, daddr)) {
      this.blind = true
      return
    }
    if (type === blockTypes.dirFree) {
      const { firstdb, nvalid } = Dir3FreeHdr.decode(view, 0)
      this.#free.values(slot, firstdb, view, Dir3FreeHdr.size, nvalid)
    } else if (type === blockTypes.dir3) {
      this.#dataBlock(slot, ino, offset / this.#geometry.dirblocks, view)
      if (isBlockForm(view)) this.#leafBlock(slot, view)
    } else this.#indexBlock(slot, ino, offset, view, resolveType(type, view, this.#geometry))
  }

  /** Of the hash index of a directory. */
  #indexBlock(slot: number, ino: number, offset: number, view: DataView, type: BlockType | undefined): void {
    if (type === blockTypes.daNode) {
      this.#addNode(this.#dirTrees, 'dir.block', slot, ino, offset, view)
      return
    }
    this.#leafBlock(slot, view)
    if (type === blockTypes.dirLeaf1) {
      const count = view.getUint32(view.byteLength - 4)
      this.#free.values(slot, 0, view, view.byteLength - 4 - 2 * count, count)
    }
    const { at, count } = leafEntriesSpan(view)
    this.#tell('dir.block', ino, offset, this.#dirTrees.add(slot, offset, view, 0, at, count))
  }

  #addNode(
    trees: HashTrees,
    id: 'dir.block' | 'attr.block',
    slot: number,
    ino: number,
    offset: number,
    view: DataView,
  ): void {
    const level = Da3NodeHdr.fields.level.get(view, 0)
    this.#tell(
      id,
      ino,
      offset,
      trees.add(slot, offset, view, level, DA3_HEADER_SIZE, Da3NodeHdr.fields.count.get(view, 0)),
    )
  }

  #tell(id: BlockProblem, ino: number, offset: number, reason: string | undefined): void {
    if (reason !== undefined) this.#findings.add(id, { ino, offset, reason })
  }

  #dataBlock(slot: number, ino: number, db: number, view: DataView): void {
    if (!isBlockForm(view)) this.#free.block(slot, db, view.getUint16(DIR_LONGEST_FREE))
    const end = dataEnd(view)
    this.#sizes.set(slot, Math.max(this.#sizes.get(slot) ?? 0, (db + 1) * view.byteLength))
    const sum = this.#sum(slot)
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    for (let at = DIR_DATA_START; at < end; ) {
      if (view.getUint16(at) === 0xffff) {
        at += view.getUint16(at + 2)
        continue
      }
      const length = view.getUint8(at + 8)
      const target = view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4)
      const start = at + 9
      const hash = this.#hash(bytes.subarray(start, start + length))
      sum.add(hash, toAddress(db, at, view.byteLength), 1)
      const dot = length <= 2 && bytes[start] === 0x2e && (length === 1 || bytes[start + 1] === 0x2e)
      const ftype = view.getUint8(start + length)
      if (dot && this.#hasFtype && ftype !== FileTypes.directory)
        this.#findings.add('dir.ftype', { ino, target, found: ftype, expected: FileTypes.directory })
      if (dot && (db > 0 || at !== (length === 1 ? DIR_DATA_START : DIR_DOTDOT)))
        this.#findings.add('dir.name', { ino, target })
      else if (dot && length === 2) this.#dotdot(slot, target)
      else if (dot) {
        if (target !== ino) this.#findings.add('dir.dot', { ino, found: target })
      } else this.#entry(slot, ino, target, ftype, hash, bytes, start, length)
      at += dataEntrySize(length)
    }
  }

  /** The hash index in a leaf, or at the end of a block form directory. */
  #leafBlock(slot: number, view: DataView): void {
    const sum = this.#sum(slot)
    const { at, count } = leafEntriesSpan(view)
    let last = 0
    for (let i = 0; i < count; i++) {
      const hash = view.getUint32(at + 8 * i)
      const address = view.getUint32(at + 8 * i + 4)
      if (hash < last) sum.unordered = true
      last = hash
      if (address !== 0) sum.add(hash, address, -1)
    }
  }

  #sum(slot: number): IndexSum {
    let sum = this.#sums.get(slot)
    if (!sum) {
      sum = new IndexSum()
      this.#sums.set(slot, sum)
    }
    return sum
  }

  #entry(
    slot: number,
    dir: number,
    target: number,
    ftype: number,
    hash: number,
    bytes: Uint8Array,
    start: number,
    length: number,
  ): void {
    let bad = length === 0
    for (let i = start; i < start + length && !bad; i++) bad = bytes[i] === 0 || bytes[i] === 0x2f
    if (bad) this.#findings.add('dir.name', { ino: dir, target })
    this.entryDir.push(slot)
    this.entryIno.push(target)
    this.entryType.push(ftype)
    this.entryHash.push(hash)
  }

  /** Names that a directory has twice. Directories with two names of one hash value are read again, to compare the names themselves. */
  #duplicates(inodes: Inodes): void {
    const suspects = new Set<number>()
    const hashes = this.entryHash.filled()
    let run = new Set<number>()
    let last = -1
    for (const row of orderByU32(hashes)) {
      if (hashes[row] !== last) run = new Set()
      last = hashes[row] as number
      const slot = this.entryDir.get(row)
      if (run.has(slot)) suspects.add(slot)
      else run.add(slot)
    }
    if (suspects.size === 0) return
    const volume = Volume.open(this.#device)
    for (const slot of suspects) {
      const ino = inodes.ino(slot)
      if (this.#broken.has(ino)) continue
      this.#guard('dir.block', ino, () => {
        const names = new Set<string>()
        for (const { name, ino: target } of entries(openInode(volume, ino))) {
          const text = Buffer.from(name).toString('latin1')
          if (names.has(text)) this.#findings.add('dir.duplicate', { ino, target })
          names.add(text)
        }
      })
    }
  }

  #dotdot(slot: number, parent: number): void {
    this.dotdotDir.push(slot)
    this.dotdotIno.push(parent)
  }

  // ------------------------------------------------------------------------------------ attributes and symbolic links

  #attrBlock(slot: number, ino: number, offset: number, view: DataView, daddr: number): void {
    const type = resolveType(blockTypes.da, view, this.#geometry)
    if (type !== blockTypes.attrLeaf && type !== blockTypes.daNode) {
      // Blocks of values are verified when all leaves are known.
      if (offset === 0) this.#bad('attr.block', ino, 0, 'neither a leaf nor a node')
      return
    }
    if (!this.#sound('attr.block', type, ino, offset, view, daddr)) return
    if (type === blockTypes.daNode) {
      this.#addNode(this.#attrTrees, 'attr.block', slot, ino, offset, view)
      return
    }
    const count = Attr3LeafHdr.fields.count.get(view, 0)
    this.#tell('attr.block', ino, offset, this.#attrTrees.add(slot, offset, view, 0, Attr3LeafHdr.size, count))
    this.#guard('attr.block', ino, () => {
      for (const item of attrLeafItems(view)) {
        if ((item.flags & AttrFlags.incomplete) !== 0) continue
        const value = item.local ? item.value : undefined
        const hash = attrEntryHash(item.flags, item.name, value ?? NO_BYTES, this.#hash)
        if (hash !== item.hashval)
          this.#bad('attr.block', ino, offset, `entry ${item.index} has hash ${item.hashval}, expected ${hash}`)
        verifyAttrName(item.flags, item.name)
        if (!item.local) {
          this.#valueSlot.push(slot)
          this.#valueBlk.push(item.valueblk)
          this.#valueLen.push(item.valuelen)
          this.#valueAcl.push(isAcl(item.flags, item.name) ? 1 : 0)
        } else if ((item.flags & AttrFlags.parent) !== 0) this.#parent(slot, ino, item.name, item.value)
        else if (isAcl(item.flags, item.name)) aclFromDisk(item.value)
      }
      this.#tell('attr.space', ino, offset, leafSpaceFault(view))
    })
  }

  /** Remote values, inode by inode: every block is there and belongs to the value, and no block belongs to two of them. */
  #readValues(inodes: Inodes): void {
    if (this.#valueSlot.length === 0) return
    const volume = Volume.open(this.#device)
    const slots = this.#valueSlot.filled()
    let slot = -1
    let inode: Inode | undefined
    let taken = new ExtentSet()
    for (const row of orderByU32(slots)) {
      const ino = inodes.ino(slots[row] as number)
      const start = this.#valueBlk.get(row)
      const length = this.#valueLen.get(row)
      const blocks = attrRemoteBlocks(length, this.#geometry.blocksize)
      this.#guard(
        'attr.value',
        ino,
        () => {
          if (slots[row] !== slot) {
            inode = undefined
            slot = slots[row] as number
            taken = new ExtentSet()
            inode = openInode(volume, ino)
          }
          if (!inode) return
          if (taken.overlaps(start, blocks)) throw new XfsError('CORRUPT', 'another value has a block of it')
          taken.add(start, blocks)
          const value = readRemoteValue(inode, start, length, volume)
          if (this.#valueAcl.get(row) === 1) aclFromDisk(value)
        },
        start,
      )
    }
  }

  #parent(slot: number, ino: number, name: Uint8Array, value: Uint8Array): void {
    if (value.length !== ParentRec.size) {
      this.#bad('attr.block', ino, 0, `a parent pointer of ${value.length} bytes`)
      return
    }
    const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
    this.parentChild.push(slot)
    this.parentIno.push(ParentRec.fields.inumber.get(view, 0))
    this.parentGen.push(ParentRec.fields.gen.get(view, 0))
    this.parentHash.push(this.#hash(name))
  }

  /** In small blocks a target may need more than one; then an extent has one header. */
  #linkExtent(slot: number, ino: number, fsbno: number, count: number): void {
    const { blocksize, fsbToDaddr } = this.#geometry
    const blocks = Math.min(count, Math.ceil((2 * SYMLINK_MAXLEN) / blocksize))
    const bytes = new Uint8Array(blocks * blocksize)
    const daddr = fsbToDaddr(fsbno)
    this.#device.read(bytes, daddr * BASIC_BLOCK)
    this.#linkBlock(slot, ino, new DataView(bytes.buffer), daddr)
  }

  #linkBlock(slot: number, ino: number, view: DataView, daddr: number): void {
    if (!this.#sound('symlink.block', blockTypes.symlink, ino, 0, view, daddr)) return
    this.#sizes.set(slot, (this.#sizes.get(slot) ?? 0) + SymlinkHdr.fields.bytes.get(view, 0))
    this.#links.add(ino)
  }

  /** Targets outside of their inodes: the parts follow one another. */
  #readLinks(): void {
    if (this.#links.size === 0) return
    const volume = Volume.open(this.#device)
    for (const ino of this.#links) {
      if (this.#broken.has(ino)) continue
      this.#guard('symlink.block', ino, () => {
        if (readSymlink(openInode(volume, ino)).includes(0)) throw new XfsError('CORRUPT', ZERO_IN_TARGET)
      })
    }
  }

  // ------------------------------------------------------------------------------------------------------------- both

  /** A sound block of that type that belongs to the inode? */
  #sound(
    id: 'dir.block' | 'attr.block' | 'symlink.block',
    type: BlockType,
    ino: number,
    offset: number,
    view: DataView,
    daddr: number,
  ): boolean {
    const fault = verify(type, view, { geometry: this.#geometry, daddr })
    if (fault) {
      this.#bad(id, ino, offset, fault.field === undefined ? fault.message : `${fault.field}: ${fault.message}`)
      return false
    }
    const actual = resolveType(type, view, this.#geometry) ?? type
    const { lsnOffset } = actual
    if (lsnOffset !== undefined && this.#head.isAhead(view, lsnOffset)) {
      this.#findings.add('inode.lsn', { ino, reason: `file block ${offset}: ${this.#head.text(view, lsnOffset)}` })
    }
    const owner = blockOwner(actual, view)
    if (owner === undefined || owner === ino) return true
    this.#bad(id, ino, offset, `it belongs to inode ${owner}`)
    return false
  }

  #bad(id: BlockProblem, ino: number, offset: number, reason: string): void {
    this.#findings.add(id, { ino, offset, reason })
    this.#broken.add(ino)
    if (id === 'dir.block') this.blind = true
  }

  #guard(id: BlockProblem, ino: number, work: () => void, offset = 0): void {
    try {
      work()
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      this.#bad(id, ino, offset, error.message)
    }
  }

  #finish(inodes: Inodes): void {
    this.#duplicates(inodes)
    for (const [slot, sum] of this.#sums) {
      if (sum.unordered)
        this.#findings.add('dir.index', { ino: inodes.ino(slot), reason: 'its hash index is out of order' })
      else if (!sum.balanced && !this.blind)
        this.#findings.add('dir.index', {
          ino: inodes.ino(slot),
          reason: 'its hash index does not have just its entries',
        })
    }
    const report =
      (id: 'dir.block' | 'attr.block'): Report =>
      (slot, offset, reason) => {
        if (!this.#broken.has(inodes.ino(slot))) this.#tell(id, inodes.ino(slot), offset, reason)
      }
    this.#dirTrees.finish(report('dir.block'))
    this.#attrTrees.finish(report('attr.block'))
    this.#free.finish(report('dir.block'))
    for (const [slot, expected] of this.#sizes) {
      const found = inodes.size.get(slot)
      if (found !== expected && !this.blind)
        this.#findings.add('inode.count', { ino: inodes.ino(slot), field: 'core.size', found, expected })
    }
    this.#readValues(inodes)
    this.#readLinks()
  }
}

/** Blocks that are read in order of their position at a time. */
const AT_ONCE = 2 ** 20

/** Problems of one block of a file. */
type BlockProblem = 'dir.block' | 'attr.block' | 'attr.space' | 'attr.value' | 'symlink.block'

/** @throws XfsError CORRUPT where no attribute can have the name */
function verifyAttrName(flags: number, name: Uint8Array): void {
  if (name.includes(0)) throw new XfsError('CORRUPT', 'a zero byte in the name of an attribute')
  if ((flags & AttrFlags.parent) !== 0 && name.includes(SLASH))
    throw new XfsError('CORRUPT', 'a slash in the name of a parent pointer')
}
const SLASH = 0x2f

/** Must the value of this attribute be an access control list? */
const isAcl = (flags: number, name: Uint8Array): boolean =>
  (flags & ATTR_NAMESPACES) === AttrFlags.root && ACL_NAMES.some((acl) => sameBytes(acl, name))
const ACL_NAMES = Object.values(aclKeys).map((key) => key.name)

const ZERO_IN_TARGET = 'a zero byte in its target'
const NO_BYTES = new Uint8Array(0)
/** Where ".." is in the first data block. */
const DIR_DOTDOT = DIR_DATA_START + dataEntrySize(1)
/** Where the first entry would be in a data block, behind "." and "..". */
const SF_FIRST_OFFSET = DIR_DATA_START + dataEntrySize(1) + dataEntrySize(2)
/** Count and stale count at the end of a block form directory. */
const DIR_BLOCK_TAIL = 8
/** Length of the longest free space in the header of a data block. */
const DIR_LONGEST_FREE = 50

/** Entries added and taken away, in any order: it balances when both are the same. */
class IndexSum {
  unordered = false
  #count = 0
  #first = 0
  #second = 0

  add(hash: number, address: number, sign: 1 | -1): void {
    this.#count += sign
    this.#first = (this.#first + sign * mix(hash, address, 0x9e3779b1)) | 0
    this.#second = (this.#second + sign * mix(address, hash, 0x85ebca6b)) | 0
  }

  get balanced(): boolean {
    return this.#count === 0 && this.#first === 0 && this.#second === 0
  }
}

/** 32 bits that depend on all bits of both. */
export function mix(a: number, b: number, seed: number): number {
  let h = Math.imul(a ^ seed, 0xcc9e2d51)
  h = Math.imul(h ^ (h >>> 15) ^ b, 0x1b873593)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
