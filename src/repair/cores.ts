import { superblockInodes } from '../check/compare/links.ts'
import { problemMask } from '../check/facts.ts'
import { lostBlocks } from '../check/lost.ts'
import { InodeFlag, InodeState, S_IFDIR, S_IFLNK, S_IFMT } from '../check/observe/inodetable.ts'
import type { CheckResult } from '../check/result.ts'
import type { Device } from '../device/device.ts'
import { Dinode, FILE_TYPES, FORK_FORMATS } from '../format/dinode.ts'
import { DIR3_BLOCK_MAGIC, DIR3_DATA_MAGIC, Dir3BlkHdr, FileTypes, fileTypeOfMode } from '../format/dir.ts'
import { buildSf } from '../format/dirshortform.ts'
import { type ForkShape, forkShape } from '../format/forkshape.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { encodeFreeInode, encodeNewInode } from '../format/newinode.ts'
import { SYMLINK_MAGIC } from '../format/symlink.ts'
import { stampInode } from '../format/verify/stamp.ts'
import { sameBytes } from '../util/samebytes.ts'
import { settleBmbts } from './bmbts.ts'
import { changedFields, settleCore } from './core.ts'
import { inodePosition, type RawWrite, readInodeBytes, readRawInode, setExtents } from './rawforks.ts'

/** A new core of an inode. */
export interface CorePatch {
  readonly ino: number
  /**
   * `set`: fields get the value that follows from the rest. `clear`: the inode cannot be read, it
   * becomes free. `root`: a new root directory, without entries.
   */
  readonly how: 'set' | 'clear' | 'root'
  /** The fields that change, if they are set. */
  readonly fields: readonly string[]
  readonly writes: readonly RawWrite[]
}

const OF_CORES = problemMask(['inode.crc', 'inode.core'])
/** What follows from the place of a block in a bmbt. */
const OF_BMBTS = problemMask(['bmbt.pointer', 'bmbt.loop', 'bmbt.crc', 'bmbt.header', 'bmbt.sibling', 'bmbt.keys'])
const OF_COUNTS = problemMask(['inode.count'])
const OF_NEEDED = problemMask(['sb.inode'])
/** What is found if an inode is read as one of another type. */
const OF_TYPE = problemMask(['inode.crc', 'inode.core', 'inode.extent', 'dir.block', 'symlink.block'])

interface CoreOptions {
  /**
   * Extents were restored where they can be: counts follow from them, and an inode that still
   * cannot be read becomes free.
   */
  readonly last: boolean
  /** Inodes that cannot be read stay as they are. */
  readonly keepUnreadable?: boolean | undefined
}

/** @returns patches of the inodes whose cores are wrong and can be derived, or must be given up */
export function planCores(device: Device, geometry: Geometry, result: CheckResult, options: CoreOptions): CorePatch[] {
  return [...new CorePlan(device, geometry, result).patches(options)]
}

class CorePlan {
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #result: CheckResult
  /** The type of each inode in the entries that name it; 0 if they disagree. */
  readonly #types = new Map<number, number>()

  constructor(device: Device, geometry: Geometry, result: CheckResult) {
    this.#device = device
    this.#geometry = geometry
    this.#result = result
    const { entryIno, entryType } = result.names.directories
    for (let row = 0; row < entryIno.length; row++) {
      const ino = entryIno.get(row)
      const type = entryType.get(row)
      const known = this.#types.get(ino)
      this.#types.set(ino, known === undefined || known === type ? type : 0)
    }
    for (const needed of superblockInodes(geometry)) this.#types.set(needed, FileTypes.regular)
    this.#types.set(geometry.sb.rootino, FileTypes.directory)
  }

