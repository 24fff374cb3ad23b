import type { Device } from '../../device/device.ts'
import { XfsError } from '../../errors.ts'
import { NULLAGINO } from '../../format/ag.ts'
import { DIFLAGS, DIFLAGS2, DINODE_MAGIC, Dinode, FORK_FORMATS, INODES_PER_CHUNK } from '../../format/dinode.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import type { LogHead } from '../../format/lsn.ts'
import { forkShape, verifyInodeFields } from '../../format/verify.ts'
import { crc32c } from '../../util/crc32c.ts'
import { ATTR_FORK, type Extents, f64Column, SHAREABLE, UNWRITTEN, u8Column, u16Column, u32Column } from '../columns.ts'
import type { Findings } from '../findings.ts'
import { BmbtForest } from './bmbt.ts'
import { orderByPosition, readBlocks } from './read.ts'
import type { Scene } from './scene.ts'

/**
 * Every inode, and what its forks map. Tests: cores, extents within the filesystem and in file order, counts of extents and blocks.
 * Collects: one slot an inode (64 a chunk), and one row a mapping in the table of the group that holds the blocks.
 */

export const InodeState = { none: 0, sound: 1, bad: 2 } as const
export const InodeFlag = { reflink: 1, realtime: 2, metadata: 4 } as const

/** What is asked to look into the forks that hold no extents, and which forks to keep the mappings of. */
export interface ForkVisitor {
  /** A directory or symbolic link inside the inode. */
  localData(slot: number, ino: number, mode: number, view: DataView, at: number, size: number): void
  localAttr(slot: number, ino: number, view: DataView, at: number, size: number): void
}

export class Inodes {
  readonly geometry: Geometry
  /** One row a chunk. Slot = 64 × chunk + index in it. */
  readonly chunkAgno = u32Column()
  readonly chunkAgino = u32Column()
  readonly state = u8Column()
  /** 0 for a free inode. */
  readonly mode = u16Column()
  readonly flags = u8Column()
  readonly nlink = u32Column()
  readonly gen = u32Column()
  readonly size = f64Column()
  /** As the core states them. */
  readonly nblocks = f64Column()
  readonly nextents = f64Column()
  readonly anextents = f64Column()
  /** As they were counted. */
  readonly foundBlocks = f64Column()
  readonly foundExtents = f64Column()
  readonly foundAttrExtents = f64Column()
  /** Mappings of directories, symbolic links and attribute forks, in file order within a leaf. */
  readonly maps = new ForkMaps()
  readonly #chunksOf: { agino: number; chunk: number }[][] = []

  constructor(geometry: Geometry) {
    this.geometry = geometry
  }

  get slots(): number {
    return this.state.length
  }

  /** Chunks of a group must be added in ascending order. */
  addChunk(agno: number, agino: number): number {
    const chunk = this.chunkAgno.length
    this.chunkAgno.push(agno)
    this.chunkAgino.push(agino)
    for (const column of [this.state, this.mode, this.flags, this.nlink, this.gen, this.size, this.nblocks, this.nextents, this.anextents,
      this.foundBlocks, this.foundExtents, this.foundAttrExtents]) column.extend(INODES_PER_CHUNK) // biome-ignore format: short
    let chunks = this.#chunksOf[agno]
    if (!chunks) this.#chunksOf[agno] = chunks = []
    chunks.push({ agino, chunk })
    return chunk
  }

  /** Take chunks of a group out again: they hold no inodes. */
  rejectChunks(agno: number, rejected: ReadonlySet<number>): void {
    const chunks = this.#chunksOf[agno]
    if (chunks && rejected.size > 0) this.#chunksOf[agno] = chunks.filter(({ chunk }) => !rejected.has(chunk))
  }

  /** Chunks of a group, in ascending order. */
  chunks(agno: number): readonly { readonly agino: number; readonly chunk: number }[] {
    return this.#chunksOf[agno] ?? []
  }

