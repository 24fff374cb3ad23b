import { readBmbt } from '../btree/trees/bmbt.ts'
import { fieldFault } from '../check/observe/inoderules.ts'
import type { Device } from '../device/device.ts'
import { NULLAGINO } from '../format/ag.ts'
import { ATTR3_LEAF_MAGIC, AttrSfEntryHead, AttrSfHdr } from '../format/attr.ts'
import { attrSfEntries, attrSfSize } from '../format/attrentries.ts'
import { BmdrBlock, LongBlock } from '../format/btblock.ts'
import { BmbtRec, MAX_BMBT_EXTLEN } from '../format/btrecs.ts'
import {
  DIFLAGS,
  DIFLAGS2,
  DINODE_MAGIC,
  Dinode,
  FILE_TYPES,
  FORK_FORMATS,
  FORKOFF_UNIT,
  flags2Of,
  S_IFMT,
} from '../format/dinode.ts'
import { DA3_NODE_MAGIC, Da3Blkinfo, DaBlkinfo, DIR_LEAF_OFFSET, fileTypeOfMode } from '../format/dir.ts'
import { get64 } from '../format/fields.ts'
import { forkShape } from '../format/forkshape.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { SYMLINK_MAXLEN, SymlinkHdr } from '../format/symlink.ts'
import { btrees, treeForms } from '../format/trees.ts'
import { rootMaxRecords } from '../format/treesizes.ts'
import { verifyInodeFields } from '../format/verify/inodes.ts'
import { type RawInode, readRawInode, setExtents } from './rawforks.ts'
import { shortformEnd } from './salvage/shortform.ts'

/**
 * The core of one inode, made valid: every field that follows from the rest of the inode, from its
 * forks or from the entries that name it gets that value; a flag or hint that it cannot have is
 * dropped.
 *
 *   identity      magic number, version, inode number, UUID: if one of them is right
 *   type          from the entries that name the inode, if the mode has none or contradicts the fork
 *   forks         format from the type and the content, counts from the records
 *   size          of directories and links from their content
 */
export interface CoreEvidence {
  /** The bits of the type, according to entries; 0: unknown. */
  readonly type: number
  /** The type of the mode contradicts the content: use `type`. */
  readonly retype: boolean
}

const core = Dinode.fields
const KNOWN_FLAGS = Object.values(DIFLAGS).reduce((sum, bit) => sum | bit, 0)
const KNOWN_FLAGS2 = Object.values(DIFLAGS2).reduce((sum, bit) => sum | bit, 0)
const { reg, dir, lnk } = FILE_TYPES
/** Types whose data fork maps blocks or has content; all others have a device number. */
const hasContent = (kind: number): boolean => kind === reg || kind === dir || kind === lnk
const NANOSECONDS = 1e9

/** Rules are applied again, because one field may follow from another. */
const ROUNDS = 3

/** @returns false if the inode cannot be made valid */
export function settleCore(
  device: Device,
  geometry: Geometry,
  ino: number,
  view: DataView,
  evidence: CoreEvidence,
): boolean {
  const one = new Core(device, geometry, ino, view, evidence)
  if (!one.isInode()) return false
  for (let round = 0; round < ROUNDS; round++) one.settle()
  return one.isValid()
}

/** The fields that differ. */
export const changedFields = (before: DataView, after: DataView): string[] =>
  Object.entries(core)
    .filter(([name]) => name !== 'crc')
    .filter(([, { offset, size }]) => {
      for (let i = offset; i < offset + size; i++) if (before.getUint8(i) !== after.getUint8(i)) return true
      return false
    })
    .map(([name]) => name)

class Core {
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #ino: number
  readonly #view: DataView
  readonly #evidence: CoreEvidence

  constructor(device: Device, geometry: Geometry, ino: number, view: DataView, evidence: CoreEvidence) {
    this.#device = device
    this.#geometry = geometry
    this.#ino = ino
    this.#view = view
    this.#evidence = evidence
  }

  get #kind(): number {
    return core.mode.get(this.#view, 0) & S_IFMT
  }

  isInode(): boolean {
    const view = this.#view
    const right = [
      core.magic.get(view, 0) === DINODE_MAGIC,
      core.inumber.get(view, 0) === this.#ino,
      core.uuid.get(view, 0) === this.#geometry.metaUuid,
    ]
    return right.filter((one) => one).length >= 2
  }

