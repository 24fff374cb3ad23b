import { type BulkOptions, bulkBlocks, planBulk } from '../btree/bulkload.ts'
import { treeOps } from '../btree/treeops.ts'
import { XfsError } from '../errors.ts'
import type { Geometry } from '../format/geometry.ts'
import { type AgTreeName, btrees } from '../format/trees.ts'
import { agflSlots, maxRecords } from '../format/treesizes.ts'
import { minFreelist } from '../space/reserve.ts'

/** The blocks of an AG's tree. */
export interface AgTreeLayout {
  readonly name: AgTreeName
  readonly blocks: readonly number[]
  readonly levels: number
  readonly root: number
  /** Number of records to write; undefined: the tree stays. */
  readonly records?: number
  /** Free space to leave in its blocks. */
  readonly slack?: BulkOptions
}

/** A tree of `count` records in `blocks`; undefined if it cannot use exactly these. */
export function fitTree(
  geometry: Geometry,
  name: AgTreeName,
  count: number,
  blocks: readonly number[],
): AgTreeLayout | undefined {
  const slack = slackFor(geometry, name, count, blocks.length)
  return (
    slack &&
    layTree(
      geometry,
      name,
      count,
      [...blocks].sort((a, b) => a - b),
      slack,
    )
  )
}

function layTree(
  geometry: Geometry,
  name: AgTreeName,
  records: number,
  blocks: readonly number[],
  slack: BulkOptions,
): AgTreeLayout {
  const { levels } = planBulk(treeOps[name], geometry, records, slack)
  return { name, blocks, levels: levels.length, root: blocks[blocks.length - 1] as number, records, slack }
}

/** The fill with which the tree takes exactly `blocks` blocks; undefined if there is none. */
function slackFor(geometry: Geometry, name: AgTreeName, records: number, blocks: number): BulkOptions | undefined {
  const size = (slack: BulkOptions): number => bulkBlocks(treeOps[name], geometry, records, slack)
  if (size({}) === blocks) return {}
  const max = maxRecords(geometry, name, 0)
  const fewest = Math.max(2, Math.ceil(records / max))
  const most = Math.min(blocks, Math.floor(records / (max >> 1)))
  const nodeMax = maxRecords(geometry, name, 1)
  for (const nodeSlack of [nodeMax >> 2, nodeMax >> 3, 0, nodeMax >> 1]) {
    // There are few nodes: only the largest counts of leaves are possible.
    for (let leafBlocks = most; leafBlocks >= fewest; leafBlocks--) {
      const slack = { leafBlocks, nodeSlack }
      const total = size(slack)
      if (total === blocks) return slack
      if (total < blocks) break
    }
  }
  return undefined
}

// ---------------------------------------------------------------------------------- in free blocks

/** Blocks by their user. */
export type Claims = ReadonlyMap<AgTreeName | 'agfl', readonly number[]>
type RecordCounts = Readonly<Record<AgTreeName, number>>

/** The free space of an AG, and the effect of allocations on the trees. */
interface FreeSpace {
  /** Free blocks in order; if possible, `total` contiguous blocks. */
  free(total: number): Iterator<number>
  /** The number of records of each tree after these blocks are taken. */
  recordsWith(claims: Claims): RecordCounts
}

interface AgLayout {
  readonly trees: readonly AgTreeLayout[]
  readonly agfl: readonly number[]
}

const FULL: BulkOptions = { leafSlack: 0, nodeSlack: 0 }
const MAX_ROUNDS = 50

/**
 * Allocate blocks for trees that are rebuilt and for the AGFL, with free space in every block, or,
 * if there are not enough free blocks, with full blocks.
 *
 *   sizes ─▶ blocks from free space ─▶ new free extents and owners ─▶ records ─▶ sizes …
 *
 * Sizes are raised until they suffice. Excess blocks of trees that use the AGFL are put there.
 *
 * @param names the trees to be laid out; must include all that use the AGFL
 * @throws XfsError NOSPC
 */
