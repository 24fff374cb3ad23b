import { XfsError } from '../errors.ts'
import { BmdrBlock, LongBlock } from '../format/btblock.ts'
import { BmbtRec, MAX_FILE_BLOCKS } from '../format/btrecs.ts'
import { DIFLAGS, DIFLAGS2, Dinode, FORK_FORMATS, flags2Of } from '../format/dinode.ts'
import { get64 } from '../format/fields.ts'
import { forkShape } from '../format/forkshape.ts'
import { treeForms } from '../format/trees.ts'
import { maxRecords, rootMaxRecords } from '../format/treesizes.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { findShared } from '../space/refcount.ts'
import { ExtentSet } from '../util/extentset.ts'
import type { BlockReader, Volume } from '../volume.ts'

/**
 * Checks the forks of an inode before it is changed. Code that maps and unmaps depends on records
 * that ascend and do not overlap, on a bmbt whose keys and siblings match its leaves, and on blocks
 * that an inode maps only once. Readers verify each record when they reach it. Before a change both
 * forks are verified completely: otherwise a fault in the last record would be found when half of
 * the file is already changed.
 */

/** Inodes whose bmbt was verified since the volume was opened. Later changes keep it valid. */
const verifiedTrees = new WeakMap<Volume, Set<number>>()

/**
 * Verify both forks of the inode at `at` in `view`, which `verifyInode` has accepted.
 * @param changing a transaction has changed the block of inodes: changes of reference counts may be
 *   queued
 * @throws XfsError CORRUPT: an extent is empty, out of order, out of range for the AG, or maps
 *   blocks that the inode also maps elsewhere; keys, levels or siblings of the bmbt are wrong;
 *   nextents or nblocks does not match. BADCRC: a block of the bmbt
 */
export function verifyForks(
  volume: Volume,
  ino: number,
  view: DataView,
  at: number,
  reader: BlockReader,
  changing: boolean,
): void {
  const { geometry } = volume
  const dataFormat = core.format.get(view, at)
  const attrFormat = core.forkoff.get(view, at) === 0 ? NO_FORK : core.aformat.get(view, at)
  const tree = dataFormat === FORK_FORMATS.btree || attrFormat === FORK_FORMATS.btree
  if (tree && verifiedTrees.get(volume)?.has(ino)) return
  const shape = forkShape(view, at, geometry)
  const scan = new ForkScan(volume, ino, view, at, reader)
  const start = at + geometry.coresize
  scan.fork('data', start, dataFormat, shape.dataSize, shape.nextents)
  scan.fork('attr', start + shape.dataSize, attrFormat, shape.attrSize, shape.anextents)
  if (dataFormat !== FORK_FORMATS.metabtree) scan.finish(changing)
  if (!tree || changing) return
  const known = verifiedTrees.get(volume) ?? new Set()
  verifiedTrees.set(volume, known.add(ino))
}

const core = Dinode.fields
const NO_FORK = -1
const NULLFSBLOCK = -1
const { startoff, startblock, blockcount, extentflag } = BmbtRec.fields
const long = LongBlock.fields
const { keySize: KEY, ptrSize: PTR } = treeForms.bmbt

/** A block of a bmbt to read, and the key that points to it. */
interface BmbtChild {
  readonly ptr: number
  readonly key: number
}

class ForkScan {
  readonly #volume: Volume
  readonly #ino: number
  readonly #reader: BlockReader
  readonly #view: DataView
  readonly #realtime: boolean
  readonly #reflink: boolean
  readonly #nblocks: number
  /**
   * Every extent of the inode: first block, end, and whether other mappings may share it.
   */
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  readonly #shareable: boolean[] = []
  #blocks = 0
  #fork: 'data' | 'attr' = 'data'
  /** Records of the fork so far, and the end of the last one. */
  #count = 0
  #floor = 0

  constructor(volume: Volume, ino: number, view: DataView, at: number, reader: BlockReader) {
    this.#volume = volume
    this.#ino = ino
    this.#reader = reader
    this.#view = view
    this.#realtime = (core.flags.get(view, at) & DIFLAGS.realtime) !== 0
    this.#reflink = volume.features.version === 5 && (flags2Of(view, at) & DIFLAGS2.reflink) !== 0
    this.#nblocks = core.nblocks.get(view, at)
  }

