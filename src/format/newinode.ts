import { NULLAGINO } from './ag.ts'
import { DIFLAGS2, DINODE_MAGIC, Dinode, FORK_FORMATS } from './dinode.ts'
import type { Geometry } from './geometry.ts'

/**
 * The content of new inodes, for mkfs, new chunks and new files. Only values that differ from zero
 * are written, into zeroed bytes.
 */

/** Values that differ from the defaults. */
export type InodeValues = Partial<Dinode> & {
  readonly projid?: number
}

/** Write a free inode with a generation. */
export function encodeFreeInode(view: DataView, at: number, geometry: Geometry, inumber: number, gen: number): void {
  const uuid = geometry.metaUuid
  Dinode.encode(view, at, { magic: DINODE_MAGIC, version: 3, next_unlinked: NULLAGINO, gen, inumber, uuid })
}

/**
 * Write an inode in use, with empty forks in extents format and one link unless `values` override
 * that.
 */
export function encodeNewInode(
  view: DataView,
  at: number,
  geometry: Geometry,
  { projid = 0, ...values }: InodeValues,
): void {
  encodeFreeInode(view, at, geometry, values.inumber ?? 0, values.gen ?? 0)
  Dinode.encode(view, at, {
    format: FORK_FORMATS.extents,
    aformat: FORK_FORMATS.extents,
    nlink: 1,
    projid_lo: projid & 0xffff,
    projid_hi: projid >>> 16,
    change_count: 1,
    flags2: { hi: 0, lo: newFlags2(geometry) },
    ...values,
  })
}

/** The low word of flags2 that every inode in use has. */
export const newFlags2 = ({ features }: Geometry): number =>
  (features.has('bigtime') ? DIFLAGS2.bigtime : 0) | (features.has('nrext64') ? DIFLAGS2.nrext64 : 0)
