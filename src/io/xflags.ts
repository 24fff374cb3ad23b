import { AttrSfHdr } from '../format/attr.ts'
import { MAX_BMBT_EXTLEN } from '../format/btrecs.ts'
import { DIFLAGS, DIFLAGS2, FORK_FORMATS } from '../format/dinode.ts'
import {
  extentCount, type ForkName, forkFormat, forkSize, forkStart, type Inode, openInode, updateInode,
} from '../inode/inode.ts' // biome-ignore format: one line
import { withTransaction } from '../tx/transaction.ts'
import type { Volume } from '../volume.ts'
import { CallError } from './errno.ts'

/**
 * The flags, hints and project ID of an inode, in the format of FS_IOC_FSGETXATTR and
 * FS_IOC_FSSETXATTR.
 *
 * The low 15 bits of `xflags` are those of the inode's `flags` (except the one that only the
 * realtime bitmap has). Two more are in `flags2`. The highest bit is set if there is an attribute
 * fork.
 *
 * Source: fs/xfs/xfs_ioctl.c, fs/file_attr.c.
 */
const XFLAGS = {
  realtime: 0x1, prealloc: 0x2, immutable: 0x8, append: 0x10, sync: 0x20, noatime: 0x40, nodump: 0x80, rtinherit: 0x100,
  projinherit: 0x200, nosymlinks: 0x400, extsize: 0x800, extszinherit: 0x1000, nodefrag: 0x2000, filestream: 0x4000, dax: 0x8000,
  cowextsize: 0x10000, hasattr: 0x80000000,
} as const // biome-ignore format: a table

/** In the order in which they are shown. */
const SHOWN = [
  ['r', 'realtime', XFLAGS.realtime], ['p', 'prealloc', XFLAGS.prealloc], ['i', 'immutable', XFLAGS.immutable],
  ['a', 'append-only', XFLAGS.append], ['s', 'sync', XFLAGS.sync], ['A', 'no-atime', XFLAGS.noatime], ['d', 'no-dump', XFLAGS.nodump],
  ['t', 'rt-inherit', XFLAGS.rtinherit], ['P', 'proj-inherit', XFLAGS.projinherit], ['n', 'nosymlinks', XFLAGS.nosymlinks],
  ['e', 'extsize', XFLAGS.extsize], ['E', 'extsz-inherit', XFLAGS.extszinherit], ['f', 'no-defrag', XFLAGS.nodefrag],
  ['S', 'filestream', XFLAGS.filestream], ['x', 'dax', XFLAGS.dax], ['C', 'cowextsize', XFLAGS.cowextsize], ['X', 'has-xattr', XFLAGS.hasattr],
] as const // biome-ignore format: a table

/** `--i-----` */
export const flagLetters = (xflags: number): string =>
  SHOWN.map(([letter, , bit]) => ((xflags & bit) !== 0 ? letter : '-')).join('')

/** `immutable, no-dump` */
export const flagNames = (xflags: number): string =>
  SHOWN.flatMap(([, name, bit]) => ((xflags & bit) !== 0 ? [name] : [])).join(', ')

export const allFlagLetters: string = SHOWN.map(([letter]) => letter).join('')

export const flagOfLetter = (letter: string): number | undefined => SHOWN.find(([shown]) => shown === letter)?.[2]

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

interface FileAttributes {
  readonly xflags: number
  /** Bytes. */
  readonly extsize: number
  readonly cowextsize: number
  readonly projid: number
}

export function fileAttributes(inode: Inode): FileAttributes {
  const { blocksize } = inode.volume.geometry
  return {
    xflags: xflagsOf(inode),
    extsize: inode.extsize * blocksize,
    cowextsize: inode.cowextsize * blocksize,
    projid: inode.projid,
  }
}

/**
 * Set flags, hints and project.
 * @throws CallError INVAL, UNSUPPORTED
 */
export function setFileAttributes(volume: Volume, ino: number, wanted: FileAttributes): void {
  if (!volume.writable) throw new CallError('ROFS')
  const inode = openInode(volume, ino)
  checkAttributes(inode, wanted)
  const { blocksize } = volume.geometry
  const regular = inode.isRegular
  let { xflags } = wanted
  if (wanted.extsize === 0) xflags &= ~(XFLAGS.extsize | XFLAGS.extszinherit)
  if (wanted.cowextsize === 0) xflags &= ~XFLAGS.cowextsize
  const everywhere =
    DIFLAGS.immutable |
    DIFLAGS.append |
    DIFLAGS.sync |
    DIFLAGS.noatime |
    DIFLAGS.nodump |
    DIFLAGS.nodefrag |
    DIFLAGS.filestream
  const ofKind = inode.isDirectory
    ? DIFLAGS.rtinherit | DIFLAGS.nosymlinks | DIFLAGS.extszinherit | DIFLAGS.projinherit
    : regular
      ? DIFLAGS.realtime | DIFLAGS.extsize
      : 0
  const flags = (inode.flags & (DIFLAGS.prealloc | DIFLAGS.newrtbm)) | (xflags & (everywhere | ofKind))
  const dax = (xflags & XFLAGS.dax) !== 0 ? DIFLAGS2.dax : 0
  const cow = (xflags & XFLAGS.cowextsize) !== 0 ? DIFLAGS2.cowextsize : 0
  const flags2 = (inode.flags2 & ~(DIFLAGS2.dax | DIFLAGS2.cowextsize)) | dax | cow
  withTransaction(volume, (tx) => {
    updateInode(tx, openInode(volume, ino, tx), {
      flags,
      flags2: flags2 >>> 0,
      extsize: (flags & (DIFLAGS.extsize | DIFLAGS.extszinherit)) !== 0 ? wanted.extsize / blocksize : 0,
      cowextsize: cow !== 0 ? wanted.cowextsize / blocksize : 0,
      projid: wanted.projid,
      ctime: volume.now(),
    })
  })
}

function checkAttributes(inode: Inode, { xflags, extsize, cowextsize, projid }: FileAttributes): void {
  const { volume } = inode
  const { blocksize, agblocks } = volume.geometry
  const refuse = (condition: boolean): void => {
    if (condition) throw new CallError('INVAL')
  }
  const file = inode.isRegular
  const folder = inode.isDirectory
  refuse((xflags & XFLAGS.extsize) !== 0 && !file)
  refuse((xflags & XFLAGS.extszinherit) !== 0 && !folder)
  refuse((xflags & XFLAGS.cowextsize) !== 0 && !file && !folder)
  refuse((xflags & XFLAGS.dax) !== 0 && !file && !folder)
  refuse(
    ((xflags & XFLAGS.realtime) !== 0) !== inode.realtime &&
      (extentCount(inode, 'data') > 0 || volume.geometry.sb.rblocks === 0),
  )
  refuse(extsize % blocksize !== 0 || cowextsize % blocksize !== 0)
  refuse(file && extentCount(inode, 'data') > 0 && extsize !== inode.extsize * blocksize)
  for (const hint of [extsize, cowextsize])
    refuse(hint / blocksize > Math.min(MAX_BMBT_EXTLEN, Math.floor(agblocks / 2)))
  // A hint that no flag enables.
  refuse(extsize > 0 && (xflags & (XFLAGS.extsize | XFLAGS.extszinherit)) === 0)
  refuse(cowextsize > 0 && (xflags & XFLAGS.cowextsize) === 0)
  refuse((xflags & XFLAGS.cowextsize) !== 0 && cowextsize > 0 && !volume.features.has('reflink'))
  refuse(projid > 0xffff && !volume.features.has('projid32'))
}
