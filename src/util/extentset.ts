/** A set of numbers kept as sorted, disjoint runs [start, end). */
export class ExtentSet {
  #starts: number[] = []
  #ends: number[] = []

  /** Runs in the set. */
  get size(): number {
    return this.#starts.length
  }

  /** Index of the first run that ends after `at`. */
  #find(at: number): number {
    let low = 0
    let high = this.#ends.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#ends[middle] as number) > at) high = middle
      else low = middle + 1
    }
    return low
  }

  /** Add [start, start + length), joining what it touches. */
  add(start: number, length: number): void {
    if (length <= 0) return
    let from = start
    let to = start + length
    let first = this.#find(start)
    if (first > 0 && this.#ends[first - 1] === start) first--
    let last = first
    while (last < this.#starts.length && (this.#starts[last] as number) <= to) {
      from = Math.min(from, this.#starts[last] as number)
      to = Math.max(to, this.#ends[last] as number)
      last++
    }
    this.#starts.splice(first, last - first, from)
    this.#ends.splice(first, last - first, to)
  }

  /** Remove [start, start + length). */
  remove(start: number, length: number): void {
    const end = start + length
    for (let i = this.#find(start); i < this.#starts.length && (this.#starts[i] as number) < end; ) {
      const from = this.#starts[i] as number
      const to = this.#ends[i] as number
      const keep: [number, number][] = []
      if (from < start) keep.push([from, start])
      if (to > end) keep.push([end, to])
      this.#starts.splice(i, 1, ...keep.map((run) => run[0]))
      this.#ends.splice(i, 1, ...keep.map((run) => run[1]))
      i += keep.length
    }
  }

  has(value: number): boolean {
    return this.overlaps(value, 1)
  }

  overlaps(start: number, length: number): boolean {
    const i = this.#find(start)
    return i < this.#starts.length && (this.#starts[i] as number) < start + length
  }

  /**
   * The number of values, up to `limit`, from `at` on that are all inside the set or all outside.
   */
  run(at: number, limit: number): { inside: boolean; length: number } {
    const i = this.#find(at)
    const start = this.#starts[i]
    if (start === undefined) return { inside: false, length: limit }
    const inside = start <= at
    return { inside, length: Math.min(limit, (inside ? (this.#ends[i] as number) : start) - at) }
  }

  /** The runs that end after `at`, in order. */
  *runsFrom(at: number): Generator<{ start: number; length: number }> {
    for (let i = this.#find(at); i < this.#starts.length; i++) {
      const start = this.#starts[i] as number
      yield { start, length: (this.#ends[i] as number) - start }
    }
  }

  clear(): void {
    this.#starts = []
    this.#ends = []
  }

  *[Symbol.iterator](): Generator<{ start: number; length: number }> {
    for (let i = 0; i < this.#starts.length; i++) {
      const start = this.#starts[i] as number
      yield { start, length: (this.#ends[i] as number) - start }
    }
  }
}
