import { DIFLAGS, DIFLAGS2, FILE_TYPES, S_IFMT, S_ISGID } from '../format/dinode.ts'
import { encodeNewInode } from '../format/newinode.ts'
import { encodeTime } from '../format/time.ts'
import type { Inode } from './inode.ts'

/** What new files inherit from their directory: flags, hints, project and group. */

interface Hints {
  readonly flags: number
  readonly flags2: number
  readonly extsize: number
  readonly cowextsize: number
}
const NO_HINTS: Hints = { flags: 0, flags2: 0, extsize: 0, cowextsize: 0 }

/** The same for all new files of one directory. */
export interface Heritage {
  readonly file: Hints
  readonly directory: Hints
  /** Setgid directories only: the default group; new directories become setgid. */
  readonly gid?: number | undefined
  /** An inode with the values that are the same for all of them, created now. */
  readonly model: Uint8Array
}

/**
 * What new files of a directory inherit.
 * @param copies  they are copies of files, and inherit neither group nor setgid bit
 */
export function heritage(dir: Inode, copies = false): Heritage {
  const { geometry, features, now } = dir.volume
  const model = new Uint8Array(geometry.inodesize)
  const time = encodeTime(now(), features.has('bigtime'))
  const projid = (dir.flags & DIFLAGS.projinherit) !== 0 ? dir.projid : 0
  const times = { atime: time, mtime: time, ctime: time, crtime: time }
  encodeNewInode(new DataView(model.buffer), 0, geometry, { projid, ...times })
  return {
    file: hintsFor(dir, false),
    directory: hintsFor(dir, true),
    gid: !copies && (dir.mode & S_ISGID) !== 0 ? dir.gid : undefined,
    model,
  }
}

/** Flags and hints of a new file of this mode. */
export function inheritedHints({ file, directory }: Heritage, mode: number): Hints {
  const type = mode & S_IFMT
  return type === FILE_TYPES.reg ? file : type === FILE_TYPES.dir ? directory : NO_HINTS
}

/** Flags that files and directories inherit. (Not nosymlinks: that sysctl is off by default.) */
const INHERITED_FLAGS = DIFLAGS.noatime | DIFLAGS.nodump | DIFLAGS.sync | DIFLAGS.nodefrag | DIFLAGS.filestream

/** Source: xfs_inode_inherit_flags, xfs_inode_inherit_flags2. */
function hintsFor(parent: Inode, isDirectory: boolean): Hints {
  const { flags, flags2 } = parent
  const { geometry } = parent.volume
  let heirs = flags & INHERITED_FLAGS
  let extsize = 0
  if ((flags & DIFLAGS.extszinherit) !== 0 && validHint(parent, parent.extsize)) {
    heirs |= isDirectory ? DIFLAGS.extszinherit : DIFLAGS.extsize
    extsize = parent.extsize
  }
  if (isDirectory) heirs |= flags & (DIFLAGS.projinherit | DIFLAGS.rtinherit)
  else if ((flags & DIFLAGS.rtinherit) !== 0 && geometry.sb.rblocks > 0) heirs |= DIFLAGS.realtime
  const cow = (flags2 & DIFLAGS2.cowextsize) !== 0 && validHint(parent, parent.cowextsize)
  return {
    flags: heirs,
    extsize,
    flags2: (flags2 & DIFLAGS2.dax) | (cow ? DIFLAGS2.cowextsize : 0),
    cowextsize: cow ? parent.cowextsize : 0,
  }
}

const validHint = (inode: Inode, blocks: number): boolean =>
  blocks > 0 && blocks < 2 ** 21 && blocks <= inode.volume.geometry.agblocks / 2
