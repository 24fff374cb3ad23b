import { get64 } from '../fields.ts'
import type { Geometry } from '../geometry.ts'
import { agf, agfl, agi } from './agheaders.ts'
import { attrLeaf, attrRemote } from './attributes.ts'
import { type BlockType, blockOrDirBlock, none, oneDirBlock } from './blocktype.ts'
import { treeBlocks } from './btrees.ts'
import { daNode, dirBlock, dirData, dirFree, dirLeaf1, dirLeafN } from './directories.ts'
import { inodes } from './inodes.ts'
import { dquot } from './quotas.ts'
import { sb } from './superblock.ts'
import { symlink } from './symlinks.ts'

/** All types of blocks. */

const dir3: BlockType = {
  name: 'dir3',
  magics: [],
  magicsV4: [],
  oneOf: [dirBlock, dirData],
  fits: oneDirBlock,
  rules: none,
}
const da: BlockType = {
  name: 'da',
  magics: [],
  magicsV4: [],
  oneOf: [dirLeaf1, dirLeafN, daNode, attrLeaf],
  fits: blockOrDirBlock,
  rules: none,
}
/** Raw bytes: never verified or stamped. */
const data: BlockType = { name: 'data', magics: [], magicsV4: [], fits: () => true, rules: none }

export const blockTypes = {
  sb,
  agf,
  agi,
  agfl,
  ...treeBlocks,
  inodes,
  dirBlock,
  dirData,
  dirLeaf1,
  dirLeafN,
  dirFree,
  daNode,
  attrLeaf,
  attrRemote,
  symlink,
  dquot,
  dir3,
  da,
  data,
} as const satisfies Record<string, BlockType>

/** The type of a block if several are possible: its magic number decides. */
export function resolveType(type: BlockType, view: DataView, geometry: Geometry): BlockType | undefined {
  if (!type.oneOf) return type
  const v5 = geometry.features.version === 5
  return type.oneOf.find((one) => one.magic && (v5 ? one.magics : one.magicsV4).includes(readMagic(one, view, 0)))
}

export const readMagic = (type: BlockType, view: DataView, at: number): number => {
  if (!type.magic) return 0
  const offset = at + type.magic.offset
  if (offset + type.magic.size > view.byteLength) return -1
  return type.magic.size === 2 ? view.getUint16(offset) : view.getUint32(offset)
}

/** The owner in a block's header; undefined for types without this field. */
export const blockOwner = (type: BlockType, view: DataView): number | undefined =>
  type.ownerOffset === undefined ? undefined : get64(view, type.ownerOffset)
