import type { Device } from '../../device/device.ts'
import { entries, isDots } from '../../dir/read.ts'
import { XfsError } from '../../errors.ts'
import {
  DIR_ALIGN,
  DIR_DATA_START,
  DIR_FREE_OFFSET,
  DIR_FREE_TAG,
  DIR_LEAF_OFFSET,
  Dir3FreeHdr,
  DirBlockTail,
  DirDataEntryHead,
  DirDataUnusedHead,
  DirLeafEntry,
  DirSfHead,
  dirHash,
  FileTypes,
} from '../../format/dir.ts'
import {
  dataEnd,
  dataEntrySize,
  isBlockForm,
  leafBestSpan,
  leafEntriesSpan,
  longestFree,
  toAddress,
} from '../../format/dirblocks.ts'
import { sfEntries, sfHeaderSize, sfParent } from '../../format/dirshortform.ts'
import type { Geometry } from '../../format/geometry.ts'
import type { BlockType } from '../../format/verify/blocktype.ts'
import { blockTypes, resolveType } from '../../format/verify/blocktypes.ts'
import { openInode } from '../../inode/inode.ts'
import { f64Column, orderByU32, u8Column, u32Column } from '../../util/columns.ts'
import { Volume } from '../../volume.ts'
import type { Findings } from '../findings.ts'
import { mix } from '../mix.ts'
import type { BlockFaults } from './blockfaults.ts'
import { FreeIndex, HashTrees } from './dabtree.ts'
import type { Inodes } from './inodetable.ts'
import type { Scene } from './scene.ts'

/**
 * Directories. Tests: blocks, names, and that the hash index and the free index match the data
 * blocks. Collects: the entries (directory, inode, type, hash of the name), and the ".." of each
 * directory.
 */
export class DirectoryScan {
  /** One row per entry, without "." and "..". */
  readonly entryDir = u32Column()
  readonly entryIno = f64Column()
  readonly entryType = u8Column()
  readonly entryHash = u32Column()
  /** One row per directory: its "..". */
  readonly dotdotDir = u32Column()
  readonly dotdotIno = f64Column()
  /** The size derived from the content, by slot. */
  readonly sizes = new Map<number, number>()
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #findings: Findings
  readonly #faults: BlockFaults
  readonly #hash: (name: Uint8Array) => number
  readonly #hasFtype: boolean
  readonly #sums = new Map<number, IndexSum>()
  readonly #trees: HashTrees
  readonly #free = new FreeIndex()

  constructor({ device, geometry, findings }: Scene, faults: BlockFaults) {
    this.#device = device
    this.#geometry = geometry
    this.#findings = findings
    this.#faults = faults
    this.#hash = dirHash(geometry.features)
    this.#hasFtype = geometry.features.has('ftype')
    this.#trees = new HashTrees(DIR_LEAF_OFFSET / geometry.blocksize)
  }

