import { Agf, Agi } from './ag.ts'
import {
  AllocRec,
  BmbtKey,
  BmbtRec,
  InobtKey,
  InobtRec,
  InobtRecFull,
  OWNERS,
  RefcountKey,
  RefcountRec,
  RmapKey,
  RmapRec,
} from './btrecs.ts'
import { FORK_FORMATS } from './dinode.ts'
import type { Feature, Features } from './features.ts'
import type { Field, Struct } from './struct.ts'

/**
 * The btrees of XFS. The row of a tree contains all its differences from the others: its records
 * and keys, its root, and the source of its blocks. A tree that is added here is verified, printed
 * and dumped; the order of its records is in `btree/trees/`.
 */

/** A root in a block of its own. The header of each AG has its address. */
interface HeaderRoot {
  readonly in: 'agf' | 'agi'
  readonly block: Field<number>
  readonly level: Field<number>
  /** Blocks including the root, and the feature without which they are not counted. */
  readonly blocks?: Field<number>
  readonly blocksSince?: Feature
}

/** A root in a fork of an inode. */
interface ForkRoot {
  readonly in: 'inode'
  /** The format of a fork that contains the root. */
  readonly format: number
}

interface TreeRow {
  /** Its types in xfs_db with their descriptions; for a tree in inodes one for each fork. */
  readonly db: Readonly<Record<string, string>>
  readonly magic: number
  /** Without it, V4 does not have the tree. */
  readonly magicV4?: number
  readonly rec: Struct
  /** The record if a feature is missing. */
  readonly recWithout?: { readonly feature: Feature; readonly rec: Struct }
  readonly key: Struct
  /** Records may overlap: nodes have both the lowest and the highest key of each child. */
  readonly overlapping?: true
  readonly root: HeaderRoot | ForkRoot
  /** The owner of its blocks in the rmapbt; undefined: the inode with the root. */
  readonly owner?: number
  /**
   * The source of its blocks: the AGFL, free space, free space that is reserved for it, or free
   * space as for blocks of files.
   */
  readonly space: 'agfl' | 'free' | 'reserved' | 'file'
  /** Without this feature there is no such tree. */
  readonly feature?: Feature
}

export const btrees = {
  bnobt: {
    db: { bnobt: 'free space by block' },
    magic: 0x41423342, // AB3B
    magicV4: 0x41425442, // ABTB
    rec: AllocRec,
    key: AllocRec,
    root: { in: 'agf', block: Agf.fields.bnoroot, level: Agf.fields.bnolevel },
    owner: OWNERS.ag,
    space: 'agfl',
  },
  cntbt: {
    db: { cntbt: 'free space by size' },
    magic: 0x41423343, // AB3C
    magicV4: 0x41425443, // ABTC
    rec: AllocRec,
    key: AllocRec,
    root: { in: 'agf', block: Agf.fields.cntroot, level: Agf.fields.cntlevel },
    owner: OWNERS.ag,
    space: 'agfl',
  },
  inobt: {
    db: { inobt: 'inode chunks' },
    magic: 0x49414233, // IAB3
    magicV4: 0x49414254, // IABT
    rec: InobtRec,
    recWithout: { feature: 'sparse', rec: InobtRecFull },
    key: InobtKey,
    root: {
      in: 'agi',
      block: Agi.fields.root,
      level: Agi.fields.level,
      blocks: Agi.fields.iblocks,
      blocksSince: 'inobtcount',
    },
    owner: OWNERS.inobt,
    space: 'free',
  },
  finobt: {
    db: { finobt: 'inode chunks with free inodes' },
    magic: 0x46494233, // FIB3
    rec: InobtRec,
    recWithout: { feature: 'sparse', rec: InobtRecFull },
    key: InobtKey,
    root: {
      in: 'agi',
      block: Agi.fields.free_root,
      level: Agi.fields.free_level,
      blocks: Agi.fields.fblocks,
      blocksSince: 'inobtcount',
    },
    owner: OWNERS.inobt,
    space: 'reserved',
    feature: 'finobt',
  },
  rmapbt: {
    db: { rmapbt: 'owners of blocks' },
    magic: 0x524d4233, // RMB3
    rec: RmapRec,
    key: RmapKey,
    overlapping: true,
    root: { in: 'agf', block: Agf.fields.rmaproot, level: Agf.fields.rmaplevel, blocks: Agf.fields.rmapblocks },
    owner: OWNERS.ag,
    space: 'agfl',
    feature: 'rmapbt',
  },
  refcountbt: {
    db: { refcntbt: 'shared blocks' },
    magic: 0x52334643, // R3FC
    rec: RefcountRec,
    key: RefcountKey,
    root: { in: 'agf', block: Agf.fields.refcntroot, level: Agf.fields.refcntlevel, blocks: Agf.fields.refcntblocks },
    owner: OWNERS.refc,
    space: 'reserved',
    feature: 'reflink',
  },
  bmbt: {
    db: { bmapbtd: 'extents of a data fork', bmapbta: 'extents of an attribute fork' },
    magic: 0x424d4133, // BMA3
    magicV4: 0x424d4150, // BMAP
    rec: BmbtRec,
    key: BmbtKey,
    root: { in: 'inode', format: FORK_FORMATS.btree },
    space: 'file',
  },
} as const satisfies Readonly<Record<string, TreeRow>>

