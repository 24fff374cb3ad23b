import type { Device } from '../../device/device.ts'
import { orderByPosition, readBlocks } from '../../device/readblocks.ts'
import { XfsError } from '../../errors.ts'
import { BmdrBlock } from '../../format/btblock.ts'
import { DIFLAGS, DIFLAGS2, DINODE_MAGIC, Dinode, FORK_FORMATS, INODES_PER_CHUNK } from '../../format/dinode.ts'
import { forkShape } from '../../format/forkshape.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import type { LogHead } from '../../format/lsn.ts'
import { verifyInodeFields } from '../../format/verify/inodes.ts'
import { crc32c } from '../../util/crc32c.ts'
import { ATTR_FORK, type Extents } from '../extents.ts'
import type { Findings } from '../findings.ts'
import { BmbtForest } from './bmbt.ts'
import { fieldFault } from './inoderules.ts'
import { type Chunk, type ForkVisitor, InodeFlag, InodeState, type Inodes, isHole } from './inodetable.ts'
import { MappingSink } from './mappings.ts'
import type { Scene } from './scene.ts'

const core = Dinode.fields
/** Offsets in an inode. */
const LSN = core.lsn.offset
const CRC = core.crc.offset
/** The word of flags2 that is in use. */
const FLAGS2_LOW = core.flags2.offset + 4

interface CoreFault {
  readonly field: string
  readonly message: string
  readonly crc: boolean
  /** It has the magic number and its own inode number. */
  readonly isInode: boolean
}

export class InodeScan {
  readonly inodes: Inodes
  readonly bmbt: BmbtForest
  /** Mappings of forks are missing. */
  blind = false
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #head: LogHead
  readonly #findings: Findings
  readonly #sink: MappingSink
  readonly #visitor: ForkVisitor
  readonly #faults: (CoreFault & { readonly slot: number })[] = []