  /** A shortform directory. */
  local(slot: number, ino: number, view: DataView, at: number, size: number): void {
    this.#faults.guard('dir.block', ino, () => {
      let end = at + sfHeaderSize(DirSfHead.fields.i8count.get(view, at))
      let offset = SF_FIRST_OFFSET
      for (const entry of sfEntries(view, at, size)) {
        // In block format the entry is written at this offset.
        if (entry.offset < offset || entry.offset % DIR_ALIGN !== 0)
          throw new XfsError(
            'CORRUPT',
            `an entry at ${entry.offset}, expected a multiple of ${DIR_ALIGN} from ${offset} on`,
          )
        offset = entry.offset + dataEntrySize(entry.name.length)
        if (isDots(entry.name)) this.#findings.add('dir.name', { ino, target: entry.ino })
        this.#entry(slot, ino, entry.ino, entry.ftype, this.#hash(entry.name), entry.name, 0, entry.name.length)
        end = entry.at + entry.size
      }
      const leaf = (DirSfHead.fields.count.get(view, at) + 2) * DirLeafEntry.size + DirBlockTail.size
      if (offset + leaf > this.#geometry.dirblocksize)
        throw new XfsError('CORRUPT', `its entries end at ${offset}, more than a block can hold`)
      this.sizes.set(slot, end - at)
      this.#dotdot(slot, sfParent(view, at))
    })
  }

  /** A directory block; `offset` is its first file block. */
  block(slot: number, ino: number, offset: number, view: DataView, daddr: number): void {
    const place = offset * this.#geometry.blocksize
    const type =
      place < DIR_LEAF_OFFSET ? blockTypes.dir3 : place < DIR_FREE_OFFSET ? blockTypes.da : blockTypes.dirFree
    if (!this.#faults.isSound('dir.block', type, ino, offset, view, daddr)) return
    if (type === blockTypes.dirFree) {
      const { firstdb, nvalid } = Dir3FreeHdr.decode(view, 0)
      this.#free.values(slot, firstdb, view, Dir3FreeHdr.size, nvalid)
    } else if (type === blockTypes.dir3) {
      this.#dataBlock(slot, ino, offset / this.#geometry.dirblocks, view)
      if (isBlockForm(view)) this.#leafBlock(slot, view)
    } else this.#indexBlock(slot, ino, offset, view, resolveType(type, view, this.#geometry))
  }

  /** A block of the hash index of a directory. */
  #indexBlock(slot: number, ino: number, offset: number, view: DataView, type: BlockType | undefined): void {
    if (type === blockTypes.daNode) {
      this.#faults.report('dir.block', ino, offset, this.#trees.addNode(slot, offset, view))
      return
    }
    this.#leafBlock(slot, view)
    if (type === blockTypes.dirLeaf1) {
      const bests = leafBestSpan(view)
      this.#free.values(slot, 0, view, bests.at, bests.count)
    }
    const { at, count } = leafEntriesSpan(view)
    this.#faults.report('dir.block', ino, offset, this.#trees.add(slot, offset, view, 0, at, count))
  }

  #dataBlock(slot: number, ino: number, db: number, view: DataView): void {
    if (!isBlockForm(view)) this.#free.block(slot, db, longestFree(view))
    const end = dataEnd(view)
    this.sizes.set(slot, Math.max(this.sizes.get(slot) ?? 0, (db + 1) * view.byteLength))
    const sum = this.#sum(slot)
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    for (let at = DIR_DATA_START; at < end; ) {
      if (unused.freetag.get(view, at) === DIR_FREE_TAG) {
        at += unused.length.get(view, at)
        continue
      }
      const length = head.namelen.get(view, at)
      const target = head.inumber.get(view, at)
      const start = at + DirDataEntryHead.size
      const hash = this.#hash(bytes.subarray(start, start + length))
      sum.add(hash, toAddress(db, at, view.byteLength), 1)
      const dot = length <= 2 && isDots(bytes.subarray(start, start + length))
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

  /** The hash index in a leaf, or at the end of a block format directory. */
  #leafBlock(slot: number, view: DataView): void {
    const sum = this.#sum(slot)
    const span = leafEntriesSpan(view)
    let last = 0
    for (let i = 0, at = span.at; i < span.count; i++, at += DirLeafEntry.size) {
      const hash = leafEntry.hashval.get(view, at)
      const address = leafEntry.address.get(view, at)
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
    for (let i = start; i < start + length && !bad; i++) bad = bytes[i] === 0 || bytes[i] === SLASH
    if (bad) this.#findings.add('dir.name', { ino: dir, target })
    this.entryDir.push(slot)
    this.entryIno.push(target)
    this.entryType.push(ftype)
    this.entryHash.push(hash)
  }

  #dotdot(slot: number, parent: number): void {
    this.dotdotDir.push(slot)
    this.dotdotIno.push(parent)
  }

  /** Compare names with each other, and indexes with entries. All blocks are needed for that. */
  finish(inodes: Inodes): void {
    this.#duplicates(inodes)
    for (const [slot, sum] of this.#sums) {
      const ino = inodes.ino(slot)
      if (sum.unordered) this.#findings.add('dir.index', { ino, reason: 'its hash index is out of order' })
      else if (!sum.balanced && !this.#faults.blind)
        this.#findings.add('dir.index', { ino, reason: 'its hash index does not match its entries' })
    }
    const report = (slot: number, offset: number, reason: string): void => {
      const ino = inodes.ino(slot)
      if (!this.#faults.broken.has(ino)) this.#faults.report('dir.block', ino, offset, reason)
    }
    this.#trees.finish(report)
    this.#free.finish(report)
  }

  /**
   * Find duplicate names. Directories with two names of one hash value are read again, to compare
   * the names.
   */
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
      if (this.#faults.broken.has(ino)) continue
      this.#faults.guard('dir.block', ino, () => {
        const names = new Set<string>()
        for (const { name, ino: target } of entries(openInode(volume, ino))) {
          const text = String.fromCharCode(...name)
          if (names.has(text)) this.#findings.add('dir.duplicate', { ino, target })
          names.add(text)
        }
      })
    }
  }
}

const head = DirDataEntryHead.fields
const unused = DirDataUnusedHead.fields
const leafEntry = DirLeafEntry.fields
const SLASH = 0x2f
/** The offset of ".." in the first data block. */
const DIR_DOTDOT = DIR_DATA_START + dataEntrySize(1)
/** The offset of the first entry in a data block, after "." and "..". */
const SF_FIRST_OFFSET = DIR_DOTDOT + dataEntrySize(2)

/** Entries added and removed, in any order: the sum is zero if both are the same. */
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
