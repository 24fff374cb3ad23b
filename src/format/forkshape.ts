import { DIFLAGS2 } from './dinode.ts'
import type { Geometry } from './geometry.ts'
import { get64 } from './struct.ts'

/** Numbers of an inode's two forks, as its flags say where they are. */
export interface ForkShape {
  readonly nextents: number
  readonly anextents: number
  /** Bytes in the inode that each fork can take. */
  readonly dataSize: number
  readonly attrSize: number
}

/** Extent counts and sizes of the forks of the inode at `at`; nothing is checked. */
export function forkShape(view: DataView, at: number, geometry: Geometry): ForkShape {
  const wide = (view.getUint32(at + 124) & DIFLAGS2.nrext64) !== 0 && geometry.features.version === 5
  const space = geometry.inodesize - geometry.coresize
  const forkoff = view.getUint8(at + 82) * 8
  return {
    nextents: wide ? get64(view, at + 24) : view.getUint32(at + 76),
    anextents: wide ? view.getUint32(at + 76) : view.getUint16(at + 80),
    dataSize: forkoff === 0 ? space : Math.min(forkoff, space),
    attrSize: forkoff === 0 ? 0 : Math.max(0, space - forkoff),
  }
}
