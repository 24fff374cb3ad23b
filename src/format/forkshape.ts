import { DIFLAGS2, Dinode, flags2Of } from './dinode.ts'
import type { Geometry } from './geometry.ts'

const { fields } = Dinode

/** Formats, sizes and extent counts of an inode's two forks. */
export interface ForkShape {
  readonly nextents: number
  readonly anextents: number
  /** Bytes in the inode available to each fork. */
  readonly dataSize: number
  readonly attrSize: number
}

/** Extent counts and sizes of the forks of the inode at `at`; nothing is checked. */
export function forkShape(view: DataView, at: number, geometry: Geometry): ForkShape {
  const wide = (flags2Of(view, at) & DIFLAGS2.nrext64) !== 0 && geometry.features.version === 5
  const space = geometry.inodesize - geometry.coresize
  const forkoff = fields.forkoff.get(view, at) * 8
  return {
    nextents: wide ? fields.big_nextents.get(view, at) : fields.nextents.get(view, at),
    anextents: wide ? fields.nextents.get(view, at) : fields.anextents.get(view, at),
    dataSize: forkoff === 0 ? space : Math.min(forkoff, space),
    attrSize: forkoff === 0 ? 0 : Math.max(0, space - forkoff),
  }
}
