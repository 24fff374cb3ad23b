import type { Device } from '../../device/device.ts'
import { BTREE_MAGICS } from '../../format/btrecs.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import type { LogHead } from '../../format/lsn.ts'
import { BMBT_BLOCK, type Extents, f64Column, orderByU32, u8Column, u32Column } from '../columns.ts'
import type { Findings } from '../findings.ts'
import { type Forest, KEY_NUMBERS, Level, readChildren, walkForest } from './forest.ts'
import type { Inodes } from './inodetable.ts'
import type { MappingSink } from './mappings.ts'
import type { Scene } from './scene.ts'

/**
 * The block maps of all forks in btree form, read together: so their blocks come in order of the disk, not of the inodes.
 * Where one leaf ends and the next begins, mappings that go on are joined afterwards, because reverse mappings are.
 */
export class BmbtForest {
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #inodes: Inodes
  readonly #metadata: readonly Extents[]
  readonly #mappings: readonly Extents[]
  readonly #findings: Findings
  readonly #head: LogHead
  readonly #blind: () => void
  /** One row a fork. */
  readonly #slot = u32Column()
  readonly #ino = f64Column()
  readonly #fork = u8Column()
  readonly #roots: Level[] = []
  /** One row a leaf, to join across its borders. */
  readonly #edges = new Edges()
  readonly #forest: Forest

  constructor(
    scene: Scene,
    inodes: Inodes,
    metadata: readonly Extents[],
    mappings: readonly Extents[],
    sink: MappingSink,
    blind: () => void,
  ) {
    this.#device = scene.device
    this.#geometry = scene.geometry
    this.#findings = scene.findings
    this.#head = scene.head
    this.#inodes = inodes
    this.#metadata = metadata
    this.#mappings = mappings
    this.#blind = blind
    this.#forest = this.#makeForest(sink)
  }

  /** A root block inside an inode; what it states was verified with the inode. */
  addRoot(slot: number, ino: number, fork: number, view: DataView, at: number, size: number): void {
    const tree = this.#slot.length
    this.#slot.push(slot)
    this.#ino.push(ino)
    this.#fork.push(fork)
    const height = view.getUint16(at) - 1
    const count = view.getUint16(at + 2)
    const most = Math.floor((size - 4) / 16)
    let level = this.#roots[height]
    if (!level) this.#roots[height] = level = new Level()
    readChildren(this.#forest, view, at + 4, at + 4 + most * 8, count, tree, level)
  }

  walk(): void {
    walkForest(
      this.#device,
      this.#geometry,
      this.#forest,
      this.#roots.length - 1,
      (height) => this.#roots[height],
      this.#blind,
    )
    this.#edges.join(this.#mappings)
  }

  #makeForest(sink: MappingSink): Forest {
    const geometry = this.#geometry
    const inodes = this.#inodes
    const readKey: Forest['readKey'] = (view, at, out, row) => {
      out[row * KEY_NUMBERS] = view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4)
    }
    const readRecKey: Forest['readRecKey'] = (view, at, out, row) => {
      out[row * KEY_NUMBERS] = (view.getUint32(at) & 0x7fffffff) * 2 ** 23 + (view.getUint32(at + 4) >>> 9)
    }
    return {
      tree: 'bmbt', magic: BTREE_MAGICS.bmbt, keySize: 8, ptrSize: 8, recSize: 16, head: this.#head, readKey, readRecKey,
      owner: (t) => this.#ino.get(t),
      position: (_, ptr) => (geometry.validFsbnoRange(ptr, 1) ? geometry.fsbToDaddr(ptr) * BASIC_BLOCK : -1),
      block: (t, ptr) => {
        const slot = this.#slot.get(t)
        inodes.foundBlocks.data[slot] = inodes.foundBlocks.get(slot) + 1
        this.#metadata[geometry.agnoOf(ptr)]?.push(geometry.agbnoOf(ptr), 1, this.#ino.get(t), 0, this.#fork.get(t) | BMBT_BLOCK)
      },
      leaf: (t, view, at, count, limit, row, last) => {
        const end = sink.records(this.#slot.get(t), this.#ino.get(t), this.#fork.get(t), view, at, count, 0)
        this.#edges.add(t, row - 1, sink)
        return !last && end > (limit[row * KEY_NUMBERS] as number) ? 'the last record reaches into the next leaf' : undefined
      },
      fault: (t, kind, ptr, level, reason) => {
        const facts = { ino: this.#ino.get(t), fsbno: ptr, agno: geometry.agnoOf(ptr), agbno: geometry.agbnoOf(ptr), level, reason }
        this.#findings.add(`bmbt.${kind}`, facts)
      },
    } // biome-ignore format: short
  }
}

/** The first and the last row that each leaf put into the tables of the groups. */
class Edges {
  readonly #tree = u32Column()
  /** In tree order. */
  readonly #place = u32Column()
  readonly #firstAg = u32Column()
  readonly #firstRow = u32Column()
  readonly #lastAg = u32Column()
  readonly #lastRow = u32Column()

  add(tree: number, place: number, sink: MappingSink): void {
    if (sink.firstRow < 0) return
    this.#tree.push(tree)
    this.#place.push(place)
    this.#firstAg.push(sink.firstAg)
    this.#firstRow.push(sink.firstRow)
    this.#lastAg.push(sink.lastAg)
    this.#lastRow.push(sink.lastRow)
  }

  /** A row that goes on in the next leaf is taken into that leaf's first row, and left with no blocks. */
  join(owned: readonly Extents[]): void {
    const order = orderByU32(this.#place.filled(), this.#place.length)
    for (let i = 1; i < order.length; i++) {
      const left = order[i - 1] as number
      const right = order[i] as number
      if (this.#tree.get(left) !== this.#tree.get(right) || this.#lastAg.get(left) !== this.#firstAg.get(right))
        continue
      joinRows(owned[this.#firstAg.get(right)] as Extents, this.#lastRow.get(left), this.#firstRow.get(right))
    }
  }
}

function joinRows({ start, count, offset, flags }: Extents, left: number, right: number): void {
  const length = count.get(left)
  if (start.get(left) + length !== start.get(right) || offset.get(left) + length !== offset.get(right)) return
  if (flags.get(left) !== flags.get(right)) return
  start.data[right] = start.get(left)
  offset.data[right] = offset.get(left)
  count.data[right] = count.get(right) + length
  count.data[left] = 0
}