  fork(fork: 'data' | 'attr', start: number, format: number, size: number, extents: number): void {
    this.#fork = fork
    this.#count = 0
    this.#floor = 0
    if (format === FORK_FORMATS.extents) this.#records(this.#view, start, extents)
    else if (format === FORK_FORMATS.btree) this.#tree(start, size)
    else return
    if (this.#count !== extents) throw this.#error(`${this.#count} extents, nextents is ${extents}`)
  }

  /** After both forks: check that no block is mapped twice, and that nblocks is correct. */
  finish(changing: boolean): void {
    if (this.#blocks !== this.#nblocks)
      throw this.#error(`nblocks is ${this.#nblocks}, the forks have ${this.#blocks} blocks`)
    // Extents are disjoint if, in sorted starts and ends, no start is below the previous end.
    const starts = Float64Array.from(this.#starts).sort()
    const ends = Float64Array.from(this.#ends).sort()
    for (let i = 1; i < starts.length; i++) {
      if ((starts[i] as number) >= (ends[i - 1] as number)) continue
      this.#verifyOverlaps(changing)
      return
    }
  }

  #records(view: DataView, from: number, count: number): void {
    const { geometry } = this.#volume
    const realtime = this.#realtime && this.#fork === 'data'
    for (let i = 0, at = from; i < count; i++, at += BmbtRec.size) {
      const offset = startoff.get(view, at)
      const block = startblock.get(view, at)
      const length = blockcount.get(view, at)
      const wrong =
        length === 0
          ? 'is empty'
          : offset < this.#floor
            ? `begins before the end of the previous one (${this.#floor})`
            : offset + length > MAX_FILE_BLOCKS
              ? 'exceeds the maximum file offset'
              : realtime || geometry.validFsbnoRange(block, length)
                ? undefined
                : 'is out of range for the AG'
      if (wrong) throw this.#error(`the extent [${offset}, +${length}) at block ${block} ${wrong}`)
      this.#floor = offset + length
      this.#count++
      this.#blocks += length
      if (!realtime) this.#add(block, length, this.#fork === 'data' && extentflag.get(view, at) === 0)
    }
  }

  #add(block: number, length: number, shareable: boolean): void {
    this.#starts.push(block)
    this.#ends.push(block + length)
    this.#shareable.push(shareable && this.#reflink)
  }

  /** The blocks of a bmbt, level by level. */
  #tree(start: number, size: number): void {
    const { geometry } = this.#volume
    const root = BmdrBlock.decode(this.#view, start)
    const most = rootMaxRecords(size)
    let row = children(this.#view, start + BmdrBlock.size, most, root.numrecs)
    const seen = new Set<number>()
    for (let level = root.level - 1; level >= 0; level--) {
      const below: BmbtChild[] = []
      for (const [i, { ptr, key }] of row.entries()) {
        if (seen.has(ptr)) throw this.#error(`two pointers of the bmbt refer to block ${ptr}`)
        seen.add(ptr)
        const view = this.#block(ptr, level, row[i - 1]?.ptr ?? NULLFSBLOCK, row[i + 1]?.ptr ?? NULLFSBLOCK)
        const count = long.numrecs.get(view, 0)
        const first = count === 0 ? key : startoffOrKey(view, geometry.longHeader, level)
        if (first !== key) throw this.#error(`bmbt block ${ptr} begins at ${first}, expected key ${key}`)
        if (count === 0 && (row.length > 1 || level > 0)) throw this.#error(`bmbt block ${ptr} is empty`)
        if (level === 0) this.#records(view, geometry.longHeader, count)
        else {
          const fits = maxRecords(geometry, 'bmbt', level)
          for (const child of children(view, geometry.longHeader, fits, count)) below.push(child)
        }
        this.#blocks++
        this.#add(ptr, 1, false)
      }
      row = below
    }
  }

  #block(ptr: number, level: number, left: number, right: number): DataView {
    const { geometry, features } = this.#volume
    if (!geometry.validFsbnoRange(ptr, 1))
      throw this.#error(`a bmbt pointer refers to block ${ptr}, which does not exist`)
    const { view } = this.#volume.block(blockTypes.bmbt, geometry.agnoOf(ptr), geometry.agbnoOf(ptr), this.#reader)
    const expected = { level, leftsib: left, rightsib: right, ...(features.version === 5 ? { owner: this.#ino } : {}) }
    for (const [name, value] of Object.entries(expected)) {
      const found = long[name as keyof typeof expected].get(view, 0)
      if (found !== value) throw this.#error(`bmbt block ${ptr} has ${name} ${found}, expected ${value}`)
    }
    return view
  }

  /**
   * Blocks that the inode maps more than once. All of them must be shared data that the refcountbt
   * counts.
   */
  #verifyOverlaps(changing: boolean): void {
    const { geometry } = this.#volume
    const order = Uint32Array.from(this.#starts.keys()).sort(
      (a, b) => (this.#starts[a] as number) - (this.#starts[b] as number),
    )
    const twice = new ExtentSet()
    let last = order[0] as number
    for (const run of order.subarray(1)) {
      const [start, end, lastEnd] = [this.#starts[run], this.#ends[run], this.#ends[last]] as [number, number, number]
      if (start < lastEnd) {
        if (!this.#shareable[run] || !this.#shareable[last]) throw this.#overlap(start)
        twice.add(start, Math.min(end, lastEnd) - start)
      }
      if (end > lastEnd) last = run
    }
    if (changing) return
    for (const { start, length } of twice) {
      const agbno = geometry.agbnoOf(start)
      const shared = findShared(this.#volume, this.#reader, geometry.agnoOf(start), agbno, length)
      if (shared?.agbno !== agbno || shared.length !== length) throw this.#overlap(start)
    }
  }

  #overlap(block: number): XfsError {
    return this.#error(`block ${block} is mapped twice, but is not shared`)
  }

  #error(message: string): XfsError {
    return new XfsError('CORRUPT', `inode ${this.#ino}, ${this.#fork} fork: ${message}`, {
      type: 'inode',
      ino: this.#ino,
    })
  }
}

/**
 * Keys and pointers of a node, or of a root in an inode. The pointers follow the space for `most`
 * keys.
 */
const children = (view: DataView, keys: number, most: number, count: number): BmbtChild[] =>
  Array.from({ length: count }, (_, i) => ({
    key: get64(view, keys + KEY * i),
    ptr: get64(view, keys + KEY * most + PTR * i),
  }))

/** The first key of a node, or the offset of the first record of a leaf. */
const startoffOrKey = (view: DataView, at: number, level: number): number =>
  level === 0 ? startoff.get(view, at) : get64(view, at)
