import type { Buf, Piece } from './buffer/buf.ts'
import { BufferCache } from './buffer/cache.ts'
import { type Committer, InPlaceCommitter, RepairMark } from './buffer/commit.ts'
import type { Device } from './device/device.ts'
import { assert, XfsError } from './errors.ts'
import { AG_SECTORS } from './format/ag.ts'
import type { Features } from './format/features.ts'
import { type Geometry, geometryOf } from './format/geometry.ts'
import { superblockFaults } from './format/sbrules.ts'
import { type Clock, systemClock } from './format/time.ts'
import type { BlockType } from './format/verify/blocktype.ts'
import { blockTypes } from './format/verify/blocktypes.ts'
import { readPrimary } from './roots/primary.ts'
import { ExtentSet } from './util/extentset.ts'

export interface OpenOptions {
  /** Open for changes; throws if that is not supported. */
  readonly write?: boolean
  /** Open even if NEEDSREPAIR is set (repair does). */
  readonly needsRepair?: boolean
  readonly cacheBytes?: number
  /** How commits reach the device (default: in place). */
  readonly committer?: CommitterMaker
  /** The current time, for timestamps (default: that of the machine). */
  readonly now?: Clock
  /**
   * Called before each allocation of blocks. It may throw NOSPC: tests run out of space at every
   * point.
   */
  readonly beforeAllocation?: () => void
}

/**
 * Maximum number of freed extents that are recorded. More than that force a sync, because the set
 * is searched at every allocation.
 */
const FREED_LIMIT = 8192

export interface CommitterParts {
  readonly device: Device
  readonly geometry: Geometry
  readonly cache: BufferCache
}
export type CommitterMaker = (parts: CommitterParts) => Committer

/** An interface for reading blocks: a volume, or a transaction that pins what it reads. */
export interface BlockReader {
  read(type: BlockType, daddr: number, length: number, pieces?: readonly Piece[]): Buf
}

/**
 * An opened image: device, superblock, geometry, features and cache. All state of the image is in
 * buffers; a volume has no other copy. Several volumes can be open at once.
 */
export class Volume implements BlockReader {
  readonly device: Device
  readonly geometry: Geometry
  readonly features: Features
  readonly cache: BufferCache
  readonly committer: Committer
  readonly writable: boolean
  /** The current time, for timestamps. */
  readonly now: Clock
  readonly beforeAllocation: (() => void) | undefined
  /**
   * Blocks of each AG freed since the last sync. Metadata on the device may still point to them.
   */
  readonly #freed = new Map<number, ExtentSet>()
  #transaction: object | undefined

  private constructor(device: Device, geometry: Geometry, options: OpenOptions) {
    this.device = device
    this.geometry = geometry
    this.features = geometry.features
    this.writable = options.write === true
    this.now = options.now ?? systemClock
    this.beforeAllocation = options.beforeAllocation
    this.cache = new BufferCache(device, geometry, options.cacheBytes)
    const parts = { device, geometry, cache: this.cache }
    this.committer = options.committer?.(parts) ?? this.#inPlace(parts)
  }

