import { f64Column, u8Column, u32Column } from '../util/columns.ts'

/** The owners of blocks of an AG: one row per mapping of a fork, or per extent of metadata. */
export class Extents {
  readonly start = u32Column()
  readonly count = u32Column()
  /** Inode, or a negative special owner. */
  readonly owner = f64Column()
  /** File offset in blocks; 0 if there is none. */
  readonly offset = f64Column()
  readonly flags = u8Column()

  get length(): number {
    return this.start.length
  }

  /** @returns the row */
  push(start: number, count: number, owner: number, offset: number, flags: number): number {
    this.start.push(start)
    this.count.push(count)
    this.owner.push(owner)
    this.offset.push(offset)
    this.flags.push(flags)
    return this.start.length - 1
  }

  /** Push a row of another table. @returns the row */
  copy(from: Extents, row: number): number {
    return this.push(
      from.start.get(row),
      from.count.get(row),
      from.owner.get(row),
      from.offset.get(row),
      from.flags.get(row),
    )
  }
}

/**
 * Flags of an extent. Attribute fork and bmbt block, which determine the order, are higher bits
 * than unwritten, which does not.
 */
export const ATTR_FORK = 4
export const BMBT_BLOCK = 2
export const UNWRITTEN = 1
/**
 * A written mapping of a regular file's data fork: blocks that may be shared. Not part of a reverse
 * mapping.
 */
export const SHAREABLE = 8
/** The flags of a reverse mapping. */
export const RMAP_FLAGS = ATTR_FORK | BMBT_BLOCK | UNWRITTEN

/**
 * Special owners are negative numbers here, but sort after all inodes: they are unsigned on disk.
 */
const ownerRank = (owner: number): number => (owner < 0 ? Number.MAX_SAFE_INTEGER + 1 + owner : owner)

/** The order of two rows of equal start in rmapbt: owner, fork, offset. */
export function compareOwners(a: Extents, i: number, b: Extents, j: number): number {
  const ownerA = a.owner.data[i] as number
  const ownerB = b.owner.data[j] as number
  if (ownerA !== ownerB) return ownerRank(ownerA) - ownerRank(ownerB)
  const kindA = ((a.flags.data[i] as number) & (ATTR_FORK | BMBT_BLOCK)) as number
  const kindB = ((b.flags.data[j] as number) & (ATTR_FORK | BMBT_BLOCK)) as number
  if (kindA !== kindB) return kindA - kindB
  return (a.offset.data[i] as number) - (b.offset.data[j] as number)
}

/** The order of rmapbt: start block, then owner, fork, offset. */
export function compareRmaps(a: Extents, i: number, b: Extents, j: number): number {
  const difference = (a.start.data[i] as number) - (b.start.data[j] as number)
  return difference !== 0 ? difference : compareOwners(a, i, b, j)
}
