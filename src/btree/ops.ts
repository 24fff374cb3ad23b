import type { Geometry } from '../format/geometry.ts'
import type { TreeForm, TreeName } from '../format/trees.ts'
import type { BlockType } from '../format/verify/blocktype.ts'
import type { Transaction } from '../tx/transaction.ts'
import type { BlockReader } from '../volume.ts'

/**
 * One implementation for all seven btrees of XFS. Three small interfaces contain the differences:
 *
 *   BtreeOps   the records: sizes, reading, writing, order. Pure: no AGs, buffers or transactions.
 *   Root       the position of the root: a field of the AGF or AGI, a staged root in memory, or the
 *              root block in an inode fork.
 *   Space      where blocks are allocated and freed: the AGFL, the AG's free space, a file's
 *              blocks, a list allocated in advance.
 *
 *            ┌──────── root ────────┐      A leaf has a header and records. A node has a header,
 *            │ k0 p0 │ k1 p1 │ …    │      keys (in an overlapping tree: low key + high key), and
 *            └──┬───────┬───────────┘      pointers, whose start depends on maxrecs. Siblings are
 *      ┌────────▼──┐ ┌──▼────────┐         linked on each level. Every block except the root is at
 *      │ r r r r r │↔│ r r r r   │         least half full.
 *      └───────────┘ └───────────┘
 *
 * A search key (`Key`) is the form that callers use: a number, or the fields of a record that it is
 * sorted by. The keys in a node are made from the bytes of the child's records (`copyKey`) and
 * compared in place, so that a descent creates no objects.
 *
 * This layer does not import `space/`: a cursor gets its blocks through `Space`. A policy that
 * depends on changes of a tree (the AGF's longest free extent) reads the tree after the change:
 * `new Cursor(tree).last()` is one short descent.
 *
 * Files: path.ts (blocks from the root to a leaf), update.ts (insert and delete in a path),
 * cursor.ts (single records in order; for code that stops at the first fault), walk.ts (complete
 * trees level by level, with their faults), bulkload.ts (building complete trees), roots.ts (trees
 * of an AG), trees/ (the seven).
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
  /** The sort key of a record. */
  lowKey(rec: Rec): Key
  /** The last key that a record covers. */
  highKey(rec: Rec): Key
  compare(a: Key, b: Key): number
  /** The low key of the record at `at`, minus `key`. */
  compareRec(view: DataView, at: number, key: Key): number
  /** The key of a node at `at`, minus `key`. */
  compareKey(view: DataView, at: number, key: Key): number
  /** Two keys of nodes, the first minus the second. */
  compareKeys(a: DataView, aAt: number, b: DataView, bAt: number): number
  /** The low keys of two records, the first minus the second. */
  compareRecs(a: DataView, aAt: number, b: DataView, bAt: number): number
  /** Write the key that a node stores for a child whose first record is at `at`. */
  copyKey(view: DataView, at: number, to: DataView, toAt: number): void
  /** Overlapping trees only. */
  readonly high?: HighKeys<Key>
}

/** The high keys of an overlapping tree, from bytes to bytes. */
export interface HighKeys<Key> {
  /** Write the highest key that `count` records cover, `stride` bytes apart, the first at `at`. */
  ofRecords(view: DataView, at: number, count: number, stride: number, to: DataView, toAt: number): void
  /** Write the highest of `count` keys, `stride` bytes apart, the first at `at`. */
  ofKeys(view: DataView, at: number, count: number, stride: number, to: DataView, toAt: number): void
  /** The last key that the record at `at` covers, minus the key written at `keyAt`. */
  compareRec(view: DataView, at: number, written: DataView, keyAt: number): number
  /** The last key that the record at `at` covers, minus `key`. */
  compare(view: DataView, at: number, key: Key): number
}

/** The position of the root. */
export type Root = BlockRoot | InlineRoot

/** A root in its own block. Block pointers are agbno (short) or fsbno (long). */
export interface BlockRoot {
  readonly inline?: false
  /** The source of pointer and height, for messages: "the AGF". */
  readonly origin: string
  get(): { readonly ptr: number; readonly levels: number }
  set(tx: Transaction, ptr: number, levels: number): void
}

/**
 * A root block in an inode fork: `level`, `numrecs` (2 bytes each), keys, then pointers from `at +
 * 4 + maxrecs * keySize`. It is never a leaf. Code that changes the size of the fork must move the
 * pointers.
 */
export interface InlineRoot {
  readonly inline: true
  /** The fork, for messages: "the data fork of inode 131". */
  readonly origin: string
  /** Its current place, and the maximum number of keys. */
  block(): InlineBlock
  /** Called before its bytes change. */
  edit(tx: Transaction): void
}

export interface InlineBlock {
  readonly view: DataView
  /** The offset of `level`. */
  readonly at: number
  readonly maxrecs: number
}

/** Allocates and frees blocks of a tree. */
export interface Space {
  /** Allocate a block for the tree, near another of its blocks. @throws XfsError NOSPC */
  alloc(tx: Transaction, near: number): number
  /** Free a block that left the tree; its buffer was invalidated already. */
  free(tx: Transaction, ptr: number): void
}

/** A tree and its root. `space` is undefined if the tree is only read. */
export interface Btree<Rec, Key> {
  readonly ops: BtreeOps<Rec, Key>
  readonly geometry: Geometry
  /** The AG that pointers are in; −1 for a tree in an inode. */
  readonly agno: number
  /** The owner in its blocks: the AG or the inode. */
  readonly owner: number
  readonly root: Root
  readonly space?: Space
  /** The volume, or the running transaction if the tree is to be changed. */
  readonly reader: BlockReader
}
