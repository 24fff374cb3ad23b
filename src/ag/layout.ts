import { type AgTreeName, agTrees } from '../btree/agtrees.ts'
import { type BulkOptions, bulkBlocks, planBulk } from '../btree/bulkload.ts'
import { XfsError } from '../errors.ts'
import type { Geometry } from '../format/geometry.ts'
import { agflSlots, maxRecords } from '../format/treesizes.ts'
import { minFreelist } from '../space/reserve.ts'

/** Which blocks the trees of an AG get. */
export interface AgTreeLayout {
  readonly name: AgTreeName
  readonly blocks: readonly number[]
  readonly levels: number
  readonly root: number
  /** How many records are to be written; undefined: the tree stays as it is. */
  readonly records?: number
  /** How much room its blocks keep. */
  readonly slack?: BulkOptions
}

/** A tree of `count` records in `blocks`; undefined where it cannot take just these. */
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
  const { levels } = planBulk(agTrees[name].ops, geometry, records, slack)
  return { name, blocks, levels: levels.length, root: blocks[blocks.length - 1] as number, records, slack }
}

/**
 * How to spread the records so that the tree takes just `blocks` blocks; undefined where nothing
 * gives that.
 */
function slackFor(geometry: Geometry, name: AgTreeName, records: number, blocks: number): BulkOptions | undefined {
  const size = (slack: BulkOptions): number => bulkBlocks(agTrees[name].ops, geometry, records, slack)
  if (size({}) === blocks) return {}
  const max = maxRecords(geometry, name, 0)
  const fewest = Math.max(2, Math.ceil(records / max))
  const most = Math.min(blocks, Math.floor(records / (max >> 1)))
  const nodeMax = maxRecords(geometry, name, 1)
  for (const nodeSlack of [nodeMax >> 2, nodeMax >> 3, 0, nodeMax >> 1]) {
    // Nodes are few: only the greatest counts of leaves can come out right.
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

/** Blocks by what takes them. */
export type Claims = ReadonlyMap<AgTreeName | 'agfl', readonly number[]>
type RecordCounts = Readonly<Record<AgTreeName, number>>

/** The free space of an AG, and what taking from it does to the trees. */
interface FreeSpace {
  /** Free blocks one after the other: where there is such a place, `total` of them in a row. */
  free(total: number): Iterator<number>
  /** How many records each tree has when these blocks are taken. */
  recordsWith(claims: Claims): RecordCounts
}

interface AgLayout {
  readonly trees: readonly AgTreeLayout[]
  readonly agfl: readonly number[]
}

const FULL: BulkOptions = { leafSlack: 0, nodeSlack: 0 }
const MAX_ROUNDS = 50

/**
 * Blocks for trees that are rebuilt and for the AGFL, with room to grow in every block, or where
 * there is no space for that, with full blocks.
 *
 *   sizes ──▶ blocks taken from free space ──▶ free extents and owners change ──▶ records ──▶ sizes …
 *
 * Sizes are raised until they are enough; what is left over of trees that live on the AGFL goes
 * there.
 *
 * @param names the trees to be laid out; in these, all that live on the AGFL
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
  /** Those that live on the AGFL come first. */
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
      for (const name of this.#names)
        need(name, bulkBlocks(agTrees[name].ops, this.#geometry, counts[name], this.#slack))
      need('agfl', this.#agflNeed(counts))
      if (enough) return this.#layout(claims, counts)
    }
    throw this.#noSpace('the trees do not come to rest')
  }

  #noSpace(message: string): XfsError {
    return new XfsError('NOSPC', `AG ${this.#agno}: ${message}`, { agno: this.#agno })
  }

  #agflNeed(counts: RecordCounts): number {
    const level = (name: AgTreeName): number =>
      this.#names.includes(name)
        ? planBulk(agTrees[name].ops, this.#geometry, counts[name], this.#slack).levels.length
        : 1
    return minFreelist(this.#geometry, { bnobt: level('bnobt'), cntbt: level('cntbt'), rmapbt: level('rmapbt') })
  }

  #claim(sizes: ReadonlyMap<AgTreeName | 'agfl', number>): Claims {
    const onAgfl = (name: AgTreeName): boolean => agTrees[name].space === 'agfl'
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
      const blocks = bulkBlocks(agTrees[name].ops, this.#geometry, counts[name], this.#slack)
      const spare = claimed.slice(blocks)
      if (spare.length > 0 && agTrees[name].space !== 'agfl')
        throw new Error(`${name} was given more blocks than its records need`)
      agfl.push(...spare)
      return layTree(this.#geometry, name, counts[name], claimed.slice(0, blocks), this.#slack)
    })
    if (agfl.length > agflSlots(this.#geometry)) throw this.#noSpace(`the AGFL cannot hold ${agfl.length} blocks`)
    return { trees, agfl }
  }
}
