import type { Device } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { LogHead } from '../format/lsn.ts'
import type { BlockType, Fault } from '../format/verify/blocktype.ts'
import { resolveType } from '../format/verify/blocktypes.ts'
import { stamp } from '../format/verify/stamp.ts'
import { verify, verifyFields } from '../format/verify/verify.ts'
import { viewOf } from '../util/view.ts'
import { type Buf, logWeight, type Piece } from './buf.ts'

/** Arrays for old bytes, kept for reuse: allocating one costs ten times as much as filling it. */
const MAX_SPARES = 256

/**
 * The bounded cache of metadata blocks. It verifies a block once, on the first read. Writing stamps
 * the CRC and verifies again, so that bugs of callers do not reach the device. A block that many
 * transactions change is stamped once, when it is written.
 *
 * Committed blocks may stay here (`dirty`) until `sync`. The least recently used clean blocks are
 * dropped; dirty and pinned ones stay. Blocks are keyed by address; a block read as another type is
 * verified as that type first.
 */
export class BufferCache {
  readonly #device: Device
  readonly #geometry: Geometry
  /** Roughly in LRU order: see `#trim`. */
  readonly #bufs = new Map<number, Buf>()
  readonly #dirty = new Set<Buf>()
  /** By length. */
  readonly #spares = new Map<number, Uint8Array[]>()
  readonly #limit: number
  /** Blocks with an LSN ahead of this are refused; set if the image is opened for changes. */
  logHead = LogHead.unknown
  #bytes = 0
  #dirtyWeight = 0

  constructor(device: Device, geometry: Geometry, limitBytes = 64 * 2 ** 20) {
    this.#device = device
    this.#geometry = geometry
    this.#limit = limitBytes
  }

  /**
   * The block at `daddr`.
   * @throws XfsError BADCRC or CORRUPT if it is not a valid block of that type.
   */
  read(type: BlockType, daddr: number, length: number, pieces?: readonly Piece[]): Buf {
    const hit = this.#bufs.get(daddr)
    if (hit && hit.type === type && hit.length === length) return this.#touch(hit)
    const { buf, fault } = this.peek(type, daddr, length, pieces)
    if (fault) throw this.#error(type, daddr, fault)
    return buf
  }

