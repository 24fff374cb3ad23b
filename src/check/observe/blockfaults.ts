import { XfsError } from '../../errors.ts'
import type { Geometry } from '../../format/geometry.ts'
import type { LogHead } from '../../format/lsn.ts'
import type { BlockType } from '../../format/verify/blocktype.ts'
import { blockOwner, resolveType } from '../../format/verify/blocktypes.ts'
import { verify } from '../../format/verify/verify.ts'
import type { Findings } from '../findings.ts'
import type { Scene } from './scene.ts'

/** Problems of one block of a file. */
export type BlockProblem = 'dir.block' | 'attr.block' | 'attr.space' | 'attr.value' | 'symlink.block'

/**
 * Problems of blocks of directories, attributes and symbolic links. They are reported once, and
 * noted for their inodes. All readers of such blocks use this.
 */
export class BlockFaults {
  /** Inodes with blocks that cannot be read: trees and indexes of them are not compared. */
  readonly broken = new Set<number>()
  /** Names are missing: links cannot be counted. */
  blind = false
  readonly #geometry: Geometry
  readonly #head: LogHead
  readonly #findings: Findings

  constructor({ geometry, head, findings }: Scene) {
    this.#geometry = geometry
    this.#head = head
    this.#findings = findings
  }

  /** Is it a sound block of that type that belongs to the inode? */
  isSound(id: BlockProblem, type: BlockType, ino: number, offset: number, view: DataView, daddr: number): boolean {
    const fault = verify(type, view, { geometry: this.#geometry, daddr })
    if (fault) {
      this.bad(id, ino, offset, fault.field === undefined ? fault.message : `${fault.field}: ${fault.message}`)
      return false
    }
    const actual = resolveType(type, view, this.#geometry) ?? type
    const { lsnOffset } = actual
    if (lsnOffset !== undefined && this.#head.isAhead(view, lsnOffset)) {
      this.#findings.add('inode.lsn', { ino, reason: `file block ${offset}: ${this.#head.text(view, lsnOffset)}` })
    }
    const owner = blockOwner(actual, view)
    if (owner === undefined || owner === ino) return true
    this.bad(id, ino, offset, `it belongs to inode ${owner}`)
    return false
  }

  /** Report a problem of a block that can be read; undefined means none. */
  report(id: BlockProblem, ino: number, offset: number, reason: string | undefined): void {
    if (reason !== undefined) this.#findings.add(id, { ino, offset, reason })
  }

  /** The block cannot be read. */
  bad(id: BlockProblem, ino: number, offset: number, reason: string): void {
    this.report(id, ino, offset, reason)
    this.broken.add(ino)
    if (id === 'dir.block') this.blind = true
  }

  /** Work on a block. If that ends with an XfsError, the block cannot be read. */
  guard(id: BlockProblem, ino: number, work: () => void, offset = 0): void {
    try {
      work()
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      this.bad(id, ino, offset, error.message)
    }
  }
}
