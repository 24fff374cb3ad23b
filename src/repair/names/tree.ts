import { superblockInodes } from '../../check/compare/links.ts'
import { InodeFlag, type Inodes, S_IFDIR, S_IFMT } from '../../check/observe/inodetable.ts'
import type { CheckResult } from '../../check/result.ts'
import { isInUse } from '../salvage/found.ts'

/** Where an inode is named: rows of the table of entries. */
type Rows = readonly number[]

/** The tree of directories, as the entries that could be read have it. Everything is by slot. */
export class Tree {
  readonly inodes: Inodes
  readonly root: number
  /** The target of "..", as an inode number. */
  readonly dotdot = new Map<number, number>()
  readonly #result: CheckResult
  /** Rows of entries by their target. */
  readonly #named = new Map<number, number[]>()
  readonly #subdirs: Uint32Array
  readonly #unnamed: ReadonlySet<number>

  constructor(result: CheckResult) {
    this.#result = result
    const { inodes } = result.observation
    this.inodes = inodes
    const { geometry } = inodes
    this.root = inodes.slot(geometry.sb.rootino)
    this.#unnamed = new Set(superblockInodes(geometry).map((ino) => inodes.slot(ino)))
    this.#subdirs = new Uint32Array(inodes.slots)
    const { entryDir, entryIno, dotdotDir, dotdotIno } = result.names.directories
    for (let row = 0; row < entryDir.length; row++) {
      const slot = inodes.slot(entryIno.get(row))
      if (!isInUse(inodes, slot)) continue
      const rows = this.#named.get(slot)
      if (rows) rows.push(row)
      else this.#named.set(slot, [row])
      const dir = entryDir.get(row)
      if (this.isDirectory(slot)) this.#subdirs[dir] = (this.#subdirs[dir] as number) + 1
    }
    for (let row = 0; row < dotdotDir.length; row++) this.dotdot.set(dotdotDir.get(row), dotdotIno.get(row))
  }

  isDirectory(slot: number): boolean {
    return (this.inodes.mode.get(slot) & S_IFMT) === S_IFDIR
  }

  /** The directories with an entry for an inode; one of them twice if it has two. */
  directoriesOf(slot: number): number[] {
    return this.#rows(slot).map((row) => this.#result.names.directories.entryDir.get(row))
  }

  #rows(slot: number): Rows {
    return this.#named.get(slot) ?? []
  }

  /** Inodes in use that need a name. */
  *files(): Generator<number> {
    const { inodes } = this
    for (let slot = 0; slot < inodes.slots; slot++)
      if (isInUse(inodes, slot) && !this.#unnamed.has(slot) && (inodes.flags.get(slot) & InodeFlag.metadata) === 0)
        yield slot
  }

  /** The number of links that its entries give an inode. */
  linksOf(slot: number): number {
    return this.isDirectory(slot) ? 2 + (this.#subdirs[slot] as number) : this.#rows(slot).length
  }

  /** The directory that keeps a directory: the one that ".." names, else the first. */
  keeperOf(slot: number): number | undefined {
    if (slot === this.root) return slot
    const above = this.directoriesOf(slot)
    const named = this.inodes.slot(this.dotdot.get(slot) ?? -1)
    return above.includes(named) ? named : above[0]
  }

  /** Is there a path from the root? */
  reaches(slot: number): boolean {
    const seen = new Set<number>()
    for (let at: number | undefined = slot; at !== undefined && !seen.has(at); at = this.keeperOf(at)) {
      if (at === this.root) return true
      seen.add(at)
    }
    return false
  }
}