  /** The block at `daddr` and its fault, if any; a faulty block is not kept. */
  peek(type: BlockType, daddr: number, length: number, pieces?: readonly Piece[]): { buf: Buf; fault?: Fault } {
    const hit = this.#bufs.get(daddr)
    if (hit && hit.length === length) {
      if (hit.type === type) return { buf: this.#touch(hit) }
      // The magic number decides between two possible types (a directory leaf or node). A changed
      // block is not stamped yet.
      if (!hit.pinned && !hit.dirty) {
        const fault = verify(type, hit.view, { geometry: this.#geometry, daddr })
        if (fault) return { buf: hit, fault }
        hit.type = type
      }
      return { buf: this.#touch(hit) }
    }
    if (hit) {
      if (hit.pinned || hit.dirty) throw new Error(`block ${daddr} is cached with ${hit.length} bytes, not ${length}`)
      this.#drop(hit)
    }
    const buf = newBuf(type, daddr, new Uint8Array(length), pieces)
    eachPiece(buf, (bytes, position) => this.#device.read(bytes, position))
    return this.#admit(buf)
  }

  /**
   * A zeroed block that replaces the one on the device; the caller fills it within a transaction.
   */
  create(type: BlockType, daddr: number, length: number, pieces?: readonly Piece[]): Buf {
    const old = this.#bufs.get(daddr)
    if (old) this.#drop(old)
    const buf = newBuf(type, daddr, new Uint8Array(length), pieces)
    this.#keep(buf)
    return buf
  }

  /** The cached block, if any, without reading. */
  cached(daddr: number): Buf | undefined {
    return this.#bufs.get(daddr)
  }

  /**
   * Call `action` with the address of each cached block among `count` blocks from `daddr`, `step`
   * basic blocks apart.
   */
  forEachIn(daddr: number, count: number, step: number, action: (daddr: number) => void): void {
    if (count <= this.#bufs.size) {
      for (let at = daddr; at < daddr + count * step; at += step) if (this.#bufs.has(at)) action(at)
      return
    }
    for (const at of [...this.#bufs.keys()]) if (at >= daddr && at < daddr + count * step) action(at)
  }

  /** Remove a block from the cache, changed or not. */
  drop(daddr: number): void {
    const buf = this.#bufs.get(daddr)
    if (buf) this.#drop(buf)
  }

  /** Put back a block that `drop` removed. */
  restore(buf: Buf): void {
    const other = this.#bufs.get(buf.daddr)
    if (other && other !== buf) this.#drop(other)
    this.#keep(buf)
    if (buf.dirty) this.#setDirty(buf)
  }

  /** The block has changes that are not on the device. */
  markDirty(buf: Buf): void {
    buf.dirty = true
    this.#setDirty(buf)
  }

  /** Maximum bytes that all dirty blocks take in the log. */
  get dirtyWeight(): number {
    return this.#dirtyWeight
  }

  /** Committed blocks that are not on the device yet, in disk order, as committed and stamped. */
  dirtyBlocks(): Buf[] {
    return [...this.#dirty].sort((a, b) => a.daddr - b.daddr).map((buf) => this.#stable(buf))
  }

  /** Verify and write every dirty block, in disk order. */
  writeDirty(): void {
    const bufs = [...this.#dirty].sort((a, b) => a.daddr - b.daddr)
    for (const buf of bufs) this.writeOne(buf)
    this.#trim()
  }

  /** Stamp, verify and write one block as it was committed. */
  writeOne(buf: Buf): void {
    const context = { geometry: this.#geometry, daddr: buf.daddr }
    const stable = this.#stable(buf)
    const fault = verify(stable.type, stable.view, context)
    if (fault) throw new Error(`refusing to write a bad ${buf.type.name} block at ${buf.daddr}: ${fault.message}`)
    eachPiece(stable, (bytes, position) => this.#device.write(bytes, position))
    buf.dirty = false
    this.#dropDirty(buf)
  }

  /** Replace `buf`, which leaves the cache, by `copy` in the list of dirty blocks. */
  replaceDirty(buf: Buf, copy: Buf): void {
    if (this.#dropDirty(buf)) this.#setDirty(copy)
  }

  /** The block no longer needs to be written. */
  dropDirty(buf: Buf): void {
    this.#dropDirty(buf)
  }

  /**
   * @throws XfsError CORRUPT if the block violates the rules of its type; the CRC is not checked
   */
  checkFields(buf: Buf): void {
    const fault = verifyFields(buf.type, buf.view, { geometry: this.#geometry, daddr: buf.daddr })
    if (fault) throw this.#error(buf.type, buf.daddr, fault)
  }

  /** Keep the bytes of a block that is about to change. */
  keepBefore(buf: Buf): void {
    buf.before = this.#spares.get(buf.length)?.pop() ?? new Uint8Array(buf.length)
    buf.before.set(buf.bytes)
  }

  /** Drop the old bytes. */
  dropBefore(buf: Buf): void {
    if (!buf.before) return
    const spares = this.#spares.get(buf.length)
    if (!spares) this.#spares.set(buf.length, [buf.before])
    else if (spares.length < MAX_SPARES) spares.push(buf.before)
    buf.before = undefined
  }

  /**
   * The changes of the block are complete. Its CRC is computed when it is written. In a block of
   * several units (inodes) the changed ones are stamped now, because later they are not known.
   */
  commit(buf: Buf): void {
    if (buf.type.unit) stamp(buf.type, buf.view, { geometry: this.#geometry, daddr: buf.daddr }, buf.before)
    else buf.unstamped = true
    buf.verified = undefined
    this.dropBefore(buf)
  }

  /**
   * The block as it was last committed, stamped. While the block is being changed, it is stamped
   * each time: the changes may be undone.
   */
  #stable(buf: Buf): Buf {
    const stable = committed(buf)
    if (buf.unstamped) {
      stamp(stable.type, stable.view, { geometry: this.#geometry, daddr: buf.daddr })
      buf.unstamped = stable !== buf
    }
    return stable
  }

  #admit(buf: Buf): { buf: Buf; fault?: Fault } {
    const fault = verify(buf.type, buf.view, { geometry: this.#geometry, daddr: buf.daddr })
    if (fault) return { buf, fault }
    const { lsnOffset } = resolveType(buf.type, buf.view, this.#geometry) ?? buf.type
    if (lsnOffset !== undefined && this.#geometry.features.version === 5 && this.logHead.isAhead(buf.view, lsnOffset))
      return { buf, fault: { field: 'lsn', message: `${this.logHead.text(buf.view, lsnOffset)}; ${REMEDY}` } }
    this.#keep(buf)
    return { buf }
  }

  /** Make room before inserting a block: the new block is not pinned yet. */
  #keep(buf: Buf): void {
    if (this.#bytes + buf.length > this.#limit) this.#trim()
    this.#bufs.set(buf.daddr, buf)
    this.#bytes += buf.length
  }

  /**
   * Reordering a Map at each hit is too slow: a hit sets a flag, and `#trim` gives the block a
   * second chance.
   */
  #touch(buf: Buf): Buf {
    buf.used = true
    return buf
  }

  #setDirty(buf: Buf): void {
    if (this.#dirty.has(buf)) return
    this.#dirty.add(buf)
    this.#dirtyWeight += logWeight(buf)
  }

  #dropDirty(buf: Buf): boolean {
    if (!this.#dirty.delete(buf)) return false
    this.#dirtyWeight -= logWeight(buf)
    return true
  }

  #drop(buf: Buf): void {
    if (this.#bufs.get(buf.daddr) === buf) {
      this.#bufs.delete(buf.daddr)
      this.#bytes -= buf.length
    }
    this.#dropDirty(buf)
  }

  #trim(): void {
    for (const buf of this.#bufs.values()) {
      if (this.#bytes <= this.#limit / 2) break
      if (buf.pinned || buf.dirty) continue
      if (!buf.used) this.#drop(buf)
      else {
        // Move it to the end: the loop visits it again.
        buf.used = false
        this.#bufs.delete(buf.daddr)
        this.#bufs.set(buf.daddr, buf)
      }
    }
  }

  #error(type: BlockType, daddr: number, fault: Fault): XfsError {
    const agno = this.#geometry.daddrToAgno(daddr)
    const agbno = this.#geometry.daddrToAgbno(daddr)
    const where = { type: type.name, daddr, agno, agbno, ...(fault.field ? { field: fault.field } : {}) }
    return new XfsError(
      fault.crc ? 'BADCRC' : 'CORRUPT',
      `${type.name} block ${agno}/${agbno}: ${fault.message}`,
      where,
    )
  }
}

/** Changes of such a block would be skipped when the log is replayed. */
const REMEDY = 'xfskit repair formats the log after all metadata'

const newBuf = (type: BlockType, daddr: number, bytes: Uint8Array, pieces?: readonly Piece[]): Buf => ({
  daddr,
  length: bytes.length,
  ...(pieces ? { pieces } : {}),
  type,
  bytes,
  view: viewOf(bytes),
  dirty: false,
  pinned: false,
  used: false,
  before: undefined,
  unstamped: false,
  verified: undefined,
})

/** The block as it was last committed. */
export const committed = (buf: Buf): Buf => (buf.before ? { ...buf, bytes: buf.before, view: viewOf(buf.before) } : buf)

/** The parts of a block with their places on the device, in bytes. */
function eachPiece(buf: Buf, action: (bytes: Uint8Array, position: number) => void): void {
  if (!buf.pieces) {
    action(buf.bytes, buf.daddr * BASIC_BLOCK)
    return
  }
  let at = 0
  for (const { daddr, length } of buf.pieces) {
    action(buf.bytes.subarray(at, at + length), daddr * BASIC_BLOCK)
    at += length
  }
}
