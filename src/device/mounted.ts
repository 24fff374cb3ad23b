import { closeSync, openSync } from 'node:fs'
import type { Feature } from '../format/features.ts'
import type { ReportedFeatures, ReportedGeometry } from '../format/report.ts'
import type { HostPath } from './hostpath.ts'
import { findMount } from './inuse.ts'
import { NativeError, native, withoutNative } from './native.ts'

/** A mounted XFS filesystem. */
export interface Mounted {
  /** Its device. */
  readonly source: string
  /** As reported by the kernel; undefined if it cannot be queried. */
  readonly kernel?: { readonly geometry: ReportedGeometry; readonly features: ReportedFeatures }
  /** Why it cannot be, if no kernel can be queried here. */
  readonly reason?: string
}

/** XFS_IOC_FSGEOMETRY: _IOR('X', 126, struct xfs_fsop_geom), of 256 bytes. */
const FSGEOMETRY = 0x8100587e
const GEOMETRY_SIZE = 256

/** Flags that the kernel reports. Source: xfs_fs.h, XFS_FSOP_GEOM_FLAGS_*. */
// biome-ignore format: a table
const FLAGS: readonly (readonly [bit: number, feature: Feature])[] = [
  [0, 'attr'], [7, 'dirv2'], [8, 'logv2'], [9, 'sector'], [10, 'attr2'], [11, 'projid32'], [12, 'asciici'], [14, 'lazysbcount'], [15, 'crc'],
  [16, 'ftype'], [17, 'finobt'], [18, 'sparse'], [19, 'rmapbt'], [20, 'reflink'], [21, 'bigtime'], [22, 'inobtcount'], [23, 'nrext64'],
  [24, 'exchange'], [25, 'parent'], [26, 'metadir'], [27, 'zoned'],
]

/**
 * The mounted filesystem of a mount point, a device, or the file of a loop device. Its superblock
 * on the device may be older than the kernel's in memory.
 * @returns undefined if there is none
 */
export function mountedXfs(path: HostPath): Mounted | undefined {
  const mount = findMount(path)
  if (mount?.type !== 'xfs') return undefined
  const calls = native()
  if (!calls) {
    const reason = withoutNative()
    return { source: mount.source, ...(reason !== undefined && { reason }) }
  }
  const answer = Buffer.alloc(GEOMETRY_SIZE)
  try {
    const fd = openSync(mount.place, 'r')
    try {
      calls.ioctl(fd, FSGEOMETRY, answer)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    // Other users may not open it, and old kernels lack the call.
    if (error instanceof NativeError || (error as NodeJS.ErrnoException).code !== undefined)
      return { source: mount.source }
    throw error
  }
  return { source: mount.source, kernel: decode(answer) }
}

/** Source: xfs_fs.h, struct xfs_fsop_geom. */
function decode(answer: Buffer): NonNullable<Mounted['kernel']> {
  const u32 = (at: number): number => answer.readUInt32LE(at)
  const u64 = (at: number): number => Number(answer.readBigUInt64LE(at))
  const blocksize = u32(0)
  const flags = u32(92)
  const names = FLAGS.filter(([bit]) => (flags & (1 << bit)) !== 0).map(([, feature]) => feature)
  const geometry = {
    blocksize, rextsize: u32(4), agblocks: u32(8), agcount: u32(12), logblocks: u32(16), sectsize: u32(20), inodesize: u32(24), imax_pct: u32(28),
    dblocks: u64(32), rblocks: u64(40), rextents: u64(48), logstart: u64(56), unit: u32(80), width: u32(84), logsectsize: u32(96),
    dirblklog: Math.log2(u32(104) / blocksize), logsunit: u32(108), rgextents: u32(120), rgcount: u32(124), rtstart: u64(128), rtreserved: u64(136),
  } // biome-ignore format: in the order of the structure
  return { geometry, features: { version: names.includes('crc') ? 5 : 4, has: (name) => names.includes(name), names } }
}
