import { FILE_TYPES, INODES_PER_CHUNK } from '../../format/dinode.ts'
import type { Geometry } from '../../format/geometry.ts'
import { f64Column, u8Column, u16Column, u32Column } from '../../util/columns.ts'

/**
 * Every inode, and the blocks that its forks map. Tests: cores, extents within the filesystem and
 * in file order, counts of extents and blocks. Collects: one slot per inode (64 per chunk), and one
 * row per mapping in the table of the AG of the blocks.
 */

export const InodeState = { none: 0, sound: 1, bad: 2 } as const
/** `unread`: not all that its forks map is known. */
export const InodeFlag = { reflink: 1, realtime: 2, metadata: 4, unread: 8 } as const

/** Reads forks that have no extents, and selects the forks whose mappings are kept. */
export interface ForkVisitor {
  /** A shortform directory or a symbolic link inside the inode. */
  localData(slot: number, ino: number, mode: number, view: DataView, at: number, size: number): void
  localAttr(slot: number, ino: number, view: DataView, at: number, size: number): void
}

export class Inodes {
  readonly geometry: Geometry
  /** One row per chunk. Slot = 64 × chunk + index in it. */
  readonly chunkAgno = u32Column()
  readonly chunkAgino = u32Column()
  readonly state = u8Column()
  /** 0 for a free inode. */
  readonly mode = u16Column()
  readonly flags = u8Column()
  readonly nlink = u32Column()
  readonly gen = u32Column()
  readonly size = f64Column()
  /** As stated in the core. */
  readonly nblocks = f64Column()
  readonly nextents = f64Column()
  readonly anextents = f64Column()
  /** As counted. */
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

  /** Chunks of an AG must be added in ascending order. */
  addChunk(agno: number, agino: number): number {
    const chunk = this.chunkAgno.length
    this.chunkAgno.push(agno)
    this.chunkAgino.push(agino)
    for (const column of [
      this.state,
      this.mode,
      this.flags,
      this.nlink,
      this.gen,
      this.size,
      this.nblocks,
      this.nextents,
      this.anextents,
      this.foundBlocks,
      this.foundExtents,
      this.foundAttrExtents,
    ])
      column.extend(INODES_PER_CHUNK)
    let chunks = this.#chunksOf[agno]
    if (!chunks) this.#chunksOf[agno] = chunks = []
    chunks.push({ agino, chunk })
    return chunk
  }

  /** Remove chunks of an AG that contain no inodes. */
  rejectChunks(agno: number, rejected: ReadonlySet<number>): void {
    const chunks = this.#chunksOf[agno]
    if (chunks && rejected.size > 0) this.#chunksOf[agno] = chunks.filter(({ chunk }) => !rejected.has(chunk))
  }

  /** Chunks of an AG, in ascending order. */
  chunks(agno: number): readonly { readonly agino: number; readonly chunk: number }[] {
    return this.#chunksOf[agno] ?? []
  }

  /** The slot of an inode number, −1 if no chunk has it. */
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

  /** Is the inode in use, and all known that its forks map? */
  isKnown(ino: number): boolean {
    const slot = this.slot(ino)
    return (
      slot >= 0 &&
      this.state.get(slot) === InodeState.sound &&
      this.mode.get(slot) !== 0 &&
      (this.flags.get(slot) & InodeFlag.unread) === 0
    )
  }

  /** Could every inode of an AG be read? */
  allSound(agno: number): boolean {
    return this.chunks(agno).every(({ chunk }) => {
      const first = chunk * INODES_PER_CHUNK
      return !this.state.data.subarray(first, first + INODES_PER_CHUNK).includes(InodeState.bad)
    })
  }

  ino(slot: number): number {
    const chunk = Math.floor(slot / INODES_PER_CHUNK)
    return this.geometry.ino(this.chunkAgno.get(chunk), this.chunkAgino.get(chunk) + (slot % INODES_PER_CHUNK))
  }
}

/** Mappings whose blocks are read: those of directories, attributes and symbolic links. */
class ForkMaps {
  readonly slot = u32Column()
  readonly fork = u8Column()
  readonly offset = f64Column()
  readonly fsbno = f64Column()
  readonly count = u32Column()
  get length(): number {
    return this.slot.length
  }
}

export { S_IFMT } from '../../format/dinode.ts'
export const { reg: S_IFREG, dir: S_IFDIR, lnk: S_IFLNK } = FILE_TYPES

/** An inode chunk before it is read. */
export interface Chunk {
  readonly agino: number
  /** One bit per four inodes; set if they have no blocks. */
  readonly holemask: number
}

/** Is inode `index` of a chunk in a hole? */
export const isHole = (holemask: number, index: number): boolean => ((holemask >>> Math.floor(index / 4)) & 1) !== 0
