import { DIFLAGS, DIFLAGS2 } from '../format/dinode.ts'
import type { Inode } from './inode.ts'

/** Flags and hints that a new file or directory inherits from its parent. */

export interface Hints {
  readonly flags: number
  readonly flags2: number
  readonly extsize: number
  readonly cowextsize: number
}
export const NO_HINTS: Hints = { flags: 0, flags2: 0, extsize: 0, cowextsize: 0 }

/** Flags that files and directories inherit. (Not nosymlinks: that sysctl is off by default.) */
const INHERITED_FLAGS = DIFLAGS.noatime | DIFLAGS.nodump | DIFLAGS.sync | DIFLAGS.nodefrag | DIFLAGS.filestream

/**
 * The values that a new file or directory inherits. Source: xfs_inode_inherit_flags,
 * xfs_inode_inherit_flags2.
 */
export function inherited(parent: Inode, isDirectory: boolean): Hints {
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
