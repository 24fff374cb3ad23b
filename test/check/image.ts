import { treeOps } from '../../src/btree/treeops.ts'
import { check } from '../../src/check/check.ts'
import type { Device } from '../../src/device/device.ts'
import { XfsError } from '../../src/errors.ts'
import { AG_SECTORS, Agf, Agfl, Agi } from '../../src/format/ag.ts'
import { Dinode } from '../../src/format/dinode.ts'
import { get64 } from '../../src/format/fields.ts'
import { BASIC_BLOCK, type Geometry } from '../../src/format/geometry.ts'
import { Superblock } from '../../src/format/sb.ts'
import type { AgTreeName } from '../../src/format/trees.ts'
import { maxRecords } from '../../src/format/treesizes.ts'
import type { BlockType } from '../../src/format/verify/blocktype.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { stamp, stampInode } from '../../src/format/verify/stamp.ts'
import { findRoots } from '../../src/roots/roots.ts'

/**
 * An image in memory, for reading and for damaging. Every change gets a correct checksum unless
 * requested otherwise.
 */

export function bytesDevice(bytes: Uint8Array): Device {
  const inside = (position: number, length: number): void => {
    if (position < 0 || position + length > bytes.length)
      throw new XfsError('IO', `beyond the end: ${position}+${length}`)
  }
  return {
    size: bytes.length,
    readOnly: false,
    read: (into, position) => {
      inside(position, into.length)
      into.set(bytes.subarray(position, position + into.length))
    },
    write: (from, position) => {
      inside(position, from.length)
      bytes.set(from, position)
    },
    zero: (position, length) => void bytes.fill(0, position, position + length),
    flush: () => {},
    close: () => {},
  }
}

const headerStructs = { sb: Superblock, agf: Agf, agi: Agi, agfl: Agfl } as const
export type HeaderName = keyof typeof headerStructs

const recordSizes: Readonly<Record<AgTreeName, number>> = {
  bnobt: 8,
  cntbt: 8,
  inobt: 16,
  finobt: 16,
  rmapbt: 24,
  refcountbt: 12,
}
const keySizes: Readonly<Record<AgTreeName, number>> = {
  bnobt: 8,
  cntbt: 8,
  inobt: 4,
  finobt: 4,
  rmapbt: 40,
  refcountbt: 4,
}

/** The place of a record in a leaf. */
export interface Place {
  readonly agbno: number
  readonly view: DataView
  readonly at: number
  readonly index: number
  readonly count: number
}

