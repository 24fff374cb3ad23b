import { type Column, u32Column } from '../util/columns.ts'
import type { Inodes } from './observe/inodetable.ts'
import { notes, type ProblemId, problemIds, problemOf } from './problems.ts'

/**
 * All problems found, complete. A repair plans from them. Findings are sentences about them for
 * people, and bounded.
 *
 *   image    one row
 *   AGs      a row per AG
 *   inodes   a row per slot of the inode table, up to the last with a problem
 *
 * A row has one bit per problem, so a table has 4 × rows × ⌈problems ÷ 32⌉ bytes: 16 bytes per AG,
 * 4 bytes per inode. The records that differ are in `Differences`, one AG at a time; a repair gets
 * the result from `AgResult`.
 */
export class Facts {
  readonly image = new ProblemRows(WORDS)
  readonly ags = new ProblemRows(WORDS)
  readonly inodes = new ProblemRows(INODE_WORDS)
  readonly #table: Inodes

  constructor(inodes: Inodes) {
    this.#table = inodes
  }

  /** Note a problem of the image and, if it concerns one, of the AG and the inode. */
  note(id: ProblemId, { agno, ino }: { readonly agno?: unknown; readonly ino?: unknown }): void {
    this.image.add(0, id)
    if (typeof agno === 'number') this.ags.add(agno, id)
    if (typeof ino !== 'number') return
    const slot = this.#table.slot(ino)
    if (slot >= 0) this.inodes.add(slot, id)
  }

  /** Is there a problem that is not a note? */
  get isWrong(): boolean {
    return this.image.hasOther(0, NOTES)
  }
}

const ofInodes = problemIds.filter((id) => problemOf(id).text.includes('{ino}'))
/** Problems of inodes have the lowest bits, so that a row of an inode needs no others. */
const bitOf = new Map([...new Set([...ofInodes, ...problemIds])].map((id, bit) => [id, bit]))
const WORDS = Math.ceil(problemIds.length / 32)
const INODE_WORDS = Math.ceil(ofInodes.length / 32)

/** Some problems, as the bits that they have in a row. */
type ProblemMask = Uint32Array

export function problemMask(ids: Iterable<ProblemId>): ProblemMask {
  const mask = new Uint32Array(WORDS)
  for (const id of ids) {
    const bit = bitOf.get(id) as number
    mask[bit >>> 5] = (mask[bit >>> 5] as number) | (1 << (bit & 31))
  }
  return mask
}

const NOTES = problemMask(notes)

/** Rows of bits; a row that was never written has no bits set. */
class ProblemRows {
  readonly #words: number
  readonly #bits: Column<Uint32Array> = u32Column()

  constructor(words: number) {
    this.#words = words
  }

  add(row: number, id: ProblemId): void {
    const missing = (row + 1) * this.#words - this.#bits.length
    if (missing > 0) this.#bits.extend(missing)
    const bit = bitOf.get(id) as number
    const at = row * this.#words + (bit >>> 5)
    this.#bits.data[at] = this.#bits.get(at) | (1 << (bit & 31))
  }

  /** Does the row have one of these problems? */
  has(row: number, mask: ProblemMask): boolean {
    return this.#some(row, (word, i) => (word & (mask[i] as number)) !== 0)
  }

  /** Does the row have a problem other than these? */
  hasOther(row: number, mask: ProblemMask): boolean {
    return this.#some(row, (word, i) => (word & ~(mask[i] as number)) !== 0)
  }

  /** Does the row have any problem? */
  hasAny(row: number): boolean {
    return this.#some(row, (word) => word !== 0)
  }

  /** Rows with one of these problems, in ascending order. */
  *with(mask: ProblemMask): Generator<number> {
    const rows = this.#bits.length / this.#words
    for (let row = 0; row < rows; row++) if (this.has(row, mask)) yield row
  }

  #some(row: number, test: (word: number, i: number) => boolean): boolean {
    const first = row * this.#words
    if (row < 0 || first >= this.#bits.length) return false
    for (let i = 0; i < this.#words; i++) if (test(this.#bits.get(first + i), i)) return true
    return false
  }
}
