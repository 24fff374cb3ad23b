import type { Geometry } from '../format/geometry.ts'
import type { BlockType } from '../format/verify.ts'
import type { Transaction } from '../tx/transaction.ts'
import type { BlockReader } from '../volume.ts'

/**
 * One btree for all seven trees of XFS. What differs stands in three small interfaces:
 *
 *   BtreeOps   what a record is: sizes, reading, writing, order. Pure: no groups, no buffers, no transactions.
 *   Root       where the root is: a field of the AGF or AGI, a staged root in memory, or the root block inside an inode fork.
 *   Space      where blocks come from and go to: the AGFL, the group's free space, a file's blocks, a list claimed beforehand.
 *
 *            ┌──────── root ────────┐        a block: header, then at a leaf records; above it keys
 *            │ k0 p0 │ k1 p1 │ …    │        (an overlapping tree: low key + high key) and, from their own
 *            └──┬───────┬───────────┘        start that depends on maxrecs, pointers
 *      ┌────────▼──┐ ┌──▼────────┐
 *      │ r r r r r │↔│ r r r r   │           siblings are linked on each level; every block but the root is at
 *      └───────────┘ └───────────┘           least half full
 *
 * This layer may not know `space/`: a cursor gets its blocks through `Space`. A policy that needs to see changes of a tree
 * (the AGF's longest free extent) is a callback of the root, not a flag in the cursor.
 *
 * Format: XFS_Filesystem_Structure, "Fixed Length Record B+trees", "Variable Length …"; fs/xfs/libxfs/xfs_btree.h.
 */
export interface BtreeOps<Rec, Key> {
  readonly name: 'bnobt' | 'cntbt' | 'inobt' | 'finobt' | 'rmapbt' | 'refcountbt' | 'bmbt'
  /** The type of its blocks, for the cache. */
  readonly type: BlockType
  readonly recSize: number
  /** Bytes of one key; an overlapping tree stores two per pointer. */
  readonly keySize: number
  /** 4: agbno, short header. 8: fsbno, long header. */
  readonly ptrSize: 4 | 8
  /** Records may overlap, so that nodes carry the highest key below each pointer as well (rmapbt). */
  readonly overlapping: boolean
  readRec(view: DataView, at: number): Rec
  writeRec(view: DataView, at: number, rec: Rec): void
  readKey(view: DataView, at: number): Key
  writeKey(view: DataView, at: number, key: Key): void
  /** The key that a record sorts by. */
  lowKey(rec: Rec): Key
  /** The last key that a record covers. */
  highKey(rec: Rec): Key
  compare(a: Key, b: Key): number
  /** Why the record cannot be, or undefined. */
  check(rec: Rec, geometry: Geometry): string | undefined
}

/** Where the root is. Block pointers are agbno (short) or fsbno (long). */
export interface Root {
  get(): { readonly ptr: number; readonly levels: number }
  set(tx: Transaction, ptr: number, levels: number): void
}

/** Where the blocks of a tree come from. */
export interface Space {
  /** A block for the tree, near another of its blocks. @throws XfsError NOSPC */
  alloc(tx: Transaction, near: number): number
  free(tx: Transaction, ptr: number): void
}

/** A tree in its place. `space` is absent where the tree is only read. */
export interface Btree<Rec, Key> {
  readonly ops: BtreeOps<Rec, Key>
  readonly geometry: Geometry
  /** The group, for short trees; −1 for a bmbt. */
  readonly agno: number
  /** What its blocks carry as owner: the group or the inode. */
  readonly owner: number
  readonly root: Root
  readonly space?: Space
  readonly reader: BlockReader
}