  *patches({ last, keepUnreadable = false }: CoreOptions): Generator<CorePatch> {
    const { facts, observation } = this.#result
    const { inodes } = observation
    const slots = new Set([...facts.inodes.with(OF_CORES), ...this.#retyped()])
    for (const slot of slots) {
      const patch = this.#set(slot) ?? (last && !keepUnreadable ? this.#giveUp(slot) : undefined)
      if (patch) yield patch
    }
    for (const slot of facts.inodes.with(OF_BMBTS)) {
      if (slots.has(slot) || inodes.state.get(slot) !== InodeState.sound) continue
      const ino = inodes.ino(slot)
      const writes = settleBmbts(this.#device, this.#geometry, ino) ?? []
      if (writes.length > 0) yield { ino, how: 'set', fields: ['bmbt'], writes }
    }
    yield* this.#needed()
    if (!last) return
    // Blocks in use without an owner may belong to an inode whose count of blocks is higher than
    // what its fork maps.
    const lost = this.#result.ags.some((ag) => lostBlocks(ag).length > 0)
    for (const slot of facts.inodes.with(OF_COUNTS)) {
      const unread = (inodes.flags.get(slot) & InodeFlag.unread) !== 0
      const patch = slots.has(slot) || unread || lost ? undefined : this.#counts(slot)
      if (patch) yield patch
    }
    const root = inodes.slot(this.#geometry.sb.rootino)
    const free = root >= 0 && inodes.state.get(root) === InodeState.sound && inodes.mode.get(root) === 0
    if (free && !slots.has(root) && !keepUnreadable) yield this.#newRoot()
  }

  /** The realtime bitmap and summary: size and links. */
  *#needed(): Generator<CorePatch> {
    const { sb, features, blocksize } = this.#geometry
    const { inodes } = this.#result.observation
    if (features.has('metadir') || !this.#result.facts.image.has(0, OF_NEEDED)) return
    for (const ino of [sb.rbmino, sb.rsumino]) {
      const slot = inodes.slot(ino)
      if (slot < 0 || inodes.state.get(slot) !== InodeState.sound || inodes.mode.get(slot) === 0) continue
      const before = readInodeBytes(this.#device, this.#geometry, ino)
      const view = new DataView(before.buffer.slice(0))
      Dinode.fields.nlink.set(view, 0, 1)
      if (ino === sb.rbmino) Dinode.fields.size.set(view, 0, sb.rbmblocks * blocksize)
      else if (sb.rblocks === 0) Dinode.fields.size.set(view, 0, 0)
      const patch = this.#patch(ino, 'set', before, view)
      if (patch) yield patch
    }
  }

  /** Inodes in use whose type contradicts the entries that name them, and is what is wrong. */
  #retyped(): number[] {
    const { inodes } = this.#result.observation
    const out: number[] = []
    for (const [ino, type] of this.#types) {
      const slot = inodes.slot(ino)
      if (type !== 0 && slot >= 0 && this.#isRetyped(slot, type)) out.push(slot)
    }
    return out
  }

  #isRetyped(slot: number, type: number): boolean {
    const { observation, facts } = this.#result
    const { inodes } = observation
    const mode = inodes.mode.get(slot)
    if (mode === 0 || fileTypeOfMode(mode) === type) return false
    if (inodes.ino(slot) === this.#geometry.sb.rootino) return true
    const content = this.#contentType(slot)
    return content === type || (content !== fileTypeOfMode(mode) && facts.inodes.has(slot, OF_TYPE))
  }

  /** The type of an inode according to its first block; 0: unknown. */
  #contentType(slot: number): number {
    const ino = this.#result.observation.inodes.ino(slot)
    const raw = readRawInode(this.#device, this.#geometry, ino)
    const first = raw?.forks.find(({ fork }) => fork === 'data')?.records[0]
    if (!first || !this.#geometry.validFsbnoRange(first.startblock, 1)) return 0
    const bytes = new Uint8Array(this.#geometry.blocksize)
    this.#device.read(bytes, this.#geometry.fsbToDaddr(first.startblock) * BASIC_BLOCK)
    const view = new DataView(bytes.buffer)
    const magic = Dir3BlkHdr.fields.magic.get(view, 0)
    if (magic === SYMLINK_MAGIC) return FileTypes.symlink
    const directory = magic === DIR3_BLOCK_MAGIC || magic === DIR3_DATA_MAGIC
    return directory && Dir3BlkHdr.fields.owner.get(view, 0) === ino ? FileTypes.directory : 0
  }

  /** Set the fields that follow from the rest. */
  #set(slot: number): CorePatch | undefined {
    const { inodes } = this.#result.observation
    const ino = inodes.ino(slot)
    const type = this.#types.get(ino) ?? 0
    const before = readInodeBytes(this.#device, this.#geometry, ino)
    const view = new DataView(before.buffer.slice(0))
    const mode = Dinode.fields.mode.get(before, 0)
    const bad = inodes.state.get(slot) === InodeState.bad
    const ways = [type !== 0 && (bad ? fileTypeOfMode(mode) !== type : this.#isRetyped(slot, type)), false]
    for (const retype of new Set(ways)) {
      new Uint8Array(view.buffer).set(new Uint8Array(before.buffer))
      const evidence = { type: MODES[type] ?? 0, retype }
      if (settleCore(this.#device, this.#geometry, ino, view, evidence)) return this.#patch(ino, 'set', before, view)
    }
    return undefined
  }

  /** Counts and size, from what was read of forks and content. */
  #counts(slot: number): CorePatch | undefined {
    const { names, observation } = this.#result
    const { inodes } = observation
    const ino = inodes.ino(slot)
    const before = readInodeBytes(this.#device, this.#geometry, ino)
    const view = new DataView(before.buffer.slice(0))
    settleCore(this.#device, this.#geometry, ino, view, { type: 0, retype: false })
    const { format, aformat, nblocks, size } = Dinode.fields
    const shapes = [before, view].map((core) => forkShape(core, 0, this.#geometry)) as [ForkShape, ForkShape]
    const btree = format.get(view, 0) === FORK_FORMATS.btree || aformat.get(view, 0) === FORK_FORMATS.btree
    if (btree) setExtents(view, inodes.foundExtents.get(slot), inodes.foundAttrExtents.get(slot))
    const same = shapes[0].nextents === shapes[1].nextents && shapes[0].anextents === shapes[1].anextents
    if (btree || same) nblocks.set(view, 0, inodes.foundBlocks.get(slot))
    const kind = inodes.mode.get(slot) & S_IFMT
    const sizes = kind === S_IFDIR ? names.directories.sizes : kind === S_IFLNK ? names.symlinks.sizes : undefined
    const expected = names.blind ? undefined : sizes?.get(slot)
    if (expected !== undefined) size.set(view, 0, expected)
    return this.#patch(ino, 'set', before, view)
  }

  /** The inode is lost. Those that the superblock points to are needed. */
  #giveUp(slot: number): CorePatch | undefined {
    const { inodes } = this.#result.observation
    const ino = inodes.ino(slot)
    const { rootino } = this.#geometry.sb
    if (ino === rootino) return this.#newRoot()
    if (superblockInodes(this.#geometry).includes(ino)) return undefined
    const lost = inodes.state.get(slot) === InodeState.bad || inodes.mode.get(slot) === 0
    if (!lost) return undefined
    const before = readInodeBytes(this.#device, this.#geometry, ino)
    const view = new DataView(new ArrayBuffer(this.#geometry.inodesize))
    encodeFreeInode(view, 0, this.#geometry, ino, Dinode.fields.gen.get(before, 0))
    return this.#patch(ino, 'clear', before, view)
  }

  /** A root directory without entries. Its generation is that in the parent pointers to it. */
  #newRoot(): CorePatch {
    const { rootino } = this.#geometry.sb
    const before = readInodeBytes(this.#device, this.#geometry, rootino)
    const view = new DataView(new ArrayBuffer(this.#geometry.inodesize))
    const content = buildSf(rootino, [])
    const { ino, gen } = this.#result.names.attributes.parents
    let generation = Dinode.fields.gen.get(before, 0)
    for (let row = 0; row < ino.length; row++) if (ino.get(row) === rootino) generation = gen.get(row)
    encodeNewInode(view, 0, this.#geometry, {
      mode: FILE_TYPES.dir | 0o755,
      inumber: rootino,
      gen: generation,
      format: FORK_FORMATS.local,
      nlink: 2,
      size: content.length,
    })
    new Uint8Array(view.buffer).set(content, this.#geometry.coresize)
    return this.#patch(rootino, 'root', before, view) as CorePatch
  }

  #patch(ino: number, how: CorePatch['how'], before: DataView, view: DataView): CorePatch | undefined {
    stampInode(view, 0, this.#geometry)
    const bytes = new Uint8Array(view.buffer)
    if (how === 'set' && sameBytes(bytes, new Uint8Array(before.buffer))) return undefined
    const position = inodePosition(this.#geometry, ino)
    return { ino, how, fields: how === 'set' ? changedFields(before, view) : [], writes: [{ position, bytes }] }
  }
}

/** The bits of the mode, by file type of an entry. */
const MODES: Readonly<Record<number, number>> = Object.fromEntries(
  Object.values(FILE_TYPES).map((bits) => [fileTypeOfMode(bits), bits]),
)
