import { bmbt } from '../../btree/trees/bmbt.ts'
import { type TreeVisitor, TreeWalk } from '../../btree/walk.ts'
import { get64 } from '../../format/fields.ts'
import type { Geometry } from '../../format/geometry.ts'
import { rootMaxRecords } from '../../format/treesizes.ts'
import { f64Column, orderByU32, u8Column, u32Column } from '../../util/columns.ts'
import { BMBT_BLOCK, type Extents } from '../extents.ts'
import type { Findings } from '../findings.ts'
import type { Inodes } from './inodetable.ts'
import type { MappingSink } from './mappings.ts'
import type { Scene } from './scene.ts'

/**
 * The block maps of all forks in btree format. They are read together, so their blocks are read in
 * the order of the disk, not of the inodes. Mappings that continue in the next leaf are joined
 * afterwards, as reverse mappings are.
 */
export class BmbtForest {
  readonly #geometry: Geometry
  readonly #inodes: Inodes
  readonly #metadata: readonly Extents[]
  readonly #mappings: readonly Extents[]
  readonly #findings: Findings
  /** One row per fork. */
  readonly #slot = u32Column()
  readonly #ino = f64Column()
  readonly #fork = u8Column()
  /** One row per leaf, to join across its ends. */
  readonly #edges = new Edges()
  readonly #walk: TreeWalk<unknown, unknown>

  constructor(
    scene: Scene,
    inodes: Inodes,
    metadata: readonly Extents[],
    mappings: readonly Extents[],
    sink: MappingSink,
    unread: (slot: number) => void,
  ) {
    this.#geometry = scene.geometry
    this.#findings = scene.findings
    this.#inodes = inodes
    this.#metadata = metadata
    this.#mappings = mappings
    const visitor = this.#visitor(sink, unread)
    this.#walk = new TreeWalk(scene.device, scene.geometry, bmbt as never, visitor, { head: scene.head, fill: true })
  }

  /** Add a root block inside an inode, in a fork of `size` bytes. */
  addRoot(slot: number, ino: number, fork: number, view: DataView, at: number, size: number): void {
    this.#slot.push(slot)
    this.#ino.push(ino)
    this.#fork.push(fork)
    this.#walk.addInlineRoot(view, at, rootMaxRecords(size))
  }

  walk(): void {
    this.#walk.run()
    this.#edges.join(this.#mappings)
  }

  #visitor(sink: MappingSink, unread: (slot: number) => void): TreeVisitor {
    const geometry = this.#geometry
    const inodes = this.#inodes
    return {
      owner: (t) => this.#ino.get(t),
      block: (t, ptr) => {
        const slot = this.#slot.get(t)
        inodes.foundBlocks.data[slot] = inodes.foundBlocks.get(slot) + 1
        const flags = this.#fork.get(t) | BMBT_BLOCK
        this.#metadata[geometry.agnoOf(ptr)]?.push(geometry.agbnoOf(ptr), 1, this.#ino.get(t), 0, flags)
      },
      records: (t, view, at, count, row, next, nextAt) => {
        const end = sink.records(this.#slot.get(t), this.#ino.get(t), this.#fork.get(t), view, at, count, 0)
        this.#edges.add(t, row, sink)
        return next && end > get64(next, nextAt) ? 'the last record overlaps the next leaf' : undefined
      },
      fault: (t, kind, ptr, level, reason) => {
        const place = { fsbno: ptr, agno: geometry.agnoOf(ptr), agbno: geometry.agbnoOf(ptr) }
        const id = kind === 'fill' ? 'bmbt.header' : (`bmbt.${kind}` as const)
        this.#findings.add(id, { ino: this.#ino.get(t), ...place, level, reason })
      },
      incomplete: (t) => unread(this.#slot.get(t)),
    }
  }
}

/** The first and the last row that each leaf put into the tables of the AGs. */
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

  /**
   * A row that continues in the next leaf is merged into the first row of that leaf, and keeps no
   * blocks.
   */
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