type Btrees = typeof btrees
export type TreeName = keyof Btrees
/** The trees with one root in each AG. */
export type AgTreeName = { [N in TreeName]: Btrees[N]['root'] extends HeaderRoot ? N : never }[TreeName]
/** The trees with roots in inodes. */
export type ForkTreeName = Exclude<TreeName, AgTreeName>

/** The row of a tree, with the optional parts of rows. */
export const treeRow = (name: TreeName): TreeRow => btrees[name]

/** The root of a tree of AGs. */
export const headerRoot = (name: AgTreeName): HeaderRoot => btrees[name].root

export const treeNames = Object.keys(btrees) as readonly TreeName[]

export const isAgTree = (name: TreeName): name is AgTreeName => btrees[name].root.in !== 'inode'

/** In the order of the roots in a new filesystem. */
export const agTreeNames = treeNames.filter(isAgTree)

/** The trees that a filesystem's AGs have, by its features. */
export const treesOf = ({ features }: { readonly features: Features }): AgTreeName[] =>
  agTreeNames.filter((name) => {
    const { feature } = treeRow(name)
    return feature === undefined || features.has(feature)
  })

/** The field of the header that counts a tree's blocks, if this filesystem counts them. */
export function blocksField(name: AgTreeName, features: Features): Field<number> | undefined {
  const { blocks, blocksSince } = headerRoot(name)
  return blocksSince === undefined || features.has(blocksSince) ? blocks : undefined
}

/** The root of a tree according to an AGF or AGI. */
export interface TreeRoot {
  readonly root: number
  readonly levels: number
  /** Blocks including the root. */
  readonly blocks: number
}

/** Write it into the tree's header, which begins at `at`. */
export function setTreeRoot(view: DataView, at: number, name: AgTreeName, features: Features, tree: TreeRoot): void {
  const { block, level } = headerRoot(name)
  block.set(view, at, tree.root)
  level.set(view, at, tree.levels)
  blocksField(name, features)?.set(view, at, tree.blocks)
}

/** The magic number of a tree's blocks. */
export function treeMagic(name: TreeName, v5: boolean): number {
  const { magic, magicV4 } = treeRow(name)
  return v5 ? magic : (magicV4 ?? magic)
}

/** Sizes of the contents of a tree's blocks: records in leaves, keys and pointers in nodes. */
export interface TreeForm {
  readonly recSize: number
  readonly keySize: number
  /** Nodes have both the lowest and the highest key of each child. */
  readonly overlapping: boolean
  /** Bytes from key to key in a node. */
  readonly keyStride: number
  /** 4: agbno, short header. 8: fsbno, long header. */
  readonly ptrSize: 4 | 8
}

/** Pointers of a tree in an inode lead to any AG, those of a tree of an AG stay in it. */
function formOf({ rec, key, overlapping: overlaps, root }: TreeRow): TreeForm {
  const overlapping = overlaps === true
  return {
    recSize: rec.size,
    keySize: key.size,
    overlapping,
    keyStride: key.size * (overlapping ? 2 : 1),
    ptrSize: root.in === 'inode' ? 8 : 4,
  }
}

export const treeForms = Object.fromEntries(treeNames.map((name) => [name, formOf(btrees[name])])) as Readonly<
  Record<TreeName, TreeForm>
>
