import type { Device } from '../../device/device.ts'
import { BASIC_BLOCK } from '../../format/geometry.ts'
import { orderByU32 } from '../columns.ts'

/**
 * Reading many blocks once: in disk order, in large pieces, past the cache (what a scan reads it reads once, and a damaged
 * block must come through as it is).
 */

const PIECE = 2 ** 20
/** Reading so much that nobody asked for is cheaper than another call. */
const GAP = 2 ** 16

/** What a visitor of `readBlocks` gets; `bytes` and `view` begin at the piece, the block at `at`. They are overwritten later. */
export type VisitBlock = (view: DataView, at: number, row: number, bytes: Uint8Array) => void

/**
 * Visit blocks of `size` bytes in ascending order of their position.
 *
 * @param positions  in bytes, for each row
 * @param order      rows in ascending order of position; positions of two rows may be equal
 */
export function readBlocks(
  device: Device,
  size: number,
  positions: Float64Array,
  order: Uint32Array,
  visit: VisitBlock,
): void {
  if (order.length === 0) return
  const span =
    (positions[order[order.length - 1] as number] as number) - (positions[order[0] as number] as number) + size
  const buffer = new Uint8Array(Math.max(size, Math.min(span, PIECE)))
  const view = new DataView(buffer.buffer)
  for (let i = 0, next = 0; i < order.length; i = next) {
    const from = positions[order[i] as number] as number
    let end = from + size
    for (next = i + 1; next < order.length; next++) {
      const position = positions[order[next] as number] as number
      if (position > end + GAP || position + size > from + buffer.length) break
      end = Math.max(end, position + size)
    }
    const bytes = buffer.subarray(0, end - from)
    device.read(bytes, from)
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
