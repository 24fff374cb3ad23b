import { orderByU32 } from '../../util/columns.ts'
import type { ObservedTrees } from '../observe/agtrees.ts'

/**
 * @returns whether bnobt lists the complete run as free; false if bnobt could not be read
 *   completely
 */
export function listedFree({ bnobt }: ObservedTrees): (start: number, end: number) => boolean {
  const { records, complete } = bnobt
  if (!complete) return () => false
  let order: Uint32Array | undefined
  return (start, end) => {
    order ??= orderByU32(records.start.filled(), records.length)
    let low = 0
    let high = order.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (records.start.get(order[middle] as number) <= start) low = middle + 1
      else high = middle
    }
    const row = order[low - 1]
    return row !== undefined && end <= records.start.get(row) + records.count.get(row)
  }
}