  /** The slot of an inode number, −1 where no chunk has it. */
  slot(ino: number): number {
    const { geometry } = this
    if (!geometry.validIno(ino)) return -1
    const chunks = this.#chunksOf[geometry.inoAgno(ino)]
    if (!chunks) return -1
    const agino = geometry.inoAgino(ino)
    let low = 0
    let high = chunks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((chunks[middle] as { agino: number }).agino <= agino) low = middle + 1
      else high = middle
    }
    const found = chunks[low - 1]
    if (!found || agino - found.agino >= INODES_PER_CHUNK) return -1
    return found.chunk * INODES_PER_CHUNK + (agino - found.agino)
  }

  ino(slot: number): number {
    const chunk = Math.floor(slot / INODES_PER_CHUNK)
    return this.geometry.ino(this.chunkAgno.get(chunk), this.chunkAgino.get(chunk) + (slot % INODES_PER_CHUNK))
  }
}

/** Mappings that are followed further: blocks of directories, attributes and symbolic links. */
export class ForkMaps {
  readonly slot = u32Column()
  readonly fork = u8Column()
  readonly offset = f64Column()
  readonly fsbno = f64Column()
  readonly count = u32Column()
  get length(): number {
    return this.slot.length
  }
}

export const S_IFMT = 0o170000
export const S_IFREG = 0o100000
export const S_IFDIR = 0o040000
export const S_IFLNK = 0o120000

/** Where the mappings of a fork go; also the target of the bmbt leaves. */
export class MappingSink {
  readonly #inodes: Inodes
  readonly #geometry: Geometry
  readonly #owned: readonly Extents[]
  readonly #reflink: boolean
  readonly #bad: (ino: number, reason: string) => void
  /** Where the last call put its first and its last row; −1 where it put none. */
  firstAg = -1
  firstRow = -1
  lastAg = -1
  lastRow = -1
  #nextFsbno = -1
  #nextOffset = -1
  #flags = -1

  constructor(inodes: Inodes, owned: readonly Extents[], bad: (ino: number, reason: string) => void) {
    this.#inodes = inodes
    this.#geometry = inodes.geometry
    this.#owned = owned
    this.#reflink = this.#geometry.features.has('reflink')
    this.#bad = bad
  }

  /** Records of 16 bytes in file order, the first of them from `floor` on. @returns the offset where the last ends */
  records(slot: number, ino: number, fork: number, view: DataView, at: number, count: number, floor: number): number {
    const inodes = this.#inodes
    const { maps } = inodes
    const mode = inodes.mode.get(slot)
    const kind = mode & S_IFMT
    // Without a realtime device the flag cannot be right: the fork maps blocks of the groups, as all others do.
    const realtime =
      fork === 0 &&
      kind === S_IFREG &&
      this.#geometry.sb.rblocks > 0 &&
      (inodes.flags.get(slot) & InodeFlag.realtime) !== 0
    const follow = fork === ATTR_FORK || kind === S_IFDIR || kind === S_IFLNK
    const shareable = fork === 0 && kind === S_IFREG && this.#reflink ? SHAREABLE : 0
    let end = floor
    let blocks = 0
    this.firstRow = -1
    this.lastRow = -1
    for (let i = 0; i < count; i++, at += 16) {
      const w0 = view.getUint32(at)
      const w1 = view.getUint32(at + 4)
      const w3 = view.getUint32(at + 12)
      const unwritten = w0 >>> 31
      const offset = (w0 & 0x7fffffff) * 2 ** 23 + (w1 >>> 9)
      const fsbno = (w1 & 0x1ff) * 2 ** 43 + view.getUint32(at + 8) * 2 ** 11 + (w3 >>> 21)
      const length = w3 & 0x1fffff
      blocks += length
      if (length === 0 || offset < end) {
        this.#bad(
          ino,
          length === 0
            ? `extent ${i} is empty`
            : `extent ${i} at offset ${offset} begins before the last one ends (${end})`,
        )
        continue
      }
      end = offset + length
      if (unwritten === 1 && (fork === ATTR_FORK || kind !== S_IFREG))
        this.#bad(ino, `the extent at offset ${offset} is unwritten, which only data of a regular file can be`)
      if (realtime) continue
      if (!this.#geometry.validFsbnoRange(fsbno, length)) {
        this.#bad(
          ino,
          `the extent at offset ${offset} (block ${fsbno}, ${length} blocks) lies outside of the filesystem`,
        )
        continue
      }
      if (follow) {
        maps.slot.push(slot)
        maps.fork.push(fork)
        maps.offset.push(offset)
        maps.fsbno.push(fsbno)
        maps.count.push(length)
      }
      this.#push(ino, fork | (unwritten ? UNWRITTEN : shareable), offset, fsbno, length)
    }
    inodes.foundBlocks.data[slot] = inodes.foundBlocks.get(slot) + blocks
    const counter = fork === 0 ? inodes.foundExtents : inodes.foundAttrExtents
    counter.data[slot] = counter.get(slot) + count
    return end
  }

  /** One row, or the last one made longer: reverse mappings know no limit of length. */
  #push(ino: number, flags: number, offset: number, fsbno: number, length: number): void {
    if (this.lastRow >= 0 && fsbno === this.#nextFsbno && offset === this.#nextOffset && flags === this.#flags) {
      const { data } = (this.#owned[this.lastAg] as Extents).count
      data[this.lastRow] = (data[this.lastRow] as number) + length
    } else {
      const geometry = this.#geometry
      this.lastAg = geometry.agnoOf(fsbno)
      this.lastRow = (this.#owned[this.lastAg] as Extents).push(geometry.agbnoOf(fsbno), length, ino, offset, flags)
      this.#flags = flags
      if (this.firstRow < 0) {
        this.firstAg = this.lastAg
        this.firstRow = this.lastRow
      }
    }
    this.#nextFsbno = fsbno + length
    this.#nextOffset = offset + length
  }
}

