import type { Dirent } from '../xfsimage/stats.ts'

/** A directory that is read entry by entry, as Node's `Dir`. */
export class Directory {
  readonly path: string
  readonly #entries: Iterator<Dirent>

  constructor(path: string, entries: readonly Dirent[]) {
    this.path = path
    this.#entries = entries.values()
  }

  async read(): Promise<Dirent | null> {
    const next = this.#entries.next()
    return next.done ? null : next.value
  }
  async close(): Promise<void> {}
  async *[Symbol.asyncIterator](): AsyncGenerator<Dirent> {
    for (let entry = await this.read(); entry; entry = await this.read()) yield entry
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
