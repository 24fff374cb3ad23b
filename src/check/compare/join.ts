/** Only one side has the record, or both have it and it differs. */
type Difference = 'missing' | 'extra' | 'wrong'

/**
 * Merge-join two tables in key order; equal records are not reported. Records are identified by
 * their index in their table. So nothing is copied, and a million of them take a few milliseconds.
 *
 * @param order  compares expected record e with found record f: less than, equal to or greater than
 *   zero
 * @param same  whether two records of equal order are the same
 * @param report  `e` is −1 if the record is extra, `f` if it is missing
 */
export function compare(
  expected: number,
  found: number,
  order: (e: number, f: number) => number,
  same: (e: number, f: number) => boolean,
  report: (kind: Difference, e: number, f: number) => void,
): void {
  let e = 0
  let f = 0
  while (e < expected || f < found) {
    const side = e >= expected ? 1 : f >= found ? -1 : order(e, f)
    if (side < 0) report('missing', e++, -1)
    else if (side > 0) report('extra', -1, f++)
    else {
      if (!same(e, f)) report('wrong', e, f)
      e++
      f++
    }
  }
}
