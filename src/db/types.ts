import { Agf, Agfl, AgflSlot, Agi } from '../format/ag.ts'
import {
  Attr3LeafHdr,
  Attr3RmtHdr,
  AttrLeafEntry,
  AttrLeafMap,
  AttrNameLocalHead,
  AttrNameRemoteHead,
  AttrSfEntryHead,
  AttrSfHdr,
  ParentRec,
} from '../format/attr.ts'
import { BmdrBlock, LongBlock, ShortBlock } from '../format/btblock.ts'
import { BmbtKey, BmbtRec } from '../format/btrecs.ts'
import { Dinode } from '../format/dinode.ts'
import {
  Da3Blkinfo,
  Da3NodeHdr,
  DaBlkinfo,
  DaNodeEntry,
  Dir3BlkHdr,
  Dir3DataHdr,
  Dir3FreeHdr,
  Dir3LeafHdr,
  DirBest,
  DirBlockTail,
  DirDataEntryHead,
  DirDataFree,
  DirDataUnusedHead,
  DirLeafEntry,
  DirLeafTail,
  DirSfEntryHead,
  DirSfHead,
} from '../format/dir.ts'
import { DiskDquot, Dqblk } from '../format/dquot.ts'
import type { Geometry } from '../format/geometry.ts'
import { LogOp, LogRecord, LogRecordExt, TransHeader, UnmountRecord } from '../format/log.ts'
import { Extent32, InodeLogFormat32, LogDinode, logItems } from '../format/logitems.ts'
import { Superblock } from '../format/sb.ts'
import type { Struct } from '../format/struct.ts'
import { SymlinkHdr } from '../format/symlink.ts'
import { treeForms, treeNames, treeRow } from '../format/trees.ts'
import type { BlockType } from '../format/verify/blocktype.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { crcIsRight } from '../format/verify/units.ts'
import { btree } from './layout/btrees.ts'
import { type Item, itemText, type Layout } from './layout/items.ts'
import { layouts } from './layout/layouts.ts'

/** Every structure by name, and the types of blocks by the names of xfs_db. */

/** A type of `db type`. */
export interface DbType {
  readonly name: string
  readonly doc: string
  /** The verifier of such a block; undefined for types of raw bytes. */
  readonly blockType?: BlockType
  /** The structures of the block. */
  readonly structs: readonly Struct[]
  /** Its fields in order, with the names of xfs_db; undefined for raw bytes. */
  readonly layout?: Layout
}

const { dirBlock, dirData, dirLeaf1, dirLeafN, dirFree, daNode, attrLeaf, attrRemote } = blockTypes
const anyOf = (name: string, oneOf: readonly BlockType[]): BlockType => ({
  name,
  magics: [],
  magicsV4: [],
  oneOf,
  fits: (bytes, geometry) => oneOf.some((one) => one.fits(bytes, geometry)),
  rules: () => undefined,
})
/** Any block of a directory; any block of an attribute fork. */
const anyDirBlock = anyOf('dir3', [dirBlock, dirData, dirLeaf1, dirLeafN, dirFree, daNode])
const anyAttrBlock = anyOf('attr3', [attrLeaf, daNode, attrRemote])

/** The types of the blocks of btrees. */
const treeTypes = treeNames.flatMap((tree): DbType[] => {
  const { db, rec, recWithout, key } = treeRow(tree)
  const header: Struct = treeForms[tree].ptrSize === 4 ? ShortBlock : LongBlock
  const structs = [header, rec, ...(recWithout ? [recWithout.rec] : []), key]
  const layout = btree(tree)
  return Object.entries(db).map(([name, doc]) => ({ name, doc, blockType: blockTypes[tree], layout, structs }))
})

const raw = (name: string, doc: string): DbType => ({ name, doc, structs: [] })

