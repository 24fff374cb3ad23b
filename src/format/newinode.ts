import { NULLAGINO } from './ag.ts'
import { DIFLAGS2, DINODE_MAGIC, Dinode, FORK_FORMATS } from './dinode.ts'
import type { Geometry } from './geometry.ts'

/**
 * What a new inode looks like: the one place that says so, for mkfs, for new chunks, for new files
 * and for many of them at once. Only values that differ from zero are written, into zeroed bytes.
 */

/** Values that differ from the defaults. */
export type InodeValues = Partial<Dinode> & {
  readonly projid?: number
  /** The low word of flags2 beyond what the features demand. */
  readonly moreFlags2?: number
}

/** A free inode: its identity and a generation to begin with. */
export function encodeFreeInode(view: DataView, at: number, geometry: Geometry, inumber: number, gen: number): void {
  const uuid = geometry.metaUuid
  Dinode.encode(view, at, { magic: DINODE_MAGIC, version: 3, next_unlinked: NULLAGINO, gen, inumber, uuid })
}

/**
 * An inode in use, with empty forks in extents format and one link unless `values` say something
 * else.
 */
export function encodeNewInode(
  view: DataView,
  at: number,
  geometry: Geometry,
  { projid = 0, moreFlags2 = 0, ...values }: InodeValues,
): void {
  encodeFreeInode(view, at, geometry, values.inumber ?? 0, values.gen ?? 0)
  Dinode.encode(view, at, {
    format: FORK_FORMATS.extents,
    aformat: FORK_FORMATS.extents,
    nlink: 1,
    projid_lo: projid & 0xffff,
    projid_hi: projid >>> 16,
    change_count: 1,
    flags2: { hi: 0, lo: (newFlags2(geometry) | moreFlags2) >>> 0 },
    ...values,
  })
}

/** What every inode in use has in the low word of flags2. */
export const newFlags2 = ({ features }: Geometry): number =>
  (features.has('bigtime') ? DIFLAGS2.bigtime : 0) | (features.has('nrext64') ? DIFLAGS2.nrext64 : 0)
