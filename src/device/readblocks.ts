import { BASIC_BLOCK } from '../format/geometry.ts'
import { orderByU32 } from '../util/columns.ts'
import type { Device } from './device.ts'

/**
 * Read many blocks in large reads, without the cache. A scan reads each block only once, and must
 * see damaged blocks unchanged.
 */

const PIECE = 2 ** 20
/** Up to this gap, reading unneeded bytes is cheaper than another call. */
const GAP = 2 ** 16

/**
 * A visitor of `readBlocks`. The block of `row` is at `at` of `view` and of `bytes`, which hold
 * more than this block. Both are valid during the call only.
 */
type VisitBlock = (view: DataView, at: number, row: number, bytes: Uint8Array) => void

/**
 * Visit blocks of `size` bytes in the given order. Consecutive blocks that are close to each other
 * on the device, in ascending order, are read at once.
 *
 * @param positions  in bytes, for each row
 * @param order      the rows to read
 */
export function readBlocks(
  device: Pick<Device, 'read'>,
  size: number,
  positions: Float64Array,
  order: Uint32Array,
  visit: VisitBlock,
): void {
  const most = Math.max(size, PIECE)
  let buffer = new Uint8Array(0)
  let view = new DataView(buffer.buffer)
  for (let i = 0, next = 0; i < order.length; i = next) {
    const from = positions[order[i] as number] as number
    let end = from + size
    for (next = i + 1; next < order.length; next++) {
      const position = positions[order[next] as number] as number
      if (position < from || position > end + GAP || position + size > from + most) break
      end = Math.max(end, position + size)
    }
    if (buffer.length < end - from) {
      buffer = new Uint8Array(next < order.length ? most : end - from)
      view = new DataView(buffer.buffer)
    }
    device.read(buffer.subarray(0, end - from), from)
    for (let k = i; k < next; k++) {
      const row = order[k] as number
      visit(view, (positions[row] as number) - from, row, buffer)
    }
  }
}

/** Rows in ascending order of their position (a multiple of 512, or −1: those come first). */
export function orderByPosition(positions: Float64Array): Uint32Array {
  const count = positions.length
  let sorted = true
  for (let i = 1; i < count && sorted; i++) sorted = (positions[i] as number) >= (positions[i - 1] as number)
  const identity = new Uint32Array(count)
  for (let i = 0; i < count; i++) identity[i] = i
  if (sorted) return identity
  const low = new Uint32Array(count)
  const high = new Uint32Array(count)
  for (let i = 0; i < count; i++) {
    const block = (positions[i] as number) < 0 ? 0 : (positions[i] as number) / BASIC_BLOCK + 1
    low[i] = block % 2 ** 32
    high[i] = Math.floor(block / 2 ** 32)
  }
  return orderByU32(high, count, orderByU32(low, count, identity))
}
