/**
 * Tables as columns of typed arrays, with a row for each extent or inode of an image: a million
 * extents take 26 MB, a tenth of what objects would take. A row is identified by its index.
 */

type TypedArray = Uint8Array | Uint16Array | Uint32Array | Float64Array

/** One growing column. Read through `data`, up to `length`. */
export class Column<A extends TypedArray> {
  data: A
  length = 0

  constructor(data: A) {
    this.data = data
  }

  push(value: number): void {
    if (this.length === this.data.length) this.#grow(this.length + 1)
    this.data[this.length++] = value
  }

  get(index: number): number {
    return this.data[index] as number
  }

  /** The filled part, as a view. */
  filled(): A {
    return this.data.subarray(0, this.length) as A
  }

  /** Append `count` zeros. */
  extend(count: number): void {
    if (this.length + count > this.data.length) this.#grow(this.length + count)
    this.length += count
  }

  #grow(least: number): void {
    const Type = this.data.constructor as new (length: number) => A
    const data = new Type(Math.max(8, this.data.length * 2, least))
    data.set(this.data)
    this.data = data
  }
}

export const u8Column = (): Column<Uint8Array> => new Column(new Uint8Array(0))
export const u16Column = (): Column<Uint16Array> => new Column(new Uint16Array(0))
export const u32Column = (): Column<Uint32Array> => new Column(new Uint32Array(0))
export const f64Column = (): Column<Float64Array> => new Column(new Float64Array(0))

/**
 * Rows 0 … count − 1 in the order of `keys` (unsigned 32 bits), rows of equal keys in their order:
 * a radix sort.
 */
export function orderByU32(keys: Uint32Array, count = keys.length, rows?: Uint32Array): Uint32Array {
  let from: Uint32Array = rows ?? new Uint32Array(count)
  if (!rows) for (let i = 0; i < count; i++) from[i] = i
  if (count < 2 || isAscending(keys, from, count)) return from
  let to: Uint32Array = new Uint32Array(count)
  const buckets = new Uint32Array(2048)
  for (let shift = 0; shift < 32; shift += 11) {
    buckets.fill(0)
    for (let i = 0; i < count; i++) (buckets[((keys[from[i] as number] as number) >>> shift) & 2047] as number)++
    if (buckets[((keys[from[0] as number] as number) >>> shift) & 2047] === count) continue
    for (let bucket = 0, sum = 0; bucket < 2048; bucket++) {
      const size = buckets[bucket] as number
      buckets[bucket] = sum
      sum += size
    }
    for (let i = 0; i < count; i++) {
      const row = from[i] as number
      const bucket = ((keys[row] as number) >>> shift) & 2047
      to[buckets[bucket] as number] = row
      ;(buckets[bucket] as number)++
    }
    const swap = from
    from = to
    to = swap
  }
  return from
}

function isAscending(keys: Uint32Array, rows: Uint32Array, count: number): boolean {
  for (let i = 1; i < count; i++)
    if ((keys[rows[i - 1] as number] as number) > (keys[rows[i] as number] as number)) return false
  return true
}

/** Put the rows in `order` whose keys are equal into the order of `compare`. */
export function orderTies(order: Uint32Array, keys: Uint32Array, compare: (a: number, b: number) => number): void {
  for (let start = 0, end = 0; start < order.length; start = end) {
    const key = keys[order[start] as number]
    for (end = start + 1; end < order.length && keys[order[end] as number] === key; ) end++
    if (end - start > 16) order.subarray(start, end).sort(compare)
    else if (end - start > 1) insertionSort(order, start, end, compare)
  }
}

function insertionSort(
  order: Uint32Array,
  start: number,
  end: number,
  compare: (a: number, b: number) => number,
): void {
  for (let i = start + 1; i < end; i++) {
    const row = order[i] as number
    let at = i
    for (; at > start && compare(order[at - 1] as number, row) > 0; at--) order[at] = order[at - 1] as number
    order[at] = row
  }
}
