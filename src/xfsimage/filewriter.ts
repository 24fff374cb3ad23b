import { prepareWrite, writeFile } from '../data/write.ts'
import type { NewFile } from '../namespace/newfile.ts'
import { add, type Bytes } from '../util/bytes.ts'
import type { Volume } from '../volume.ts'

/** Bytes that are collected for one write. */
const PIECE = 2 ** 20

/** Writes a file piece by piece, in order. */
export class FileWriter {
  readonly #volume: Volume
  readonly #file: NewFile | { readonly ino: number }
  readonly #piece = new Uint8Array(PIECE)
  #used = 0
  #unnamed: boolean
  #position: Bytes
  /** Bytes that were given to `write`. */
  written = 0

  /** @param file  a new file without a name, or an existing one */
  constructor(volume: Volume, file: NewFile | { readonly ino: number }, start: Bytes) {
    this.#volume = volume
    this.#file = file
    this.#unnamed = 'name' in file
    this.#position = start
  }

  /** @throws XfsError NOSPC, FBIG, PERM */
  write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const part = bytes.subarray(done, done + PIECE - this.#used)
      this.#piece.set(part, this.#used)
      this.#used += part.length
      done += part.length
      if (this.#used === PIECE) this.#flush()
    }
    this.written += bytes.length
  }

  /** The content is complete: a new file gets its name. */
  finish(): void {
    this.#flush()
    if ('name' in this.#file) this.#file.name()
    this.#unnamed = false
  }

  /** A new file that has no name yet: until then nothing of the image looks changed. */
  get unnamed(): boolean {
    return this.#unnamed
  }

  /** Remove a new file. An existing one keeps what was written to it. */
  abandon(): void {
    if ('drop' in this.#file) this.#file.drop()
  }

  #flush(): void {
    const bytes = this.#piece.subarray(0, this.#used)
    this.#used = 0
    const { ino } = this.#file
    prepareWrite(this.#volume, ino, this.#position, bytes.length)
    writeFile(this.#volume, ino, this.#position, bytes)
    this.#position = add(this.#position, bytes.length)
  }
}
