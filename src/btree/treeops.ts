import type { AgTreeName, ForkTreeName, TreeName } from '../format/trees.ts'
import type { Btree, BtreeOps } from './ops.ts'
import { bmbt } from './trees/bmbt.ts'
import { bnobt } from './trees/bnobt.ts'
import { cntbt } from './trees/cntbt.ts'
import { finobt } from './trees/finobt.ts'
import { inobt } from './trees/inobt.ts'
import { refcountbt } from './trees/refcountbt.ts'
import { rmapbt } from './trees/rmapbt.ts'

const all = { bnobt, cntbt, inobt, finobt, rmapbt, refcountbt, bmbt }

type TreeOps = typeof all
export type TreeRecord<N extends TreeName> = TreeOps[N] extends BtreeOps<infer Rec, infer _> ? Rec : never
type TreeKey<N extends TreeName> = TreeOps[N] extends BtreeOps<infer _, infer Key> ? Key : never

/**
 * Reading, writing and order of the records of each tree. Its other differences are in `btrees`.
 */
export const treeOps: { readonly [N in TreeName]: BtreeOps<TreeRecord<N>, TreeKey<N>> } = all

/** A tree in the fork of an inode. */
export type ForkTree<N extends ForkTreeName> = Btree<TreeRecord<N>, TreeKey<N>>
export type AgTree<N extends AgTreeName> = Btree<TreeRecord<N>, TreeKey<N>>
