import type { TreeForm, TreeName } from '../format/btrecs.ts'
import type { Geometry } from '../format/geometry.ts'
import type { BlockType } from '../format/verify/blocktype.ts'
import type { Transaction } from '../tx/transaction.ts'
import type { BlockReader } from '../volume.ts'

/**
 * One implementation for all seven btrees of XFS. Three small interfaces have the differences:
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
 * A search key (`Key`) is what callers have in hand: a number, or the fields of a record that it
 * sorts by. What a node stores for a child is made from the bytes of the child's records
 * (`copyKey`), and compared in place: no object on the way down.
 *
 * This layer may not know `space/`: a cursor gets its blocks through `Space`. A policy that needs
 * to see changes of a tree (the AGF's longest free extent) looks at the tree after the change: `new
 * Cursor(tree).last()` is one short descent.
 *
 * Files: path.ts (blocks from the root to a leaf), update.ts (insert and delete in a path),
 * cursor.ts (records one after the other: for all that knows what it looks for, and stops at what
 * is wrong), walk.ts (whole trees level by level, with what is wrong), bulkload.ts (building whole
 * trees), roots.ts (trees of an AG), trees/ (the seven).
 *
 * Format: XFS_Filesystem_Structure, "Fixed Length Record B+trees", "Variable Length …";
 * fs/xfs/libxfs/xfs_btree.h.
 */
export interface BtreeOps<Rec, Key> extends TreeForm {
  readonly name: TreeName
  /** The type of its blocks, for the cache. */
  readonly type: BlockType
  readRec(view: DataView, at: number): Rec
  writeRec(view: DataView, at: number, rec: Rec): void
  /** The search key in a key of a node. */
  readKey(view: DataView, at: number): Key
  /** The key that a record sorts by. */
  lowKey(rec: Rec): Key
  /** The last key that a record covers. */
  highKey(rec: Rec): Key
  compare(a: Key, b: Key): number
  /** The low key of the record at `at`, less `key`. */
  compareRec(view: DataView, at: number, key: Key): number
  /** The key of a node at `at`, less `key`. */
  compareKey(view: DataView, at: number, key: Key): number
  /** Two keys of nodes, the first less the second. */
  compareKeys(a: DataView, aAt: number, b: DataView, bAt: number): number
  /** The low keys of two records, the first less the second. */
  compareRecs(a: DataView, aAt: number, b: DataView, bAt: number): number
  /** Write the key that a node stores for a child whose first record is at `at`. */
  copyKey(view: DataView, at: number, to: DataView, toAt: number): void
  /** Of an overlapping tree. */
  readonly high?: HighKeys<Key>
  /** Why the record cannot be, or undefined. `agno` is −1 for a bmbt. */
  check(rec: Rec, geometry: Geometry, agno: number): string | undefined
}

/** The high keys of an overlapping tree, from bytes to bytes. */
export interface HighKeys<Key> {
  /** Write the highest key that `count` records cover, `stride` bytes apart, the first at `at`. */
  ofRecords(view: DataView, at: number, count: number, stride: number, to: DataView, toAt: number): void
  /** Write the highest of `count` keys, `stride` bytes apart, the first at `at`. */
  ofKeys(view: DataView, at: number, count: number, stride: number, to: DataView, toAt: number): void
  /** The last key that the record at `at` covers, less the key that is written at `keyAt`. */
  compareRec(view: DataView, at: number, written: DataView, keyAt: number): number
  /** The last key that the record at `at` covers, less `key`. */
  compare(view: DataView, at: number, key: Key): number
}

/** Where the root is. */
export type Root = BlockRoot | InlineRoot

/** A root in a block of its own. Block pointers are agbno (short) or fsbno (long). */
export interface BlockRoot {
  readonly inline?: false
  /** What states pointer and height, for messages: "the AGF". */
  readonly origin: string
  get(): { readonly ptr: number; readonly levels: number }
  set(tx: Transaction, ptr: number, levels: number): void
}

/**
 * A root block inside of something else, the fork of an inode: `level`, `numrecs` (2 bytes each),
 * keys, then pointers from `at + 4 + maxrecs * keySize`. It is never a leaf. Whoever changes the
 * size of the fork moves the pointers.
 */
export interface InlineRoot {
  readonly inline: true
  /** What holds it, for messages: "the data fork of inode 131". */
  readonly origin: string
  /** Its current place, and the maximum number of keys. */
  block(): InlineBlock
  /** Before its bytes change. */
  edit(tx: Transaction): void
}

export interface InlineBlock {
  readonly view: DataView
  /** Where `level` is. */
  readonly at: number
  readonly maxrecs: number
}

/** Where the blocks of a tree come from. */
export interface Space {
  /** A block for the tree, near another of its blocks. @throws XfsError NOSPC */
  alloc(tx: Transaction, near: number): number
  /** The block left the tree; its buffer was invalidated already. */
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
  /** The volume, or the running transaction where the tree is to be changed. */
  readonly reader: BlockReader
}
