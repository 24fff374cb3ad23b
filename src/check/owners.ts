import { OWNERS } from '../format/btrecs.ts'
import type { Blocks } from './expect/blocks.ts'
import type { UsageRange } from './expect/usage.ts'
import { ATTR_FORK, BMBT_BLOCK, type Extents, UNWRITTEN } from './extents.ts'

/** Text for owners and flags. */

const NAMES: Readonly<Record<number, string>> = {
  [OWNERS.null]: 'the null owner', [OWNERS.unknown]: 'an unknown owner', [OWNERS.fs]: 'the AG headers', [OWNERS.log]: 'the log',
  [OWNERS.ag]: 'the free space and rmap btrees', [OWNERS.inobt]: 'the inode btrees', [OWNERS.inodes]: 'inodes',
  [OWNERS.refc]: 'refcountbt', [OWNERS.cow]: 'CoW staging',
} // biome-ignore format: a table

export const ownerName = (owner: number): string => NAMES[owner] ?? (owner < 0 ? `owner ${owner}` : `inode ${owner}`)

export const flagNames = (flags: number): string =>
  ((flags & ATTR_FORK) !== 0 ? ' attr' : '') +
  ((flags & BMBT_BLOCK) !== 0 ? ' bmbt' : '') +
  ((flags & UNWRITTEN) !== 0 ? ' unwritten' : '')

const rowName = (table: Extents, row: number): string =>
  ownerName(table.owner.get(row)) + flagNames(table.flags.get(row))

/** Text for the owner in a row of a conflict. */
export const claimName = (blocks: Blocks, claim: number): string =>
  claim < 0 ? rowName(blocks.metadata, -1 - claim) : rowName(blocks.mappings, claim)

/** Text for the owner of a range of blocks in use. */
export const userName = (blocks: Blocks, { use, count, claim }: UsageRange): string =>
  use === 'shared' ? `${count} mappings` : claimName(blocks, claim)