export class Image {
  bytes: Uint8Array
  device: Device
  readonly geometry: Geometry

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.device = bytesDevice(bytes)
    this.geometry = findRoots(this.device).geometry
  }

  check(): ReturnType<typeof check> {
    const roots = findRoots(this.device)
    return check(roots.device, roots.geometry, undefined, roots)
  }

  /** Cut off the end. */
  truncate(length: number): void {
    this.bytes = this.bytes.slice(0, length)
    this.device = bytesDevice(this.bytes)
  }

  view(position: number, length: number): DataView {
    return new DataView(this.bytes.buffer, this.bytes.byteOffset + position, length)
  }

  // --------------------------------------------------------------------------------------- headers

  header(agno: number, name: HeaderName): DataView {
    return this.view(this.geometry.agHeaderDaddr(agno, AG_SECTORS[name]) * BASIC_BLOCK, this.geometry.sectsize)
  }

  stampHeader(agno: number, name: HeaderName): void {
    stamp(blockTypes[name], this.header(agno, name), {
      geometry: this.geometry,
      daddr: this.geometry.agHeaderDaddr(agno, AG_SECTORS[name]),
    })
  }

  /** Change a numeric field of a header. */
  setHeader(agno: number, name: HeaderName, field: string, change: (value: number) => number): void {
    const view = this.header(agno, name)
    const declared = (
      headerStructs[name].fields as unknown as Record<
        string,
        { get(v: DataView, at: number): number; set(v: DataView, at: number, x: number): void }
      >
    )[field]
    if (!declared) throw new Error(`${name} has no ${field}`)
    declared.set(view, 0, change(declared.get(view, 0)))
    this.stampHeader(agno, name)
  }

  /** Change the AGFL slot that is `index` slots after the first in use. */
  setAgfl(agno: number, index: number, change: (agbno: number) => number): void {
    const first = Agf.fields.flfirst.get(this.header(agno, 'agf'), 0)
    const view = this.header(agno, 'agfl')
    const at = Agfl.size + 4 * (first + index)
    view.setUint32(at, change(view.getUint32(at)))
    this.stampHeader(agno, 'agfl')
  }

  // ----------------------------------------------------------------------------------------- trees

  block(agno: number, agbno: number): DataView {
    return this.view(this.geometry.daddr(agno, agbno) * BASIC_BLOCK, this.geometry.blocksize)
  }

  stampBlock(type: BlockType, agno: number, agbno: number): void {
    stamp(type, this.block(agno, agbno), { geometry: this.geometry, daddr: this.geometry.daddr(agno, agbno) })
  }

  root(name: AgTreeName, agno = 0): number {
    const agf = this.header(agno, 'agf')
    const agi = this.header(agno, 'agi')
    switch (name) {
      case 'bnobt': return Agf.fields.bnoroot.get(agf, 0)
      case 'cntbt': return Agf.fields.cntroot.get(agf, 0)
      case 'rmapbt': return Agf.fields.rmaproot.get(agf, 0)
      case 'refcountbt': return Agf.fields.refcntroot.get(agf, 0)
      case 'inobt': return Agi.fields.root.get(agi, 0)
      case 'finobt': return Agi.fields.free_root.get(agi, 0)
    } // biome-ignore format: a table
  }

  /** The offsets of keys and pointers of a node. */
  nodePlace(name: AgTreeName, index: number): { readonly key: number; readonly ptr: number } {
    const header = this.geometry.shortHeader
    const stride = keySizes[name]
    return { key: header + index * stride, ptr: header + maxRecords(this.geometry, name, 1) * stride + index * 4 }
  }

  /** The leaves of a tree, from left to right. */
  leaves(name: AgTreeName, agno = 0): number[] {
    let agbno = this.root(name, agno)
    for (let view = this.block(agno, agbno); view.getUint16(4) > 0; view = this.block(agno, agbno)) {
      agbno = view.getUint32(this.nodePlace(name, 0).ptr)
    }
    const leaves: number[] = []
    for (; agbno !== 0xffffffff; agbno = this.block(agno, agbno).getUint32(12)) leaves.push(agbno)
    return leaves
  }

  /** All records, from left to right. */
  *records(name: AgTreeName, agno = 0): Generator<Place> {
    for (const agbno of this.leaves(name, agno)) {
      const view = this.block(agno, agbno)
      const count = view.getUint16(6)
      for (let index = 0; index < count; index++) {
        yield { agbno, view, at: this.geometry.shortHeader + index * recordSizes[name], index, count }
      }
    }
  }

  /** The first record that fits and is not the last in its leaf. */
  find(name: AgTreeName, fits: (view: DataView, at: number, place: Place) => boolean, agno = 0): Place {
    for (const place of this.records(name, agno)) {
      if (place.index === place.count - 1) continue
      if (fits(place.view, place.at, place)) return place
    }
    throw new Error(`no such record in ${name}`)
  }

  /** Write the checksum of a leaf, and the keys above it in a tree of two levels. */
  stampLeaf(name: AgTreeName, { agbno }: { readonly agbno: number }, agno = 0): void {
    this.stampBlock(blockTypes[name], agno, agbno)
    const root = this.root(name, agno)
    const index = this.leaves(name, agno).indexOf(agbno)
    const view = this.block(agno, root)
    const leaf = this.block(agno, agbno)
    if (view.getUint16(4) !== 1 || index < 0 || agbno === root) return
    const ops = treeOps[name]
    const { key } = this.nodePlace(name, index)
    ops.copyKey(leaf, this.geometry.shortHeader, view, key)
    ops.high?.ofRecords(leaf, this.geometry.shortHeader, leaf.getUint16(6), ops.recSize, view, key + ops.keySize)
    this.stampBlock(blockTypes[name], agno, root)
  }

  edit(name: AgTreeName, place: Place, change: (view: DataView, at: number) => void, agno = 0): void {
    change(place.view, place.at)
    this.stampLeaf(name, place, agno)
  }

  remove(name: AgTreeName, place: Place, agno = 0): void {
    const size = recordSizes[name]
    const { view, at, index, count } = place
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    bytes.copyWithin(at, at + size, at + (count - index) * size)
    view.setUint16(6, count - 1)
    this.stampLeaf(name, place, agno)
  }

  /** Insert a record after another. */
  insertAfter(name: AgTreeName, place: Place, fill: (view: DataView, at: number) => void, agno = 0): void {
    const size = recordSizes[name]
    const { view, at, index, count } = place
    if (count >= maxRecords(this.geometry, name, 0)) throw new Error('the leaf is full')
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    bytes.copyWithin(at + 2 * size, at + size, at + (count - index) * size)
    bytes.copyWithin(at + size, at, at + size)
    fill(view, at + size)
    view.setUint16(6, count + 1)
    this.stampLeaf(name, place, agno)
  }

  // ---------------------------------------------------------------------------------------- inodes

  inode(ino: number): DataView {
    const { geometry } = this
    const agino = geometry.inoAgino(ino)
    const position =
      geometry.daddr(geometry.inoAgno(ino), geometry.aginoAgbno(agino)) * BASIC_BLOCK +
      geometry.aginoIndex(agino) * geometry.inodesize
    return this.view(position, geometry.inodesize)
  }

  editInode(ino: number, change: (view: DataView) => void): void {
    const view = this.inode(ino)
    change(view)
    stampInode(view, 0, this.geometry)
  }

  /** The first inode in use that fits. */
  findInode(fits: (view: DataView, ino: number) => boolean): number {
    const { inodes } = this.check().observation
    for (let slot = 0; slot < inodes.slots; slot++) {
      if (inodes.state.get(slot) !== 1 || inodes.mode.get(slot) === 0) continue
      const ino = inodes.ino(slot)
      if (fits(this.inode(ino), ino)) return ino
    }
    throw new Error('no such inode')
  }

  /** Blocks of a fork of a directory, a symbolic link, or of attributes. */
  forkBlocks(ino: number, attr = false): { readonly offset: number; readonly agno: number; readonly agbno: number }[] {
    const { inodes } = this.check().observation
    const { maps } = inodes
    const slot = inodes.slot(ino)
    const blocks: { offset: number; agno: number; agbno: number }[] = []
    for (let row = 0; row < maps.length; row++) {
      if (maps.slot.get(row) !== slot || (maps.fork.get(row) !== 0) !== attr) continue
      for (let i = 0; i < maps.count.get(row); i++) {
        const fsbno = maps.fsbno.get(row) + i
        blocks.push({
          offset: maps.offset.get(row) + i,
          agno: this.geometry.agnoOf(fsbno),
          agbno: this.geometry.agbnoOf(fsbno),
        })
      }
    }
    return blocks
  }

  /** Change the first block of a fork that fits. */
  editForkBlock(
    ino: number,
    type: BlockType,
    attr: boolean,
    fits: (offset: number, view: DataView) => boolean,
    change: (view: DataView) => void,
    withCrc = true,
  ): void {
    const { geometry } = this
    const directory = !attr && type !== blockTypes.symlink
    const blocks = directory ? geometry.dirblocks : 1
    const viewOf = (agno: number, agbno: number): DataView =>
      this.view(geometry.daddr(agno, agbno) * BASIC_BLOCK, blocks * geometry.blocksize)
    const found = this.forkBlocks(ino, attr).find(
      ({ offset, agno, agbno }) => offset % blocks === 0 && fits(offset, viewOf(agno, agbno)),
    )
    if (!found) throw new Error('no such block')
    const view = viewOf(found.agno, found.agbno)
    change(view)
    if (withCrc) stamp(type, view, { geometry, daddr: geometry.daddr(found.agno, found.agbno) })
  }

  /** The bmbt blocks directly below the root of an inode's data fork. */
  bmbtChildren(ino: number): { readonly fsbno: number; readonly ptrAt: number; readonly keyAt: number }[] {
    const view = this.inode(ino)
    const forkoff = view.getUint8(Dinode.fields.forkoff.offset) * 8
    const size = forkoff === 0 ? this.geometry.inodesize - this.geometry.coresize : forkoff
    const most = Math.floor((size - 4) / 16)
    const at = this.geometry.coresize
    return Array.from({ length: view.getUint16(at + 2) }, (_, i) => {
      const ptrAt = at + 4 + most * 8 + i * 8
      return { fsbno: get64(view, ptrAt), ptrAt, keyAt: at + 4 + i * 8 }
    })
  }

  editBmbt(fsbno: number, change: (view: DataView) => void, withCrc = true): void {
    const { geometry } = this
    const agno = geometry.agnoOf(fsbno)
    const agbno = geometry.agbnoOf(fsbno)
    change(this.block(agno, agbno))
    if (withCrc) this.stampBlock(blockTypes.bmbt, agno, agbno)
  }
}