  isValid(): boolean {
    const view = this.#view
    const mode = core.mode.get(view, 0)
    return (
      verifyInodeFields(view, 0, this.#ino, this.#geometry) === undefined &&
      fieldFault(view, 0, mode, this.#ino, this.#geometry) === undefined
    )
  }

  settle(): void {
    const view = this.#view
    core.magic.set(view, 0, DINODE_MAGIC)
    core.version.set(view, 0, 3)
    core.inumber.set(view, 0, this.#ino)
    core.uuid.set(view, 0, this.#geometry.metaUuid)
    this.#type()
    const mode = core.mode.get(view, 0)
    if (mode === 0 || core.nlink.get(view, 0) > 0) core.next_unlinked.set(view, 0, NULLAGINO)
    if (!this.#geometry.features.has('metadir')) core.onlink.set(view, 0, 0)
    this.#flags()
    this.#hints()
    this.#times()
    if (mode === 0) return
    this.#attrFork()
    this.#dataFork()
    this.#counts()
  }

  /** The type and, if the mode was lost, permissions of the owner. */
  #type(): void {
    const view = this.#view
    const mode = core.mode.get(view, 0)
    const { type, retype } = this.#evidence
    if (type === 0) return
    if (mode === 0) core.mode.set(view, 0, type | (type === dir ? 0o700 : 0o600))
    else if (retype || fileTypeOfMode(mode) === 0) core.mode.set(view, 0, type | (mode & ~S_IFMT))
  }

  #flags(): void {
    const view = this.#view
    const { sb, features } = this.#geometry
    const kind = this.#kind
    let flags = core.flags.get(view, 0) & KNOWN_FLAGS
    let flags2 = core.flags2.get(view, 0).lo & KNOWN_FLAGS2
    if (kind !== dir) flags &= ~(DIFLAGS.rtinherit | DIFLAGS.projinherit | DIFLAGS.nosymlinks | DIFLAGS.extszinherit)
    if (kind !== reg) flags &= ~(DIFLAGS.realtime | DIFLAGS.extsize)
    if (sb.rblocks === 0) flags &= ~DIFLAGS.realtime
    if (!features.has('metadir')) flags2 &= ~DIFLAGS2.metadata
    if ((flags2 & DIFLAGS2.metadata) === 0 && this.#ino !== sb.rbmino) flags &= ~DIFLAGS.newrtbm
    if (kind !== reg && kind !== dir) flags2 &= ~(DIFLAGS2.dax | DIFLAGS2.cowextsize)
    if (kind !== reg || !features.has('reflink')) flags2 &= ~DIFLAGS2.reflink
    if (!features.has('reflink')) flags2 &= ~DIFLAGS2.cowextsize
    if (!features.has('bigtime')) flags2 &= ~DIFLAGS2.bigtime
    core.flags.set(view, 0, flags)
    core.flags2.set(view, 0, { hi: 0, lo: flags2 >>> 0 })
    this.#wide()
  }

  /** The flag nrext64 decides where the counts of extents are: it follows from them. */
  #wide(): void {
    const view = this.#view
    const { hi, lo } = core.flags2.get(view, 0)
    const wide = (lo & DIFLAGS2.nrext64) !== 0
    const big = core.big_nextents.get(view, 0)
    const attr = core.anextents.get(view, 0)
    if (!this.#geometry.features.has('nrext64')) {
      if (!wide) core.big_nextents.set(view, 0, 0)
      else core.flags2.set(view, 0, { hi, lo: (lo & ~DIFLAGS2.nrext64) >>> 0 })
    } else if (!wide && big !== 0 && attr === 0) core.flags2.set(view, 0, { hi, lo: (lo | DIFLAGS2.nrext64) >>> 0 })
    else if (!wide) core.big_nextents.set(view, 0, 0)
    else if (attr === 0 || big !== 0) core.anextents.set(view, 0, 0)
    else core.flags2.set(view, 0, { hi, lo: (lo & ~DIFLAGS2.nrext64) >>> 0 })
  }

  #hints(): void {
    const view = this.#view
    const { sb, agblocks, features } = this.#geometry
    const most = Math.min(Math.floor(agblocks / 2), MAX_BMBT_EXTLEN)
    const HINT = DIFLAGS.extsize | DIFLAGS.extszinherit
    const flags = core.flags.get(view, 0)
    const extsize = core.extsize.get(view, 0)
    const realtime = (flags & (DIFLAGS.realtime | DIFLAGS.rtinherit)) !== 0
    const odd = realtime ? sb.rextsize > 1 && extsize % sb.rextsize !== 0 : extsize > most
    if (extsize === 0 || odd || (flags & HINT) === 0) {
      core.extsize.set(view, 0, 0)
      core.flags.set(view, 0, flags & ~HINT)
    }
    const { hi, lo } = core.flags2.get(view, 0)
    const cowextsize = core.cowextsize.get(view, 0)
    if (features.has('zoned') || (cowextsize > 0 && cowextsize <= most && (lo & DIFLAGS2.cowextsize) !== 0)) return
    core.cowextsize.set(view, 0, 0)
    core.flags2.set(view, 0, { hi, lo: (lo & ~DIFLAGS2.cowextsize) >>> 0 })
  }

  #times(): void {
    const view = this.#view
    if ((flags2Of(view, 0) & DIFLAGS2.bigtime) !== 0) return
    for (const name of ['atime', 'mtime', 'ctime', 'crtime'] as const) {
      const { hi, lo } = core[name].get(view, 0)
      if (lo >>> 0 >= NANOSECONDS) core[name].set(view, 0, { hi, lo: 0 })
    }
  }

  // ------------------------------------------------------------------------------------------ forks

  get #coresize(): number {
    return this.#geometry.coresize
  }

