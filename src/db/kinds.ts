import { Dqblk } from '../format/dquot.ts'
import type { Geometry } from '../format/geometry.ts'
import type { BlockType } from '../format/verify/blocktype.ts'
import { resolveType } from '../format/verify/blocktypes.ts'
import { stamp, stampInode } from '../format/verify/stamp.ts'
import { verify, verifyFields } from '../format/verify/verify.ts'
import { type DbType, dbTypes } from './types.ts'

/** The types of places, in the order of xfs_db: layout, size and checksum of each. */
export interface Kind {
  readonly name: string
  /** How its content is shown and written. */
  readonly handler: 'struct' | 'block' | 'text' | 'string' | 'none'
  readonly type?: DbType
}

const NAMES = [
  'agf', 'agfl', 'agi', 'attr3', 'bmapbta', 'bmapbtd', 'bnobt', 'cntbt', 'rmapbt', 'rtrmapbt', 'refcntbt', 'rtrefcntbt', 'data', 'dir3',
  'dqblk', 'inobt', 'inodata', 'inode', 'log', 'rtbitmap', 'rtsummary', 'rtsb', 'sb', 'symlink', 'text', 'finobt', 'rgbitmap', 'rgsummary',
] as const // biome-ignore format: a list
export type KindName = (typeof NAMES)[number]

const HANDLERS: Readonly<Record<string, Kind['handler']>> = {
  data: 'block',
  rtbitmap: 'text',
  rtsummary: 'text',
  text: 'text',
}

const all = new Map<string, Kind>(
  NAMES.map((name) => {
    const type = dbTypes.get(name)
    const handler = HANDLERS[name] ?? (type?.layout ? 'struct' : 'none')
    return [name, { name, handler, ...(type?.layout ? { type } : {}) }]
  }),
)

/**
 * V4 names of blocks with another layout in V4, which is not declared here. They are shown as
 * bytes.
 */
const V4_NAMES: Readonly<Record<string, KindName>> = { attr: 'attr3', dir2: 'dir3' }
const UNKNOWN_IN_V4 = new Set(['attr3', 'dir3', 'symlink', 'rmapbt', 'refcntbt'])

/** The types that a filesystem has. */
export function kindNames(geometry: Geometry): string[] {
  if (geometry.features.version === 5) return [...NAMES]
  return NAMES.filter((name) => !/^(rmapbt|refcntbt|rt.*bt|rtsb|rg.*)$/.test(name)).map((name) =>
    name.replace(/^attr3$/, 'attr').replace('dir3', 'dir2'),
  )
}

/** The kind of a name; undefined if there is none. */
export function kindOf(name: string, geometry: Geometry): Kind | undefined {
  if (geometry.features.version === 5) return all.get(name)
  const known = V4_NAMES[name] ?? name
  const kind = all.get(known)
  if (!kind || !UNKNOWN_IN_V4.has(known)) return kind
  return { name, handler: known === 'symlink' ? 'string' : 'block' }
}

/** The kind of a name that must exist. */
export function knownKind(name: KindName, geometry: Geometry): Kind {
  return kindOf(name, geometry) as Kind
}

/** Size of a place of this kind, in bytes. */
export function sizeOf({ name, type }: Kind, { sectsize, blocksize, dirblocksize, inodesize }: Geometry): number {
  if (!type || ['sb', 'agf', 'agi', 'agfl'].includes(name)) return sectsize
  if (name === 'dir3') return dirblocksize
  if (name === 'dqblk') return Dqblk.size
  return name === 'inode' ? inodesize : blocksize
}

/**
 * What a reader or (without the checksum) a writer would report for a block of this kind; undefined
 * if there is no verifier.
 */
export function faultOf(kind: Kind, view: DataView, geometry: Geometry, daddr: number, checksum: boolean) {
  const blockType: BlockType | undefined = kind.type?.blockType
  if (!blockType || kind.name === 'inode' || kind.name === 'dqblk') return undefined
  return (checksum ? verify : verifyFields)(blockType, view, { geometry, daddr })
}

/** Write the checksum of a place. Does nothing if the magic number is unknown. */
export function stampKind(kind: Kind, view: DataView, geometry: Geometry, daddr: number): void {
  const blockType = kind.type?.blockType
  if (!blockType || geometry.features.version !== 5) return
  if (kind.name === 'inode') stampInode(view, 0, geometry)
  else if (resolveType(blockType, view, geometry)) stamp(blockType, view, { geometry, daddr })
}