  /** @param metadata, mappings  a table per AG, for bmbt blocks and for blocks that forks map */
  constructor(scene: Scene, metadata: readonly Extents[], mappings: readonly Extents[], visitor: ForkVisitor) {
    const { device, geometry, head, findings, inodes } = scene
    this.#device = device
    this.#geometry = geometry
    this.#head = head
    this.#findings = findings
    this.#visitor = visitor
    this.inodes = inodes
    this.#sink = new MappingSink(this.inodes, mappings, (slot, reason) => {
      this.#unread(slot)
      findings.add('inode.extent', { ino: inodes.ino(slot), reason })
    })
    this.bmbt = new BmbtForest(scene, this.inodes, metadata, mappings, this.#sink, (slot) => this.#unread(slot))
  }

  /** Not all is known that the forks of an inode map. */
  #unread(slot: number): void {
    this.blind = true
    this.inodes.flags.data[slot] = this.inodes.flags.get(slot) | InodeFlag.unread
  }

  /** Read the chunks of an AG. Call it once per AG, with all chunks in ascending order. */
  readChunks(agno: number, chunks: readonly Chunk[]): void {
    const geometry = this.#geometry
    const { inopblock, blocksize, inodesize } = geometry
    const perBlock = Math.min(inopblock, INODES_PER_CHUNK)
    const blocksPerChunk = INODES_PER_CHUNK / perBlock
    const positions: number[] = []
    const slots: number[] = []
    for (const { agino, holemask } of chunks) {
      const chunk = this.inodes.addChunk(agno, agino)
      for (let b = 0; b < blocksPerChunk; b++) {
        if (isHole(holemask, b * perBlock)) continue
        const agbno = geometry.aginoAgbno(agino + b * perBlock)
        positions.push(
          geometry.daddr(agno, agbno) * BASIC_BLOCK + geometry.aginoIndex(agino + b * perBlock) * inodesize,
        )
        slots.push(chunk * INODES_PER_CHUNK + b * perBlock)
      }
    }
    const bytesEach = perBlock * inodesize
    if (bytesEach > blocksize) throw new Error('an inode block is larger than a block')
    const where = Float64Array.from(positions)
    readBlocks(this.#device, bytesEach, where, orderByPosition(where), (view, at, row, bytes) => {
      const slot = slots[row] as number
      const ino = this.inodes.ino(slot)
      for (let i = 0; i < perBlock; i++) this.#visit(view, at + i * inodesize, slot + i, ino + i, bytes)
    })
    this.#judge(agno)
  }

  /** Drop chunks without any inode; in the others every inode that is not sound is a finding. */
  #judge(agno: number): void {
    const { inodes } = this
    /** Chunks with a fault; the value is true if something in them looks like an inode. */
    const faulty = new Map<number, boolean>()
    for (const { slot, isInode } of this.#faults) {
      const chunk = Math.floor(slot / INODES_PER_CHUNK)
      faulty.set(chunk, isInode || faulty.get(chunk) === true)
    }
    const rejected = new Set<number>()
    for (const [chunk, hasInodes] of faulty) {
      const states = inodes.state.data.subarray(chunk * INODES_PER_CHUNK, (chunk + 1) * INODES_PER_CHUNK)
      if (hasInodes || states.includes(InodeState.sound)) continue
      rejected.add(chunk)
      states.fill(InodeState.none)
      this.#findings.add('inobt.notinodes', { agno, agino: inodes.chunkAgino.get(chunk) })
    }
    inodes.rejectChunks(agno, rejected)
    for (const { slot, field, message, crc } of this.#faults) {
      if (rejected.has(Math.floor(slot / INODES_PER_CHUNK))) continue
      this.blind = true
      this.#findings.add(crc ? 'inode.crc' : 'inode.core', { ino: inodes.ino(slot), field, reason: message })
    }
    this.#faults.length = 0
  }

  /** Read the bmbt blocks of all forks, then compare the counts. */
  finish(): void {
    this.bmbt.walk()
    const { inodes } = this
    for (let slot = 0; slot < inodes.slots; slot++) {
      if (inodes.state.data[slot] !== InodeState.sound || inodes.mode.data[slot] === 0) continue
      this.#compareCount(slot, 'nextents', inodes.nextents.get(slot), inodes.foundExtents.get(slot))
      this.#compareCount(slot, 'naextents', inodes.anextents.get(slot), inodes.foundAttrExtents.get(slot))
      this.#compareCount(slot, 'nblocks', inodes.nblocks.get(slot), inodes.foundBlocks.get(slot))
    }
  }

  #compareCount(slot: number, field: string, found: number, expected: number): void {
    if (found !== expected) this.#findings.add('inode.count', { ino: this.inodes.ino(slot), field, found, expected })
  }

  #visit(view: DataView, at: number, slot: number, ino: number, bytes: Uint8Array): void {
    const { inodes } = this
    const geometry = this.#geometry
    const wrong = this.#wrong(view, at, ino, bytes)
    if (wrong) {
      inodes.state.data[slot] = InodeState.bad
      this.#faults.push({ slot, ...wrong })
      return
    }
    inodes.state.data[slot] = InodeState.sound
    if (this.#head.isAhead(view, at + LSN))
      this.#findings.add('inode.lsn', { ino, reason: this.#head.text(view, at + LSN) })
    const mode = core.mode.get(view, at)
    const odd = fieldFault(view, at, mode, ino, geometry)
    if (odd) this.#findings.add('inode.core', { ino, ...odd })
    if (mode === 0) return
    inodes.mode.data[slot] = mode
    inodes.nlink.data[slot] = core.nlink.get(view, at)
    inodes.gen.data[slot] = core.gen.get(view, at)
    inodes.size.data[slot] = core.size.get(view, at)
    inodes.nblocks.data[slot] = core.nblocks.get(view, at)
    const flags2 = view.getUint32(at + FLAGS2_LOW)
    inodes.flags.data[slot] =
      ((flags2 & DIFLAGS2.reflink) !== 0 ? InodeFlag.reflink : 0) |
      ((core.flags.get(view, at) & DIFLAGS.realtime) !== 0 ? InodeFlag.realtime : 0) |
      ((flags2 & DIFLAGS2.metadata) !== 0 && geometry.features.has('metadir') ? InodeFlag.metadata : 0)
    const shape = forkShape(view, at, geometry)
    inodes.nextents.data[slot] = shape.nextents
    inodes.anextents.data[slot] = shape.anextents
    const data = at + geometry.coresize
    this.#fork(view, data, slot, ino, 0, core.format.get(view, at), shape.dataSize, shape.nextents)
    const forkoff = core.forkoff.get(view, at)
    if (forkoff !== 0)
      this.#fork(
        view,
        data + forkoff * 8,
        slot,
        ino,
        ATTR_FORK,
        core.aformat.get(view, at),
        shape.attrSize,
        shape.anextents,
      )
  }

  #wrong(view: DataView, at: number, ino: number, bytes: Uint8Array): CoreFault | undefined {
    const magic = core.magic.get(view, at)
    if (magic !== DINODE_MAGIC) {
      return {
        field: 'magic',
        message: `magic number 0x${magic.toString(16)}, expected 0x494e`,
        crc: false,
        isInode: false,
      }
    }
    const isInode = core.inumber.get(view, at) === ino
    if (this.#geometry.features.version === 5) {
      const found = view.getUint32(at + CRC, true)
      view.setUint32(at + CRC, 0)
      const expected = crc32c(bytes.subarray(at, at + this.#geometry.inodesize))
      view.setUint32(at + CRC, found, true)
      if (found !== expected)
        return {
          field: 'crc',
          message: `checksum 0x${found.toString(16)}, expected 0x${expected.toString(16)}`,
          crc: true,
          isInode,
        }
    }
    const fault = verifyInodeFields(view, at, ino, this.#geometry)
    return fault && { field: fault.field ?? '', message: fault.message, crc: false, isInode }
  }

  #fork(
    view: DataView,
    at: number,
    slot: number,
    ino: number,
    fork: number,
    format: number,
    size: number,
    nextents: number,
  ): void {
    if (format === FORK_FORMATS.extents) this.#sink.records(slot, ino, fork, view, at, nextents, 0)
    else if (format === FORK_FORMATS.btree) this.bmbt.addRoot(slot, ino, fork, view, at, size)
    else if (format === FORK_FORMATS.metabtree && fork === 0) refuseMetaBtree(view, at, ino)
    else if (format !== FORK_FORMATS.local) return
    else if (fork === ATTR_FORK) this.#visitor.localAttr(slot, ino, view, at, size)
    else {
      const mode = this.inodes.mode.get(slot)
      this.#visitor.localData(slot, ino, mode, view, at, Math.min(size, this.inodes.size.get(slot)))
    }
  }
}

/**
 * Btrees of the realtime device in metadata inodes own their blocks, but are not read here. So they
 * are refused, except empty ones.
 */
function refuseMetaBtree(view: DataView, at: number, ino: number): void {
  if (BmdrBlock.fields.level.get(view, at) === 0) return
  throw new XfsError('UNSUPPORTED', `inode ${ino} holds a btree of the realtime device`, { ino })
}