  #attrFork(): void {
    const view = this.#view
    const space = this.#geometry.inodesize - this.#coresize
    const special = !hasContent(this.#kind)
    const forkoff = core.forkoff.get(view, 0)
    if (special && forkoff > 1) core.forkoff.set(view, 0, 1)
    const { anextents } = forkShape(view, 0, this.#geometry)
    const missing = forkoff === 0 && (anextents > 0 || core.aformat.get(view, 0) === FORK_FORMATS.local)
    if (missing || forkoff * FORKOFF_UNIT >= space) this.#findAttrFork(space)
    if (core.forkoff.get(view, 0) === 0) {
      core.aformat.set(view, 0, FORK_FORMATS.extents)
      return
    }
    const at = this.#coresize + core.forkoff.get(view, 0) * FORKOFF_UNIT
    const size = view.byteLength - at
    const aformat = core.aformat.get(view, 0)
    if (aformat === FORK_FORMATS.local || aformat === FORK_FORMATS.extents || aformat === FORK_FORMATS.btree) return
    const local = isAttrList(view, at)
    if (local) core.aformat.set(view, 0, FORK_FORMATS.local)
    else if (anextents <= Math.floor(size / BmbtRec.size)) core.aformat.set(view, 0, FORK_FORMATS.extents)
    else core.aformat.set(view, 0, FORK_FORMATS.btree)
  }

  /** The only place where attributes begin: a list, or the extent of a block; none: there is no fork. */
  #findAttrFork(space: number): void {
    const view = this.#view
    const places: number[] = []
    for (let unit = 1; unit * FORKOFF_UNIT < space; unit++)
      if (this.#isAttrFork(this.#coresize + unit * FORKOFF_UNIT)) places.push(unit)
    const [only = 0, more] = places
    core.forkoff.set(view, 0, more === undefined ? only : 0)
  }

  #isAttrFork(at: number): boolean {
    const view = this.#view
    if (core.aformat.get(view, 0) === FORK_FORMATS.local) return isAttrList(view, at)
    const [first] = this.#records(at, view.byteLength - at)
    if (first?.startoff !== 0) return false
    const block = new DataView(new ArrayBuffer(this.#geometry.blocksize))
    this.#device.read(new Uint8Array(block.buffer), this.#geometry.fsbToDaddr(first.startblock) * BASIC_BLOCK)
    const magic = DaBlkinfo.fields.magic.get(block, 0)
    const attributes = magic === ATTR3_LEAF_MAGIC || magic === DA3_NODE_MAGIC
    return attributes && Da3Blkinfo.fields.owner.get(block, 0) === this.#ino
  }

  #dataFork(): void {
    const view = this.#view
    const kind = this.#kind
    const format = core.format.get(view, 0)
    if (!hasContent(kind)) {
      core.format.set(view, 0, FORK_FORMATS.dev)
      core.size.set(view, 0, 0)
      return
    }
    const { dataSize } = forkShape(view, 0, this.#geometry)
    const mapped = format === FORK_FORMATS.extents || format === FORK_FORMATS.btree
    if (kind === reg) {
      this.#mapForm(dataSize)
      if (!mapped) core.format.set(view, 0, this.#mappedFormat(dataSize))
      if (core.size.get(view, 0) < 0) this.#sizeOfExtents(MAX_FILE)
      return
    }
    this.#mapForm(dataSize)
    const inside = kind === dir ? shortformEnd(this.#geometry, view, this.#coresize, dataSize) : this.#target(dataSize)
    const size = core.size.get(view, 0)
    const local = format === FORK_FORMATS.local || (!mapped && inside !== undefined)
    if (local && inside !== undefined) {
      core.format.set(view, 0, FORK_FORMATS.local)
      if (kind === dir || size <= 0 || size > dataSize) core.size.set(view, 0, inside)
      return
    }
    if (!mapped) core.format.set(view, 0, this.#mappedFormat(dataSize))
    const { dirblocksize } = this.#geometry
    const possible = size > 0 && size % dirblocksize === 0 && size <= DIR_LEAF_OFFSET
    if (kind === dir && !possible) this.#sizeOfExtents(DIR_LEAF_OFFSET)
    else if (kind === lnk && (size <= 0 || size >= SYMLINK_MAXLEN)) this.#sizeOfTarget()
  }

  /** The length of a target in the inode: up to a zero byte. */
  #target(dataSize: number): number | undefined {
    const view = this.#view
    const size = core.size.get(view, 0)
    if (size > 0 && size <= dataSize && core.format.get(view, 0) === FORK_FORMATS.local) return size
    let length = 0
    while (length < dataSize && view.getUint8(this.#coresize + length) !== 0) length++
    return length === 0 ? undefined : length
  }

  #mappedFormat(dataSize: number): number {
    const view = this.#view
    const at = this.#coresize
    const { nextents } = forkShape(view, 0, this.#geometry)
    const fits = nextents <= Math.floor(dataSize / BmbtRec.size)
    if (fits && this.#records(at, dataSize).length >= nextents) return FORK_FORMATS.extents
    return this.#isRoot(at, dataSize) || !fits ? FORK_FORMATS.btree : FORK_FORMATS.extents
  }

  /** A btree whose root cannot be one is a list of records, if they are plausible. */
  #mapForm(dataSize: number): void {
    const view = this.#view
    const at = this.#coresize
    if (core.format.get(view, 0) !== FORK_FORMATS.btree || this.#isRoot(at, dataSize)) return
    const level = this.#levelBelow(at, dataSize)
    const { nextents } = forkShape(view, 0, this.#geometry)
    if (level !== undefined) BmdrBlock.fields.level.set(view, at, level + 1)
    else if (nextents > 0 && this.#records(at, dataSize).length >= nextents)
      core.format.set(view, 0, FORK_FORMATS.extents)
  }

  #isRoot(at: number, size: number): boolean {
    const { level, numrecs } = BmdrBlock.decode(this.#view, at)
    return numrecs > 0 && numrecs <= rootMaxRecords(size) && this.#levelBelow(at, size) === level - 1
  }

  /** The level of the first block below a root of a bmbt; undefined: it is none. */
  #levelBelow(at: number, size: number): number | undefined {
    const { geometry, view } = { geometry: this.#geometry, view: this.#view }
    const ptr = get64(view, at + BmdrBlock.size + treeForms.bmbt.keySize * rootMaxRecords(size))
    if (!geometry.validFsbnoRange(ptr, 1)) return undefined
    const block = new DataView(new ArrayBuffer(geometry.blocksize))
    this.#device.read(new Uint8Array(block.buffer), geometry.fsbToDaddr(ptr) * BASIC_BLOCK)
    const { magic, level, owner } = LongBlock.decode(block, 0)
    return magic === btrees.bmbt.magic && owner === this.#ino ? level : undefined
  }

  /** The size of a file whose last extent below `limit` bytes is its end. */
  #sizeOfExtents(limit: number): void {
    const { blocksize, dirblocks } = this.#geometry
    let end = 0
    for (const { startoff, blockcount } of this.#fork('data')?.records ?? [])
      if (startoff * blocksize < limit) end = Math.max(end, startoff + blockcount)
    if (this.#kind === dir) end = Math.ceil(end / dirblocks) * dirblocks
    if (end > 0 || this.#kind === reg) core.size.set(this.#view, 0, end * blocksize)
  }

  /** The size of a target outside of the inode: its bytes up to a zero byte. */
  #sizeOfTarget(): void {
    const [first] = this.#fork('data')?.records ?? []
    const { blocksize } = this.#geometry
    if (!first || !this.#geometry.validFsbnoRange(first.startblock, 1)) return
    const bytes = new Uint8Array(blocksize)
    this.#device.read(bytes, this.#geometry.fsbToDaddr(first.startblock) * BASIC_BLOCK)
    const end = bytes.indexOf(0, SymlinkHdr.size)
    const length = (end < 0 ? blocksize : end) - SymlinkHdr.size
    if (length > 0) core.size.set(this.#view, 0, Math.min(length, SYMLINK_MAXLEN - 1))
  }

  #fork(fork: 'data' | 'attr'): RawInode['forks'][number] | undefined {
    const raw = readRawInode(this.#device, this.#geometry, this.#ino, this.#view)
    return raw?.forks.find((one) => one.fork === fork)
  }

  /** The leading records of a fork that could be extents. */
  #records(at: number, size: number): BmbtRec[] {
    const out: BmbtRec[] = []
    let end = 0
    for (let i = 0; i < Math.floor(size / BmbtRec.size); i++) {
      const record = readBmbt(this.#view, at + BmbtRec.size * i)
      if (record.blockcount === 0 || record.startoff < end) break
      if (!this.#geometry.validFsbnoRange(record.startblock, record.blockcount)) break
      end = record.startoff + record.blockcount
      out.push(record)
    }
    return out
  }

  /**
   * Counts of extents that the fork contradicts. If nblocks counts the blocks of another number of
   * records, the count of extents is what is wrong.
   */
  #counts(): void {
    const view = this.#view
    const shape = forkShape(view, 0, this.#geometry)
    const data = { format: core.format.get(view, 0), at: this.#coresize, size: shape.dataSize, stated: shape.nextents }
    const attr = {
      format: shape.attrSize > 0 ? core.aformat.get(view, 0) : FORK_FORMATS.extents,
      at: this.#coresize + shape.dataSize,
      size: shape.attrSize,
      stated: shape.anextents,
    }
    const nblocks = core.nblocks.get(view, 0)
    const attrs = this.#ways(attr)
    const all = this.#ways(data).flatMap((d) => attrs.map((a) => ({ d, a, blocks: d.blocks + a.blocks })))
    const exact = data.format !== FORK_FORMATS.btree && attr.format !== FORK_FORMATS.btree
    const [first] = all
    const best = (exact && all.find(({ blocks }) => blocks === nblocks)) || first
    if (!best) return
    setExtents(view, best.d.count, best.a.count)
    const extents = best.d.count + best.a.count
    // The count of blocks is evidence of extents that are wrong: it changes only if it must.
    if (nblocks < extents || (extents === 0 && nblocks !== 0)) core.nblocks.set(view, 0, best.blocks)
  }

  /** Is a record zeros? */
  #isUnused(at: number): boolean {
    return get64(this.#view, at) === 0 && get64(this.#view, at + 8) === 0
  }

  /** Possible numbers of extents of a fork with their blocks, the most probable first. */
  #ways({
    format,
    at,
    size,
    stated,
  }: {
    readonly format: number
    readonly at: number
    readonly size: number
    readonly stated: number
  }): Way[] {
    if (format === FORK_FORMATS.local || format === FORK_FORMATS.dev) return [{ count: 0, blocks: 0 }]
    if (format === FORK_FORMATS.btree) {
      const raw = this.#fork(at === this.#coresize ? 'data' : 'attr')
      const blocks = (raw?.records ?? []).reduce((sum, { blockcount }) => sum + blockcount, raw?.leaves.length ?? 0)
      return [{ count: raw?.records.length ?? stated, blocks }]
    }
    const capacity = Math.floor(size / BmbtRec.size)
    const plausible = this.#records(at, size)
    const sum = (count: number): number => {
      let blocks = 0
      for (let i = 0; i < count; i++) blocks += readBmbt(this.#view, at + BmbtRec.size * i).blockcount
      return blocks
    }
    // Records that are wrong stay: they may be restored.
    const first = stated >= 0 && stated <= capacity ? stated : plausible.length
    // More than stated, if that many could be extents; fewer, if the next record was never written.
    const more = Array.from({ length: Math.max(0, plausible.length - first) }, (_, i) => first + 1 + i)
    const fewer = plausible.length < first && this.#isUnused(at + BmbtRec.size * plausible.length)
    const counts = [first, ...more, ...(fewer ? [plausible.length] : [])]
    return counts.map((count) => ({ count, blocks: sum(count) }))
  }
}

const MAX_FILE = Number.MAX_SAFE_INTEGER

/** A number of extents of a fork, and their blocks. */
interface Way {
  readonly count: number
  readonly blocks: number
}

/** Is there a list of attributes at `at`, that ends where its header says? */
function isAttrList(view: DataView, at: number): boolean {
  if (at + AttrSfHdr.size > view.byteLength) return false
  const size = attrSfSize(view, at)
  if (AttrSfHdr.fields.count.get(view, at) === 0 || at + size > view.byteLength) return false
  try {
    let end = AttrSfHdr.size
    for (const entry of attrSfEntries(view, at, size)) {
      if (AttrSfEntryHead.nonzero(view, entry.at) || (entry.flags & (entry.flags - 1)) !== 0) return false
      end = entry.at + entry.size - at
    }
    return end === size
  } catch {
    return false
  }
}
