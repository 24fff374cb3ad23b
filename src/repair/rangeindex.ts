/** Ranges of numbers, [start, end) each, in any order; they may overlap. */
export class RangeIndex {
  readonly #start: Float64Array
  /** The largest end of a range and all before it. */
  readonly #end: Float64Array

  constructor(count: number, startOf: (i: number) => number, lengthOf: (i: number) => number) {
    const order = Uint32Array.from({ length: count }, (_, i) => i).sort((a, b) => startOf(a) - startOf(b))
    this.#start = Float64Array.from(order, startOf)
    this.#end = Float64Array.from(order, (i) => startOf(i) + lengthOf(i))
    for (let i = 1; i < count; i++) {
      this.#end[i] = Math.max(this.#end[i] as number, this.#end[i - 1] as number)
    }
  }

  /** Does any range contain a number of [start, end)? */
  meets(start: number, end: number): boolean {
    let low = 0
    let high = this.#start.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#start[middle] as number) < end) low = middle + 1
      else high = middle
    }
    return low > 0 && (this.#end[low - 1] as number) > start
  }
}
