import { flagLetters as inodeFlags } from '../attr/setattr.ts'
import { AttrSfHdr } from '../format/attr.ts'
import { DIFLAGS2, FORK_FORMATS } from '../format/dinode.ts'
import { extentCount, type ForkName, forkFormat, forkSize, forkStart, type Inode } from '../inode/inode.ts'

/**
 * The flags of an inode, in the format of FS_IOC_FSGETXATTR.
 *
 * The low 15 bits of `xflags` are those of the inode's `flags` (except the one that only the
 * realtime bitmap has). Two more are in `flags2`. The highest bit is set if there is an attribute
 * fork.
 *
 * Source: fs/xfs/xfs_ioctl.c, fs/file_attr.c.
 */
const XFLAGS = { dax: 0x8000, cowextsize: 0x10000, hasattr: 0x80000000 } as const

/** In the order in which they are shown. */
const SHOWN: readonly (readonly [letter: string, name: string, bit: number])[] = [
  ...inodeFlags.map(([letter, word, bit, name]) => {
    const xflag = word === 'flags' ? bit : bit === DIFLAGS2.dax ? XFLAGS.dax : XFLAGS.cowextsize
    return [letter, name, xflag] as const
  }),
  ['X', 'has-xattr', XFLAGS.hasattr],
]

/** `--i-----` */
export const flagLetters = (xflags: number): string =>
  SHOWN.map(([letter, , bit]) => ((xflags & bit) !== 0 ? letter : '-')).join('')

/** `immutable, no-dump` */
export const flagNames = (xflags: number): string => flagList(xflags).join(', ')

export const flagList = (xflags: number): string[] =>
  SHOWN.flatMap(([, name, bit]) => ((xflags & bit) !== 0 ? [name] : []))

export const allFlagLetters: string = SHOWN.map(([letter]) => letter).join('')

const IN_FLAGS = 0x7ffb

export function xflagsOf(inode: Inode): number {
  const { flags, flags2 } = inode
  const more =
    ((flags2 & DIFLAGS2.dax) !== 0 ? XFLAGS.dax : 0) |
    ((flags2 & DIFLAGS2.cowextsize) !== 0 ? XFLAGS.cowextsize : 0) |
    (inode.forkoff !== 0 ? XFLAGS.hasattr : 0)
  return ((flags & IN_FLAGS) | more) >>> 0
}

/**
 * Extents of a fork as the kernel counts them for stat: content inside the inode counts one per 16
 * bytes.
 */
export function listedExtents(inode: Inode, fork: ForkName): number {
  if (fork === 'attr' && inode.forkoff === 0) return 0
  if (forkFormat(inode, fork) !== FORK_FORMATS.local) return extentCount(inode, fork)
  const bytes = fork === 'data' ? inode.roundedSize : AttrSfHdr.fields.totsize.get(inode.view, forkStart(inode, 'attr'))
  return Math.floor(Math.min(bytes, forkSize(inode, fork)) / 16)
}
