const PAGE = 16384

/**
 * Sparse bytes in memory: only written pages take space. The owner supplies the initial content of
 * a page.
 */
export class Pages {
  readonly #pages = new Map<number, Uint8Array>()
  readonly #fill: (page: Uint8Array, position: number) => void

  /** @param fill gives a page its content before its first write; pages are zeroed before */
  constructor(fill: (page: Uint8Array, position: number) => void = () => {}) {
    this.#fill = fill
  }

  /** Bytes in memory. */
  get held(): number {
    return this.#pages.size * PAGE
  }

  /**
   * Copy pages into `into`; `missing` is called for each range without pages, with its place in
   * `into`.
   */
  read(into: Uint8Array, position: number, missing: (part: Uint8Array, position: number) => void): void {
    let run = 0
    for (let done = 0; done < into.length; ) {
      const at = position + done
      const start = at % PAGE
      const length = Math.min(PAGE - start, into.length - done)
      const page = this.#pages.get(Math.floor(at / PAGE))
      if (page) {
        if (run < done) missing(into.subarray(run, done), position + run)
        into.set(page.subarray(start, start + length), done)
        run = done + length
      }
      done += length
    }
    if (run < into.length) missing(into.subarray(run), position + run)
  }

  write(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length; ) {
      const at = position + done
      const start = at % PAGE
      const length = Math.min(PAGE - start, bytes.length - done)
      const page = this.#page(Math.floor(at / PAGE), length < PAGE)
      page.set(bytes.subarray(done, done + length), start)
      done += length
    }
  }

  /**
   * Drop the pages that are inside a range completely and zero the rest of it. Returns the range of
   * the dropped pages.
   */
  drop(position: number, length: number): { position: number; length: number } {
    const end = position + length
    const first = Math.ceil(position / PAGE)
    const last = Math.floor(end / PAGE)
    if (first >= last) {
      this.write(new Uint8Array(length), position)
      return { position, length: 0 }
    }
    if (last - first < this.#pages.size) for (let page = first; page < last; page++) this.#pages.delete(page)
    else for (const page of this.#pages.keys()) if (page >= first && page < last) this.#pages.delete(page)
    this.write(new Uint8Array(first * PAGE - position), position)
    this.write(new Uint8Array(end - last * PAGE), last * PAGE)
    return { position: first * PAGE, length: (last - first) * PAGE }
  }

  #page(number: number, partial: boolean): Uint8Array {
    let page = this.#pages.get(number)
    if (!page) {
      page = new Uint8Array(PAGE)
      if (partial) this.#fill(page, number * PAGE)
      this.#pages.set(number, page)
    }
    return page
  }
}