/** What is known of an inode chunk before it is read. */
export interface Chunk {
  readonly agino: number
  /** One bit for four inodes that have no blocks. */
  readonly holemask: number
}

/** Where the LSN is in an inode. */
const LSN = Dinode.fields.lsn.offset

interface CoreFault {
  readonly field: string
  readonly message: string
  readonly crc: boolean
  /** It has the magic number and says it is this inode. */
  readonly isInode: boolean
}

export class InodeScan {
  readonly inodes: Inodes
  readonly bmbt: BmbtForest
  /** Something is missing of what the forks map. */
  blind = false
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #head: LogHead
  readonly #findings: Findings
  readonly #sink: MappingSink
  readonly #visitor: ForkVisitor
  readonly #faults: (CoreFault & { readonly slot: number })[] = []

  /** @param metadata, mappings  a table a group: where bmbt blocks, and where what forks map goes */
  constructor(scene: Scene, metadata: readonly Extents[], mappings: readonly Extents[], visitor: ForkVisitor) {
    const { device, geometry, head, findings } = scene
    this.#device = device
    this.#geometry = geometry
    this.#head = head
    this.#findings = findings
    this.#visitor = visitor
    this.inodes = new Inodes(geometry)
    this.#sink = new MappingSink(this.inodes, mappings, (ino, reason) => {
      this.blind = true
      findings.add('inode.extent', { ino, reason })
    })
    this.bmbt = new BmbtForest(scene, this.inodes, metadata, mappings, this.#sink, () => {
      this.blind = true
    })
  }

  /** Read chunks of a group; call once a group, with its chunks in ascending order. */
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

  /** Chunks without one inode are none; of the others every inode that is not sound is a finding. */
  #judge(agno: number): void {
    const { inodes } = this
    /** Chunks with a fault, and whether anything in them looks like an inode. */
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

  /** Read the bmbt blocks of all forks that have some, then compare the counts. */
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
    if (this.#head.isBehind(view, at + LSN))
      this.#findings.add('inode.lsn', { ino, reason: this.#head.text(view, at + LSN) })
    const mode = view.getUint16(at + 2)
    const odd = oddity(view, at, mode, ino, geometry)
    if (odd) this.#findings.add('inode.core', { ino, ...odd })
    if (mode === 0) return
    inodes.mode.data[slot] = mode
    inodes.nlink.data[slot] = view.getUint32(at + 16)
    inodes.gen.data[slot] = view.getUint32(at + 92)
    inodes.size.data[slot] = Dinode.fields.size.get(view, at)
    inodes.nblocks.data[slot] = Dinode.fields.nblocks.get(view, at)
    const flags2 = view.getUint32(at + 124)
    inodes.flags.data[slot] =
      ((flags2 & DIFLAGS2.reflink) !== 0 ? InodeFlag.reflink : 0) |
      ((view.getUint16(at + 90) & DIFLAGS.realtime) !== 0 ? InodeFlag.realtime : 0) |
      ((flags2 & DIFLAGS2.metadata) !== 0 && geometry.features.has('metadir') ? InodeFlag.metadata : 0)
    const shape = forkShape(view, at, geometry)
    inodes.nextents.data[slot] = shape.nextents
    inodes.anextents.data[slot] = shape.anextents
    const data = at + geometry.coresize
    this.#fork(view, data, slot, ino, 0, view.getUint8(at + 5), shape.dataSize, shape.nextents)
    const forkoff = view.getUint8(at + 82)
    if (forkoff !== 0)
      this.#fork(
        view,
        data + forkoff * 8,
        slot,
        ino,
        ATTR_FORK,
        view.getUint8(at + 83),
        shape.attrSize,
        shape.anextents,
      )
  }

  #wrong(view: DataView, at: number, ino: number, bytes: Uint8Array): CoreFault | undefined {
    const magic = view.getUint16(at)
    if (magic !== DINODE_MAGIC) {
      return {
        field: 'magic',
        message: `magic number 0x${magic.toString(16)}, expected 0x494e`,
        crc: false,
        isInode: false,
      }
    }
    const isInode = Dinode.fields.inumber.get(view, at) === ino
    if (this.#geometry.features.version === 5) {
      const found = view.getUint32(at + 100, true)
      view.setUint32(at + 100, 0)
      const expected = crc32c(bytes.subarray(at, at + this.#geometry.inodesize))
      view.setUint32(at + 100, found, true)
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

/** Btrees of the realtime device in metadata inodes: one that has blocks owns them, and nothing here reads them. */
function refuseMetaBtree(view: DataView, at: number, ino: number): void {
  if (view.getUint16(at) === 0) return
  throw new XfsError('UNSUPPORTED', `inode ${ino} holds a btree of the realtime device`, { ino })
}

/** Has the inode `index` of a chunk no blocks? */
export const isHole = (holemask: number, index: number): boolean => ((holemask >>> Math.floor(index / 4)) & 1) !== 0

const KNOWN_FLAGS = Object.values(DIFLAGS).reduce((sum, bit) => sum | bit, 0)
const KNOWN_FLAGS2 = Object.values(DIFLAGS2).reduce((sum, bit) => sum | bit, 0)

interface Oddity {
  readonly field: string
  readonly reason: string
}

const DIRECTORY_FLAGS = DIFLAGS.rtinherit | DIFLAGS.projinherit | DIFLAGS.nosymlinks | DIFLAGS.extszinherit

/** Flags that an inode of this type, or in a filesystem without the feature, cannot have. */
function flagsOfKind(view: DataView, at: number, mode: number, ino: number, geometry: Geometry): Oddity | undefined {
  const { sb, features } = geometry
  const kind = mode & S_IFMT
  const flags = view.getUint16(at + 90)
  const flags2 = view.getUint32(at + 124)
  const metadata = (flags2 & DIFLAGS2.metadata) !== 0
  const flag = (reason: string): Oddity => ({ field: 'core.flags', reason: `0x${flags.toString(16)}: ${reason}` })
  const flag2 = (reason: string): Oddity => ({ field: 'v3.flags2', reason: `0x${flags2.toString(16)}: ${reason}` })
  if ((flags & DIRECTORY_FLAGS) !== 0 && kind !== S_IFDIR) return flag('it has bits of a directory')
  if ((flags & DIFLAGS.realtime) !== 0 && kind !== S_IFREG)
    return flag('the realtime bit, and it is not a regular file')
  if ((flags & DIFLAGS.realtime) !== 0 && sb.rblocks === 0) return flag('the realtime bit without a realtime section')
  if ((flags & DIFLAGS.newrtbm) !== 0 && !metadata && ino !== sb.rbmino)
    return flag('the newrtbm bit, and it is not the realtime bitmap')
  if ((flags2 & DIFLAGS2.dax) !== 0 && kind !== S_IFREG && kind !== S_IFDIR)
    return flag2('the dax bit, and it is neither file nor directory')
  return metadata && !features.has('metadir') ? flag2('the metadata bit without metadir') : undefined
}

/** Extent size hints that the kernel ignores or refuses. Source: xfs_inode_validate_extsize, xfs_inode_validate_cowextsize. */
function hints(view: DataView, at: number, flags: number, { sb, agblocks }: Geometry): Oddity | undefined {
  const extsize = view.getUint32(at + 72)
  const cowextsize = view.getUint32(at + 128)
  const realtime = (flags & (DIFLAGS.realtime | DIFLAGS.rtinherit)) !== 0
  const most = Math.floor(agblocks / 2)
  if (realtime && sb.rextsize > 1 && extsize % sb.rextsize !== 0)
    return {
      field: 'core.extsize',
      reason: `${extsize} is not a multiple of the realtime extents of ${sb.rextsize} blocks`,
    }
  if (!realtime && extsize > most) return { field: 'core.extsize', reason: `${extsize} is more than half of a group` }
  return cowextsize > most
    ? { field: 'v3.cowextsize', reason: `${cowextsize} is more than half of a group` }
    : undefined
}

/** Sizes and formats that an inode of this type cannot have. */
function formOfKind(view: DataView, at: number, mode: number, geometry: Geometry): Oddity | undefined {
  const kind = mode & S_IFMT
  const size = Dinode.fields.size.get(view, at)
  if (kind !== S_IFREG && kind !== S_IFDIR && kind !== S_IFLNK && size !== 0)
    return { field: 'core.size', reason: `${size} bytes in a device, fifo or socket` }
  if (kind === S_IFLNK && view.getInt8(at + 5) === FORK_FORMATS.extents && forkShape(view, at, geometry).nextents === 0)
    return { field: 'core.format', reason: 'a symbolic link outside of its inode without an extent' }
  return view.getUint8(at + 82) === 0 && view.getInt8(at + 83) !== FORK_FORMATS.extents
    ? { field: 'core.aformat', reason: `${view.getInt8(at + 83)} without an attribute fork` }
    : undefined
}

const NANOSECONDS = 1e9

/** Times that are kept as seconds and nanoseconds. */
function nanoseconds(view: DataView, at: number): Oddity | undefined {
  for (const name of ['atime', 'mtime', 'ctime', 'crtime'] as const) {
    const value = Dinode.fields[name].get(view, at).lo >>> 0
    if (value >= NANOSECONDS) return { field: `core.${name}.nsec`, reason: `${value} nanoseconds` }
  }
  return undefined
}

/** What keeps nobody from reading an inode, but is in none that is as it should be. */
function oddity(view: DataView, at: number, mode: number, ino: number, geometry: Geometry): Oddity | undefined {
  const { next_unlinked, onlink, flags2 } = Dinode.fields
  const next = view.getUint32(at + next_unlinked.offset)
  const linked = mode === 0 || view.getUint32(at + 16) > 0
  if (next !== NULLAGINO && linked) return { field: 'next_unlinked', reason: `${next}, but it is on no list` }
  if (mode === 0) return usedOddity(view, at, geometry)
  if (geometry.features.version !== 5) return undefined
  const flags = view.getUint16(at + 90)
  if ((flags & ~KNOWN_FLAGS) !== 0)
    return { field: 'core.flags', reason: `0x${flags.toString(16)} has bits that mean nothing` }
  const { hi, lo } = flags2.get(view, at)
  if (hi !== 0 || (lo & ~KNOWN_FLAGS2) !== 0)
    return { field: 'v3.flags2', reason: `${flags2.text(view, at)} has bits that mean nothing` }
  const old = onlink.get(view, at)
  if (old !== 0 && !geometry.features.has('metadir'))
    return { field: 'core.onlink', reason: `${old} in an inode that counts its links elsewhere` }
  return (
    flagsOfKind(view, at, mode, ino, geometry) ??
    hints(view, at, flags, geometry) ??
    formOfKind(view, at, mode, geometry) ??
    ((lo & DIFLAGS2.bigtime) === 0 ? nanoseconds(view, at) : undefined)
  )
}

/** An inode without a mode that has links or blocks was not freed: its mode is lost, and its fork may still map blocks. */
function usedOddity(view: DataView, at: number, geometry: Geometry): { field: string; reason: string } | undefined {
  const nlink = view.getUint32(at + 16)
  const nblocks = Dinode.fields.nblocks.get(view, at)
  const { nextents, anextents } = forkShape(view, at, geometry)
  if (geometry.features.version !== 5 || (nlink === 0 && nblocks === 0 && nextents === 0 && anextents === 0))
    return undefined
  const held = `${nlink} links, ${nblocks} blocks and ${nextents + anextents} extents`
  return { field: 'core.mode', reason: `0 as in a free inode, but it has ${held}` }
}
