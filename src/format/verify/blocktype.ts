import type { Geometry } from '../geometry.ts'
import type { Field, Struct } from '../struct.ts'

/**
 * Block types. For each type of metadata block: its magic numbers, the offsets of its checksum, own
 * address, owner and UUID, and the rules for its fields. `verify` runs at the first read of every
 * block and before every write, and the code above trusts the result. So the rules are limited to
 * cheap ones that other code depends on: a count fits into the block, a level into the tree, a
 * pointer into its AG; the entries of a directory or attribute block are contiguous. Whether the
 * content is *true* (the right owner, hash or counter) is determined by `check`.
 *
 * The result is a Fault (a value) or undefined; it never throws. V4 blocks have no checksum and
 * other layouts. For them only magic numbers are checked, and the rules of structures that are the
 * same in V5. that V5 left as they were.
 */

/** A result of a verifier. `crc`: the checksum is wrong; everything else may be right. */
export interface Fault {
  readonly field?: string
  readonly message: string
  readonly crc?: boolean
}

export interface VerifyContext {
  readonly geometry: Geometry
  /** The address of the block. */
  readonly daddr: number
}

export interface BlockType {
  readonly name: string
  readonly magics: readonly number[]
  readonly magicsV4: readonly number[]
  /** Offset and bytes of the magic number; undefined for types without one. */
  readonly magic?: { readonly offset: number; readonly size: 2 | 4 }
  readonly crcOffset?: number
  readonly uuidOffset?: number
  /** The offset of the block's own address. */
  readonly daddrOffset?: number
  /** The offset of the owner's inode number. */
  readonly ownerOffset?: number
  readonly lsnOffset?: number
  /** The possible types of the block; its magic number decides. */
  readonly oneOf?: readonly BlockType[]
  /** Bytes of a unit, if a block consists of several units with a checksum each. */
  readonly unit?: (geometry: Geometry) => number
  /** True if `verify` includes the checksums of units (for inodes `verifyInode` does). */
  readonly unitCrc?: boolean
  /** True if a block can have this size. */
  readonly fits: (bytes: number, geometry: Geometry) => boolean
  readonly rules: (view: DataView, context: VerifyContext, at: number, size: number) => Fault | undefined
  /** The rules also apply to V4. */
  readonly rulesV4?: boolean
}

/** Offsets of the fields that most types have. */
type Places = Pick<
  BlockType,
  'magics' | 'magic' | 'crcOffset' | 'uuidOffset' | 'daddrOffset' | 'ownerOffset' | 'lsnOffset'
>

/** The offsets in a block that begins with this structure, from its declared fields. */
export function placesOf(struct: Struct): Places {
  const magic = findField(struct, ({ name }) => name === 'magic' || name === 'magicnum')
  const offsets = {
    crcOffset: findField(struct, ({ kind }) => kind === 'crc32c')?.at,
    uuidOffset: findField(struct, ({ kind, name }) => kind === 'uuid' && name === 'uuid')?.at,
    daddrOffset: findField(struct, ({ kind, name }) => kind === 'daddr' && name === 'bno')?.at,
    ownerOffset: findField(struct, ({ kind, name }) => kind === 'ino' && name === 'owner')?.at,
    lsnOffset: findField(struct, ({ kind }) => kind === 'lsn')?.at,
  }
  return {
    magics: magic?.field.magic === undefined ? [] : [magic.field.magic],
    ...(magic && { magic: { offset: magic.at, size: magic.field.size as 2 | 4 } }),
    ...Object.fromEntries(Object.entries(offsets).filter(([, at]) => at !== undefined)),
  }
}

/** The first matching field of the structure or of a nested one, and its offset. */
function findField(
  struct: Struct,
  wanted: (field: Field<unknown>) => boolean,
  base = 0,
): { readonly field: Field<unknown>; readonly at: number } | undefined {
  for (const field of struct.list) {
    const at = base + field.offset
    const found = field.inner ? findField(field.inner, wanted, at) : wanted(field) ? { field, at } : undefined
    if (found) return found
  }
  return undefined
}

export const fault = (field: string, message: string): Fault => ({ field, message })
export const hex = (value: number): string => `0x${value.toString(16)}`
export const none = (): undefined => undefined

export const oneSector = (bytes: number, geometry: Geometry): boolean => bytes === geometry.sectsize
export const oneBlock = (bytes: number, geometry: Geometry): boolean => bytes === geometry.blocksize
export const blocks = (bytes: number, geometry: Geometry): boolean => bytes > 0 && bytes % geometry.blocksize === 0
export const oneDirBlock = (bytes: number, geometry: Geometry): boolean => bytes === geometry.dirblocksize
export const blockOrDirBlock = (bytes: number, geometry: Geometry): boolean =>
  oneBlock(bytes, geometry) || oneDirBlock(bytes, geometry)