  #inPlace({ device, geometry, cache }: CommitterParts): Committer {
    return new InPlaceCommitter(cache, new RepairMark(device, geometry, cache, () => this.superblock()))
  }

  /**
   * Open the filesystem on `device`.
   * @throws XfsError INVAL (not XFS), CORRUPT or BADCRC (the superblock is damaged), UNSUPPORTED
   *   (features)
   */
  static open(device: Device, options: OpenOptions = {}): Volume {
    const primary = readPrimary(device)
    if (!('sb' in primary)) throw primary.error()
    const geometry = geometryOf(primary.sb)
    checkFeatures(geometry, options)
    if (device.size < geometry.sb.dblocks * geometry.blocksize) {
      throw new XfsError(
        'IO',
        `the image is truncated: the superblock has ${geometry.sb.dblocks} blocks of ${geometry.blocksize} bytes, the image has ${device.size} bytes`,
        { type: 'sb', field: 'dblocks' },
      )
    }
    return new Volume(device, geometry, options)
  }

  read(type: BlockType, daddr: number, length: number, pieces?: readonly Piece[]): Buf {
    return this.cache.read(type, daddr, length, pieces)
  }

  superblock(reader: BlockReader = this): Buf {
    return reader.read(blockTypes.sb, 0, this.geometry.sectsize)
  }

  agf(agno: number, reader: BlockReader = this): Buf {
    return this.#header(blockTypes.agf, agno, AG_SECTORS.agf, reader)
  }

  agi(agno: number, reader: BlockReader = this): Buf {
    return this.#header(blockTypes.agi, agno, AG_SECTORS.agi, reader)
  }

  agfl(agno: number, reader: BlockReader = this): Buf {
    return this.#header(blockTypes.agfl, agno, AG_SECTORS.agfl, reader)
  }

  #header(type: BlockType, agno: number, sector: number, reader: BlockReader): Buf {
    if (!(agno >= 0 && agno < this.geometry.agcount)) throw new XfsError('INVAL', `there is no AG ${agno}`, { agno })
    return reader.read(type, this.geometry.agHeaderDaddr(agno, sector), this.geometry.sectsize)
  }

  /** One filesystem block of an AG. @throws XfsError CORRUPT if it is out of range for the AG */
  block(type: BlockType, agno: number, agbno: number, reader: BlockReader = this): Buf {
    if (!this.geometry.validAgbno(agno, agbno)) {
      throw new XfsError('CORRUPT', `${type.name} block ${agno}/${agbno} is out of range for the AG`, {
        agno,
        agbno,
        type: type.name,
      })
    }
    return reader.read(type, this.geometry.daddr(agno, agbno), this.geometry.blocksize)
  }

  /** Called by a transaction when it begins. The previous one must have ended. */
  began(transaction: object): void {
    assert(this.writable, 'transaction on a volume opened read-only')
    assert(this.#transaction === undefined, 'a transaction is already running')
    this.#transaction = transaction
  }

  /** Called by the transaction. */
  ended(transaction: object): void {
    if (this.#transaction === transaction) this.#transaction = undefined
  }

  /** Record that blocks of an AG were freed. Call it when that is committed. */
  recordFreed(agno: number, agbno: number, length: number): void {
    const freed = this.#freed.get(agno) ?? new ExtentSet()
    this.#freed.set(agno, freed)
    freed.add(agbno, length)
    if (freed.size >= FREED_LIMIT) this.#forgetFreed()
  }

  /**
   * Blocks of an AG freed since the last sync. They cannot be written to before the next sync, so
   * other blocks are preferred.
   */
  freedIn(agno: number): ExtentSet | undefined {
    return this.#freed.get(agno)
  }

  /**
   * Call before writing to newly allocated blocks. If they were freed since the last sync, the
   * device may still hold pointers to their old content: this syncs first.
   */
  beforeReuse(daddr: number, lengthBytes: number): void {
    if (this.#freed.size === 0) return
    const freed = this.#freed.get(this.geometry.daddrToAgno(daddr))
    if (freed?.overlaps(this.geometry.daddrToAgbno(daddr), this.geometry.bytesToBlocks(lengthBytes)))
      this.#forgetFreed()
  }

  #forgetFreed(): void {
    this.committer.sync()
    this.#freed.clear()
  }

  /** Write everything committed to the device and leave the image clean. */
  sync(): void {
    this.committer.finish()
    this.#freed.clear()
  }

  /** Finish and release the device. */
  close(): void {
    try {
      if (this.writable) this.sync()
    } finally {
      this.device.close()
    }
  }
}

function checkFeatures({ features, sb }: Geometry, options: OpenOptions): void {
  const { unknown } = features
  const bad = (word: string, bits: number): XfsError =>
    new XfsError('UNSUPPORTED', `the image has unknown features: ${word} bits 0x${bits.toString(16)}`, {
      type: 'sb',
      field: word,
    })
  if (unknown.features_incompat !== 0) throw bad('features_incompat', unknown.features_incompat)
  if (options.write !== true) return
  if (unknown.features_ro_compat !== 0) throw bad('features_ro_compat', unknown.features_ro_compat)
  if (features.version !== 5) throw new XfsError('UNSUPPORTED', 'V4 filesystems are supported read-only')
  for (const feature of ['metadir', 'zoned'] as const) {
    if (features.has(feature)) throw new XfsError('UNSUPPORTED', `filesystems with ${feature} are supported read-only`)
  }
  const fault = superblockFaults(sb, 'primary').find(({ weight }) => weight === 'mount')
  if (fault) {
    throw new XfsError(
      'CORRUPT',
      `superblock: ${fault.field}: ${fault.message}; the image can only be opened read-only`,
      {
        type: 'sb',
        field: fault.field,
      },
    )
  }
  if (features.has('needsrepair') && options.needsRepair !== true) {
    throw new XfsError(
      'CORRUPT',
      'the image is marked NEEDSREPAIR: a change was interrupted; run xfskit repair first',
      { type: 'sb' },
    )
  }
}
