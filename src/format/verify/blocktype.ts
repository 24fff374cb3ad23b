import type { Geometry } from '../geometry.ts'
import type { Field, Struct } from '../struct.ts'

/**
 * Block types: for each kind of metadata block its magic numbers, where its checksum, self-address,
 * owner and UUID are, and the rules that its fields obey. `verify` runs at the first read of every
 * block and before every write: code above trusts what passed. So the rules are those that cost
 * little and that others build on: a count fits into the block, a level into the tree, a pointer
 * into its AG; entries of a directory or attribute block follow one another without a gap. Whether
 * the content is *true* (the right owner, the right hash, the right counter) is for `check` to
 * find.
 *
 * The answer is a Fault (a value) or undefined; no bytes make it throw. V4 blocks have no checksum
 * and other layouts: for them only magic numbers are looked at, and the rules of the structures
 * that V5 left as they were.
 */

/** What a verifier found. `crc`: the checksum is wrong; everything else may be right. */
export interface Fault {
  readonly field?: string
  readonly message: string
  readonly crc?: boolean
}

export interface VerifyContext {
  readonly geometry: Geometry
  /** Where the block is. */
  readonly daddr: number
}

export interface BlockType {
  readonly name: string
  readonly magics: readonly number[]
  readonly magicsV4: readonly number[]
  /** Where the magic number is, and its bytes; undefined for types without one. */
  readonly magic?: { readonly offset: number; readonly size: 2 | 4 }
  readonly crcOffset?: number
  readonly uuidOffset?: number
  /** Where the block's own address is. */
  readonly daddrOffset?: number
  /** Where the inode number of the owner is. */
  readonly ownerOffset?: number
  readonly lsnOffset?: number
  /** The types that a block of this one can be: its magic number decides. */
  readonly oneOf?: readonly BlockType[]
  /** Bytes that have a checksum of their own, where a block is made of several such units. */
  readonly unit?: (geometry: Geometry) => number
  /** Whether a checksum per unit is part of `verify` (of inodes it is part of `verifyInode`). */
  readonly unitCrc?: boolean
  /** Whether a block can have this many bytes. */
  readonly fits: (bytes: number, geometry: Geometry) => boolean
  readonly rules: (view: DataView, context: VerifyContext, at: number, size: number) => Fault | undefined
  /** The rules hold for V4 as well. */
  readonly rulesV4?: boolean
}

/** Where a block has what most types have. */
type Places = Pick<
  BlockType,
  'magics' | 'magic' | 'crcOffset' | 'uuidOffset' | 'daddrOffset' | 'ownerOffset' | 'lsnOffset'
>

/** The places of a block that begins with this structure: its declared fields say them. */
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

/** The first field that is asked for, of the structure or of one inside it, and where it is. */
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
