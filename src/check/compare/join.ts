import { u32Column } from '../../util/columns.ts'

/** In place of a row: that side has no such record. */
export const NO_ROW = 0xffffffff

/**
 * How the records that were found differ from those expected: one row for each record that only one
 * side has (`NO_ROW` is the other), or that both have and that is not the same; in key order.
 *
 * There are no more rows than records of both sides, 8 bytes each, and a record of a tree of an AG
 * takes a block or a chunk of the AG, or is stored in one of its blocks.
 */
export class Differences {
  /** Rows of the expected table. */
  readonly expected = u32Column()
  /** Rows of the found table. */
  readonly found = u32Column()

  get length(): number {
    return this.expected.length
  }

  push(expected: number, found: number): void {
    this.expected.push(expected)
    this.found.push(found)
  }

  /** Each as a pair of rows. */
  *[Symbol.iterator](): Generator<[expected: number, found: number]> {
    for (let i = 0; i < this.length; i++) yield [this.expected.get(i), this.found.get(i)]
  }
}

/**
 * Merge-join two tables in key order. Records are named by their row in their table: nothing is
 * copied, a million of them cost a few milliseconds.
 *
 * @param expected how many records are expected; they are in order
 * @param found    rows of the found table, in order
 * @param order    how expected record e compares with found record f: less than, equal or greater
 *   than zero
 * @param same     whether two records of equal order are the same
 */
export function compare(
  expected: number,
  found: Uint32Array,
  order: (e: number, f: number) => number,
  same: (e: number, f: number) => boolean,
): Differences {
  const differences = new Differences()
  let e = 0
  for (let i = 0; e < expected || i < found.length; ) {
    const f = found[i] as number
    const side = e >= expected ? 1 : i >= found.length ? -1 : order(e, f)
    if (side < 0) differences.push(e++, NO_ROW)
    else if (side > 0) {
      differences.push(NO_ROW, f)
      i++
    } else {
      if (!same(e, f)) differences.push(e, f)
      e++
      i++
    }
  }
  return differences
}
