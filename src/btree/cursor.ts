import { assert } from '../errors.ts'
import type { Btree } from './ops.ts'
import { countOf, type Level, Path } from './path.ts'
import { deleteRecord, insertRecord, updateRecord } from './update.ts'

/**
 * A position in a tree: on a record, or in the gap between two records. After a lookup without a
 * result, a step beyond either end, or a delete it is in the gap: `next` and `previous` then move
 * to the record after and before it.
 *
 *   lookup(k, 'le')   the last record not above k       none: before the first
 *   lookup(k, 'eq')   the record with key k             none: the position where it would be
 *   lookup(k, 'ge')   the first record not below k      none: after the last
 *
 * A cursor is valid until its btree is changed by other means; then repeat the lookup. To change
 * the tree, `tree.reader` must be the running transaction, and `tree.space` allocates and frees
 * blocks. If a change fails (no space, a corrupt block), cancel the transaction: it is not undone
 * here.
 */
export class Cursor<Rec, Key> {
  readonly tree: Btree<Rec, Key>
  readonly #path: Path<Rec, Key>
  /** In the gap before the leaf's index. */
  #gap = true
  #placed = false

  constructor(tree: Btree<Rec, Key>) {
    this.tree = tree
    this.#path = new Path(tree)
  }

  /**
   * Find a record by its low key. Returns false if there is none. @throws XfsError CORRUPT, BADCRC
   */
  lookup(key: Key, match: 'le' | 'eq' | 'ge'): boolean {
    const leaf = this.#path.descend(key)
    this.#placed = true
    this.#gap = false
    if (match === 'le') {
      if (leaf.index > 0) {
        leaf.index--
        return true
      }
      if (this.#path.cross(0, -1)) return true
    } else {
      if (leaf.index > 0 && this.#compare(leaf, leaf.index - 1, key) === 0) {
        leaf.index--
        return true
      }
      if (match === 'ge' && (leaf.index < countOf(leaf) || this.#path.cross(0, 1))) return true
    }
    this.#gap = true
    return false
  }

  #compare(leaf: Level, index: number, key: Key): number {
    return this.tree.ops.compareRec(leaf.view, this.#path.recAt(leaf, index), key)
  }

  /** Move to the first record; false if the tree is empty. */
  first(): boolean {
    return this.#edge(false)
  }

  /** Move to the last record; false if the tree is empty. */
  last(): boolean {
    return this.#edge(true)
  }

  #edge(last: boolean): boolean {
    const leaf = this.#path.edge(last)
    this.#placed = true
    this.#gap = countOf(leaf) === 0
    if (this.#gap) leaf.index = 0
    return !this.#gap
  }

  /** Move to the next record; false at the end. */
  next(): boolean {
    const leaf = this.#leaf()
    const index = this.#gap ? leaf.index : leaf.index + 1
    if (index < countOf(leaf)) {
      leaf.index = index
      this.#gap = false
      return true
    }
    this.#gap = !this.#path.cross(0, 1)
    if (this.#gap) leaf.index = countOf(leaf)
    return !this.#gap
  }

  /** Move to the previous record; false at the start. */
  previous(): boolean {
    const leaf = this.#leaf()
    if (leaf.index > 0) {
      leaf.index--
      this.#gap = false
      return true
    }
    this.#gap = !this.#path.cross(0, -1)
    return !this.#gap
  }

  /** True if the cursor is on a record, so that `record` may be called. */
  get onRecord(): boolean {
    return this.#placed && !this.#gap
  }

  /** The record that the cursor is on. */
  record(): Rec {
    const leaf = this.#here()
    return this.tree.ops.readRec(leaf.view, this.#path.recAt(leaf, leaf.index))
  }

  /** Another cursor at the same position. */
  clone(): Cursor<Rec, Key> {
    const other = new Cursor(this.tree)
    other.#path.levels = this.#path.levels.map((level) => ({ ...level }))
    other.#gap = this.#gap
    other.#placed = this.#placed
    return other
  }

  /**
   * Insert a new record where it belongs; the cursor is then on it.
   * @throws XfsError CORRUPT if its key exists already, NOSPC
   */
  insert(rec: Rec): void {
    const { ops } = this.tree
    const key = ops.lowKey(rec)
    const leaf = this.#path.descend(key)
    if (leaf.index > 0 && this.#compare(leaf, leaf.index - 1, key) === 0) {
      throw this.#path.corrupt(leaf.ptr, `already contains the record to insert: ${text(rec)}`)
    }
    insertRecord(this.#path, rec)
    this.#placed = true
    this.#gap = false
  }

  /** Replace the record at the cursor; the new one must have the same position in the order. */
  update(rec: Rec): void {
    const { ops } = this.tree
    const path = this.#path
    const leaf = this.#here()
    const key = ops.lowKey(rec)
    const { index } = leaf
    if (
      (index > 0 && this.#compare(leaf, index - 1, key) >= 0) ||
      (index + 1 < countOf(leaf) && this.#compare(leaf, index + 1, key) <= 0)
    ) {
      throw path.corrupt(leaf.ptr, `the order of its records does not permit ${text(rec)}`)
    }
    updateRecord(path, rec)
  }

  /**
   * Delete the record that the cursor is on. It is then in the gap: `next` goes to the record after
   * it. */
  delete(): void {
    this.#here()
    deleteRecord(this.#path)
    this.#gap = true
  }

  #leaf(): Level {
    assert(this.#placed, 'the cursor has no position')
    return this.#path.at(0)
  }

  #here(): Level {
    assert(this.onRecord, 'the cursor is not on a record')
    return this.#path.at(0)
  }
}

const text = (rec: unknown): string => JSON.stringify(rec)

/**
 * All records in order, or those from the first that is not below `from`. The tree must not change
 * meanwhile.
 */
export function* records<Rec, Key>(tree: Btree<Rec, Key>, from?: Key): Generator<Rec> {
  const cursor = new Cursor(tree)
  for (let found = from === undefined ? cursor.first() : cursor.lookup(from, 'ge'); found; found = cursor.next())
    yield cursor.record()
}

/**
 * Every record that overlaps `[low, high]`: its low key is not above `high`, its high key not below
 * `low`. In key order. In an overlapping tree subtrees whose high key is too low are skipped. The
 * tree must not change meanwhile.
 */
export function query<Rec, Key>(tree: Btree<Rec, Key>, low: Key, high: Key): Generator<Rec> {
  return tree.ops.overlapping ? queryOverlapping(tree, low, high) : querySimple(tree, low, high)
}

function* querySimple<Rec, Key>(tree: Btree<Rec, Key>, low: Key, high: Key): Generator<Rec> {
  const { ops } = tree
  const cursor = new Cursor(tree)
  for (let found = cursor.lookup(low, 'le') || cursor.next(); found; found = cursor.next()) {
    const rec = cursor.record()
    if (ops.compare(ops.lowKey(rec), high) > 0) return
    if (ops.compare(ops.highKey(rec), low) >= 0) yield rec
  }
}

function* queryOverlapping<Rec, Key>(tree: Btree<Rec, Key>, low: Key, high: Key): Generator<Rec> {
  const { ops } = tree
  const endOf = ops.high?.compare ?? ((view, at, key) => ops.compare(ops.highKey(ops.readRec(view, at)), key))
  const path = new Path(tree)
  const seen = new Set<number>()
  path.start()
  let slot = path.height - 1
  for (;;) {
    const level = path.at(slot)
    const { view, index } = level
    if (slot > 0) {
      const at = index < countOf(level) ? path.keyAt(level, index) : -1
      if (at >= 0 && ops.compareKey(view, at, high) <= 0) {
        level.index++
        if (ops.compareKey(view, at + ops.keySize, low) < 0) continue
        const ptr = path.getPtr(level, index)
        if (seen.has(ptr)) throw path.corrupt(ptr, 'the tree contains it twice')
        seen.add(ptr)
        path.load(--slot, ptr)
        continue
      }
    } else {
      for (let i = 0; i < countOf(level); i++) {
        const at = path.recAt(level, i)
        if (ops.compareRec(view, at, high) > 0) break
        if (endOf(view, at, low) >= 0) yield ops.readRec(view, at)
      }
    }
    if (++slot === path.height) return
  }
}

/**
 * The last record of a tree, or undefined; in cntbt it is the longest free extent. One descent
 * along the right edge.
 */
export function lastRecord<Rec, Key>(tree: Btree<Rec, Key>): Rec | undefined {
  const cursor = new Cursor(tree)
  return cursor.last() ? cursor.record() : undefined
}
