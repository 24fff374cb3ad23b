import type { Buf } from '../buffer/buf.ts'
import type { BufferCache } from '../buffer/cache.ts'
import { type Committer, weightWith } from '../buffer/commit.ts'
import type { Device } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { BLF_CHUNK, BLF_TYPE_SHIFT, BlfTypes, BufLogFormat, LogItemTypes } from '../format/logitems.ts'
import { treeNames } from '../format/trees.ts'
import { resolveType } from '../format/verify/blocktypes.ts'
import type { CommitterMaker, CommitterParts } from '../volume.ts'
import { LogWriter } from './records.ts'
import { type LogState, logState } from './ring.ts'

/**
 * Committed blocks are first written to the log as one transaction. When that is durable, they are
 * written in place.
 *
 *   file data ─▶ flush ─▶ log: start, blocks, commit ─▶ flush ─▶ blocks in place
 *             ─▶ (flush) ─▶ next transaction, or at the end the unmount record
 *
 * If the writer is killed before the commit record is complete, nothing has changed, except file
 * data in unreferenced blocks. If it is killed later, replay of the log (by the kernel at mount, or
 * by xfskit recover) writes all the blocks again. So a change of any number of blocks is atomic.
 *
 * Complete blocks are logged as buffer items, including blocks of inodes: recovery copies them to
 * their places. A transaction has all changes since the last one, so it needs no intents. All
 * blocks are in place before the next one begins, so its first record is always the tail.
 *
 * NEEDSREPAIR is not set meanwhile: the kernel would not mount the image, whose log suffices.
 *
 * Source: XFS Delayed Logging Design; fs/xfs/xfs_buf_item_recover.c (the items that recovery
 * accepts).
 */
class LoggedCommitter implements Committer {
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #cache: BufferCache
  readonly #log: LogWriter
  readonly #limit: number
  readonly capacity: number
  #written = false
  /** The error after which nothing more is written. */
  #failure: unknown

  /** @param state of a clean log */
  constructor({ device, geometry, cache }: CommitterParts, state: LogState, limitBytes = 32 * 2 ** 20) {
    this.#device = device
    this.#geometry = geometry
    this.#cache = cache
    this.#log = new LogWriter(device, geometry, state)
    this.capacity = this.#log.capacity
    this.#limit = Math.min(limitBytes, this.capacity)
  }

  makeRoom(changed: Iterable<Buf>): void {
    if (this.#failure) throw this.#failure
    if (weightWith(this.#cache, changed) > this.#limit) this.sync()
    // File data that is written later must not use this space.
    this.#log.allocate(weightWith(this.#cache, changed))
  }

  commit(changed: Iterable<Buf>): void {
    for (const buf of changed) this.#cache.markDirty(buf)
  }

  sync(): void {
    const weight = this.#cache.dirtyWeight
    if (weight === 0) return
    this.#step('changes since the last write to the log are lost', () => {
      this.#device.flush()
      this.#log.allocate(weight)
    })
    this.#step('the change is not complete in the log: run xfskit recover', () => {
      const blocks = this.#cache.dirtyBlocks()
      const items = blocks.flatMap((buf) => logItems(buf, this.#geometry))
      this.#log.transaction(items.length, regionsOf(items))
    })
    this.#written = true
    this.#step('the log contains the change: free space on the host, then run xfskit recover', () =>
      this.#cache.writeDirty(),
    )
  }

  finish(): void {
    if (this.#failure) throw this.#failure
    this.sync()
    if (!this.#written) return
    this.#step('the log contains the change: free space on the host, then run xfskit recover', () => {
      this.#device.flush()
      this.#log.unmount()
    })
    this.#written = false
  }

  /** After a device error nothing more is written: recovery restores the state of the log. */
  #step(consequence: string, action: () => void): void {
    if (this.#failure) throw this.#failure
    try {
      action()
    } catch (error) {
      this.#failure =
        error instanceof XfsError
          ? new XfsError('IO', `${error.message}; ${consequence}`, error.where, { cause: error })
          : error
      throw this.#failure
    }
  }
}

/** One contiguous piece of a block. */
interface BufferItem {
  readonly daddr: number
  readonly type: number
  readonly bytes: Uint8Array
}

function* regionsOf(items: readonly BufferItem[]): Generator<Uint8Array> {
  for (const { daddr, type, bytes } of items) {
    yield bufferFormat(daddr, type, bytes.length)
    yield bytes
  }
}

/** A block in several parts is logged as raw parts: recovery cannot verify a single part. */
function logItems(buf: Buf, geometry: Geometry): BufferItem[] {
  if (!buf.pieces) return [{ daddr: buf.daddr, type: typeCode(buf, geometry), bytes: buf.bytes }]
  let at = 0
  return buf.pieces.map(({ daddr, length }) => {
    at += length
    return { daddr, type: BlfTypes.unknown, bytes: buf.bytes.subarray(at - length, at) }
  })
}

const codes: Readonly<Record<string, number>> = {
  ...BlfTypes,
  ...Object.fromEntries(treeNames.map((tree) => [tree, BlfTypes.btree])),
}

const typeCode = (buf: Buf, geometry: Geometry): number =>
  codes[resolveType(buf.type, buf.view, geometry)?.name ?? ''] ?? BlfTypes.unknown

/**
 * The header of a buffer item that logs all of its bytes. Only the used words of the map are
 * written.
 */
function bufferFormat(daddr: number, type: number, length: number): Uint8Array {
  const chunks = length / BLF_CHUNK
  const words = Math.ceil(chunks / 32)
  const map = Array.from({ length: words }, (_, i) => (chunks - i * 32 >= 32 ? 0xffffffff : 2 ** (chunks - i * 32) - 1))
  const bytes = new Uint8Array(BufLogFormat.size)
  BufLogFormat.little.encode(new DataView(bytes.buffer), 0, {
    type: LogItemTypes.buf,
    size: 2,
    flags: (type << BLF_TYPE_SHIFT) & 0xffff,
    len: length / BASIC_BLOCK,
    blkno: daddr,
    map_size: words,
    data_map: map,
  })
  return bytes.subarray(0, BufLogFormat.big.fields.data_map.offset + words * 4)
}

const cleanLog = ({ device, geometry }: CommitterParts): LogState => {
  const state = logState({ device, geometry, features: geometry.features })
  if (!state.clean) throw new XfsError('DIRTYLOG', 'the log is dirty; replay it first', { type: 'log' })
  return state
}

/**
 * For `Volume.open`: commits go through the log. A killed writer leaves a log that the kernel can
 * replay.
 * @throws XfsError DIRTYLOG; UNSUPPORTED (an external log)
 */
export const loggedCommits: CommitterMaker = (parts) => new LoggedCommitter(parts, cleanLog(parts))
