import { Agf, Agi } from '../format/ag.ts'
import { type AllocRec, type InobtRec, OWNERS, type RefcountRec, type RmapRec } from '../format/btrecs.ts'
import type { Feature, Features } from '../format/features.ts'
import type { Field } from '../format/struct.ts'
import type { Btree, BtreeOps } from './ops.ts'
import { bnobt } from './trees/bnobt.ts'
import { cntbt } from './trees/cntbt.ts'
import { finobt } from './trees/finobt.ts'
import { inobt } from './trees/inobt.ts'
import { refcountbt } from './trees/refcountbt.ts'
import { type RmapSortKey, rmapbt } from './trees/rmapbt.ts'

/**
 * The btrees of an AG. The row of a tree contains all its differences from the others. A tree that
 * is added here is read, checked, dumped and rebuilt; its records are described in `trees/`.
 */
export interface AgTrees {
  bnobt: { rec: AllocRec; key: number }
  cntbt: { rec: AllocRec; key: AllocRec }
  inobt: { rec: InobtRec; key: number }
  finobt: { rec: InobtRec; key: number }
  rmapbt: { rec: RmapRec; key: RmapSortKey }
  refcountbt: { rec: RefcountRec; key: number }
}
export type AgTreeName = keyof AgTrees
export type AgTree<N extends AgTreeName> = Btree<AgTrees[N]['rec'], AgTrees[N]['key']>
type AgTreeOps<N extends AgTreeName> = BtreeOps<AgTrees[N]['rec'], AgTrees[N]['key']>

interface AgTreeRow<N extends AgTreeName> {
  readonly ops: AgTreeOps<N>
  /** The header with the root, its height and the count of blocks. */
  readonly header: 'agf' | 'agi'
  readonly root: Field<number>
  readonly level: Field<number>
  /** Blocks including the root, and the feature without which they are not counted. */
  readonly blocks?: Field<number>
  readonly blocksSince?: Feature
  /** The owner of its blocks in the rmapbt. */
  readonly owner: number
  /** The source of its blocks: the AGFL, free space, or free space that is reserved for it. */
  readonly space: 'agfl' | 'free' | 'reserved'
  /** Without this feature there is no such tree. */
  readonly feature?: Feature
}

export const agTrees: { readonly [N in AgTreeName]: AgTreeRow<N> } = {
  bnobt: {
    ops: bnobt,
    header: 'agf',
    root: Agf.fields.bnoroot,
    level: Agf.fields.bnolevel,
    owner: OWNERS.ag,
    space: 'agfl',
  },
  cntbt: {
    ops: cntbt,
    header: 'agf',
    root: Agf.fields.cntroot,
    level: Agf.fields.cntlevel,
    owner: OWNERS.ag,
    space: 'agfl',
  },
  inobt: {
    ops: inobt,
    header: 'agi',
    root: Agi.fields.root,
    level: Agi.fields.level,
    blocks: Agi.fields.iblocks,
    blocksSince: 'inobtcount',
    owner: OWNERS.inobt,
    space: 'free',
  },
  finobt: {
    ops: finobt,
    header: 'agi',
    root: Agi.fields.free_root,
    level: Agi.fields.free_level,
    blocks: Agi.fields.fblocks,
    blocksSince: 'inobtcount',
    owner: OWNERS.inobt,
    space: 'reserved',
    feature: 'finobt',
  },
  rmapbt: {
    ops: rmapbt,
    header: 'agf',
    root: Agf.fields.rmaproot,
    level: Agf.fields.rmaplevel,
    blocks: Agf.fields.rmapblocks,
    owner: OWNERS.ag,
    space: 'agfl',
    feature: 'rmapbt',
  },
  refcountbt: {
    ops: refcountbt,
    header: 'agf',
    root: Agf.fields.refcntroot,
    level: Agf.fields.refcntlevel,
    blocks: Agf.fields.refcntblocks,
    owner: OWNERS.refc,
    space: 'reserved',
    feature: 'reflink',
  },
}

export const agTreeNames = Object.keys(agTrees) as readonly AgTreeName[]

/** The trees that a filesystem's AGs have, by its features. */
export const treesOf = ({ features }: { readonly features: Features }): AgTreeName[] =>
  agTreeNames.filter((name) => {
    const { feature } = agTrees[name]
    return feature === undefined || features.has(feature)
  })

/** The field of the header that counts a tree's blocks, if this filesystem counts them. */
export function blocksField(name: AgTreeName, features: Features): Field<number> | undefined {
  const { blocks, blocksSince } = agTrees[name]
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
  const { root, level } = agTrees[name]
  root.set(view, at, tree.root)
  level.set(view, at, tree.levels)
  blocksField(name, features)?.set(view, at, tree.blocks)
}
