import { DA3_HEADER_SIZE, Da3NodeHdr, DaBlkinfo, DaNodeEntry, DIR_NULL_BEST, DirBest } from '../../format/dir.ts'

/**
 * The tree of hash values of a directory or of attributes, and the index of free space. Blocks are
 * added in any order. At the end each is compared with the blocks that it refers to.
 *
 *   node    ┌ 17 │ 42 │ 99 ┐     each value is the greatest one of the block below
 *   leaf    … 17 ↔ … 42 ↔ … 99   the blocks of a level are a list; each is referred to once
 */
interface Block {
  /** 0: a leaf. */
  readonly level: number
  readonly forw: number
  readonly back: number
  /** The greatest hash value; −1 without entries. */
  readonly last: number
  /** Nodes: hash value and block, alternating. */
  readonly entries: readonly number[]
}

const { hashval, before } = DaNodeEntry.fields

type ReportEntry = (slot: number, offset: number, reason: string) => void

export class HashTrees {
  readonly #root: number
  readonly #trees = new Map<number, Map<number, Block>>()

  /** @param root  the file block of the root */
  constructor(root: number) {
    this.#root = root
  }

  /**
   * Add a sound block with `count` hash values, each the first of `DaNodeEntry.size` bytes.
   * @returns what is wrong with a single leaf
   */
  add(slot: number, offset: number, view: DataView, level: number, at: number, count: number): string | undefined {
    const forw = DaBlkinfo.fields.forw.get(view, 0)
    const back = DaBlkinfo.fields.back.get(view, 0)
    if (level === 0 && offset === this.#root)
      return forw === 0 && back === 0 ? undefined : `back is ${back} and forw is ${forw} in a single leaf`
    const entries: number[] = []
    if (level > 0)
      for (let i = 0, entry = at; i < count; i++, entry += DaNodeEntry.size)
        entries.push(hashval.get(view, entry), before.get(view, entry))
    // Entries of leaves begin with a hash value too, and have the same size.
    const last = count === 0 ? -1 : hashval.get(view, at + DaNodeEntry.size * (count - 1))
    let tree = this.#trees.get(slot)
    if (!tree) {
      tree = new Map()
      this.#trees.set(slot, tree)
    }
    tree.set(offset, { level, forw, back, last, entries })
    return undefined
  }

  /** Add a sound node. */
  addNode(slot: number, offset: number, view: DataView): string | undefined {
    const { level, count } = Da3NodeHdr.fields
    return this.add(slot, offset, view, level.get(view, 0), DA3_HEADER_SIZE, count.get(view, 0))
  }

  /** Report the first fault of each tree that is wrong. */
  finish(report: ReportEntry): void {
    for (const [slot, tree] of this.#trees) {
      const fault = this.#walk(tree)
      if (fault) report(slot, fault.offset, fault.reason)
    }
  }

  #walk(tree: ReadonlyMap<number, Block>): { offset: number; reason: string } | undefined {
    const seen = new Set([this.#root])
    for (let row = [this.#root]; row.length > 0; ) {
      const below: number[] = []
      for (const [i, offset] of row.entries()) {
        const block = tree.get(offset)
        if (!block) return { offset, reason: 'this block of the hash tree is missing' }
        const [back, forw] = [row[i - 1] ?? 0, row[i + 1] ?? 0]
        if (block.back !== back || block.forw !== forw)
          return { offset, reason: `back is ${block.back} and forw is ${block.forw}, expected ${back} and ${forw}` }
        for (let e = 0; e < block.entries.length; e += 2) {
          const [hash = 0, child = 0] = [block.entries[e], block.entries[e + 1]]
          const found = tree.get(child)
          if (!found || seen.has(child)) return { offset, reason: `entry ${e / 2} points to block ${child}` }
          if (found.level !== block.level - 1)
            return { offset: child, reason: `level ${found.level}, expected ${block.level - 1}` }
          if (found.last >= 0 && found.last !== hash)
            return { offset, reason: `entry ${e / 2} has hash value ${hash}, the block below ends with ${found.last}` }
          seen.add(child)
          below.push(child)
        }
      }
      row = below
    }
    const lost = [...tree.keys()].find((offset) => !seen.has(offset))
    return lost === undefined ? undefined : { offset: lost, reason: 'no entry of the hash tree points to it' }
  }
}

/** The longest free space of each data block of a directory: in the block, and in the index. */
export class FreeIndex {
  readonly #blocks = new Map<number, number[]>()
  readonly #index = new Map<number, number[]>()

  /** Add the longest free space of a data block. */
  block(slot: number, number: number, longest: number): void {
    at(this.#blocks, slot)[number] = longest
  }

  /** Add `count` values of the index, beginning with that of data block `first`. */
  values(slot: number, first: number, view: DataView, from: number, count: number): void {
    const list = at(this.#index, slot)
    for (let i = 0; i < count; i++) {
      const value = DirBest.fields.best.get(view, from + DirBest.size * i)
      if (value !== DIR_NULL_BEST) list[first + i] = value
    }
  }

  finish(report: ReportEntry): void {
    for (const [slot, blocks] of this.#blocks) {
      const index = this.#index.get(slot) ?? []
      const wrong = Array.from({ length: Math.max(blocks.length, index.length) }).findIndex(
        (_, i) => blocks[i] !== index[i],
      )
      if (wrong >= 0)
        report(
          slot,
          wrong,
          `data block ${wrong} has ${words(blocks[wrong])}, the free index has ${words(index[wrong])}`,
        )
    }
  }
}

const words = (longest: number | undefined): string => (longest === undefined ? 'nothing' : `${longest} bytes free`)

function at(lists: Map<number, number[]>, slot: number): number[] {
  let list = lists.get(slot)
  if (!list) {
    list = []
    lists.set(slot, list)
  }
  return list
}