const types: readonly DbType[] = [
  { name: 'sb', doc: 'superblock', blockType: blockTypes.sb, layout: layouts.sb, structs: [Superblock] },
  { name: 'agf', doc: 'free space of an AG', blockType: blockTypes.agf, layout: layouts.agf, structs: [Agf] },
  { name: 'agi', doc: 'inodes of an AG', blockType: blockTypes.agi, layout: layouts.agi, structs: [Agi] },
  {
    name: 'agfl',
    doc: 'blocks reserved for btrees',
    blockType: blockTypes.agfl,
    layout: layouts.agfl,
    structs: [Agfl, AgflSlot],
  },
  ...treeTypes,
  {
    name: 'inode',
    doc: 'inode and its forks',
    blockType: blockTypes.inodes,
    layout: layouts.inode,
    structs: [Dinode, BmdrBlock, BmbtRec, BmbtKey, DirSfHead, DirSfEntryHead, AttrSfHdr, AttrSfEntryHead, ParentRec],
  },
  {
    name: 'dir3',
    doc: 'directory block',
    blockType: anyDirBlock,
    layout: layouts.dir3,
    structs: [
      Dir3BlkHdr,
      Dir3DataHdr,
      DirDataFree,
      DirDataEntryHead,
      DirDataUnusedHead,
      DirLeafEntry,
      DirBlockTail,
      DaBlkinfo,
      Da3Blkinfo,
      Dir3LeafHdr,
      DirBest,
      DirLeafTail,
      Da3NodeHdr,
      DaNodeEntry,
      Dir3FreeHdr,
    ],
  },
  {
    name: 'attr3',
    doc: 'attribute block',
    blockType: anyAttrBlock,
    layout: layouts.attr3,
    structs: [
      DaBlkinfo,
      Da3Blkinfo,
      Attr3LeafHdr,
      AttrLeafMap,
      AttrLeafEntry,
      AttrNameLocalHead,
      AttrNameRemoteHead,
      ParentRec,
      Da3NodeHdr,
      DaNodeEntry,
      Attr3RmtHdr,
    ],
  },
  {
    name: 'symlink',
    doc: 'target of a symbolic link',
    blockType: blockTypes.symlink,
    layout: layouts.symlink,
    structs: [SymlinkHdr],
  },
  {
    name: 'dqblk',
    doc: 'quota record',
    blockType: blockTypes.dquot,
    layout: layouts.dqblk,
    structs: [DiskDquot, Dqblk],
  },
  {
    name: 'log',
    doc: 'the log',
    structs: [
      LogRecord,
      LogRecordExt,
      LogOp,
      TransHeader.big,
      UnmountRecord.big,
      LogDinode.big,
      InodeLogFormat32.big,
      Extent32.big,
      ...new Set(
        Object.values(logItems).flatMap((row) => (row.extent ? [row.format.big, row.extent.big] : [row.format.big])),
      ),
    ],
  },
  raw('data', 'content of a file'),
  raw('text', 'content of a file, as text'),
  raw('inodata', 'content of a metadata file'),
  raw('rtbitmap', 'realtime bitmap'),
  raw('rtsummary', 'realtime summary'),
]

/** The types of `db`, by name. */
export const dbTypes: ReadonlyMap<string, DbType> = new Map(types.map((type) => [type.name, type]))

/** Every declared structure, by name. */
export const structures: ReadonlyMap<string, Struct> = new Map(
  types.flatMap((type) => type.structs.map((struct) => [struct.name, struct])),
)

/** The items of a block of a type; none for types of raw bytes. */
export const itemsOf = (type: DbType, view: DataView, geometry: Geometry): Iterable<Item> =>
  type.layout?.(view, geometry) ?? []

/**
 * Is the checksum in an item of a block right? The view is the range that the checksum covers: a
 * sector, a block, or one inode.
 */
export const crcOf =
  (view: DataView) =>
  (field: { readonly offset: number }, at: number): boolean =>
    crcIsRight(view, 0, view.byteLength, at + field.offset)

/** The lines that `xfs_db print` prints for a block. */
export function* printLines(type: DbType, view: DataView, geometry: Geometry): Generator<string> {
  const crc = crcOf(view)
  for (const item of itemsOf(type, view, geometry)) yield* itemText(view, item, crc).split('\n')
}
