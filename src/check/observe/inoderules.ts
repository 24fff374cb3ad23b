import { NULLAGINO } from '../../format/ag.ts'
import { DIFLAGS, DIFLAGS2, Dinode, FORK_FORMATS } from '../../format/dinode.ts'
import { forkShape } from '../../format/forkshape.ts'
import type { Geometry } from '../../format/geometry.ts'
import { counted } from '../../util/counted.ts'
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './inodetable.ts'

const KNOWN_FLAGS = Object.values(DIFLAGS).reduce((sum, bit) => sum | bit, 0)
const KNOWN_FLAGS2 = Object.values(DIFLAGS2).reduce((sum, bit) => sum | bit, 0)

const core = Dinode.fields

interface FieldFault {
  readonly field: string
  readonly reason: string
}

const DIRECTORY_FLAGS = DIFLAGS.rtinherit | DIFLAGS.projinherit | DIFLAGS.nosymlinks | DIFLAGS.extszinherit

/** Flags that are invalid for the type of the inode, or without a feature. */
function flagsOfKind(
  view: DataView,
  at: number,
  mode: number,
  ino: number,
  geometry: Geometry,
): FieldFault | undefined {
  const { sb, features } = geometry
  const kind = mode & S_IFMT
  const flags = core.flags.get(view, at)
  const flags2 = core.flags2.get(view, at).lo
  const metadata = (flags2 & DIFLAGS2.metadata) !== 0
  const flag = (reason: string): FieldFault => ({ field: 'core.flags', reason: `0x${flags.toString(16)}: ${reason}` })
  const flag2 = (reason: string): FieldFault => ({ field: 'v3.flags2', reason: `0x${flags2.toString(16)}: ${reason}` })
  if ((flags & DIRECTORY_FLAGS) !== 0 && kind !== S_IFDIR)
    return flag('directory flags on a file that is not a directory')
  if ((flags & DIFLAGS.realtime) !== 0 && kind !== S_IFREG)
    return flag('realtime flag on a file that is not a regular file')
  if ((flags & DIFLAGS.realtime) !== 0 && sb.rblocks === 0) return flag('realtime flag without a realtime section')
  if ((flags & DIFLAGS.newrtbm) !== 0 && !metadata && ino !== sb.rbmino)
    return flag('newrtbm flag on an inode that is not the realtime bitmap')
  if ((flags2 & DIFLAGS2.dax) !== 0 && kind !== S_IFREG && kind !== S_IFDIR)
    return flag2('dax flag on an inode that is neither a regular file nor a directory')
  return metadata && !features.has('metadir') ? flag2('metadata flag without metadir') : undefined
}

/**
 * Extent size hints that the kernel ignores or rejects. Source: xfs_inode_validate_extsize,
 * xfs_inode_validate_cowextsize.
 */
function hints(view: DataView, at: number, flags: number, { sb, agblocks }: Geometry): FieldFault | undefined {
  const extsize = core.extsize.get(view, at)
  const cowextsize = core.cowextsize.get(view, at)
  const realtime = (flags & (DIFLAGS.realtime | DIFLAGS.rtinherit)) !== 0
  const most = Math.floor(agblocks / 2)
  if (realtime && sb.rextsize > 1 && extsize % sb.rextsize !== 0)
    return {
      field: 'core.extsize',
      reason: `${extsize} is not a multiple of the realtime extents of ${sb.rextsize} blocks`,
    }
  if (!realtime && extsize > most) return { field: 'core.extsize', reason: `${extsize} is more than half of an AG` }
  return cowextsize > most ? { field: 'v3.cowextsize', reason: `${cowextsize} is more than half of an AG` } : undefined
}

/** Sizes and formats that are invalid for the type of the inode. */
function formOfKind(view: DataView, at: number, mode: number, geometry: Geometry): FieldFault | undefined {
  const kind = mode & S_IFMT
  const size = core.size.get(view, at)
  if (kind !== S_IFREG && kind !== S_IFDIR && kind !== S_IFLNK && size !== 0)
    return { field: 'core.size', reason: `${counted(size, 'byte')} in a device, fifo or socket` }
  if (
    kind === S_IFLNK &&
    core.format.get(view, at) === FORK_FORMATS.extents &&
    forkShape(view, at, geometry).nextents === 0
  )
    return { field: 'core.format', reason: 'remote symbolic link without an extent' }
  return core.forkoff.get(view, at) === 0 && core.aformat.get(view, at) !== FORK_FORMATS.extents
    ? { field: 'core.aformat', reason: `${core.aformat.get(view, at)} without an attribute fork` }
    : undefined
}

const NANOSECONDS = 1e9

/** Times that are stored as seconds and nanoseconds. */
function nanoseconds(view: DataView, at: number): FieldFault | undefined {
  for (const name of ['atime', 'mtime', 'ctime', 'crtime'] as const) {
    const value = core[name].get(view, at).lo >>> 0
    if (value >= NANOSECONDS) return { field: `core.${name}.nsec`, reason: `${value} nanoseconds` }
  }
  return undefined
}

/** Values that do not prevent reading the inode, but that are invalid. */
export function fieldFault(
  view: DataView,
  at: number,
  mode: number,
  ino: number,
  geometry: Geometry,
): FieldFault | undefined {
  const { next_unlinked, onlink, flags2 } = core
  const next = view.getUint32(at + next_unlinked.offset)
  const linked = mode === 0 || core.nlink.get(view, at) > 0
  if (next !== NULLAGINO && linked)
    return { field: 'next_unlinked', reason: `${next}, but it is not on an unlinked list` }
  if (mode === 0) return usedFault(view, at, geometry)
  if (geometry.features.version !== 5) return undefined
  const flags = core.flags.get(view, at)
  if ((flags & ~KNOWN_FLAGS) !== 0)
    return { field: 'core.flags', reason: `0x${flags.toString(16)}: undefined bits set` }
  const { hi, lo } = flags2.get(view, at)
  if (hi !== 0 || (lo & ~KNOWN_FLAGS2) !== 0)
    return { field: 'v3.flags2', reason: `${flags2.text(view, at)}: undefined bits set` }
  const old = onlink.get(view, at)
  if (old !== 0 && !geometry.features.has('metadir')) return { field: 'core.onlink', reason: `${old}, expected 0` }
  return (
    flagsOfKind(view, at, mode, ino, geometry) ??
    hints(view, at, flags, geometry) ??
    formOfKind(view, at, mode, geometry) ??
    ((lo & DIFLAGS2.bigtime) === 0 ? nanoseconds(view, at) : undefined)
  )
}

/**
 * An inode with links or blocks but without a mode was not freed. Its mode is lost, and its fork
 * may still map blocks.
 */
function usedFault(view: DataView, at: number, geometry: Geometry): { field: string; reason: string } | undefined {
  const nlink = core.nlink.get(view, at)
  const nblocks = core.nblocks.get(view, at)
  const { nextents, anextents } = forkShape(view, at, geometry)
  if (geometry.features.version !== 5 || (nlink === 0 && nblocks === 0 && nextents === 0 && anextents === 0))
    return undefined
  const held = `${counted(nlink, 'link')}, ${counted(nblocks, 'block')} and ${counted(nextents + anextents, 'extent')}`
  return { field: 'core.mode', reason: `0 (free inode), but it has ${held}` }
}
