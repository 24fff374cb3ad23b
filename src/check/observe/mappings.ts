import { BmbtRec } from '../../format/btrecs.ts'
import type { Geometry } from '../../format/geometry.ts'
import { counted } from '../../util/counted.ts'
import { ATTR_FORK, type Extents, SHAREABLE, UNWRITTEN } from '../extents.ts'
import { InodeFlag, type Inodes, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './inodetable.ts'

const { extentflag, startoff, startblock, blockcount } = BmbtRec.fields

/** Takes the mappings of a fork; also the target of the bmbt leaves. */
export class MappingSink {
  readonly #inodes: Inodes
  readonly #geometry: Geometry
  readonly #owned: readonly Extents[]
  readonly #reflink: boolean
  readonly #bad: (slot: number, reason: string) => void
  /** The AG and row of the first and the last row of the last call; −1 if it added none. */
  firstAg = -1
  firstRow = -1
  lastAg = -1
  lastRow = -1
  #nextFsbno = -1
  #nextOffset = -1
  #flags = -1

  constructor(inodes: Inodes, owned: readonly Extents[], bad: (slot: number, reason: string) => void) {
    this.#inodes = inodes
    this.#geometry = inodes.geometry
    this.#owned = owned
    this.#reflink = this.#geometry.features.has('reflink')
    this.#bad = bad
  }

  /**
   * Add records of 16 bytes in file order, the first at offset `floor` or later.
   * @returns the offset after the last one
   */
  records(slot: number, ino: number, fork: number, view: DataView, at: number, count: number, floor: number): number {
    const inodes = this.#inodes
    const { maps } = inodes
    const mode = inodes.mode.get(slot)
    const kind = mode & S_IFMT
    // Without a realtime device the flag is wrong: the fork maps blocks of the AGs, as all others
    // do.
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
    for (let i = 0; i < count; i++, at += BmbtRec.size) {
      const unwritten = extentflag.get(view, at)
      const offset = startoff.get(view, at)
      const fsbno = startblock.get(view, at)
      const length = blockcount.get(view, at)
      blocks += length
      if (length === 0 || offset < end) {
        this.#disordered(slot, i, offset, length, end)
        continue
      }
      end = offset + length
      if (unwritten === 1 && (fork === ATTR_FORK || kind !== S_IFREG)) this.#unwritten(slot, offset)
      if (realtime) continue
      if (!this.#geometry.validFsbnoRange(fsbno, length)) {
        this.#outside(slot, offset, fsbno, length)
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

  #disordered(slot: number, index: number, offset: number, length: number, end: number): void {
    const message =
      length === 0
        ? `extent ${index} is empty`
        : `extent ${index} at offset ${offset} starts before the previous one ends (${end})`
    this.#bad(slot, message)
  }

  #unwritten(slot: number, offset: number): void {
    this.#bad(slot, `the extent at offset ${offset} is unwritten, but not data of a regular file`)
  }

  #outside(slot: number, offset: number, fsbno: number, length: number): void {
    const place = `block ${fsbno}, ${counted(length, 'block')}`
    this.#bad(slot, `the extent at offset ${offset} (${place}) is outside of the filesystem`)
  }

  /** Add a row, or extend the last one: reverse mappings have no maximum length. */
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