export function layOutTrees(
  geometry: Geometry,
  agno: number,
  names: readonly AgTreeName[],
  space: FreeSpace,
): AgLayout {
  try {
    return new Fixpoint(geometry, agno, names, space, {}).solve()
  } catch (error) {
    if (!(error instanceof XfsError) || error.code !== 'NOSPC') throw error
    return new Fixpoint(geometry, agno, names, space, FULL).solve()
  }
}

class Fixpoint {
  readonly #geometry: Geometry
  readonly #agno: number
  /** Those that use the AGFL come first. */
  readonly #names: readonly AgTreeName[]
  readonly #space: FreeSpace
  readonly #slack: BulkOptions

  constructor(geometry: Geometry, agno: number, names: readonly AgTreeName[], space: FreeSpace, slack: BulkOptions) {
    this.#geometry = geometry
    this.#agno = agno
    this.#names = names
    this.#space = space
    this.#slack = slack
  }

  solve(): AgLayout {
    const sizes = new Map<AgTreeName | 'agfl', number>()
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const claims = this.#claim(sizes)
      const counts = this.#space.recordsWith(claims)
      let enough = true
      const need = (name: AgTreeName | 'agfl', blocks: number): void => {
        if (blocks <= (sizes.get(name) ?? 0)) return
        sizes.set(name, blocks)
        enough = false
      }
      for (const name of this.#names) need(name, bulkBlocks(treeOps[name], this.#geometry, counts[name], this.#slack))
      need('agfl', this.#agflNeed(counts))
      if (enough) return this.#layout(claims, counts)
    }
    throw this.#noSpace('the sizes of the trees do not converge')
  }

  #noSpace(message: string): XfsError {
    return new XfsError('NOSPC', `AG ${this.#agno}: ${message}`, { agno: this.#agno })
  }

  #agflNeed(counts: RecordCounts): number {
    const level = (name: AgTreeName): number =>
      this.#names.includes(name) ? planBulk(treeOps[name], this.#geometry, counts[name], this.#slack).levels.length : 1
    return minFreelist(this.#geometry, { bnobt: level('bnobt'), cntbt: level('cntbt'), rmapbt: level('rmapbt') })
  }

  #claim(sizes: ReadonlyMap<AgTreeName | 'agfl', number>): Claims {
    const onAgfl = (name: AgTreeName): boolean => btrees[name].space === 'agfl'
    const order = [...this.#names.filter(onAgfl), 'agfl' as const, ...this.#names.filter((name) => !onAgfl(name))]
    const want = (name: AgTreeName | 'agfl'): number => sizes.get(name) ?? 0
    const free = this.#space.free(order.reduce((sum, name) => sum + want(name), 0))
    const claims = new Map<AgTreeName | 'agfl', number[]>()
    for (const name of order) {
      const blocks: number[] = []
      while (blocks.length < want(name)) {
        const next = free.next()
        if (next.done) throw this.#noSpace('not enough free blocks to rebuild its trees')
        blocks.push(next.value)
      }
      claims.set(name, blocks)
    }
    return claims
  }

  #layout(claims: Claims, counts: RecordCounts): AgLayout {
    const agfl = [...(claims.get('agfl') ?? [])]
    const trees = this.#names.map((name) => {
      const claimed = claims.get(name) ?? []
      const blocks = bulkBlocks(treeOps[name], this.#geometry, counts[name], this.#slack)
      const spare = claimed.slice(blocks)
      if (spare.length > 0 && btrees[name].space !== 'agfl')
        throw new Error(`${name} has more blocks than its records need`)
      agfl.push(...spare)
      return layTree(this.#geometry, name, counts[name], claimed.slice(0, blocks), this.#slack)
    })
    if (agfl.length > agflSlots(this.#geometry)) throw this.#noSpace(`the AGFL cannot hold ${agfl.length} blocks`)
    return { trees, agfl }
  }
}
